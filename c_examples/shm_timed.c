/*
 * shm_timed: a time server in System V shared memory. It writes the date and the
 * time into a segment again and again; any number of clients (shm_timec) read it
 * without asking. With --lock, both take a reader-writer lock, so that no client
 * sees half of the old date and half of the new one; with --cell, the date is in a
 * cell, where that cannot happen, and clients take no lock.
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

/* What is to be removed at the end, whatever the end is. */
static int segment = -1, lock = -1;

static struct ipc_cell *cell;

static void remove_all(void)
{
    if (segment >= 0)
        ipc_shmctl(segment, IPC_RMID, NULL);
    if (lock >= 0)
        rwsem_remove(lock);
}

static int is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno == EPERM;
}

/* Makes the segment, or takes over the one that a dead server left. */
static struct shm_time *claim(key_t key, const char *path)
{
    /* 0644: the server's user writes, everybody else can only attach it read-only. */
    int id = ipc_shmget(key, shm_time_bytes(), IPC_CREAT | 0644);
    if (id < 0)
        err(1, "ipc_shmget for %s", path);
    struct shm_time *shared = ipc_shmat(id, NULL, 0);
    if (shared == (void *)-1)
        err(1, "ipc_shmat");

    /* Of several that start at once, one gets it. */
    pid_t before = 0;
    while (!atomic_compare_exchange_strong(&shared->server, &before, getpid()))
        if (is_alive(before))
            errx(1, "process %d serves %s already", (int)before, path);
    segment = id;
    if (before != 0)
        fprintf(stderr, "shm_timed: the segment of %s is left from an earlier server: using it\n",
                path);
    return shared;
}

static void write_date(struct shm_time *shared)
{
    struct timespec now;
    struct tm local;
    char text[sizeof(shared->date)];

    if (clock_gettime(CLOCK_REALTIME, &now) < 0 || !localtime_r(&now.tv_sec, &local))
        err(1, "the time");
    size_t len = strftime(text, sizeof(text), "%a %d %b %Y %H:%M:%S", &local);
    snprintf(text + len, sizeof(text) - len, ".%02ld", now.tv_nsec / 10000000);

    if (cell) {
        if (ipc_cell_store(cell, text, sizeof(text), -1) < 0)
            err(1, "the cell");
        return;
    }
    if (lock >= 0 && rwsem_write_lock(lock) < 0)
        err(1, "the lock");
    memcpy(shared->date, text, sizeof(text));
    if (lock >= 0 && rwsem_write_unlock(lock) < 0)
        err(1, "the lock");
}

static void usage(FILE *out)
{
    fprintf(out, "usage: shm_timed [--lock | --cell] [FILE]\n"
                 "Keeps the date and the time in a shared memory segment, until SIGINT or\n"
                 "SIGTERM ends it; then the segment is removed. The segment's key is made from\n"
                 "FILE (default: this folder). With --lock, a semaphore lock guards it; with\n"
                 "--cell, it is in a cell.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"lock", no_argument, NULL, 'l'},
        {"cell", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int with_lock = 0, with_cell = 0;

    for (int c; (c = getopt_long(argc, argv, "lch", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            with_lock = 1;
            break;
        case 'c':
            with_cell = 1;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind > 1 || (with_lock && with_cell)) {
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

    key_t key = shm_time_key(path);
    struct shm_time *shared = claim(key, path);
    atexit(remove_all);
    int old_lock = rwsem_open(key, 0);
    if (with_lock) {
        lock = rwsem_open(key, IPC_CREAT | 0666);
        if (lock < 0)
            err(1, "the lock of %s", path);
    } else if (old_lock >= 0 && rwsem_remove(old_lock) == 0) {
        fprintf(stderr, "shm_timed: removed the lock that an earlier server left\n");
    }
    /* A cell that a dead server left is made anew: nobody stores to it any more. */
    atomic_store(&shared->has_cell, 0);
    if (with_cell && ipc_cell_init(shared->cell, shm_time_cell_bytes(), sizeof(shared->date), 0,
                                   &cell) < 0)
        err(1, "the cell");
    write_date(shared);
    atomic_store(&shared->has_cell, with_cell);
    atomic_store(&shared->has_date, 1);
    fprintf(stderr, "shm_timed: process %d serves %s\n", (int)getpid(), path);

    const struct timespec period = {.tv_nsec = 10 * 1000 * 1000};
    while (sigtimedwait(&ending, NULL, &period) < 0)
        write_date(shared);
    return 0;
}
