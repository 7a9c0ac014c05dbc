/* Threads are cancelled in calls on feeds: no descriptor is left, and no message is lost. */
#include "cancel.h"

static struct ipc_feed *feed;
static struct ipc_sub *sub;
static char message[1000];

/* No publisher admits the subscriber: not a cancellation point. */
static void *connects(void *path)
{
    struct ipc_sub *another;

    begun = 1;
    CHECK(ipc_sub_connect(path, NULL, 0, 500, &another) == -1 && errno == ETIMEDOUT);
    pthread_testcancel();
    return NULL;
}

static void *subscribes(void *sock)
{
    CHECK(ipc_sub_from_fd(*(int *)sock, NULL, 0, 20000, &sub) == 0);
    return NULL;
}

static void *receives(void *unused)
{
    (void)unused;
    begun = 1;
    for (;;)
        CHECK(ipc_sub_recv(sub, message, sizeof message, NULL, -1) == sizeof message);
}

static void *peeks(void *unused)
{
    const void *at;

    (void)unused;
    begun = 1;
    for (;;) {
        CHECK(ipc_sub_peek(sub, &at, NULL, -1) == sizeof message);
        CHECK(ipc_sub_release(sub) == 0);
    }
}

static void *publishes(void *unused)
{
    (void)unused;
    begun = 1;
    for (;;)
        CHECK(ipc_feed_publish(feed, message, sizeof message, -1) == 0);
}

static void *reserves(void *unused)
{
    (void)unused;
    begun = 1;
    for (;;) {
        CHECK(ipc_feed_reserve(feed, sizeof message, -1) != NULL);
        CHECK(ipc_feed_commit(feed, sizeof message) == 0);
    }
}

/* Receives the messages up to the next sequence number of the feed. */
static void receive_all(uint64_t *next)
{
    struct ipc_feed_info info;
    uint64_t seq;

    CHECK(ipc_feed_info(feed, &info, sizeof info) == 0);
    while (*next < info.published) {
        CHECK(ipc_sub_recv(sub, message, sizeof message, &seq, 0) == sizeof message);
        CHECK(seq == *next);
        ++*next;
    }
    CHECK(ipc_sub_recv(sub, message, sizeof message, &seq, 0) == -1 && errno == EAGAIN);
}

int main(void)
{
    struct ipc_feed_opts opts = {.size = 65536};
    const char *path = check_path("feed");
    int before = check_descriptors();
    uint64_t next = 0;
    pthread_t thread;
    int pair[2];

    CHECK(ipc_feed_create(&opts, sizeof opts, &feed) == 0);
    CHECK(ipc_feed_listen(feed, path, 0600, 0) == 0);
    cancel(connects, (void *)path);
    while (check_descriptors() != before + 3)
        CHECK(ipc_feed_service(feed) == 0);

    CHECK(ipc_pair_open(SOCK_SEQPACKET, pair) == 0);
    CHECK(pthread_create(&thread, NULL, subscribes, &pair[1]) == 0);
    CHECK(ipc_feed_add(feed, pair[0]) == 0);
    while (ipc_feed_subscribers(feed, NULL, 0, 0) == 0)
        CHECK(ipc_feed_service(feed) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    CHECK(check_descriptors() == before + 3 + 4);

    for (int i = 0; i < 10; i++) {
        cancel(i % 2 == 0 ? receives : peeks, NULL);
        CHECK(ipc_feed_publish(feed, message, sizeof message, 0) == 0);
        receive_all(&next);
    }
    /* The ring becomes full, and the publisher waits for space. */
    for (int i = 0; i < 10; i++) {
        cancel(i % 2 == 0 ? publishes : reserves, NULL);
        receive_all(&next);
        CHECK(ipc_feed_publish(feed, message, sizeof message, 0) == 0);
        receive_all(&next);
    }
    ipc_sub_close(sub);
    ipc_feed_close(feed);
    CHECK(check_descriptors() <= before + 1); /* a thread that sleeps may have one of its own */
    return 0;
}
