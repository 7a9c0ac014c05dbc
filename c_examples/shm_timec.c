/*
 * shm_timec: prints the date that the server shm_timed keeps in shared memory. The
 * segment is attached read-only: a write to it would be a SIGSEGV, and for other
 * users than the server's its permissions say the same.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rwsem.h"
#include "shm_time.h"

/* Takes no lock, and gets a whole date all the same. */
static void load_from_cell(const struct shm_time *shared, const char *path, char *date)
{
    struct ipc_cell *cell;

    if (!atomic_load(&shared->has_cell))
        errx(1, "the server of %s has no cell: start it with --cell", path);
    if (ipc_cell_open(shared->cell, shm_time_cell_bytes(), IPC_CELL_F_RDONLY, &cell) < 0 ||
        ipc_cell_load(cell, date, sizeof(shared->date), NULL) < 0)
        err(1, "the cell of %s", path);
    ipc_cell_close(cell);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: shm_timec [--lock | --cell] [FILE]\n"
                 "Prints the date and the time that shm_timed keeps under the key of FILE\n"
                 "(default: this folder). --lock takes the lock of a server with --lock, and\n"
                 "--cell reads the cell of one with --cell.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"lock", no_argument, NULL, 'l'},
        {"cell", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int with_lock = 0, with_cell = 0, lock = -1;

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
    key_t key = shm_time_key(path);

    /* Read permission is all that it asks for. */
    int id = ipc_shmget(key, shm_time_bytes(), 0444);
    if (id < 0 && errno == ENOENT)
        errx(1, "%s has no segment: start shm_timed first", path);
    if (id < 0)
        err(1, "ipc_shmget for %s", path);
    const struct shm_time *shared = ipc_shmat(id, NULL, SHM_RDONLY);
    if (shared == (void *)-1)
        err(1, "ipc_shmat");

    pid_t server = atomic_load(&shared->server);
    if (server == 0 || !atomic_load(&shared->has_date))
        errx(1, "the server of %s has not written a date yet", path);
    if (kill(server, 0) < 0 && errno == ESRCH)
        errx(1, "the server of %s, process %d, has died: start shm_timed again", path,
             (int)server);

    if (!with_cell && atomic_load(&shared->has_cell))
        errx(1, "the server of %s keeps the date in a cell: use --cell", path);
    if (with_lock) {
        lock = rwsem_open(key, 0);
        if (lock < 0 && errno == ENOENT)
            errx(1, "the server of %s has no lock: start it with --lock", path);
        if (lock < 0)
            err(1, "the lock of %s", path);
        if (rwsem_read_lock(lock) < 0)
            err(1, "the lock of %s", path);
    }
    char date[sizeof(shared->date)];
    if (with_cell)
        load_from_cell(shared, path, date);
    else
        memcpy(date, shared->date, sizeof(date));
    if (with_lock && rwsem_read_unlock(lock) < 0)
        err(1, "the lock of %s", path);

    /* Without the lock the copy can be torn: the end of the text is not taken on trust. */
    date[sizeof(date) - 1] = '\0';
    if (puts(date) == EOF || fflush(stdout) != 0)
        err(1, "standard output");
    return 0;
}
