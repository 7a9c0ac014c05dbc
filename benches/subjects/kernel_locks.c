/* Locks of the kernel and the C library, and values that are read under them: part of kernel. */
#include "subject.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/sem.h>
#include <sys/syscall.h>

/* Each on cache lines of its own. */
static struct locks {
    _Alignas(128) uint32_t futex;
    _Alignas(128) pthread_mutex_t plain;
    _Alignas(128) pthread_mutex_t robust;
    _Alignas(128) pthread_rwlock_t rwlock;
    _Alignas(128) uint32_t sequence; /* odd while the value is written */
} *locks;

static char *value; /* what processes share; each has its copies in subject_in and subject_out */
static uint64_t last;
static uint64_t *word;
static int semaphores;

static void locks_prepare(void)
{
    pthread_mutexattr_t mutex;
    pthread_rwlockattr_t rwlock;

    locks = subject_memory(sizeof(*locks));
    word = subject_memory(sizeof(*word));
    value = subject_memory(subject.len);
    if (pthread_mutexattr_init(&mutex) != 0 || pthread_rwlockattr_init(&rwlock) != 0 ||
        pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_mutex_init(&locks->plain, &mutex) != 0 ||
        pthread_rwlock_init(&locks->rwlock, &rwlock) != 0 ||
        pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST) != 0 ||
        pthread_mutex_init(&locks->robust, &mutex) != 0)
        errx(1, "the locks cannot be made");
}

/* Number 0 counts the readers, 1 the writers; or 0 is a lock, which is taken by adding one. */
static void semaphores_prepare(void)
{
    locks_prepare();
    subject_must(semaphores = semget(subject_key(), 2, IPC_CREAT | IPC_EXCL | 0600), "semget");
}

static inline void pthread_must(int result, const char *what)
{
    if (result != 0)
        errx(1, "%s: %s", what, strerror(result));
}

/* --- to lock, and to unlock --- */

SUBJECT_INLINE void plain_lock(void)
{
    pthread_must(pthread_mutex_lock(&locks->plain), "pthread_mutex_lock");
}

SUBJECT_INLINE void plain_unlock(void)
{
    pthread_must(pthread_mutex_unlock(&locks->plain), "pthread_mutex_unlock");
}

SUBJECT_INLINE void robust_lock(void)
{
    pthread_must(pthread_mutex_lock(&locks->robust), "pthread_mutex_lock");
}

SUBJECT_INLINE void robust_unlock(void)
{
    pthread_must(pthread_mutex_unlock(&locks->robust), "pthread_mutex_unlock");
}

SUBJECT_INLINE void rwlock_wrlock(void)
{
    pthread_must(pthread_rwlock_wrlock(&locks->rwlock), "pthread_rwlock_wrlock");
}

SUBJECT_INLINE void rwlock_rdlock(void)
{
    pthread_must(pthread_rwlock_rdlock(&locks->rwlock), "pthread_rwlock_rdlock");
}

SUBJECT_INLINE void rwlock_unlock(void)
{
    pthread_must(pthread_rwlock_unlock(&locks->rwlock), "pthread_rwlock_unlock");
}

/* Free, taken, or taken and somebody may sleep. */
enum { FREE, TAKEN, WANTED };

SUBJECT_INLINE void futex_lock(void)
{
    uint32_t was = FREE;

    if (__atomic_compare_exchange_n(&locks->futex, &was, TAKEN, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&locks->futex, WANTED, __ATOMIC_ACQUIRE) != FREE)
        syscall(SYS_futex, &locks->futex, FUTEX_WAIT, WANTED, NULL, NULL, 0);
}

SUBJECT_INLINE void futex_unlock(void)
{
    if (__atomic_exchange_n(&locks->futex, FREE, __ATOMIC_RELEASE) == WANTED)
        syscall(SYS_futex, &locks->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

SUBJECT_INLINE void operate(struct sembuf *operations, size_t count)
{
    while (semop(semaphores, operations, count) < 0)
        if (errno != EINTR)
            err(1, "semop");
}

SUBJECT_INLINE void semop_lock(void)
{
    struct sembuf enter[] = {{0, 0, 0}, {0, 1, SEM_UNDO}};
    operate(enter, 2);
}

SUBJECT_INLINE void semop_unlock(void)
{
    struct sembuf leave = {0, -1, SEM_UNDO};
    operate(&leave, 1);
}

SUBJECT_INLINE void semop_rdlock(void)
{
    struct sembuf enter[] = {{1, 0, 0}, {0, 1, SEM_UNDO}};
    operate(enter, 2);
}

SUBJECT_INLINE void semop_wrlock(void)
{
    struct sembuf enter[] = {{0, 0, 0}, {1, 0, 0}, {1, 1, SEM_UNDO}};
    operate(enter, 3);
}

SUBJECT_INLINE void semop_wrunlock(void)
{
    struct sembuf leave = {1, -1, SEM_UNDO};
    operate(&leave, 1);
}

/* --- what is done under them --- */

#define COUNT(name, lock, unlock)  \
    static void name##_count(void) \
    {                              \
        lock();                    \
        subject_count();           \
        unlock();                  \
    }                              \
    SUBJECT_WORK(name##_count)

COUNT(plain, plain_lock, plain_unlock)
COUNT(robust, robust_lock, robust_unlock)
COUNT(rwlock, rwlock_wrlock, rwlock_unlock)
COUNT(futex, futex_lock, futex_unlock)
COUNT(semop, semop_lock, semop_unlock)

/* What there is without a lock, as the limit. */
static void add(void)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

SUBJECT_WORK(add)

#define READ(name, lock, unlock)                                  \
    static void name##_read(void)                                 \
    {                                                             \
        lock();                                                   \
        memcpy(subject_in, value, subject.len);                   \
        unlock();                                                 \
        last = subject_value_check(subject_in, subject.len, last); \
    }                                                             \
    SUBJECT_WORK(name##_read)

#define WRITE(name, lock, unlock)                                \
    static void name##_write(void)                               \
    {                                                            \
        subject_value_fill(subject_out, subject.len, ++last);    \
        lock();                                                  \
        memcpy(value, subject_out, subject.len);                 \
        unlock();                                                \
    }                                                            \
    SUBJECT_WORK(name##_write)

READ(plain, plain_lock, plain_unlock)
WRITE(plain, plain_lock, plain_unlock)
READ(robust, robust_lock, robust_unlock)
WRITE(robust, robust_lock, robust_unlock)
READ(rwlock, rwlock_rdlock, rwlock_unlock)
WRITE(rwlock, rwlock_wrlock, rwlock_unlock)
READ(semop, semop_rdlock, semop_unlock)
WRITE(semop, semop_wrlock, semop_wrunlock)

/* The reader copies what may be written meanwhile, and takes it only if the number has stayed. */
static void seqlock_read(void)
{
    for (;; subject_failed()) {
        uint32_t before = __atomic_load_n(&locks->sequence, __ATOMIC_ACQUIRE);
        if (before % 2 == 0) {
            memcpy(subject_in, value, subject.len);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(&locks->sequence, __ATOMIC_RELAXED) == before)
                break;
        }
        /* With a writer that never pauses, a read may fail for ever. */
        if (__atomic_load_n(subject_stop, __ATOMIC_RELAXED) != 0)
            return;
    }
    last = subject_value_check(subject_in, subject.len, last);
}

static void seqlock_write(void)
{
    uint32_t before = locks->sequence;

    subject_value_fill(subject_out, subject.len, ++last);
    __atomic_store_n(&locks->sequence, before + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(value, subject_out, subject.len);
    __atomic_store_n(&locks->sequence, before + 2, __ATOMIC_RELEASE);
}

SUBJECT_WORK(seqlock_read)
SUBJECT_WORK(seqlock_write)

/* --- a queue under a mutex, with conditions to sleep on --- */

/* With one writer and one reader it is enough to signal when the other one can be waiting. */

static struct queue {
    _Alignas(128) pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    uint64_t written, read; /* messages */
    size_t slots;
} *queues[2];

static void queue_prepare(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;
    size_t size = subject_ring_size();

    for (int i = 0; i < 2; i++) {
        struct queue *queue = subject_memory(sizeof(*queue) + size);
        queue->slots = size / subject.len;
        if (pthread_mutexattr_init(&mutex) != 0 || pthread_condattr_init(&cond) != 0 ||
            pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) != 0 ||
            pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED) != 0 ||
            pthread_mutex_init(&queue->mutex, &mutex) != 0 ||
            pthread_cond_init(&queue->filled, &cond) != 0 ||
            pthread_cond_init(&queue->emptied, &cond) != 0)
            errx(1, "the queue cannot be made");
        queues[i] = queue;
    }
}

SUBJECT_INLINE void queue_put(size_t len, uint64_t n)
{
    struct queue *queue = queues[subject_side];

    subject_fill(subject_out, len, n);
    pthread_must(pthread_mutex_lock(&queue->mutex), "pthread_mutex_lock");
    while (queue->written - queue->read == queue->slots)
        pthread_must(pthread_cond_wait(&queue->emptied, &queue->mutex), "pthread_cond_wait");
    bool was_empty = queue->written == queue->read;
    memcpy((char *)(queue + 1) + queue->written++ % queue->slots * len, subject_out, len);
    pthread_must(pthread_mutex_unlock(&queue->mutex), "pthread_mutex_unlock");
    if (was_empty)
        pthread_must(pthread_cond_signal(&queue->filled), "pthread_cond_signal");
}

SUBJECT_INLINE void queue_get(size_t len, uint64_t n)
{
    struct queue *queue = queues[1 - subject_side];

    pthread_must(pthread_mutex_lock(&queue->mutex), "pthread_mutex_lock");
    while (queue->written == queue->read)
        pthread_must(pthread_cond_wait(&queue->filled, &queue->mutex), "pthread_cond_wait");
    bool was_full = queue->written - queue->read == queue->slots;
    memcpy(subject_in, (char *)(queue + 1) + queue->read++ % queue->slots * len, len);
    pthread_must(pthread_mutex_unlock(&queue->mutex), "pthread_mutex_unlock");
    if (was_full)
        pthread_must(pthread_cond_signal(&queue->emptied), "pthread_cond_signal");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(queue)

/* --- all of them --- */

static const struct subject_way queue = {queue_prepare, NULL, queue_loop, NULL};

static const struct subject_work adding = {locks_prepare, add_work, NULL};
static const struct subject_work plain_counting = {locks_prepare, plain_count_work, NULL};
static const struct subject_work robust_counting = {locks_prepare, robust_count_work, NULL};
static const struct subject_work rwlock_counting = {locks_prepare, rwlock_count_work, NULL};
static const struct subject_work futex_counting = {locks_prepare, futex_count_work, NULL};
static const struct subject_work semop_counting = {semaphores_prepare, semop_count_work, NULL};

static const struct subject_work plain_reading = {locks_prepare, plain_read_work, plain_write_work};
static const struct subject_work robust_reading = {locks_prepare, robust_read_work,
                                                   robust_write_work};
static const struct subject_work rwlock_reading = {locks_prepare, rwlock_read_work,
                                                   rwlock_write_work};
static const struct subject_work semop_reading = {semaphores_prepare, semop_read_work,
                                                  semop_write_work};
static const struct subject_work seqlock_reading = {locks_prepare, seqlock_read_work,
                                                    seqlock_write_work};

const struct subject_row kernel_locks[] = {
    SUBJECT_LOCK("atomic", "atomic add", "limit", adding),
    SUBJECT_LOCK("futex", "futex lock", "", futex_counting),
    SUBJECT_LOCK("pthread", "pthread mutex", "", plain_counting),
    SUBJECT_LOCK("robust", "pthread mutex, robust", "", robust_counting),
    SUBJECT_LOCK("rwlock", "pthread rwlock", "", rwlock_counting),
    SUBJECT_LOCK("semop", "semop with SEM_UNDO", "", semop_counting),
    SUBJECT_VALUE("pthread", "pthread mutex", "", plain_reading),
    SUBJECT_VALUE("robust", "pthread mutex, robust", "", robust_reading),
    SUBJECT_VALUE("rwlock", "pthread rwlock", "", rwlock_reading),
    SUBJECT_VALUE("semop", "semop with SEM_UNDO", "", semop_reading),
    SUBJECT_VALUE("seqlock", "seqlock", "", seqlock_reading),
    {"cond", "latency-block", "pthread mutex and condition", "", 0, &queue, NULL},
    {"cond", "rate", "pthread mutex and condition", "", 0, &queue, NULL},
    {0},
};
