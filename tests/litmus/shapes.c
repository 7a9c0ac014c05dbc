/*
 * The litmus tests. Each has the accesses and the orderings of a protocol of the library;
 * doc/memory-order.md names the protocols.
 */
#define _GNU_SOURCE
#include "litmus.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define SEQ_CST memory_order_seq_cst

/* An access whose ordering is an argument must be inlined, or its ordering becomes the strongest. */
#define INLINE static inline __attribute__((always_inline))

INLINE void store(struct run *run, int word, unsigned value, memory_order order)
{
    atomic_store_explicit(&run->words[word].value, value, order);
}

INLINE unsigned load(struct run *run, int word, memory_order order)
{
    return atomic_load_explicit(&run->words[word].value, order);
}

static void result(struct run *run, int index, unsigned value)
{
    run->results[index].value = value;
}

static unsigned read_result(const struct run *run, int index)
{
    return run->results[index].value;
}

/* Commands of linux/membarrier.h, which the compiler of musl does not find. */
enum { GLOBAL_EXPEDITED = 1 << 1, REGISTER_GLOBAL_EXPEDITED = 1 << 2 };

bool litmus_register_membarrier(void)
{
    return syscall(SYS_membarrier, REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

static void barrier_in_all_processes(void)
{
    syscall(SYS_membarrier, GLOBAL_EXPEDITED, 0, 0);
}

/* A read-modify-write operation, made a full barrier as in the library. */
INLINE void swap_with_barrier(struct run *run, int word)
{
    atomic_exchange_explicit(&run->words[word].value, 1, SEQ_CST);
#if defined(__x86_64__)
    atomic_signal_fence(SEQ_CST);
#else
    atomic_thread_fence(SEQ_CST);
#endif
}

/* Message passing: one word publishes another. */

static void publish(struct run *run)
{
    store(run, 0, 1, RELAXED);
    store(run, 1, 1, RELEASE);
}

static void receive(struct run *run)
{
    result(run, 0, load(run, 1, ACQUIRE));
    result(run, 1, load(run, 0, RELAXED));
}

static void publish_relaxed(struct run *run)
{
    store(run, 0, 1, RELAXED);
    store(run, 1, 1, RELAXED);
}

static void receive_relaxed(struct run *run)
{
    result(run, 0, load(run, 1, RELAXED));
    result(run, 1, load(run, 0, RELAXED));
}

static bool is_flag_without_data(const struct run *run)
{
    return read_result(run, 0) == 1 && read_result(run, 1) == 0;
}

/* A release sequence: another thread changes the publishing word before it is read. */

static void consume(struct run *run)
{
    unsigned set = 1;

    atomic_compare_exchange_strong_explicit(&run->words[1].value, &set, 2, RELAXED, RELAXED);
}

static void receive_consumed(struct run *run)
{
    result(run, 0, load(run, 1, ACQUIRE) == 2);
    result(run, 1, load(run, 0, RELAXED));
}

/* Each of two threads writes its word and reads the other's. */

static void announce_first(struct run *run)
{
    store(run, 0, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    result(run, 0, load(run, 1, RELAXED));
}

static void announce_second(struct run *run)
{
    store(run, 1, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    result(run, 1, load(run, 0, RELAXED));
}

static void announce_first_unfenced(struct run *run)
{
    store(run, 0, 1, RELAXED);
    atomic_signal_fence(SEQ_CST);
    result(run, 0, load(run, 1, RELAXED));
}

static void announce_second_unfenced(struct run *run)
{
    store(run, 1, 1, RELAXED);
    atomic_signal_fence(SEQ_CST);
    result(run, 1, load(run, 0, RELAXED));
}

static void announce_second_by_membarrier(struct run *run)
{
    store(run, 1, 1, RELAXED);
    barrier_in_all_processes();
    result(run, 1, load(run, 0, RELAXED));
}

static void publish_by_swap(struct run *run)
{
    swap_with_barrier(run, 0);
    result(run, 0, load(run, 1, RELAXED));
}

static void publish_by_swap_unfenced(struct run *run)
{
    atomic_exchange_explicit(&run->words[0].value, 1, SEQ_CST);
    atomic_signal_fence(SEQ_CST);
    result(run, 0, load(run, 1, RELAXED));
}

static void announce_by_additions(struct run *run)
{
    atomic_fetch_add_explicit(&run->words[1].value, 2, RELAXED);
    atomic_fetch_or_explicit(&run->words[1].value, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    result(run, 1, load(run, 0, RELAXED));
}

static void announce_by_additions_acquire(struct run *run)
{
    atomic_fetch_add_explicit(&run->words[1].value, 2, RELAXED);
    atomic_fetch_or_explicit(&run->words[1].value, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    result(run, 1, load(run, 0, ACQUIRE));
}

static bool is_neither_seen(const struct run *run)
{
    return read_result(run, 0) == 0 && read_result(run, 1) == 0;
}

/* A reader copies data that a writer may be changing, and checks afterwards. */

static void overwrite(struct run *run)
{
    store(run, 1, 1, RELEASE);
    atomic_thread_fence(RELEASE);
    store(run, 0, 1, RELAXED);
}

static void overwrite_unfenced(struct run *run)
{
    store(run, 1, 1, RELEASE);
    store(run, 0, 1, RELAXED);
}

static void copy_and_check(struct run *run)
{
    result(run, 0, load(run, 0, RELAXED));
    atomic_thread_fence(ACQUIRE);
    result(run, 1, load(run, 1, RELAXED));
}

static void copy_and_check_unfenced(struct run *run)
{
    result(run, 0, load(run, 0, RELAXED));
    result(run, 1, load(run, 1, RELAXED));
}

static bool is_new_data_unnoticed(const struct run *run)
{
    return read_result(run, 0) == 1 && read_result(run, 1) == 0;
}

/*
 * The notifier changes the kind of its fence, and the waiter relies on the kind that it reads. Word 0
 * is the message, word 1 the announcement. Word 2 is 1 when the kind has changed.
 */

static void switch_to_asymmetric(struct run *run)
{
    store(run, 2, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    store(run, 0, 1, RELAXED);
    atomic_signal_fence(SEQ_CST);
    result(run, 0, load(run, 1, RELAXED));
}

static void wait_symmetric(struct run *run)
{
    store(run, 1, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
    result(run, 2, load(run, 2, ACQUIRE));
    result(run, 1, load(run, 0, RELAXED));
}

/* The waiter has read the old kind, issues no barrier, and each misses the other's store. */
static bool is_missed_at_switch(const struct run *run)
{
    return read_result(run, 2) == 0 && is_neither_seen(run);
}

/* The notifier has published without a fence. */
static void switch_to_symmetric(struct run *run)
{
    store(run, 0, 1, RELAXED);
    atomic_signal_fence(SEQ_CST);
    result(run, 0, load(run, 1, RELAXED));
    store(run, 2, 1, RELEASE);
}

static bool is_missed_after_switch(const struct run *run)
{
    return read_result(run, 2) == 1 && read_result(run, 1) == 0;
}

const struct test litmus_tests[] = {
    {"publish",
     "ring, cell, event, marks of a feed, cursors",
     {publish, receive},
     is_flag_without_data,
     false},
    {"publish-sequence",
     "event with automatic reset",
     {publish, consume, receive_consumed},
     is_flag_without_data,
     false},
    {"overwrite", "cell, feed", {overwrite, copy_and_check}, is_new_data_unnoticed, false},
    {"wait",
     "event count, sleepers, readiness, reader-writer lock",
     {announce_first, announce_second},
     is_neither_seen,
     false},
    {"wait-membarrier",
     "event count, asymmetric",
     {announce_first_unfenced, announce_second_by_membarrier},
     is_neither_seen,
     true},
    {"wait-swap",
     "announcements of cells, events and conditions",
     {publish_by_swap, announce_by_additions_acquire},
     is_neither_seen,
     false},
    {"switch-to-asymmetric",
     "event count",
     {switch_to_asymmetric, wait_symmetric},
     is_missed_at_switch,
     false},
    {"switch-to-symmetric",
     "event count",
     {switch_to_symmetric, wait_symmetric},
     is_missed_after_switch,
     false},
    {"publish, relaxed", NULL, {publish_relaxed, receive_relaxed}, is_flag_without_data, false},
    {"overwrite, no fence of the writer",
     NULL,
     {overwrite_unfenced, copy_and_check},
     is_new_data_unnoticed,
     false},
    {"overwrite, no fence of the reader",
     NULL,
     {overwrite, copy_and_check_unfenced},
     is_new_data_unnoticed,
     false},
    {"wait, no fences",
     NULL,
     {announce_first_unfenced, announce_second_unfenced},
     is_neither_seen,
     false},
    {"wait, one fence", NULL, {announce_first_unfenced, announce_second}, is_neither_seen, false},
    {"wait-swap, no fence",
     NULL,
     {publish_by_swap_unfenced, announce_by_additions},
     is_neither_seen,
     false},
};

const unsigned litmus_count = sizeof litmus_tests / sizeof litmus_tests[0];
