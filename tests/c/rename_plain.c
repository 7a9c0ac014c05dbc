/*
 * A program that does not use unixipc. Its output is the same in every run; the test runs it
 * with and without rename.c preloaded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

/* Prints a result, and errno after a failure. */
static void print(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result == -1 ? strerror(errno) : "");
}

static void semaphores(void)
{
    int id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    struct sembuf up[2] = {{0, 2, 0}, {1, 1, 0}};
    struct sembuf down = {0, -3, IPC_NOWAIT};
    const struct timespec limit = {0, 1000000};
    unsigned short values[2] = {0, 0};
    struct semid_ds ds;
    union semun arg;

    print("semget", id >= 0);
    print("semop", semop(id, up, 2));
    print("semop", semop(id, &down, 1));
    down.sem_flg = 0;
    print("semtimedop", semtimedop(id, &down, 1, &limit));
    print("GETVAL", semctl(id, 0, GETVAL));
    arg.val = 5;
    print("SETVAL", semctl(id, 1, SETVAL, arg));
    arg.array = values;
    print("GETALL", semctl(id, 0, GETALL, arg));
    print("GETALL", values[0] * 10 + values[1]);
    arg.buf = &ds;
    print("IPC_STAT", semctl(id, 0, IPC_STAT, arg));
    print("IPC_STAT", (long)ds.sem_nsems);
    print("IPC_RMID", semctl(id, 0, IPC_RMID));
    print("GETVAL", semctl(-1, 0, GETVAL));
}

static void memory(void)
{
    int id = shmget(IPC_PRIVATE, 100, IPC_CREAT | 0640);
    char *bytes = shmat(id, NULL, 0);
    struct shmid_ds ds;

    print("shmget", id >= 0);
    if (bytes == (void *)-1) {
        print("shmat", -1);
        exit(1);
    }
    strcpy(bytes, "shared");
    printf("%s\n", bytes);
    print("IPC_STAT", shmctl(id, IPC_STAT, &ds));
    print("IPC_STAT", (long)ds.shm_segsz + (long)(ds.shm_perm.mode & 0777));
    print("IPC_RMID", shmctl(id, IPC_RMID, NULL));
    print("shmdt", shmdt(bytes));
    print("shmdt", shmdt(NULL));
    print("shmat", (long)shmat(-1, NULL, 0));
}

int main(int argc, char **argv)
{
    const char *path = argc == 2 ? argv[1] : "";
    struct stat st;
    char buf[8] = "";
    int sv[2];

    print("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
    print("write", write(sv[0], "pair", 4));
    print("read", read(sv[1], buf, sizeof buf));
    printf("%s\n", buf);
    print("socketpair", socketpair(AF_UNIX, 12345, 0, sv));

    print("mkfifo", mkfifo(path, 0640));
    print("mkfifo", mkfifo(path, 0640));
    print("stat", stat(path, &st));
    print("mode", (long)st.st_mode);
    print("unlink", unlink(path));
    print("ftok", ftok("/", 'x'));
    print("ftok", ftok(path, 'x'));

    semaphores();
    memory();
    return 0;
}
