/*
 * rwsem: the reader-writer lock of the textbooks, from two counters in a System V semaphore set.
 *
 * Semaphore 0 counts readers, semaphore 1 counts writers. A reader waits until there is no writer,
 * and increments the first counter. A writer waits until there is no reader and no writer, and
 * increments the second counter. semop() waits and increments in one atomic operation. Linux
 * creates semaphores with the value 0, which means unlocked, so the lock needs no initialisation
 * that another process could observe. With SEM_UNDO the kernel undoes the increments of a process
 * that dies. A continuous sequence of overlapping readers can starve a writer.
 */
#ifndef RWSEM_H
#define RWSEM_H

#include <unixipc.h>

/* Opens or creates the lock of a key (IPC_PRIVATE: a new one). Readers change a counter too, so
 * they need write permission in the mode. Returns the ID, or -1 with errno. */
int rwsem_open(key_t key, int flags_and_mode);

/* Each returns 0, or -1 with errno (EIDRM: the lock was removed). A signal does not interrupt the
 * wait. */
int rwsem_rdlock(int id);
int rwsem_rdunlock(int id);
int rwsem_wrlock(int id);
int rwsem_wrunlock(int id);

int rwsem_remove(int id);

#endif
