/*
 * shm_timed: a time server in System V shared memory. It writes the date and the
 * time into a segment again and again; any number of clients (shm_timec) read it
 * without asking. With --lock, both take a reader-writer lock, so that no client
 * sees half of the old date and half of the new one.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rwsem.h"
#include "shm_time.h"

/* Makes the segment, or takes over the one that a dead server left. */
static struct shm_time *create(key_t key, const char *path, int *ret_id)
{
    /* 0644: the server's user writes, everybody else can only attach it read-only. */
    int id = ipc_shmget(key, sizeof(struct shm_time), IPC_CREAT | IPC_EXCL | 0644);
    int left = id < 0 && errno == EEXIST;
    if (left)
        id = ipc_shmget(key, sizeof(struct shm_time), 0644);
    if (id < 0)
        err(1, "ipc_shmget for %s", path);

    struct shm_time *shared = ipc_shmat(id, NULL, 0);
    if (shared == (void *)-1)
        err(1, "ipc_shmat");
    if (left) {
        pid_t server = atomic_load(&shared->server);
        if (server > 0 && (kill(server, 0) == 0 || errno == EPERM))
            errx(1, "process %d serves %s already", (int)server, path);
        fprintf(stderr, "shm_timed: the segment of %s is left from an earlier server: using it\n",
                path);
        atomic_store(&shared->server, 0);
    }
    *ret_id = id;
    return shared;
}

static void write_date(struct shm_time *shared, int lock)
{
    struct timespec now;
    struct tm local;
    char text[sizeof(shared->date)];

    if (clock_gettime(CLOCK_REALTIME, &now) < 0 || !localtime_r(&now.tv_sec, &local))
        err(1, "the time");
    size_t len = strftime(text, sizeof(text), "%a %d %b %Y %H:%M:%S", &local);
    snprintf(text + len, sizeof(text) - len, ".%02ld", now.tv_nsec / 10000000);

    if (lock >= 0 && rwsem_write_lock(lock) < 0)
        err(1, "the lock");
    memcpy(shared->date, text, sizeof(text));
    if (lock >= 0 && rwsem_write_unlock(lock) < 0)
        err(1, "the lock");
}

static void usage(FILE *out)
{
    fprintf(out, "usage: shm_timed [--lock] [FILE]\n"
                 "Keeps the date and the time in a shared memory segment, until SIGINT or\n"
                 "SIGTERM ends it; then the segment is removed. The segment's key is made from\n"
                 "FILE (default: this folder). With --lock, a semaphore lock guards it.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"lock", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int lock = -1, with_lock = 0;

    for (int c; (c = getopt_long(argc, argv, "lh", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            with_lock = 1;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind > 1) {
        usage(stderr);
        return 2;
    }
    const char *path = optind < argc ? argv[optind] : ".";

    /* The signals that end it are waited for below, so they can interrupt nothing half-done. */
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL);

    int id;
    key_t key = shm_time_key(path);
    struct shm_time *shared = create(key, path, &id);
    if (with_lock) {
        lock = rwsem_open(key, IPC_CREAT | 0666);
        if (lock < 0)
            err(1, "the lock of %s", path);
    } else if (rwsem_remove(rwsem_open(key, 0)) == 0) {
        fprintf(stderr, "shm_timed: removed the lock that an earlier server left\n");
    }
    write_date(shared, lock);
    atomic_store(&shared->server, getpid());
    fprintf(stderr, "shm_timed: process %d serves %s\n", (int)getpid(), path);

    const struct timespec period = {.tv_nsec = 10 * 1000 * 1000};
    while (sigtimedwait(&ending, NULL, &period) < 0)
        write_date(shared, lock);

    if (ipc_shmctl(id, IPC_RMID, NULL) < 0)
        err(1, "ipc_shmctl");
    if (lock >= 0 && rwsem_remove(lock) < 0)
        err(1, "the lock");
    return 0;
}
