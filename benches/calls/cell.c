/*
 * cell: ipc_cell, read and stored by processes on two processors.
 *
 * It is compared with a plain seqlock (one copy of the value, and a counter that is odd during a
 * write) and with the semaphore lock (ipc_semlock_open). The seqlock has one writer, which takes no
 * lock; so has a cell with IPC_CELL_F_SOLE_WRITER. In rows that say "mutex", the writer takes a
 * robust mutex, as it must where several processes write. The other process repeats the job of the
 * current row.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bench.h"

#define SMALL 64
#define LARGE 4096

/* The jobs of the other process. */
enum job {
    IDLE,
    WRITE_CELL,
    WRITE_WAITABLE,
    WRITE_SEQLOCK,
    WRITE_SEMLOCK,
    READ_CELL,
    READ_SOLE,
    READ_WAITABLE,
    READ_SEQLOCK,
    JOBS
};

struct seqlock {
    _Alignas(64) atomic_uint sequence;
    _Alignas(16) unsigned char value[SMALL];
};

struct shared {
    _Alignas(64) pthread_mutex_t mutex;
    _Alignas(64) _Atomic int job;
    _Alignas(64) _Atomic long turns[JOBS]; /* how often the other process has done each job */
    struct seqlock seqlock;
    _Alignas(64) unsigned char guarded[SMALL];
    _Alignas(4096) unsigned char large[LARGE];
};

static struct shared *shared;
static struct ipc_cell *cell, *sole, *waitable, *sole_waitable, *for_readers, *large;
static int semlock;
static long failed_loads; /* loads of a cell that returned EAGAIN */
static long seqlock_retries;
static uint64_t in[LARGE / 8], out[LARGE / 8];

static void check(void)
{
    if (in[0] != in[7])
        errx(1, "a torn value");
}

static void store_cell(struct ipc_cell *to)
{
    out[0]++;
    out[7]++;
    must(ipc_cell_store(to, out, SMALL, -1), "ipc_cell_store");
}

static void load_cell(const struct ipc_cell *from)
{
    if (ipc_cell_load(from, in, SMALL, NULL) != SMALL) {
        if (errno != EAGAIN)
            err(1, "ipc_cell_load");
        failed_loads++;
    }
    check();
}

static void write_cell(void)
{
    store_cell(cell);
}
static void write_sole(void)
{
    store_cell(sole);
}
static void write_waitable(void)
{
    store_cell(waitable);
}
static void write_sole_waitable(void)
{
    store_cell(sole_waitable);
}
static void write_for_readers(void)
{
    store_cell(for_readers);
}
static void read_cell(void)
{
    load_cell(cell);
}
static void read_sole(void)
{
    load_cell(sole);
}
static void read_waitable(void)
{
    load_cell(waitable);
}

static void write_seqlock(void)
{
    struct seqlock *lock = &shared->seqlock;
    unsigned sequence = atomic_load_explicit(&lock->sequence, memory_order_relaxed);
    out[0]++;
    out[7]++;
    atomic_store_explicit(&lock->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(lock->value, out, SMALL);
    atomic_store_explicit(&lock->sequence, sequence + 2, memory_order_release);
}

static void write_seqlock_locked(void)
{
    if (pthread_mutex_lock(&shared->mutex) != 0)
        errx(1, "pthread_mutex_lock");
    write_seqlock();
    pthread_mutex_unlock(&shared->mutex);
}

static void read_seqlock(void)
{
    struct seqlock *lock = &shared->seqlock;
    for (;; seqlock_retries++) {
        unsigned sequence = atomic_load_explicit(&lock->sequence, memory_order_acquire);
        if (sequence % 2 != 0)
            continue;
        memcpy(in, lock->value, SMALL);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&lock->sequence, memory_order_relaxed) == sequence)
            break;
    }
    check();
}

static void read_semlock(void)
{
    must(ipc_semlock_rdlock(semlock, -1), "ipc_semlock_rdlock");
    memcpy(in, shared->guarded, SMALL);
    must(ipc_semlock_rdunlock(semlock), "ipc_semlock_rdunlock");
    check();
}

static void write_semlock(void)
{
    must(ipc_semlock_wrlock(semlock, -1), "ipc_semlock_wrlock");
    out[0]++;
    out[7]++;
    memcpy(shared->guarded, out, SMALL);
    must(ipc_semlock_wrunlock(semlock), "ipc_semlock_wrunlock");
}

static void copy_large(void)
{
    memcpy(in, shared->large, LARGE);
    __asm__ volatile("" : : "r"(in) : "memory");
}

static void read_large(void)
{
    if (ipc_cell_load(large, in, LARGE, NULL) != LARGE)
        err(1, "ipc_cell_load");
}

static void (*const jobs[JOBS])(void) = {
    [WRITE_CELL] = write_cell,       [WRITE_WAITABLE] = write_waitable,
    [WRITE_SEQLOCK] = write_seqlock, [WRITE_SEMLOCK] = write_semlock,
    [READ_CELL] = read_cell,         [READ_SOLE] = read_sole,
    [READ_WAITABLE] = read_waitable, [READ_SEQLOCK] = read_seqlock,
};

struct row {
    const char *name;
    void (*run[2])(void); /* the reference, the cell */
    enum job job[2];      /* the job of the other process during each */
    long batch[2];        /* the number of calls that count as one operation of a block */
    double target;        /* the minimum speedup of the cell */
};

static const struct row rows[] = {
    {"load 64 B / semlock", {read_semlock, read_cell}, {IDLE, IDLE}, {1, 50}, 60},
    {"load 64 B / seqlock", {read_seqlock, read_cell}, {IDLE, IDLE}, {1, 1}, 0},
    {"load 4 KiB / memcpy", {copy_large, read_large}, {IDLE, IDLE}, {1, 1}, 0.7},
    {"load, one writer / semlock",
     {read_semlock, read_cell},
     {WRITE_SEMLOCK, WRITE_CELL},
     {1, 1000},
     500},
    {"load, one writer / seqlock",
     {read_seqlock, read_cell},
     {WRITE_SEQLOCK, WRITE_CELL},
     {1, 1},
     4},
    {"  waitable cell", {read_seqlock, read_waitable}, {WRITE_SEQLOCK, WRITE_WAITABLE}, {1, 1}, 0},
    {"store, one reader / seqlock",
     {write_seqlock, write_sole},
     {READ_SEQLOCK, READ_SOLE},
     {1, 1},
     1},
    {"  not sole / seqlock and mutex",
     {write_seqlock_locked, write_cell},
     {READ_SEQLOCK, READ_CELL},
     {1, 1},
     0},
    {"  waitable cell", {write_seqlock, write_waitable}, {READ_SEQLOCK, READ_WAITABLE}, {1, 1}, 0},
    {"store, alone / seqlock", {write_seqlock, write_sole}, {IDLE, IDLE}, {1, 1}, 0},
    {"  not sole / seqlock and mutex", {write_seqlock_locked, write_cell}, {IDLE, IDLE}, {1, 1}, 0},
    /* Compared with a store into a cell that is not waitable. */
    {"store, no waiter / plain cell", {write_cell, write_waitable}, {IDLE, IDLE}, {1, 1}, 1 / 3.0},
    {"  sole writer", {write_sole, write_sole_waitable}, {IDLE, IDLE}, {1, 1}, 1 / 3.0},
    {"  readers may wait", {write_cell, write_for_readers}, {IDLE, IDLE}, {1, 1}, 0},
};

static void wait_for_turns(enum job job, long turns)
{
    while (atomic_load_explicit(&shared->turns[job], memory_order_relaxed) < turns)
        ;
}

static void block(const void *of, int which, long count)
{
    const struct row *row = of;
    enum job job = row->job[which];
    if (atomic_load(&shared->job) != (int)job) {
        long turns = atomic_load(&shared->turns[job]);
        atomic_store(&shared->job, job);
        wait_for_turns(job, turns + 2);
    }
    for (long i = count * row->batch[which]; i > 0; i--)
        row->run[which]();
}

static void run_jobs(void)
{
    bench_pin(1);
    memset(out, 0, sizeof(out));
    for (;;) {
        int job = atomic_load_explicit(&shared->job, memory_order_relaxed);
        if (jobs[job])
            for (int i = 0; i < 32; i++)
                jobs[job]();
        atomic_fetch_add_explicit(&shared->turns[job], 1, memory_order_relaxed);
    }
}

static struct ipc_cell *make_cell(size_t size, unsigned flags)
{
    size_t bytes = ipc_cell_memory_size(size);
    struct ipc_cell *new_cell;
    must(ipc_cell_init(bench_shared_memory(bytes), bytes, size, flags, &new_cell), "ipc_cell_init");
    return new_cell;
}

static void remove_semlock(void)
{
    ipc_semlock_remove(semlock);
}

int main(void)
{
    shared = bench_shared_memory(sizeof(*shared));
    bench_init_robust(&shared->mutex);
    cell = make_cell(SMALL, 0);
    sole = make_cell(SMALL, IPC_CELL_F_SOLE_WRITER);
    waitable = make_cell(SMALL, IPC_CELL_F_WAITABLE);
    sole_waitable = make_cell(SMALL, IPC_CELL_F_WAITABLE | IPC_CELL_F_SOLE_WRITER);
    for_readers = make_cell(SMALL, IPC_CELL_F_WAITABLE_RDONLY);
    large = make_cell(LARGE, 0);
    must(ipc_cell_store(large, shared->large, LARGE, -1), "ipc_cell_store");
    write_cell();
    write_sole();
    write_waitable();
    write_sole_waitable();
    write_for_readers();
    must(semlock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600), "ipc_semlock_open");
    bench_remove_at_exit(remove_semlock);

    pid_t pid = bench_fork();
    if (pid == 0)
        run_jobs();

    bench_pin(0);
    bench_print_title();
    printf("\n%-30s %10s %9s %10s %10s %8s %7s    %s\n", "cell / reference", "ref., ns", "cell, ns",
           "ref./s", "cell/s", "speedup", "target", "speedup of each round");
    for (size_t i = 0; i < BENCH_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct bench_result result = bench_measure(block, row);
        double scale = (double)row->batch[1] / (double)row->batch[0];
        double ns[2] = {result.ns[0] / (double)row->batch[0], result.ns[1] / (double)row->batch[1]};
        printf("%-30s %10.1f %9.1f %10.0f %10.0f %8.2f %7.1f   ", row->name, ns[0], ns[1],
               1e9 / ns[0], 1e9 / ns[1], scale / result.ratio, row->target);
        for (int round = 0; round < BENCH_ROUNDS; round++)
            printf(" %.2f", scale / result.ratios[round]);
        printf("\n");
        fflush(stdout);
    }
    printf("\nfailed loads of a cell: %ld; retries of the seqlock: %ld\n", failed_loads,
           seqlock_retries);
    kill(pid, SIGKILL);
    return 0;
}
