/* This library's locks and values: part of unixipc. */
#include "subject.h"

#include <unixipc.h>

/* Each on cache lines of its own. */
static struct locks {
    _Alignas(128) struct ipc_mutex mutex;
    _Alignas(128) struct ipc_rwlock rwlock;
} *locks;

static char *value; /* what processes share; each has its copies in subject_in and subject_out */
static uint64_t last;
static int semlock;
static struct ipc_cell *cell;

static void *region(size_t size)
{
    struct ipc_shm *shm;

    subject_must(ipc_shm_create(size, NULL, 0, &shm), "ipc_shm_create");
    return ipc_shm_addr(shm);
}

static void locks_prepare(void)
{
    locks = region(sizeof(*locks));
    value = region(subject.len);
    subject_must(ipc_mutex_init(&locks->mutex, 0), "ipc_mutex_init");
    subject_must(ipc_rwlock_init(&locks->rwlock, 0), "ipc_rwlock_init");
}

static void semlock_prepare(void)
{
    locks_prepare();
    subject_must(semlock = ipc_semlock_open(subject_key(), IPC_CREAT | IPC_EXCL | 0600),
                 "ipc_semlock_open");
}

static void cell_make(unsigned int flags)
{
    size_t size = ipc_cell_memory_size(subject.len);

    subject_must(ipc_cell_init(region(size), size, subject.len, flags, &cell), "ipc_cell_init");
    subject_value_fill(subject_out, subject.len, last);
    subject_must(ipc_cell_store(cell, subject_out, subject.len, -1), "ipc_cell_store");
}

static void cell_prepare(void)
{
    cell_make(0);
}

static void waitable_prepare(void)
{
    cell_make(IPC_CELL_F_WAITABLE);
}

/* 1 would be the death of an owner, and nobody dies here. */
SUBJECT_INLINE void lock_must(int result, const char *what)
{
    subject_must(result, what);
    if (result != 0)
        errx(1, "%s: an owner has died", what);
}

SUBJECT_INLINE void mutex_lock(void)
{
    lock_must(ipc_mutex_lock(&locks->mutex, -1), "ipc_mutex_lock");
}

SUBJECT_INLINE void mutex_unlock(void)
{
    lock_must(ipc_mutex_unlock(&locks->mutex), "ipc_mutex_unlock");
}

SUBJECT_INLINE void rwlock_rdlock(void)
{
    lock_must(ipc_rwlock_rdlock(&locks->rwlock, -1), "ipc_rwlock_rdlock");
}

SUBJECT_INLINE void rwlock_rdunlock(void)
{
    lock_must(ipc_rwlock_rdunlock(&locks->rwlock), "ipc_rwlock_rdunlock");
}

SUBJECT_INLINE void rwlock_wrlock(void)
{
    lock_must(ipc_rwlock_wrlock(&locks->rwlock, -1), "ipc_rwlock_wrlock");
}

SUBJECT_INLINE void rwlock_wrunlock(void)
{
    lock_must(ipc_rwlock_wrunlock(&locks->rwlock), "ipc_rwlock_wrunlock");
}

SUBJECT_INLINE void semlock_rdlock(void)
{
    lock_must(ipc_semlock_rdlock(semlock, -1), "ipc_semlock_rdlock");
}

SUBJECT_INLINE void semlock_rdunlock(void)
{
    lock_must(ipc_semlock_rdunlock(semlock), "ipc_semlock_rdunlock");
}

SUBJECT_INLINE void semlock_wrlock(void)
{
    lock_must(ipc_semlock_wrlock(semlock, -1), "ipc_semlock_wrlock");
}

SUBJECT_INLINE void semlock_wrunlock(void)
{
    lock_must(ipc_semlock_wrunlock(semlock), "ipc_semlock_wrunlock");
}

#define COUNT(name, lock, unlock)  \
    static void name##_count(void) \
    {                              \
        lock();                    \
        subject_count();           \
        unlock();                  \
    }                              \
    SUBJECT_WORK(name##_count)

COUNT(mutex, mutex_lock, mutex_unlock)
COUNT(rwlock, rwlock_wrlock, rwlock_wrunlock)
COUNT(semlock, semlock_wrlock, semlock_wrunlock)

#define READ_AND_WRITE(name, rdlock, rdunlock, wrlock, wrunlock)   \
    static void name##_read(void)                                  \
    {                                                              \
        rdlock();                                                  \
        memcpy(subject_in, value, subject.len);                    \
        rdunlock();                                                \
        last = subject_value_check(subject_in, subject.len, last); \
    }                                                              \
    static void name##_write(void)                                 \
    {                                                              \
        subject_value_fill(subject_out, subject.len, ++last);      \
        wrlock();                                                  \
        memcpy(value, subject_out, subject.len);                   \
        wrunlock();                                                \
    }                                                              \
    SUBJECT_WORK(name##_read)                                      \
    SUBJECT_WORK(name##_write)

READ_AND_WRITE(mutex, mutex_lock, mutex_unlock, mutex_lock, mutex_unlock)
READ_AND_WRITE(rwlock, rwlock_rdlock, rwlock_rdunlock, rwlock_wrlock, rwlock_wrunlock)
READ_AND_WRITE(semlock, semlock_rdlock, semlock_rdunlock, semlock_wrlock, semlock_wrunlock)

/* A load that writers have overtaken too often says so, and is made again. */
static void cell_read(void)
{
    ssize_t got;

    while ((got = ipc_cell_load(cell, subject_in, subject.len, NULL)) < 0 && errno == EAGAIN) {
        subject_failed();
        if (__atomic_load_n(subject_stop, __ATOMIC_RELAXED) != 0)
            return;
    }
    if (got != (ssize_t)subject.len)
        err(1, "ipc_cell_load");
    last = subject_value_check(subject_in, subject.len, last);
}

static void cell_write(void)
{
    subject_value_fill(subject_out, subject.len, ++last);
    subject_must(ipc_cell_store(cell, subject_out, subject.len, -1), "ipc_cell_store");
}

SUBJECT_WORK(cell_read)
SUBJECT_WORK(cell_write)

/* Making one, using it once, and away with it. */
static void key_prepare(void)
{
    subject_key();
}

static void semlock_setup(void)
{
    subject_must(semlock = ipc_semlock_open(subject_key(), IPC_CREAT | IPC_EXCL | 0600),
                 "ipc_semlock_open");
    semlock_wrlock();
    semlock_wrunlock();
    subject_must(ipc_semlock_remove(semlock), "ipc_semlock_remove");
}

SUBJECT_WORK(semlock_setup)

/* --- a queue under a mutex, with conditions to sleep on --- */

/* With one writer and one reader it is enough to signal when the other one can be waiting. */

static struct queue {
    _Alignas(128) struct ipc_mutex mutex;
    struct ipc_cond filled, emptied;
    uint64_t written, read; /* messages */
    size_t slots;
} *queues[2];

static void queue_prepare(void)
{
    size_t size = subject_ring_size();

    for (int i = 0; i < 2; i++) {
        struct queue *queue = region(sizeof(*queue) + size);
        queue->slots = size / subject.len;
        subject_must(ipc_mutex_init(&queue->mutex, 0), "ipc_mutex_init");
        subject_must(ipc_cond_init(&queue->filled, 0), "ipc_cond_init");
        subject_must(ipc_cond_init(&queue->emptied, 0), "ipc_cond_init");
        queues[i] = queue;
    }
}

SUBJECT_INLINE void queue_put(size_t len, uint64_t n)
{
    struct queue *queue = queues[subject_side];

    subject_fill(subject_out, len, n);
    lock_must(ipc_mutex_lock(&queue->mutex, -1), "ipc_mutex_lock");
    while (queue->written - queue->read == queue->slots)
        lock_must(ipc_cond_wait(&queue->emptied, &queue->mutex, -1), "ipc_cond_wait");
    bool was_empty = queue->written == queue->read;
    memcpy((char *)(queue + 1) + queue->written++ % queue->slots * len, subject_out, len);
    lock_must(ipc_mutex_unlock(&queue->mutex), "ipc_mutex_unlock");
    if (was_empty)
        subject_must(ipc_cond_signal(&queue->filled), "ipc_cond_signal");
}

SUBJECT_INLINE void queue_get(size_t len, uint64_t n)
{
    struct queue *queue = queues[1 - subject_side];

    lock_must(ipc_mutex_lock(&queue->mutex, -1), "ipc_mutex_lock");
    while (queue->written == queue->read)
        lock_must(ipc_cond_wait(&queue->filled, &queue->mutex, -1), "ipc_cond_wait");
    bool was_full = queue->written - queue->read == queue->slots;
    memcpy(subject_in, (char *)(queue + 1) + queue->read++ % queue->slots * len, len);
    lock_must(ipc_mutex_unlock(&queue->mutex), "ipc_mutex_unlock");
    if (was_full)
        subject_must(ipc_cond_signal(&queue->emptied), "ipc_cond_signal");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(queue)

/* --- all of them --- */

static const struct subject_way queue = {queue_prepare, NULL, queue_loop, NULL};
static const struct subject_work mutex_counting = {locks_prepare, mutex_count_work, NULL};
static const struct subject_work rwlock_counting = {locks_prepare, rwlock_count_work, NULL};
static const struct subject_work semlock_counting = {semlock_prepare, semlock_count_work, NULL};
static const struct subject_work semlock_made = {key_prepare, semlock_setup_work, NULL};
static const struct subject_work mutex_reading = {locks_prepare, mutex_read_work, mutex_write_work};
static const struct subject_work rwlock_reading = {locks_prepare, rwlock_read_work,
                                                   rwlock_write_work};
static const struct subject_work semlock_reading = {semlock_prepare, semlock_read_work,
                                                    semlock_write_work};
static const struct subject_work cell_reading = {cell_prepare, cell_read_work, cell_write_work};
static const struct subject_work waitable_reading = {waitable_prepare, cell_read_work,
                                                     cell_write_work};

const struct subject_row unixipc_locks[] = {
    SUBJECT_LOCK("mutex", "ipc_mutex", "ours", mutex_counting),
    SUBJECT_LOCK("rwlock", "ipc_rwlock", "ours", rwlock_counting),
    SUBJECT_LOCK("semlock", "ipc_semlock", "ours", semlock_counting),
    SUBJECT_VALUE("cell", "ipc_cell", "ours", cell_reading),
    SUBJECT_VALUE("cell-waitable", "ipc_cell, waitable", "ours", waitable_reading),
    SUBJECT_VALUE("mutex", "ipc_mutex", "ours", mutex_reading),
    SUBJECT_VALUE("rwlock", "ipc_rwlock", "ours", rwlock_reading),
    SUBJECT_VALUE("semlock", "ipc_semlock", "ours", semlock_reading),
    {"cond", "latency-block", "ipc_mutex and ipc_cond", "ours", 0, &queue, NULL},
    {"cond", "rate", "ipc_mutex and ipc_cond", "ours", 0, &queue, NULL},
    {"semlock", "setup", "ipc_semlock", "ours", 0, NULL, &semlock_made},
    {0},
};
