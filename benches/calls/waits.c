/*
 * waits: the time that a process waits for a lock in shared memory that is nearly always held.
 *
 * In the first table, many processes repeatedly hold a read lock for 20 ms. In the second, a
 * process competes with another one, which loops: it holds the lock for 10 ms and locks it again at
 * once.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "bench.h"

#define TIMEOUT_MS 3000
#define MANY       100

struct shared {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    _Alignas(BENCH_CACHE_LINE) pthread_mutex_t robust;
    _Alignas(BENCH_CACHE_LINE) pthread_rwlock_t rw;
    _Alignas(BENCH_CACHE_LINE) atomic_int stop;
    atomic_int ready;
    struct {
        _Alignas(BENCH_CACHE_LINE) atomic_long count;
    } reads[MANY];
};

static struct shared *shared;

/* The time in `ms` milliseconds. */
static struct timespec deadline_in(int ms)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_nsec -= 1000000000L;
        end.tv_sec++;
    }
    return end;
}

/* Converts a result of unixipc to that of a pthread function: 0 or an error number. */
static int error_number(int ret)
{
    return ret == 0 ? 0 : errno;
}

static int robust_lock(void)
{
    struct timespec end = deadline_in(TIMEOUT_MS);
    return pthread_mutex_timedlock(&shared->robust, &end);
}

static void robust_unlock(void)
{
    pthread_mutex_unlock(&shared->robust);
}

static int mutex_lock(void)
{
    return error_number(ipc_mutex_lock(&shared->mutex, TIMEOUT_MS));
}

static void mutex_unlock(void)
{
    must(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static int write_lock(void)
{
    return error_number(ipc_rwlock_wrlock(&shared->rwlock, TIMEOUT_MS));
}

static void write_unlock(void)
{
    must(ipc_rwlock_wrunlock(&shared->rwlock), "ipc_rwlock_wrunlock");
}

static int read_lock(void)
{
    return error_number(ipc_rwlock_rdlock(&shared->rwlock, TIMEOUT_MS));
}

static void read_unlock(void)
{
    must(ipc_rwlock_rdunlock(&shared->rwlock), "ipc_rwlock_rdunlock");
}

static int libc_read_lock(void)
{
    struct timespec end = deadline_in(TIMEOUT_MS);
    return pthread_rwlock_timedrdlock(&shared->rw, &end);
}

static void libc_read_unlock(void)
{
    pthread_rwlock_unlock(&shared->rw);
}

struct lock {
    const char *name;
    int (*lock)(void);
    void (*unlock)(void);
};

static const struct lock robust = {"C library's robust mutex", robust_lock, robust_unlock};
static const struct lock mutex = {"mutex", mutex_lock, mutex_unlock};
static const struct lock writer = {"rwlock, write", write_lock, write_unlock};
static const struct lock reader = {"rwlock, read", read_lock, read_unlock};
static const struct lock libc_reader = {"C library's rwlock", libc_read_lock, libc_read_unlock};

static void spin(double ns)
{
    double end = bench_now_ns() + ns;
    while (bench_now_ns() < end)
        ;
}

static void print_waits(const struct lock *loop, const struct lock *waiter)
{
    int waits = bench_blocks() * 4, timeouts = 0;
    double sum = 0, worst = 0;
    char name[80];
    cpu_set_t all;

    must(sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
    atomic_store(&shared->stop, 0);
    atomic_store(&shared->ready, 0);
    pid_t child = bench_fork();
    if (child == 0) {
        bench_pin(1);
        while (!atomic_load(&shared->stop)) {
            if (loop->lock() != 0)
                continue;
            atomic_store(&shared->ready, 1);
            spin(10e6);
            loop->unlock();
        }
        _exit(0);
    }
    bench_pin(0);
    while (!atomic_load(&shared->ready))
        ;
    for (int i = 0; i < waits; i++) {
        double begin = bench_now_ns();
        int failed = waiter->lock();
        double waited = bench_now_ns() - begin;
        sum += waited;
        if (waited > worst)
            worst = waited;
        if (failed == 0)
            waiter->unlock();
        else if (++timeouts == 3)
            waits = i + 1;
        usleep(1000);
    }
    atomic_store(&shared->stop, 1);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    must(sched_setaffinity(0, sizeof(all), &all), "sched_setaffinity");
    snprintf(name, sizeof(name), "%s%s%s", waiter->name,
             loop == waiter ? "" : ", loop: ", loop == waiter ? "" : loop->name);
    printf("%-46s %9.1f %9.1f %9d\n", name, sum / waits / 1e6, worst / 1e6, timeouts);
    fflush(stdout);
}

/* The number of read locks per second. */
static double read_rate(const struct lock *lock, int readers)
{
    double seconds = bench_blocks() * 0.1;
    long before = 0, all = 0;

    atomic_store(&shared->stop, 0);
    for (int i = 0; i < readers; i++) {
        atomic_store(&shared->reads[i].count, 0);
        if (bench_fork() == 0) {
            while (!atomic_load(&shared->stop)) {
                if (lock->lock() != 0)
                    continue;
                usleep(20000);
                atomic_fetch_add(&shared->reads[i].count, 1);
                lock->unlock();
            }
            _exit(0);
        }
    }
    usleep(200000);
    for (int i = 0; i < readers; i++)
        before += atomic_load(&shared->reads[i].count);
    double begin = bench_now_ns();
    usleep((useconds_t)(seconds * 1e6));
    for (int i = 0; i < readers; i++)
        all += atomic_load(&shared->reads[i].count);
    double time = (bench_now_ns() - begin) / 1e9;
    atomic_store(&shared->stop, 1);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    return (double)(all - before) / time;
}

static void print_read_rates(int readers)
{
    double other = read_rate(&libc_reader, readers), ours = read_rate(&reader, readers);

    printf("%-32d %9.0f %9.0f %8.3f\n", readers, other, ours, ours / other);
    fflush(stdout);
}

static void init_libc_locks(void)
{
    pthread_rwlockattr_t attributes;

    bench_init_robust(&shared->robust);
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&shared->rw, &attributes);
}

int main(void)
{
    shared = bench_shared_memory(sizeof(*shared));
    must(ipc_mutex_init(&shared->mutex, 0), "ipc_mutex_init");
    must(ipc_rwlock_init(&shared->rwlock, 0), "ipc_rwlock_init");
    init_libc_locks();

    bench_print_title();
    printf("\n%-32s %9s %9s %8s\n", "readers, each 20 ms: reads/s", "libc", "unixipc", "ratio");
    print_read_rates(40);
    print_read_rates(MANY);

    printf("\n%-46s %9s %9s %9s\n", "waits, ms (the loop holds for 10 ms)", "mean", "worst",
           "time-outs");
    print_waits(&robust, &robust);
    print_waits(&mutex, &mutex);
    print_waits(&writer, &writer);
    print_waits(&writer, &reader);
    return 0;
}
