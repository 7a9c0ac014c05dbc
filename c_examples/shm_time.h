/* What shm_timed and shm_timec share. */
#ifndef SHM_TIME_H
#define SHM_TIME_H

#include <err.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unixipc.h>

/* The segment. A server claims it with its process id, from 0 or from a dead one's. */
struct shm_time {
    _Atomic pid_t server;
    _Atomic int has_date;
    _Atomic int has_cell;
    char date[100];
    /* With --cell the date is here: ipc_cell_memory_size() of them. */
    _Alignas(64) char cell[];
};

static inline size_t shm_time_cell_bytes(void)
{
    return ipc_cell_memory_size(sizeof(((struct shm_time *)0)->date));
}

static inline size_t shm_time_bytes(void)
{
    return sizeof(struct shm_time) + shm_time_cell_bytes();
}

/* Server and client find each other by the key of a file or folder that both name. */
static inline key_t shm_time_key(const char *path)
{
    key_t key = ipc_ftok(path, 't');
    if (key == -1)
        err(1, "%s", path);
    return key;
}

#endif
