/*
 * market_feed: one process publishes quotes, and many processes receive every quote. The table shows
 * how far each reader is behind, and how many quotes it has lost.
 *
 *     market_feed publish PATH &
 *     market_feed read PATH
 *
 * "demo" starts both, stops one reader for a while and kills another one.
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

#define MAX_READERS 64
/* How long a stopped reader holds the publisher up before it becomes lossy. */
#define STALL_MS 200

struct quote {
    uint64_t time; /* nanoseconds of CLOCK_MONOTONIC */
    uint32_t symbol;
    uint32_t volume;
    int64_t bid, ask;
};

static sigset_t termination;

/* Stands for a real market. */
static void make_quote(struct quote *quote, uint64_t number)
{
    quote->time = nanoseconds_now();
    quote->symbol = (uint32_t)(number % 500);
    quote->volume = (uint32_t)(number % 97 + 1);
    quote->bid = (int64_t)(10000 + number % 991);
    quote->ask = quote->bid + 1;
}

static const char *state_of(unsigned state)
{
    if (state & IPC_SUB_S_STALLED)
        return "stalled";
    if (state & IPC_SUB_S_HOLDS)
        return "holds the publisher up";
    if (state & IPC_SUB_S_LOSSY)
        return "lossy";
    return "reliable";
}

/* Prints a line for each subscriber. On a terminal it replaces the table before. */
static void print_table(struct ipc_feed *feed, uint64_t begin)
{
    static ssize_t lines_before;
    struct ipc_feed_subscriber subscribers[MAX_READERS];
    struct ipc_feed_info info;

    ssize_t count = ipc_feed_subscribers(feed, subscribers, MAX_READERS, sizeof(subscribers[0]));
    if (count < 0 || ipc_feed_info(feed, &info, sizeof(info)) < 0)
        err(1, "ipc_feed_subscribers");
    if (isatty(STDOUT_FILENO) && lines_before > 0)
        printf("\033[%zdA\033[J", lines_before);
    printf("after %.1f s: %llu quotes\n", 1e-9 * (double)(nanoseconds_now() - begin),
           (unsigned long long)info.published);
    printf("  %-10s %8s %10s %12s %10s  %s\n", "reader", "pid", "behind", "bytes", "lost", "state");
    for (ssize_t i = 0; i < count && i < MAX_READERS; i++) {
        const struct ipc_feed_subscriber *s = &subscribers[i];
        printf("  %-10s %8d %10llu %12llu %10llu  %s\n", s->name, (int)s->pid,
               (unsigned long long)s->lag_messages, (unsigned long long)s->lag_bytes,
               (unsigned long long)s->lost, state_of(s->state));
    }
    flush_output();
    lines_before = count + 2;
}

/* A signal that a reader gets during the demonstration. */
struct event {
    double seconds;
    pid_t pid;
    int sig;
};

/* Publishes rate quotes a second for a time, or until a signal if seconds is 0. */
static void publish(struct ipc_feed *feed, long rate, double seconds, const struct event *events)
{
    uint64_t begin = nanoseconds_now(), next_table = begin, published = 0;
    struct quote quote;

    for (;;) {
        uint64_t now = nanoseconds_now();
        double passed = 1e-9 * (double)(now - begin);
        if (seconds > 0 && passed >= seconds)
            break;
        for (; events && events->sig && passed >= events->seconds; events++)
            kill(events->pid, events->sig);
        if (now >= next_table) {
            print_table(feed, begin);
            next_table = now + (isatty(STDOUT_FILENO) ? 100 : 500) * UINT64_C(1000000);
        }
        /* The quotes that are due, and then a pause of a millisecond. */
        for (uint64_t due = (uint64_t)(passed * (double)rate); published < due; published++) {
            make_quote(&quote, published);
            if (ipc_feed_publish(feed, &quote, sizeof(quote), -1) < 0)
                err(1, "ipc_feed_publish");
        }
        if (ipc_feed_service(feed) < 0)
            warn("ipc_feed_service");
        if (wait_for_signal(&termination, 1000000))
            break;
    }
    print_table(feed, begin);
}

static struct ipc_feed *make_feed(const char *path)
{
    const struct ipc_feed_opts opts = {.stall_ms = STALL_MS, .subscribers_max = MAX_READERS};
    struct ipc_feed *feed;

    if (ipc_feed_create(&opts, sizeof(opts), &feed) < 0)
        err(1, "ipc_feed_create");
    if (ipc_feed_listen(feed, path, 0600, 0) < 0)
        err(1, "%s", path);
    return feed;
}

/* The results of a reader of the demonstration, in memory that it shares with its parent. */
struct result {
    uint64_t received, lost, wrong;
    uint64_t latency; /* the sum, in nanoseconds */
};

/* Receives quotes until the feed ends or a signal. */
static void receive(struct ipc_sub *sub, struct result *result, int prints)
{
    struct ipc_sub_info info;
    struct quote quote, expected;
    uint64_t seq;

    if (ipc_sub_info(sub, &info, sizeof(info)) < 0)
        err(1, "ipc_sub_info");
    for (uint64_t next = info.next_seq;;) {
        ssize_t len = ipc_sub_recv(sub, &quote, sizeof(quote), &seq, 100);
        if (len == 0)
            break;
        if (len < 0 && errno == ETIMEDOUT) {
            if (wait_for_signal(&termination, 0))
                break;
            continue;
        }
        if (len < 0 && errno == EOVERFLOW) { /* the quotes before seq are lost */
            result->lost += seq - next;
            next = seq;
            continue;
        }
        if (len < 0)
            err(1, "ipc_sub_recv");
        make_quote(&expected, seq);
        result->wrong += seq != next || quote.symbol != expected.symbol ||
                         quote.bid != expected.bid || quote.ask != expected.ask;
        result->latency += expected.time - quote.time;
        result->received++;
        next = seq + 1;
        if (prints) {
            printf("%10llu  symbol %3u  bid %lld  ask %lld\n", (unsigned long long)seq,
                   quote.symbol, (long long)quote.bid, (long long)quote.ask);
            flush_output();
            if (wait_for_signal(&termination, 0))
                break;
        }
    }
}

static struct ipc_sub *subscribe(const char *path, const char *name, int lossy)
{
    const struct ipc_sub_opts opts = {
        .flags = IPC_SUB_F_WAIT | (lossy ? IPC_SUB_F_LOSSY : 0),
        .name = name,
    };
    struct ipc_sub *sub;

    if (ipc_sub_connect(path, &opts, sizeof(opts), 10000, &sub) < 0)
        err(1, "%s", path);
    return sub;
}

static pid_t start_reader(const char *path, int number, int lossy, struct result *result)
{
    char name[IPC_SUB_NAME_SIZE];
    pid_t pid = start_child(SIGKILL);

    if (pid > 0)
        return pid;
    snprintf(name, sizeof(name), "%s %d", lossy ? "lossy" : "reader", number);
    struct ipc_sub *sub = subscribe(path, name, lossy);
    receive(sub, result, 0);
    ipc_sub_close(sub);
    _exit(0);
}

static int demonstrate(const char *path, long rate, long readers, double seconds)
{
    pid_t pid[MAX_READERS];
    int failed = 0;
    struct result *results = mmap(NULL, sizeof(*results) * MAX_READERS, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED)
        err(1, "mmap");

    struct ipc_feed *feed = make_feed(path);
    for (int i = 0; i < readers; i++)
        pid[i] = start_reader(path, i, i % 2, &results[i]);
    while (ipc_feed_subscribers(feed, NULL, 0, 0) < readers) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        if (poll(&event, 1, 10000) <= 0)
            errx(1, "a reader did not subscribe");
        if (ipc_feed_service(feed) < 0)
            err(1, "ipc_feed_service");
    }
    /* The first reader is stopped for a third of the time. The second one is killed. */
    const struct event events[] = {
        {seconds / 3, pid[0], SIGSTOP},
        {seconds / 2, pid[1], SIGKILL},
        {seconds * 2 / 3, pid[0], SIGCONT},
        {0, 0, 0},
    };
    publish(feed, rate, seconds, events);
    struct ipc_feed_info info;
    if (ipc_feed_info(feed, &info, sizeof(info)) < 0)
        err(1, "ipc_feed_info");
    ipc_feed_close(feed);

    kill(pid[0], SIGCONT);
    for (int i = 0; i < readers; i++) {
        const struct result *result = &results[i];
        if (i == 1)
            wait_for_child(pid[i]);
        else
            expect_success(pid[i], "a reader");
        printf("reader %d: received %llu, lost %llu, wrong %llu, mean latency %.1f us%s\n", i,
               (unsigned long long)result->received, (unsigned long long)result->lost,
               (unsigned long long)result->wrong,
               1e-3 * (double)result->latency / (double)(result->received ? result->received : 1),
               i == 0   ? " (stopped for a while)"
               : i == 1 ? " (killed)"
                        : "");
        failed |= result->wrong != 0;
        failed |= i != 1 && result->received + result->lost != info.published;
    }
    flush_output();
    return failed;
}

static const char usage[] =
    "usage: market_feed publish [--rate N] PATH\n"
    "       market_feed read [--lossy] PATH\n"
    "       market_feed demo [--rate N] [--readers N] [--seconds S] PATH\n"
    "publish publishes N quotes a second (default 100000) until SIGINT or SIGTERM, and shows its\n"
    "readers. read prints the quotes; with --lossy the publisher does not wait for it. demo "
    "starts\n"
    "a publisher and N readers (default 5, from 3 to 64), every second one lossy. It stops the "
    "first\n"
    "reader for a third of S seconds (default 2), and kills the second one.\n";

int main(int argc, char **argv)
{
    long rate = 100000, readers = 5;
    double seconds = 2;
    int lossy = 0;
    const struct command_option options[] = {
        {'r', "rate", .number = &rate, .min = 1, .max = 100000000},
        {'n', "readers", .number = &readers, .min = 3, .max = MAX_READERS},
        {'s', "seconds", .real = &seconds, .max = 3600},
        {'l', "lossy", .flag = &lossy, .value = 1},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 2,
        .max_args = 2,
        .options = options,
    };

    int arg = parse_command_line(&line, argc, argv);
    const char *command = argv[arg], *path = argv[arg + 1];
    termination = block_termination_signals();
    enable_waitpid();

    if (strcmp(command, "publish") == 0) {
        struct ipc_feed *feed = make_feed(path);
        publish(feed, rate, 0, NULL);
        ipc_feed_close(feed);
        return 0;
    }
    if (strcmp(command, "read") == 0) {
        struct result result = {0};
        struct ipc_sub *sub = subscribe(path, "market_feed", lossy);
        receive(sub, &result, 1);
        ipc_sub_close(sub);
        fprintf(stderr, "received %llu, lost %llu\n", (unsigned long long)result.received,
                (unsigned long long)result.lost);
        return result.wrong != 0;
    }
    if (strcmp(command, "demo") == 0)
        return demonstrate(path, rate, readers, seconds);
    usage_error(usage);
}
