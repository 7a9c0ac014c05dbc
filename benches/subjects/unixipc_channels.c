/* Channels: part of the subject unixipc. */
#include "subject.h"

#include <limits.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unixipc.h>

/* --- transports --- */

static struct ipc_channel *ends[2], *channel;

static void make_channel(uint32_t flags, uint32_t spin_us)
{
    struct ipc_channel_opts opts = {
        .flags = flags, .spin_us = spin_us, .send_size = subject_ring_size()};

    subject_must(ipc_channel_pair(&opts, sizeof(opts), ends), "ipc_channel_pair");
}

static void channel_prepare(void)
{
    make_channel(0, 0);
}

static void sleeping_prepare(void)
{
    make_channel(IPC_CHANNEL_F_NO_SPIN, 0);
}

static void spinning_prepare(void)
{
    make_channel(0, 1000000);
}

static void channel_open(void)
{
    channel = ends[subject_side];
    ipc_channel_close(ends[1 - subject_side]);
}

static void channel_close(void)
{
    ipc_channel_close(channel);
}

SUBJECT_INLINE void channel_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_channel_send(channel, subject_out, len, -1), "ipc_channel_send");
}

SUBJECT_INLINE void channel_get(size_t len, uint64_t n)
{
    if (ipc_channel_recv(channel, subject_in, len, -1) != (ssize_t)len)
        err(1, "ipc_channel_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(channel)

SUBJECT_INLINE void in_place_put(size_t len, uint64_t n)
{
    void *payload = ipc_channel_reserve(channel, len, -1);

    if (payload == NULL)
        err(1, "ipc_channel_reserve");
    subject_fill(payload, len, n);
    subject_must(ipc_channel_commit(channel, len), "ipc_channel_commit");
}

SUBJECT_INLINE void in_place_get(size_t len, uint64_t n)
{
    const void *payload;

    if (ipc_channel_peek(channel, &payload, -1) != (ssize_t)len)
        err(1, "ipc_channel_peek");
    subject_check(payload, len, n);
    subject_must(ipc_channel_release(channel), "ipc_channel_release");
}

SUBJECT_LOOP(in_place)

/* --- batches --- */

#define BATCH 16

/* The messages of a batch: `len` bytes each. */
static char *batch;
static struct iovec batch_messages[BATCH];

/* Sends messages with the numbers from `first` to `end` - 1. */
SUBJECT_INLINE void batch_put(size_t len, uint64_t first, uint64_t end)
{
    while (first < end) {
        size_t count = end - first < BATCH ? (size_t)(end - first) : BATCH;
        for (size_t i = 0; i < count; i++) {
            batch_messages[i] = (struct iovec){batch + i * len, len};
            subject_fill(batch + i * len, len, first + i);
        }
        for (size_t done = 0; done < count;) {
            ssize_t sent = ipc_channel_send_many(channel, batch_messages + done, count - done, -1);
            subject_must(sent < 0 ? -1 : 0, "ipc_channel_send_many");
            done += (size_t)sent;
        }
        first += count;
    }
}

SUBJECT_INLINE void batch_get(size_t len, uint64_t first, uint64_t end)
{
    while (first < end) {
        size_t count = end - first < BATCH ? (size_t)(end - first) : BATCH;
        for (size_t i = 0; i < count; i++)
            batch_messages[i] = (struct iovec){batch + i * len, len};
        ssize_t got = ipc_channel_recv_many(channel, batch_messages, count, -1);
        if (got <= 0)
            err(1, "ipc_channel_recv_many");
        for (size_t i = 0; i < (size_t)got; i++)
            subject_check(batch + i * len, batch_messages[i].iov_len == len ? len : 0, first + i);
        first += (uint64_t)got;
    }
}

static void batch_prepare(void)
{
    channel_prepare();
    batch = malloc(BATCH * subject.len);
    if (batch == NULL)
        err(1, "malloc");
}

/* One way only: a round trip has no batches. */
static void batch_loop(enum subject_pattern pattern, long count, size_t len, uint64_t first)
{
    if (pattern != SUBJECT_ONE_WAY)
        errx(1, "batches go one way");
    if (subject_side == 0)
        batch_put(len, first, first + (uint64_t)count);
    else
        batch_get(len, first, first + (uint64_t)count);
}

/* --- creating, using and removing --- */

static uint64_t number; /* of the next message */

static void channel_setup(void)
{
    channel_prepare();
    channel = ends[0];
    channel_put(subject.len, number);
    channel = ends[1];
    channel_get(subject.len, number++);
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
}

/* A client connects to the path of a server, which is a thread of the same process and runs on the
 * same processor. */
static int listener;
static char address[PATH_MAX];

static void *serve(void *unused)
{
    char *message = malloc(subject.len);

    (void)unused;
    if (message == NULL)
        err(1, "malloc");
    for (;;) {
        struct ipc_channel *client;
        subject_must(ipc_channel_accept(listener, NULL, 0, -1, &client), "ipc_channel_accept");
        if (ipc_channel_recv(client, message, subject.len, -1) != (ssize_t)subject.len)
            err(1, "ipc_channel_recv");
        subject_must(ipc_channel_send(client, message, subject.len, -1), "ipc_channel_send");
        ipc_channel_close(client);
    }
    return NULL;
}

static void connect_prepare(void)
{
    snprintf(address, sizeof(address), "%s/channel", subject_directory());
    subject_must(listener = ipc_channel_listen(address, 0600, 0), "ipc_channel_listen");
}

static void connect_setup(void)
{
    static bool started;
    pthread_t thread;

    if (!started && pthread_create(&thread, NULL, serve, NULL) != 0)
        errx(1, "pthread_create");
    started = true;
    subject_must(ipc_channel_connect(address, NULL, 0, -1, &channel), "ipc_channel_connect");
    channel_put(subject.len, number);
    channel_get(subject.len, number++);
    ipc_channel_close(channel);
}

/* The largest message of a batch, and of a set-up test, as for the other mechanisms. */
static size_t setup_max_len(void)
{
    return 65536;
}

SUBJECT_SETUP_OPERATION(channel, NULL)
SUBJECT_SETUP_OPERATION(connect, connect_prepare)

/* --- a server with many channels --- */

static struct ipc_channel *(*channels)[2];
static int server;

static void idle_prepare(void)
{
    /* The test is about the number of channels, so small rings are enough. */
    struct ipc_channel_opts opts = {.message_max = subject.len, .send_size = 64 * 1024};

    channels = calloc((size_t)subject.n, sizeof(*channels));
    if (channels == NULL)
        err(1, "malloc");
    for (long i = 0; i < subject.n; i++)
        subject_must(ipc_channel_pair(&opts, sizeof(opts), channels[i]), "ipc_channel_pair");
}

static void idle_open(void)
{
    for (long i = 0; i < subject.n; i++)
        ipc_channel_close(channels[i][1 - subject_side]);
    if (subject_side == 0)
        return;
    subject_must(server = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (long i = 0; i < subject.n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = channels[i][1]};
        int fd = ipc_channel_fd(channels[i][1]);
        subject_must(fd, "ipc_channel_fd");
        subject_must(epoll_ctl(server, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    }
}

/* The client uses its channels in turn. The server answers on the same channel. */
SUBJECT_INLINE void idle_put(size_t len, uint64_t n)
{
    if (subject_side == 0)
        channel = channels[n % (uint64_t)subject.n][0];
    channel_put(len, n);
}

/* The server receives until the channel is empty, as the manual page says. */
SUBJECT_INLINE void idle_get(size_t len, uint64_t n)
{
    if (subject_side == 0) {
        channel_get(len, n);
        return;
    }
    for (;;) {
        ssize_t got = channel == NULL ? 0 : ipc_channel_recv(channel, subject_in, len, 0);
        if (got == (ssize_t)len)
            break;
        if (channel != NULL && (got >= 0 || errno != EAGAIN))
            err(1, "ipc_channel_recv");
        struct epoll_event ready;
        if (epoll_wait(server, &ready, 1, -1) != 1)
            err(1, "epoll_wait");
        channel = ready.data.ptr;
    }
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(idle)

/* --- a channel for each of many receivers --- */

static void broadcast_prepare(void)
{
    struct ipc_channel_opts opts = {.send_size = subject_ring_size()};

    channels = calloc((size_t)subject.n, sizeof(*channels));
    if (channels == NULL)
        err(1, "malloc");
    for (long i = 0; i < subject.n; i++)
        subject_must(ipc_channel_pair(&opts, sizeof(opts), channels[i]), "ipc_channel_pair");
}

static void broadcast_open(void)
{
    for (long i = 0; i < subject.n; i++) {
        ipc_channel_close(channels[i][subject_side == 0 ? 1 : 0]);
        if (subject_side == i + 1)
            channel = channels[i][1];
        else if (subject_side != 0)
            ipc_channel_close(channels[i][1]);
    }
}

SUBJECT_INLINE void broadcast_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    for (long i = 0; i < subject.n; i++)
        subject_must(ipc_channel_send(channels[i][0], subject_out, len, -1), "ipc_channel_send");
}

SUBJECT_INLINE void broadcast_get(size_t len, uint64_t n)
{
    channel_get(len, n);
}

SUBJECT_LOOP(broadcast)

/* --- rows --- */

static const struct subject_transport plain = {channel_prepare, channel_open, channel_loop,
                                               channel_close};
static const struct subject_transport spinning = {spinning_prepare, channel_open, channel_loop,
                                                  channel_close};
static const struct subject_transport sleeping = {sleeping_prepare, channel_open, channel_loop,
                                                  channel_close};
static const struct subject_transport in_place = {channel_prepare, channel_open, in_place_loop,
                                                  channel_close};
static const struct subject_transport in_place_spinning = {spinning_prepare, channel_open,
                                                           in_place_loop, channel_close};
static const struct subject_transport batches = {batch_prepare, channel_open, batch_loop,
                                                 channel_close};
static const struct subject_transport broadcast = {broadcast_prepare, broadcast_open,
                                                   broadcast_loop, NULL};
static const struct subject_transport idle = {idle_prepare, idle_open, idle_loop, NULL};

#define FLAGS "ours,isolated"

const struct subject_row unixipc_channels[] = {
    {"channel", "latency-poll", "channel", FLAGS, NULL, &spinning, NULL},
    SUBJECT_TRANSPORT("channel", "channel", FLAGS, NULL, plain),
    SUBJECT_SETUP("channel", "channel", FLAGS, setup_max_len, channel),
    {"channel", "idle", "channel", FLAGS, NULL, &idle, NULL},
    {"channel", "broadcast", "a channel for each", FLAGS, NULL, &broadcast, NULL},
    {"channel-place", "latency-poll", "channel, in place", FLAGS, NULL, &in_place_spinning, NULL},
    SUBJECT_TRANSPORT("channel-place", "channel, in place", FLAGS, NULL, in_place),
    {"channel-batch", "rate", "channel, 16 at a time", FLAGS, setup_max_len, &batches, NULL},
    SUBJECT_TRANSPORT("channel-sleep", "channel, NO_SPIN", FLAGS, NULL, sleeping),
    SUBJECT_SETUP("channel-path", "channel, by a path", FLAGS, setup_max_len, connect),
    {0},
};
