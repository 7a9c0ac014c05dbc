/*
 * shm_race: why shared memory needs a lock. One process writes a value of eight
 * words into shared memory again and again, always the same number into each
 * word; others copy the value and look whether all words are equal. Without a
 * lock they see half of one value and half of the next: a torn read. The locks
 * prevent it, and so does a cell, in which readers take no lock at all.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rwsem.h"

#define WORDS       8
#define MAX_READERS 64
#define CACHE_LINE  64

/* On a cache line of its own: a count must not slow down its neighbour's. */
struct reader_counts {
    _Alignas(CACHE_LINE) uint64_t reads;
    uint64_t torn;
};

struct board {
    /* volatile: the compiler must neither merge nor leave out what other processes see. */
    _Alignas(CACHE_LINE) volatile uint64_t value[WORDS];
    _Alignas(CACHE_LINE) struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    _Alignas(CACHE_LINE) _Atomic int stop;
    _Alignas(CACHE_LINE) uint64_t writes;
    struct reader_counts reader[MAX_READERS];
    /* ipc_cell_memory_size() of them, which is known only when the program runs. */
    _Alignas(CACHE_LINE) char cell[];
};

static struct board *board;
static size_t cell_bytes;
static int lock = -1;         /* a semaphore set */
static struct ipc_cell *cell; /* a handle that the children inherit */

/* What a row of the table guards the value with: nothing, a lock, or a cell, which is a place
 * for the value itself. Each call returns a negative number where it fails. */
struct guard {
    const char *name;
    int (*make)(void);
    int (*read_lock)(void);
    int (*read_unlock)(void);
    int (*write_lock)(void);
    int (*write_unlock)(void);
    int (*remove)(void);
    int is_cell;
};

static int nothing(void)
{
    return 0;
}

static int rwsem_make(void)
{
    return lock = rwsem_open(IPC_PRIVATE, IPC_CREAT | 0600);
}

static int rwsem_rdlock(void)
{
    return rwsem_read_lock(lock);
}

static int rwsem_rdunlock(void)
{
    return rwsem_read_unlock(lock);
}

static int rwsem_wrlock(void)
{
    return rwsem_write_lock(lock);
}

static int rwsem_wrunlock(void)
{
    return rwsem_write_unlock(lock);
}

static int rwsem_end(void)
{
    return rwsem_remove(lock);
}

static int semlock_make(void)
{
    return lock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600);
}

static int semlock_rdlock(void)
{
    return ipc_semlock_rdlock(lock, -1);
}

static int semlock_rdunlock(void)
{
    return ipc_semlock_rdunlock(lock);
}

static int semlock_wrlock(void)
{
    return ipc_semlock_wrlock(lock, -1);
}

static int semlock_wrunlock(void)
{
    return ipc_semlock_wrunlock(lock);
}

static int semlock_end(void)
{
    return ipc_semlock_remove(lock);
}

static int mutex_make(void)
{
    return ipc_mutex_init(&board->mutex, 0);
}

static int mutex_lock(void)
{
    return ipc_mutex_lock(&board->mutex, -1);
}

static int mutex_unlock(void)
{
    return ipc_mutex_unlock(&board->mutex);
}

static int rwlock_make(void)
{
    return ipc_rwlock_init(&board->rwlock, 0);
}

static int rwlock_rdlock(void)
{
    return ipc_rwlock_rdlock(&board->rwlock, -1);
}

static int rwlock_rdunlock(void)
{
    return ipc_rwlock_rdunlock(&board->rwlock);
}

static int rwlock_wrlock(void)
{
    return ipc_rwlock_wrlock(&board->rwlock, -1);
}

static int rwlock_wrunlock(void)
{
    return ipc_rwlock_wrunlock(&board->rwlock);
}

static int cell_make(void)
{
    const uint64_t zeros[WORDS] = {0};
    if (ipc_cell_init(board->cell, cell_bytes, sizeof(zeros), 0, &cell) < 0)
        return -1;
    return ipc_cell_store(cell, zeros, sizeof(zeros), -1);
}

static int cell_end(void)
{
    ipc_cell_close(cell);
    return 0;
}

static const struct guard guards[] = {
    {"no lock", nothing, nothing, nothing, nothing, nothing, nothing, 0},
    {"semaphore lock", rwsem_make, rwsem_rdlock, rwsem_rdunlock, rwsem_wrlock, rwsem_wrunlock,
     rwsem_end, 0},
    {"ipc_semlock", semlock_make, semlock_rdlock, semlock_rdunlock, semlock_wrlock,
     semlock_wrunlock, semlock_end, 0},
    {"ipc_mutex", mutex_make, mutex_lock, mutex_unlock, mutex_lock, mutex_unlock, nothing, 0},
    {"ipc_rwlock", rwlock_make, rwlock_rdlock, rwlock_rdunlock, rwlock_wrlock, rwlock_wrunlock,
     nothing, 0},
    {"ipc_cell", cell_make, nothing, nothing, nothing, nothing, cell_end, 1},
};

static void must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

static void write_values(const struct guard *guard)
{
    for (uint64_t n = 1; !atomic_load_explicit(&board->stop, memory_order_relaxed); n++) {
        if (guard->is_cell) {
            const uint64_t value[WORDS] = {n, n, n, n, n, n, n, n};
            must(ipc_cell_store(cell, value, sizeof(value), -1), "the writer's store");
        } else {
            must(guard->write_lock(), "the writer's lock");
            for (int i = 0; i < WORDS; i++)
                board->value[i] = n;
            must(guard->write_unlock(), "the writer's unlock");
        }
        board->writes = n;
    }
}

static void read_values(const struct guard *guard, struct reader_counts *counts)
{
    while (!atomic_load_explicit(&board->stop, memory_order_relaxed)) {
        uint64_t copy[WORDS];
        if (guard->is_cell) {
            if (ipc_cell_load(cell, copy, sizeof(copy), NULL) < 0)
                err(1, "a reader's load");
        } else {
            must(guard->read_lock(), "a reader's lock");
            for (int i = 0; i < WORDS; i++)
                copy[i] = board->value[i];
            must(guard->read_unlock(), "a reader's unlock");
        }

        int torn = 0;
        for (int i = 1; i < WORDS; i++)
            torn |= copy[i] != copy[0];
        counts->torn += (uint64_t)torn;
        counts->reads++;
    }
}

/* Starts a child that does its work until board->stop; number -1 is the writer. */
static pid_t start(const struct guard *guard, int number)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* A child whose parent is killed would run for ever. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (number < 0)
        write_values(guard);
    else
        read_values(guard, &board->reader[number]);
    _exit(0);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Waits for one of the signals; 0 when the time was over first. */
static int wait_signal(const sigset_t *signals, double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    int sig = sigtimedwait(signals, NULL, &time);
    return sig < 0 ? 0 : sig;
}

/* Waits for the children. Returns how many failed. */
static int reap(int children, const sigset_t *signals)
{
    int failed = 0;
    for (int status; children > 0; children--) {
        if (wait(&status) < 0)
            err(1, "wait");
        failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    /* Their SIGCHLD is not to end the next row. */
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGCHLD))
        wait_signal(signals, 0);
    return failed;
}

/* Runs one row of the table. Returns 0, or the signal that asks to end. */
static int race(const struct guard *guard, int readers, double seconds, const sigset_t *signals)
{
    cell_bytes = ipc_cell_memory_size(sizeof(board->value));
    int id = ipc_shmget(IPC_PRIVATE, sizeof(struct board) + cell_bytes, IPC_CREAT | 0600);
    must(id, "ipc_shmget");
    board = ipc_shmat(id, NULL, 0);
    int attach_error = errno;
    /* Removed at once, the segment goes with the last process that has it, whatever kills us.
     * Semaphores cannot be removed before their end: those a SIGKILL would leave. */
    must(ipc_shmctl(id, IPC_RMID, NULL), "ipc_shmctl");
    if (board == (void *)-1)
        errx(1, "ipc_shmat: %s", strerror(attach_error));
    must(guard->make(), guard->name);

    double begin = seconds_now();
    int started = 0;
    pid_t pid = 0;
    while (started <= readers && (pid = start(guard, started - 1)) > 0)
        started++;
    int fork_error = pid < 0 ? errno : 0;
    /* No child should end by itself: one that does ends the row. */
    int sig = fork_error ? 0 : wait_signal(signals, seconds);
    atomic_store(&board->stop, 1);
    double elapsed = seconds_now() - begin;

    int failed = reap(started, signals);
    must(guard->remove(), guard->name);
    if (fork_error)
        errx(1, "fork: %s", strerror(fork_error));
    if (failed > 0)
        errx(1, "%d of the readers and the writer failed", failed);

    uint64_t reads = 0, torn = 0;
    for (int i = 0; i < readers; i++) {
        reads += board->reader[i].reads;
        torn += board->reader[i].torn;
    }
    printf("%-16s %14llu %14llu %14.0f %14.0f\n", guard->name, (unsigned long long)reads,
           (unsigned long long)torn, (double)reads / elapsed, (double)board->writes / elapsed);
    fflush(stdout);
    must(ipc_shmdt(board), "ipc_shmdt");
    return sig == SIGCHLD ? 0 : sig;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: shm_race [--seconds S] [--readers N]\n"
            "One writer and N readers (default 3, at most %d) share a value for S seconds\n"
            "(default 1), without a lock, with each kind of lock, and in a cell; prints how\n"
            "many reads were torn, and the rates.\n",
            MAX_READERS);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"readers", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    double seconds = 1;
    long readers = 3;
    char *end;

    for (int c; (c = getopt_long(argc, argv, "s:r:h", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            seconds = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !(seconds > 0 && seconds <= 3600))
                errx(2, "--seconds takes a number above 0, and at most 3600");
            break;
        case 'r':
            readers = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || readers < 1 || readers > MAX_READERS)
                errx(2, "--readers takes a number from 1 to %d", MAX_READERS);
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

    /* Waited for in race(), so that what was made is removed before the end. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */

    printf("%-16s %14s %14s %14s %14s\n", "guard", "reads", "torn", "reads/s", "writes/s");
    fflush(stdout);
    for (size_t i = 0; i < sizeof(guards) / sizeof(*guards); i++) {
        int sig = race(&guards[i], (int)readers, seconds, &signals);
        if (sig)
            return 128 + sig;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
    return 0;
}
