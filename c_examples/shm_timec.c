/*
 * shm_timec: prints the date that the server shm_timed keeps in shared memory. It attaches the
 * segment read-only, so a write by mistake would raise SIGSEGV. The permissions of the segment
 * allow other users no more than that.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "rwsem.h"
#include "shm_time.h"
#include "util.h"

/* Copies the date under the lock, if id is one. */
static void copy_date(const struct shm_time *shared, int id, char *date)
{
    if (id >= 0)
        must(rwsem_rdlock(id), "the lock");
    memcpy(date, shared->date, sizeof(shared->date));
    if (id >= 0)
        must(rwsem_rdunlock(id), "the lock");
}

/* Loads the date from the cell. A load takes no lock, and the date is never torn. */
static void load_date(const struct shm_time *shared, char *date)
{
    struct ipc_cell *cell;
    must(ipc_cell_open(shared->cell, shm_time_cell_size(), IPC_CELL_F_RDONLY, &cell), "the cell");
    if (ipc_cell_load(cell, date, sizeof(shared->date), NULL) < 0)
        err(1, "the cell");
    ipc_cell_close(cell);
}

static int open_lock(key_t key, const char *path)
{
    int id = rwsem_open(key, 0);
    if (id < 0 && errno == ENOENT)
        errx(1, "the server of %s has no lock: start it with --lock", path);
    return must(id, "the lock");
}

static const char usage[] =
    "usage: shm_timec [--lock | --cell] [FILE]\n"
    "Prints the date and the time from shm_timed, which uses the same FILE (default: the current\n"
    "directory) as its key. --lock takes the lock of a server with --lock, and --cell loads the\n"
    "date from the cell of a server with --cell.\n";

int main(int argc, char **argv)
{
    const struct shm_time_args args = shm_time_parse(usage, argc, argv);
    key_t key = shm_time_key(args.path);

    /* The client asks for read permission only. */
    int id = ipc_shmget(key, shm_time_size(), 0444);
    if (id < 0 && errno == ENOENT)
        errx(1, "%s has no segment: start shm_timed first", args.path);
    if (id < 0)
        err(1, "ipc_shmget for %s", args.path);
    const struct shm_time *shared = ipc_shmat(id, NULL, SHM_RDONLY);
    if (shared == (void *)-1)
        err(1, "ipc_shmat");

    pid_t server = atomic_load(&shared->server);
    if (server == 0 || !atomic_load(&shared->has_date))
        errx(1, "the server of %s has not written a date yet", args.path);
    if (kill(server, 0) < 0 && errno == ESRCH)
        errx(1, "the server of %s, process %d, has died: start shm_timed again", args.path,
             (int)server);

    int has_cell = atomic_load(&shared->has_cell);
    if (!args.cell && has_cell)
        errx(1, "the server of %s keeps the date in a cell: use --cell", args.path);
    if (args.cell && !has_cell)
        errx(1, "the server of %s has no cell: start it with --cell", args.path);
    char date[sizeof(shared->date)];
    if (args.cell)
        load_date(shared, date);
    else
        copy_date(shared, args.lock ? open_lock(key, args.path) : -1, date);

    /* A copy without the lock can be torn, and the terminator can be missing. */
    date[sizeof(date) - 1] = '\0';
    puts(date);
    flush_output();
    return 0;
}
