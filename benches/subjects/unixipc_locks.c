/* Locks and values of unixipc: part of the subject unixipc. */
#include "locks.h"

#include <unixipc.h>

/* Each on cache lines of its own. */
struct locks {
    _Alignas(128) struct ipc_mutex mutex;
    _Alignas(128) struct ipc_rwlock rwlock;
};

static struct locks *locks;

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

static void make_cell(unsigned int flags)
{
    size_t size = ipc_cell_memory_size(subject.len);

    subject_must(ipc_cell_init(region(size), size, subject.len, flags, &cell), "ipc_cell_init");
    subject_value_fill(subject_out, subject.len, last);
    subject_must(ipc_cell_store(cell, subject_out, subject.len, -1), "ipc_cell_store");
}

static void cell_prepare(void)
{
    make_cell(0);
}

static void waitable_prepare(void)
{
    make_cell(IPC_CELL_F_WAITABLE);
}

/* The result 1 would be IPC_OWNER_DIED, but no owner dies here. */
SUBJECT_INLINE void lock_must(int result, const char *what)
{
    subject_must(result, what);
    if (result != 0)
        errx(1, "%s: the owner died", what);
}

/* Defines a function that locks or unlocks. The arguments after `name` are the call. */
#define LOCK_CALL(name, function, ...)               \
    SUBJECT_INLINE void name(void)                   \
    {                                                \
        lock_must(function(__VA_ARGS__), #function); \
    }

LOCK_CALL(mutex_lock, ipc_mutex_lock, &locks->mutex, -1)
LOCK_CALL(mutex_unlock, ipc_mutex_unlock, &locks->mutex)
LOCK_CALL(rwlock_rdlock, ipc_rwlock_rdlock, &locks->rwlock, -1)
LOCK_CALL(rwlock_rdunlock, ipc_rwlock_rdunlock, &locks->rwlock)
LOCK_CALL(rwlock_wrlock, ipc_rwlock_wrlock, &locks->rwlock, -1)
LOCK_CALL(rwlock_wrunlock, ipc_rwlock_wrunlock, &locks->rwlock)
LOCK_CALL(semlock_rdlock, ipc_semlock_rdlock, semlock, -1)
LOCK_CALL(semlock_rdunlock, ipc_semlock_rdunlock, semlock)
LOCK_CALL(semlock_wrlock, ipc_semlock_wrlock, semlock, -1)
LOCK_CALL(semlock_wrunlock, ipc_semlock_wrunlock, semlock)

COUNT(mutex, locks_prepare, mutex_lock, mutex_unlock)
COUNT(rwlock, locks_prepare, rwlock_wrlock, rwlock_wrunlock)
COUNT(semlock, semlock_prepare, semlock_wrlock, semlock_wrunlock)

READ_AND_WRITE(mutex, locks_prepare, mutex_lock, mutex_unlock, mutex_lock, mutex_unlock)
READ_AND_WRITE(rwlock, locks_prepare, rwlock_rdlock, rwlock_rdunlock, rwlock_wrlock,
               rwlock_wrunlock)
READ_AND_WRITE(semlock, semlock_prepare, semlock_rdlock, semlock_rdunlock, semlock_wrlock,
               semlock_wrunlock)

/* A load fails with EAGAIN if writers have overtaken it too often. This repeats it. */
static void cell_read(void)
{
    ssize_t got;

    while ((got = ipc_cell_load(cell, subject_in, subject.len, NULL)) < 0 && errno == EAGAIN) {
        subject_count_failure();
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

READING(cell, cell_prepare)
static const struct subject_operation waitable_reading = {waitable_prepare, cell_read_repeat,
                                                          cell_write_repeat};

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

SUBJECT_SETUP_OPERATION(semlock, key_prepare)

/* --- a queue with a mutex and conditions --- */

typedef struct ipc_mutex queue_mutex;
typedef struct ipc_cond queue_cond;

static void *queue_memory(size_t size)
{
    return region(size);
}

static void queue_init(queue_mutex *mutex, queue_cond *filled, queue_cond *emptied)
{
    subject_must(ipc_mutex_init(mutex, 0), "ipc_mutex_init");
    subject_must(ipc_cond_init(filled, 0), "ipc_cond_init");
    subject_must(ipc_cond_init(emptied, 0), "ipc_cond_init");
}

SUBJECT_INLINE void queue_lock(queue_mutex *mutex)
{
    lock_must(ipc_mutex_lock(mutex, -1), "ipc_mutex_lock");
}

SUBJECT_INLINE void queue_unlock(queue_mutex *mutex)
{
    lock_must(ipc_mutex_unlock(mutex), "ipc_mutex_unlock");
}

SUBJECT_INLINE void queue_wait(queue_cond *cond, queue_mutex *mutex)
{
    lock_must(ipc_cond_wait(cond, mutex, -1), "ipc_cond_wait");
}

SUBJECT_INLINE void queue_signal(queue_cond *cond)
{
    subject_must(ipc_cond_signal(cond), "ipc_cond_signal");
}

#include "cond_queue.h"

/* --- rows --- */

const struct subject_row unixipc_locks[] = {
    SUBJECT_LOCK("mutex", "ipc_mutex", "ours", mutex_counting),
    SUBJECT_LOCK("rwlock", "ipc_rwlock", "ours", rwlock_counting),
    SUBJECT_LOCK("semlock", "ipc_semlock", "ours", semlock_counting),
    SUBJECT_VALUE("cell", "ipc_cell", "ours", cell_reading),
    SUBJECT_VALUE("cell-waitable", "ipc_cell, waitable", "ours", waitable_reading),
    SUBJECT_VALUE("mutex", "ipc_mutex", "ours", mutex_reading),
    SUBJECT_VALUE("rwlock", "ipc_rwlock", "ours", rwlock_reading),
    SUBJECT_VALUE("semlock", "ipc_semlock", "ours", semlock_reading),
    SUBJECT_TRANSPORT("cond", "ipc_mutex and ipc_cond", "ours", NULL, queue),
    SUBJECT_SETUP("semlock", "ipc_semlock", "ours", NULL, semlock),
    {0},
};
