/* Feeds as transports between two processes: one in each direction. */
#include "channel_payload.h"

#include <poll.h>
#include <sys/socket.h>

/* The feed of this process, and its subscription to that of the other one. */
struct link {
    const struct transport *transport; /* NULL: no feeds */
    size_t ring_size;
    int socks[2][2]; /* for the publisher on each side: its socket, and the subscriber's */
    struct ipc_feed *feed;
    struct ipc_sub *sub;
};

static struct link links[TRANSPORTS_MAX];
static struct ipc_feed *to;
static struct ipc_sub *from;

struct ipc_feed *feed_new(const struct ipc_feed_opts *opts, const int *socks, int count)
{
    struct ipc_feed *new_feed;

    must(ipc_feed_create(opts, sizeof(*opts), &new_feed), "ipc_feed_create");
    struct pollfd event = {.fd = ipc_feed_fd(new_feed), .events = POLLIN};
    for (int i = 0; i < count; i++)
        while (ipc_feed_add(new_feed, socks[i]) < 0) {
            /* Only some sockets may wait for the request of a subscriber. */
            if (errno != EAGAIN)
                err(1, "ipc_feed_add");
            must(poll(&event, 1, -1), "poll");
            must(ipc_feed_service(new_feed), "ipc_feed_service");
        }
    while (ipc_feed_subscribers(new_feed, NULL, 0, 0) < count) {
        must(poll(&event, 1, -1), "poll");
        must(ipc_feed_service(new_feed), "ipc_feed_service");
    }
    return new_feed;
}

static inline void feed_put(size_t len, uint64_t n)
{
    fill(payload_out, len, n);
    must(ipc_feed_publish(to, payload_out, len, -1), "ipc_feed_publish");
}

static inline void feed_get(size_t len, uint64_t n)
{
    if (ipc_sub_recv(from, payload_in, sizeof(payload_in), NULL, -1) != (ssize_t)len)
        err(1, "ipc_sub_recv");
    check(payload_in, len, n);
}

LOOPS(feed)

const struct transport feed = {feed_loop, FEED, {0}};
const struct transport feed_spinning = {feed_loop, FEED, {.spin_us = 1000000}};

void feed_transport_open(int index, const struct transport *transport, size_t ring_size)
{
    struct link *link = &links[index];

    link->transport = transport;
    link->ring_size = ring_size;
    for (int i = 0; i < 2; i++)
        must(ipc_pair_open(SOCK_SEQPACKET, link->socks[i]), "ipc_pair_open");
}

/* One feed after the other, because a subscriber waits until it is admitted. */
static void connect_link(struct link *link)
{
    unsigned spin_us = link->transport->opts.spin_us;

    for (int i = 0; i < 2; i++) {
        if (i == side) {
            struct ipc_feed_opts opts = {.spin_us = spin_us, .size = link->ring_size};
            link->feed = feed_new(&opts, &link->socks[i][0], 1);
        } else {
            struct ipc_sub_opts opts = {.spin_us = spin_us};
            must(ipc_sub_from_fd(link->socks[i][1], &opts, sizeof(opts), -1, &link->sub),
                 "ipc_sub_from_fd");
        }
    }
    for (int i = 0; i < 4; i++)
        close(link->socks[i / 2][i % 2]);
}

void feed_transports_keep_side(void)
{
    for (int i = 0; i < TRANSPORTS_MAX; i++)
        if (links[i].transport != NULL)
            connect_link(&links[i]);
}

void feed_transports_close(void)
{
    for (int i = 0; i < TRANSPORTS_MAX; i++) {
        ipc_sub_close(links[i].sub);
        ipc_feed_close(links[i].feed);
    }
    memset(links, 0, sizeof(links));
}

void feed_transport_use(int index)
{
    to = links[index].feed;
    from = links[index].sub;
}
