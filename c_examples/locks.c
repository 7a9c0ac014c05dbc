#include "locks.h"

#include "rwsem.h"

/* Defines a function of a lock type that makes one call. */
#define DEFINE(name, call)             \
    static int name(struct lock *lock) \
    {                                  \
        return call;                   \
    }

DEFINE(do_nothing, ((void)lock, 0))

DEFINE(rwsem_create, lock->id = rwsem_open(IPC_PRIVATE, IPC_CREAT | 0600))
DEFINE(rwsem_rd, rwsem_rdlock(lock->id))
DEFINE(rwsem_rdun, rwsem_rdunlock(lock->id))
DEFINE(rwsem_wr, rwsem_wrlock(lock->id))
DEFINE(rwsem_wrun, rwsem_wrunlock(lock->id))
DEFINE(rwsem_delete, rwsem_remove(lock->id))

DEFINE(semlock_create, lock->id = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600))
DEFINE(semlock_rd, ipc_semlock_rdlock(lock->id, -1))
DEFINE(semlock_rdun, ipc_semlock_rdunlock(lock->id))
DEFINE(semlock_wr, ipc_semlock_wrlock(lock->id, -1))
DEFINE(semlock_wrun, ipc_semlock_wrunlock(lock->id))
DEFINE(semlock_consistent, ipc_semlock_consistent(lock->id))
DEFINE(semlock_delete, ipc_semlock_remove(lock->id))

DEFINE(mutex_create, ipc_mutex_init(&lock->memory->mutex, 0))
DEFINE(mutex_acquire, ipc_mutex_lock(&lock->memory->mutex, -1))
DEFINE(mutex_release, ipc_mutex_unlock(&lock->memory->mutex))
DEFINE(mutex_consistent, ipc_mutex_consistent(&lock->memory->mutex))

DEFINE(rwlock_create, ipc_rwlock_init(&lock->memory->rwlock, 0))
DEFINE(rwlock_rd, ipc_rwlock_rdlock(&lock->memory->rwlock, -1))
DEFINE(rwlock_rdun, ipc_rwlock_rdunlock(&lock->memory->rwlock))
DEFINE(rwlock_wr, ipc_rwlock_wrlock(&lock->memory->rwlock, -1))
DEFINE(rwlock_wrun, ipc_rwlock_wrunlock(&lock->memory->rwlock))
DEFINE(rwlock_consistent, ipc_rwlock_consistent(&lock->memory->rwlock))

const struct lock_type no_lock = {
    "no lock", do_nothing, do_nothing, do_nothing, do_nothing, do_nothing, NULL, do_nothing,
};
const struct lock_type rwsem_lock = {
    "semaphore lock", rwsem_create, rwsem_rd, rwsem_rdun, rwsem_wr, rwsem_wrun, NULL, rwsem_delete,
};
const struct lock_type semlock_lock = {
    "ipc_semlock", semlock_create, semlock_rd,         semlock_rdun,
    semlock_wr,    semlock_wrun,   semlock_consistent, semlock_delete,
};
/* A mutex does not distinguish readers from writers. */
const struct lock_type mutex_lock = {
    "ipc_mutex",   mutex_create,  mutex_acquire,    mutex_release,
    mutex_acquire, mutex_release, mutex_consistent, do_nothing,
};
const struct lock_type rwlock_lock = {
    "ipc_rwlock", rwlock_create, rwlock_rd,         rwlock_rdun,
    rwlock_wr,    rwlock_wrun,   rwlock_consistent, do_nothing,
};
