/*
 * The system calls of feeds, for filters: a listener and a subscriber that waits for it, a socket,
 * sleeps of both sides, a subscriber that stalls or is killed, descriptors for event loops.
 */
#include "check.h"

#include <poll.h>

enum { MESSAGES = 2000, LENGTH = 1000, LONG = 20000 };

/* Receives all messages, and checks that none is missing. */
static void receive_all(struct ipc_sub *sub, unsigned int count)
{
    unsigned int number[LENGTH / sizeof(unsigned int)];
    uint64_t seq;
    unsigned int i;

    for (i = 0; i < count; i++) {
        CHECK(ipc_sub_recv(sub, number, sizeof number, &seq, LONG) > 0);
        CHECK(number[0] == i && seq == i);
    }
    CHECK(ipc_sub_recv(sub, number, sizeof number, NULL, LONG) == 0);
    ipc_sub_close(sub);
}

/* Subscribes over one end of a pair, and closes both. */
static struct ipc_sub *subscribe(const int sock[2], const struct ipc_sub_opts *opts)
{
    struct ipc_sub *sub;

    CHECK(ipc_sub_from_fd(sock[1], opts, opts != NULL ? sizeof *opts : 0, LONG, &sub) == 0);
    CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
    return sub;
}

/* Serves the feed until it has this number of subscribers. */
static void admit(struct ipc_feed *feed, ssize_t count)
{
    struct pollfd readable = {ipc_feed_fd(feed), POLLIN, 0};

    while (ipc_feed_subscribers(feed, NULL, 0, 0) != count) {
        CHECK(poll(&readable, 1, LONG) == 1);
        CHECK(ipc_feed_service(feed) == 0);
    }
}

/* The ring holds less than all messages, so both sides sleep again and again. */
static void publish_all(struct ipc_feed *feed)
{
    unsigned int message[LENGTH / sizeof(unsigned int)] = {0};
    unsigned int i;

    for (i = 0; i < MESSAGES; i++) {
        message[0] = i;
        CHECK(ipc_feed_publish(feed, message, sizeof message, LONG) == 0);
        if (i % 500 == 0)
            check_pause();
    }
}

/* The children are forked first, so the one at the path waits for the listener. */
static void by_path_and_socket(void)
{
    struct ipc_sub_opts wait = {.flags = IPC_SUB_F_WAIT, .name = "path"};
    struct ipc_feed_opts opts = {.flags = IPC_FEED_F_PREFAULT, .size = 64 << 10};
    const char *path = check_path("feed");
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    pid_t children[2];
    int sock[2];

    CHECK(ipc_pair_open(SOCK_SEQPACKET, sock) == 0);
    children[0] = check_fork();
    if (children[0] == 0) {
        CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
        CHECK(ipc_sub_connect(path, &wait, sizeof wait, LONG, &sub) == 0);
        receive_all(sub, MESSAGES);
        exit(0);
    }
    children[1] = check_fork();
    if (children[1] == 0) {
        receive_all(subscribe(sock, NULL), MESSAGES);
        exit(0);
    }
    check_pause();
    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_feed_listen(feed, path, 0600, 0) == 0);
    CHECK(ipc_feed_add(feed, sock[0]) == 0);
    admit(feed, 2);
    publish_all(feed);
    ipc_feed_close(feed);
    CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
    check_passed(children[0]);
    check_passed(children[1]);
}

/* A subscriber that stalls does not hold the publisher up, and learns what it has lost. */
static void stall(void)
{
    struct ipc_feed_opts opts = {.size = 64 << 10, .stall_ms = 1};
    struct ipc_feed_subscriber report;
    char message[LENGTH];
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    struct ipc_sub_info info;
    uint64_t seq = 0, received = 0;
    ssize_t len;
    int sock[2], go[2];
    pid_t child;

    CHECK(ipc_pair_open(SOCK_SEQPACKET, sock) == 0);
    CHECK(pipe(go) == 0);
    child = check_fork();
    if (child == 0) {
        struct pollfd readable = {0, POLLIN, 0};

        CHECK(close(go[1]) == 0);
        sub = subscribe(sock, NULL);
        readable.fd = ipc_sub_fd(sub);
        CHECK(read(go[0], message, 1) == 0 && close(go[0]) == 0);
        CHECK(poll(&readable, 1, LONG) == 1);
        while ((len = ipc_sub_recv(sub, message, sizeof message, &seq, LONG)) != 0) {
            CHECK(len == LENGTH || (len < 0 && errno == EOVERFLOW));
            if (len > 0)
                received++;
        }
        CHECK(ipc_sub_info(sub, &info, sizeof info) == 0);
        CHECK(info.lost != 0 && received + info.lost == MESSAGES);
        ipc_sub_close(sub);
        exit(0);
    }
    CHECK(close(go[0]) == 0);
    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_feed_add(feed, sock[0]) == 0);
    admit(feed, 1);
    publish_all(feed);
    CHECK(ipc_feed_subscribers(feed, &report, 1, sizeof report) == 1);
    CHECK(report.state & IPC_SUB_S_STALLED);
    CHECK(close(go[1]) == 0);
    ipc_feed_close(feed);
    CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
    check_passed(child);
}

/* A publisher that waits for space goes on when the subscriber dies, and notices the death. */
static void killed(void)
{
    struct ipc_feed_opts opts = {.size = 64 << 10};
    char message[LENGTH] = "";
    struct ipc_feed *feed;
    int sock[2];
    pid_t child;

    CHECK(ipc_pair_open(SOCK_STREAM, sock) == 0);
    child = check_fork();
    if (child == 0) {
        subscribe(sock, NULL);
        for (;;)
            pause();
    }
    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_feed_add(feed, sock[0]) == 0);
    admit(feed, 1);
    while (ipc_feed_publish(feed, message, sizeof message, 0) == 0)
        ;
    CHECK(errno == EAGAIN);
    check_kill(child);
    CHECK(ipc_feed_publish(feed, message, sizeof message, LONG) == 0);
    CHECK(ipc_feed_subscribers(feed, NULL, 0, 0) == 0);
    ipc_feed_close(feed);
    CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
}

/* A subscriber that skips the old messages wakes a publisher that waits for their space. */
static void skip(void)
{
    enum { OLD = 10000 }; /* they fill the ring */
    struct ipc_sub_opts from = {.flags = IPC_SUB_F_FROM_SEQ, .seq = OLD};
    struct ipc_feed_opts opts = {.flags = IPC_FEED_F_NO_SPIN, .size = 64 << 10};
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    int sock[2], i, number;
    uint64_t seq;
    pid_t child;

    CHECK(ipc_pair_open(SOCK_SEQPACKET, sock) == 0);
    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    for (i = 0; i < OLD; i++)
        CHECK(ipc_feed_publish(feed, &i, sizeof i, 0) == 0);
    child = check_fork();
    if (child == 0) {
        ipc_feed_close(feed);
        sub = subscribe(sock, &from);
        CHECK(ipc_sub_recv(sub, &number, sizeof number, &seq, LONG) == sizeof number);
        CHECK(number == OLD && seq == OLD);
        ipc_sub_close(sub);
        exit(0);
    }
    CHECK(ipc_feed_add(feed, sock[0]) == 0);
    admit(feed, 1);
    CHECK(ipc_feed_publish(feed, &i, sizeof i, LONG) == 0);
    check_passed(child);
    ipc_feed_close(feed);
    CHECK(close(sock[0]) == 0 && close(sock[1]) == 0);
}

int main(void)
{
    by_path_and_socket();
    stall();
    killed();
    skip();
    return 0;
}
