/*
 * Several threads use one cell, under ThreadSanitizer: each access to the shared memory must be
 * atomic, and no value may be torn.
 *
 *     threads VALUE_SIZE STORES
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <unixipc.h>

#define WRITERS 2
#define READERS 2

static struct ipc_cell *cell;
static size_t size;
static uint64_t stores;

static void *write_values(void *of)
{
    unsigned char *value = malloc(size);
    if (!value)
        err(1, "malloc");
    for (uint64_t i = 0; i < stores; i++) {
        memset(value, (int)(2 * i + (uintptr_t)of), size);
        if (ipc_cell_store(cell, value, size, -1) < 0)
            err(1, "ipc_cell_store");
    }
    free(value);
    return NULL;
}

static void *read_values(void *of)
{
    unsigned char *value = malloc(size);
    uint64_t version = 0, last = 0;
    (void)of;
    if (!value)
        err(1, "malloc");
    while (version < WRITERS * stores) {
        if (ipc_cell_wait(cell, version, 20000) < 0)
            err(1, "ipc_cell_wait");
        if (ipc_cell_load(cell, value, size, &version) < 0) {
            if (errno != EAGAIN)
                err(1, "ipc_cell_load");
            continue;
        }
        if (version <= last || memcmp(value, value + 1, size - 1) != 0)
            errx(1, "a torn value, or version %ju after %ju", (uintmax_t)version, (uintmax_t)last);
        last = version;
    }
    free(value);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[WRITERS + READERS];
    if (argc != 3)
        errx(1, "usage: threads VALUE_SIZE STORES");
    size = strtoul(argv[1], NULL, 0);
    stores = strtoull(argv[2], NULL, 0);
    size_t bytes = ipc_cell_memory_size(size);
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        err(1, "mmap");
    if (ipc_cell_init(mem, bytes, size, IPC_CELL_F_WAITABLE, &cell) < 0)
        err(1, "ipc_cell_init");
    for (uintptr_t i = 0; i < WRITERS + READERS; i++)
        if ((errno = pthread_create(&threads[i], NULL, i < WRITERS ? write_values : read_values,
                                    (void *)i)))
            err(1, "pthread_create");
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(threads[i], NULL);
    ipc_cell_close(cell);
    return 0;
}
