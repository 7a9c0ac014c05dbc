/*
 * The publisher and the subscribers of a feed that are made with system calls and without the
 * library: the layout of their memory, and the publication of a message.
 */
#ifndef FEED_H
#define FEED_H

#include "peer.h"

/* The offsets of a publisher's control words, and of a subscriber's. */
enum feed_word {
    FEED_TAIL = 0,
    FEED_COUNT = 8,
    FEED_ASYMMETRIC = 16,
    FEED_OLDEST = 128,
    FEED_MARKS = 256,
    FEED_DEMOTIONS = 320,
    FEED_ENDED = 324,
    FEED_SPACE = 384,
    FEED_CPU = 388,
    FEED_ID = 512,
    SUB_HEAD = 0,
    SUB_SEQUENCE = 8,
    SUB_LOST = 16,
    SUB_RECEIVER = 128,
    SUB_CPU = 132,
};

#define PAGE_SIZE 65536 /* the memory of a subscriber */

static inline void put(uint8_t *hello, size_t at, uint64_t value, size_t len)
{
    memcpy(hello + at, &value, len);
}

static inline size_t feed_place(uint64_t cursor)
{
    return CONTROL_SIZE + (cursor & (RING_SIZE - 8));
}

static inline uint64_t feed_record_size(uint64_t len)
{
    return (len + 8 + 7) & ~(uint64_t)7;
}

/* The ring of a hostile publisher. */
struct ring {
    uint64_t tail, count, oldest;
    unsigned marks;
};

/* Publishes a message as the protocol requires. */
static inline void publish_message(struct peer *peer, struct ring *ring, uint32_t len)
{
    uint64_t next = ring->tail + feed_record_size(len);

    while (next - ring->oldest > RING_SIZE - 8) {
        uint64_t size = feed_record_size(get32(peer->own, feed_place(ring->oldest) + 4));

        ring->oldest = ring->tail - ring->oldest < size ? ring->tail : ring->oldest + size;
    }
    set64(peer, FEED_OLDEST, ring->oldest);
    set64(peer, feed_place(ring->tail + 8), ring->count);
    set32(peer, feed_place(next), (uint32_t)++ring->count);
    set32(peer, feed_place(next) + 4, 0);
    set64(peer, FEED_TAIL, next);
    set32(peer, feed_place(ring->tail) + 4, len);
    set64(peer, FEED_COUNT, ring->count);
    set64(peer, FEED_MARKS + 8 * (ring->marks++ % 8), ring->tail);
    ring->tail = next;
}

#endif
