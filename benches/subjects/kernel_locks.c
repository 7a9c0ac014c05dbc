/* Locks of the kernel and the C library, and values that they guard: part of the subject kernel. */
#include "locks.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/sem.h>
#include <sys/syscall.h>

/* Each on cache lines of its own. */
struct locks {
    _Alignas(128) uint32_t futex;
    _Alignas(128) pthread_mutex_t plain;
    _Alignas(128) pthread_mutex_t robust;
    _Alignas(128) pthread_rwlock_t rwlock;
    _Alignas(128) uint32_t sequence; /* odd during a write of the value */
};

static struct locks *locks;

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
        errx(1, "cannot initialise the locks");
}

/* As a reader-writer lock, semaphore 0 counts the readers and semaphore 1 the writers. As a mutex,
 * semaphore 0 is 1 while it is locked. */
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

/* --- lock and unlock --- */

/* Defines a function that calls a pthread function for a lock. */
#define PTHREAD_CALL(name, function, lock)               \
    SUBJECT_INLINE void name(void)                       \
    {                                                    \
        pthread_must(function(&locks->lock), #function); \
    }

PTHREAD_CALL(plain_lock, pthread_mutex_lock, plain)
PTHREAD_CALL(plain_unlock, pthread_mutex_unlock, plain)
PTHREAD_CALL(robust_lock, pthread_mutex_lock, robust)
PTHREAD_CALL(robust_unlock, pthread_mutex_unlock, robust)
PTHREAD_CALL(rwlock_wrlock, pthread_rwlock_wrlock, rwlock)
PTHREAD_CALL(rwlock_rdlock, pthread_rwlock_rdlock, rwlock)
PTHREAD_CALL(rwlock_unlock, pthread_rwlock_unlock, rwlock)

/* The states of the futex lock. In the last one, a process may be sleeping. */
enum { UNLOCKED, LOCKED, CONTENDED };

SUBJECT_INLINE void futex_lock(void)
{
    uint32_t state = UNLOCKED;

    if (__atomic_compare_exchange_n(&locks->futex, &state, LOCKED, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&locks->futex, CONTENDED, __ATOMIC_ACQUIRE) != UNLOCKED)
        syscall(SYS_futex, &locks->futex, FUTEX_WAIT, CONTENDED, NULL, NULL, 0);
}

SUBJECT_INLINE void futex_unlock(void)
{
    if (__atomic_exchange_n(&locks->futex, UNLOCKED, __ATOMIC_RELEASE) == CONTENDED)
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

/* --- operations under a lock --- */

COUNT(plain, locks_prepare, plain_lock, plain_unlock)
COUNT(robust, locks_prepare, robust_lock, robust_unlock)
COUNT(rwlock, locks_prepare, rwlock_wrlock, rwlock_unlock)
COUNT(futex, locks_prepare, futex_lock, futex_unlock)
COUNT(semop, semaphores_prepare, semop_lock, semop_unlock)

/* The limit: no lock. */
static void add(void)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

SUBJECT_REPEAT(add)
static const struct subject_operation adding = {locks_prepare, add_repeat, NULL};

READ_AND_WRITE(plain, locks_prepare, plain_lock, plain_unlock, plain_lock, plain_unlock)
READ_AND_WRITE(robust, locks_prepare, robust_lock, robust_unlock, robust_lock, robust_unlock)
READ_AND_WRITE(rwlock, locks_prepare, rwlock_rdlock, rwlock_unlock, rwlock_wrlock, rwlock_unlock)
READ_AND_WRITE(semop, semaphores_prepare, semop_rdlock, semop_unlock, semop_wrlock, semop_wrunlock)

/* The reader copies the value although a write may be in progress, and accepts the copy only if the
 * sequence number has not changed. */
static void seqlock_read(void)
{
    for (;; subject_count_failure()) {
        uint32_t before = __atomic_load_n(&locks->sequence, __ATOMIC_ACQUIRE);
        if (before % 2 == 0) {
            memcpy(subject_in, value, subject.len);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(&locks->sequence, __ATOMIC_RELAXED) == before)
                break;
        }
        /* A read can fail forever if the writer never pauses. */
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

READING(seqlock, locks_prepare)

/* --- a queue with a mutex and conditions --- */

typedef pthread_mutex_t queue_mutex;
typedef pthread_cond_t queue_cond;

static void *queue_memory(size_t size)
{
    return subject_memory(size);
}

static void queue_init(queue_mutex *mutex, queue_cond *filled, queue_cond *emptied)
{
    pthread_mutexattr_t mutex_attributes;
    pthread_condattr_t cond_attributes;

    if (pthread_mutexattr_init(&mutex_attributes) != 0 ||
        pthread_condattr_init(&cond_attributes) != 0 ||
        pthread_mutexattr_setpshared(&mutex_attributes, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_condattr_setpshared(&cond_attributes, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_mutex_init(mutex, &mutex_attributes) != 0 ||
        pthread_cond_init(filled, &cond_attributes) != 0 ||
        pthread_cond_init(emptied, &cond_attributes) != 0)
        errx(1, "cannot initialise the queue");
}

SUBJECT_INLINE void queue_lock(queue_mutex *mutex)
{
    pthread_must(pthread_mutex_lock(mutex), "pthread_mutex_lock");
}

SUBJECT_INLINE void queue_unlock(queue_mutex *mutex)
{
    pthread_must(pthread_mutex_unlock(mutex), "pthread_mutex_unlock");
}

SUBJECT_INLINE void queue_wait(queue_cond *cond, queue_mutex *mutex)
{
    pthread_must(pthread_cond_wait(cond, mutex), "pthread_cond_wait");
}

SUBJECT_INLINE void queue_signal(queue_cond *cond)
{
    pthread_must(pthread_cond_signal(cond), "pthread_cond_signal");
}

#include "cond_queue.h"

/* --- rows --- */

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
    SUBJECT_TRANSPORT("cond", "pthread mutex and condition", "", NULL, queue),
    {0},
};
