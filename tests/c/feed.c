/* Feeds from C: subscribers by path and by socket, losses, a restart, an event loop. */
#include "check.h"

#include <poll.h>
#include <stdbool.h>

#define SECONDS  1000
#define MESSAGES 5000

struct quote {
    uint64_t number;
    char symbol[24];
};

/* Receives all messages and the end. Returns how many were received. */
static uint64_t receive_all(struct ipc_sub *sub)
{
    struct quote quote;
    uint64_t expected = 0, count = 0, seq = 77;

    for (;;) {
        ssize_t len = ipc_sub_recv(sub, &quote, sizeof quote, &seq, 20 * SECONDS);
        if (len == 0)
            return count;
        if (len < 0) {
            CHECK(errno == EOVERFLOW && seq > expected);
            expected = seq;
            continue;
        }
        CHECK((size_t)len == sizeof quote && seq == expected && quote.number == seq);
        CHECK(strcmp(quote.symbol, "IPC") == 0);
        expected++;
        count++;
    }
}

static void wait_for_subscribers(struct ipc_feed *feed, ssize_t count)
{
    while (ipc_feed_subscribers(feed, NULL, 0, 0) != count) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        CHECK(poll(&event, 1, 20 * SECONDS) == 1);
        CHECK(ipc_feed_service(feed) == 0);
    }
}

static void reliable_and_lossy(void)
{
    struct ipc_feed_opts opts = {.size = 65536, .stall_ms = 20 * SECONDS};
    struct ipc_sub_opts reliable = {.name = "reliable"};
    struct ipc_sub_opts lossy = {.flags = IPC_SUB_F_LOSSY, .name = "lossy"};
    struct ipc_feed_subscriber list[3];
    struct ipc_feed_info info;
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    const char *path = check_path("feed");
    int pair[2];

    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_feed_listen(feed, path, 0600, 0) == 0);
    pid_t by_path = check_fork();
    if (by_path == 0) {
        ipc_feed_close(feed);
        CHECK(ipc_sub_connect(path, &reliable, sizeof reliable, 20 * SECONDS, &sub) == 0);
        CHECK(receive_all(sub) == MESSAGES);
        ipc_sub_close(sub);
        exit(0);
    }
    CHECK(ipc_pair_open(SOCK_SEQPACKET, pair) == 0);
    pid_t by_socket = check_fork();
    if (by_socket == 0) {
        struct ipc_sub_info facts;
        ipc_feed_close(feed);
        CHECK(close(pair[0]) == 0);
        CHECK(ipc_sub_from_fd(pair[1], &lossy, sizeof lossy, 20 * SECONDS, &sub) == 0);
        CHECK(close(pair[1]) == 0);
        uint64_t received = receive_all(sub);
        CHECK(ipc_sub_info(sub, &facts, sizeof facts) == 0);
        CHECK(received + facts.lost == MESSAGES && facts.published == MESSAGES);
        ipc_sub_close(sub);
        exit(0);
    }
    CHECK(ipc_feed_add(feed, pair[0]) == 0);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    wait_for_subscribers(feed, 2);
    CHECK(ipc_feed_subscribers(feed, list, 3, sizeof list[0]) == 2);
    bool path_first = list[0].pid == by_path;
    CHECK(list[path_first ? 0 : 1].pid == by_path && list[path_first ? 1 : 0].pid == getpid());
    CHECK(strcmp(list[path_first ? 0 : 1].name, "reliable") == 0);
    CHECK(list[path_first ? 1 : 0].state & IPC_SUB_S_LOSSY);
    for (uint64_t number = 0; number < MESSAGES; number++) {
        if (number % 2 == 0) {
            struct quote quote = {.number = number, .symbol = "IPC"};
            CHECK(ipc_feed_publish(feed, &quote, sizeof quote, 20 * SECONDS) == 0);
        } else {
            struct quote *quote = ipc_feed_reserve(feed, 100, 20 * SECONDS);
            CHECK(quote != NULL);
            quote->number = number;
            memcpy(quote->symbol, "IPC", 4);
            CHECK(ipc_feed_commit(feed, sizeof *quote) == 0);
        }
    }
    CHECK(ipc_feed_info(feed, &info, sizeof info) == 0);
    CHECK(info.published == MESSAGES && info.message_max == 65536 - 72);
    ipc_feed_close(feed);
    CHECK(access(path, F_OK) == -1 && errno == ENOENT);
    check_passed(by_path);
    check_passed(by_socket);
}

/* Subscribes in a child, which receives the messages before `until` and reports its position. */
static struct ipc_sub_info read_some(struct ipc_feed *feed, struct ipc_sub_opts opts,
                                     uint64_t until)
{
    struct ipc_sub_info info;
    struct ipc_sub *sub;
    int pair[2], report[2];
    char byte;

    CHECK(ipc_pair_open(SOCK_STREAM, pair) == 0);
    CHECK(pipe(report) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        const void *message;
        uint64_t seq, next = 0;
        ipc_feed_close(feed);
        CHECK(close(pair[0]) == 0 && close(report[0]) == 0);
        CHECK(ipc_sub_from_fd(pair[1], &opts, sizeof opts, 20 * SECONDS, &sub) == 0);
        CHECK(close(pair[1]) == 0);
        while (next < until) {
            ssize_t len = ipc_sub_peek(sub, &message, &seq, 20 * SECONDS);
            if (len < 0) {
                CHECK(errno == EOVERFLOW);
                next = seq;
                continue;
            }
            CHECK(len == 1000 && *(const char *)message == (char)seq);
            CHECK(ipc_sub_release(sub) == 0);
            next = seq + 1;
        }
        CHECK(ipc_sub_recv(sub, &byte, 1, &seq, 0) == -1 && (errno == EMSGSIZE || errno == EAGAIN));
        CHECK(ipc_sub_info(sub, &info, sizeof info) == 0);
        CHECK(write(report[1], &info, sizeof info) == sizeof info);
        ipc_sub_close(sub);
        CHECK(close(report[1]) == 0);
        exit(0);
    }
    CHECK(close(pair[1]) == 0 && close(report[1]) == 0);
    CHECK(ipc_feed_add(feed, pair[0]) == 0);
    CHECK(close(pair[0]) == 0);
    wait_for_subscribers(feed, 1);
    CHECK(read(report[0], &info, sizeof info) == sizeof info);
    CHECK(close(report[0]) == 0);
    check_passed(child);
    wait_for_subscribers(feed, 0);
    return info;
}

/* A subscriber that continues where another one has ended. */
static void restart(void)
{
    struct ipc_feed_opts opts = {.size = 65536};
    struct ipc_sub_opts start = {.flags = IPC_SUB_F_OLDEST};
    struct ipc_feed *feed;
    char message[1000];

    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    for (int number = 0; number < 50; number++) {
        memset(message, number, sizeof message);
        CHECK(ipc_feed_publish(feed, message, sizeof message, 0) == 0);
    }
    struct ipc_sub_info first = read_some(feed, start, 20);
    CHECK(first.next_seq == 20 && first.lost == 0);
    struct ipc_sub_opts next = {.flags = IPC_SUB_F_FROM_SEQ, .seq = first.next_seq};
    memcpy(next.feed_id, first.feed_id, sizeof next.feed_id);
    struct ipc_sub_info second = read_some(feed, next, 50);
    CHECK(second.next_seq == 50 && second.lost == 0);
    for (int number = 50; number < 200; number++) {
        memset(message, number, sizeof message);
        CHECK(ipc_feed_publish(feed, message, sizeof message, 0) == 0);
    }
    next.seq = second.next_seq;
    struct ipc_sub_info third = read_some(feed, next, 200);
    /* The ring holds 65 messages, and the publisher may have given up some of them. */
    CHECK(third.next_seq == 200 && third.lost >= 85 && third.lost <= 105);
    ipc_feed_close(feed);
}

/* The publisher's and the subscriber's descriptors in poll(2), in two processes. */
static void event_loops(void)
{
    struct ipc_feed_opts opts = {.size = 65536};
    struct ipc_sub_opts sleeps = {.flags = IPC_SUB_F_NO_SPIN};
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    uint64_t seq, number;
    int pair[2];

    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_pair_open(SOCK_SEQPACKET, pair) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        ipc_feed_close(feed);
        CHECK(close(pair[0]) == 0);
        CHECK(ipc_sub_from_fd(pair[1], &sleeps, sizeof sleeps, 20 * SECONDS, &sub) == 0);
        CHECK(close(pair[1]) == 0);
        struct pollfd event = {.fd = ipc_sub_fd(sub), .events = POLLIN};
        for (uint64_t expected = 0;;) {
            ssize_t len = ipc_sub_recv(sub, &number, sizeof number, &seq, 0);
            if (len == 0) {
                CHECK(expected == 20 * MESSAGES);
                break;
            }
            if (len < 0) {
                CHECK(errno == EAGAIN);
                CHECK(poll(&event, 1, 20 * SECONDS) == 1);
                continue;
            }
            CHECK(number == expected && seq == expected);
            expected++;
        }
        ipc_sub_close(sub);
        exit(0);
    }
    CHECK(ipc_feed_add(feed, pair[0]) == 0);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    wait_for_subscribers(feed, 1);
    struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
    for (number = 0; number < 20 * MESSAGES; number++) {
        while (ipc_feed_publish(feed, &number, sizeof number, 0) == -1) {
            CHECK(errno == EAGAIN);
            CHECK(poll(&event, 1, 20 * SECONDS) == 1);
            CHECK(ipc_feed_service(feed) == 0);
        }
    }
    ipc_feed_close(feed);
    check_passed(child);
}

int main(void)
{
    reliable_and_lossy();
    restart();
    event_loops();
    return 0;
}
