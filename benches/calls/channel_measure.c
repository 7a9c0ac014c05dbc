/* Measures transports between two processes, in alternating blocks. */
#include "channel.h"

#include <stdatomic.h>
#include <sys/wait.h>

int rounds = 5;
int blocks = 11;
double block_ns = 3e6;

/* A request for a block, from this process to the other one. */
struct request {
    int transport; /* or MACHINE */
    long count;
};

#define MACHINE (-1)

struct shared {
    _Alignas(128) atomic_uint arrived; /* the barrier before a block */
    _Alignas(128) atomic_uint done;    /* the number of blocks that the other process has done */
    _Alignas(128) atomic_uint turn;    /* which moves between the processes */
    struct ipc_channel_stats stats[TRANSPORTS_MAX]; /* of the other process's ends */
};

static struct shared *shared;

static cpu_set_t processors; /* all that may be used */

/* Exits if a child fails, because this process would otherwise wait for it forever. The child has
 * already printed the reason. */
static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    if (info->si_code == CLD_EXITED && info->si_status != 0)
        _exit(1);
}

void measure_init(void)
{
    struct sigaction action = {.sa_sigaction = on_child,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP};

    must(sigaction(SIGCHLD, &action, NULL), "sigaction");
    must(sched_getaffinity(0, sizeof(processors), &processors), "sched_getaffinity");
    shared = bench_shared_memory(sizeof(*shared));
}

void pin(int n)
{
    must(sched_setaffinity(0, sizeof(processors), &processors), "sched_setaffinity");
    bench_pin(n);
}

pid_t fork_other(void)
{
    pid_t child = bench_fork();

    if (child == 0)
        side = 1;
    return child;
}

/* A spinning barrier, so that both processes start at the same time. */
static void barrier(void)
{
    unsigned turn = atomic_fetch_add(&shared->arrived, 1) / 2;
    while (atomic_load(&shared->arrived) / 2 == turn)
        ;
}

/* The number of messages that are transferred before a block of `count` messages. */
static long warm_up_count(long count)
{
    return count / 4;
}

/* Brings both processes to the start of a block. The transport of the block before may have put the
 * processors to sleep and displaced the caches, so that they first transfer some messages. */
static void warm_up(const struct row *row, const struct transport *transport, long count)
{
    if (!row->one_core)
        barrier();
    transport->loop(row->pattern, warm_up_count(count), row->len);
    if (!row->one_core)
        barrier();
}

/* Passes a word to the other process and back. */
static void pass_word(long count)
{
    for (unsigned i = (unsigned)side; i < 2 * (unsigned)count; i += 2) {
        while (atomic_load(&shared->turn) != i)
            ;
        atomic_store(&shared->turn, i + 1);
    }
}

/* Additions that do not depend on each other, and so take as long as a processor needs for
 * instructions alone. Returns how many it executes in a nanosecond. */
static double additions_per_ns(void)
{
    long a = 0, b = 0, c = 0, d = 0;
    double begin = bench_now_ns();

    for (long i = 0; i < 200000; i++) {
        a += i;
        b += i;
        c += i;
        d += i;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    }
    return 4 * 200000 / (bench_now_ns() - begin);
}

/* Measures the two processors: the time in which a word gets from one to the other, which tells how
 * far apart they are, and how fast they execute instructions at the same time. */
static void measure_machine(int requests, struct result *result, int round)
{
    struct request request = {MACHINE, 10000};

    atomic_store(&shared->turn, 0);
    must(write(requests, &request, sizeof(request)), "write");
    barrier();
    double begin = bench_now_ns();
    pass_word(request.count);
    result->cache_line_ns[round] = (bench_now_ns() - begin) / (double)(2 * request.count);
    result->additions[round] = additions_per_ns();
}

static void serve_requests(const struct row *row, int requests)
{
    struct request request;

    while (read(requests, &request, sizeof(request)) == sizeof(request)) {
        if (request.transport == MACHINE) {
            barrier();
            pass_word(request.count);
            additions_per_ns();
            continue;
        }
        const struct transport *transport = row->transports[request.transport];

        transport_use(transport, request.transport);
        warm_up(row, transport, request.count);
        transport->loop(row->pattern, request.count, row->len);
        if (transport->medium == CHANNEL)
            transport_stats(request.transport, &shared->stats[request.transport]);
        atomic_fetch_add(&shared->done, 1);
    }
}

/* Runs a block and returns its time. */
static double block(const struct row *row, int transport, long count, int requests)
{
    struct request request = {transport, count};
    unsigned done = atomic_load(&shared->done);

    transport_use(row->transports[transport], transport);
    must(write(requests, &request, sizeof(request)), "write");
    warm_up(row, row->transports[transport], count);
    double begin = bench_now_ns();
    row->transports[transport]->loop(row->pattern, count, row->len);
    while (row->pattern == ONE_WAY && atomic_load(&shared->done) == done)
        ;
    double ns = bench_now_ns() - begin;
    while (atomic_load(&shared->done) == done)
        sched_yield();
    return ns;
}

/* The shortest of five blocks, which is the one that other load disturbed least. */
static double shortest_block(const struct row *row, int transport, long count, int requests)
{
    double shortest = block(row, transport, count, requests);

    for (int i = 0; i < 4; i++) {
        double ns = block(row, transport, count, requests);
        shortest = ns < shortest ? ns : shortest;
    }
    return shortest;
}

static void wait_for(pid_t child)
{
    int status;

    must(waitpid(child, &status, 0), "waitpid");
    if (status != 0)
        errx(1, "the other process failed");
}

void set_round_medians(struct result *result, block_times times, int count, int round)
{
    for (int i = 0; i < count; i++) {
        double sorted[BLOCKS_MAX];
        memcpy(sorted, &times[i][round * blocks], (size_t)blocks * sizeof(sorted[0]));
        result->rounds[round][i] = bench_median(sorted, (size_t)blocks);
    }
}

void set_medians(struct result *result, block_times times, int count)
{
    for (int i = 0; i < count; i++)
        result->ns[i] = bench_median(times[i], (size_t)(rounds * blocks));
}

/* The statistics of both ends of a channel. */
struct both_stats {
    struct ipc_channel_stats ends[2];
};

static struct both_stats stats_of(int transport)
{
    struct both_stats stats = {{{0}, shared->stats[transport]}};

    transport_stats(transport, &stats.ends[0]);
    return stats;
}

static uint64_t sleeps(const struct both_stats *stats)
{
    return stats->ends[0].sleeps + stats->ends[1].sleeps;
}

static uint64_t wakes(const struct both_stats *stats)
{
    return stats->ends[0].wakes + stats->ends[1].wakes;
}

struct result measure(const struct row *row)
{
    static block_times times;
    struct result result = {0};
    struct both_stats before[TRANSPORTS_MAX];
    int requests[2], transports = 0;
    long counts[TRANSPORTS_MAX];

    while (transports < TRANSPORTS_MAX && row->transports[transports] != NULL)
        transports++;
    transports_open(row->transports, row->ring_size);
    must(pipe(requests), "pipe");

    pid_t child = fork_other();
    transports_keep_side();
    pin(row->one_core ? 0 : side);
    if (child == 0) {
        close(requests[1]);
        serve_requests(row, requests[0]);
        _exit(0);
    }
    close(requests[0]);

    /* Finds the number of messages in a block. This also warms up. */
    for (int i = 0; i < transports; i++) {
        counts[i] = 4;
        while (shortest_block(row, i, counts[i], requests[1]) < block_ns / 2)
            counts[i] *= 2;
    }
    for (int i = 0; i < transports; i++)
        if (row->transports[i]->medium == CHANNEL)
            before[i] = stats_of(i);

    for (int round = 0; round < rounds; round++) {
        if (!row->one_core)
            measure_machine(requests[1], &result, round);
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < transports; turn++) {
                int at = (i + turn) % transports;
                times[at][round * blocks + i] =
                    block(row, at, counts[at], requests[1]) / (double)counts[at];
            }
        set_round_medians(&result, times, transports, round);
    }
    set_medians(&result, times, transports);
    for (int i = 0; i < transports; i++) {
        if (row->transports[i]->medium != CHANNEL)
            continue;
        struct both_stats after = stats_of(i);
        double messages = (double)((counts[i] + warm_up_count(counts[i])) * blocks * rounds) *
                          (row->pattern == PING_PONG ? 2 : 1);
        result.sleeps[i] = (double)(sleeps(&after) - sleeps(&before[i])) / messages;
        result.wakes[i] = (double)(wakes(&after) - wakes(&before[i])) / messages;
    }

    close(requests[1]);
    wait_for(child);
    transports_close();
    return result;
}

void print_ratio(const char *name, const struct result *result, int transport, int reference,
                 bool of_rates, const char *target)
{
    double low = 1e9, high = 0;
    double ratio = result->ns[transport] / result->ns[reference];

    for (int round = 0; round < rounds; round++) {
        double one = result->rounds[round][transport] / result->rounds[round][reference];
        one = of_rates ? 1 / one : one;
        low = one < low ? one : low;
        high = one > high ? one : high;
    }
    printf("  %-38s %8.2f  %-8s (%.2f to %.2f)\n", name, of_rates ? 1 / ratio : ratio, target, low,
           high);
    fflush(stdout);
}

void print_figure(const char *name, const double *figures, const char *unit, const char *target)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, figures, (size_t)rounds * sizeof(sorted[0]));
    double median = bench_median(sorted, (size_t)rounds);
    printf("  %-38s %8.4g %-4s %-8s (%.4g to %.4g)\n", name, median, unit, target, sorted[0],
           sorted[rounds - 1]);
    fflush(stdout);
}

void print_machine(const struct result *result)
{
    print_figure("a cache line, core to core", result->cache_line_ns, "ns", "");
    print_figure("additions in a nanosecond", result->additions, "", "");
}

void run_tables(const struct table *tables, int argc, char **argv)
{
    for (; tables->name != NULL; tables++) {
        bool wanted = argc < 2;
        for (int arg = 1; arg < argc; arg++)
            wanted |= strcmp(argv[arg], tables->name) == 0;
        if (wanted)
            tables->run();
    }
}
