/* Measures a transport: messages between two processes, or from one process to several, block by
 * block. */
#include "engine.h"

#define WARM_UP    16 /* messages of the warm-up, if the run has a fixed number of messages */
#define BLOCKS     17 /* the approximate number of blocks in a run */
#define BLOCKS_MAX 256

int subject_side;
bool subject_crowded;

/* The times of a process in a block, on cache lines of its own. */
struct times {
    _Alignas(128) uint64_t begin;
    uint64_t end, cpu_ns;
};

/* The next block, and its times. All processes map it. */
struct shared {
    enum subject_pattern pattern;
    long count;           /* 0: the run has ended */
    uint64_t first;       /* the number of the first message */
    struct times times[]; /* of each process */
};

static struct shared *shared;

/* Runs this process's part of a block. Each process stores its own CPU time, because the kernel
 * updates the CPU time of another process only at ticks. It does so after all have finished,
 * because the threads of a library may have work left. */
static void run_part(const struct subject_transport *transport)
{
    struct times *times = &shared->times[subject_side];

    barrier(!subject_crowded);
    uint64_t cpu = cpu_time_ns();
    times->begin = subject_now();
    transport->loop(shared->pattern, shared->count, subject.len, shared->first);
    times->end = subject_now();
    barrier(false);
    times->cpu_ns = cpu_time_ns() - cpu;
    barrier(false);
}

static struct result run_block(const struct subject_transport *transport,
                               enum subject_pattern pattern, long count)
{
    struct result result = {0};
    uint64_t begin = UINT64_MAX, end = 0;

    shared->pattern = pattern;
    shared->count = count;
    barrier(false);
    run_part(transport);
    shared->first += (uint64_t)count;
    for (uint32_t i = 0; i < barrier_parties; i++) {
        const struct times *times = &shared->times[i];
        begin = times->begin < begin ? times->begin : begin;
        end = times->end > end ? times->end : end;
        result.cpu_ns += times->cpu_ns;
    }
    result.messages = (uint64_t)count * (pattern == SUBJECT_ONE_WAY ? 1 : 2);
    result.ns = end - begin;
    return result;
}

/* A process that was forked: runs its part of all blocks, and exits. */
static void run_blocks(const struct subject_transport *transport)
{
    for (;;) {
        barrier(false);
        if (shared->count == 0)
            break;
        run_part(transport);
    }
    if (transport->close != NULL)
        transport->close();
    _exit(0);
}

/* Measures a fixed number of messages. */
static struct result run_messages(const struct subject_transport *transport,
                                  enum subject_pattern pattern, bool timed)
{
    long count = pattern == SUBJECT_ONE_WAY ? subject.messages : (subject.messages + 1) / 2;

    run_block(transport, pattern, WARM_UP);
    return run_block(transport, timed ? SUBJECT_TIMED : pattern, count);
}

/* Measures for a fixed time. */
static struct result run_time(const struct subject_transport *transport,
                              enum subject_pattern pattern, bool timed)
{
    uint64_t wanted = 1000000u * (uint64_t)subject.ms, least = wanted / BLOCKS, spent = 0;
    struct result blocks[BLOCKS_MAX], result;
    size_t done = 0;
    long count = 2;

    /* Finds the number of messages in a block. This also warms up. */
    while ((result = run_block(transport, pattern, count)).ns < least)
        count *= result.ns < least / 8 ? 4 : 2;
    /* The timed blocks give the distribution; the others, which do not read the clock, the rate. */
    for (; spent < wanted && done < BLOCKS_MAX; done++) {
        blocks[done] = run_block(transport, pattern, count);
        spent += blocks[done].ns;
        if (timed)
            spent += run_block(transport, SUBJECT_TIMED, count).ns;
        if (blocks[done].ns < least / 2)
            count *= 2;
    }
    return median_block(blocks, done);
}

/* The processor of a process. The first receiver runs on the second processor, and more receivers run
 * on all processors but that of the sender. */
static int processor_of(int side)
{
    int cpu = side == 0 ? subject.cpus[0] : subject.cpus[1];

    for (int i = 1; i < side; i++)
        do
            cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &allowed_cpus) || cpu == subject.cpus[0]);
    return cpu;
}

/* Forks the receivers. Sets the side of each process. */
static void start_receivers(long receivers)
{
    for (subject_side = 1; subject_side <= receivers; subject_side++)
        if (subject_fork() == 0)
            return;
    subject_side = 0;
}

struct result measure_transport(const struct subject_transport *transport, bool ping_pong,
                                bool timed, long receivers)
{
    enum subject_pattern pattern = ping_pong ? SUBJECT_PING_PONG : SUBJECT_ONE_WAY;

    barrier_parties = 1 + (uint32_t)receivers;
    subject_crowded = subject.one_core || receivers >= CPU_COUNT(&allowed_cpus);
    shared =
        (struct shared *)subject_memory(sizeof(*shared) + barrier_parties * sizeof(struct times));
    if (transport->prepare != NULL)
        transport->prepare();
    start_receivers(receivers);
    pin(processor_of(subject_side));
    if (transport->open != NULL)
        transport->open();
    if (subject_side != 0)
        run_blocks(transport);

    struct result result = subject.messages != 0 ? run_messages(transport, pattern, timed)
                                                 : run_time(transport, pattern, timed);
    shared->count = 0;
    barrier(false);
    if (transport->close != NULL)
        transport->close();
    reap_children();
    return result;
}
