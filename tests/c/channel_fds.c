/* Messages with descriptors: order, errors, and the end of every descriptor. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

static const struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_FDS};

/* Whether no process has the write end of the pipe, in a descriptor or in a message. */
static int has_ended(int read_end)
{
    struct pollfd poll_fd = {.fd = read_end, .events = POLLIN};

    CHECK(poll(&poll_fd, 1, 0) >= 0);
    return (poll_fd.revents & POLLHUP) != 0;
}

/* The child answers each request through the descriptor that comes with it. */
static int serve(struct ipc_channel *ch)
{
    char request[16];
    int fds[2];

    for (;;) {
        size_t nfds = 2;
        ssize_t len = ipc_channel_recv_fds(ch, request, sizeof(request), fds, &nfds, -1);

        CHECK(len >= 0);
        if (len == 0) {
            CHECK(nfds == 0);
            ipc_channel_close(ch);
            return 0;
        }
        for (size_t i = 0; i < nfds; i++) {
            CHECK(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
            CHECK(write(fds[i], request, (size_t)len) == len);
            CHECK(close(fds[i]) == 0);
        }
        CHECK(ipc_channel_send(ch, &nfds, sizeof(nfds), -1) == 0);
    }
}

static void two_processes(void)
{
    struct ipc_channel *ch[2];
    char answer[16];
    size_t served;
    int status;

    CHECK(ipc_channel_pair(&opts, sizeof(opts), ch) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        ipc_channel_close(ch[0]);
        _exit(serve(ch[1]));
    }
    ipc_channel_close(ch[1]);
    for (char letter = 'a'; letter <= 'z'; letter++) {
        size_t nfds = (size_t)(letter % 3);
        int ends[2];

        CHECK(pipe(ends) == 0);
        int fds[2] = {ends[1], ends[1]};
        CHECK(ipc_channel_send_fds(ch[0], &letter, 1, fds, nfds, -1) == 0);
        CHECK(close(ends[1]) == 0);
        CHECK(ipc_channel_recv(ch[0], &served, sizeof(served), -1) == sizeof(served));
        CHECK(served == nfds);
        CHECK(has_ended(ends[0]));
        CHECK(read(ends[0], answer, sizeof(answer)) == (ssize_t)nfds);
        CHECK(nfds == 0 || (answer[0] == letter && answer[nfds - 1] == letter));
        CHECK(close(ends[0]) == 0);
    }
    ipc_channel_close(ch[0]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void one_process(void)
{
    struct ipc_channel *ch[2];
    const void *at;
    char buffer[8];
    int ends[2], fds[2] = {-7, -7};
    size_t nfds = 2;

    CHECK(ipc_channel_pair(&opts, sizeof(opts), ch) == 0);
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(ipc_channel_send_fds(ch[0], "message", 7, &ends[1], 1, 0) == 0);
    CHECK(close(ends[1]) == 0);

    CHECK(ipc_channel_recv_fds(ch[1], buffer, 6, fds, &nfds, -1) == -1 && errno == EMSGSIZE);
    CHECK(nfds == 2 && fds[0] == -7);
    CHECK(ipc_channel_recv_fds(ch[1], buffer, 8, fds, &nfds, -1) == 7);
    CHECK(nfds == 1 && fds[1] == -7 && close(fds[0]) == 0);
    CHECK(ipc_channel_recv_fds(ch[1], buffer, 8, NULL, NULL, -1) == 7);
    CHECK(ipc_channel_recv(ch[1], buffer, 8, -1) == 7);
    CHECK(ipc_channel_peek(ch[1], &at, -1) == 7 && memcmp(at, "message", 7) == 0);
    CHECK(!has_ended(ends[0]));
    CHECK(ipc_channel_release(ch[1]) == 0);
    CHECK(has_ended(ends[0]));
    CHECK(ipc_channel_recv_fds(ch[1], buffer, 8, fds, &nfds, 0) == -1 && errno == EAGAIN);
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, &ends[1], 1, 0) == -1 && errno == EBADF);
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, NULL, 1, 0) == -1 && errno == EINVAL);
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, NULL, 0, 0) == 0);
    CHECK(close(ends[0]) == 0);

    /* What was not received is closed with the channel. */
    CHECK(pipe(ends) == 0);
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, &ends[1], 1, 0) == 0);
    CHECK(close(ends[1]) == 0 && !has_ended(ends[0]));
    ipc_channel_close(ch[1]);
    CHECK(has_ended(ends[0]));
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, ends, 1, -1) == -1 && errno == EPIPE);
    ipc_channel_close(ch[0]);

    CHECK(ipc_channel_pair(NULL, 0, ch) == 0);
    CHECK(ipc_channel_send_fds(ch[0], "x", 1, ends, 1, -1) == -1 && errno == EOPNOTSUPP);
    ipc_channel_close(ch[0]);
    ipc_channel_close(ch[1]);
    CHECK(close(ends[0]) == 0);
}

int main(void)
{
    one_process();
    two_processes();
    return 0;
}
