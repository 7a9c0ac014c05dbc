/*
 * shm_timed: a time server in System V shared memory. It writes the date and the time into a
 * segment a hundred times a second. Any number of clients (shm_timec) read it without a request.
 * With --lock, server and clients take a reader-writer lock, so that no client reads a date that
 * is half old and half new. With --cell, the date is in a cell: it is never torn, and clients take
 * no lock.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rwsem.h"
#include "shm_time.h"
#include "util.h"

/* The segment and the lock, which the server removes however it exits. */
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

/* Creates the segment, or uses the segment of a server that has died. */
static struct shm_time *become_server(key_t key, const char *path)
{
    /* 0644: the user of the server may write, and all users may attach the segment read-only. */
    int id = ipc_shmget(key, shm_time_size(), IPC_CREAT | 0644);
    if (id < 0)
        err(1, "ipc_shmget for %s", path);
    struct shm_time *shared = ipc_shmat(id, NULL, 0);
    if (shared == (void *)-1)
        err(1, "ipc_shmat");

    /* If several servers start at once, one of them stores its process ID, and the others fail. */
    pid_t previous = 0;
    while (!atomic_compare_exchange_strong(&shared->server, &previous, getpid()))
        if (is_alive(previous))
            errx(1, "process %d serves %s already", (int)previous, path);
    segment = id;
    if (previous != 0)
        fprintf(stderr, "shm_timed: using the segment of %s, which an earlier server has left\n",
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
        must(ipc_cell_store(cell, text, sizeof(text), -1), "the cell");
        return;
    }
    if (lock >= 0)
        must(rwsem_wrlock(lock), "the lock");
    memcpy(shared->date, text, sizeof(text));
    if (lock >= 0)
        must(rwsem_wrunlock(lock), "the lock");
}

static const char usage[] =
    "usage: shm_timed [--lock | --cell] [FILE]\n"
    "Writes the date and the time into a shared memory segment, until SIGINT or SIGTERM; then it\n"
    "removes the segment. The key of the segment is made from FILE (default: the current\n"
    "directory). With --lock, a semaphore lock protects the date; with --cell, it is in a cell.\n";

int main(int argc, char **argv)
{
    const struct shm_time_args args = shm_time_parse(usage, argc, argv);

    /* The loop below waits for these signals, so none of them interrupts an update. */
    const sigset_t termination = block_termination_signals();

    key_t key = shm_time_key(args.path);
    struct shm_time *shared = become_server(key, args.path);
    atexit(remove_all);
    int old_lock = rwsem_open(key, 0);
    if (args.lock) {
        lock = must(rwsem_open(key, IPC_CREAT | 0666), "the lock");
    } else if (old_lock >= 0 && rwsem_remove(old_lock) == 0) {
        fprintf(stderr, "shm_timed: removed the lock that an earlier server has left\n");
    }
    /* A cell of a dead server can be initialised again, because no process stores to it now. */
    atomic_store(&shared->has_cell, 0);
    if (args.cell)
        must(ipc_cell_init(shared->cell, shm_time_cell_size(), sizeof(shared->date), 0, &cell),
             "the cell");
    write_date(shared);
    atomic_store(&shared->has_cell, args.cell);
    atomic_store(&shared->has_date, 1);
    fprintf(stderr, "shm_timed: process %d serves %s\n", (int)getpid(), args.path);

    while (!wait_for_signal(&termination, 10 * 1000 * 1000))
        write_date(shared);
    return 0;
}
