/* Pairs and messages from C: every type, descriptors, time-outs, the end. */
#include "check.h"

#include <fcntl.h>

static void messages(int type)
{
    struct ipc_cred cred;
    char buffer[100];
    int pair[2], got[4];
    size_t nfds;

    CHECK(ipc_pair_open(type, pair) == 0);
    CHECK(fcntl(pair[0], F_GETFD) == FD_CLOEXEC && fcntl(pair[1], F_GETFD) == FD_CLOEXEC);

    CHECK(ipc_msg_send(pair[0], "hello", 5, NULL, 0, -1) == 0);
    CHECK(ipc_msg_recv(pair[1], buffer, sizeof buffer, NULL, NULL, -1) == 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);

    /* Two descriptors, with array space for more, for one and for none. */
    for (size_t room = 0; room <= 4; room += room == 0 ? 1 : 3) {
        nfds = room;
        CHECK(ipc_msg_send(pair[0], "fds", 3, pair, 2, 100) == 0);
        CHECK(ipc_msg_recv(pair[1], buffer, sizeof buffer, got, &nfds, 100) == 3);
        CHECK(nfds == (room < 2 ? room : 2));
        for (size_t i = 0; i < nfds; i++) {
            CHECK(fcntl(got[i], F_GETFD) == FD_CLOEXEC);
            CHECK(close(got[i]) == 0);
        }
    }

    /* A message that does not fit is discarded, and the next one is whole. */
    CHECK(ipc_msg_send(pair[0], "too long", 8, pair, 1, -1) == 0);
    CHECK(ipc_msg_send(pair[0], "next", 4, NULL, 0, -1) == 0);
    errno = 0;
    CHECK(ipc_msg_recv(pair[1], buffer, 7, NULL, NULL, -1) == -1 && errno == EMSGSIZE);
    CHECK(ipc_msg_recv(pair[1], buffer, 7, NULL, NULL, -1) == 4);

    errno = 0;
    CHECK(ipc_msg_recv(pair[1], buffer, 7, NULL, NULL, 0) == -1 && errno == EAGAIN);
    errno = 0;
    CHECK(ipc_msg_recv(pair[1], buffer, 7, NULL, NULL, 10) == -1 && errno == ETIMEDOUT);
    errno = 0;
    CHECK(ipc_msg_send(pair[0], buffer, 0, NULL, 0, -1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_msg_send(-1, buffer, 1, NULL, 0, -1) == -1 && errno == EBADF);

    CHECK(ipc_peer_cred(pair[0], &cred, sizeof cred) == 0);
    errno = 0;
    CHECK(ipc_peer_cred(pair[0], &cred, sizeof &cred) == -1 && errno == EINVAL);
    CHECK(cred.pid == getpid() && cred.uid == geteuid() && cred.gid == getegid());
    int pidfd = ipc_peer_pidfd(pair[0]);
    CHECK(pidfd >= 0);
    check_close_pidfd(pidfd);
    errno = 0;
    CHECK(ipc_peer_pidfd(-1) == -1 && errno == EBADF);
    errno = 0;
    CHECK(ipc_peer_pidfd(pidfd) == -1 && errno == EBADF);

    CHECK(close(pair[0]) == 0);
    if (type != SOCK_DGRAM)
        CHECK(ipc_msg_recv(pair[1], buffer, 7, NULL, NULL, -1) == 0);
    errno = 0;
    CHECK(ipc_msg_send(pair[1], "x", 1, NULL, 0, -1) == -1 && errno == EPIPE);
    CHECK(close(pair[1]) == 0);
}

/* One message from several buffers. */
static void parts(int type)
{
    struct iovec iov[4] = {{"one ", 4}, {NULL, 0}, {"two", 3}, {NULL, 0}};
    char buffer[100];
    int pair[2], got;
    size_t nfds = 1;

    CHECK(ipc_pair_open(type, pair) == 0);
    CHECK(ipc_msg_sendv(pair[0], iov, 4, pair, 1, -1) == 7);
    CHECK(ipc_msg_recv(pair[1], buffer, sizeof buffer, &got, &nfds, -1) == 7);
    CHECK(memcmp(buffer, "one two", 7) == 0 && nfds == 1 && close(got) == 0);
    errno = 0;
    CHECK(ipc_msg_sendv(pair[0], iov, 0, NULL, 0, -1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_msg_sendv(pair[0], iov + 3, 1, NULL, 0, -1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_msg_sendv(pair[0], iov, 1025, NULL, 0, -1) == -1 && errno == EINVAL);
    iov[1].iov_len = 1;
    errno = 0;
    CHECK(ipc_msg_sendv(pair[0], iov, 4, NULL, 0, -1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_msg_recv(pair[1], buffer, sizeof buffer, NULL, NULL, 0) == -1 && errno == EAGAIN);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
}

/* A megabyte through a child that sends it back: no call can do it in one piece. */
static void full(void)
{
    enum { LEN = 1 << 20 };
    static char there[LEN], back[LEN];
    size_t done = 0;
    int pair[2];
    pid_t child;

    CHECK(ipc_pair_open(SOCK_STREAM, pair) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(close(pair[0]) == 0);
        CHECK(ipc_recv_full(pair[1], there, LEN, NULL, -1) == LEN);
        CHECK(ipc_send_full(pair[1], there, LEN, NULL, -1) == LEN);
        CHECK(close(pair[1]) == 0);
        exit(0);
    }
    CHECK(close(pair[1]) == 0);
    for (size_t i = 0; i < LEN; i++)
        there[i] = (char)(i * 31 + i / 7);
    /* With a time-out that expires repeatedly; done is the offset at which to continue. */
    while (ipc_send_full(pair[0], there, LEN, &done, 1) < 0)
        CHECK(errno == ETIMEDOUT && done < LEN);
    CHECK(done == LEN);
    CHECK(ipc_recv_full(pair[0], back, LEN, NULL, -1) == LEN);
    CHECK(memcmp(there, back, LEN) == 0);
    CHECK(ipc_recv_full(pair[0], back, 1, NULL, -1) == 0);
    check_passed(child);
    CHECK(close(pair[0]) == 0);
}

int main(void)
{
    messages(SOCK_STREAM);
    messages(SOCK_SEQPACKET);
    messages(SOCK_DGRAM);
    parts(SOCK_STREAM);
    parts(SOCK_SEQPACKET);
    parts(SOCK_DGRAM);
    full();
    return 0;
}
