/*
 * sensor_feed: one process measures a thousand times a second, and any number of processes receive
 * every reading. Its twin sensor_board keeps only the current reading, in a cell: a reader of the
 * board never waits and never falls behind, but misses readings; a reader of the feed gets each one,
 * in order. The writer waits for a slow one, or tells it how many readings it has lost.
 *
 *     sensor_feed write PATH &
 *     sensor_feed read PATH
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unixipc.h>

#include "sensor.h"
#include "util.h"

#define MAX_READERS 32

static sigset_t termination;

static int write_readings(const char *path)
{
    /* Readers that stall for a tenth of a second lose readings from then on. */
    const struct ipc_feed_opts opts = {.stall_ms = 100};
    struct reading reading = {.writer = (uint32_t)getpid()};
    struct ipc_feed *feed;

    if (ipc_feed_create(&opts, sizeof(opts), &feed) < 0)
        err(1, "ipc_feed_create");
    if (ipc_feed_listen(feed, path, 0600, 0) < 0)
        err(1, "%s", path);
    fprintf(stderr, "sensor_feed: process %d serves %s\n", (int)getpid(), path);
    for (uint64_t next = nanoseconds_now(); !reading.is_last;) {
        next += NANOSECONDS_BETWEEN_READINGS;
        uint64_t now = nanoseconds_now();
        int sig = wait_for_signal(&termination, next > now ? next - now : 0);

        measure(&reading);
        reading.is_last = sig != 0;
        if (ipc_feed_publish(feed, &reading, sizeof(reading), -1) < 0)
            err(1, "ipc_feed_publish");
    }
    ipc_feed_close(feed);
    return 0;
}

/* A reader, and its counts. */
struct reader {
    struct ipc_sub *sub;
    uint64_t next; /* the sequence number of the next reading */
    uint64_t received, torn, lost, writers;
};

/* Subscribes, and waits for a writer. Returns 0 after a termination signal. */
static int subscribe(struct reader *reader, const char *path)
{
    const struct ipc_sub_opts opts = {.flags = IPC_SUB_F_WAIT};
    struct ipc_sub_info info;

    /* The time-out lets the loop check for signals ten times a second. */
    while (ipc_sub_connect(path, &opts, sizeof(opts), 100, &reader->sub) < 0) {
        if (errno != ETIMEDOUT)
            err(1, "%s", path);
        if (wait_for_signal(&termination, 0))
            return 0;
    }
    if (ipc_sub_info(reader->sub, &info, sizeof(info)) < 0)
        err(1, "ipc_sub_info");
    reader->next = info.next_seq;
    reader->writers++;
    return 1;
}

/* Receives the next reading. Returns 0 after a termination signal. */
static int next_reading(struct reader *reader, const char *path, struct reading *reading)
{
    uint64_t seq;

    for (;;) {
        if (wait_for_signal(&termination, 0))
            return 0;
        if (!reader->sub && !subscribe(reader, path))
            return 0;
        ssize_t len = ipc_sub_recv(reader->sub, reading, sizeof(*reading), &seq, 100);
        if (len > 0) {
            reader->next = seq + 1;
            reader->received++;
            reader->torn += (uint64_t)is_torn(reading);
            return 1;
        }
        if (len == 0) { /* the writer has ended: wait for the next one */
            ipc_sub_close(reader->sub);
            reader->sub = NULL;
        } else if (errno == EOVERFLOW) {
            reader->lost += seq - reader->next;
            reader->next = seq;
        } else if (errno != ETIMEDOUT) {
            err(1, "ipc_sub_recv");
        }
    }
}

static int read_readings(const char *path, long count)
{
    struct reader reader = {0};
    struct reading reading;

    for (long i = 0; (count == 0 || i < count) && next_reading(&reader, path, &reading); i++)
        print_reading(&reading);
    ipc_sub_close(reader.sub);
    return reader.torn != 0;
}

/* Starts a reader, or a writer if reader is NULL. */
static pid_t start(const char *path, struct reader *reader)
{
    struct reading reading;

    pid_t pid = start_child(SIGTERM);
    if (pid > 0)
        return pid;
    if (!reader)
        _exit(write_readings(path));
    while (next_reading(reader, path, &reading))
        continue;
    _exit(0);
}

static int demonstrate(const char *path, long readers)
{
    pid_t pid[MAX_READERS];
    int failed = 0, sig = 0;
    struct reader *reader = mmap(NULL, sizeof(*reader) * MAX_READERS, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reader == MAP_FAILED)
        err(1, "mmap");

    pid_t writer = start(path, NULL);
    for (int i = 0; i < readers; i++)
        pid[i] = start(path, &reader[i]);
    /* Half-way, kill the writer and the first reader, and replace both. */
    if (!(sig = wait_for_signal(&termination, 700 * 1000000))) {
        end(writer, SIGKILL);
        end(pid[0], SIGKILL);
        printf("the writer and the first reader have been killed\n");
        reader[0].sub = NULL;
        pid[0] = start(path, &reader[0]);
        writer = start(path, NULL);
        sig = wait_for_signal(&termination, 700 * 1000000);
    }
    for (int i = 0; i < readers; i++) {
        end(pid[i], SIGTERM);
        printf("reader %2d: %5llu readings from %llu writers, %llu lost, %llu torn\n", i,
               (unsigned long long)reader[i].received, (unsigned long long)reader[i].writers,
               (unsigned long long)reader[i].lost, (unsigned long long)reader[i].torn);
        failed |= reader[i].torn != 0;
    }
    end(writer, SIGTERM);
    flush_output();
    return sig ? 128 + sig : failed;
}

static const char usage[] =
    "usage: sensor_feed write PATH\n"
    "       sensor_feed read [--count N] PATH\n"
    "       sensor_feed demo [--readers N] PATH\n"
    "write publishes the readings of 8 sensors, 1000 times a second, until SIGINT or SIGTERM. "
    "read\n"
    "prints N readings (0, the default: until a signal). demo starts a writer and N readers\n"
    "(default 4, at most 32), kills the writer, and starts another one.\n";

int main(int argc, char **argv)
{
    long count = 0, readers = 4;
    const struct command_option options[] = {
        {'c', "count", .number = &count, .min = 0, .max = 1000000000},
        {'r', "readers", .number = &readers, .min = 1, .max = MAX_READERS},
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

    if (strcmp(command, "write") == 0)
        return write_readings(path);
    if (strcmp(command, "read") == 0)
        return read_readings(path, count);
    if (strcmp(command, "demo") == 0)
        return demonstrate(path, readers);
    usage_error(usage);
}
