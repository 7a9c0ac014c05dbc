/* Feeds: part of the subject unixipc. */
#include "subject.h"

#include <poll.h>
#include <sys/socket.h>
#include <unixipc.h>

static int (*socks)[2]; /* for each subscriber, the publisher's socket and its own */
static struct ipc_feed *feed;
static struct ipc_sub *sub;

static uint32_t spin_us;

static void make_sockets(long count)
{
    socks = calloc((size_t)count, sizeof(*socks));
    if (socks == NULL)
        err(1, "malloc");
    for (long i = 0; i < count; i++)
        subject_must(ipc_pair_open(SOCK_SEQPACKET, socks[i]), "ipc_pair_open");
}

/* Makes a feed, and admits `count` subscribers over the sockets from `first` on. */
static void publish_to(int (*first)[2], long count)
{
    struct ipc_feed_opts opts = {
        .spin_us = spin_us, .size = subject_ring_size(), .subscribers_max = (unsigned)count};

    subject_must(ipc_feed_create(&opts, sizeof(opts), &feed), "ipc_feed_create");
    for (long i = 0; i < count; i++)
        subject_must(ipc_feed_add(feed, first[i][0]), "ipc_feed_add");
    while (ipc_feed_subscribers(feed, NULL, 0, 0) < count) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        if (poll(&event, 1, -1) < 0 && errno != EINTR)
            err(1, "poll");
        subject_must(ipc_feed_service(feed), "ipc_feed_service");
    }
}

static void subscribe(int sock)
{
    struct ipc_sub_opts opts = {.spin_us = spin_us, .size_max = 2 * subject_ring_size()};

    subject_must(ipc_sub_from_fd(sock, &opts, sizeof(opts), -1, &sub), "ipc_sub_from_fd");
}

static void close_sockets(long count)
{
    for (long i = 0; i < count; i++)
        for (int end = 0; end < 2; end++)
            close(socks[i][end]);
    free(socks);
}

/* --- transports: two feeds, one in each direction --- */

static void pair_prepare(void)
{
    make_sockets(2);
}

static void spinning_prepare(void)
{
    spin_us = 1000000;
    pair_prepare();
}

/* One feed after the other, because a subscriber waits until it is admitted. */
static void pair_open(void)
{
    for (int publisher = 0; publisher < 2; publisher++)
        if (subject_side == publisher)
            publish_to(&socks[publisher], 1);
        else
            subscribe(socks[publisher][1]);
    close_sockets(2);
}

static void pair_close(void)
{
    ipc_sub_close(sub);
    ipc_feed_close(feed);
}

SUBJECT_INLINE void feed_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_feed_publish(feed, subject_out, len, -1), "ipc_feed_publish");
}

SUBJECT_INLINE void feed_get(size_t len, uint64_t n)
{
    if (ipc_sub_recv(sub, subject_in, len, NULL, -1) != (ssize_t)len)
        err(1, "ipc_sub_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(feed)

SUBJECT_INLINE void in_place_put(size_t len, uint64_t n)
{
    void *payload = ipc_feed_reserve(feed, len, -1);

    if (payload == NULL)
        err(1, "ipc_feed_reserve");
    subject_fill(payload, len, n);
    subject_must(ipc_feed_commit(feed, len), "ipc_feed_commit");
}

SUBJECT_INLINE void in_place_get(size_t len, uint64_t n)
{
    const void *payload;

    if (ipc_sub_peek(sub, &payload, NULL, -1) != (ssize_t)len)
        err(1, "ipc_sub_peek");
    subject_check(payload, len, n);
    subject_must(ipc_sub_release(sub), "ipc_sub_release");
}

SUBJECT_LOOP(in_place)

/* The subscriber polls, as those of libraries that cannot sleep. */
SUBJECT_INLINE void polled_get(size_t len, uint64_t n)
{
    ssize_t got;

    while ((got = ipc_sub_recv(sub, subject_in, len, NULL, 0)) < 0 && errno == EAGAIN)
        subject_spin();
    if (got != (ssize_t)len)
        err(1, "ipc_sub_recv");
    subject_check(subject_in, len, n);
}

#define polled_put feed_put

SUBJECT_LOOP(polled)

SUBJECT_INLINE void polled_in_place_get(size_t len, uint64_t n)
{
    const void *payload;
    ssize_t got;

    while ((got = ipc_sub_peek(sub, &payload, NULL, 0)) < 0 && errno == EAGAIN)
        subject_spin();
    if (got != (ssize_t)len)
        err(1, "ipc_sub_peek");
    subject_check(payload, len, n);
    subject_must(ipc_sub_release(sub), "ipc_sub_release");
}

#define polled_in_place_put in_place_put

SUBJECT_LOOP(polled_in_place)

/* --- one feed with many subscribers --- */

static void broadcast_prepare(void)
{
    make_sockets(subject.n);
}

/* The publisher has a processor of its own, and spins. */
static void polled_broadcast_prepare(void)
{
    spin_us = 1000000;
    broadcast_prepare();
}

static void broadcast_open(void)
{
    if (subject_side == 0)
        publish_to(socks, subject.n);
    else
        subscribe(socks[subject_side - 1][1]);
    close_sockets(subject.n);
}

/* --- rows --- */

static const struct subject_transport plain = {pair_prepare, pair_open, feed_loop, pair_close};
static const struct subject_transport spinning = {spinning_prepare, pair_open, feed_loop,
                                                  pair_close};
static const struct subject_transport in_place = {pair_prepare, pair_open, in_place_loop,
                                                  pair_close};
static const struct subject_transport in_place_spinning = {spinning_prepare, pair_open,
                                                           in_place_loop, pair_close};
static const struct subject_transport broadcast = {broadcast_prepare, broadcast_open, feed_loop,
                                                   pair_close};
static const struct subject_transport in_place_broadcast = {broadcast_prepare, broadcast_open,
                                                            in_place_loop, pair_close};
static const struct subject_transport polled_broadcast = {polled_broadcast_prepare, broadcast_open,
                                                          polled_loop, pair_close};
static const struct subject_transport polled_in_place_broadcast = {
    polled_broadcast_prepare, broadcast_open, polled_in_place_loop, pair_close};

#define FLAGS  "ours,isolated"
#define POLLED FLAGS ",spins"

const struct subject_row unixipc_feeds[] = {
    {"feed", "latency-poll", "feed", FLAGS, NULL, &spinning, NULL},
    SUBJECT_TRANSPORT("feed", "feed", FLAGS, NULL, plain),
    {"feed", "broadcast", "feed", FLAGS, NULL, &broadcast, NULL},
    {"feed-place", "latency-poll", "feed, in place", FLAGS, NULL, &in_place_spinning, NULL},
    SUBJECT_TRANSPORT("feed-place", "feed, in place", FLAGS, NULL, in_place),
    {"feed-place", "broadcast", "feed, in place", FLAGS, NULL, &in_place_broadcast, NULL},
    {"feed-poll", "broadcast", "feed, polled", POLLED, NULL, &polled_broadcast, NULL},
    {"feed-place-poll", "broadcast", "feed, polled in place", POLLED, NULL,
     &polled_in_place_broadcast, NULL},
    {0},
};
