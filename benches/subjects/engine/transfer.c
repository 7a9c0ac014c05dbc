/* Measures a transport: messages between two processes, block by block. */
#include "engine.h"

#define WARM_UP    16 /* messages of the warm-up, if the run has a fixed number of messages */
#define BLOCKS     17 /* the approximate number of blocks in a run */
#define BLOCKS_MAX 256

int subject_side;

/* The next block, and its times. Both processes map it. */
struct shared {
    enum subject_pattern pattern;
    long count;     /* 0: there are no more blocks */
    uint64_t first; /* the number of the first message */
    uint64_t begin[2], end[2], cpu_ns[2];
};

static struct shared *shared;

/* Runs this process's half of a block. Each process stores its own CPU time, because the kernel
 * updates the CPU time of another process only at ticks. It does so after both have finished,
 * because the threads of a library may have work left. */
static void run_half(const struct subject_transport *transport)
{
    barrier(!subject.one_core);
    uint64_t cpu = cpu_time_ns();
    shared->begin[subject_side] = subject_now();
    transport->loop(shared->pattern, shared->count, subject.len, shared->first);
    shared->end[subject_side] = subject_now();
    barrier(false);
    shared->cpu_ns[subject_side] = cpu_time_ns() - cpu;
    barrier(false);
}

static struct result run_block(const struct subject_transport *transport,
                               enum subject_pattern pattern, long count)
{
    struct result result = {0};

    shared->pattern = pattern;
    shared->count = count;
    barrier(false);
    run_half(transport);
    result.cpu_ns = shared->cpu_ns[0] + shared->cpu_ns[1];
    shared->first += (uint64_t)count;

    uint64_t begin = shared->begin[0] < shared->begin[1] ? shared->begin[0] : shared->begin[1];
    uint64_t end = shared->end[0] > shared->end[1] ? shared->end[0] : shared->end[1];
    result.messages = (uint64_t)count * (pattern == SUBJECT_ONE_WAY ? 1 : 2);
    result.ns = end - begin;
    return result;
}

/* The other process: runs its half of all blocks, and exits. */
static void run_other_half(const struct subject_transport *transport)
{
    for (;;) {
        barrier(false);
        if (shared->count == 0)
            break;
        run_half(transport);
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

struct result measure_transport(const struct subject_transport *transport, bool ping_pong,
                                bool timed)
{
    enum subject_pattern pattern = ping_pong ? SUBJECT_PING_PONG : SUBJECT_ONE_WAY;

    shared = (struct shared *)subject_memory(sizeof(*shared));
    if (transport->prepare != NULL)
        transport->prepare();
    pid_t child = subject_fork();
    subject_side = child == 0 ? 1 : 0;
    pin(subject.cpus[subject_side]);
    if (transport->open != NULL)
        transport->open();
    if (child == 0)
        run_other_half(transport);

    struct result result = subject.messages != 0 ? run_messages(transport, pattern, timed)
                                                 : run_time(transport, pattern, timed);
    shared->count = 0;
    barrier(false);
    if (transport->close != NULL)
        transport->close();
    reap_children();
    return result;
}
