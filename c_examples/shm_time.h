/* The shared memory, the key and the command line of shm_timed and shm_timec. */
#ifndef SHM_TIME_H
#define SHM_TIME_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>
#include <unixipc.h>

struct shm_time {
    _Atomic pid_t server; /* 0: none yet */
    _Atomic int has_date;
    _Atomic int has_cell;
    char date[100];
    /* The cell that holds the date with --cell. It has shm_time_cell_size() bytes. */
    _Alignas(64) char cell[];
};

struct shm_time_args {
    int lock, cell;   /* --lock, --cell */
    const char *path; /* server and client make the same key from the same path */
};

struct shm_time_args shm_time_parse(const char *usage, int argc, char **argv);

key_t shm_time_key(const char *path);
size_t shm_time_cell_size(void);
size_t shm_time_size(void); /* of the segment, with the cell */

#endif
