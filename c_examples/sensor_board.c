/*
 * sensor_board: one process measures a thousand times a second, any number of others read the
 * current reading. It is a cell in a region with a name: readers map it read-only, take no lock
 * and never see half a reading, and each may come, go or be killed at any time. So may the
 * writer: the next one goes on with the same cell, and its readers notice only the pause.
 *
 *     sensor_board write &
 *     sensor_board read
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define SENSORS     8
#define RATE        1000
#define MAX_READERS 32

struct reading {
    uint64_t time; /* nanoseconds of CLOCK_MONOTONIC */
    uint64_t number;
    uint32_t writer;
    uint32_t is_last; /* the writer has ended in good order, and removed the name */
    int64_t value[SENSORS];
    int64_t sum; /* of the values: by it a torn reading would be known */
};

static char default_name[64];
static const char *name = default_name;
static sigset_t ending;

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Waits so long, or until a signal asks to end. Returns that signal, or 0. */
static int pause_for(uint64_t ns)
{
    const struct timespec time = {.tv_sec = (time_t)(ns / 1000000000),
                                  .tv_nsec = (long)(ns % 1000000000)};
    int sig = sigtimedwait(&ending, NULL, &time);
    return sig < 0 ? 0 : sig;
}

/* Fills in a new region, before anybody else sees it. */
static int make_cell(void *addr, size_t size, void *arg)
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

/* Opens the region, or makes it. The cell has one writer at a time, until it ends or dies. */
static void become_writer(struct board *board)
{
    const struct ipc_shm_opts opts = {.mode = 0644, .timeout_ms = 10000};

    for (;;) {
        if (ipc_shm_open_or_create(name, ipc_cell_memory_size(sizeof(struct reading)), make_cell, NULL,
                                   &opts, sizeof(opts), &board->shm) < 0)
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
        close_board(board); /* the writer before us has just removed it */
    }
}

/* Where a real sensor would be asked: from -1000 to 1000 and back, at a pace of its own. */
static int64_t measure(int sensor, uint64_t number)
{
    return llabs((int64_t)(number * (unsigned)(sensor + 1) % 4000) - 2000) - 1000;
}

static int write_readings(void)
{
    struct board board;
    struct reading reading = {.writer = (uint32_t)getpid()};
    int sig = 0;

    become_writer(&board);
    fprintf(stderr, "sensor_board: process %d serves %s\n", (int)getpid(), name);
    for (uint64_t next = nanoseconds(); !reading.is_last;) {
        next += 1000000000 / RATE;
        uint64_t now = nanoseconds();
        sig = pause_for(next > now ? next - now : 0);

        reading.time = nanoseconds();
        reading.number++;
        reading.is_last = sig != 0;
        reading.sum = 0;
        for (int i = 0; i < SENSORS; i++) {
            reading.value[i] = measure(i, reading.number);
            reading.sum += reading.value[i];
        }
        if (sig && ipc_shm_unlink(name) < 0)
            warn("%s", name);
        if (ipc_cell_store(board.cell, &reading, sizeof(reading), -1) < 0)
            err(1, "ipc_cell_store");
    }
    close_board(&board);
    return 0;
}

static int is_torn(const struct reading *reading)
{
    int64_t sum = 0;
    for (int i = 0; i < SENSORS; i++)
        sum += reading->value[i];
    return sum != reading->sum;
}

/* Returns 0 where there is none. */
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

/* Waits for a reading after *version. Returns 0 when a signal asked to end. */
static int next_reading(struct board *board, uint64_t *version, struct reading *reading)
{
    for (int said = 0;;) {
        if (pause_for(0))
            return 0;
        if (!board->cell && !open_board(board)) {
            if (!said++)
                fprintf(stderr, "sensor_board: %s has no writer: waiting for one\n", name);
            if (pause_for(10 * 1000000))
                return 0;
            continue;
        }
        /* A signal is looked for ten times a second. */
        if (ipc_cell_wait(board->cell, *version, 100) < 0) {
            if (errno != ETIMEDOUT)
                err(1, "ipc_cell_wait");
            continue;
        }
        if (ipc_cell_load(board->cell, reading, sizeof(*reading), version) < 0)
            err(1, "ipc_cell_load");
        if (!reading->is_last)
            return 1;
        close_board(board); /* the name is another region's next time */
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
        printf("writer %u, reading %8llu, %5.0f us old:", reading.writer,
               (unsigned long long)reading.number, 1e-3 * (double)(nanoseconds() - reading.time));
        for (int s = 0; s < SENSORS; s++)
            printf(" %5lld", (long long)reading.value[s]);
        putchar('\n');
        if (fflush(stdout) != 0)
            err(1, "standard output");
        if ((count == 0 || i + 1 < count) && pause_for((uint64_t)every_ms * 1000000))
            break;
    }
    close_board(&board);
    return 0;
}

/* What a reader of the demonstration counts, where its parent sees it. */
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

/* Starts a writer, or a reader where it gets counts. */
static pid_t start(struct counts *counts)
{
    fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    if (!counts)
        _exit(write_readings());
    count_readings(counts);
    _exit(0);
}

static void end(pid_t pid, int sig)
{
    int status;
    kill(pid, sig);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (sig != SIGKILL && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        errx(1, "process %d failed", (int)pid);
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
    /* Half-way the writer is killed, and another one goes on; of the readers the first is too. */
    if (!(sig = pause_for(700 * 1000000))) {
        end(writer, SIGKILL);
        end(reader[0], SIGKILL);
        printf("the writer and the first reader are killed\n");
        reader[0] = start(&counts[0]);
        writer = start(NULL);
        sig = pause_for(700 * 1000000);
    }
    for (int i = 0; i < readers; i++) {
        end(reader[i], SIGTERM);
        printf("reader %2d: %5llu readings of %llu writers, %llu torn\n", i,
               (unsigned long long)counts[i].readings, (unsigned long long)counts[i].writers,
               (unsigned long long)counts[i].torn);
        failed |= counts[i].torn != 0;
    }
    end(writer, SIGTERM);
    if (fflush(stdout) != 0)
        err(1, "standard output");
    return sig ? 128 + sig : failed;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: sensor_board write [--name /NAME]\n"
            "       sensor_board read [--name /NAME] [--count N] [--every MS]\n"
            "       sensor_board demo [--name /NAME] [--readers N]\n"
            "write keeps %d sensors' readings on the board, %d times a second, until SIGINT or\n"
            "SIGTERM; read prints N of them (0, the default: until a signal), one each MS\n"
            "milliseconds (default 500); demo shows a writer that is killed and replaced, and N\n"
            "readers (default 4, at most %d). The board's name is %s by default.\n",
            SENSORS, RATE, MAX_READERS, default_name);
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

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},    {"count", required_argument, NULL, 'c'},
        {"every", required_argument, NULL, 'e'},   {"readers", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    long count = 0, every = 500, readers = 4;

    snprintf(default_name, sizeof(default_name), "/unixipc-sensor_board-%u", (unsigned)getuid());
    for (int c; (c = getopt_long(argc, argv, "n:c:e:r:h", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            name = optarg;
            break;
        case 'c':
            count = number("--count", optarg, 0, 1000000000);
            break;
        case 'e':
            every = number("--every", optarg, 0, 3600000);
            break;
        case 'r':
            readers = number("--readers", optarg, 1, MAX_READERS);
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    const char *what = argc - optind == 1 ? argv[optind] : "";

    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL); /* waited for in pause_for() */
    signal(SIGCHLD, SIG_DFL);              /* were it ignored, nobody could be waited for */

    if (strcmp(what, "write") == 0)
        return write_readings();
    if (strcmp(what, "read") == 0)
        return read_readings(count, every);
    if (strcmp(what, "demo") == 0)
        return demonstrate((int)readers);
    usage(stderr);
    return 2;
}
