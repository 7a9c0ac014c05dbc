/* ipc_cell: processes share a value; one of them can only read the memory. */
#include "check.h"

#include <sys/mman.h>

enum { ROUNDS = 20000 };

struct value {
    uint64_t first;
    char text[100];
    uint64_t last;
};

static void *map(int fd, size_t size, int protection)
{
    void *mem = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

    CHECK(mem != MAP_FAILED);
    return mem;
}

/* Waits for new versions until the last; it may miss some. */
static void reader(int fd, size_t size)
{
    void *mem = map(fd, size, PROT_READ);
    struct ipc_cell *cell;
    struct value value;
    uint64_t version = 0, before;

    CHECK(ipc_cell_open(mem, size, IPC_CELL_F_RDONLY, &cell) == 0);
    CHECK(ipc_cell_value_size(cell) == sizeof value);
    CHECK(ipc_cell_store(cell, &value, sizeof value, 0) == -1 && errno == EBADF);
    do {
        before = version;
        CHECK(ipc_cell_wait(cell, version, 20000) == 0);
        CHECK(ipc_cell_load(cell, &value, sizeof value, &version) == (ssize_t)sizeof value);
        CHECK(version > before);
        CHECK(value.first == version && value.last == version);
    } while (version < ROUNDS);
    CHECK(ipc_cell_wait(cell, version, 1) == -1 && errno == ETIMEDOUT);
    ipc_cell_close(cell);
    CHECK(munmap(mem, size) == 0);
    CHECK(close(fd) == 0);
    exit(0);
}

static void between_processes(void)
{
    size_t size = ipc_cell_memory_size(sizeof(struct value));
    int fd = memfd_create("cell", MFD_CLOEXEC);
    struct value value;
    struct ipc_cell *cell;
    pid_t readers[2];
    void *mem;
    int i;

    CHECK(size > 0 && fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    mem = map(fd, size, PROT_READ | PROT_WRITE);
    CHECK(ipc_cell_init(mem, size, sizeof value, IPC_CELL_F_WAITABLE_RDONLY, &cell) == 0);
    CHECK(ipc_cell_load(cell, &value, sizeof value, NULL) == -1 && errno == ENODATA);
    for (i = 0; i < 2; i++) {
        readers[i] = check_fork();
        if (readers[i] == 0) {
            ipc_cell_close(cell); /* the child's copy of the parent's handle */
            CHECK(munmap(mem, size) == 0);
            reader(fd, size);
        }
    }
    memset(&value, 0, sizeof value);
    for (i = 1; i <= ROUNDS; i++) {
        value.first = value.last = (uint64_t)i;
        CHECK(ipc_cell_store(cell, &value, sizeof value, -1) == 0);
    }
    for (i = 0; i < 2; i++) {
        check_passed(readers[i]);
    }
    ipc_cell_close(cell);
    CHECK(munmap(mem, size) == 0);
    CHECK(close(fd) == 0);
}

static void refusals(void)
{
    _Alignas(64) static unsigned char mem[8192];
    struct ipc_cell *cell = NULL;
    char byte = 1;

    CHECK(ipc_cell_memory_size(0) == 0 && ipc_cell_memory_size((size_t)-1) == 0);
    CHECK(ipc_cell_open(mem, sizeof mem, 0, &cell) == -1 && errno == EPROTO);
    CHECK(ipc_cell_init(mem, sizeof mem, 100000, 0, &cell) == -1 && errno == ENOSPC);
    CHECK(ipc_cell_init(mem + 1, sizeof mem - 1, 1, 0, &cell) == -1 && errno == EINVAL);
    CHECK(ipc_cell_init(mem, sizeof mem, 1, ~0u, &cell) == -1 && errno == EINVAL);
    CHECK(ipc_cell_init(NULL, sizeof mem, 1, 0, &cell) == -1 && errno == EINVAL);
    CHECK(cell == NULL);
    CHECK(ipc_cell_init(mem, sizeof mem, 1, 0, &cell) == 0);
    CHECK(ipc_cell_wait(cell, 0, 0) == -1 && errno == EOPNOTSUPP);
    CHECK(ipc_cell_store(cell, "ab", 2, 0) == -1 && errno == EMSGSIZE);
    CHECK(ipc_cell_store(cell, &byte, 1, 0) == 0);
    byte = 0;
    CHECK(ipc_cell_load(cell, &byte, 1, NULL) == 1 && byte == 1);
    ipc_cell_close(cell);
    ipc_cell_close(NULL);
    CHECK(ipc_cell_value_size(NULL) == 0);
}

int main(void)
{
    between_processes();
    refusals();
    return 0;
}
