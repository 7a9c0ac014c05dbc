/* A call that succeeds leaves errno alone; one that fails sets it, in its thread only. */
#include "check.h"

#include <pthread.h>

#define UNTOUCHED 12345

/* Checks a call's result, and that errno is what it was. */
#define CHECK_QUIET(expression) \
    do { \
        errno = UNTOUCHED; \
        CHECK(expression); \
        CHECK(errno == UNTOUCHED); \
    } while (0)

static void successes(void)
{
    const char *path = check_path("errno");
    struct sembuf up = {0, 1, 0};
    struct sembuf down = {0, -1, 0};
    const struct timespec limit = {1, 0};
    struct shmid_ds ds;
    struct shm_info info;
    int sv[2];
    int shm;
    int sem;
    void *memory;

    CHECK_QUIET(ipc_version() != NULL);
    CHECK_QUIET(ipc_socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    CHECK(close(sv[0]) == 0);
    CHECK(close(sv[1]) == 0);
    CHECK_QUIET(ipc_mkfifo(path, 0600) == 0);
    CHECK_QUIET(ipc_ftok(path, 1) != -1);
    CHECK(unlink(path) == 0);

    CHECK_QUIET((shm = ipc_shmget(IPC_PRIVATE, 1, 0600)) >= 0);
    CHECK_QUIET((memory = ipc_shmat(shm, NULL, 0)) != (void *)-1);
    CHECK_QUIET(ipc_shmctl(shm, IPC_STAT, &ds) == 0);
    CHECK_QUIET(ipc_shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info) >= 0);
    CHECK_QUIET(ipc_shmdt(memory) == 0);
    CHECK_QUIET(ipc_shmctl(shm, IPC_RMID, NULL) == 0);

    CHECK_QUIET((sem = ipc_semget(IPC_PRIVATE, 1, 0600)) >= 0);
    CHECK_QUIET(ipc_semop(sem, &up, 1) == 0);
    CHECK_QUIET(ipc_semctl(sem, 0, GETVAL) == 1);
    CHECK_QUIET(ipc_semtimedop(sem, &down, 1, &limit) == 0);
    CHECK_QUIET(ipc_semctl(sem, 0, IPC_RMID) == 0);
}

static void *fail(void *unused)
{
    CHECK(ipc_shmdt((void *)4096) == -1 && errno == EINVAL);
    return unused;
}

int main(void)
{
    pthread_t thread;

    successes();
    errno = UNTOUCHED;
    CHECK(pthread_create(&thread, NULL, fail, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(errno == UNTOUCHED);
    fail(NULL);
    return 0;
}
