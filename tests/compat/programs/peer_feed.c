/* The publisher of a feed, a reliable subscriber and a lossy one. */
#include "peer.h"
#include <poll.h>

#define MESSAGES 20000

static unsigned char buf[2000];

static size_t length(uint64_t number)
{
    return 1 + number * 13 % 1000;
}

void feed_publisher(const char *path)
{
    struct ipc_feed_opts opts = {.size = 65536, .message_align = 32};
    struct ipc_feed_subscriber subscriber;
    struct ipc_feed *feed;

    MUST(ipc_feed_create(&opts, sizeof(opts), &feed) == 0);
    MUST(ipc_feed_listen(feed, path, 0600, 0) == 0);
    /* The first messages wait for the subscriber. */
    for (uint64_t n = 0; n < 10; n++) {
        fill(buf, length(n), n);
        MUST(ipc_feed_publish(feed, buf, length(n), LONG_MS) == 0);
    }
    ready();
    while (ipc_feed_subscribers(feed, NULL, 0, 0) == 0) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        MUST(poll(&event, 1, LONG_MS) == 1);
        MUST(ipc_feed_service(feed) == 0);
    }
    MUST(ipc_feed_subscribers(feed, &subscriber, 1, sizeof(subscriber)) == 1);
    MUST(strcmp(subscriber.name, "a peer") == 0);
    for (uint64_t n = 10; n < MESSAGES; n++) {
        fill(buf, length(n), n);
        MUST(ipc_feed_publish(feed, buf, length(n), LONG_MS) == 0);
    }
    ipc_feed_close(feed);
    unlink(path);
}

static void subscribe(const char *path, unsigned int flags)
{
    struct ipc_sub_opts opts = {.flags = flags | IPC_SUB_F_WAIT, .name = "a peer"};
    struct ipc_sub_info info;
    struct ipc_sub *sub;
    uint64_t seq, next = 0, received = 0;
    ssize_t len;

    MUST(ipc_sub_connect(path, &opts, sizeof(opts), LONG_MS, &sub) == 0);
    for (;;) {
        len = ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS);
        if (len < 0 && errno == EOVERFLOW) {
            MUST(flags & IPC_SUB_F_LOSSY && seq > next);
            next = seq;
            continue;
        }
        MUST(len >= 0);
        if (len == 0) {
            break;
        }
        MUST(seq == next++ && (size_t)len == length(seq) && is_filled(buf, length(seq), seq));
        received++;
    }
    MUST(next == MESSAGES);
    MUST(ipc_sub_info(sub, &info, sizeof(info)) == 0);
    MUST(info.lost + received == MESSAGES && info.published == MESSAGES);
    ipc_sub_close(sub);
}

void feed_reliable(const char *path)
{
    subscribe(path, IPC_SUB_F_OLDEST);
}

void feed_lossy(const char *path)
{
    subscribe(path, IPC_SUB_F_OLDEST | IPC_SUB_F_LOSSY);
}
