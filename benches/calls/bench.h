/*
 * Common code of the benchmarks: it compares an operation of unixipc with a reference operation.
 *
 * The two operations run in alternating blocks, and they take turns in running first. A round has
 * BENCH_BLOCKS blocks of each operation, and its ratio is the ratio of the two medians. The best of
 * three rounds is reported, because other load on the machine can only make a round worse. QUICK=1
 * in the environment reduces the number of blocks.
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define BENCH_ROUNDS       3
#define BENCH_BLOCKS       51
#define BENCH_BLOCK_NS     2e6 /* approximate duration of a block */
#define BENCH_CACHE_LINE   64
#define BENCH_COUNT(array) (sizeof(array) / sizeof(*(array)))

static inline int bench_blocks(void)
{
    return getenv("QUICK") != NULL ? 5 : BENCH_BLOCKS;
}

static inline void must(long long result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

/* For calls that return an error number, and for locks, where IPC_OWNER_DIED is an error here. */
static inline void must_be_zero(int result, const char *what)
{
    if (result != 0)
        errx(1, "%s: %d", what, result);
}

/* --- processes and resources --- */

/* Forks a child that is killed when its parent dies. */
static inline pid_t bench_fork(void)
{
    pid_t parent = getpid();

    fflush(NULL);
    pid_t child = fork();
    must(child, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return child;
}

/* Pins this process to the n-th of its allowed processors (to the last one, if there are fewer). */
static inline void bench_pin(int n)
{
    cpu_set_t cpus, one;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return;
    CPU_ZERO(&one);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE && seen <= n; cpu++)
        if (CPU_ISSET(cpu, &cpus)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            seen++;
        }
    sched_setaffinity(0, sizeof(one), &one);
}

/* Zeroed memory that this process shares with its children. */
static inline void *bench_shared_memory(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        err(1, "mmap");
    return at;
}

static inline void bench_make_directory(char *path, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path, size, "%s/unixipc-bench.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(path))
        err(1, "%s", path);
}

/* The C library's robust mutex, shared between processes. */
static inline void bench_init_robust(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    must_be_zero(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
    must_be_zero(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED),
                 "pthread_mutexattr_setpshared");
    must_be_zero(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST),
                 "pthread_mutexattr_setrobust");
    must_be_zero(pthread_mutex_init(mutex, &attributes), "pthread_mutex_init");
    pthread_mutexattr_destroy(&attributes);
}

static void (*bench_remove)(void);

static inline void bench_on_signal(int sig)
{
    bench_remove();
    _exit(128 + sig);
}

/* Calls `remove` when the process exits or is interrupted, to delete objects that would remain. */
static inline void bench_remove_at_exit(void (*remove)(void))
{
    bench_remove = remove;
    atexit(remove);
    signal(SIGINT, bench_on_signal);
    signal(SIGTERM, bench_on_signal);
}

/* --- measurement --- */

static inline double bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), bench_compare);
    return values[n / 2];
}

/* Performs the operation `count` times. `which` is 0 for the reference and 1 for unixipc. */
typedef void bench_block(const void *row, int which, long count);

/* The most common kind of row: two functions to compare. */
struct bench_pair {
    const char *name;
    void (*run[2])(void); /* the reference, unixipc */
};

static inline void bench_pair_block(const void *row, int which, long count)
{
    const struct bench_pair *pair = row;
    for (long i = 0; i < count; i++)
        pair->run[which]();
}

struct bench_result {
    double ns[2]; /* time of one operation, in the best round */
    double ratio; /* of the best round */
    double ratios[BENCH_ROUNDS];
};

static inline struct bench_result bench_measure(bench_block *block, const void *row)
{
    struct bench_result best = {0};
    int blocks = bench_blocks();

    /* Finds the number of operations in a block. This also warms up. */
    long count = 16;
    for (double ns = 0; ns < BENCH_BLOCK_NS / 4; count *= 2) {
        double begin = bench_now_ns();
        block(row, 0, count);
        ns = bench_now_ns() - begin;
    }
    block(row, 1, count);

    for (int round = 0; round < BENCH_ROUNDS; round++) {
        double ns[2][BENCH_BLOCKS];
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < 2; turn++) {
                int which = (i + turn) % 2;
                double begin = bench_now_ns();
                block(row, which, count);
                ns[which][i] = (bench_now_ns() - begin) / (double)count;
            }
        double medians[2] = {bench_median(ns[0], (size_t)blocks),
                             bench_median(ns[1], (size_t)blocks)};
        best.ratios[round] = medians[1] / medians[0];
        if (round == 0 || best.ratios[round] < best.ratio) {
            best.ratio = best.ratios[round];
            memcpy(best.ns, medians, sizeof(medians));
        }
    }
    return best;
}

/* --- output --- */

static inline void bench_print_title(void)
{
    struct utsname system;
    uname(&system);
    printf("unixipc %s, Linux %s, %s; medians, %d blocks of each operation in a round\n",
           ipc_version(), system.release, system.machine, bench_blocks());
}

/* Starts a table of ratios. `width` is the width of the first column. */
static inline void bench_print_header(int width, const char *what, const char *first,
                                      const char *second)
{
    printf("\n%-*s %9s %9s %8s    %s\n", width, what, first, second, "ratio",
           "ratio of each round");
}

/* Prints a row of times: a ratio below 1 means that unixipc is faster. */
static inline void bench_print_times(int width, int decimals, const char *name,
                                     const struct bench_result *result)
{
    printf("%-*s %9.*f %9.*f %8.3f    %.3f %.3f %.3f\n", width, name, decimals, result->ns[0],
           decimals, result->ns[1], result->ratio, result->ratios[0], result->ratios[1],
           result->ratios[2]);
    fflush(stdout);
}

/* Measures and prints a table of pairs. */
static inline void bench_print_pairs(int width, int decimals, const struct bench_pair *pairs,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bench_result result = bench_measure(bench_pair_block, &pairs[i]);
        bench_print_times(width, decimals, pairs[i].name, &result);
    }
}

#endif
