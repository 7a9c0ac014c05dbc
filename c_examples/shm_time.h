/* What shm_timed and shm_timec share. */
#ifndef SHM_TIME_H
#define SHM_TIME_H

#include <err.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unixipc.h>

/* The segment. The server's id is written last: while it is 0 there is no date yet. */
struct shm_time {
    _Atomic pid_t server;
    char date[100];
};

/* Server and client find each other by the key of a file or folder that both name. */
static inline key_t shm_time_key(const char *path)
{
    key_t key = ipc_ftok(path, 't');
    if (key == -1)
        err(1, "%s", path);
    return key;
}

#endif
