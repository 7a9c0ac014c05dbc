/*
 * A minimal ring from one process to several, which is the limit for all other broadcasts: the
 * writer's cursor, a cursor for each reader, and a length before each message, in one shared mapping
 * that all processes can write. It never sleeps, trusts the other processes, and does not detect
 * that one has died.
 */
#ifndef BROADCAST_H
#define BROADCAST_H

#include "ring.h"

#include <stdbool.h>

#define BROADCAST_READERS_MAX 30

/* A cursor on cache lines of its own. */
struct broadcast_cursor {
    _Alignas(128) atomic_ulong at;
};

/* They have the page of a ring's cursors. */
struct broadcast_cursors {
    struct broadcast_cursor tail, heads[BROADCAST_READERS_MAX];
};

/* The private state of one process. */
struct broadcast {
    _Alignas(128) struct broadcast_cursors *cursors;
    char *data;
    size_t size;
    /* The own cursor, and the last value seen of the writer's one or of the slowest reader's one. */
    unsigned long own, cached;
    int readers;                   /* the number of readers, for the writer */
    struct broadcast_cursor *head; /* the own one, for a reader */
};

/* `size` is as for ring_new. The result is for the writer. */
static inline struct broadcast broadcast_new(size_t size, int readers)
{
    struct ring ring = ring_new(size);

    _Static_assert(sizeof(struct broadcast_cursors) <= RING_PAGE, "the cursors exceed the page");
    return (struct broadcast){.cursors = (struct broadcast_cursors *)(void *)ring.cursors,
                              .data = ring.data,
                              .size = size,
                              .readers = readers};
}

/* Makes it that of a reader, which must call this before the first message. */
static inline void broadcast_read(struct broadcast *broadcast, int reader)
{
    broadcast->head = &broadcast->cursors->heads[reader];
}

static inline unsigned long broadcast_slowest(const struct broadcast *broadcast)
{
    unsigned long unread = 0;

    for (int i = 0; i < broadcast->readers; i++) {
        unsigned long head =
            atomic_load_explicit(&broadcast->cursors->heads[i].at, memory_order_acquire);
        unread = broadcast->own - head > unread ? broadcast->own - head : unread;
    }
    return broadcast->own - unread;
}

/* Returns false if a reader leaves no space. */
static inline bool broadcast_try_send(struct broadcast *broadcast, const void *message, size_t len)
{
    size_t need = ring_record(len);
    if (broadcast->size - (broadcast->own - broadcast->cached) < need) {
        broadcast->cached = broadcast_slowest(broadcast);
        if (broadcast->size - (broadcast->own - broadcast->cached) < need)
            return false;
    }
    char *at = broadcast->data + (broadcast->own & (broadcast->size - 1));
    uint32_t length = (uint32_t)len;
    memcpy(at, &length, 4);
    memcpy(at + 4, message, len);
    broadcast->own += need;
    atomic_store_explicit(&broadcast->cursors->tail.at, broadcast->own, memory_order_release);
    return true;
}

/* Returns the length of the message; 0 if there is none. */
static inline size_t broadcast_try_recv(struct broadcast *broadcast, void *message)
{
    if (broadcast->own == broadcast->cached) {
        broadcast->cached =
            atomic_load_explicit(&broadcast->cursors->tail.at, memory_order_acquire);
        if (broadcast->own == broadcast->cached)
            return 0;
    }
    const char *at = broadcast->data + (broadcast->own & (broadcast->size - 1));
    uint32_t len;
    memcpy(&len, at, 4);
    memcpy(message, at + 4, len);
    broadcast->own += ring_record(len);
    atomic_store_explicit(&broadcast->head->at, broadcast->own, memory_order_release);
    return len;
}

#endif
