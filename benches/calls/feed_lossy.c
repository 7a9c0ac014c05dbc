/*
 * Lossy readers: a publisher at full speed that waits for no subscriber, and a reader in another
 * process that receives as fast as it can.
 *
 * Every word of a message is its sequence number, and the reader compares each word: a message that
 * is made of two is torn. The messages that the reader received and those that it was told it had
 * lost must be all that were published.
 */
#include "channel_payload.h"

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define BYTES       1000000000.0 /* that a row receives in all repetitions */
#define QUICK_BYTES 50000000.0

/* The counts of a reader. */
struct totals {
    uint64_t received, lost, torn, bytes;
    double ns;
};

struct shared {
    struct totals totals;
    _Alignas(128) atomic_int stop; /* the reader has received enough */
};

struct row_of_lossy {
    const char *name;
    size_t len;
    bool in_place;
    int comparisons; /* of each message: a slow reader is overtaken all the time */
};

static const struct row_of_lossy rows[] = {
    {"64 B", 64, false, 1},
    {"64 B, in place", 64, true, 1},
    {"64 B, a slow reader", 64, false, 16},
    {"4 KiB", 4 * KIB, false, 1},
    {"4 KiB, in place", 4 * KIB, true, 1},
    {"4 KiB, in place, a slow reader", 4 * KIB, true, 8},
};

#define ROWS BENCH_COUNT(rows)

static struct shared *shared;

static inline void fill_words(void *payload, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i += 8)
        memcpy((char *)payload + i, &n, 8);
}

/* Compares each word, because a sum would not detect every torn message. */
static inline bool is_whole(const void *payload, size_t len, uint64_t n)
{
    u64x2 both = {n, n}, differs = {0, 0}, words;

    /* The bytes may change between two comparisons, which the compiler must not combine. */
    __asm__ volatile("" : : "r"(payload) : "memory");
    for (size_t i = 0; i < len; i += sizeof(words)) {
        memcpy(&words, (const char *)payload + i, sizeof(words));
        differs |= words ^ both;
    }
    return (differs[0] | differs[1]) == 0;
}

/* Receives and compares one message. Returns false at the end of the feed. */
static inline bool read_one(struct ipc_sub *sub, const struct row_of_lossy *row, uint64_t *next,
                            struct totals *totals)
{
    const void *at = payload_in;
    uint64_t seq = 0;
    ssize_t got = row->in_place ? ipc_sub_peek(sub, &at, &seq, -1)
                                : ipc_sub_recv(sub, payload_in, sizeof(payload_in), &seq, -1);

    if (got == 0)
        return false;
    if (got < 0 && errno != EOVERFLOW)
        err(1, "receive");
    totals->lost += seq - *next;
    *next = seq;
    if (got < 0)
        return true;
    bool whole = got == (ssize_t)row->len;
    for (int i = 0; i < row->comparisons && whole; i++)
        whole = is_whole(at, row->len, seq);
    if (row->in_place && ipc_sub_release(sub) < 0) {
        if (errno != EOVERFLOW)
            err(1, "ipc_sub_release");
        return true; /* the bytes are discarded, and count as lost */
    }
    totals->torn += !whole;
    totals->received++;
    totals->bytes += row->len;
    *next = seq + 1;
    return true;
}

static void read_all(int sock, const struct row_of_lossy *row, double bytes)
{
    struct ipc_sub_opts opts = {.flags = IPC_SUB_F_LOSSY};
    struct totals totals = {0};
    struct ipc_sub *sub;
    uint64_t next = 0;

    must(ipc_sub_from_fd(sock, &opts, sizeof(opts), -1, &sub), "ipc_sub_from_fd");
    double begin = bench_now_ns();
    while ((double)totals.bytes < bytes)
        if (!read_one(sub, row, &next, &totals))
            errx(1, "the feed has ended");
    totals.ns = bench_now_ns() - begin;
    atomic_store(&shared->stop, 1);
    while (read_one(sub, row, &next, &totals))
        ;
    shared->totals = totals;
    ipc_sub_close(sub);
}

/* Returns how many messages were published. */
static uint64_t publish_all(int sock, const struct row_of_lossy *row)
{
    struct ipc_feed_opts opts = {0};
    struct ipc_feed *to = feed_new(&opts, &sock, 1);
    uint64_t n = 0;

    for (; atomic_load_explicit(&shared->stop, memory_order_relaxed) == 0; n++) {
        if (row->in_place) {
            void *at = ipc_feed_reserve(to, row->len, 0);
            if (at == NULL)
                err(1, "ipc_feed_reserve");
            fill_words(at, row->len, n);
            must(ipc_feed_commit(to, row->len), "ipc_feed_commit");
        } else {
            fill_words(payload_out, row->len, n);
            must(ipc_feed_publish(to, payload_out, row->len, 0), "ipc_feed_publish");
        }
    }
    ipc_feed_close(to);
    return n;
}

/* Returns how many messages were published; the totals are in the shared memory. */
static uint64_t run(const struct row_of_lossy *row, double bytes)
{
    int sock[2], status;

    memset(shared, 0, sizeof(*shared));
    must(ipc_pair_open(SOCK_SEQPACKET, sock), "ipc_pair_open");
    pid_t child = fork_other();
    if (child == 0) {
        pin(1);
        close(sock[0]);
        read_all(sock[1], row, bytes);
        _exit(0);
    }
    pin(0);
    close(sock[1]);
    uint64_t published = publish_all(sock[0], row);
    close(sock[0]);
    must(waitpid(child, &status, 0), "waitpid");
    if (status != 0)
        errx(1, "the reader failed");
    if (shared->totals.received + shared->totals.lost != published)
        errx(1, "received %llu and lost %llu of %llu messages",
             (unsigned long long)shared->totals.received, (unsigned long long)shared->totals.lost,
             (unsigned long long)published);
    return published;
}

void lossy_readers(void)
{
    static double gigabytes[ROWS][ROUNDS_MAX], lost[ROWS][ROUNDS_MAX];
    double bytes = (getenv("QUICK") != NULL ? QUICK_BYTES : BYTES) / rounds;
    struct totals sums[ROWS] = {0};

    shared = bench_shared_memory(sizeof(*shared));
    printf("\na lossy reader and a publisher, both at full speed\n");
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < ROWS; i++) {
            uint64_t published = run(&rows[i], bytes);
            const struct totals *totals = &shared->totals;
            gigabytes[i][round] = (double)totals->bytes / totals->ns;
            lost[i][round] = 100 * (double)totals->lost / (double)published;
            sums[i].torn += totals->torn;
            sums[i].bytes += totals->bytes;
        }
    for (size_t i = 0; i < ROWS; i++) {
        printf("%s: %llu torn messages in %.2e bytes\n", rows[i].name,
               (unsigned long long)sums[i].torn, (double)sums[i].bytes);
        print_figure("received", gigabytes[i], "GB/s", "");
        print_figure("lost", lost[i], "%", "");
        if (sums[i].torn != 0)
            errx(1, "torn messages");
    }
}
