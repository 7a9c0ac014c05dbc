/*
 * A hostile neighbour: processes that can write to a cell's memory scribble over all of it at
 * full speed, while this one opens, loads and waits. It may get errors, and values of a right
 * length; it may not crash, hang, or touch anything outside the memory.
 *
 *     cell VALUE_SIZE SECONDS
 *
 * The cell ends where a page begins that cannot be touched; so does what is before its first
 * page. What is before the cell in that page is poisoned, and every buffer is exactly as long as
 * is said, for AddressSanitizer.
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

#define PAGE 4096
#define NEIGHBOURS 2

/* Where the layout has what a neighbour aims at. */
enum { SLOTS_AT = 12, SIZE_AT = 16, STRIDE_AT = 24, PUBLISHED_AT = 64, LOCK_AT = 128, SLOT_AT = 256 };

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

/* The memory of a file between two pages that cannot be touched, at the end of its pages. */
static unsigned char *map(int fd, int protection)
{
    size_t inner = (bytes + PAGE - 1) / PAGE * PAGE;
    char *outer = mmap(NULL, inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (outer == MAP_FAILED)
        err(1, "mmap");
    if (mmap(outer + PAGE, inner, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        err(1, "mmap");
    ASAN_POISON_MEMORY_REGION(outer + PAGE, inner - bytes);
    return (unsigned char *)outer + PAGE + inner - bytes;
}

/* A number that somebody did not think of. */
static uint64_t adversarial(void)
{
    static const uint64_t odd[] = {
        0, 1, 2, 15, 16, 17, 63, 64, 65, 255, 4096, 0x7fffffff, 0x80000000u, 0xffffffffu, 0x100000000u,
        0x7fffffffffffffffu, 0x8000000000000000u, 0xfffffffffffffff0u, 0xffffffffffffffffu,
    };
    switch (next() % 4) {
    case 0:
        return odd[next() % (sizeof(odd) / sizeof(*odd))];
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

/* A version that is really there, or was, with a length. */
static void plausible(unsigned char *mem, uint64_t version, uint64_t len)
{
    put64(slot(mem, version) + 8, len);
    put64(slot(mem, version), version);
    put32(mem + PUBLISHED_AT, (uint32_t)version);
}

/* Writes over all of it, for ever; right is what a cell with a value looks like. */
__attribute__((noreturn)) static void scribble(unsigned char *mem, const unsigned char *right, uint64_t start)
{
    seed = start;
    for (;;) {
        uint64_t version = 1 + next() % 64;
        switch (next() % 8) {
        case 0: /* a cell again, so that it can be opened */
            memcpy(mem, right, SLOT_AT + 2 * stride);
            break;
        case 1: /* noise over everything */
            for (size_t i = 0; i + 8 <= bytes; i += 8 * (1 + next() % 16))
                put64(mem + i, next());
            break;
        case 2: /* a cell with one odd number */
            memcpy(mem, right, SLOT_AT + 2 * stride);
            put64(mem + 8 * (next() % 4), adversarial());
            break;
        case 3: /* a header that says more than there is */
            memcpy(mem, right, SLOT_AT);
            put32(mem + SLOTS_AT, 1u << (next() % 32));
            put64(mem + STRIDE_AT, 64 * (next() >> (next() % 64)));
            put64(mem + SIZE_AT, next() % 2 ? adversarial() : stride - 64);
            break;
        case 4: /* values that always change under the reader */
            for (int i = 0; i < 2000; i++, version++)
                plausible(mem, version, 1 + next() % value_size);
            break;
        case 5: /* values of odd lengths */
            for (int i = 0; i < 200; i++)
                plausible(mem, version + next() % 4, adversarial());
            break;
        case 6: /* the published word and the versions apart from each other */
            for (int i = 0; i < 2000; i++) {
                put32(mem + PUBLISHED_AT, (uint32_t)adversarial());
                put64(slot(mem, next()), adversarial());
            }
            break;
        default: /* waking who sleeps, for nothing and for something */
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
static long good[CALLS], bad[CALLS];

/* Counts a result, which must be one of those that may be. */
static int judge(enum call call, long result, double begin, double limit)
{
    int error = errno;
    if (now() - begin > limit)
        errx(1, "%s took %.3f s", names[call], now() - begin);
    if (result >= 0) {
        good[call]++;
        return 1;
    }
    bad[call]++;
    for (int i = 0; i < 6; i++)
        if (allowed[call][i] == error)
            return 0;
    errno = error;
    err(1, "%s", names[call]);
}

/* Does everything once with a handle. */
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
    if (judge(LOAD, len, begin, 20) && (len == 0 || (size_t)len > cap || (size_t)len > size))
        errx(1, "a value of %zd bytes in a buffer of %zu", len, cap);
    free(buffer);

    begin = now();
    judge(WAIT, ipc_cell_wait(cell, next() % 2 ? version : adversarial(), wait_ms), begin, 20);
}

static struct ipc_cell *open_anew(const unsigned char *mem, unsigned flags)
{
    struct ipc_cell *cell = NULL;
    double begin = now();
    int ret = ipc_cell_open(mem, bytes, flags, &cell);
    if (!judge(OPEN, ret, begin, 20))
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
    if (fd < 0 || ftruncate(fd, (off_t)((bytes + PAGE - 1) / PAGE * PAGE)) < 0)
        err(1, "memfd");
    unsigned char *writable = map(fd, PROT_READ | PROT_WRITE);
    unsigned char *readable = map(fd, PROT_READ);

    struct ipc_cell *first, *opened[2];
    unsigned char *value = calloc(1, value_size), *right = malloc(bytes);
    if (!value || !right)
        err(1, "malloc");
    /* Both ways in which waiting threads are woken. */
    unsigned flags = value_size < 1000 ? IPC_CELL_F_WAITABLE : IPC_CELL_F_WAITABLE_RDONLY;
    if (ipc_cell_init(writable, bytes, value_size, flags, &first) < 0)
        err(1, "ipc_cell_init");
    if (ipc_cell_store(first, value, value_size, 0) < 0)
        err(1, "ipc_cell_store");
    memcpy(right, writable, bytes);
    memcpy(&slots, right + SLOTS_AT, sizeof(slots));
    memcpy(&stride, right + STRIDE_AT, sizeof(stride));
    opened[0] = open_anew(readable, IPC_CELL_F_RDONLY);
    opened[1] = open_anew(writable, 0);

    pid_t parent = getpid(), neighbours[NEIGHBOURS];
    for (int i = 0; i < NEIGHBOURS; i++) {
        neighbours[i] = fork();
        if (neighbours[i] < 0)
            err(1, "fork");
        if (neighbours[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == parent)
                scribble(writable, right, (uint64_t)i << 32);
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
                struct ipc_cell *again = open_anew(i ? writable : readable, i ? 0 : IPC_CELL_F_RDONLY);
                if (again)
                    use(again, (int)(next() % 2));
                ipc_cell_close(again);
            }
        }
    }

    for (int i = 0; i < NEIGHBOURS; i++) {
        if (waitpid(neighbours[i], NULL, WNOHANG) != 0)
            errx(1, "a neighbour has ended");
        kill(neighbours[i], SIGKILL);
        waitpid(neighbours[i], NULL, 0);
    }
    for (int call = 0; call < CALLS; call++) {
        printf("%s: %ld good, %ld refused\n", names[call], good[call], bad[call]);
        if (good[call] < 10 || bad[call] < 10)
            errx(1, "the neighbours were too kind, or too rough");
    }
    ipc_cell_close(first);
    ipc_cell_close(opened[0]);
    ipc_cell_close(opened[1]);
    free(value);
    free(right);
    return 0;
}
