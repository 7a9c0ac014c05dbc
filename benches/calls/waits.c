/*
 * waits: how long a lock in shared memory is waited for, where it is never idle.
 *
 * First a process waits beside one on another processor that holds the lock for 10 ms and locks
 * it again at once. Then many processes read for 20 ms each, again and again.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define LINE       64
#define TIMEOUT_MS 3000
#define MANY       100

static struct shared {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    _Alignas(LINE) pthread_mutex_t robust;
    _Alignas(LINE) pthread_rwlock_t rw;
    _Alignas(LINE) atomic_int stop;
    atomic_int ready;
    struct {
        _Alignas(LINE) atomic_long count;
    } reads[MANY];
} *shared;

static struct timespec after(int ms)
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

/* Each returns 0, or an error number if the time-out expired. */
static int result(int ret)
{
    return ret == 0 ? 0 : errno;
}

static int robust_lock(void)
{
    struct timespec end = after(TIMEOUT_MS);
    return pthread_mutex_timedlock(&shared->robust, &end);
}

static void robust_unlock(void)
{
    pthread_mutex_unlock(&shared->robust);
}

static int mutex_lock(void)
{
    return result(ipc_mutex_lock(&shared->mutex, TIMEOUT_MS));
}

static void mutex_unlock(void)
{
    must(ipc_mutex_unlock(&shared->mutex), "ipc_mutex_unlock");
}

static int write_lock(void)
{
    return result(ipc_rwlock_wrlock(&shared->rwlock, TIMEOUT_MS));
}

static void write_unlock(void)
{
    must(ipc_rwlock_wrunlock(&shared->rwlock), "ipc_rwlock_wrunlock");
}

static int read_lock(void)
{
    return result(ipc_rwlock_rdlock(&shared->rwlock, TIMEOUT_MS));
}

static void read_unlock(void)
{
    must(ipc_rwlock_rdunlock(&shared->rwlock), "ipc_rwlock_rdunlock");
}

static int libc_read_lock(void)
{
    struct timespec end = after(TIMEOUT_MS);
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

static const struct lock robust = {"robust mutex of the C library", robust_lock, robust_unlock};
static const struct lock mutex = {"mutex", mutex_lock, mutex_unlock};
static const struct lock writer = {"rwlock, writing", write_lock, write_unlock};
static const struct lock reader = {"rwlock, reading", read_lock, read_unlock};
static const struct lock libc_reader = {"rwlock of the C library", libc_read_lock,
                                        libc_read_unlock};

static void busy(double ns)
{
    double end = bench_now_ns() + ns;
    while (bench_now_ns() < end)
        ;
}

static void beside_a_loop(const struct lock *loop, const struct lock *waiter)
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
            busy(10e6);
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
    snprintf(name, sizeof(name), "%s, beside a loop", waiter->name);
    printf("%-46s %9.1f %9.1f %9d\n", name, sum / waits / 1e6, worst / 1e6, timeouts);
    fflush(stdout);
}

/* How many reads a second a number of readers make. */
static double reads(const struct lock *lock, int readers)
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

static void many_readers(int readers)
{
    double other = reads(&libc_reader, readers), ours = reads(&reader, readers);

    printf("%-32d %9.0f %9.0f %8.3f\n", readers, other, ours, ours / other);
    fflush(stdout);
}

static void make_others(void)
{
    pthread_mutexattr_t attributes;
    pthread_rwlockattr_t rw_attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &attributes);
    pthread_rwlockattr_init(&rw_attributes);
    pthread_rwlockattr_setpshared(&rw_attributes, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&shared->rw, &rw_attributes);
}

int main(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    must(ipc_mutex_init(&shared->mutex, 0), "ipc_mutex_init");
    must(ipc_rwlock_init(&shared->rwlock, 0), "ipc_rwlock_init");
    make_others();

    bench_title();
    printf("\n%-32s %9s %9s %8s\n", "readers that hold 20 ms: reads/s", "libc", "unixipc", "ratio");
    many_readers(40);
    many_readers(MANY);

    printf("\n%-46s %9s %9s %9s\n", "waits, ms (the loop holds 10 ms)", "mean", "worst",
           "time-outs");
    beside_a_loop(&robust, &robust);
    beside_a_loop(&mutex, &mutex);
    beside_a_loop(&writer, &writer);
    beside_a_loop(&writer, &reader);
    return 0;
}
