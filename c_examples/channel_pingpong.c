/*
 * channel_pingpong: measures the latency of a channel. A parent sends a message to its child and
 * receives it back. The program counts half of each round-trip time and draws a histogram.
 */
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unixipc.h>

#include "util.h"

#define MAX_SIZE  (16 * 1024 * 1024)
#define MAX_COUNT (100 * 1000 * 1000)
#define BAR       50

static long size = 8, count = 200000;
static int polling;
static long cores[2] = {-1, -1};

/* Receives a message like ipc_channel_recv(); with --polling the call never sleeps. */
static ssize_t receive(struct ipc_channel *ch, void *buf)
{
    ssize_t len;
    do {
        len = ipc_channel_recv(ch, buf, (size_t)size, polling ? 0 : -1);
    } while (len < 0 && errno == EAGAIN);
    return len;
}

static void bind_to_core(long core)
{
    cpu_set_t set;
    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        err(1, "core %ld", core);
}

static void *allocate_message(void)
{
    void *buf = calloc(1, (size_t)size);
    if (!buf)
        err(1, "a message of %ld bytes", size);
    return buf;
}

/* The child: sends each message back, until the parent closes its end. */
static void pong(struct ipc_channel *ch)
{
    char *buf = allocate_message();
    ssize_t len;

    while ((len = receive(ch, buf)) > 0)
        if (ipc_channel_send(ch, buf, (size_t)len, -1) < 0)
            break;
    if (len < 0 || (len > 0 && errno != EPIPE))
        err(1, "child");
    free(buf);
    ipc_channel_close(ch);
}

/* The parent: measures half of each round trip, in nanoseconds. */
static void ping(struct ipc_channel *ch, uint64_t *half)
{
    char *buf = allocate_message();
    long warm_up = count / 10 + 1;

    for (long i = -warm_up; i < count; i++) {
        memcpy(buf, &i, sizeof(i));
        uint64_t begin = nanoseconds_now();
        if (ipc_channel_send(ch, buf, (size_t)size, -1) < 0)
            err(1, "ipc_channel_send");
        ssize_t len = receive(ch, buf);
        uint64_t end = nanoseconds_now();
        if (len < 0)
            err(1, "ipc_channel_recv");
        if (len == 0)
            errx(1, "the child has ended");
        if (len != size || memcmp(buf, &i, sizeof(i)) != 0)
            errx(1, "the reply to message %ld differs from it", i);
        if (i >= 0)
            half[i] = (end - begin) / 2;
    }
    free(buf);
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/*
 * Draws a histogram. The first row begins at the shortest time, and the bound of each next row is
 * a quarter higher. The last row holds the longest thousandth of the times.
 */
static void draw(const uint64_t *half)
{
    long most = 1, rest = count - count / 1000, row_begin, row_end;
    uint64_t bound;

    /* The first pass finds the longest bar, and the second pass draws. */
    for (int drawing = 0; drawing < 2; drawing++) {
        bound = half[0];
        for (row_begin = 0; row_begin < rest; row_begin = row_end) {
            uint64_t from = bound;
            bound += bound / 4 + 1;
            for (row_end = row_begin; row_end < count && half[row_end] < bound; row_end++)
                ;
            long n = row_end - row_begin;
            if (!drawing) {
                most = n > most ? n : most;
                continue;
            }
            int len = (int)(BAR * n / most);
            printf("%9llu ns %9ld  %.*s%s\n", (unsigned long long)from, n, len,
                   "##################################################",
                   len == 0 && n > 0 ? "." : "");
        }
    }
    if (row_begin < count)
        printf("%9llu ns %9ld  and more\n", (unsigned long long)bound, count - row_begin);
}

static void report(struct ipc_channel *ch, uint64_t *half)
{
    static const double percents[] = {0, 50, 90, 99, 99.9, 100};
    struct ipc_channel_stats stats;

    if (ipc_channel_stats(ch, &stats, sizeof(stats)) < 0)
        err(1, "ipc_channel_stats");
    qsort(half, (size_t)count, sizeof(*half), by_time);
    printf("half a round trip of %ld bytes, %s, %ld times; slept %llu times\n", size,
           polling ? "polling" : "blocking", count, (unsigned long long)stats.sleeps);
    draw(half);
    for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
        long at = (long)((double)(count - 1) * percents[i] / 100);
        printf("%s%g %%: %llu ns", i ? ", " : "", percents[i], (unsigned long long)half[at]);
    }
    putchar('\n');
}

static const char usage[] =
    "usage: channel_pingpong [--blocking | --polling] [--size BYTES] [--count N]\n"
    "                        [--cores A,B]\n"
    "Sends a message (default 8 bytes) to a child and back, N times (default 200000), and draws\n"
    "a histogram of half the round-trip times. With --blocking (the default) a process that has\n"
    "to wait sleeps. With --polling it never sleeps, and needs a core for each process.\n"
    "--cores binds the parent to core A and the child to core B.\n";

int main(int argc, char **argv)
{
    const char *core_list = NULL;
    const struct command_option options[] = {
        {'b', "blocking", .flag = &polling, .value = 0},
        {'p', "polling", .flag = &polling, .value = 1},
        {'s', "size", .number = &size, .min = sizeof(long), .max = MAX_SIZE},
        {'n', "count", .number = &count, .min = 1, .max = MAX_COUNT},
        {'c', "cores", .text = &core_list},
        {0},
    };
    const struct command_line line = {.usage = usage, .options = options};

    parse_command_line(&line, argc, argv);
    if (core_list)
        parse_two_numbers("--cores", core_list, ',', "0,1", 0, CPU_SETSIZE - 1, cores);
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) < 0)
        err(1, "sched_getaffinity");
    if (polling && (CPU_COUNT(&all) < 2 || (cores[0] >= 0 && cores[0] == cores[1])))
        errx(1, "--polling needs two cores: on one core each process would wait for the end of the "
                "other's time slice");

    uint64_t *half = calloc((size_t)count, sizeof(*half));
    if (!half)
        err(1, "memory for %ld times", count);

    struct ipc_channel *ends[2];
    struct ipc_channel_opts opts = {.message_max = (uint64_t)size};
    if (ipc_channel_pair(&opts, sizeof(opts), ends) < 0)
        err(1, "ipc_channel_pair");
    enable_waitpid();
    pid_t pid = start_child(0);
    if (pid == 0) {
        free(half);
        bind_to_core(cores[1]);
        ipc_channel_close(ends[0]); /* otherwise the child would not notice the parent's close */
        pong(ends[1]);
        return 0;
    }
    bind_to_core(cores[0]);
    ipc_channel_close(ends[1]);
    ping(ends[0], half);
    report(ends[0], half);
    ipc_channel_close(ends[0]); /* the child receives the end of the session */
    free(half);

    expect_success(pid, "the child");
    flush_output();
    return 0;
}
