/*
 * The internal interface of the engine:
 *
 *     main.c        arguments, list of rows
 *     payload.c     buffers and sizes
 *     names.c       names of objects, and the process that removes them
 *     processes.c   child processes, processors, barrier
 *     transfer.c    measures messages between two processes, or from one to several
 *     repeat.c      measures operations that processes repeat
 *     results.c     medians, output
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "../subject.h"

#define PROCESSES_MAX 100000

/* Either a block or a whole run. */
struct result {
    uint64_t messages; /* or operations */
    uint64_t ns, cpu_ns;
    uint64_t failed, written;
};

extern cpu_set_t allowed_cpus;

/* payload.c */
void payload_init(void);

/* names.c */
extern pid_t run;     /* the process that was started */
extern pid_t cleaner; /* 0: there is none */
/* Lets the cleaner work, and waits until it has ended. */
void cleaner_finish(void);

/* processes.c */
extern pid_t *children;
void processes_init(void);
void reap_children(void);
/* The latest time at which a run may end, in seconds. Then it fails. */
void watchdog_start(unsigned seconds);
void pin(int cpu);
uint64_t cpu_time_ns(void); /* of this process */
void futex_wait(uint32_t *word, uint32_t value);
void futex_wake_all(uint32_t *word);
/* The number of processes that meet at a barrier. */
extern uint32_t barrier_parties;
/* Waits for the other processes of a transport. A process that does not spin leaves its processor to
 * the threads of a library. */
void barrier(bool spin);

/* transfer.c */
struct result measure_transport(const struct subject_transport *transport, bool ping_pong,
                                bool timed, long receivers);

/* repeat.c */
struct result measure_operation(const struct subject_operation *operation, long workers,
                                bool writer, bool all_cpus);

/* results.c */
/* The block with the median rate. The mean would include the effect of other load. */
struct result median_block(struct result *blocks, size_t count);
/* Measures a row and prints its figures. */
void measure_row(const struct subject_row *row);

#endif
