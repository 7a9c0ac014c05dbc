/*
 * event: what setting an event and waiting for it costs, beside a POSIX semaphore in shared memory.
 *
 * First one process, without any other that waits. Then two processes that hand a turn to each
 * other: on one processor, and on two.
 */
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define LINE 64

/* Both processes share this. */
static struct shared {
    struct ipc_event manual, automatic, there, back;
    struct ipc_cond cond;
    _Alignas(LINE) sem_t semaphore;
    _Alignas(LINE) sem_t sem_there;
    _Alignas(LINE) sem_t sem_back;
} *shared;

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

static void semaphores(void)
{
    must(sem_post(&shared->sem_there), "sem_post");
    must(sem_wait(&shared->sem_back), "sem_wait");
}

static void events(void)
{
    must(ipc_event_set(&shared->there), "ipc_event_set");
    must(ipc_event_wait(&shared->back, -1), "ipc_event_wait");
}

struct row {
    const char *name;
    void (*run[2])(void); /* what it is compared with, the event */
};

static const struct row alone[] = {
    {"set / sem_post and sem_wait", {post_and_wait, set}},
    {"set and clear / sem_post, sem_wait", {post_and_wait, set_and_clear}},
    {"set and wait / sem_post, sem_wait", {post_and_wait, set_and_wait}},
    {"set / ipc_cond_signal", {signal_cond, set}},
};

static const struct row both = {"round trip / semaphores", {semaphores, events}};

static void block(const void *which_row, int which, long count)
{
    const struct row *row = which_row;

    for (long i = 0; i < count; i++)
        row->run[which]();
}

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

static void print(const char *name, struct bench_result result)
{
    printf("%-38s %9.1f %9.1f %8.3f    %.3f %.3f %.3f\n", name, result.ns[0], result.ns[1],
           result.ratio, result.ratios[0], result.ratios[1], result.ratios[2]);
    fflush(stdout);
}

int main(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    must(ipc_cond_init(&shared->cond, 0), "ipc_cond_init");
    must(ipc_event_init(&shared->manual, 0), "ipc_event_init");
    must(ipc_event_init(&shared->automatic, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(ipc_event_init(&shared->there, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(ipc_event_init(&shared->back, IPC_EVENT_F_AUTO_RESET), "ipc_event_init");
    must(sem_init(&shared->semaphore, 1, 0), "sem_init");
    must(sem_init(&shared->sem_there, 1, 0), "sem_init");
    must(sem_init(&shared->sem_back, 1, 0), "sem_init");

    bench_pin(0);
    bench_title();
    printf("\n%-38s %9s %9s %8s    %s\n", "one process, no thread waits: ns", "other", "event",
           "ratio", "of each round");
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        print(alone[i].name, bench_measure(block, &alone[i]));

    printf("\n%-38s %9s %9s %8s    %s\n", "two processes: ns a round trip", "other", "event",
           "ratio", "of each round");
    for (int processor = 0; processor < 2; processor++) {
        pid_t children[] = {start(answer_semaphore, processor), start(answer_event, processor)};
        char name[64];

        snprintf(name, sizeof(name), "%s, %s", both.name,
                 processor == 0 ? "one processor" : "two processors");
        print(name, bench_measure(block, &both));
        for (int i = 0; i < 2; i++)
            kill(children[i], SIGKILL);
    }
    return 0;
}
