/*
 * hello_cell: a value that one process stores and others load.
 * A reader takes no lock, and never sees a half-written value.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

struct position {
    int x, y; /* y is always the square of x */
};

static void store_positions(struct ipc_cell *cell)
{
    for (int x = 1; x <= 1000; x++) {
        const struct position position = {x, x * x};
        if (ipc_cell_store(cell, &position, sizeof(position), -1) < 0)
            err(1, "ipc_cell_store");
    }
}

int main(void)
{
    const size_t size = ipc_cell_memory_size(sizeof(struct position));
    struct position position = {0, 0};
    struct ipc_shm *shm;
    struct ipc_cell *cell;
    uint64_t version = 0;
    int status;

    if (ipc_shm_create(size, NULL, 0, &shm) < 0)
        err(1, "ipc_shm_create");
    if (ipc_cell_init(ipc_shm_addr(shm), size, sizeof(position), IPC_CELL_F_WAITABLE, &cell) < 0)
        err(1, "ipc_cell_init");
    pid_t pid = fork(); /* the child has the same cell */
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        store_positions(cell);
        return 0;
    }
    while (position.x < 1000) {
        /* Waits for a version after the last one; the reader can miss versions in between. */
        if (ipc_cell_wait(cell, version, 10000) < 0 ||
            ipc_cell_load(cell, &position, sizeof(position), &version) < 0)
            err(1, "the cell");
        if (position.y != position.x * position.x)
            errx(1, "a half-written value: %d %d", position.x, position.y);
    }
    printf("the last position is %d %d, version %d\n", position.x, position.y, (int)version);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "the child failed");
    ipc_cell_close(cell);
    ipc_shm_close(shm);
    return 0;
}
