/*
 * The textbook's reader-writer lock: two counters in a System V semaphore set.
 *
 * Semaphore 0 counts the readers, semaphore 1 the writers. A reader waits until
 * there is no writer and counts itself; a writer waits until there is neither and
 * counts itself; semop does all of that at once. Linux creates semaphores at 0,
 * which here means free, so nothing has to be initialised and nobody can see a
 * lock that is half made. SEM_UNDO makes the kernel count a process off that dies
 * with the lock held. Readers that
 * follow one another without a gap keep a writer waiting.
 */
#ifndef RWSEM_H
#define RWSEM_H

#include <unixipc.h>

/* Gets or makes the lock of a key (IPC_PRIVATE: a new one). Readers count too, so whoever
 * may read needs write permission (mode). Returns its id, or -1 with errno. */
int rwsem_open(key_t key, int flags_and_mode);

/* Each returns 0, or -1 with errno (EIDRM: the lock was removed). A signal does not end the wait. */
int rwsem_read_lock(int id);
int rwsem_read_unlock(int id);
int rwsem_write_lock(int id);
int rwsem_write_unlock(int id);

int rwsem_remove(int id);

#endif
