/*
 * event: the cost of ipc_event compared with a POSIX semaphore in shared memory.
 *
 * The first table is for one process, and no thread waits. The second table is for round trips
 * between two processes, on one processor and on two.
 */
#include <semaphore.h>

#include "bench.h"

struct shared {
    struct ipc_event manual, automatic, there, back;
    struct ipc_cond cond;
    _Alignas(BENCH_CACHE_LINE) sem_t semaphore;
    _Alignas(BENCH_CACHE_LINE) sem_t sem_there;
    _Alignas(BENCH_CACHE_LINE) sem_t sem_back;
};

static struct shared *shared;

static void post_and_wait(void)
{
    must(sem_post(&shared->semaphore), "sem_post");
    must(sem_wait(&shared->semaphore), "sem_wait");
}

static void set_and_wait(void)
{
    must(ipc_event_set(&shared->automatic), "ipc_event_set");
    must(ipc_event_wait(&shared->automatic, -1), "ipc_event_wait");
}

static void set(void)
{
    must(ipc_event_set(&shared->manual), "ipc_event_set");
}

static void set_and_clear(void)
{
    must(ipc_event_set(&shared->manual), "ipc_event_set");
    must(ipc_event_clear(&shared->manual), "ipc_event_clear");
}

static void signal_cond(void)
{
    must(ipc_cond_signal(&shared->cond), "ipc_cond_signal");
}

static void semaphore_round_trip(void)
{
    must(sem_post(&shared->sem_there), "sem_post");
    must(sem_wait(&shared->sem_back), "sem_wait");
}

static void event_round_trip(void)
{
    must(ipc_event_set(&shared->there), "ipc_event_set");
    must(ipc_event_wait(&shared->back, -1), "ipc_event_wait");
}

static const struct bench_pair alone[] = {
    {"set / sem_post and sem_wait", {post_and_wait, set}},
    {"set and clear / sem_post, sem_wait", {post_and_wait, set_and_clear}},
    {"set and wait / sem_post, sem_wait", {post_and_wait, set_and_wait}},
    {"set / ipc_cond_signal", {signal_cond, set}},
};

static const struct bench_pair both = {"round trip / semaphores",
                                       {semaphore_round_trip, event_round_trip}};

static pid_t start(void (*answer)(void), int processor)
{
    pid_t child = bench_fork();

    if (child == 0) {
        bench_pin(processor);
        for (;;)
            answer();
    }
    return child;
}

static void answer_semaphore(void)
{
    must(sem_wait(&shared->sem_there), "sem_wait");
    must(sem_post(&shared->sem_back), "sem_post");
}

static void answer_event(void)
{
    must(ipc_event_wait(&shared->there, -1), "ipc_event_wait");
    must(ipc_event_set(&shared->back), "ipc_event_set");
}

int main(void)
{
    shared = bench_shared_memory(sizeof(*shared));
    must(ipc_cond_init(&shared->cond, 0), "ipc_cond_init");
    must(ipc_event_init(&shared->manual, 0), "ipc_event_init");
    must(ipc_event_init(&shared->automatic, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(ipc_event_init(&shared->there, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(ipc_event_init(&shared->back, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(sem_init(&shared->semaphore, 1, 0), "sem_init");
    must(sem_init(&shared->sem_there, 1, 0), "sem_init");
    must(sem_init(&shared->sem_back, 1, 0), "sem_init");

    bench_pin(0);
    bench_print_title();
    bench_print_header(38, "one process, no waiter: ns", "other", "event");
    bench_print_pairs(38, 1, alone, BENCH_COUNT(alone));

    bench_print_header(38, "two processes: ns per round trip", "other", "event");
    for (int processor = 0; processor < 2; processor++) {
        pid_t children[] = {start(answer_semaphore, processor), start(answer_event, processor)};
        char name[64];

        snprintf(name, sizeof(name), "%s, %s", both.name,
                 processor == 0 ? "one processor" : "two processors");
        struct bench_result result = bench_measure(bench_pair_block, &both);
        bench_print_times(38, 1, name, &result);
        for (int i = 0; i < 2; i++)
            kill(children[i], SIGKILL);
    }
    return 0;
}
