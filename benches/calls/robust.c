/*
 * robust: what the locks in shared memory cost, beside the C library's robust mutex.
 *
 * First one process alone. Then two processes on two processors that both want the lock. Then
 * two readers on two processors beside one reader alone.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define LINE 64

/* What both processes share. */
static struct shared {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    _Alignas(LINE) pthread_mutex_t robust;
    _Alignas(LINE) atomic_int readers; /* what a lock with a count of its readers would have */
    _Alignas(LINE) atomic_int waiting; /* how many are at the start of a block */
    _Alignas(LINE) long inside;        /* what the locks guard */
} *shared;

static int set; /* a semaphore set */

static void held(int result, const char *what)
{
    if (result != 0)
        errx(1, "%s: %d", what, result);
}

static void robust_pair(void)
{
    held(pthread_mutex_lock(&shared->robust), "pthread_mutex_lock");
    shared->inside++;
    held(pthread_mutex_unlock(&shared->robust), "pthread_mutex_unlock");
}

static void mutex_pair(void)
{
    held(ipc_mutex_lock(&shared->mutex, -1), "ipc_mutex_lock");
    shared->inside++;
    held(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static void mutex_timed_pair(void)
{
    held(ipc_mutex_lock(&shared->mutex, 1000), "ipc_mutex_lock");
    shared->inside++;
    held(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static void semop_pair(void)
{
    static struct sembuf down = {.sem_op = -1, .sem_flg = SEM_UNDO};
    static struct sembuf up = {.sem_op = 1, .sem_flg = SEM_UNDO};

    must(semop(set, &down, 1), "semop");
    shared->inside++;
    must(semop(set, &up, 1), "semop");
}

static void read_pair(void)
{
    held(ipc_rwlock_rdlock(&shared->rwlock, -1), "ipc_rwlock_rdlock");
    held(ipc_rwlock_rdunlock(&shared->rwlock), "ipc_rwlock_rdunlock");
}

static void write_pair(void)
{
    held(ipc_rwlock_wrlock(&shared->rwlock, -1), "ipc_rwlock_wrlock");
    shared->inside++;
    held(ipc_rwlock_wrunlock(&shared->rwlock), "ipc_rwlock_wrunlock");
}

static void counter_pair(void)
{
    atomic_fetch_add(&shared->readers, 1);
    atomic_fetch_sub(&shared->readers, 1);
}

static void signal_nobody(void)
{
    must(ipc_cond_signal(&shared->cond), "ipc_cond_signal");
}

struct row {
    const char *name;
    void (*run[2])(void); /* what it is compared with, ours */
};

static const struct row alone[] = {
    {"mutex / robust mutex", {robust_pair, mutex_pair}},
    {"mutex with a time-out / robust", {robust_pair, mutex_timed_pair}},
    {"mutex / semop with SEM_UNDO", {semop_pair, mutex_pair}},
    {"rwlock, read / robust mutex", {robust_pair, read_pair}},
    {"rwlock, write / robust mutex", {robust_pair, write_pair}},
    {"cond, signal to nobody / robust", {robust_pair, signal_nobody}},
};

static const struct row contended[] = {
    {"mutex / robust mutex", {robust_pair, mutex_pair}},
    {"rwlock, write / robust mutex", {robust_pair, write_pair}},
};

static const struct row readers[] = {
    {"rwlock, read", {read_pair, read_pair}},
    {"a counter of readers", {counter_pair, counter_pair}},
};

static void one_process(const void *which_row, int which, long count)
{
    const struct row *row = which_row;

    for (long i = 0; i < count; i++)
        row->run[which]();
}

/* A block of both processes is so much longer: beginning together takes its time. */
#define LONGER 16

/* What the other process is to do; a row of nothing is nothing. */
struct order {
    void (*run)(void);
    long count;
};

static int order_pipe[2], done_pipe[2];

static void work(const struct order *order)
{
    atomic_fetch_add(&shared->waiting, 1);
    while (atomic_load(&shared->waiting) % 2 != 0)
        ;
    for (long i = 0; i < order->count; i++)
        order->run();
}

static void other_process(void)
{
    struct order order;

    bench_pin(1);
    while (read(order_pipe[0], &order, sizeof(order)) == sizeof(order)) {
        work(&order);
        must(write(done_pipe[1], "", 1), "write");
    }
}

static void together(void (*run)(void), long mine, long others)
{
    struct order order = {run, others};
    char done;

    must(write(order_pipe[1], &order, sizeof(order)), "write");
    order.count = mine;
    work(&order);
    if (read(done_pipe[0], &done, 1) != 1)
        errx(1, "the other process is gone");
}

static void both_processes(const void *which_row, int which, long count)
{
    const struct row *row = which_row;

    together(row->run[which], count * LONGER, count * LONGER);
}

/* One process alone, then both. */
static void second_process(const void *which_row, int which, long count)
{
    const struct row *row = which_row;

    together(row->run[which], count * LONGER, which == 0 ? 0 : count * LONGER);
}

static void start_other_process(void)
{
    must(pipe(order_pipe), "pipe");
    must(pipe(done_pipe), "pipe");
    pid_t child = bench_fork();
    if (child == 0) {
        close(order_pipe[1]);
        close(done_pipe[0]);
        other_process();
        _exit(0);
    }
    close(order_pipe[0]);
    close(done_pipe[1]);
}

static void make_robust(void)
{
    pthread_mutexattr_t attributes;

    held(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
    held(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
    held(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST), "setrobust");
    held(pthread_mutex_init(&shared->robust, &attributes), "pthread_mutex_init");
    pthread_mutexattr_destroy(&attributes);
}

static void remove_set(void)
{
    semctl(set, 0, IPC_RMID);
}

static void on_signal(int sig)
{
    remove_set();
    _exit(128 + sig);
}

int main(void)
{
    struct sembuf up = {.sem_op = 1};

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    must(ipc_mutex_init(&shared->mutex, 0), "ipc_mutex_init");
    must(ipc_rwlock_init(&shared->rwlock, 0), "ipc_rwlock_init");
    must(ipc_cond_init(&shared->cond, 0), "ipc_cond_init");
    make_robust();
    start_other_process();

    set = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    must(set, "semget");
    atexit(remove_set);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    must(semop(set, &up, 1), "semop");

    bench_pin(0);
    bench_title();
    printf("\n%-32s %9s %9s %8s    %s\n", "one process: ns, lock + unlock", "other", "unixipc",
           "ratio", "of each round");
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++) {
        struct bench_result result = bench_measure(one_process, &alone[i]);
        printf("%-32s %9.1f %9.1f %8.3f    %.3f %.3f %.3f\n", alone[i].name, result.ns[0],
               result.ns[1], result.ratio, result.ratios[0], result.ratios[1], result.ratios[2]);
        fflush(stdout);
    }

    printf("\n%-32s %9s %9s %8s    %s\n", "two processes: locks, M/s", "other", "unixipc", "ratio",
           "of each round");
    for (size_t i = 0; i < sizeof(contended) / sizeof(contended[0]); i++) {
        struct bench_result result = bench_measure(both_processes, &contended[i]);
        double locks = 2e3 * LONGER;
        printf("%-32s %9.2f %9.2f %8.3f    %.3f %.3f %.3f\n", contended[i].name,
               locks / result.ns[0], locks / result.ns[1], 1 / result.ratio, 1 / result.ratios[0],
               1 / result.ratios[1], 1 / result.ratios[2]);
        fflush(stdout);
    }

    printf("\n%-32s %9s %9s %8s    %s\n", "readers: locks, M/s", "one", "two", "ratio",
           "of each round");
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        struct bench_result result = bench_measure(second_process, &readers[i]);
        double locks = 1e3 * LONGER;
        printf("%-32s %9.2f %9.2f %8.3f    %.3f %.3f %.3f\n", readers[i].name,
               locks / result.ns[0], 2 * locks / result.ns[1], 2 / result.ratio,
               2 / result.ratios[0], 2 / result.ratios[1], 2 / result.ratios[2]);
        fflush(stdout);
    }
    return 0;
}
