/*
 * robust: the cost of the locks in shared memory compared with the C library's robust mutex.
 *
 * The first table is for one process. In the second, two processes on two processors contend for
 * the lock. The third compares two readers on two processors with one reader.
 */
#include <stdatomic.h>

#include "bench.h"

struct shared {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    _Alignas(BENCH_CACHE_LINE) pthread_mutex_t robust;
    _Alignas(BENCH_CACHE_LINE) atomic_int readers; /* as in a lock that counts its readers */
    _Alignas(BENCH_CACHE_LINE) atomic_int arrived; /* the barrier before a block */
    _Alignas(BENCH_CACHE_LINE) long guarded;       /* the data that the locks guard */
};

static struct shared *shared;

static int set; /* a semaphore set */

static void robust_pair(void)
{
    must_be_zero(pthread_mutex_lock(&shared->robust), "pthread_mutex_lock");
    shared->guarded++;
    must_be_zero(pthread_mutex_unlock(&shared->robust), "pthread_mutex_unlock");
}

static void mutex_pair(void)
{
    must_be_zero(ipc_mutex_lock(&shared->mutex, -1), "ipc_mutex_lock");
    shared->guarded++;
    must_be_zero(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static void timed_mutex_pair(void)
{
    must_be_zero(ipc_mutex_lock(&shared->mutex, 1000), "ipc_mutex_lock");
    shared->guarded++;
    must_be_zero(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static void semop_pair(void)
{
    static struct sembuf down = {.sem_op = -1, .sem_flg = SEM_UNDO};
    static struct sembuf up = {.sem_op = 1, .sem_flg = SEM_UNDO};

    must(semop(set, &down, 1), "semop");
    shared->guarded++;
    must(semop(set, &up, 1), "semop");
}

static void read_pair(void)
{
    must_be_zero(ipc_rwlock_rdlock(&shared->rwlock, -1), "ipc_rwlock_rdlock");
    must_be_zero(ipc_rwlock_rdunlock(&shared->rwlock), "ipc_rwlock_rdunlock");
}

static void write_pair(void)
{
    must_be_zero(ipc_rwlock_wrlock(&shared->rwlock, -1), "ipc_rwlock_wrlock");
    shared->guarded++;
    must_be_zero(ipc_rwlock_wrunlock(&shared->rwlock), "ipc_rwlock_wrunlock");
}

static void counter_pair(void)
{
    atomic_fetch_add(&shared->readers, 1);
    atomic_fetch_sub(&shared->readers, 1);
}

static void signal_no_waiter(void)
{
    must(ipc_cond_signal(&shared->cond), "ipc_cond_signal");
}

static const struct bench_pair alone[] = {
    {"mutex / robust mutex", {robust_pair, mutex_pair}},
    {"mutex with a time-out / robust", {robust_pair, timed_mutex_pair}},
    {"mutex / semop with SEM_UNDO", {semop_pair, mutex_pair}},
    {"rwlock, read / robust mutex", {robust_pair, read_pair}},
    {"rwlock, write / robust mutex", {robust_pair, write_pair}},
    {"cond, signal, no waiter / robust", {robust_pair, signal_no_waiter}},
};

static const struct bench_pair contended[] = {
    {"mutex / robust mutex", {robust_pair, mutex_pair}},
    {"rwlock, write / robust mutex", {robust_pair, write_pair}},
};

static const struct bench_pair readers[] = {
    {"rwlock, read", {read_pair, read_pair}},
    {"a counter of readers", {counter_pair, counter_pair}},
};

/* A block of two processes is longer by this factor, because the barrier takes time. */
#define BLOCK_FACTOR 16

/* A request to the other process. */
struct request {
    void (*run)(void);
    long count; /* may be 0 */
};

static int request_pipe[2], done_pipe[2];

static void serve(const struct request *request)
{
    atomic_fetch_add(&shared->arrived, 1);
    while (atomic_load(&shared->arrived) % 2 != 0)
        ;
    for (long i = 0; i < request->count; i++)
        request->run();
}

static void other_process(void)
{
    struct request request;

    bench_pin(1);
    while (read(request_pipe[0], &request, sizeof(request)) == sizeof(request)) {
        serve(&request);
        must(write(done_pipe[1], "", 1), "write");
    }
}

/* Runs the operation in both processes at the same time, `mine` times in this one. */
static void run_in_both(void (*run)(void), long mine, long others)
{
    struct request request = {run, others};
    char done;

    must(write(request_pipe[1], &request, sizeof(request)), "write");
    request.count = mine;
    serve(&request);
    if (read(done_pipe[0], &done, 1) != 1)
        errx(1, "the other process has died");
}

static void two_processes(const void *row, int which, long count)
{
    const struct bench_pair *pair = row;

    run_in_both(pair->run[which], count * BLOCK_FACTOR, count * BLOCK_FACTOR);
}

/* The reference is one process, the other operation is two. */
static void one_or_two_processes(const void *row, int which, long count)
{
    const struct bench_pair *pair = row;

    run_in_both(pair->run[which], count * BLOCK_FACTOR, which == 0 ? 0 : count * BLOCK_FACTOR);
}

static void start_other_process(void)
{
    must(pipe(request_pipe), "pipe");
    must(pipe(done_pipe), "pipe");
    pid_t child = bench_fork();
    if (child == 0) {
        close(request_pipe[1]);
        close(done_pipe[0]);
        other_process();
        _exit(0);
    }
    close(request_pipe[0]);
    close(done_pipe[1]);
}

static void remove_set(void)
{
    semctl(set, 0, IPC_RMID);
}

/* Prints a row of rates in millions per second. `locks_0` and `locks_1` are the numbers of locks
 * that count as one operation of the reference and of the other operation, times 1000. */
static void print_rates(const char *name, const struct bench_result *result, double locks_0,
                        double locks_1)
{
    double times = locks_1 / locks_0;

    printf("%-32s %9.2f %9.2f %8.3f    %.3f %.3f %.3f\n", name, locks_0 / result->ns[0],
           locks_1 / result->ns[1], times / result->ratio, times / result->ratios[0],
           times / result->ratios[1], times / result->ratios[2]);
    fflush(stdout);
}

int main(void)
{
    struct sembuf up = {.sem_op = 1};

    shared = bench_shared_memory(sizeof(*shared));
    must(ipc_mutex_init(&shared->mutex, 0), "ipc_mutex_init");
    must(ipc_rwlock_init(&shared->rwlock, 0), "ipc_rwlock_init");
    must(ipc_cond_init(&shared->cond, 0), "ipc_cond_init");
    bench_init_robust(&shared->robust);
    start_other_process();

    set = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    must(set, "semget");
    bench_remove_at_exit(remove_set);
    must(semop(set, &up, 1), "semop");

    bench_pin(0);
    bench_print_title();
    bench_print_header(32, "one process: ns, lock + unlock", "other", "unixipc");
    bench_print_pairs(32, 1, alone, BENCH_COUNT(alone));

    bench_print_header(32, "two processes: M locks/s", "other", "unixipc");
    for (size_t i = 0; i < BENCH_COUNT(contended); i++) {
        struct bench_result result = bench_measure(two_processes, &contended[i]);
        print_rates(contended[i].name, &result, 2e3 * BLOCK_FACTOR, 2e3 * BLOCK_FACTOR);
    }

    bench_print_header(32, "readers: M locks/s", "one", "two");
    for (size_t i = 0; i < BENCH_COUNT(readers); i++) {
        struct bench_result result = bench_measure(one_or_two_processes, &readers[i]);
        print_rates(readers[i].name, &result, 1e3 * BLOCK_FACTOR, 2e3 * BLOCK_FACTOR);
    }
    return 0;
}
