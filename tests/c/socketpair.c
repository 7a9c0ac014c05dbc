/* ipc_socketpair: all types and flags, both directions, and across fork. */
#include "check.h"

#include <fcntl.h>

static void both_directions(const int sv[2])
{
    char buf[8];
    int i;

    for (i = 0; i < 2; i++) {
        CHECK(write(sv[i], "ping", 4) == 4);
        CHECK(read(sv[1 - i], buf, sizeof buf) == 4);
        CHECK(memcmp(buf, "ping", 4) == 0);
    }
}

static void types_and_flags(void)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    static const int flags[] = {0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK};
    size_t t;
    size_t f;

    for (t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (f = 0; f < sizeof flags / sizeof flags[0]; f++) {
            int sv[2];
            int i;

            CHECK(ipc_socketpair(AF_UNIX, types[t] | flags[f], 0, sv) == 0);
            for (i = 0; i < 2; i++) {
                int type = -1;
                socklen_t size = sizeof type;
                int cloexec = fcntl(sv[i], F_GETFD) & FD_CLOEXEC;
                int nonblock = fcntl(sv[i], F_GETFL) & O_NONBLOCK;

                CHECK(getsockopt(sv[i], SOL_SOCKET, SO_TYPE, &type, &size) == 0);
                CHECK(type == types[t]);
                CHECK((cloexec != 0) == ((flags[f] & SOCK_CLOEXEC) != 0));
                CHECK((nonblock != 0) == ((flags[f] & SOCK_NONBLOCK) != 0));
            }
            both_directions(sv);
            CHECK(close(sv[0]) == 0);
            CHECK(close(sv[1]) == 0);
        }
    }
}

/* Two messages arrive as one piece on a stream, and as two on the other types. */
static void boundaries(int type, ssize_t first)
{
    int sv[2];
    char buf[8];

    CHECK(ipc_socketpair(AF_UNIX, type, 0, sv) == 0);
    CHECK(write(sv[0], "abc", 3) == 3);
    CHECK(write(sv[0], "de", 2) == 2);
    CHECK(read(sv[1], buf, sizeof buf) == first);
    CHECK(close(sv[0]) == 0);
    CHECK(close(sv[1]) == 0);
}

/* The child answers each message until this process closes its end. */
static void with_child(int type)
{
    int sv[2];
    char buf[64];
    ssize_t n;
    pid_t child;
    int i;

    CHECK(ipc_socketpair(AF_UNIX, type, 0, sv) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(close(sv[0]) == 0);
        while ((n = read(sv[1], buf, sizeof buf)) > 0) {
            CHECK(write(sv[1], buf, (size_t)n) == n);
        }
        CHECK(n == 0);
        CHECK(close(sv[1]) == 0);
        exit(0);
    }
    CHECK(close(sv[1]) == 0);
    for (i = 0; i < 100; i++) {
        char message[64];
        int length = snprintf(message, sizeof message, "message %d", i);

        CHECK(write(sv[0], message, (size_t)length) == length);
        CHECK(read(sv[0], buf, sizeof buf) == length);
        CHECK(memcmp(buf, message, (size_t)length) == 0);
    }
    CHECK(close(sv[0]) == 0);
    check_passed(child);
}

static void errors(void)
{
    int sv[2];

    errno = 0;
    CHECK(ipc_socketpair(AF_UNIX, 12345, 0, sv) == -1 && errno == EINVAL);
    CHECK(ipc_socketpair(AF_UNIX, SOCK_STREAM, 99, sv) == -1 && errno == EPROTONOSUPPORT);
    CHECK(ipc_socketpair(AF_INET, SOCK_STREAM, 0, sv) == -1 && errno == EOPNOTSUPP);
    CHECK(ipc_socketpair(-1, SOCK_STREAM, 0, sv) == -1 && errno == EAFNOSUPPORT);
}

int main(void)
{
    types_and_flags();
    boundaries(SOCK_STREAM, 5);
    boundaries(SOCK_DGRAM, 3);
    boundaries(SOCK_SEQPACKET, 3);
    with_child(SOCK_STREAM);
    with_child(SOCK_SEQPACKET);
    errors();
    return 0;
}
