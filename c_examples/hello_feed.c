/*
 * hello_feed: every message of one publisher to each of its subscribers.
 * The parent publishes numbers, and two children receive all of them.
 */
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#define CHILDREN 2

static void child(int number, int sock)
{
    struct ipc_sub *sub;
    int n, sum = 0;
    ssize_t len;

    if (ipc_sub_from_fd(sock, NULL, 0, 10000, &sub) < 0)
        err(1, "child: ipc_sub_from_fd");
    while ((len = ipc_sub_recv(sub, &n, sizeof(n), NULL, 10000)) > 0)
        sum += n;
    if (len < 0)
        err(1, "child: ipc_sub_recv");
    printf("child %d: the sum is %d, and the feed has ended\n", number, sum); /* len is 0 */
    ipc_sub_close(sub);
}

int main(void)
{
    struct ipc_feed *feed;
    int status;

    if (ipc_feed_create(NULL, 0, &feed) < 0)
        err(1, "ipc_feed_create");
    for (int i = 0; i < CHILDREN; i++) {
        int sock[2];
        if (ipc_pair_open(SOCK_SEQPACKET, sock) < 0)
            err(1, "ipc_pair_open");
        pid_t pid = fork();
        if (pid < 0)
            err(1, "fork");
        if (pid == 0) {
            ipc_feed_close(feed); /* it belongs to the parent */
            close(sock[0]);
            child(i, sock[1]);
            exit(0);
        }
        if (ipc_feed_add(feed, sock[0]) < 0)
            err(1, "ipc_feed_add");
        close(sock[0]);
        close(sock[1]);
    }
    /* A subscriber begins with the next message: wait until both are there. */
    while (ipc_feed_subscribers(feed, NULL, 0, 0) < CHILDREN) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        if (poll(&event, 1, 10000) <= 0)
            errx(1, "a child did not subscribe");
        if (ipc_feed_service(feed) < 0)
            err(1, "ipc_feed_service");
    }
    for (int n = 1; n <= 10; n++)
        if (ipc_feed_publish(feed, &n, sizeof(n), 10000) < 0)
            err(1, "ipc_feed_publish");
    ipc_feed_close(feed);
    for (int i = 0; i < CHILDREN; i++)
        if (wait(&status) < 0 || status != 0)
            errx(1, "a child failed");
    return 0;
}
