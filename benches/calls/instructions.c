/*
 * Sends and receives messages in one process, for scripts/count-instructions:
 *
 *     instructions LEN [BATCH]
 *     instructions feed LEN SUBSCRIBERS
 *
 * With BATCH it uses the batch calls, and sends that number of messages with each. The second form
 * publishes messages to a feed.
 */
#include "bench.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MESSAGES  1024
#define LEN_MAX   4096
#define BATCH_MAX 64
#define SUBS_MAX  64

static char buffers[BATCH_MAX][LEN_MAX];

static void one_by_one(struct ipc_channel *const *ends, size_t len)
{
    for (int i = 0; i < MESSAGES; i++) {
        must(ipc_channel_send(ends[0], buffers[0], len, -1), "ipc_channel_send");
        if (ipc_channel_recv(ends[1], buffers[0], LEN_MAX, -1) != (ssize_t)len)
            err(1, "ipc_channel_recv");
    }
}

static void in_batches(struct ipc_channel *const *ends, size_t len, size_t batch)
{
    struct iovec messages[BATCH_MAX];

    for (size_t done = 0; done < MESSAGES; done += batch) {
        for (size_t i = 0; i < batch; i++)
            messages[i] = (struct iovec){buffers[i], len};
        if (ipc_channel_send_many(ends[0], messages, batch, -1) != (ssize_t)batch ||
            ipc_channel_recv_many(ends[1], messages, batch, -1) != (ssize_t)batch)
            err(1, "a batch");
    }
}

static int socks[SUBS_MAX][2];
static struct ipc_sub *subs[SUBS_MAX];
static size_t sub_count;

static void *subscribe(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < sub_count; i++)
        must(ipc_sub_from_fd(socks[i][1], NULL, 0, -1, &subs[i]), "ipc_sub_from_fd");
    return NULL;
}

/* Every subscriber receives each message at once. */
static void through_feed(size_t len)
{
    struct ipc_feed *feed;
    pthread_t thread;

    must(ipc_feed_create(NULL, 0, &feed), "ipc_feed_create");
    for (size_t i = 0; i < sub_count; i++) {
        must(ipc_pair_open(SOCK_SEQPACKET, socks[i]), "ipc_pair_open");
        must(ipc_feed_add(feed, socks[i][0]), "ipc_feed_add");
    }
    must_be_zero(pthread_create(&thread, NULL, subscribe, NULL), "pthread_create");
    while (ipc_feed_subscribers(feed, NULL, 0, 0) < (ssize_t)sub_count) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        must(poll(&event, 1, -1), "poll");
        must(ipc_feed_service(feed), "ipc_feed_service");
    }
    must_be_zero(pthread_join(thread, NULL), "pthread_join");
    for (int i = 0; i < MESSAGES; i++) {
        must(ipc_feed_publish(feed, buffers[0], len, -1), "ipc_feed_publish");
        for (size_t j = 0; j < sub_count; j++)
            if (ipc_sub_recv(subs[j], buffers[0], LEN_MAX, NULL, -1) != (ssize_t)len)
                err(1, "ipc_sub_recv");
    }
    for (size_t i = 0; i < sub_count; i++)
        ipc_sub_close(subs[i]);
    ipc_feed_close(feed);
}

int main(int argc, char **argv)
{
    struct ipc_channel *ends[2];
    bool feeds = argc > 1 && strcmp(argv[1], "feed") == 0;
    size_t len = argc > 1 + feeds ? strtoul(argv[1 + feeds], NULL, 10) : 0;
    size_t batch = argc > 2 + feeds ? strtoul(argv[2 + feeds], NULL, 10) : 0;

    if (len == 0 || len > LEN_MAX || batch > BATCH_MAX || (feeds && batch == 0))
        errx(1, "usage: instructions LEN [BATCH], or instructions feed LEN SUBSCRIBERS");
    if (feeds) {
        sub_count = batch;
        through_feed(len);
        return 0;
    }
    must(ipc_channel_pair(NULL, 0, ends), "ipc_channel_pair");
    if (batch == 0)
        one_by_one(ends, len);
    else
        in_batches(ends, len, batch);
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
    return 0;
}
