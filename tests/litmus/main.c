/*
 * litmus [MILLISECONDS]: runs each litmus test for this time (default: 1000). Prints how often each
 * found its outcome. Exits 1 if a test found an outcome that C11 forbids, and 77 if it cannot run
 * here: the threads need two processors.
 */
#define _GNU_SOURCE
#include "litmus.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUNS       512
#define CANNOT_RUN 77

/* What the threads of a test share. */
struct session {
    const struct test *test;
    unsigned threads;
    struct run *runs;
    /* The threads start a round together: each waits until all have arrived. */
    atomic_uint arrived;
    atomic_bool has_ended;
};

struct worker {
    struct session *session;
    unsigned index;
    pthread_t thread;
};

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Waits until each thread has called this function as often as this one: `count` calls in all. */
static void meet(struct session *session, unsigned count)
{
    unsigned looks = 0;

    atomic_fetch_add(&session->arrived, 1);
    while ((int)(atomic_load(&session->arrived) - count) < 0) {
        /*
         * The threads find little unless they run at the same time, so a thread keeps its processor for
         * some milliseconds. Then it leaves it, which another thread of the test may need.
         */
        if (++looks % 65536 == 0) {
            sched_yield();
        }
    }
}

/* Counts the runs with the outcome, and clears all runs. */
static unsigned long count_found(struct session *session)
{
    unsigned long found = 0;

    for (unsigned i = 0; i < RUNS; i++) {
        found += session->test->is_found(&session->runs[i]);
    }
    memset(session->runs, 0, RUNS * sizeof *session->runs);
    return found;
}

static void do_runs(struct session *session, unsigned index)
{
    for (unsigned i = 0; i < RUNS; i++) {
        session->test->thread[index](&session->runs[i]);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct session *session = worker->session;
    unsigned threads = session->threads;

    for (unsigned round = 1;; round++) {
        meet(session, threads * (2 * round - 1));
        if (atomic_load(&session->has_ended)) {
            return NULL;
        }
        do_runs(session, worker->index);
        meet(session, threads * 2 * round);
    }
}

static unsigned count_threads(const struct test *test)
{
    unsigned count = 0;

    while (count < THREADS_MAX && test->thread[count] != NULL) {
        count++;
    }
    return count;
}

/* Runs a test for this time. Returns how often it found its outcome, and stores the number of runs. */
static unsigned long run_test(const struct test *test, struct run *runs, double limit_ms,
                              unsigned long *count)
{
    struct session session = {.test = test, .threads = count_threads(test), .runs = runs};
    struct worker workers[THREADS_MAX];
    unsigned long found = 0;
    double end = now_ms() + limit_ms;

    memset(runs, 0, RUNS * sizeof *runs);
    for (unsigned i = 1; i < session.threads; i++) {
        workers[i] = (struct worker){.session = &session, .index = i};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            perror("litmus: pthread_create");
            exit(1);
        }
    }
    *count = 0;
    for (unsigned round = 1;; round++) {
        if (now_ms() > end) {
            atomic_store(&session.has_ended, true);
        }
        meet(&session, session.threads * (2 * round - 1));
        if (atomic_load(&session.has_ended)) {
            break;
        }
        do_runs(&session, 0);
        meet(&session, session.threads * 2 * round);
        found += count_found(&session);
        *count += RUNS;
    }
    for (unsigned i = 1; i < session.threads; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    return found;
}

int main(int argc, char **argv)
{
    double limit_ms = argc > 1 ? atof(argv[1]) : 1000;
    struct run *runs = aligned_alloc(128, RUNS * sizeof *runs);
    cpu_set_t cpus;
    unsigned broken = 0;
    bool has_membarrier = litmus_register_membarrier();

    if (runs == NULL || sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        perror("litmus");
        return 1;
    }
    if (CPU_COUNT(&cpus) < 2) {
        printf("litmus: needs two processors\n");
        return CANNOT_RUN;
    }
    for (unsigned i = 0; i < litmus_count; i++) {
        const struct test *test = &litmus_tests[i];
        unsigned long count, found;

        if (test->needs_membarrier && !has_membarrier) {
            printf("%-34s left out: the kernel has no membarrier\n", test->name);
            continue;
        }
        found = run_test(test, runs, limit_ms, &count);
        if (test->used_in != NULL) {
            printf("%-34s %9lu of %10lu, forbidden: %s\n", test->name, found, count, test->used_in);
            broken += found > 0;
        } else {
            printf("%-34s %9lu of %10lu, permitted\n", test->name, found, count);
        }
        fflush(stdout);
    }
    free(runs);
    if (broken > 0) {
        printf("litmus: %u tests found a forbidden outcome\n", broken);
        return 1;
    }
    return 0;
}
