/*
 * Common code of the benchmarks of channels and feeds:
 *
 *     channel_payload.h      how messages are written, read and checked
 *     channel_transports.c   how messages are transferred
 *     feed_transports.c      the same over feeds
 *     channel_measure.c      how two processes measure transports block by block
 *     channel_server.c       a server with many channels
 *     channel_costs.c        set-up time, descriptors and memory
 *     channel.c              latency and throughput, and main
 *     feed.c                 feeds compared with channels, and main
 *     feed_publisher.c       the publisher's cost of each subscriber
 *     feed_lossy.c           lossy readers
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench.h"

#define KIB 1024
#define MIB (1024 * KIB)

#define ROUNDS_MAX     9
#define BLOCKS_MAX     64
#define TRANSPORTS_MAX 5

extern int rounds;
extern int blocks;      /* blocks of each transport in a round */
extern double block_ns; /* minimum duration of a block */

/* --- transports --- */

enum pattern { ONE_WAY, PING_PONG };

enum medium { RING, CHANNEL, FEED, SOCKETS, FIFOS };

struct transport {
    void (*loop)(enum pattern pattern, long count, size_t len);
    enum medium medium;
    struct ipc_channel_opts opts; /* if the medium is CHANNEL; for a FEED, spin_us only */
};

extern const struct transport ring, channel, channel_spinning, channel_sleeping, in_place, batches,
    feed, feed_spinning, stream, fifo;
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

/* The same for the transports whose medium is FEED. */
void feed_transport_open(int index, const struct transport *transport, size_t ring_size);
void feed_transports_keep_side(void);
void feed_transports_close(void);
void feed_transport_use(int index);

/* Makes a feed of `count` subscribers, which call ipc_sub_from_fd in other threads or processes with
 * the other ends of `socks`. */
struct ipc_feed *feed_new(const struct ipc_feed_opts *opts, const int *socks, int count);

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
    double rounds[ROUNDS_MAX][TRANSPORTS_MAX];
    /* With two cores: how long a cache line takes between them, and how many additions each executes
     * in a nanosecond while the other one does the same. */
    double cache_line_ns[ROUNDS_MAX], additions[ROUNDS_MAX];
    double sleeps[TRANSPORTS_MAX], wakes[TRANSPORTS_MAX]; /* per message, both ends of a channel */
};

/* Allocates shared memory, and finds the processors that may be used. From then on, this process exits
 * if a child fails. */
void measure_init(void);
/* Pins this process to the n-th processor that may be used. */
void pin(int n);
/* Forks; `side` is 1 in the child. */
pid_t fork_other(void);
struct result measure(const struct row *row);

/* The times of all blocks of each transport, from which a result gets its medians. */
typedef double block_times[TRANSPORTS_MAX][ROUNDS_MAX * BLOCKS_MAX];
void set_round_medians(struct result *result, block_times times, int count, int round);
void set_medians(struct result *result, block_times times, int count);

/* Prints the ratio of two times, or of two rates, with a target and the range of all rounds. */
void print_ratio(const char *name, const struct result *result, int transport, int reference,
                 bool of_rates, const char *target);

/* Prints the median of the figures of all rounds, with a target and the range. */
void print_figure(const char *name, const double *figures, const char *unit, const char *target);

/* Prints the figures of the processors at the time of a result. */
void print_machine(const struct result *result);

/* --- tables --- */

struct table {
    const char *name;
    void (*run)(void);
};

/* Runs the tables whose names are given, or all. An array of tables ends with an empty one. */
void run_tables(const struct table *tables, int argc, char **argv);

/* Sends a message and receives the answer. */
void round_trip(struct ipc_channel *client);

void many_channels(void);
void costs(void);
void publisher_costs(void);
void lossy_readers(void);

/* --- the system calls of a channel alone --- */

void bare_pair_and_close(void);
struct sockaddr_un;
void bare_connect(const struct sockaddr_un *address, unsigned address_len);
void bare_accept(int listener);
/* Prints what each of many connections in turn costs, divided by what one costs. */
void bare_many(void);

#endif
