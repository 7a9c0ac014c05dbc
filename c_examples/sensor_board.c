/*
 * sensor_board: one process measures a thousand times a second, and any number of processes read
 * the current reading. The reading is in a cell in a named region. Readers map the region
 * read-only, take no lock and never get a torn reading. A reader can start, end or be killed at
 * any time, and so can the writer: the next writer continues with the same cell, and the readers
 * only notice a pause.
 *
 *     sensor_board write &
 *     sensor_board read
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unixipc.h>

#include "sensor.h"
#include "util.h"

#define MAX_READERS 32

static char default_name[64];
static const char *name = default_name;
static sigset_t termination;

/* Initialises a new region, before another process can open it. */
static int init_region(void *addr, size_t size, void *arg)
{
    struct ipc_cell *cell;
    (void)arg;
    if (ipc_cell_init(addr, size, sizeof(struct reading), IPC_CELL_F_WAITABLE_RDONLY, &cell) < 0)
        return -1;
    ipc_cell_close(cell);
    return 0;
}

struct board {
    struct ipc_shm *shm;
    struct ipc_cell *cell;
};

static void close_board(struct board *board)
{
    ipc_cell_close(board->cell);
    ipc_shm_close(board->shm);
    *board = (struct board){NULL, NULL};
}

/* Opens or creates the region, and becomes the sole writer of the cell until this process ends. */
static void become_writer(struct board *board)
{
    const struct ipc_shm_opts opts = {.mode = 0644, .timeout_ms = 10000};

    for (;;) {
        size_t size = ipc_cell_memory_size(sizeof(struct reading));
        if (ipc_shm_open_or_create(name, size, init_region, NULL, &opts, sizeof(opts),
                                   &board->shm) < 0)
            err(1, "%s", name);
        if (ipc_cell_open(ipc_shm_addr(board->shm), ipc_shm_size(board->shm),
                          IPC_CELL_F_SOLE_WRITER, &board->cell) < 0) {
            if (errno == EBUSY)
                errx(1, "%s has a writer already", name);
            err(1, "%s", name);
        }
        int current = ipc_shm_is_current(board->shm);
        if (current < 0)
            err(1, "%s", name);
        if (current)
            return;
        close_board(board); /* the previous writer has just removed the name */
    }
}

static int write_readings(void)
{
    struct board board;
    struct reading reading = {.writer = (uint32_t)getpid()};
    int sig = 0;

    become_writer(&board);
    fprintf(stderr, "sensor_board: process %d serves %s\n", (int)getpid(), name);
    for (uint64_t next = nanoseconds_now(); !reading.is_last;) {
        next += NANOSECONDS_BETWEEN_READINGS;
        uint64_t now = nanoseconds_now();
        sig = wait_for_signal(&termination, next > now ? next - now : 0);

        measure(&reading);
        reading.is_last = sig != 0;
        if (sig && ipc_shm_unlink(name) < 0)
            warn("%s", name);
        if (ipc_cell_store(board.cell, &reading, sizeof(reading), -1) < 0)
            err(1, "ipc_cell_store");
    }
    close_board(&board);
    return 0;
}

/* Opens the region for reading. Returns 0 if it does not exist. */
static int open_board(struct board *board)
{
    if (ipc_shm_open(name, IPC_SHM_F_RDONLY, &board->shm) < 0) {
        if (errno == ENOENT)
            return 0;
        err(1, "%s", name);
    }
    if (ipc_cell_open(ipc_shm_addr(board->shm), ipc_shm_size(board->shm), IPC_CELL_F_RDONLY,
                      &board->cell) < 0)
        err(1, "%s", name);
    return 1;
}

/* Waits for a reading after *version. Returns 0 after a termination signal. */
static int next_reading(struct board *board, uint64_t *version, struct reading *reading)
{
    for (int has_warned = 0;;) {
        if (wait_for_signal(&termination, 0))
            return 0;
        if (!board->cell && !open_board(board)) {
            if (!has_warned++)
                fprintf(stderr, "sensor_board: %s has no writer: waiting for one\n", name);
            if (wait_for_signal(&termination, 10 * 1000000))
                return 0;
            continue;
        }
        /* The time-out lets the loop check for signals ten times a second. */
        if (ipc_cell_wait(board->cell, *version, 100) < 0) {
            if (errno != ETIMEDOUT)
                err(1, "ipc_cell_wait");
            continue;
        }
        if (ipc_cell_load(board->cell, reading, sizeof(*reading), version) < 0)
            err(1, "ipc_cell_load");
        if (!reading->is_last)
            return 1;
        close_board(board); /* the next writer creates another region */
        *version = 0;
    }
}

static int read_readings(long count, long every_ms)
{
    struct board board = {NULL, NULL};
    struct reading reading;
    uint64_t version = 0;

    for (long i = 0; count == 0 || i < count; i++) {
        if (!next_reading(&board, &version, &reading))
            break;
        if (is_torn(&reading))
            errx(1, "reading %llu is torn", (unsigned long long)reading.number);
        print_reading(&reading);
        if ((count == 0 || i + 1 < count) &&
            wait_for_signal(&termination, (uint64_t)every_ms * 1000000))
            break;
    }
    close_board(&board);
    return 0;
}

/* The counts of a reader of the demonstration, in memory that it shares with its parent. */
struct counts {
    volatile uint64_t readings, torn, writers;
};

static void count_readings(struct counts *counts)
{
    struct board board = {NULL, NULL};
    struct reading reading;
    uint64_t version = 0;
    uint32_t writer = 0;

    while (next_reading(&board, &version, &reading)) {
        counts->torn += (uint64_t)is_torn(&reading);
        counts->writers += reading.writer != writer;
        writer = reading.writer;
        counts->readings++;
    }
    close_board(&board);
}

/* Starts a reader, or a writer if counts is NULL. */
static pid_t start(struct counts *counts)
{
    pid_t pid = start_child(SIGTERM);
    if (pid > 0)
        return pid;
    if (!counts)
        _exit(write_readings());
    count_readings(counts);
    _exit(0);
}

static int demonstrate(int readers)
{
    pid_t reader[MAX_READERS];
    int failed = 0, sig = 0;
    struct counts *counts = mmap(NULL, sizeof(*counts) * MAX_READERS, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED)
        err(1, "mmap");

    pid_t writer = start(NULL);
    for (int i = 0; i < readers; i++)
        reader[i] = start(&counts[i]);
    /* Half-way, kill the writer and the first reader, and replace both. */
    if (!(sig = wait_for_signal(&termination, 700 * 1000000))) {
        end(writer, SIGKILL);
        end(reader[0], SIGKILL);
        printf("the writer and the first reader have been killed\n");
        reader[0] = start(&counts[0]);
        writer = start(NULL);
        sig = wait_for_signal(&termination, 700 * 1000000);
    }
    for (int i = 0; i < readers; i++) {
        end(reader[i], SIGTERM);
        printf("reader %2d: %5llu readings from %llu writers, %llu torn\n", i,
               (unsigned long long)counts[i].readings, (unsigned long long)counts[i].writers,
               (unsigned long long)counts[i].torn);
        failed |= counts[i].torn != 0;
    }
    end(writer, SIGTERM);
    flush_output();
    return sig ? 128 + sig : failed;
}

static const char usage[] =
    "usage: sensor_board write [--name /NAME]\n"
    "       sensor_board read [--name /NAME] [--count N] [--every MS]\n"
    "       sensor_board demo [--name /NAME] [--readers N]\n"
    "write stores the readings of 8 sensors, 1000 times a second, until SIGINT or SIGTERM. read\n"
    "prints N readings (0, the default: until a signal), one every MS milliseconds (default 500).\n"
    "demo starts a writer and N readers (default 4, at most 32), kills the writer, and starts\n"
    "another one. /NAME is the name of the shared memory (default: /unixipc-sensor_board-UID,\n"
    "with your user ID).\n";

int main(int argc, char **argv)
{
    long count = 0, every_ms = 500, readers = 4;
    const struct command_option options[] = {
        {'n', "name", .text = &name},
        {'c', "count", .number = &count, .min = 0, .max = 1000000000},
        {'e', "every", .number = &every_ms, .min = 0, .max = 3600000},
        {'r', "readers", .number = &readers, .min = 1, .max = MAX_READERS},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 1,
        .max_args = 1,
        .options = options,
    };

    snprintf(default_name, sizeof(default_name), "/unixipc-sensor_board-%u", (unsigned)getuid());
    const char *command = argv[parse_command_line(&line, argc, argv)];

    termination = block_termination_signals();
    enable_waitpid();

    if (strcmp(command, "write") == 0)
        return write_readings();
    if (strcmp(command, "read") == 0)
        return read_readings(count, every_ms);
    if (strcmp(command, "demo") == 0)
        return demonstrate((int)readers);
    usage_error(usage);
}
