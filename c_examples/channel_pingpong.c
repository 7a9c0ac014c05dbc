/*
 * channel_pingpong: how long a message takes through a channel. A parent and its child throw
 * one message to and fro; half of each round trip is counted, and the counts are drawn.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define MAX_SIZE  (16 * 1024 * 1024)
#define MAX_COUNT (100 * 1000 * 1000)
#define BAR       50

static long size = 8, count = 200000;
static int polling;
static int cores[2] = {-1, -1};

/* Receives into buf, sleeping or polling. Returns what ipc_channel_recv does. */
static ssize_t receive(struct ipc_channel *ch, void *buf)
{
    ssize_t len;
    do {
        len = ipc_channel_recv(ch, buf, (size_t)size, polling ? 0 : -1);
    } while (len < 0 && errno == EAGAIN);
    return len;
}

static void run_on(int core)
{
    cpu_set_t set;
    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        err(1, "core %d", core);
}

static void *get_buffer(void)
{
    void *buf = calloc(1, (size_t)size);
    if (!buf)
        err(1, "a message of %ld bytes", size);
    return buf;
}

/* The child: throws back what comes, until the parent is gone. */
static void pong(struct ipc_channel *ch)
{
    char *buf = get_buffer();
    ssize_t len;

    while ((len = receive(ch, buf)) > 0)
        if (ipc_channel_send(ch, buf, (size_t)len, -1) < 0)
            break;
    if (len < 0 || (len > 0 && errno != EPIPE))
        err(1, "child");
    free(buf);
    ipc_channel_close(ch);
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The parent: counts of half round trips, in ns. */
static void ping(struct ipc_channel *ch, uint64_t *half)
{
    char *buf = get_buffer();
    long warm_up = count / 10 + 1;

    for (long i = -warm_up; i < count; i++) {
        memcpy(buf, &i, sizeof(i));
        uint64_t begin = nanoseconds();
        if (ipc_channel_send(ch, buf, (size_t)size, -1) < 0)
            err(1, "ipc_channel_send");
        ssize_t len = receive(ch, buf);
        uint64_t end = nanoseconds();
        if (len < 0)
            err(1, "ipc_channel_recv");
        if (len == 0)
            errx(1, "the child is gone");
        if (len != size || memcmp(buf, &i, sizeof(i)) != 0)
            errx(1, "message %ld came back as another one", i);
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

/* Rows whose bounds grow by a quarter, from the least to where only one in a thousand is left. */
static void draw(const uint64_t *half)
{
    long most = 1, rest = count - count / 1000, row_begin, row_end;
    uint64_t bound;

    /* Twice: for the longest bar, and to draw. */
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

static void usage(FILE *out)
{
    fprintf(out,
            "usage: channel_pingpong [--blocking | --polling] [--size BYTES] [--count N]\n"
            "                        [--cores A,B]\n"
            "Sends a message (8 bytes by default) to a child and back, N times (default 200000),\n"
            "and draws how long half a round trip took. --blocking (the default) sleeps where\n"
            "it has to wait; --polling asks again and again, and needs a core for each process.\n"
            "--cores pins parent and child.\n");
}

static long number(const char *what, const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno || n < least || n > most)
        errx(2, "%s takes a number from %ld to %ld", what, least, most);
    return n;
}

static void parse_cores(char *text)
{
    char *comma = strchr(text, ',');
    if (!comma)
        errx(2, "--cores takes two numbers with a comma, such as 0,1");
    *comma = '\0';
    cores[0] = (int)number("--cores", text, 0, CPU_SETSIZE - 1);
    cores[1] = (int)number("--cores", comma + 1, 0, CPU_SETSIZE - 1);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"blocking", no_argument, NULL, 'b'},   {"polling", no_argument, NULL, 'p'},
        {"size", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'n'},
        {"cores", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
        {0},
    };

    for (int c; (c = getopt_long(argc, argv, "bps:n:c:h", options, NULL)) != -1;) {
        switch (c) {
        case 'b':
            polling = 0;
            break;
        case 'p':
            polling = 1;
            break;
        case 's':
            size = number("--size", optarg, sizeof(long), MAX_SIZE);
            break;
        case 'n':
            count = number("--count", optarg, 1, MAX_COUNT);
            break;
        case 'c':
            parse_cores(optarg);
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return 2;
    }
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) < 0)
        err(1, "sched_getaffinity");
    if (polling && (CPU_COUNT(&all) < 2 || (cores[0] >= 0 && cores[0] == cores[1])))
        errx(1, "--polling needs two cores: on one, each would wait for the other's time slice");

    uint64_t *half = calloc((size_t)count, sizeof(*half));
    if (!half)
        err(1, "%ld counts", count);

    struct ipc_channel *ends[2];
    struct ipc_channel_opts opts = {.message_max = (uint64_t)size};
    if (ipc_channel_pair(&opts, sizeof(opts), ends) < 0)
        err(1, "ipc_channel_pair");
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        free(half);
        run_on(cores[1]);
        ipc_channel_close(ends[0]); /* else it would not see the parent's end */
        pong(ends[1]);
        return 0;
    }
    run_on(cores[0]);
    ipc_channel_close(ends[1]);
    ping(ends[0], half);
    report(ends[0], half);
    ipc_channel_close(ends[0]); /* the end of the session */
    free(half);

    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the child failed");
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
    return 0;
}
