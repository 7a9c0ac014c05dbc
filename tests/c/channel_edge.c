/* An edge-triggered event loop is notified of the peer's death even if a wake-up is unread. */
#include "check.h"

#include <sys/epoll.h>

static int waits(int epoll, int ms)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, ms);
}

int main(void)
{
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET};
    struct ipc_channel *ch;
    char byte;
    int pair[2], go[2];

    CHECK(ipc_pair_open(SOCK_STREAM, pair) == 0);
    CHECK(pipe(go) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        CHECK(close(go[1]) == 0);
        CHECK(ipc_channel_from_fd(pair[1], NULL, 0, -1, &ch) == 0);
        CHECK(read(go[0], &byte, 1) == 0);
        CHECK(ipc_channel_send(ch, "x", 1, 0) == 0);
        for (;;)
            pause(); /* killed, because ipc_channel_close would announce the end */
    }
    CHECK(close(pair[1]) == 0 && close(go[0]) == 0);
    CHECK(ipc_channel_from_fd(pair[0], NULL, 0, -1, &ch) == 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ipc_channel_fd(ch), &edge) == 0);
    CHECK(ipc_channel_recv(ch, &byte, 1, 0) == -1 && errno == EAGAIN);
    CHECK(waits(epoll, 0) == 0);

    CHECK(close(go[1]) == 0);
    CHECK(waits(epoll, 10000) == 1); /* the message */
    check_kill(child);
    CHECK(waits(epoll, 10000) == 1); /* the death */
    CHECK(ipc_channel_recv(ch, &byte, 1, 0) == 1);
    /* No further edge follows: this call must report the death. */
    if (ipc_channel_recv(ch, &byte, 1, 0) != 0) {
        CHECK(errno == EAGAIN && waits(epoll, 1000) == 1);
        CHECK(ipc_channel_recv(ch, &byte, 1, 0) == 0);
    }
    ipc_channel_close(ch);
    CHECK(close(pair[0]) == 0 && close(epoll) == 0);
    return 0;
}
