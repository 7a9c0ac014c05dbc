/* unixipc: what this library has for messages. unixipc_locks.c has its locks and values. */
#include "subject.h"

#include <limits.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unixipc.h>

extern const struct subject_row unixipc_locks[];

/* --- channels --- */

static struct ipc_channel *ends[2], *channel;

static void channel_make(uint32_t flags, uint32_t spin_us)
{
    struct ipc_channel_opts opts = {
        .flags = flags, .spin_us = spin_us, .send_size = subject_ring_size()};

    subject_must(ipc_channel_pair(&opts, sizeof(opts), ends), "ipc_channel_pair");
}

static void channel_prepare(void)
{
    channel_make(0, 0);
}

static void sleeping_prepare(void)
{
    channel_make(IPC_CHANNEL_F_NO_SPIN, 0);
}

static void spinning_prepare(void)
{
    channel_make(0, 1000000);
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

/* --- pairs and FIFOs --- */

static int pair[2], in_fd, out_fd;

static void stream_prepare(void)
{
    subject_must(ipc_pair_open(SOCK_STREAM, pair), "ipc_pair_open");
}

static void seqpacket_prepare(void)
{
    subject_must(ipc_pair_open(SOCK_SEQPACKET, pair), "ipc_pair_open");
}

static void pair_open(void)
{
    in_fd = out_fd = pair[subject_side];
    close(pair[1 - subject_side]);
}

SUBJECT_INLINE void full_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_send_full(out_fd, subject_out, len, NULL, -1), "ipc_send_full");
}

SUBJECT_INLINE void full_get(size_t len, uint64_t n)
{
    if (ipc_recv_full(in_fd, subject_in, len, NULL, -1) != (ssize_t)len)
        err(1, "ipc_recv_full");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(full)

SUBJECT_INLINE void msg_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_msg_send(out_fd, subject_out, len, NULL, 0, -1), "ipc_msg_send");
}

SUBJECT_INLINE void msg_get(size_t len, uint64_t n)
{
    if (ipc_msg_recv(in_fd, subject_in, len, NULL, NULL, -1) != (ssize_t)len)
        err(1, "ipc_msg_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(msg)

static int fifos[2][2];

/* Both ends of a new FIFO, whose name is gone again. */
static void fifo_make(int fd[2], const char *path)
{
    subject_must(ipc_fifo_create(path, 0600, 0), "ipc_fifo_create");
    subject_must(fd[0] = ipc_fifo_open(path, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, -1),
                 "ipc_fifo_open");
    subject_must(fd[1] = ipc_fifo_open(path, IPC_FIFO_F_WRITE, -1), "ipc_fifo_open");
    subject_must(ipc_fifo_unlink(path), "ipc_fifo_unlink");
}

static char path[PATH_MAX];

static void path_prepare(void)
{
    snprintf(path, sizeof(path), "%s/fifo", subject_folder());
}

static void fifo_prepare(void)
{
    path_prepare();
    for (int i = 0; i < 2; i++)
        fifo_make(fifos[i], path);
}

static void fifo_open(void)
{
    in_fd = fifos[1 - subject_side][0];
    out_fd = fifos[subject_side][1];
    close(fifos[subject_side][0]);
    close(fifos[1 - subject_side][1]);
}

SUBJECT_INLINE void fifo_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_fifo_send(out_fd, subject_out, len, -1), "ipc_fifo_send");
}

SUBJECT_INLINE void fifo_get(size_t len, uint64_t n)
{
    if (ipc_fifo_recv(in_fd, subject_in, len, -1) != (ssize_t)len)
        err(1, "ipc_fifo_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(fifo)

/* --- making one, a message through it, and away with it --- */

static uint64_t made;

static void channel_setup(void)
{
    channel_prepare();
    channel = ends[0];
    channel_put(subject.len, made);
    channel = ends[1];
    channel_get(subject.len, made++);
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
}

static void pair_setup(int type, bool messages)
{
    subject_must(ipc_pair_open(type, pair), "ipc_pair_open");
    out_fd = pair[0];
    in_fd = pair[1];
    if (messages) {
        msg_put(subject.len, made);
        msg_get(subject.len, made++);
    } else {
        full_put(subject.len, made);
        full_get(subject.len, made++);
    }
    close(pair[0]);
    close(pair[1]);
}

static void full_setup(void)
{
    pair_setup(SOCK_STREAM, false);
}

static void msg_stream_setup(void)
{
    pair_setup(SOCK_STREAM, true);
}

static void msg_setup(void)
{
    pair_setup(SOCK_SEQPACKET, true);
}

static void fifo_setup(void)
{
    int fd[2];

    fifo_make(fd, path);
    in_fd = fd[0];
    out_fd = fd[1];
    fifo_put(subject.len, made);
    fifo_get(subject.len, made++);
    close(fd[0]);
    close(fd[1]);
}

/* A region, and its descriptor opened as another process would. */
static void shm_setup(void)
{
    struct ipc_shm *first, *second;

    subject_must(ipc_shm_create(subject_ring_size(), NULL, 0, &first), "ipc_shm_create");
    subject_must(ipc_shm_from_fd(ipc_shm_fd(first), IPC_SHM_F_RDONLY, &second), "ipc_shm_from_fd");
    subject_fill(ipc_shm_addr(first), subject.len, made);
    subject_check(ipc_shm_addr(second), subject.len, made++);
    ipc_shm_close(first);
    ipc_shm_close(second);
}

/* A thread is the server, so that there is one process; both are on one processor. */
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
    snprintf(address, sizeof(address), "%s/channel", subject_folder());
    subject_must(listener = ipc_channel_listen(address, 0600, 0), "ipc_channel_listen");
}

static void connect_setup(void)
{
    static bool served;
    pthread_t server;

    if (!served && pthread_create(&server, NULL, serve, NULL) != 0)
        errx(1, "no thread can be started");
    served = true;
    subject_must(ipc_channel_connect(address, NULL, 0, -1, &channel), "ipc_channel_connect");
    channel_put(subject.len, made);
    channel_get(subject.len, made++);
    ipc_channel_close(channel);
}

SUBJECT_WORK(channel_setup)
SUBJECT_WORK(connect_setup)
SUBJECT_WORK(full_setup)
SUBJECT_WORK(msg_setup)
SUBJECT_WORK(msg_stream_setup)
SUBJECT_WORK(fifo_setup)
SUBJECT_WORK(shm_setup)

/* --- a server with many channels --- */

static struct ipc_channel *(*channels)[2];
static int server;

static void idle_prepare(void)
{
    /* Small rings: that there are many is what counts. */
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

/* The client uses its channels in turn; the server answers where it was asked. */
SUBJECT_INLINE void idle_put(size_t len, uint64_t n)
{
    if (subject_side == 0)
        channel = channels[n % (uint64_t)subject.n][0];
    channel_put(len, n);
}

/* The server receives until there is nothing more, as the manual says. */
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

/* --- all of them --- */

static const struct subject_way plain = {channel_prepare, channel_open, channel_loop,
                                         channel_close};
static const struct subject_way spinning = {spinning_prepare, channel_open, channel_loop,
                                            channel_close};
static const struct subject_way sleeping = {sleeping_prepare, channel_open, channel_loop,
                                            channel_close};
static const struct subject_way in_place = {channel_prepare, channel_open, in_place_loop,
                                            channel_close};
static const struct subject_way in_place_spinning = {spinning_prepare, channel_open, in_place_loop,
                                                     channel_close};
static const struct subject_way full = {stream_prepare, pair_open, full_loop, NULL};
static const struct subject_way msg_stream = {stream_prepare, pair_open, msg_loop, NULL};
static const struct subject_way msg = {seqpacket_prepare, pair_open, msg_loop, NULL};
static const struct subject_way fifo = {fifo_prepare, fifo_open, fifo_loop, NULL};
static const struct subject_way idle = {idle_prepare, idle_open, idle_loop, NULL};

static const struct subject_work channel_made = {NULL, channel_setup_work, NULL};
static const struct subject_work connected = {connect_prepare, connect_setup_work, NULL};
static const struct subject_work full_made = {NULL, full_setup_work, NULL};
static const struct subject_work msg_stream_made = {NULL, msg_stream_setup_work, NULL};
static const struct subject_work msg_made = {NULL, msg_setup_work, NULL};
static const struct subject_work fifo_made = {path_prepare, fifo_setup_work, NULL};
static const struct subject_work shm_made = {NULL, shm_setup_work, NULL};

#define PACKET_MAX 1 /* what a local socket takes, which main fills in */
#define RECORD_MAX (IPC_FIFO_RECORD_MAX & ~7)
#define SETUP_MAX  65536 /* fits into a pipe or socket before anybody reads */

static struct subject_row rows[] = {
    {"channel", "latency-poll", "channel", "ours,isolated", 0, &spinning, NULL},
    {"channel", "latency-block", "channel", "ours,isolated", 0, &plain, NULL},
    {"channel", "rate", "channel", "ours,isolated", 0, &plain, NULL},
    {"channel", "setup", "channel", "ours,isolated", SETUP_MAX, NULL, &channel_made},
    {"channel", "idle", "channel", "ours,isolated", 0, &idle, NULL},
    {"channel-place", "latency-poll", "channel, in place", "ours,isolated", 0, &in_place_spinning,
     NULL},
    {"channel-place", "latency-block", "channel, in place", "ours,isolated", 0, &in_place, NULL},
    {"channel-place", "rate", "channel, in place", "ours,isolated", 0, &in_place, NULL},
    {"channel-sleep", "latency-block", "channel, NO_SPIN", "ours,isolated", 0, &sleeping, NULL},
    {"channel-sleep", "rate", "channel, NO_SPIN", "ours,isolated", 0, &sleeping, NULL},
    {"channel-path", "setup", "channel, by a path", "ours,isolated", SETUP_MAX, NULL, &connected},
    {"full", "latency-block", "send_full on a stream", "ours,isolated", 0, &full, NULL},
    {"full", "rate", "send_full on a stream", "ours,isolated", 0, &full, NULL},
    {"full", "setup", "send_full on a stream", "ours,isolated", SETUP_MAX, NULL, &full_made},
    {"msg-stream", "latency-block", "messages on a stream", "ours,isolated", 0, &msg_stream, NULL},
    {"msg-stream", "rate", "messages on a stream", "ours,isolated", 0, &msg_stream, NULL},
    {"msg-stream", "setup", "messages on a stream", "ours,isolated", SETUP_MAX, NULL,
     &msg_stream_made},
    {"msg", "latency-block", "messages on seqpacket", "ours,isolated", PACKET_MAX, &msg, NULL},
    {"msg", "rate", "messages on seqpacket", "ours,isolated", PACKET_MAX, &msg, NULL},
    {"msg", "setup", "messages on seqpacket", "ours,isolated", SETUP_MAX, NULL, &msg_made},
    {"fifo", "latency-block", "FIFO records", "ours,isolated", RECORD_MAX, &fifo, NULL},
    {"fifo", "rate", "FIFO records", "ours,isolated", RECORD_MAX, &fifo, NULL},
    {"fifo", "setup", "FIFO records", "ours,isolated", RECORD_MAX, NULL, &fifo_made},
    {"shm", "setup", "region of shared memory", "ours", 0, NULL, &shm_made},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, unixipc_locks, NULL};
    char version[64];

    for (struct subject_row *row = rows; row->variant != NULL; row++)
        if (row->max == PACKET_MAX)
            row->max = subject_packet_max();
    snprintf(version, sizeof(version), "unixipc %s", ipc_version());
    return subject_main(argc, argv, version, tables);
}
