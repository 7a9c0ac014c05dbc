/* Regions, and the cells in them. The argument is the name for regions. */
#include "show.h"

static int init(void *addr, size_t size, void *arg)
{
    memcpy(addr, arg, size < 6 ? size : 6);
    return 0;
}

static void show_regions(const char *name)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_TRANSIENT, .mode = 0600, .layout = 7};
    struct ipc_shm *shm, *other;

    SHOW(ipc_shm_create(0, NULL, 0, &shm));
    SHOW(ipc_shm_create(100, NULL, 0, &shm));
    SHOW(ipc_shm_size(shm) >= 100);
    SHOW(ipc_shm_layout(shm));
    SHOW(ipc_shm_is_current(shm));
    SHOW(ipc_shm_from_fd(ipc_shm_fd(shm), 0, &other));
    strcpy(ipc_shm_addr(shm), "shared");
    SHOW(strcmp(ipc_shm_addr(other), "shared") == 0);
    ipc_shm_close(other);
    ipc_shm_close(shm);

    SHOW(ipc_shm_open(name, 0, &shm));
    SHOW(ipc_shm_create(5000, &(struct ipc_shm_opts){.flags = IPC_SHM_F_PUBLISH},
                        sizeof(struct ipc_shm_opts), &shm));
    SHOW(ipc_shm_publish(shm, name));
    SHOW(ipc_shm_is_current(shm));
    SHOW(ipc_shm_open(name, IPC_SHM_F_RDONLY, &other));
    SHOW(ipc_shm_size(other));
    ipc_shm_close(other);
    SHOW(ipc_shm_unlink(name));
    SHOW(ipc_shm_unlink(name));
    SHOW(ipc_shm_is_current(shm));
    ipc_shm_close(shm);

    SHOW(ipc_shm_open_or_create(name, 5000, init, "region", &opts, sizeof(opts), &shm));
    SHOW(memcmp(ipc_shm_addr(shm), "region", 6) == 0);
    SHOW(ipc_shm_layout(shm));
    SHOW(ipc_shm_open_or_create(name, 5000, NULL, NULL, &opts, sizeof(opts), &other));
    SHOW(memcmp(ipc_shm_addr(other), "region", 6) == 0);
    ipc_shm_close(other);
    opts.layout = 8;
    SHOW(ipc_shm_open_or_create(name, 5000, NULL, NULL, &opts, sizeof(opts), &other));
    SHOW(ipc_shm_open_or_create(name, 5000, NULL, NULL, &opts, 8, &other));
    ipc_shm_close(shm);
    SHOW(ipc_shm_open(name, 0, &shm));
    ipc_shm_unlink(name);

    SHOW(ipc_shm_attach(17, 5000, IPC_CREAT | 0600, &shm));
    SHOW(ipc_shm_size(shm) >= 5000);
    SHOW(ipc_shm_fd(shm));
    ipc_shm_close(shm);
    SHOW(ipc_shmctl(ipc_shmget(17, 0, 0), IPC_RMID, NULL));
}

static void show_cells(void)
{
    size_t size = ipc_cell_memory_size(200);
    struct ipc_shm *shm;
    struct ipc_cell *cell, *reader, *waiter;
    char value[200], loaded[200];
    uint64_t version = 0;

    printf("a cell of 200 bytes takes %zu\n", size);
    if (ipc_shm_create(size, NULL, 0, &shm) < 0) {
        exit(1);
    }
    SHOW(ipc_cell_open(ipc_shm_addr(shm), size, 0, &cell));
    SHOW(ipc_cell_init(ipc_shm_addr(shm), size, 200, IPC_CELL_F_WAITABLE, &cell));
    SHOW(ipc_cell_value_size(cell));
    SHOW(ipc_cell_load(cell, loaded, sizeof(loaded), &version));
    SHOW(ipc_cell_open(ipc_shm_addr(shm), size, IPC_CELL_F_RDONLY, &reader));
    for (int i = 1; i <= 20; i++) {
        memset(value, i, sizeof(value));
        if (ipc_cell_store(cell, value, (size_t)i * 10, LONG_MS) < 0) {
            exit(1);
        }
    }
    SHOW(ipc_cell_load(reader, loaded, sizeof(loaded), &version));
    SHOW(memcmp(loaded, value, sizeof(value)) == 0);
    SHOW(version);
    SHOW(ipc_cell_load(reader, loaded, 10, &version));
    SHOW(ipc_cell_open(ipc_shm_addr(shm), size, 0, &waiter));
    SHOW(ipc_cell_wait(waiter, 19, LONG_MS));
    SHOW(ipc_cell_wait(waiter, 20, 0));
    SHOW(ipc_cell_wait(waiter, 20, 1));
    SHOW(ipc_cell_wait(reader, 20, 0));
    SHOW(ipc_cell_store(reader, value, 1, LONG_MS));
    SHOW(ipc_cell_store(cell, value, 201, LONG_MS));
    pid_t pid = start_child();
    if (pid == 0) {
        _exit(ipc_cell_wait(waiter, 20, LONG_MS) != 0);
    }
    SHOW(ipc_cell_store(cell, "last", 4, LONG_MS));
    print_end(pid);
    ipc_cell_close(waiter);
    ipc_cell_close(reader);
    ipc_cell_close(cell);
    ipc_shm_close(shm);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: regions NAME\n");
        return 1;
    }
    show_regions(argv[1]);
    show_cells();
    return 0;
}
