/*
 * cell: the current value of something, read and replaced by processes on two processors.
 *
 * It is compared with a plain seqlock (one copy, a counter that is odd while it is written)
 * and with the library's lock of semaphores (ipc_semlock_open). The seqlock's writer is alone and
 * takes no lock, and the cell's is the sole one; where it says so they take a robust mutex, as
 * writers do of whom there may be several. The other process is at work only while its partner's
 * block runs.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define SMALL 64
#define LARGE 4096

/* The work of the other process; 0 is none. */
enum job { IDLE, WRITE_CELL, WRITE_WAITABLE, WRITE_SEQLOCK, WRITE_SEMLOCK,
           READ_CELL, READ_SOLE, READ_WAITABLE, READ_SEQLOCK, JOBS };

struct seqlock {
    _Alignas(64) atomic_uint sequence;
    _Alignas(16) unsigned char value[SMALL];
};

struct shared {
    _Alignas(64) pthread_mutex_t mutex;
    _Alignas(64) _Atomic int job;
    _Alignas(64) _Atomic long turns[JOBS];   /* of the other process */
    struct seqlock seqlock;
    _Alignas(64) unsigned char guarded[SMALL];
    _Alignas(4096) unsigned char large[LARGE];
};

static struct shared *shared;
static struct ipc_cell *cell, *sole, *waitable, *sole_waitable, *for_readers, *large;
static int semlock;
static long overtaken;    /* loads that gave up */
static long retries;      /* of the seqlock */
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
        overtaken++;
    }
    check();
}

static void write_cell(void)     { store_cell(cell); }
static void write_sole(void)     { store_cell(sole); }
static void write_waitable(void) { store_cell(waitable); }
static void write_sole_waitable(void) { store_cell(sole_waitable); }
static void write_for_readers(void)   { store_cell(for_readers); }
static void read_cell(void)      { load_cell(cell); }
static void read_sole(void)      { load_cell(sole); }
static void read_waitable(void)  { load_cell(waitable); }

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
    for (;; retries++) {
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
    void (*run[2])(void);  /* the other code, the cell */
    enum job other[2];     /* the work of the other process during each */
    long batch[2];         /* how many make one operation of a block */
    double target;         /* how many times faster the cell has to be */
};

static const struct row rows[] = {
    {"load 64 B, beside a semlock", {read_semlock, read_cell}, {IDLE, IDLE}, {1, 50}, 60},
    {"load 64 B, beside a seqlock", {read_seqlock, read_cell}, {IDLE, IDLE}, {1, 1}, 0},
    {"load 4 KiB, beside memcpy", {copy_large, read_large}, {IDLE, IDLE}, {1, 1}, 0.7},
    {"load, a writer; semlock", {read_semlock, read_cell}, {WRITE_SEMLOCK, WRITE_CELL}, {1, 1000}, 500},
    {"load, a writer; seqlock", {read_seqlock, read_cell}, {WRITE_SEQLOCK, WRITE_CELL}, {1, 1}, 4},
    {"the same, waitable", {read_seqlock, read_waitable}, {WRITE_SEQLOCK, WRITE_WAITABLE}, {1, 1}, 0},
    {"store, a reader; seqlock", {write_seqlock, write_sole}, {READ_SEQLOCK, READ_SOLE}, {1, 1}, 1},
    {"the same, not sole; and mutex", {write_seqlock_locked, write_cell}, {READ_SEQLOCK, READ_CELL}, {1, 1}, 0},
    {"the same, waitable", {write_seqlock, write_waitable}, {READ_SEQLOCK, READ_WAITABLE}, {1, 1}, 0},
    {"store, nobody; seqlock", {write_seqlock, write_sole}, {IDLE, IDLE}, {1, 1}, 0},
    {"the same, not sole; and mutex", {write_seqlock_locked, write_cell}, {IDLE, IDLE}, {1, 1}, 0},
    /* Beside the store of a cell in which no thread can wait. */
    {"store, nobody waits; plain cell", {write_cell, write_waitable}, {IDLE, IDLE}, {1, 1}, 1 / 3.0},
    {"the same, sole", {write_sole, write_sole_waitable}, {IDLE, IDLE}, {1, 1}, 1 / 3.0},
    {"the same, readers may wait", {write_cell, write_for_readers}, {IDLE, IDLE}, {1, 1}, 0},
};
#define ROWS (sizeof(rows) / sizeof(*rows))

static void turns_until(enum job job, long turns)
{
    while (atomic_load_explicit(&shared->turns[job], memory_order_relaxed) < turns)
        ;
}

static void block(const void *of, int which, long count)
{
    const struct row *row = of;
    enum job other = row->other[which];
    if (atomic_load(&shared->job) != (int)other) {
        long turns = atomic_load(&shared->turns[other]);
        atomic_store(&shared->job, other);
        turns_until(other, turns + 2);
    }
    for (long i = count * row->batch[which]; i > 0; i--)
        row->run[which]();
}

static void work_on_the_other_processor(void)
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

static struct ipc_cell *make(size_t size, unsigned flags)
{
    size_t bytes = ipc_cell_memory_size(size);
    struct ipc_cell *made;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    must(ipc_cell_init(memory, bytes, size, flags, &made), "ipc_cell_init");
    return made;
}

static void make_mutex(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &attributes);
}

static void remove_semlock(void)
{
    ipc_semlock_remove(semlock);
}

static void on_signal(int sig)
{
    remove_semlock();
    _exit(128 + sig);
}

int main(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    make_mutex();
    cell = make(SMALL, 0);
    sole = make(SMALL, IPC_CELL_F_SOLE_WRITER);
    waitable = make(SMALL, IPC_CELL_F_WAITABLE);
    sole_waitable = make(SMALL, IPC_CELL_F_WAITABLE | IPC_CELL_F_SOLE_WRITER);
    for_readers = make(SMALL, IPC_CELL_F_WAITABLE_RDONLY);
    large = make(LARGE, 0);
    must(ipc_cell_store(large, shared->large, LARGE, -1), "ipc_cell_store");
    write_cell();
    write_sole();
    write_waitable();
    write_sole_waitable();
    write_for_readers();
    must(semlock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600), "ipc_semlock_open");
    atexit(remove_semlock);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    pid_t parent = getpid(), pid = fork();
    must(pid, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        work_on_the_other_processor();
    }

    bench_pin(0);
    bench_title();
    printf("\n%-30s %10s %9s %10s %10s %8s %7s    %s\n", "one process, or two", "other, ns",
           "cell, ns", "other/s", "cell/s", "faster", "target", "of each round");
    for (size_t i = 0; i < ROWS; i++) {
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
    printf("\nloads of the cell that gave up: %ld; tries of the seqlock that failed: %ld\n",
           overtaken, retries);
    kill(pid, SIGKILL);
    return 0;
}
