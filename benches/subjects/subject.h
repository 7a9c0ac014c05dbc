/*
 * The interface between a subject and the engine. A subject is a program that measures the
 * mechanisms of one library, one per run; benches/README.md describes its arguments and output.
 *
 * The engine divides a run into short blocks and prints the median of the blocks, so that it does
 * not matter if other load interrupts some of them. The latency distribution comes from separate
 * blocks, because it needs a clock reading for each message. With messages=N the engine measures a
 * single block of N messages, after a warm-up of 16.
 *
 * A subject passes its rows to subject_main. A row is either a transport of messages between two
 * processes (struct subject_transport) or an operation that processes repeat (struct
 * subject_operation). Macros expand the loops for each row, so that no message is sent through a
 * function pointer. The header is valid C11 and C++20.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SUBJECT_INLINE static inline __attribute__((always_inline))

/* The arguments of a run. */
struct subject_options {
    size_t len;    /* bytes of payload, a multiple of 8 */
    long ms;       /* how long to measure */
    long n;        /* the number of connections or readers */
    long messages; /* if not 0: exactly this number of messages, and ms is ignored */
    bool one_core; /* both processes run on one processor */
    int cpus[2];   /* the processors of the two processes */
};

extern struct subject_options subject;
extern int subject_side;               /* 0 in the process that was started, 1 in the other one */
extern bool subject_crowded;           /* the processes share processors */
extern char *subject_out, *subject_in; /* payload buffers of len bytes; each process has its own */

/* The pattern of a block of messages. SUBJECT_TIMED is ping-pong in which the histogram gets the
 * time of each round trip. */
enum subject_pattern { SUBJECT_ONE_WAY, SUBJECT_PING_PONG, SUBJECT_TIMED };

/* A transport of messages from side 0 to side 1 and back. Each function but `loop` may be NULL. In
 * the test broadcast, side 0 is the publisher, and sides 1 to n are the subscribers, each of which
 * receives all messages. */
struct subject_transport {
    void (*prepare)(void); /* before the fork */
    void (*open)(void);    /* in all processes, which are pinned and may wait for each other */
    void (*loop)(enum subject_pattern pattern, long count, size_t len, uint64_t first);
    void (*close)(void); /* in all processes */
};

/* An operation that each process repeats until the time has elapsed. */
struct subject_operation {
    void (*prepare)(void); /* before the processes are started; may be NULL */
    void (*repeat)(void);  /* the loop, from SUBJECT_REPEAT */
    void (*write)(void);   /* the loop of the process that writes the value which the others read */
};

/* Something that the subject can measure. benches/README.md lists the tests and flags. An array of
 * rows ends with an empty row. */
struct subject_row {
    const char *variant, *test, *title, *flags;
    size_t (*max_len)(void); /* the largest len; NULL: no limit */
    const struct subject_transport *transport;
    const struct subject_operation *operation;
};

/* The main function of a subject. The array `tables` ends with NULL. */
int subject_main(int argc, char **argv, const char *version,
                 const struct subject_row *const *tables);

/* A directory of this run in /tmp, and a name for any other object that needs one. Both contain the
 * process id of the run. The first call of these functions or of subject_key starts the cleaner: a
 * process that removes the objects when the run ends, for whatever reason. */
const char *subject_directory(void);
const char *subject_name(void);
/* The key for a System V object of this run. */
int subject_key(void);

/* Forks a child that dies with this process. */
pid_t subject_fork(void);
/* Zeroed, page-aligned memory that this process shares with its children. */
void *subject_memory(size_t size);
/* Sleeps until all processes of a transport have called this function. */
void subject_barrier(void);
/* The longest message that a local socket accepts by default. */
size_t subject_packet_max(void);
/* A suitable size of a ring or buffer for messages of `len` bytes. */
size_t subject_ring_size(void);

/* A turn of a loop that spins. It leaves a shared processor to the other processes. */
SUBJECT_INLINE void subject_spin(void)
{
    if (subject_crowded)
        sched_yield();
}

/* A macro, so that the caller passes its own message. */
#define subject_must(result, what) \
    do {                           \
        if ((result) < 0)          \
            err(1, "%s", (what));  \
    } while (0)

/* --- payloads --- */

#define SUBJECT_WORDS_MAX 64 /* longer payloads are written by memset */

/* Exits because a payload is not that of message `n`. */
void subject_fail_check(const void *payload, size_t len, uint64_t n)
    __attribute__((cold, noreturn));

/* The first word of a payload is the number of the message. In a payload of up to 64 bytes, all
 * other words repeat the number. In a longer one, every other byte is the lowest seven bits of the
 * number. (Eight bits would not work: libqb's ring mistakes four bytes of 0xa1 for a header.) */
#define SUBJECT_BYTE(n) ((int)(0x7f & (n)))

SUBJECT_INLINE void subject_fill(void *payload, size_t len, uint64_t n)
{
    if (len > SUBJECT_WORDS_MAX) {
        memcpy(payload, &n, 8);
        memset((char *)payload + 8, SUBJECT_BYTE(n), len - 8);
        return;
    }
    for (size_t i = 0; i < len / 8; i++)
        memcpy((char *)payload + 8 * i, &n, 8);
}

/* Vectors of two words, so that the loop below is as fast as the memory. */
typedef uint64_t subject_u64x2 __attribute__((vector_size(16)));

/* Reads every byte, and returns the sum of all words. */
SUBJECT_INLINE uint64_t subject_sum(const void *payload, size_t len)
{
    const char *at = (const char *)payload;
    subject_u64x2 even = {0, 0}, odd = {0, 0}, words;
    uint64_t sum = 0, word;
    size_t i = 0;

    for (; i + 32 <= len; i += 32) {
        memcpy(&words, at + i, 16);
        even += words;
        memcpy(&words, at + i + 16, 16);
        odd += words;
    }
    even += odd;
    for (; i < len; i += 8) {
        memcpy(&word, at + i, 8);
        sum += word;
    }
    return sum + even[0] + even[1];
}

SUBJECT_INLINE void subject_check(const void *payload, size_t len, uint64_t n)
{
    uint64_t first;
    uint64_t rest = len > SUBJECT_WORDS_MAX ? (uint64_t)SUBJECT_BYTE(n) * 0x0101010101010101u : n;

    memcpy(&first, payload, 8);
    if (first != n || subject_sum(payload, len) != n + rest * (len / 8 - 1))
        subject_fail_check(payload, len, n);
}

/* Fills a value that processes read while another one writes it: every word is the number. */
SUBJECT_INLINE void subject_value_fill(void *value, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i += 8)
        memcpy((char *)value + i, &n, 8);
}

/* Returns the number of a value, which must not be lower than `last`. This compares each word,
 * because a sum would not detect every torn value. */
SUBJECT_INLINE uint64_t subject_value_check(const void *value, size_t len, uint64_t last)
{
    const char *at = (const char *)value;
    uint64_t first, word, differ = 0;
    size_t i = 0;

    memcpy(&first, at, 8);
    subject_u64x2 both = {first, first}, differs = {0, 0}, words;
    for (; i + 16 <= len; i += 16) {
        memcpy(&words, at + i, 16);
        differs |= words ^ both;
    }
    for (; i < len; i += 8) {
        memcpy(&word, at + i, 8);
        differ |= word ^ first;
    }
    if ((differ | differs[0] | differs[1]) != 0 || first < last)
        subject_fail_check(value, len, last);
    return first;
}

/* --- the times of round trips --- */

/* An octave has 2^7 buckets, each of which is less than 1 % wide. */
#define SUBJECT_BUCKET_BITS 7

extern struct subject_histogram {
    uint64_t counts[64 << SUBJECT_BUCKET_BITS];
    uint64_t lowest, highest, total;
} subject_histogram;

static inline uint64_t subject_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void subject_record(uint64_t ns)
{
    struct subject_histogram *all = &subject_histogram;
    unsigned at = (unsigned)ns;

    if (ns >> SUBJECT_BUCKET_BITS != 0) {
        unsigned octave = 63 - SUBJECT_BUCKET_BITS - (unsigned)__builtin_clzll(ns);
        at = (octave << SUBJECT_BUCKET_BITS) + (unsigned)(ns >> octave);
    }
    all->counts[at]++;
    all->total++;
    all->lowest = ns < all->lowest ? ns : all->lowest;
    all->highest = ns > all->highest ? ns : all->highest;
}

/* --- the loops --- */

typedef void subject_transfer(size_t len, uint64_t n);

SUBJECT_INLINE void subject_loop(enum subject_pattern pattern, long count, size_t len,
                                 uint64_t first, subject_transfer *put, subject_transfer *get)
{
    uint64_t end = first + (uint64_t)count;

    if (pattern == SUBJECT_ONE_WAY && subject_side == 0) {
        for (uint64_t n = first; n < end; n++)
            put(len, n);
    } else if (pattern == SUBJECT_ONE_WAY) {
        for (uint64_t n = first; n < end; n++)
            get(len, n);
    } else if (subject_side != 0) {
        for (uint64_t n = first; n < end; n++) {
            get(len, n);
            put(len, n);
        }
    } else if (pattern == SUBJECT_PING_PONG) {
        for (uint64_t n = first; n < end; n++) {
            put(len, n);
            get(len, n);
        }
    } else {
        uint64_t before = subject_now();
        for (uint64_t n = first; n < end; n++) {
            put(len, n);
            get(len, n);
            uint64_t after = subject_now();
            subject_record(after - before);
            before = after;
        }
    }
}

/* Defines name_loop, which uses name_put and name_get. */
#define SUBJECT_LOOP(name)                                                                        \
    static void name##_loop(enum subject_pattern pattern, long count, size_t len, uint64_t first) \
    {                                                                                             \
        subject_loop(pattern, count, len, first, name##_put, name##_get);                         \
    }

/* The counters of a process that repeats an operation, on cache lines of their own. */
struct subject_slot {
    uint64_t done;
    uint64_t failed; /* tries that did not read a consistent value */
    uint64_t cpu_ns; /* set at the end */
    char padding[104];
};

extern struct subject_slot *subject_slot; /* of this process */
extern uint64_t subject_max_operations;   /* of this process */
extern const int *subject_stop;           /* not 0 when the time has elapsed */
extern uint64_t *subject_counter;         /* counts under a lock, on cache lines of its own */

SUBJECT_INLINE void subject_repeat(void (*operate)(void))
{
    struct subject_slot *slot = subject_slot;
    uint64_t max = subject_max_operations;

    for (uint64_t done = 0; done < max && __atomic_load_n(subject_stop, __ATOMIC_RELAXED) == 0;) {
        operate();
        done++;
        __atomic_store_n(&slot->done, done, __ATOMIC_RELAXED);
    }
}

/* Defines name_repeat, which repeats the function name. */
#define SUBJECT_REPEAT(name)        \
    static void name##_repeat(void) \
    {                               \
        subject_repeat(name);       \
    }

/* Defines an operation that repeats the function name_setup. */
#define SUBJECT_SETUP_OPERATION(name, prepare)                                                    \
    SUBJECT_REPEAT(name##_setup)                                                                  \
    static const struct subject_operation name##_setup_operation = {prepare, name##_setup_repeat, \
                                                                    NULL};

/* Increments the counter under a lock. The engine compares it with the sum of all operations. */
SUBJECT_INLINE void subject_count(void)
{
    volatile uint64_t *counter = subject_counter;
    *counter = *counter + 1;
}

SUBJECT_INLINE void subject_count_failure(void)
{
    __atomic_store_n(&subject_slot->failed, subject_slot->failed + 1, __ATOMIC_RELAXED);
}

/* --- rows that belong together --- */

/* The rows of a transport that sleeps. */
#define SUBJECT_TRANSPORT(variant, title, flags, max_len, transport)     \
    {variant, "latency-block", title, flags, max_len, &transport, NULL}, \
    {                                                                    \
        variant, "rate", title, flags, max_len, &transport, NULL         \
    }

/* The rows of a transport that spins. */
#define SUBJECT_SPINNING(variant, title, flags, max_len, transport)     \
    {variant, "latency-poll", title, flags, max_len, &transport, NULL}, \
    {                                                                   \
        variant, "rate", title, flags, max_len, &transport, NULL        \
    }

/* The row of creating, using and removing a mechanism: SUBJECT_SETUP_OPERATION(name) defines it. */
#define SUBJECT_SETUP(variant, title, flags, max_len, name)                    \
    {                                                                          \
        variant, "setup", title, flags, max_len, NULL, &name##_setup_operation \
    }

/* The rows of a lock. */
#define SUBJECT_LOCK(variant, title, flags, operation)                  \
    {variant, "lock", title, flags, NULL, NULL, &operation},            \
    {                                                                   \
        variant, "lock-contended", title, flags, NULL, NULL, &operation \
    }

/* The rows of a shared value. */
#define SUBJECT_VALUE(variant, title, flags, operation)                  \
    {variant, "read", title, flags, NULL, NULL, &operation},             \
        {variant, "read-written", title, flags, NULL, NULL, &operation}, \
    {                                                                    \
        variant, "readers", title, flags, NULL, NULL, &operation         \
    }

#ifdef __cplusplus
}
#endif

#endif
