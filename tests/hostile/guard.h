/*
 * The common part of the programs of this suite: guard pages around the mappings of the library, older
 * kernels, the address of a listener. A program is linked with --wrap=mmap and --wrap=munmap, and
 * defines poison_control.
 */
#ifndef GUARD_H
#define GUARD_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sanitizer/asan_interface.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "peer.h"

/* The time by which a call may exceed its time-out on a busy machine, in nanoseconds. */
#define TOLERANCE_NS 4000000000

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Poisons the gaps between the control words and the label. */
static void poison_control(uint8_t *page);

#define GUARD    65536
#define MAPPINGS 32

struct mapping {
    uint8_t *at;
    size_t len;
};

static struct mapping mappings[MAPPINGS];
static int guarded; /* the number of mappings that were made with guard pages */

void *__real_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t len);
void *__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t len);

/* The library first maps the repetition of a ring, and then, directly before it, the control words
 * and the ring. A peer maps its memory without a repetition. */
void *__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    for (int i = 0; at != NULL && i < MAPPINGS; i++) {
        if (mappings[i].at == at) {
            expect(len == MEMORY_SIZE && offset == 0, "another mapping before a repetition");
            flags = (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
            void *mapped = __real_mmap(at, len, protection, flags, fd, offset);
            if (mapped != MAP_FAILED) {
                poison_control(at);
                guarded++;
            }
            return mapped;
        }
    }
    if (at != NULL || fd < 0 || offset != CONTROL_SIZE) {
        return __real_mmap(at, len, protection, flags, fd, offset);
    }
    size_t all = MEMORY_SIZE + len;
    uint8_t *reserved = __real_mmap(NULL, all + 2 * GUARD, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (reserved == MAP_FAILED) {
        return reserved;
    }
    uint8_t *repetition = reserved + GUARD + MEMORY_SIZE;
    if (__real_mmap(repetition, len, protection, flags | MAP_FIXED, fd, offset) == MAP_FAILED) {
        int failed = errno;
        __real_munmap(reserved, all + 2 * GUARD);
        errno = failed;
        return MAP_FAILED;
    }
    for (int i = 0; i < MAPPINGS; i++) {
        if (mappings[i].at == NULL) {
            mappings[i] = (struct mapping){reserved + GUARD, all};
            return repetition;
        }
    }
    fail("mappings are left");
    return MAP_FAILED;
}

int __wrap_munmap(void *at, size_t len)
{
    for (int i = 0; i < MAPPINGS; i++) {
        if (mappings[i].at == at) {
            expect(mappings[i].len == len, "part of a mapping was unmapped");
            mappings[i].at = NULL;
            __asan_unpoison_memory_region(at, len);
            return __real_munmap((uint8_t *)at - GUARD, len + 2 * GUARD);
        }
    }
    return __real_munmap(at, len); /* a mapping of a hostile peer */
}

/* Makes pwritev2 and preadv2 fail with these flags, as in older kernels, in this process and its
 * children. */
static void simulate_older_kernel(unsigned refused_flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, refused_flags, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    expect(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

static struct sockaddr_un address; /* of the victim's listener */
static socklen_t address_len;

/* Stores the name of a listener in `name`, and its address in `address`. */
static void name_listener(char name[64], const char *whose)
{
    snprintf(name, 64, "@unixipc-hostile-%s-%d", whose, getpid());
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    address_len = offsetof(struct sockaddr_un, sun_path) + strlen(name);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

static void expect_no_mappings(void)
{
    for (int i = 0; i < MAPPINGS; i++) {
        expect(mappings[i].at == NULL, "a mapping is left");
    }
}

/* A value near the right one, at a boundary, or random. */
static uint64_t bad_cursor(uint64_t right, uint64_t *random)
{
    static const uint64_t steps[] = {
        8,
        16,
        4096,
        RING_SIZE - 8,
        RING_SIZE,
        RING_SIZE + 8,
        2 * RING_SIZE,
        1,
        4,
        7,
        (uint64_t)1 << 31,
        (uint64_t)1 << 32,
        (uint64_t)1 << 63,
        UINT64_MAX - 7,
        UINT64_MAX,
    };
    uint64_t step = steps[next_random(random) % (sizeof(steps) / sizeof(steps[0]))];

    switch (next_random(random) % 8) {
    case 0:
        return next_random(random);
    case 1:
        return step;
    case 2:
    case 3:
        return right - step;
    default:
        return right + step;
    }
}

static inline uint32_t bad_length(uint64_t *random)
{
    static const uint32_t lengths[] = {
        0,
        1,
        4,
        12,
        4092,
        RING_SIZE - 68,
        RING_SIZE - 11,
        RING_SIZE - 4,
        RING_SIZE,
        2 * RING_SIZE,
        4 * RING_SIZE,
        INT32_MAX,
        UINT32_MAX - 11,
        UINT32_MAX - 3,
        UINT32_MAX,
    };

    if (next_random(random) % 4 == 0) {
        return next_random(random);
    }
    return lengths[next_random(random) % (sizeof(lengths) / sizeof(lengths[0]))];
}

/* Opens a pipe again with other flags, and replaces its descriptor. */
static inline void reopen(int *fd, int flags)
{
    char path[64];

    if (*fd < 0) {
        return;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    int again = open(path, flags | O_CLOEXEC);
    if (again >= 0) {
        close(*fd);
        *fd = again;
    }
}

#endif
