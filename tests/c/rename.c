/*
 * A library that a test preloads: it defines the system's names as plain calls of unixipc.
 * The recursion would never end if unixipc called the C library's functions of these names.
 *
 * When the process exits, it appends to the file named by RENAME_LOG a line for each function
 * that was called, with the number of calls.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <unixipc.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static int socketpairs, mkfifos, ftoks, shmgets, shmats, shmdts, shmctls, semgets, semops,
    semtimedops, semctls;

int socketpair(int domain, int type, int protocol, int sv[2])
{
    socketpairs++;
    return ipc_socketpair(domain, type, protocol, sv);
}

int mkfifo(const char *path, mode_t mode)
{
    mkfifos++;
    return ipc_mkfifo(path, mode);
}

key_t ftok(const char *path, int proj_id)
{
    ftoks++;
    return ipc_ftok(path, proj_id);
}

int shmget(key_t key, size_t size, int shmflg)
{
    shmgets++;
    return ipc_shmget(key, size, shmflg);
}

void *shmat(int shmid, const void *shmaddr, int shmflg)
{
    shmats++;
    return ipc_shmat(shmid, shmaddr, shmflg);
}

int shmdt(const void *shmaddr)
{
    shmdts++;
    return ipc_shmdt(shmaddr);
}

int shmctl(int shmid, int cmd, struct shmid_ds *buf)
{
    shmctls++;
    return ipc_shmctl(shmid, cmd, buf);
}

int semget(key_t key, int nsems, int semflg)
{
    semgets++;
    return ipc_semget(key, nsems, semflg);
}

int semop(int semid, struct sembuf *sops, size_t nsops)
{
    semops++;
    return ipc_semop(semid, sops, nsops);
}

int semtimedop(int semid, struct sembuf *sops, size_t nsops, const struct timespec *timeout)
{
    semtimedops++;
    return ipc_semtimedop(semid, sops, nsops, timeout);
}

int semctl(int semid, int semnum, int cmd, ...)
{
    va_list args;
    union semun arg;

    semctls++;
    va_start(args, cmd);
    arg = va_arg(args, union semun);
    va_end(args);
    return ipc_semctl(semid, semnum, cmd, arg);
}

__attribute__((destructor)) static void report(void)
{
    const struct {
        const char *name;
        int calls;
    } counts[] = {
        {"socketpair", socketpairs}, {"mkfifo", mkfifos}, {"ftok", ftoks},
        {"shmget", shmgets},         {"shmat", shmats},   {"shmdt", shmdts},
        {"shmctl", shmctls},         {"semget", semgets}, {"semop", semops},
        {"semtimedop", semtimedops}, {"semctl", semctls},
    };
    const char *path = getenv("RENAME_LOG");
    int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    size_t i;

    if (fd < 0) {
        return;
    }
    for (i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].calls > 0) {
            dprintf(fd, "%s %d\n", counts[i].name, counts[i].calls);
        }
    }
    close(fd);
}
