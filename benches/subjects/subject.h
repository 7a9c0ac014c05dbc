/*
 * What the subjects share. A subject is a program that measures one library's ways of
 * inter-process communication, once a run; benches/README.md says how it is called, and what it
 * prints.
 *
 * A run is cut into short blocks, and the median one is what is printed, so that other work on the
 * machine which interrupts some of them does not count. The distribution of a latency is from
 * blocks of its own, because it takes reading the clock. With messages=N there is one block of so
 * many, after 16 of warm-up.
 *
 * A subject gives its rows to subject_main. A row is either a way for messages to go between two
 * processes (struct subject_way), or work that some processes repeat (struct subject_work). The
 * loops are expanded for each of them, so that no message goes through a pointer to a function.
 * This is C11 and C++20.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <err.h>
#include <errno.h>
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

/* What a run was asked for. */
struct subject_options {
    size_t len;    /* bytes of payload, a multiple of 8 */
    long ms;       /* how long to measure */
    long n;        /* channels or readers */
    long messages; /* if not 0: exactly so many, and ms does not count */
    bool one_core; /* both processes on one processor */
    int cpus[2];   /* where the two processes are */
};

extern struct subject_options subject;
extern int subject_side; /* 0 in the process that was started, 1 in the other one */
extern char *subject_out, *subject_in; /* len bytes each, for payloads, of each process */

/* What a block of messages is; in the timed kind each round trip goes into the histogram. */
enum subject_kind { SUBJECT_ONE_WAY, SUBJECT_PING_PONG, SUBJECT_TIMED };

/* A way for messages to go, from side 0 to side 1 and back. NULL where there is nothing to do. */
struct subject_way {
    void (*prepare)(void); /* before there are two processes */
    void (*open)(void);    /* in both, on their processors; the two may wait for each other */
    void (*loop)(enum subject_kind kind, long count, size_t len, uint64_t first);
    void (*close)(void);   /* in both */
};

/* What processes repeat, each until the time is over. */
struct subject_work {
    void (*prepare)(void); /* before they are started */
    void (*work)(void);    /* the loop: SUBJECT_WORK */
    void (*write)(void);   /* the loop of the one that writes what the others read */
};

/* A thing that can be measured; flags as above. An array ends with an empty one. */
struct subject_row {
    const char *variant, *test, *title, *flags;
    size_t max; /* the largest len; 0: no limit */
    const struct subject_way *way;
    const struct subject_work *work;
};

/* All of main. tables ends with NULL. */
int subject_main(int argc, char **argv, const char *version,
                 const struct subject_row *const *tables);

/* For names: a folder of this run in /tmp, and a name for anything else that bears one. Both have
 * this run's number in them. Calling one of them, or subject_key, starts the guard: a process that
 * removes what bears these names when this run ends, however it ends. */
const char *subject_folder(void);
const char *subject_name(void);
/* The same for System V objects: their key. */
int subject_key(void);

/* Starts a process that dies with this one, and runs there what follows. */
pid_t subject_fork(void);
/* Memory that the processes share, zeroed, at the beginning of a page. */
void *subject_memory(size_t size);
/* Waits, asleep, until the other process of a subject_way has called this too. */
void subject_meet(void);
/* The longest message that a local socket takes at once by default. */
size_t subject_packet_max(void);
/* A size for a ring or a buffer that messages of this length go through. */
size_t subject_ring_size(void);

/* Messages stand at the caller of these. */
#define subject_must(result, what) \
    do {                           \
        if ((result) < 0)          \
            err(1, "%s", (what));  \
    } while (0)

/* --- payloads --- */

#define SUBJECT_WORDS 64 /* up to here a payload is written word by word */

void subject_wrong(const void *payload, size_t len, uint64_t n) __attribute__((cold, noreturn));

/* The number first; then, up to 64 bytes, the number again in each word, else its lowest seven bits
 * in each byte. (Not eight: libqb's ring takes four bytes of 0xa1 for one of its headers.) */
#define SUBJECT_BYTE(n) ((int)((n) & 0x7f))

SUBJECT_INLINE void subject_fill(void *payload, size_t len, uint64_t n)
{
    if (len > SUBJECT_WORDS) {
        memcpy(payload, &n, 8);
        memset((char *)payload + 8, SUBJECT_BYTE(n), len - 8);
        return;
    }
    for (size_t i = 0; i < len / 8; i++)
        memcpy((char *)payload + 8 * i, &n, 8);
}

/* Two words, so that reading keeps pace with memory. */
typedef uint64_t subject_words __attribute__((vector_size(16)));

/* Reads every byte. */
SUBJECT_INLINE uint64_t subject_sum(const void *payload, size_t len)
{
    const char *at = (const char *)payload;
    subject_words even = {0, 0}, odd = {0, 0}, words;
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
    uint64_t rest = len > SUBJECT_WORDS ? (uint64_t)SUBJECT_BYTE(n) * 0x0101010101010101u : n;

    memcpy(&first, payload, 8);
    if (first != n || subject_sum(payload, len) != n + rest * (len / 8 - 1))
        subject_wrong(payload, len, n);
}

/* A value that processes read while another one replaces it: the same number in every word. */
SUBJECT_INLINE void subject_value_fill(void *value, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i += 8)
        memcpy((char *)value + i, &n, 8);
}

/* Returns its number, which must not be lower than the last one. Each word is compared, because
 * a sum would miss a value that is torn between numbers that differ by a multiple. */
SUBJECT_INLINE uint64_t subject_value_check(const void *value, size_t len, uint64_t last)
{
    const char *at = (const char *)value;
    uint64_t first, word, differ = 0;
    size_t i = 0;

    memcpy(&first, at, 8);
    subject_words both = {first, first}, differs = {0, 0}, words;
    for (; i + 16 <= len; i += 16) {
        memcpy(&words, at + i, 16);
        differs |= words ^ both;
    }
    for (; i < len; i += 8) {
        memcpy(&word, at + i, 8);
        differ |= word ^ first;
    }
    if ((differ | differs[0] | differs[1]) != 0 || first < last)
        subject_wrong(value, len, last);
    return first;
}

/* --- the time of round trips --- */

#define SUBJECT_FINE 7 /* an octave has 2^7 buckets here, each less than 1 % wide */

extern struct subject_histogram {
    uint64_t counts[64 << SUBJECT_FINE];
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

    if (ns >> SUBJECT_FINE != 0) {
        unsigned octave = 63 - SUBJECT_FINE - (unsigned)__builtin_clzll(ns);
        at = (octave << SUBJECT_FINE) + (unsigned)(ns >> octave);
    }
    all->counts[at]++;
    all->total++;
    all->lowest = ns < all->lowest ? ns : all->lowest;
    all->highest = ns > all->highest ? ns : all->highest;
}

/* --- the loops --- */

typedef void subject_transfer(size_t len, uint64_t n);

SUBJECT_INLINE void subject_loop(enum subject_kind kind, long count, size_t len, uint64_t first,
                                 subject_transfer *put, subject_transfer *get)
{
    uint64_t end = first + (uint64_t)count;

    if (kind == SUBJECT_ONE_WAY && subject_side == 0) {
        for (uint64_t n = first; n < end; n++)
            put(len, n);
    } else if (kind == SUBJECT_ONE_WAY) {
        for (uint64_t n = first; n < end; n++)
            get(len, n);
    } else if (subject_side != 0) {
        for (uint64_t n = first; n < end; n++) {
            get(len, n);
            put(len, n);
        }
    } else if (kind == SUBJECT_PING_PONG) {
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

/* name_loop, of name_put and name_get. */
#define SUBJECT_LOOP(name)                                                                \
    static void name##_loop(enum subject_kind kind, long count, size_t len, uint64_t first) \
    {                                                                                     \
        subject_loop(kind, count, len, first, name##_put, name##_get);                    \
    }

/* What a process that repeats something says of it, on cache lines of its own. */
struct subject_slot {
    uint64_t done;
    uint64_t failed; /* tries that did not get a whole value */
    uint64_t cpu_ns; /* when it is over */
    char padding[104];
};

extern struct subject_slot *subject_slot; /* of this process */
extern uint64_t subject_limit;            /* how often it is to be done at most */
extern const int *subject_stop;           /* not 0: the time is over */
extern uint64_t *subject_counter;         /* what is counted under a lock; has its own lines */

SUBJECT_INLINE void subject_repeat(void (*operate)(void))
{
    struct subject_slot *slot = subject_slot;
    uint64_t limit = subject_limit;

    for (uint64_t done = 0; done < limit && __atomic_load_n(subject_stop, __ATOMIC_RELAXED) == 0;) {
        operate();
        done++;
        __atomic_store_n(&slot->done, done, __ATOMIC_RELAXED);
    }
}

/* name_work, which repeats name. */
#define SUBJECT_WORK(name)          \
    static void name##_work(void)   \
    {                               \
        subject_repeat(name);       \
    }

/* The rows of a lock, and of what guards a value. */
#define SUBJECT_LOCK(variant, title, flags, work)            \
    {variant, "lock", title, flags, 0, NULL, &work},         \
    {variant, "lock-contended", title, flags, 0, NULL, &work}
#define SUBJECT_VALUE(variant, title, flags, work)           \
    {variant, "read", title, flags, 0, NULL, &work},         \
    {variant, "read-written", title, flags, 0, NULL, &work}, \
    {variant, "readers", title, flags, 0, NULL, &work}

/* One more under the lock; the engine compares it with what the processes say that they did. */
SUBJECT_INLINE void subject_count(void)
{
    volatile uint64_t *counter = subject_counter;
    *counter = *counter + 1;
}

SUBJECT_INLINE void subject_failed(void)
{
    __atomic_store_n(&subject_slot->failed, subject_slot->failed + 1, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif

#endif
