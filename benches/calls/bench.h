/*
 * What the benchmarks share: a thing and what it is compared with, timed in turn.
 *
 * Two functions do the same work, block by block in turn, the one first that was second
 * before. A round is BENCH_BLOCKS blocks of each; its ratio is that of their medians. Of three
 * rounds the best one counts: other work on the machine makes a round worse, and never better.
 * QUICK=1 in the environment makes fewer blocks.
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define BENCH_ROUNDS   3
#define BENCH_BLOCKS   51
#define BENCH_BLOCK_NS 2e6 /* about how long a block takes */

static inline int bench_blocks(void)
{
    return getenv("QUICK") != NULL ? 5 : BENCH_BLOCKS;
}

static inline void must(long long result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

/* A child that ends with its parent. */
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

/* Does the work count times. Index 0 is what it is compared with, 1 is unixipc. */
typedef void bench_block(const void *row, int which, long count);

struct bench_result {
    double ns[2];  /* an operation, in the best round */
    double ratio;  /* of the best round */
    double ratios[BENCH_ROUNDS];
};

static inline struct bench_result bench_measure(bench_block *block, const void *row)
{
    struct bench_result best = {0};
    int blocks = bench_blocks();

    /* Finds out how many make a block, and warms up. */
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
        double medians[2] = {bench_median(ns[0], (size_t)blocks), bench_median(ns[1], (size_t)blocks)};
        best.ratios[round] = medians[1] / medians[0];
        if (round == 0 || best.ratios[round] < best.ratio) {
            best.ratio = best.ratios[round];
            memcpy(best.ns, medians, sizeof(medians));
        }
    }
    return best;
}

static inline void bench_title(void)
{
    struct utsname system;
    uname(&system);
    printf("unixipc %s, Linux %s, %s; %d blocks of each a round, medians\n", ipc_version(),
           system.release, system.machine, bench_blocks());
}

/* Keeps this process on the n-th of the processors that it may use (the last, if there are fewer). */
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

#endif
