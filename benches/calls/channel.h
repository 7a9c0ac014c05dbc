/*
 * Common code of the channel benchmark:
 *
 *     channel_transports.c   how messages are written, transferred, read and checked
 *     channel_measure.c      how two processes measure transports block by block
 *     channel_server.c       a server with many channels
 *     channel_costs.c        set-up time, descriptors and memory
 *     channel.c              latency and throughput, and main
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench.h"

#define KIB 1024
#define MIB (1024 * KIB)

#define ROUNDS         5
#define BLOCKS_MAX     64
#define TRANSPORTS_MAX 5

extern int blocks;      /* blocks of each transport in a round */
extern double block_ns; /* minimum duration of a block */

/* --- transports --- */

enum pattern { ONE_WAY, PING_PONG };

enum medium { RING, CHANNEL, SOCKETS, FIFOS };

struct transport {
    void (*loop)(enum pattern pattern, long count, size_t len);
    enum medium medium;
    struct ipc_channel_opts opts; /* if the medium is CHANNEL */
};

extern const struct transport ring, channel, channel_spinning, channel_sleeping, in_place, batches,
    stream, fifo;
/* PING_PONG only: ipc_channel_call without and with a time-out. */
extern const struct transport calls_spinning, timed_calls_spinning, calls, timed_calls;

extern int side; /* 0 in this process, 1 in the other one */

/* Creates everything that the transports need. Both processes use it after fork. */
void transports_open(const struct transport *const *transports, size_t ring_size);
/* After fork, in both processes: closes the ends that belong to the other process. */
void transports_keep_side(void);
void transports_close(void);
/* Selects the transport for the next loop. */
void transport_use(const struct transport *transport, int index);
/* The statistics of this process's end of a channel. */
void transport_stats(int index, struct ipc_channel_stats *ret_stats);

/* --- two processes --- */

/* The transports of a row are measured in turn, block by block. */
struct row {
    enum pattern pattern;
    bool one_core;
    size_t len, ring_size;
    const struct transport *transports[TRANSPORTS_MAX];
};

struct result {
    double ns[TRANSPORTS_MAX]; /* time per message or round trip */
    double rounds[ROUNDS][TRANSPORTS_MAX];
    double sleeps[TRANSPORTS_MAX], wakes[TRANSPORTS_MAX]; /* per message, both ends of a channel */
};

/* Allocates shared memory, and finds the processors that may be used. */
void measure_init(void);
/* Pins this process to the n-th processor that may be used. */
void pin(int n);
/* Forks; `side` is 1 in the child. */
pid_t fork_other(void);
struct result measure(const struct row *row);

/* The times of all blocks of each transport, from which a result gets its medians. */
typedef double block_times[TRANSPORTS_MAX][ROUNDS * BLOCKS_MAX];
void set_round_medians(struct result *result, block_times times, int count, int round);
void set_medians(struct result *result, block_times times, int count);

/* Prints the ratio of two times, or of two rates, with a target and the range of all rounds. */
void print_ratio(const char *name, const struct result *result, int transport, int reference,
                 bool of_rates, const char *target);

/* --- tables --- */

/* Sends a message and receives the answer. */
void round_trip(struct ipc_channel *client);

void many_channels(void);
void costs(void);

/* --- the system calls of a channel alone --- */

void bare_pair_and_close(void);
struct sockaddr_un;
void bare_connect(const struct sockaddr_un *address, unsigned address_len);
void bare_accept(int listener);
/* Prints what each of many connections in turn costs, divided by what one costs. */
void bare_many(void);

#endif
