/*
 * channel: messages between two processes, beside what there is otherwise: a minimal ring that
 * spins (../ring.h), a stream socket pair and FIFOs, used barely.
 *
 * Every payload is written by its sender and read by its receiver, who also checks it. What is
 * compared is timed in turn, in blocks of some milliseconds; a figure is the median of the
 * blocks, a ratio that of the medians, and behind it stand what was aimed at and the lowest and
 * the highest ratio of the rounds. QUICK=1 in the environment makes fewer and shorter blocks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bench.h"
#include "../ring.h"

#define KIB 1024
#define MIB (1024 * KIB)
#define LONGEST MIB
#define WORDS 64 /* up to here a payload is written word by word */

#define ROUNDS   5
#define WAYS_MAX 4

static int blocks = 11; /* of a way in a round */
static double block_ns = 3e6;

/* What a block is made of. */
enum kind { ONE_WAY, PING_PONG };

/* What the other process is to do. */
struct order {
    int way;
    long count;
};

/* What both processes see. */
static struct shared {
    _Alignas(128) atomic_uint waiting; /* how many are at the start of a block */
    _Alignas(128) atomic_uint done;    /* how many blocks have been received */
    struct ipc_channel_stats stats[WAYS_MAX]; /* of the other process's ends */
} *shared;

static _Alignas(64) char out[LONGEST], in[LONGEST];
static int side; /* 0 here, 1 in the other process */
static volatile uint64_t sink;

static struct ring to_other, from_other;
static struct ipc_channel *ends[WAYS_MAX][2], *ch;
static int sockets[2], fifos[2][2], in_fd, out_fd;

static cpu_set_t processors; /* all that there are for both */

static void pin(int n)
{
    must(sched_setaffinity(0, sizeof(processors), &processors), "sched_setaffinity");
    bench_pin(n);
}

static inline void fill(void *payload, size_t len, uint64_t n)
{
    if (len > WORDS) {
        memset(payload, (int)(n & 0xff), len);
        return;
    }
    for (size_t i = 0; i < len / 8; i++)
        memcpy((char *)payload + 8 * i, &n, 8);
}

typedef uint64_t pair __attribute__((vector_size(16)));

/* A long message is read by vectors, as memcpy reads it: word by word a processor has not enough
 * lines on their way from another one, and reading, not the channel, would be what is measured. */
static inline void check(const void *payload, size_t len, uint64_t n)
{
    const char *at = payload;
    pair words[4], a = {0}, b = {0}, c = {0}, d = {0};
    uint64_t word, sum = 0;
    size_t i = 0;

    for (; i + sizeof(words) <= len; i += sizeof(words)) {
        memcpy(words, at + i, sizeof(words));
        a += words[0];
        b += words[1];
        c += words[2];
        d += words[3];
    }
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, at + i, 8);
        sum += word;
    }
    a += b + c + d;
    sink = sum += a[0] + a[1];
    uint64_t expected = len > WORDS ? (n & 0xff) * 0x0101010101010101u : n;
    if (sum != expected * (len / 8))
        errx(1, "a wrong message");
}

static inline void ring_put(size_t len, uint64_t n)
{
    fill(out, len, n);
    ring_send(&to_other, out, len);
}

static inline void ring_get(size_t len, uint64_t n)
{
    check(in, ring_recv(&from_other, in) == len ? len : 0, n);
}

static inline void channel_put(size_t len, uint64_t n)
{
    fill(out, len, n);
    must(ipc_channel_send(ch, out, len, -1), "ipc_channel_send");
}

static inline void channel_get(size_t len, uint64_t n)
{
    if (ipc_channel_recv(ch, in, sizeof(in), -1) != (ssize_t)len)
        err(1, "ipc_channel_recv");
    check(in, len, n);
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
    fill(out, len, n);
    for (size_t done = 0; done < len;) {
        ssize_t some = write(out_fd, out + done, len - done);
        must(some, "write");
        done += (size_t)some;
    }
}

static inline void bytes_get(size_t len, uint64_t n)
{
    for (size_t done = 0; done < len;) {
        ssize_t some = read(in_fd, in + done, len - done);
        must(some, "read");
        if (some == 0)
            _exit(0);
        done += (size_t)some;
    }
    check(in, len, n);
}

/* The loops, so that no message goes through a pointer to a function. */
#define LOOPS(name)                                      \
    static void name##_loop(enum kind kind, long count, size_t len) \
    {                                                    \
        if (kind == PING_PONG && side == 0)              \
            for (long i = 0; i < count; i++) {           \
                name##_put(len, (uint64_t)i);            \
                name##_get(len, (uint64_t)i);            \
            }                                            \
        else if (kind == PING_PONG)                      \
            for (long i = 0; i < count; i++) {           \
                name##_get(len, (uint64_t)i);            \
                name##_put(len, (uint64_t)i);            \
            }                                            \
        else if (side == 0)                              \
            for (long i = 0; i < count; i++)             \
                name##_put(len, (uint64_t)i);            \
        else                                             \
            for (long i = 0; i < count; i++)             \
                name##_get(len, (uint64_t)i);            \
    }

LOOPS(ring)
LOOPS(channel)
LOOPS(in_place)
LOOPS(bytes)

enum medium { RING, CHANNEL, SOCKETS, FIFOS };

/* A way for messages to go. */
struct way {
    void (*loop)(enum kind kind, long count, size_t len);
    enum medium medium;
    struct ipc_channel_opts opts; /* of a channel */
};

static const struct way ring = {ring_loop, RING, {0}};
static const struct way channel = {channel_loop, CHANNEL, {0}};
static const struct way channel_spinning = {channel_loop, CHANNEL, {.spin_us = 1000000}};
static const struct way channel_sleeping = {channel_loop, CHANNEL, {.flags = IPC_CHANNEL_F_NO_SPIN}};
static const struct way in_place = {in_place_loop, CHANNEL, {0}};
static const struct way stream = {bytes_loop, SOCKETS, {0}};
static const struct way fifo = {bytes_loop, FIFOS, {0}};

/* What is measured together. */
struct row {
    enum kind kind;
    bool one_core;
    size_t len, ring_size;
    const struct way *ways[WAYS_MAX];
};

struct result {
    double ns[WAYS_MAX];         /* a message */
    double rounds[ROUNDS][WAYS_MAX];
    double sleeps[WAYS_MAX], wakes[WAYS_MAX]; /* of a channel, on both sides, a message */
    long messages[WAYS_MAX];
};

static void use(const struct way *way, int index)
{
    ch = ends[index][side];
    in_fd = way->medium == SOCKETS ? sockets[side] : fifos[1 - side][0];
    out_fd = way->medium == SOCKETS ? sockets[side] : fifos[side][1];
}

static void at_once(void)
{
    unsigned turn = atomic_fetch_add(&shared->waiting, 1) / 2;
    while (atomic_load(&shared->waiting) / 2 == turn)
        ;
}

static void other_process(const struct row *row, int orders)
{
    struct order order;

    while (read(orders, &order, sizeof(order)) == sizeof(order)) {
        use(row->ways[order.way], order.way);
        if (!row->one_core)
            at_once();
        row->ways[order.way]->loop(row->kind, order.count, row->len);
        if (ch != NULL)
            must(ipc_channel_stats(ch, &shared->stats[order.way], sizeof(shared->stats[0])),
                 "ipc_channel_stats");

        atomic_fetch_add(&shared->done, 1);
    }
}

/* The time of a block. */
static double block(const struct row *row, int way, long count, int orders)
{
    struct order order = {way, count};
    unsigned done = atomic_load(&shared->done);

    use(row->ways[way], way);
    must(write(orders, &order, sizeof(order)), "write");
    if (!row->one_core)
        at_once();
    double begin = bench_now_ns();
    row->ways[way]->loop(row->kind, count, row->len);
    while (row->kind == ONE_WAY && atomic_load(&shared->done) == done)
        ;
    double ns = bench_now_ns() - begin;
    while (atomic_load(&shared->done) == done)
        sched_yield();
    return ns;
}

/* Of a few: what has been interrupted by other work says nothing. */
static double shortest_block(const struct row *row, int way, long count, int orders)
{
    double shortest = block(row, way, count, orders);

    for (int i = 0; i < 4; i++) {
        double ns = block(row, way, count, orders);
        shortest = ns < shortest ? ns : shortest;
    }
    return shortest;
}

static void make_fifos(void)
{
    char folder[] = "/tmp/unixipc-bench-XXXXXX", path[sizeof(folder) + 2];

    if (mkdtemp(folder) == NULL)
        err(1, "mkdtemp");
    snprintf(path, sizeof(path), "%s/f", folder);
    for (int i = 0; i < 2; i++) {
        must(mkfifo(path, 0600), "mkfifo");
        must(fifos[i][0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
        must(fifos[i][1] = open(path, O_WRONLY | O_CLOEXEC), "open");
        must(fcntl(fifos[i][0], F_SETFL, 0), "fcntl");
        must(unlink(path), "unlink");
    }
    must(rmdir(folder), "rmdir");
}

static pid_t fork_other(void)
{
    pid_t child = bench_fork();

    if (child == 0) {
        side = 1;
    }
    return child;
}

static void wait_for(pid_t child)
{
    int status;

    must(waitpid(child, &status, 0), "waitpid");
    if (status != 0)
        errx(1, "the other process failed");
}

static struct result measure(const struct row *row)
{
    struct result result = {0};
    int orders[2], ways = 0;
    long counts[WAYS_MAX];
    static double all[WAYS_MAX][ROUNDS * 64];

    struct ring forth = ring_new(row->ring_size), back = ring_new(row->ring_size);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), "socketpair");
    make_fifos();
    must(pipe(orders), "pipe");
    for (; ways < WAYS_MAX && row->ways[ways] != NULL; ways++) {
        if (row->ways[ways]->medium != CHANNEL)
            continue;
        struct ipc_channel_opts opts = row->ways[ways]->opts;
        opts.send_size = row->ring_size;
        must(ipc_channel_pair(&opts, sizeof(opts), ends[ways]), "ipc_channel_pair");
    }

    pid_t child = fork_other();
    to_other = side == 0 ? forth : back;
    from_other = side == 0 ? back : forth;
    pin(row->one_core ? 0 : side);
    for (int way = 0; way < ways; way++)
        ipc_channel_close(ends[way][1 - side]);
    if (child == 0) {
        close(orders[1]);
        other_process(row, orders[0]);
        _exit(0);
    }
    close(orders[0]);

    /* Finds out how many make a block, and warms up. */
    for (int way = 0; way < ways; way++) {
        counts[way] = 4;
        while (shortest_block(row, way, counts[way], orders[1]) < block_ns / 2)
            counts[way] *= 2;
    }
    struct ipc_channel_stats before[WAYS_MAX][2] = {0};
    for (int way = 0; way < ways; way++)
        if (row->ways[way]->medium == CHANNEL) {
            must(ipc_channel_stats(ends[way][0], &before[way][0], sizeof(before[way][0])), "stats");
            before[way][1] = shared->stats[way];
        }

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < ways; turn++) {
                int way = (i + turn) % ways;
                all[way][round * blocks + i] =
                    block(row, way, counts[way], orders[1]) / (double)counts[way];
            }
        for (int way = 0; way < ways; way++) {
            double some[64];
            memcpy(some, &all[way][round * blocks], (size_t)blocks * sizeof(some[0]));
            result.rounds[round][way] = bench_median(some, (size_t)blocks);
        }
    }
    for (int way = 0; way < ways; way++) {
        result.ns[way] = bench_median(all[way], (size_t)(ROUNDS * blocks));
        result.messages[way] = counts[way] * blocks * ROUNDS;
        if (row->ways[way]->medium != CHANNEL)
            continue;
        struct ipc_channel_stats mine, theirs = shared->stats[way];
        must(ipc_channel_stats(ends[way][0], &mine, sizeof(mine)), "stats");
        double messages = (double)result.messages[way] * (row->kind == PING_PONG ? 2 : 1);
        result.sleeps[way] = (double)(mine.sleeps - before[way][0].sleeps + theirs.sleeps -
                                      before[way][1].sleeps) / messages;
        result.wakes[way] = (double)(mine.wakes - before[way][0].wakes + theirs.wakes -
                                     before[way][1].wakes) / messages;
    }

    close(orders[1]);
    wait_for(child);
    for (int way = 0; way < ways; way++) {
        ipc_channel_close(ends[way][0]);
        ends[way][0] = ends[way][1] = NULL;
    }
    for (int i = 0; i < 2; i++) {
        close(sockets[i]);
        close(fifos[i][0]);
        close(fifos[i][1]);
    }
    ring_free(&forth);
    ring_free(&back);
    return result;
}

/* One way's time to another's, or its inverse, and what it should be. */
static void print_ratio(const char *name, const struct result *result, int way, int to,
                        bool of_rates, const char *target)
{
    double low = 1e9, high = 0;
    double ratio = result->ns[way] / result->ns[to];

    for (int round = 0; round < ROUNDS; round++) {
        double one = result->rounds[round][way] / result->rounds[round][to];
        one = of_rates ? 1 / one : one;
        low = one < low ? one : low;
        high = one > high ? one : high;
    }
    printf("  %-38s %8.2f  %-8s (%.2f to %.2f)\n", name, of_rates ? 1 / ratio : ratio, target, low,
           high);
    fflush(stdout);
}

static void print_calls(const char *name, const struct result *result, int way)
{
    printf("  %-38s %8.4f sleeps, %.4f wake-ups a message\n", name, result->sleeps[way],
           result->wakes[way]);
}

static void latency(void)
{
    static const struct row polling = {PING_PONG, false, 8, 256 * KIB, {&ring, &channel_spinning}};
    static const struct row blocking[2] = {
        {PING_PONG, true, 8, 256 * KIB, {&stream, &fifo, &channel, &channel_sleeping}},
        {PING_PONG, false, 8, 256 * KIB, {&stream, &fifo, &channel, &channel_sleeping}},
    };

    struct result result = measure(&polling);
    printf("\nhalf a round trip of 8 bytes, polling, two cores: ring %.0f ns, channel %.0f ns\n",
           result.ns[0] / 2, result.ns[1] / 2);
    print_ratio("channel / ring", &result, 1, 0, false, "<= 1.1");
    print_calls("channel", &result, 1);

    for (int i = 0; i < 2; i++) {
        result = measure(&blocking[i]);
        printf("\nhalf a round trip of 8 bytes, blocking, %s: stream %.2f us, FIFOs %.2f us,\n"
               "channel %.2f us, channel that never spins %.2f us\n",
               i == 0 ? "one core" : "two cores", result.ns[0] / 2e3, result.ns[1] / 2e3,
               result.ns[2] / 2e3, result.ns[3] / 2e3);
        const char *target = i == 0 ? "<= 0.8" : "<= 1.1";
        print_ratio("channel / stream", &result, 2, 0, false, target);
        print_ratio("channel that never spins / stream", &result, 3, 0, false, target);
        print_ratio("channel / FIFOs", &result, 2, 1, false, "");
        print_calls("channel", &result, 2);
        print_calls("channel that never spins", &result, 3);
    }
}

static void throughput(void)
{
    static const struct {
        size_t len, ring_size;
        const char *name, *ring_target, *stream_target;
    } sizes[] = {
        {8, 256 * KIB, "8 B", ">= 0.7", ">= 20"},
        {64, 256 * KIB, "64 B", ">= 0.7", ">= 20"},
        {4 * KIB, 256 * KIB, "4 KiB", ">= 0.9", ""},
        {64 * KIB, 1 * MIB, "64 KiB", ">= 0.9", ""},
        {1 * MIB, 8 * MIB, "1 MiB", ">= 0.9", ""},
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct row row = {ONE_WAY, false, sizes[i].len, sizes[i].ring_size,
                          {&ring, &channel, &stream, sizes[i].len < MIB ? &fifo : &in_place}};
        struct result result = measure(&row);
        const double *ns = result.ns;
        printf("\none way, %s, rings of %zu KiB, messages/s: ring %.0f k, channel %.0f k, "
               "stream %.0f k,\n%s %.0f k (channel %.2f GB/s)\n",
               sizes[i].name, sizes[i].ring_size / KIB, 1e6 / ns[0], 1e6 / ns[1], 1e6 / ns[2],
               sizes[i].len < MIB ? "FIFO" : "channel in place", 1e6 / ns[3],
               (double)sizes[i].len / ns[1]);
        print_ratio("channel / ring", &result, 1, 0, true, sizes[i].ring_target);
        print_ratio("channel / stream", &result, 1, 2, true, sizes[i].stream_target);
        if (sizes[i].len == MIB)
            print_ratio("channel in place / by copy", &result, 3, 1, true, ">= 1.5");
        print_calls("channel", &result, 1);
    }
}

/* --- a server with many channels --- */

#define CHANNELS 1000

struct server {
    pid_t pid;
    int channels;
    struct ipc_channel *clients[CHANNELS];
};

static void serve(struct ipc_channel **channels, int count)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, ready[16];
    long message;

    must(epoll, "epoll_create1");
    for (int i = 0; i < count; i++) {
        event.data.ptr = channels[i];
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, ipc_channel_fd(channels[i]), &event), "epoll_ctl");
    }
    for (;;) {
        int n = epoll_wait(epoll, ready, 16, -1);
        must(n, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct ipc_channel *from = ready[i].data.ptr;
            ssize_t len;
            while ((len = ipc_channel_recv(from, &message, sizeof(message), 0)) > 0)
                must(ipc_channel_send(from, &message, sizeof(message), -1), "ipc_channel_send");
            if (len == 0 || errno != EAGAIN)
                err(1, "ipc_channel_recv");
        }
    }
}

static void start_server(struct server *server, int count)
{
    static struct ipc_channel *theirs[CHANNELS], *both[2];
    /* Small rings: that there are many is what counts. */
    struct ipc_channel_opts opts = {.send_size = 64 * KIB};

    server->channels = count;
    for (int i = 0; i < count; i++) {
        must(ipc_channel_pair(&opts, sizeof(opts), both), "ipc_channel_pair");
        server->clients[i] = both[0];
        theirs[i] = both[1];
    }
    server->pid = fork_other();
    for (int i = 0; i < count; i++)
        ipc_channel_close(server->pid == 0 ? server->clients[i] : theirs[i]);
    if (server->pid == 0)
        serve(theirs, count);
}

static void stop_server(struct server *server)
{
    int status;

    kill(server->pid, SIGTERM);
    must(waitpid(server->pid, &status, 0), "waitpid");
    if (!WIFSIGNALED(status))
        errx(1, "the server failed");
    for (int i = 0; i < server->channels; i++)
        ipc_channel_close(server->clients[i]);
}

static void there_and_back(struct ipc_channel *client)
{
    long message = 1;

    must(ipc_channel_send(client, &message, sizeof(message), -1), "ipc_channel_send");
    if (ipc_channel_recv(client, &message, sizeof(message), -1) != sizeof(message))
        err(1, "ipc_channel_recv");
}

static double cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec time;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
        err(1, "the processor time of a process");
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

/* One channel; many, of which one is used; many, of which each is used in turn. */
enum { ONE, ONE_OF_MANY, EACH_OF_MANY, SERVED };

static void many_channels(void)
{
    static struct server one, many;
    struct result result = {0};
    double all[SERVED][ROUNDS * 64];
    struct timespec second = {1, 0};

    pin(0);
    start_server(&one, 1);
    start_server(&many, CHANNELS);
    for (int i = 0; i < 2; i++) {
        there_and_back(one.clients[0]);
        for (int j = 0; j < CHANNELS; j++)
            there_and_back(many.clients[j]);
    }

    double before = cpu_ns(many.pid), before_here = cpu_ns(getpid());
    nanosleep(&second, NULL);
    double used = cpu_ns(many.pid) - before, used_here = cpu_ns(getpid()) - before_here;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < SERVED; turn++) {
                int what = (turn + i) % SERVED;
                double begin = bench_now_ns();
                for (int j = 0; j < CHANNELS; j++)
                    there_and_back(what == ONE ? one.clients[0]
                                   : what == ONE_OF_MANY ? many.clients[CHANNELS / 2]
                                                         : many.clients[j]);
                all[what][round * blocks + i] = (bench_now_ns() - begin) / CHANNELS;
            }
        for (int what = 0; what < SERVED; what++) {
            double some[64];
            memcpy(some, &all[what][round * blocks], (size_t)blocks * sizeof(some[0]));
            result.rounds[round][what] = bench_median(some, (size_t)blocks);
        }
    }
    for (int what = 0; what < SERVED; what++)
        result.ns[what] = bench_median(all[what], (size_t)(ROUNDS * blocks));
    stop_server(&one);
    stop_server(&many);

    printf("\na server with epoll, one core, 8 bytes and their answer: with one channel %.2f us,\n"
           "one of %d %.2f us, each of %d in turn %.2f us\n",
           result.ns[ONE] / 1e3, CHANNELS, result.ns[ONE_OF_MANY] / 1e3, CHANNELS,
           result.ns[EACH_OF_MANY] / 1e3);
    print_ratio("one of many / the only one", &result, ONE_OF_MANY, ONE, false, "0.8-1.2");
    print_ratio("each in turn / the only one", &result, EACH_OF_MANY, ONE, false, "");
    printf("  %-38s %8.1f  us of the server, %.1f of the client (target 0)\n",
           "processor time of an idle second", used / 1e3, used_here / 1e3);
}

/* --- what a channel costs --- */

static int open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the folder itself */

    if (folder == NULL)
        err(1, "/proc/self/fd");
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* The address space that memfds take in this process, and the memory of theirs that is there:
 * a page that is mapped several times is shared out among its mappings. In KiB. */
static void memory_of_channels(long *mapped, long *resident)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512];
    long kib;
    bool ours = false;

    if (smaps == NULL)
        err(1, "/proc/self/smaps");
    *mapped = *resident = 0;
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (sscanf(line, "Size: %ld", &kib) == 1)
            *mapped += ours ? kib : 0;
        else if (sscanf(line, "Pss: %ld", &kib) == 1)
            *resident += ours ? kib : 0;
        else if (strchr(line, '-') != NULL && strstr(line, " r") != NULL)
            ours = strstr(line, "memfd:") != NULL;
    }
    fclose(smaps);
}

static void report_memory(const char *when)
{
    long mapped, resident;

    memory_of_channels(&mapped, &resident);
    printf("  %-38s %8ld  KiB in memory, %ld KiB of address space, both ends\n", when, resident,
           mapped);
}

static void pair_and_close(void)
{
    struct ipc_channel *pair[2];

    must(ipc_channel_pair(NULL, 0, pair), "ipc_channel_pair");
    ipc_channel_close(pair[0]);
    ipc_channel_close(pair[1]);
}

static void sockets_and_close(void)
{
    int fd[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), "socketpair");
    close(fd[0]);
    close(fd[1]);
}

static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len;

static void accept_channel(void)
{
    struct ipc_channel *from;
    long message;

    must(ipc_channel_accept(listener, NULL, 0, -1, &from), "ipc_channel_accept");
    must(ipc_channel_recv(from, &message, sizeof(message), -1), "ipc_channel_recv");
    must(ipc_channel_send(from, &message, sizeof(message), -1), "ipc_channel_send");
    ipc_channel_close(from);
}

static void connect_channel(void)
{
    struct ipc_channel *to;

    must(ipc_channel_connect(address.sun_path, NULL, 0, -1, &to), "ipc_channel_connect");
    there_and_back(to);
    ipc_channel_close(to);
}

static void accept_socket(void)
{
    long message;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    must(fd, "accept4");
    must(read(fd, &message, sizeof(message)), "read");
    must(write(fd, &message, sizeof(message)), "write");
    close(fd);
}

static void connect_socket(void)
{
    long message = 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd, "socket");
    must(connect(fd, (struct sockaddr *)&address, address_len), "connect");
    must(write(fd, &message, sizeof(message)), "write");
    must(read(fd, &message, sizeof(message)), "read");
    close(fd);
}

static double time_of(void (*run)(void), int count)
{
    double times[64];

    for (int i = 0; i < 2 * blocks; i++) {
        double begin = bench_now_ns();
        for (int j = 0; j < count; j++)
            run();
        times[i] = (bench_now_ns() - begin) / count / 1e3;
    }
    return bench_median(times, (size_t)(2 * blocks));
}

/* With another process that accepts; the listener is blocking. */
static double time_of_meeting(void (*accept_one)(void), void (*connect_one)(void))
{
    pid_t child = fork_other();

    if (child == 0)
        for (;;)
            accept_one();
    double us = time_of(connect_one, 20);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return us;
}

static void costs(void)
{
    struct ipc_channel *pair[2];
    const void *payload;

    pin(0);
    printf("\nwhat a channel costs, rings of 256 KiB\n");
    printf("  %-38s %8.1f  us (socketpair and close %.1f us)\n", "pair and close",
           time_of(pair_and_close, 50), time_of(sockets_and_close, 50));

    snprintf(address.sun_path, sizeof(address.sun_path), "@unixipc-bench-%d", (int)getpid());
    must(listener = ipc_channel_listen(address.sun_path, 0600, 0), "ipc_channel_listen");
    double ours = time_of_meeting(accept_channel, connect_channel);
    close(listener);
    address.sun_path[0] = '\0';
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                              strlen(address.sun_path + 1));
    must(listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    must(bind(listener, (struct sockaddr *)&address, address_len), "bind");
    must(listen(listener, 16), "listen");
    double others = time_of_meeting(accept_socket, connect_socket);
    close(listener);
    printf("  %-38s %8.1f  us (stream socket %.1f us)\n",
           "connect, accept, message, answer, close", ours, others);

    int before = open_descriptors();
    size_t heap = mallinfo2().uordblks;
    must(ipc_channel_pair(NULL, 0, pair), "ipc_channel_pair");
    int after = open_descriptors();
    heap = mallinfo2().uordblks - heap;
    must(ipc_channel_fd(pair[0]), "ipc_channel_fd");
    printf("  %-38s %8d  an end, %d once ipc_channel_fd was called\n", "descriptors",
           (after - before) / 2, (after - before) / 2 + open_descriptors() - after);
    printf("  %-38s %8zu  bytes an end\n", "malloc", heap / 2);
    report_memory("new");
    must(ipc_channel_send(pair[0], &before, sizeof(before), 0), "ipc_channel_send");
    must(ipc_channel_recv(pair[1], &before, sizeof(before), 0), "ipc_channel_recv");
    report_memory("after a message");
    for (int way = 0; way < 2; way++)
        for (int i = 0; i < 256; i++) {
            must(ipc_channel_send(pair[way], out, 4 * KIB, 0), "ipc_channel_send");
            must(ipc_channel_peek(pair[1 - way], &payload, 0), "ipc_channel_peek");
            must(ipc_channel_release(pair[1 - way]), "ipc_channel_release");
        }
    report_memory("after 1 MiB each way");
    ipc_channel_close(pair[0]);
    ipc_channel_close(pair[1]);
}

/* A process that has failed has said why; nobody shall wait for it. */
static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    if (info->si_code == CLD_EXITED && info->si_status != 0)
        _exit(1);
}

/* All tables, or those that are named. */
int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tables[] = {
        {"latency", latency}, {"throughput", throughput}, {"many", many_channels}, {"costs", costs},
    };

    struct sigaction action = {.sa_sigaction = on_child,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP};
    must(sigaction(SIGCHLD, &action, NULL), "sigaction");
    must(sched_getaffinity(0, sizeof(processors), &processors), "sched_getaffinity");
    if (getenv("QUICK") != NULL) {
        blocks = 3;
        block_ns = 1e6;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    printf("unixipc %s; %d blocks of each in turn, medians (ratio, target, rounds)\n",
           ipc_version(), ROUNDS * blocks);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        bool wanted = argc < 2;
        for (int arg = 1; arg < argc; arg++)
            wanted |= strcmp(argv[arg], tables[i].name) == 0;
        if (wanted)
            tables[i].run();
    }
    return 0;
}
