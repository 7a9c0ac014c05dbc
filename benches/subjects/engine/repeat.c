/* Measures an operation that one or more processes repeat. */
#include "engine.h"

#include <sys/wait.h>

#define BLOCKS         17 /* in a run */
#define OPERATIONS_MIN 20 /* per block: with fewer, the median would be a matter of rounding */

struct subject_slot *subject_slot;
uint64_t subject_max_operations = UINT64_MAX;
const int *subject_stop;
uint64_t *subject_counter;

/* All processes map it. */
struct shared {
    _Alignas(128) uint32_t ready; /* the number of processes that wait for `go` */
    uint32_t go;
    _Alignas(128) int stop;
    _Alignas(128) uint64_t counter;
};

static struct shared *shared;

static void start_worker(void (*repeat)(void), struct subject_slot *slot, int cpu)
{
    if (subject_fork() != 0)
        return;
    pin(cpu);
    subject_slot = slot;
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    futex_wake_all(&shared->ready);
    while (__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST) == 0)
        futex_wait(&shared->go, 0);
    uint64_t before = cpu_time_ns();
    repeat();
    slot->cpu_ns = cpu_time_ns() - before;
    _exit(0);
}

/* The sum of all counters so far. The writer, if there is one, has the last slot. */
static struct result read_slots(const struct subject_slot *slots, long count, bool writer)
{
    struct result sum = {.ns = subject_now()};

    for (long i = 0; i < count; i++) {
        uint64_t done = __atomic_load_n(&slots[i].done, __ATOMIC_RELAXED);
        if (writer && i == count - 1) {
            sum.written = done;
            continue;
        }
        sum.messages += done;
        sum.failed += __atomic_load_n(&slots[i].failed, __ATOMIC_RELAXED);
    }
    return sum;
}

static struct result difference(const struct result *begin, const struct result *end)
{
    return (struct result){end->messages - begin->messages, end->ns - begin->ns, 0,
                           end->failed - begin->failed, end->written - begin->written};
}

static void sleep_ms(double ms)
{
    struct timespec left = {(time_t)(ms / 1e3), 0};

    left.tv_nsec = (long)((ms - 1e3 * (double)left.tv_sec) * 1e6);
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* Starts all processes, and waits until they are ready. */
static void start_workers(const struct subject_operation *operation, struct subject_slot *slots,
                          long workers, bool writer, bool all_cpus)
{
    long count = workers + (writer ? 1 : 0);
    int cpu = -1;

    for (long i = 0; i < count; i++) {
        if (all_cpus)
            do
                cpu = (cpu + 1) % CPU_SETSIZE;
            while (!CPU_ISSET(cpu, &allowed_cpus));
        else
            cpu = subject.cpus[i % 2];
        start_worker(writer && i == workers ? operation->write : operation->repeat, &slots[i], cpu);
    }
    for (uint32_t seen; (seen = __atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST)) < count;)
        futex_wait(&shared->ready, seen);
}

static void go(void)
{
    __atomic_store_n(&shared->go, 1, __ATOMIC_SEQ_CST);
    futex_wake_all(&shared->go);
}

/* Waits until all workers have done their number of operations. A writer may take longer. */
static struct result run_operations(const struct subject_slot *slots, long workers, bool writer)
{
    long count = workers + (writer ? 1 : 0);
    struct result begin = read_slots(slots, count, writer), end;
    siginfo_t info;

    go();
    for (long i = 0; i < workers; i++)
        while (waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOWAIT) < 0)
            if (errno != EINTR)
                err(1, "waitid");
    end = read_slots(slots, count, writer);
    return difference(&begin, &end);
}

static struct result run_time(const struct subject_slot *slots, long count, bool writer)
{
    struct result blocks[BLOCKS], first, begin, end, result;
    size_t done = 0;

    go();
    sleep_ms((double)subject.ms / 5 + 1);
    first = begin = read_slots(slots, count, writer);
    for (int i = 0; i < BLOCKS; i++) {
        sleep_ms((double)subject.ms / BLOCKS);
        end = read_slots(slots, count, writer);
        blocks[done] = difference(&begin, &end);
        done += blocks[done].messages > 0 || blocks[done].failed > 0;
        begin = end;
    }
    /* Other load may have kept the processes from running, in some blocks or in all. */
    result = difference(&first, &end);
    for (int i = 0; i < 1000 && result.messages == 0; i++) {
        sleep_ms(5);
        end = read_slots(slots, count, writer);
        result = difference(&first, &end);
    }
    if (done > 0 && result.messages >= OPERATIONS_MIN * done &&
        median_block(blocks, done).messages > 0)
        result = median_block(blocks, done);
    return result;
}

/* This process only watches the workers, and sleeps between. */
struct result measure_operation(const struct subject_operation *operation, long workers,
                                bool writer, bool all_cpus)
{
    long count = workers + (writer ? 1 : 0);
    struct subject_slot *slots =
        (struct subject_slot *)subject_memory((size_t)count * sizeof(*slots));
    uint64_t done = 0, used = 0;

    shared = (struct shared *)subject_memory(sizeof(*shared));
    subject_stop = &shared->stop;
    subject_counter = &shared->counter;
    if (subject.messages != 0)
        subject_max_operations = (uint64_t)((subject.messages + workers - 1) / workers);
    if (operation->prepare != NULL)
        operation->prepare();
    start_workers(operation, slots, workers, writer, all_cpus);
    struct result result = subject.messages != 0 ? run_operations(slots, workers, writer)
                                                 : run_time(slots, count, writer);
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
    reap_children();

    for (long i = 0; i < workers; i++)
        done += slots[i].done;
    for (long i = 0; i < count; i++)
        used += slots[i].cpu_ns;
    /* The CPU time per operation is the average of the whole run. */
    if (done > 0)
        result.cpu_ns = (uint64_t)((double)used / (double)done * (double)result.messages);
    if (shared->counter != 0 && shared->counter != done)
        errx(1, "%llu operations under the lock, but the counter is %llu", (unsigned long long)done,
             (unsigned long long)shared->counter);
    return result;
}
