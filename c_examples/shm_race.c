/*
 * shm_race: why shared memory needs a lock. A writer process stores a value of eight equal words
 * into shared memory, again and again. Reader processes copy the value and compare the words.
 * Without a lock a reader can get words of two values: a torn read. A lock prevents torn reads,
 * and so does a cell, which its readers load without a lock.
 */
#include <err.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locks.h"
#include "util.h"

#define WORDS       8
#define MAX_READERS 64
#define CACHE_LINE  64

/* On its own cache line, so that counting does not slow down other readers. */
struct reader_counts {
    _Alignas(CACHE_LINE) uint64_t reads;
    uint64_t torn;
};

struct shared {
    /* volatile: the compiler must neither merge nor omit accesses. */
    _Alignas(CACHE_LINE) volatile uint64_t value[WORDS];
    _Alignas(CACHE_LINE) struct lock_memory lock;
    _Alignas(CACHE_LINE) _Atomic int stop;
    _Alignas(CACHE_LINE) uint64_t writes;
    struct reader_counts reader[MAX_READERS];
    /* The cell, of ipc_cell_memory_size() bytes. */
    _Alignas(CACHE_LINE) char cell[];
};

static struct shared *shared;
static struct lock lock;
static struct ipc_cell *cell; /* NULL unless this row of the table measures the cell */

static void write_values(void)
{
    for (uint64_t n = 1; !atomic_load_explicit(&shared->stop, memory_order_relaxed); n++) {
        if (cell) {
            const uint64_t value[WORDS] = {n, n, n, n, n, n, n, n};
            must(ipc_cell_store(cell, value, sizeof(value), -1), "ipc_cell_store");
        } else {
            must(lock.type->wrlock(&lock), "the writer's lock");
            for (int i = 0; i < WORDS; i++)
                shared->value[i] = n;
            must(lock.type->wrunlock(&lock), "the writer's unlock");
        }
        shared->writes = n;
    }
}

static void read_values(struct reader_counts *counts)
{
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        uint64_t copy[WORDS];
        if (cell) {
            if (ipc_cell_load(cell, copy, sizeof(copy), NULL) < 0)
                err(1, "ipc_cell_load");
        } else {
            must(lock.type->rdlock(&lock), "a reader's lock");
            for (int i = 0; i < WORDS; i++)
                copy[i] = shared->value[i];
            must(lock.type->rdunlock(&lock), "a reader's unlock");
        }

        int torn = 0;
        for (int i = 1; i < WORDS; i++)
            torn |= copy[i] != copy[0];
        counts->torn += (uint64_t)torn;
        counts->reads++;
    }
}

/* Waits for the children. Returns the number of those that failed. */
static int reap(int children, const sigset_t *signals)
{
    int failed = 0;
    for (int status; children > 0; children--) {
        if (wait(&status) < 0)
            err(1, "wait");
        failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    /* Take the pending SIGCHLD, or it would end the next row at once. */
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGCHLD))
        wait_for_signal(signals, 0);
    return failed;
}

static void create_cell(size_t cell_size)
{
    const uint64_t zeros[WORDS] = {0};
    must(ipc_cell_init(shared->cell, cell_size, sizeof(zeros), 0, &cell), "ipc_cell_init");
    must(ipc_cell_store(cell, zeros, sizeof(zeros), -1), "ipc_cell_store");
}

/* Measures one row of the table: a type of lock, or the cell if type is NULL. Returns 0, or the
 * signal that asks the program to end. */
static int race(const struct lock_type *type, int readers, double seconds, const sigset_t *signals)
{
    const char *name = type ? type->name : "ipc_cell";
    size_t cell_size = ipc_cell_memory_size(sizeof(shared->value));
    int id =
        must(ipc_shmget(IPC_PRIVATE, sizeof(*shared) + cell_size, IPC_CREAT | 0600), "ipc_shmget");
    shared = ipc_shmat(id, NULL, 0);
    int attach_error = errno;
    /* After IPC_RMID the segment exists until its last process ends, however it ends. Semaphores
     * have no such mark: if this process is killed, they stay. */
    must(ipc_shmctl(id, IPC_RMID, NULL), "ipc_shmctl");
    if (shared == (void *)-1)
        errx(1, "ipc_shmat: %s", strerror(attach_error));
    if (type) {
        lock = (struct lock){.type = type, .memory = &shared->lock};
        must(type->create(&lock), name);
    } else {
        create_cell(cell_size);
    }

    double begin = seconds_now();
    /* Child 0 is the writer. */
    for (int i = 0; i <= readers; i++) {
        if (start_child(SIGKILL) == 0) {
            if (i == 0)
                write_values();
            else
                read_values(&shared->reader[i - 1]);
            _exit(0);
        }
    }
    /* A child exits early only if it has failed; SIGCHLD then ends the row. */
    int sig = wait_for_signal(signals, (uint64_t)(seconds * 1e9));
    atomic_store(&shared->stop, 1);
    double elapsed = seconds_now() - begin;

    int failed = reap(readers + 1, signals);
    if (type)
        must(type->remove(&lock), name);
    ipc_cell_close(cell);
    cell = NULL;
    if (failed > 0)
        errx(1, "%s: %d processes failed", name, failed);

    uint64_t reads = 0, torn = 0;
    for (int i = 0; i < readers; i++) {
        reads += shared->reader[i].reads;
        torn += shared->reader[i].torn;
    }
    printf("%-16s %14llu %14llu %14.0f %14.0f\n", name, (unsigned long long)reads,
           (unsigned long long)torn, (double)reads / elapsed, (double)shared->writes / elapsed);
    must(ipc_shmdt(shared), "ipc_shmdt");
    return sig == SIGCHLD ? 0 : sig;
}

static const char usage[] =
    "usage: shm_race [--seconds S] [--readers N]\n"
    "One writer and N readers (default 3, at most 64) share a value for S seconds (default 1):\n"
    "without a lock, with each kind of lock, and in a cell. Prints the number of torn reads and\n"
    "the rates.\n";

int main(int argc, char **argv)
{
    static const struct lock_type *const rows[] = {
        &no_lock, &rwsem_lock, &semlock_lock, &mutex_lock, &rwlock_lock, NULL,
    };
    double seconds = 1;
    long readers = 3;
    const struct command_option options[] = {
        {'s', "seconds", .real = &seconds, .max = 3600},
        {'r', "readers", .number = &readers, .min = 1, .max = MAX_READERS},
        {0},
    };
    const struct command_line line = {.usage = usage, .options = options};

    parse_command_line(&line, argc, argv);
    /* race() waits for these signals, and removes the semaphores before the program exits. */
    sigset_t signals = block_termination_signals();
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    enable_waitpid();

    printf("%-16s %14s %14s %14s %14s\n", "guard", "reads", "torn", "reads/s", "writes/s");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int sig = race(rows[i], (int)readers, seconds, &signals);
        fflush(stdout);
        if (sig)
            return 128 + sig;
    }
    flush_output();
    return 0;
}
