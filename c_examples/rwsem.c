#include "rwsem.h"

#include <errno.h>

enum { READERS, WRITERS };

int rwsem_open(key_t key, int flags_and_mode)
{
    return ipc_semget(key, 2, flags_and_mode);
}

static int all_at_once(int id, struct sembuf *ops, size_t nops)
{
    int ret;
    do {
        ret = ipc_semop(id, ops, nops);
    } while (ret < 0 && errno == EINTR);
    return ret;
}

int rwsem_read_lock(int id)
{
    struct sembuf ops[] = {
        {.sem_num = WRITERS, .sem_op = 0},
        {.sem_num = READERS, .sem_op = 1, .sem_flg = SEM_UNDO},
    };
    return all_at_once(id, ops, 2);
}

int rwsem_read_unlock(int id)
{
    /* IPC_NOWAIT: to unlock what is not locked is an error (EAGAIN), not a wait for ever. */
    struct sembuf op = {.sem_num = READERS, .sem_op = -1, .sem_flg = SEM_UNDO | IPC_NOWAIT};
    return all_at_once(id, &op, 1);
}

int rwsem_write_lock(int id)
{
    struct sembuf ops[] = {
        {.sem_num = READERS, .sem_op = 0},
        {.sem_num = WRITERS, .sem_op = 0},
        {.sem_num = WRITERS, .sem_op = 1, .sem_flg = SEM_UNDO},
    };
    return all_at_once(id, ops, 3);
}

int rwsem_write_unlock(int id)
{
    struct sembuf op = {.sem_num = WRITERS, .sem_op = -1, .sem_flg = SEM_UNDO | IPC_NOWAIT};
    return all_at_once(id, &op, 1);
}

int rwsem_remove(int id)
{
    return ipc_semctl(id, 0, IPC_RMID);
}
