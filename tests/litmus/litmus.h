/*
 * Litmus tests: short programs of two or three threads whose outcome shows whether the processor
 * keeps the order that a protocol needs. shapes.c has the tests, main.c runs them.
 */
#ifndef LITMUS_H
#define LITMUS_H

#include <stdatomic.h>
#include <stdbool.h>

#define THREADS_MAX 3
#define WORDS       3

/* A word on its own cache lines, so that each access can have its own delay. */
struct word {
    _Alignas(128) atomic_uint value;
};

/* One run of a test: the words that its threads share, all 0 at first, and what they have read. */
struct run {
    struct word words[WORDS];
    struct {
        _Alignas(128) unsigned value;
    } results[WORDS];
};

struct test {
    const char *name;
    /* Where the library has this pattern, whose outcome C11 forbids. NULL: the test is a control. It
     * lacks a fence, and C11 permits its outcome. A machine on which a control finds nothing does not
     * reorder these accesses. */
    const char *used_in;
    void (*thread[THREADS_MAX])(struct run *run);
    /* Whether the outcome of a run is the one that the test looks for. */
    bool (*is_found)(const struct run *run);
    bool needs_membarrier;
};

extern const struct test litmus_tests[];
extern const unsigned litmus_count;

/* Registers this process for membarrier(2). Returns false if the kernel does not have it. */
bool litmus_register_membarrier(void);

#endif
