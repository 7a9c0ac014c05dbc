/*
 * The transport `queue`: a queue in shared memory, with a mutex and two conditions to sleep on.
 *
 * The including file defines the types queue_mutex and queue_cond, and these functions:
 *
 *     void *queue_memory(size_t size);
 *     void queue_init(queue_mutex *mutex, queue_cond *filled, queue_cond *emptied);
 *     void queue_lock(queue_mutex *mutex);
 *     void queue_unlock(queue_mutex *mutex);
 *     void queue_wait(queue_cond *cond, queue_mutex *mutex);
 *     void queue_signal(queue_cond *cond);
 */
#ifndef COND_QUEUE_H
#define COND_QUEUE_H

#include "subject.h"

struct queue {
    _Alignas(128) queue_mutex mutex;
    queue_cond filled, emptied;
    uint64_t written, read; /* messages */
    size_t slots;
};

static struct queue *queues[2];

static void queue_prepare(void)
{
    size_t size = subject_ring_size();

    for (int i = 0; i < 2; i++) {
        struct queue *queue = queue_memory(sizeof(*queue) + size);
        queue->slots = size / subject.len;
        queue_init(&queue->mutex, &queue->filled, &queue->emptied);
        queues[i] = queue;
    }
}

/* With one writer and one reader, a signal is necessary only if the other one can be waiting. */
SUBJECT_INLINE void queue_put(size_t len, uint64_t n)
{
    struct queue *queue = queues[subject_side];

    subject_fill(subject_out, len, n);
    queue_lock(&queue->mutex);
    while (queue->written - queue->read == queue->slots)
        queue_wait(&queue->emptied, &queue->mutex);
    bool was_empty = queue->written == queue->read;
    memcpy((char *)(queue + 1) + queue->written++ % queue->slots * len, subject_out, len);
    queue_unlock(&queue->mutex);
    if (was_empty)
        queue_signal(&queue->filled);
}

SUBJECT_INLINE void queue_get(size_t len, uint64_t n)
{
    struct queue *queue = queues[1 - subject_side];

    queue_lock(&queue->mutex);
    while (queue->written == queue->read)
        queue_wait(&queue->filled, &queue->mutex);
    bool was_full = queue->written - queue->read == queue->slots;
    memcpy(subject_in, (char *)(queue + 1) + queue->read++ % queue->slots * len, len);
    queue_unlock(&queue->mutex);
    if (was_full)
        queue_signal(&queue->emptied);
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(queue)

static const struct subject_transport queue = {queue_prepare, NULL, queue_loop, NULL};

#endif
