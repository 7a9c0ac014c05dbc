/*
 * The publisher's cost of each subscriber, compared with a channel for each.
 *
 * The subscribers must not take time from the publisher, whatever their number. So a block of
 * messages fits into the ring, and only its publication is timed. After it, a thread on another
 * processor receives and checks the block for each subscriber. To the publisher this looks like
 * subscribers that keep up: it finds their cursors and the old messages in the cache of another
 * processor, and no subscriber asleep. Unlike subscribers that run at the same time, they do not
 * access the messages of the block while the publisher writes them. The rings have the default size.
 */
#include "channel_payload.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define LEN           64
#define BLOCK         1024 /* messages; less than a third of a ring */
#define RECEIVERS_MAX 64

enum which { FEEDS, CHANNELS, KINDS };

/* A feed with subscribers, and as many channels. */
struct fan {
    int receivers;
    struct ipc_feed *feed;
    struct ipc_sub *subs[RECEIVERS_MAX];
    struct ipc_channel *channels[RECEIVERS_MAX][2];
    int socks[RECEIVERS_MAX];
    uint64_t next[KINDS]; /* the number of the next message */
};

static struct fan fans[] = {
    {.receivers = 1}, {.receivers = 2}, {.receivers = 4}, {.receivers = 8}, {.receivers = 64},
};

#define FANS BENCH_COUNT(fans)

/* The block to receive; NULL: none. */
static _Atomic(struct fan *) to_drain;
static enum which which_to_drain;

static void receive(const struct fan *fan, enum which which, int receiver, uint64_t n)
{
    char message[LEN];
    ssize_t got = which == FEEDS
                      ? ipc_sub_recv(fan->subs[receiver], message, sizeof(message), NULL, 0)
                      : ipc_channel_recv(fan->channels[receiver][1], message, sizeof(message), 0);

    if (got != LEN)
        err(1, "receive");
    check(message, LEN, n);
}

static void *drain(void *unused)
{
    (void)unused;
    pin(1);
    for (size_t i = 0; i < FANS; i++)
        for (int j = 0; j < fans[i].receivers; j++)
            must(ipc_sub_from_fd(fans[i].socks[j], NULL, 0, -1, &fans[i].subs[j]),
                 "ipc_sub_from_fd");
    for (;;) {
        struct fan *fan;
        while ((fan = atomic_load(&to_drain)) == NULL)
            sched_yield();
        for (int i = 0; i < fan->receivers; i++)
            for (uint64_t n = 0; n < BLOCK; n++)
                receive(fan, which_to_drain, i, fan->next[which_to_drain] + n);
        fan->next[which_to_drain] += BLOCK;
        atomic_store(&to_drain, NULL);
    }
    return NULL;
}

static void send_block(const struct fan *fan, enum which which)
{
    uint64_t first = fan->next[which];

    for (uint64_t n = first; n < first + BLOCK; n++) {
        fill(payload_out, LEN, n);
        if (which == FEEDS) {
            must(ipc_feed_publish(fan->feed, payload_out, LEN, 0), "ipc_feed_publish");
            continue;
        }
        for (int i = 0; i < fan->receivers; i++)
            must(ipc_channel_send(fan->channels[i][0], payload_out, LEN, 0), "ipc_channel_send");
    }
}

/* The time of a message, in nanoseconds. */
static double run_block(struct fan *fan, enum which which)
{
    double begin = bench_now_ns();
    send_block(fan, which);
    double ns = (bench_now_ns() - begin) / BLOCK;

    which_to_drain = which;
    atomic_store(&to_drain, fan);
    while (atomic_load(&to_drain) != NULL)
        sched_yield();
    return ns;
}

/* Each subscriber and each channel has several descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit files;

    must(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
    if (files.rlim_cur < 4096)
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
}

/* Makes all feeds and channels, and starts the thread. */
static void start(void)
{
    int socks[FANS][RECEIVERS_MAX];
    pthread_t thread;

    raise_descriptor_limit();
    for (size_t i = 0; i < FANS; i++)
        for (int j = 0; j < fans[i].receivers; j++) {
            int sock[2];
            must(ipc_pair_open(SOCK_SEQPACKET, sock), "ipc_pair_open");
            socks[i][j] = sock[0];
            fans[i].socks[j] = sock[1];
            must(ipc_channel_pair(NULL, 0, fans[i].channels[j]), "ipc_channel_pair");
        }
    must_be_zero(pthread_create(&thread, NULL, drain, NULL), "pthread_create");
    must_be_zero(pthread_detach(thread), "pthread_detach");
    pin(0);
    for (size_t i = 0; i < FANS; i++) {
        struct ipc_feed_opts opts = {.subscribers_max = (unsigned)fans[i].receivers};
        fans[i].feed = feed_new(&opts, socks[i], fans[i].receivers);
        for (int j = 0; j < fans[i].receivers; j++)
            close(socks[i][j]);
    }
}

/* The median of the blocks of a repetition. Blocks of both kinds alternate. */
static void run_repetition(struct fan *fan, double ns[KINDS])
{
    double times[KINDS][2 * BLOCKS_MAX];
    int count = 2 * blocks;

    for (int i = 0; i < count; i++)
        for (int turn = 0; turn < KINDS; turn++) {
            enum which which = (enum which)((i + turn) % KINDS);
            times[which][i] = run_block(fan, which);
        }
    for (int which = 0; which < KINDS; which++)
        ns[which] = bench_median(times[which], (size_t)count);
}

static void print_fan(size_t i, double ns[KINDS][FANS][ROUNDS_MAX])
{
    char name[64];

    snprintf(name, sizeof(name), "feed, %d subscriber%s", fans[i].receivers,
             fans[i].receivers == 1 ? "" : "s");
    print_figure(name, ns[FEEDS][i], "ns", "");
    snprintf(name, sizeof(name), "a channel for each of %d", fans[i].receivers);
    print_figure(name, ns[CHANNELS][i], "ns", "");
}

/* Prints by how much a message takes longer for each receiver after the first one. */
static void print_growth(size_t i, double ns[FANS][ROUNDS_MAX], const char *what,
                         const char *target)
{
    double growth[ROUNDS_MAX];
    char name[64];

    for (int round = 0; round < rounds; round++)
        growth[round] = (ns[i][round] - ns[0][round]) / (fans[i].receivers - 1);
    snprintf(name, sizeof(name), "each more %s, up to %d", what, fans[i].receivers);
    print_figure(name, growth, "ns", target);
}

void publisher_costs(void)
{
    static double ns[KINDS][FANS][ROUNDS_MAX];

    start();
    printf("\na message of %d bytes, the publisher only\n", LEN);
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < FANS; i++) {
            double both[KINDS];
            run_repetition(&fans[i], both);
            for (int which = 0; which < KINDS && round >= 0; which++)
                ns[which][i][round] = both[which];
        }
    for (size_t i = 0; i < FANS; i++)
        print_fan(i, ns);
    for (size_t i = 1; i < FANS; i++)
        print_growth(i, ns[FEEDS], "subscriber", i == FANS - 1 ? "<= 8" : "");
    print_growth(FANS - 1, ns[CHANNELS], "channel", "");
}
