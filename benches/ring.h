/*
 * A minimal ring between two processes, which is the limit for all other rings: one shared mapping
 * that both processes can write, two cursors, and a length before each message. It spins and never
 * sleeps, trusts the other process, and does not detect that it has died.
 */
#ifndef RING_H
#define RING_H

#include <err.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_PAGE 4096

/* Each cursor is on cache lines of its own. */
struct ring_cursors {
    _Alignas(128) atomic_ulong tail; /* bytes that have been written */
    _Alignas(128) atomic_ulong head; /* bytes that have been read */
};

/* The private state of one process, which either sends or receives. */
struct ring {
    _Alignas(128) struct ring_cursors *cursors;
    char *data;
    size_t size;
    unsigned long own, cached; /* the own cursor, and the last value seen of the other one */
};

/* `size` must be a power of two, and at least a page. The data are mapped twice in a row. */
static inline struct ring ring_new(size_t size)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(RING_PAGE + size)) < 0)
        err(1, "memfd");
    char *at = mmap(NULL, RING_PAGE + 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED ||
        mmap(at, RING_PAGE + size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED ||
        mmap(at + RING_PAGE + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             RING_PAGE) == MAP_FAILED)
        err(1, "mmap");
    close(fd);
    return (struct ring){(struct ring_cursors *)(void *)at, at + RING_PAGE, size, 0, 0};
}

static inline void ring_free(struct ring *ring)
{
    munmap(ring->cursors, RING_PAGE + 2 * ring->size);
}

static inline size_t ring_record(size_t len)
{
    return (len + 4 + 7) & ~(size_t)7;
}

static inline void ring_send(struct ring *ring, const void *message, size_t len)
{
    size_t need = ring_record(len);
    while (ring->size - (ring->own - ring->cached) < need)
        ring->cached = atomic_load_explicit(&ring->cursors->head, memory_order_acquire);
    char *at = ring->data + (ring->own & (ring->size - 1));
    uint32_t length = (uint32_t)len;
    memcpy(at, &length, 4);
    memcpy(at + 4, message, len);
    ring->own += need;
    atomic_store_explicit(&ring->cursors->tail, ring->own, memory_order_release);
}

static inline size_t ring_recv(struct ring *ring, void *message)
{
    while (ring->own == ring->cached)
        ring->cached = atomic_load_explicit(&ring->cursors->tail, memory_order_acquire);
    const char *at = ring->data + (ring->own & (ring->size - 1));
    uint32_t len;
    memcpy(&len, at, 4);
    memcpy(message, at + 4, len);
    ring->own += ring_record(len);
    atomic_store_explicit(&ring->cursors->head, ring->own, memory_order_release);
    return len;
}

#endif
