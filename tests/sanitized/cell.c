/*
 * Hostile writers: processes overwrite a cell's memory at full speed, while this process opens,
 * loads and waits. The calls may fail, or return values of a valid length. They must not crash,
 * hang, or access anything outside the memory.
 *
 *     cell VALUE_SIZE SECONDS
 *
 * An inaccessible page precedes the cell's first page, and another one begins where the cell ends.
 * For AddressSanitizer, the bytes before the cell in its first page are poisoned, and every buffer
 * has exactly the size that is passed to the library.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/asan_interface.h>
#include <unixipc.h>

#define WRITERS 2

/* The offsets of the fields that the writers attack. */
enum {
    SLOTS_AT = 12,
    SIZE_AT = 16,
    STRIDE_AT = 24,
    PUBLISHED_AT = 64,
    LOCK_AT = 128,
    SLOT_AT = 256
};

static size_t value_size, bytes, stride;
static uint32_t slots;

static uint64_t seed;

static uint64_t next(void)
{
    uint64_t x = seed += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The size of the file and of its mappings: whole pages. */
static size_t file_size(void)
{
    return (bytes + page_size() - 1) / page_size() * page_size();
}

/* Maps a file between two inaccessible pages. Returns a cell's memory at the end of the mapping. */
static unsigned char *map(int fd, int protection)
{
    size_t page = page_size(), inner = file_size();
    char *outer = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (outer == MAP_FAILED)
        err(1, "mmap");
    if (mmap(outer + page, inner, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        err(1, "mmap");
    ASAN_POISON_MEMORY_REGION(outer + page, inner - bytes);
    return (unsigned char *)outer + page + inner - bytes;
}

/* A number that code may fail to expect. */
static uint64_t adversarial(void)
{
    static const uint64_t boundary_values[] = {
        0,
        1,
        2,
        15,
        16,
        17,
        63,
        64,
        65,
        255,
        4096,
        0x7fffffff,
        0x80000000u,
        0xffffffffu,
        0x100000000u,
        0x7fffffffffffffffu,
        0x8000000000000000u,
        0xfffffffffffffff0u,
        0xffffffffffffffffu,
    };
    switch (next() % 4) {
    case 0:
        return boundary_values[next() % (sizeof(boundary_values) / sizeof(*boundary_values))];
    case 1:
        return value_size + next() % 3 - 1;
    case 2:
        return stride + next() % 3 - 1;
    default:
        return next() >> (next() % 64);
    }
}

static void put32(unsigned char *at, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)at, value, __ATOMIC_RELAXED);
}

static void put64(unsigned char *at, uint64_t value)
{
    __atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELAXED);
}

static unsigned char *slot(unsigned char *mem, uint64_t version)
{
    return mem + SLOT_AT + (version & (slots - 1)) * stride;
}

/* Publishes a slot with a version and a length. */
static void publish(unsigned char *mem, uint64_t version, uint64_t len)
{
    put64(slot(mem, version) + 8, len);
    put64(slot(mem, version), version);
    put32(mem + PUBLISHED_AT, (uint32_t)version);
}

/* Overwrites the memory forever. valid is a copy of a cell with a value. */
__attribute__((noreturn)) static void overwrite(unsigned char *mem, const unsigned char *valid,
                                                uint64_t start)
{
    seed = start;
    for (;;) {
        uint64_t version = 1 + next() % 64;
        switch (next() % 8) {
        case 0: /* a valid cell, so that it can be opened */
            memcpy(mem, valid, SLOT_AT + 2 * stride);
            break;
        case 1: /* noise over everything */
            for (size_t i = 0; i + 8 <= bytes; i += 8 * (1 + next() % 16))
                put64(mem + i, next());
            break;
        case 2: /* a valid cell except for one field */
            memcpy(mem, valid, SLOT_AT + 2 * stride);
            put64(mem + 8 * (next() % 4), adversarial());
            break;
        case 3: /* a header with sizes that exceed the memory */
            memcpy(mem, valid, SLOT_AT);
            put32(mem + SLOTS_AT, 1u << (next() % 32));
            put64(mem + STRIDE_AT, 64 * (next() >> (next() % 64)));
            put64(mem + SIZE_AT, next() % 2 ? adversarial() : stride - 64);
            break;
        case 4: /* values that change while a reader copies them */
            for (int i = 0; i < 2000; i++, version++)
                publish(mem, version, 1 + next() % value_size);
            break;
        case 5: /* values of invalid lengths */
            for (int i = 0; i < 200; i++)
                publish(mem, version + next() % 4, adversarial());
            break;
        case 6: /* versions that do not match the published word */
            for (int i = 0; i < 2000; i++) {
                put32(mem + PUBLISHED_AT, (uint32_t)adversarial());
                put64(slot(mem, next()), adversarial());
            }
            break;
        default: /* wake-ups, with and without a new value */
            for (int i = 0; i < 20; i++) {
                put32(mem + PUBLISHED_AT, (uint32_t)(next() % 3));
                syscall(SYS_futex, mem + PUBLISHED_AT, FUTEX_WAKE, 1 << 30);
            }
        }
    }
}

enum call { OPEN, LOAD, WAIT, CALLS };
static const char *const names[CALLS] = {"open", "load", "wait"};
static const int allowed[CALLS][6] = {
    [OPEN] = {EPROTO, ESTALE},
    [LOAD] = {EPROTO, EAGAIN, ENODATA, EMSGSIZE},
    [WAIT] = {EPROTO, EAGAIN, ETIMEDOUT, EOPNOTSUPP},
};
static long succeeded[CALLS], failed[CALLS];

/* Checks and counts a result. Returns whether the call succeeded. */
static int check(enum call call, long result, double begin, double limit)
{
    int error = errno;
    if (now() - begin > limit)
        errx(1, "%s took %.3f s", names[call], now() - begin);
    if (result >= 0) {
        succeeded[call]++;
        return 1;
    }
    failed[call]++;
    for (int i = 0; i < 6; i++)
        if (allowed[call][i] == error)
            return 0;
    errno = error;
    err(1, "%s", names[call]);
}

/* Loads and waits once. */
static void use(struct ipc_cell *cell, int wait_ms)
{
    size_t size = ipc_cell_value_size(cell);
    size_t cap = size;
    if (next() % 4 == 0)
        cap = 1 + next() % size;
    else if (next() % 4 == 0)
        cap += next() % (8 * stride);
    unsigned char *buffer = malloc(cap);
    uint64_t version = 0;

    if (!buffer)
        err(1, "malloc");
    double begin = now();
    ssize_t len = ipc_cell_load(cell, buffer, cap, &version);
    if (check(LOAD, len, begin, 20) && (len == 0 || (size_t)len > cap || (size_t)len > size))
        errx(1, "a value of %zd bytes in a buffer of %zu bytes", len, cap);
    free(buffer);

    begin = now();
    check(WAIT, ipc_cell_wait(cell, next() % 2 ? version : adversarial(), wait_ms), begin, 20);
}

static struct ipc_cell *open_cell(const unsigned char *mem, unsigned flags)
{
    struct ipc_cell *cell = NULL;
    double begin = now();
    int ret = ipc_cell_open(mem, bytes, flags, &cell);
    if (!check(OPEN, ret, begin, 20))
        return NULL;
    if (ipc_cell_value_size(cell) == 0 || ipc_cell_value_size(cell) > bytes)
        errx(1, "a cell of %zu bytes", ipc_cell_value_size(cell));
    return cell;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(1, "usage: cell VALUE_SIZE SECONDS");
    value_size = strtoul(argv[1], NULL, 0);
    double seconds = strtod(argv[2], NULL);
    bytes = ipc_cell_memory_size(value_size);

    int fd = memfd_create("cell", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)file_size()) < 0)
        err(1, "memfd");
    unsigned char *writable = map(fd, PROT_READ | PROT_WRITE);
    unsigned char *readable = map(fd, PROT_READ);

    struct ipc_cell *first, *opened[2];
    unsigned char *value = calloc(1, value_size), *valid = malloc(bytes);
    if (!value || !valid)
        err(1, "malloc");
    /* Tests both ways of waking waiters. */
    unsigned flags = value_size < 1000 ? IPC_CELL_F_WAITABLE : IPC_CELL_F_WAITABLE_RDONLY;
    if (ipc_cell_init(writable, bytes, value_size, flags, &first) < 0)
        err(1, "ipc_cell_init");
    if (ipc_cell_store(first, value, value_size, 0) < 0)
        err(1, "ipc_cell_store");
    memcpy(valid, writable, bytes);
    memcpy(&slots, valid + SLOTS_AT, sizeof(slots));
    memcpy(&stride, valid + STRIDE_AT, sizeof(stride));
    opened[0] = open_cell(readable, IPC_CELL_F_RDONLY);
    opened[1] = open_cell(writable, 0);

    pid_t parent = getpid(), writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        if (writers[i] < 0)
            err(1, "fork");
        if (writers[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == parent)
                overwrite(writable, valid, (uint64_t)i << 32);
            _exit(1);
        }
    }

    seed = 99;
    double end = now() + seconds;
    for (long round = 0; now() < end; round++) {
        for (int i = 0; i < 2; i++) {
            for (int turn = 0; turn < 50; turn++)
                use(opened[i], 0);
            use(opened[i], 1 + (int)(next() % 3));
            for (int turn = 0; turn < 20; turn++) {
                struct ipc_cell *again =
                    open_cell(i ? writable : readable, i ? 0 : IPC_CELL_F_RDONLY);
                if (again)
                    use(again, (int)(next() % 2));
                ipc_cell_close(again);
            }
        }
    }

    for (int i = 0; i < WRITERS; i++) {
        if (waitpid(writers[i], NULL, WNOHANG) != 0)
            errx(1, "a hostile writer has ended");
        kill(writers[i], SIGKILL);
        waitpid(writers[i], NULL, 0);
    }
    for (int call = 0; call < CALLS; call++) {
        printf("%s: %ld succeeded, %ld failed\n", names[call], succeeded[call], failed[call]);
        if (succeeded[call] < 10 || failed[call] < 10)
            errx(1, "too few calls succeeded or failed");
    }
    ipc_cell_close(first);
    ipc_cell_close(opened[0]);
    ipc_cell_close(opened[1]);
    free(value);
    free(valid);
    return 0;
}
