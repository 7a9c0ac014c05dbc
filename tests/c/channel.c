/*
 * Channels from C: a pair and fork, a program that ipc_spawn starts, a listener, the descriptor in
 * epoll, options, structures and batches.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

_Static_assert(sizeof(struct ipc_channel_opts) == 48, "the size of ipc_channel_opts");
_Static_assert(sizeof(struct ipc_channel_stats) == 56, "the size of ipc_channel_stats");

enum { ROUNDS = 1000 };

/* Answers each number with its successor, until the peer closes. */
static void serve(struct ipc_channel *ch)
{
    int number;
    ssize_t len;

    while ((len = ipc_channel_recv(ch, &number, sizeof number, -1)) > 0) {
        CHECK(len == sizeof number);
        number++;
        CHECK(ipc_channel_send(ch, &number, sizeof number, -1) == 0);
    }
    CHECK(len == 0);
    ipc_channel_close(ch);
}

static void ask(struct ipc_channel *ch)
{
    int number, answer;

    for (number = 0; number < ROUNDS; number++) {
        CHECK(ipc_channel_send(ch, &number, sizeof number, -1) == 0);
        CHECK(ipc_channel_recv(ch, &answer, sizeof answer, -1) == sizeof answer);
        CHECK(answer == number + 1);
    }
}

static void pair_and_fork(void)
{
    struct ipc_channel *ch[2];
    pid_t child;

    CHECK(ipc_channel_pair(NULL, 0, ch) == 0);
    child = check_fork();
    if (child == 0) {
        ipc_channel_close(ch[0]);
        serve(ch[1]);
        exit(0);
    }
    ipc_channel_close(ch[1]);
    ask(ch[0]);
    ipc_channel_close(ch[0]);
    check_passed(child);
}

/* The program starts itself with this argument; its standard input is the socket. */
static int started(void)
{
    struct ipc_channel *ch;

    CHECK(ipc_channel_from_fd(STDIN_FILENO, NULL, 0, 20000, &ch) == 0);
    CHECK(close(STDIN_FILENO) == 0);
    serve(ch);
    return 0;
}

static void spawned(char *self)
{
    char *argv[] = {self, (char[]){"started"}, NULL};
    struct ipc_channel *ch;
    struct ipc_cred cred;
    int fd;
    pid_t pid = ipc_spawn(self, argv, NULL, 0, &fd);

    CHECK(pid > 0);
    CHECK(ipc_channel_from_fd(fd, NULL, 0, 20000, &ch) == 0);
    CHECK(close(fd) == 0);
    CHECK(ipc_channel_peer_cred(ch, &cred, sizeof cred) == 0);
    CHECK(cred.pid == getpid() && cred.uid == geteuid());
    int pidfd = ipc_channel_peer_pidfd(ch);
    CHECK(pidfd >= 0 ? close(pidfd) == 0 : errno == ENOSYS); /* some versions of valgrind */
    ask(ch);
    ipc_channel_close(ch);
    check_passed(pid);
}

static void listener(void)
{
    const char *path = check_path("channel");
    struct ipc_channel *ch;
    struct stat st;
    pid_t child;
    char byte;
    int fd = ipc_channel_listen(path, 0620, 0);

    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0620);
    errno = 0;
    CHECK(ipc_channel_listen(path, 0620, 0) == -1 && errno == EADDRINUSE);
    errno = 0;
    while (ipc_channel_accept(fd, NULL, 0, 0, &ch) == 0) { /* the second listener's attempt */
        CHECK(ipc_channel_recv(ch, &byte, 1, -1) == 0);
        ipc_channel_close(ch);
    }
    CHECK(errno == EAGAIN);
    child = check_fork();
    if (child == 0) {
        CHECK(close(fd) == 0);
        CHECK(ipc_channel_connect(path, NULL, 0, 20000, &ch) == 0);
        ask(ch);
        ipc_channel_close(ch);
        exit(0);
    }
    CHECK(ipc_channel_accept(fd, NULL, 0, 20000, &ch) == 0);
    serve(ch);
    check_passed(child);
    CHECK(close(fd) == 0);
    CHECK(unlink(path) == 0);
}

/* A client that starts before the listener, in a directory that does not exist yet. */
static void client_waits(void)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_WAIT};
    const char *directory = check_path("directory");
    char path[200];
    struct ipc_channel *ch;
    pid_t child;
    int fd;

    CHECK(snprintf(path, sizeof path, "%s/s", directory) < (int)sizeof path);
    errno = 0;
    CHECK(ipc_channel_connect(path, &opts, sizeof opts, 0, &ch) == -1 && errno == ENOENT);
    errno = 0;
    CHECK(ipc_channel_connect(path, &opts, sizeof opts, 10, &ch) == -1 && errno == ETIMEDOUT);
    errno = 0;
    CHECK(ipc_channel_pair(&opts, sizeof opts, &ch) == -1 && errno == EINVAL);
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_channel_connect(path, &opts, sizeof opts, 20000, &ch) == 0);
        ask(ch);
        ipc_channel_close(ch);
        exit(0);
    }
    CHECK(mkdir(directory, 0700) == 0);
    fd = ipc_channel_listen(path, 0600, 0);
    CHECK(fd >= 0);
    CHECK(ipc_channel_accept(fd, NULL, 0, 20000, &ch) == 0);
    serve(ch);
    check_passed(child);
    CHECK(unlink(path) == 0 && close(fd) == 0 && rmdir(directory) == 0);
}

/* Sends and receives in place, and readiness in epoll. */
static void in_place(void)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_PREFAULT | IPC_CHANNEL_F_NO_SPIN,
                                    .send_size = 1,
                                    .message_max = 100000};
    struct ipc_channel_stats stats;
    struct ipc_channel *ch[2];
    struct epoll_event event = {.events = EPOLLIN};
    const void *seen = &opts;
    unsigned char *room;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    CHECK(ipc_channel_pair(&opts, sizeof opts, ch) == 0);
    CHECK(ipc_channel_max(ch[0]) == 131072 - 68 && ipc_channel_max(ch[1]) == 131072 - 68);
    CHECK(ipc_channel_fd(ch[1]) >= 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ipc_channel_fd(ch[1]), &event) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0);

    room = ipc_channel_reserve(ch[0], 100000, 0);
    CHECK(room != NULL);
    errno = 0;
    CHECK(ipc_channel_reserve(ch[0], 1, 0) == NULL && errno == EBUSY);
    memset(room, 0x5a, 100000);
    CHECK(ipc_channel_commit(ch[0], 99999) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 1 && event.events == EPOLLIN);

    errno = 0;
    CHECK(ipc_channel_recv(ch[1], &opts, sizeof opts, 0) == -1 && errno == EMSGSIZE);
    CHECK(ipc_channel_peek(ch[1], &seen, 0) == 99999);
    CHECK(((const unsigned char *)seen)[0] == 0x5a);
    CHECK(((const unsigned char *)seen)[99998] == 0x5a);
    CHECK(ipc_channel_release(ch[1]) == 0);
    errno = 0;
    CHECK(ipc_channel_peek(ch[1], &seen, 0) == -1 && errno == EAGAIN);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
    CHECK(ipc_channel_reserve(ch[0], 1, 0) != NULL && ipc_channel_cancel(ch[0]) == 0);

    CHECK(ipc_channel_stats(ch[0], &stats, sizeof stats) == 0);
    CHECK(stats.sent_messages == 1 && stats.sent_bytes == 99999 && stats.wakes == 1);
    CHECK(ipc_channel_stats(ch[1], &stats, sizeof stats) == 0);
    CHECK(stats.received_messages == 1 && stats.received_bytes == 99999);

    CHECK(ipc_channel_shutdown(ch[0], SHUT_WR) == 0);
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
    CHECK(ipc_channel_recv(ch[1], &opts, sizeof opts, -1) == 0);
    errno = 0;
    CHECK(ipc_channel_send(ch[0], "x", 1, -1) == -1 && errno == EPIPE);
    ipc_channel_close(ch[1]);
    ipc_channel_close(ch[0]);
    ipc_channel_close(NULL);
    CHECK(close(epoll) == 0);
}

static void refused(void)
{
    struct {
        struct ipc_channel_opts opts;
        int newer;
    } longer = {.newer = 1};
    struct ipc_channel_opts opts = {.flags = 1U << 31};
    struct ipc_channel_stats stats;
    struct ipc_cred cred;
    struct ipc_channel *ch[2] = {NULL, NULL};
    int number;

    errno = 0;
    CHECK(ipc_channel_pair(&longer.opts, sizeof longer, ch) == -1 && errno == E2BIG);
    errno = 0;
    CHECK(ipc_channel_pair(&opts, sizeof opts, ch) == -1 && errno == EINVAL);
    opts.flags = 0;
    const struct ipc_channel_opts *pointer = &opts;
    errno = 0;
    CHECK(ipc_channel_pair(pointer, sizeof pointer, ch) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_channel_pair(pointer, 0, ch) == -1 && errno == EINVAL);
    CHECK(ipc_channel_pair(NULL, sizeof pointer, ch) == 0);
    errno = 0;
    CHECK(ipc_channel_stats(ch[0], &stats, sizeof &stats) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_channel_peer_cred(ch[0], &cred, sizeof &cred) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_channel_peer_pidfd(NULL) == -1 && errno == EINVAL);
    ipc_channel_close(ch[0]);
    ipc_channel_close(ch[1]);
    ch[0] = ch[1] = NULL;
    errno = 0;
    CHECK(ipc_channel_from_fd(-1, NULL, 0, 0, ch) == -1 && errno == EBADF);
    CHECK(ch[0] == NULL && ch[1] == NULL);

    CHECK(ipc_channel_pair(NULL, 0, ch) == 0);
    errno = 0;
    CHECK(ipc_channel_recv(ch[0], &number, sizeof number, 0) == -1 && errno == EAGAIN);
    errno = 0;
    CHECK(ipc_channel_recv(ch[0], &number, sizeof number, 10) == -1 && errno == ETIMEDOUT);
    errno = 0;
    CHECK(ipc_channel_send(ch[0], &number, 0, -1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_channel_send(ch[0], &number, ipc_channel_max(ch[0]) + 1, -1) == -1 &&
          errno == EMSGSIZE);
    ipc_channel_close(ch[0]);
    errno = 0;
    CHECK(ipc_channel_send(ch[1], &number, sizeof number, -1) == -1 && errno == EPIPE);
    CHECK(ipc_channel_recv(ch[1], &number, sizeof number, -1) == 0);
    ipc_channel_close(ch[1]);
}

/* Batches, messages in parts, and their alignment. */
static void batches(void)
{
    struct ipc_channel_opts opts = {.message_align = 64};
    struct ipc_channel *ch[2];
    char in[3][8] = {{0}};
    struct iovec out[] = {{(char[]){"one"}, 4}, {(char[]){"three"}, 6}, {(char[]){"5"}, 2}};
    struct iovec msgs[] = {{in[0], 8}, {in[1], 8}, {in[2], 8}};
    const void *at;

    CHECK(ipc_channel_pair(&opts, sizeof opts, ch) == 0);
    CHECK(ipc_channel_send_many(ch[0], out, 3, -1) == 3);
    CHECK(ipc_channel_recv_many(ch[1], msgs, 3, -1) == 3);
    CHECK(strcmp(in[0], "one") == 0 && strcmp(in[1], "three") == 0 && strcmp(in[2], "5") == 0);
    CHECK(msgs[0].iov_len == 4 && msgs[1].iov_len == 6 && msgs[2].iov_len == 2);
    CHECK(ipc_channel_sendv(ch[0], out, 3, -1) == 12);
    CHECK(ipc_channel_peek(ch[1], &at, -1) == 12 && memcmp(at, "one\0three\0005", 12) == 0);
    CHECK((uintptr_t)at % 64 == 0);
    CHECK(ipc_channel_release(ch[1]) == 0);
    errno = 0;
    CHECK(ipc_channel_recv_many(ch[1], msgs, 3, 0) == -1 && errno == EAGAIN);
    errno = 0;
    CHECK(ipc_channel_send_many(ch[0], NULL, 1, 0) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_channel_sendv(ch[0], out, 1025, 0) == -1 && errno == EINVAL);
    ipc_channel_close(ch[0]);
    CHECK(ipc_channel_recv_many(ch[1], msgs, 3, -1) == 0);
    ipc_channel_close(ch[1]);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return started();
    }
    pair_and_fork();
    spawned(argv[0]);
    listener();
    client_waits();
    in_place();
    batches();
    refused();
    return 0;
}
