/* The kinds of lock that lock_crash and shm_race compare, with one interface. */
#ifndef LOCKS_H
#define LOCKS_H

#include <unixipc.h>

/* The part of a lock that lives in shared memory. */
struct lock_memory {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
};

/* A lock as a process sees it; children inherit it. */
struct lock {
    const struct lock_type *type;
    struct lock_memory *memory;
    int id; /* of a semaphore set */
};

/*
 * Each function returns a negative number with errno on failure. rdlock and wrlock of a robust
 * lock return IPC_OWNER_DIED if the last owner died with the lock.
 */
struct lock_type {
    const char *name;
    int (*create)(struct lock *lock);
    int (*rdlock)(struct lock *lock);
    int (*rdunlock)(struct lock *lock);
    int (*wrlock)(struct lock *lock);
    int (*wrunlock)(struct lock *lock);
    int (*consistent)(struct lock *lock); /* NULL if the lock is not robust */
    int (*remove)(struct lock *lock);
};

extern const struct lock_type no_lock, rwsem_lock, semlock_lock, mutex_lock, rwlock_lock;

#endif
