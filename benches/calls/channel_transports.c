/* The transports of the channel benchmark, except feeds. */
#include "channel_payload.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../ring.h"

_Alignas(64) char payload_out[LONGEST], payload_in[LONGEST];
volatile uint64_t payload_sink;
int side;

static struct ring forth, back, to_other, from_other;
static struct ipc_channel *ends[TRANSPORTS_MAX][2], *ch;
static int sockets[2], fifos[2][2], in_fd, out_fd;

static inline void ring_put(size_t len, uint64_t n)
{
    fill(payload_out, len, n);
    ring_send(&to_other, payload_out, len);
}

static inline void ring_get(size_t len, uint64_t n)
{
    check(payload_in, ring_recv(&from_other, payload_in) == len ? len : 0, n);
}

static inline void channel_put(size_t len, uint64_t n)
{
    fill(payload_out, len, n);
    must(ipc_channel_send(ch, payload_out, len, -1), "ipc_channel_send");
}

static inline void channel_get(size_t len, uint64_t n)
{
    if (ipc_channel_recv(ch, payload_in, sizeof(payload_in), -1) != (ssize_t)len)
        err(1, "ipc_channel_recv");
    check(payload_in, len, n);
}

static inline void in_place_put(size_t len, uint64_t n)
{
    void *payload = ipc_channel_reserve(ch, len, -1);
    if (payload == NULL)
        err(1, "ipc_channel_reserve");
    fill(payload, len, n);
    must(ipc_channel_commit(ch, len), "ipc_channel_commit");
}

static inline void in_place_get(size_t len, uint64_t n)
{
    const void *payload;
    if (ipc_channel_peek(ch, &payload, -1) != (ssize_t)len)
        err(1, "ipc_channel_peek");
    check(payload, len, n);
    must(ipc_channel_release(ch), "ipc_channel_release");
}

static inline void bytes_put(size_t len, uint64_t n)
{
    fill(payload_out, len, n);
    for (size_t done = 0; done < len;) {
        ssize_t some = write(out_fd, payload_out + done, len - done);
        must(some, "write");
        done += (size_t)some;
    }
}

static inline void bytes_get(size_t len, uint64_t n)
{
    for (size_t done = 0; done < len;) {
        ssize_t some = read(in_fd, payload_in + done, len - done);
        must(some, "read");
        if (some == 0)
            _exit(0);
        done += (size_t)some;
    }
    check(payload_in, len, n);
}

LOOPS(ring)
LOOPS(channel)
LOOPS(in_place)
LOOPS(bytes)

/* Batches of 16 messages, one way. */
#define BATCH 16

/* Describes the buffers of the messages from `first` on; returns how many they are. */
static size_t batch_of(struct iovec messages[BATCH], char *at, size_t len, long first, long end)
{
    size_t count = end - first < BATCH ? (size_t)(end - first) : BATCH;

    for (size_t i = 0; i < count; i++)
        messages[i] = (struct iovec){at + i * len, len};
    return count;
}

static void batch_loop(enum pattern pattern, long end, size_t len)
{
    struct iovec messages[BATCH];

    if (pattern != ONE_WAY || BATCH * len > sizeof(payload_in))
        errx(1, "no batches");
    for (long first = 0; first < end && side == 0;) {
        size_t count = batch_of(messages, payload_out, len, first, end);
        for (size_t i = 0; i < count; i++)
            fill(payload_out + i * len, len, (uint64_t)first + i);
        for (size_t done = 0; done < count;) {
            ssize_t sent = ipc_channel_send_many(ch, messages + done, count - done, -1);
            must(sent < 0 ? -1 : 0, "ipc_channel_send_many");
            done += (size_t)sent;
        }
        first += (long)count;
    }
    for (long first = 0; first < end && side == 1;) {
        size_t count = batch_of(messages, payload_in, len, first, end);
        ssize_t got = ipc_channel_recv_many(ch, messages, count, -1);
        must(got <= 0 ? -1 : 0, "ipc_channel_recv_many");
        for (ssize_t i = 0; i < got; i++)
            check(payload_in + (size_t)i * len, messages[i].iov_len == len ? len : 0,
                  (uint64_t)(first + i));
        first += got;
    }
}

/* Round trips by request and reply. */
static inline void call_by(long count, size_t len, int timeout_ms)
{
    for (long i = 0; i < count; i++) {
        uint64_t id;

        if (side == 0) {
            fill(payload_out, len, (uint64_t)i);
            if (ipc_channel_call(ch, payload_out, len, payload_in, sizeof(payload_in),
                                 timeout_ms) != (ssize_t)len)
                err(1, "ipc_channel_call");
            check(payload_in, len, (uint64_t)i);
        } else {
            if (ipc_channel_next_call(ch, payload_in, sizeof(payload_in), &id, -1) != (ssize_t)len)
                err(1, "ipc_channel_next_call");
            check(payload_in, len, (uint64_t)i);
            fill(payload_out, len, (uint64_t)i);
            must(ipc_channel_reply(ch, id, payload_out, len, -1), "ipc_channel_reply");
        }
    }
}

static void call_loop(enum pattern pattern, long count, size_t len)
{
    (void)pattern;
    call_by(count, len, -1);
}

static void timed_call_loop(enum pattern pattern, long count, size_t len)
{
    (void)pattern;
    call_by(count, len, 10000);
}

const struct transport ring = {ring_loop, RING, {0}};
const struct transport channel = {channel_loop, CHANNEL, {0}};
const struct transport channel_spinning = {channel_loop, CHANNEL, {.spin_us = 1000000}};
const struct transport channel_sleeping = {channel_loop, CHANNEL, {.flags = IPC_CHANNEL_F_NO_SPIN}};
const struct transport calls_spinning = {call_loop, CHANNEL, {.spin_us = 1000000}};
const struct transport timed_calls_spinning = {timed_call_loop, CHANNEL, {.spin_us = 1000000}};
const struct transport calls = {call_loop, CHANNEL, {0}};
const struct transport timed_calls = {timed_call_loop, CHANNEL, {0}};
const struct transport in_place = {in_place_loop, CHANNEL, {0}};
const struct transport batches = {batch_loop, CHANNEL, {0}};
const struct transport stream = {bytes_loop, SOCKETS, {0}};
const struct transport fifo = {bytes_loop, FIFOS, {0}};

static void make_fifos(void)
{
    char directory[] = "/tmp/unixipc-bench-XXXXXX", path[sizeof(directory) + 2];

    if (mkdtemp(directory) == NULL)
        err(1, "mkdtemp");
    snprintf(path, sizeof(path), "%s/f", directory);
    for (int i = 0; i < 2; i++) {
        must(mkfifo(path, 0600), "mkfifo");
        must(fifos[i][0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
        must(fifos[i][1] = open(path, O_WRONLY | O_CLOEXEC), "open");
        must(fcntl(fifos[i][0], F_SETFL, 0), "fcntl");
        must(unlink(path), "unlink");
    }
    must(rmdir(directory), "rmdir");
}

void transports_open(const struct transport *const *transports, size_t ring_size)
{
    forth = ring_new(ring_size);
    back = ring_new(ring_size);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), "socketpair");
    make_fifos();
    for (int i = 0; i < TRANSPORTS_MAX && transports[i] != NULL; i++) {
        if (transports[i]->medium == FEED)
            feed_transport_open(i, transports[i], ring_size);
        if (transports[i]->medium != CHANNEL)
            continue;
        struct ipc_channel_opts opts = transports[i]->opts;
        opts.send_size = ring_size;
        must(ipc_channel_pair(&opts, sizeof(opts), ends[i]), "ipc_channel_pair");
    }
}

void transports_keep_side(void)
{
    to_other = side == 0 ? forth : back;
    from_other = side == 0 ? back : forth;
    for (int i = 0; i < TRANSPORTS_MAX; i++)
        ipc_channel_close(ends[i][1 - side]);
    feed_transports_keep_side();
}

void transports_close(void)
{
    for (int i = 0; i < TRANSPORTS_MAX; i++) {
        ipc_channel_close(ends[i][side]);
        ends[i][0] = ends[i][1] = NULL;
    }
    for (int i = 0; i < 2; i++) {
        close(sockets[i]);
        close(fifos[i][0]);
        close(fifos[i][1]);
    }
    feed_transports_close();
    ring_free(&forth);
    ring_free(&back);
}

void transport_use(const struct transport *transport, int index)
{
    ch = ends[index][side];
    feed_transport_use(index);
    in_fd = transport->medium == SOCKETS ? sockets[side] : fifos[1 - side][0];
    out_fd = transport->medium == SOCKETS ? sockets[side] : fifos[side][1];
}

void transport_stats(int index, struct ipc_channel_stats *ret_stats)
{
    must(ipc_channel_stats(ends[index][side], ret_stats, sizeof(*ret_stats)), "ipc_channel_stats");
}
