#include "rwsem.h"

#include <errno.h>

enum { READERS, WRITERS };

int rwsem_open(key_t key, int flags_and_mode)
{
    return ipc_semget(key, 2, flags_and_mode);
}

/* semop() that continues after a signal handler. */
static int semop_uninterrupted(int id, struct sembuf *ops, size_t nops)
{
    int ret;
    do {
        ret = ipc_semop(id, ops, nops);
    } while (ret < 0 && errno == EINTR);
    return ret;
}

/* Decrements a counter. IPC_NOWAIT: unlocking an unlocked lock fails with EAGAIN instead of
 * waiting forever. */
static int decrement(int id, unsigned short counter)
{
    struct sembuf op = {.sem_num = counter, .sem_op = -1, .sem_flg = SEM_UNDO | IPC_NOWAIT};
    return semop_uninterrupted(id, &op, 1);
}

int rwsem_rdlock(int id)
{
    struct sembuf ops[] = {
        {.sem_num = WRITERS, .sem_op = 0},
        {.sem_num = READERS, .sem_op = 1, .sem_flg = SEM_UNDO},
    };
    return semop_uninterrupted(id, ops, 2);
}

int rwsem_rdunlock(int id)
{
    return decrement(id, READERS);
}

int rwsem_wrlock(int id)
{
    struct sembuf ops[] = {
        {.sem_num = READERS, .sem_op = 0},
        {.sem_num = WRITERS, .sem_op = 0},
        {.sem_num = WRITERS, .sem_op = 1, .sem_flg = SEM_UNDO},
    };
    return semop_uninterrupted(id, ops, 3);
}

int rwsem_wrunlock(int id)
{
    return decrement(id, WRITERS);
}

int rwsem_remove(int id)
{
    return ipc_semctl(id, 0, IPC_RMID);
}
