/*
 * hello_shm: two processes count in shared memory, under a lock.
 * If a process dies with the lock, the next one gets it and is told: IPC_OWNER_DIED.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#define COUNTS 100000

struct shared {
    struct ipc_mutex mutex;
    long counter;
};

static void count(struct shared *shared)
{
    for (int i = 0; i < COUNTS; i++) {
        int locked = ipc_mutex_lock(&shared->mutex, -1);
        if (locked < 0)
            err(1, "ipc_mutex_lock");
        /* A counter is never half-changed, so there is nothing to repair. */
        if (locked == IPC_OWNER_DIED && ipc_mutex_consistent(&shared->mutex) < 0)
            err(1, "ipc_mutex_consistent");
        shared->counter++;
        if (ipc_mutex_unlock(&shared->mutex) < 0)
            err(1, "ipc_mutex_unlock");
    }
}

int main(void)
{
    struct ipc_shm *shm;
    int status;

    if (ipc_shm_create(sizeof(struct shared), NULL, 0, &shm) < 0)
        err(1, "ipc_shm_create");
    struct shared *shared = ipc_shm_addr(shm); /* all zeros */
    if (ipc_mutex_init(&shared->mutex, 0) < 0)
        err(1, "ipc_mutex_init");
    pid_t pid = fork(); /* the child has the same memory */
    if (pid < 0)
        err(1, "fork");
    count(shared);
    if (pid == 0)
        exit(0);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "the child failed");
    printf("two processes counted to %ld\n", shared->counter);
    ipc_shm_close(shm);
    return 0;
}
