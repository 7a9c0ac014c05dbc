/* Shared memory: rings that sleep with a futex, an eventfd or a pipe, and the cost of copying and
 * mapping.
 * Part of the subject kernel. */
#include "subject.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* --- a ring that sleeps with a futex, an eventfd or a pipe --- */

enum sleep_by { FUTEX, EVENTFD, PIPE };

/* Before a process sleeps, it sets `asleep` and checks again. The other process wakes it if
 * `asleep` is set. Each has a full fence between its store and its load, so that at least one of
 * them sees the store of the other. */
struct sleeper {
    _Alignas(128) uint32_t asleep; /* also the futex */
    int fds[2];                    /* read and written to: a pipe, or twice the eventfd */
};

struct ring {
    _Alignas(128) uint64_t tail; /* bytes that have been written */
    _Alignas(128) uint64_t head; /* bytes that have been read */
    struct sleeper reader, writer;
    _Alignas(128) size_t size;
};

/* The private state of one process for one ring. */
struct cursor {
    struct ring *ring;
    char *data;
    uint64_t own, cached; /* the own cursor, and the last value seen of the other process's */
    char padding[96];
};

static struct ring *rings[2];
static struct cursor to, from;

static void make_sleeper(struct sleeper *sleeper, enum sleep_by by)
{
    if (by == PIPE)
        subject_must(pipe2(sleeper->fds, O_CLOEXEC), "pipe2");
    if (by == EVENTFD) {
        subject_must(sleeper->fds[0] = eventfd(0, EFD_CLOEXEC), "eventfd");
        sleeper->fds[1] = sleeper->fds[0];
    }
}

static struct ring *make_ring(size_t size, enum sleep_by by)
{
    struct ring *ring = subject_memory(sizeof(*ring) + size);

    ring->size = size;
    make_sleeper(&ring->reader, by);
    make_sleeper(&ring->writer, by);
    return ring;
}

static void prepare_rings(enum sleep_by by)
{
    for (int i = 0; i < 2; i++)
        rings[i] = make_ring(subject_ring_size(), by);
}

static void futex_ring_prepare(void)
{
    prepare_rings(FUTEX);
}

static void eventfd_ring_prepare(void)
{
    prepare_rings(EVENTFD);
}

static void pipe_ring_prepare(void)
{
    prepare_rings(PIPE);
}

static void ring_open(void)
{
    to.ring = rings[subject_side];
    from.ring = rings[1 - subject_side];
    to.data = (char *)(to.ring + 1);
    from.data = (char *)(from.ring + 1);
}

SUBJECT_INLINE void wake(struct sleeper *sleeper, enum sleep_by by)
{
    uint64_t one = 1;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sleeper->asleep, __ATOMIC_RELAXED) == 0)
        return;
    __atomic_store_n(&sleeper->asleep, 0, __ATOMIC_RELAXED);
    if (by == FUTEX)
        syscall(SYS_futex, &sleeper->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
    else
        subject_must(write(sleeper->fds[1], &one, by == PIPE ? 1 : sizeof(one)), "write");
}

/* Sleeps, unless the word has changed since it was read as `seen`. */
static void sleep_unless_changed(struct sleeper *sleeper, const uint64_t *word, uint64_t seen,
                                 enum sleep_by by)
{
    uint64_t times;

    __atomic_store_n(&sleeper->asleep, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) {
        __atomic_store_n(&sleeper->asleep, 0, __ATOMIC_RELAXED);
        return;
    }
    if (by == FUTEX)
        syscall(SYS_futex, &sleeper->asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
    else
        subject_must(read(sleeper->fds[0], &times, sizeof(times)), "read");
}

SUBJECT_INLINE void ring_put(size_t len, uint64_t n, enum sleep_by by)
{
    struct cursor *cursor = &to;
    struct ring *ring = cursor->ring;
    size_t at = cursor->own & (ring->size - 1);
    size_t first = len < ring->size - at ? len : ring->size - at;

    subject_fill(subject_out, len, n);
    while (ring->size - (cursor->own - cursor->cached) < len) {
        uint64_t seen = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        if (seen == cursor->cached)
            sleep_unless_changed(&ring->writer, &ring->head, seen, by);
        cursor->cached = seen;
    }
    memcpy(cursor->data + at, subject_out, first);
    memcpy(cursor->data, subject_out + first, len - first);
    cursor->own += len;
    __atomic_store_n(&ring->tail, cursor->own, __ATOMIC_RELEASE);
    wake(&ring->reader, by);
}

SUBJECT_INLINE void ring_get(size_t len, uint64_t n, enum sleep_by by)
{
    struct cursor *cursor = &from;
    struct ring *ring = cursor->ring;
    size_t at = cursor->own & (ring->size - 1);
    size_t first = len < ring->size - at ? len : ring->size - at;

    while (cursor->cached - cursor->own < len) {
        uint64_t seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
        if (seen == cursor->cached)
            sleep_unless_changed(&ring->reader, &ring->tail, seen, by);
        cursor->cached = seen;
    }
    memcpy(subject_in, cursor->data + at, first);
    memcpy(subject_in + first, cursor->data, len - first);
    cursor->own += len;
    __atomic_store_n(&ring->head, cursor->own, __ATOMIC_RELEASE);
    wake(&ring->writer, by);
    subject_check(subject_in, len, n);
}

SUBJECT_INLINE void futex_ring_put(size_t len, uint64_t n)
{
    ring_put(len, n, FUTEX);
}

SUBJECT_INLINE void futex_ring_get(size_t len, uint64_t n)
{
    ring_get(len, n, FUTEX);
}

SUBJECT_INLINE void eventfd_ring_put(size_t len, uint64_t n)
{
    ring_put(len, n, EVENTFD);
}

SUBJECT_INLINE void eventfd_ring_get(size_t len, uint64_t n)
{
    ring_get(len, n, EVENTFD);
}

SUBJECT_INLINE void pipe_ring_put(size_t len, uint64_t n)
{
    ring_put(len, n, PIPE);
}

SUBJECT_INLINE void pipe_ring_get(size_t len, uint64_t n)
{
    ring_get(len, n, PIPE);
}

SUBJECT_LOOP(futex_ring)
SUBJECT_LOOP(eventfd_ring)
SUBJECT_LOOP(pipe_ring)

/* --- the limit: one copy --- */

static void copy(void)
{
    memcpy(subject_in, subject_out, subject.len);
    __asm__ volatile("" : : "r"(subject_in) : "memory");
}

SUBJECT_REPEAT(copy)

/* --- creating, using and removing --- */

static uint64_t number; /* of the next message */

/* The memory of a ring: a memfd that is mapped twice, as two processes would do. The kernel
 * allocates it on first access or in advance. */
SUBJECT_INLINE void use_memfd(bool allocate)
{
    size_t size = subject_ring_size();
    int fd = memfd_create("subject", MFD_CLOEXEC);

    subject_must(fd, "memfd_create");
    if (allocate)
        subject_must(fallocate(fd, 0, 0, (off_t)size), "fallocate");
    else
        subject_must(ftruncate(fd, (off_t)size), "ftruncate");
    char *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *in = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (out == MAP_FAILED || in == MAP_FAILED)
        err(1, "mmap");
    subject_fill(out, subject.len, number);
    subject_check(in, subject.len, number++);
    munmap(out, size);
    munmap(in, size);
    close(fd);
}

static void memfd_setup(void)
{
    use_memfd(false);
}

static void allocated_memfd_setup(void)
{
    use_memfd(true);
}

SUBJECT_SETUP_OPERATION(memfd, NULL)
SUBJECT_SETUP_OPERATION(allocated_memfd, NULL)

/* --- rows --- */

static const struct subject_transport futex_ring = {futex_ring_prepare, ring_open, futex_ring_loop,
                                                    NULL};
static const struct subject_transport eventfd_ring = {eventfd_ring_prepare, ring_open,
                                                      eventfd_ring_loop, NULL};
static const struct subject_transport pipe_ring = {pipe_ring_prepare, ring_open, pipe_ring_loop,
                                                   NULL};
static const struct subject_operation copying = {NULL, copy_repeat, NULL};

const struct subject_row kernel_memory[] = {
    SUBJECT_TRANSPORT("futex-ring", "ring with futex", "", NULL, futex_ring),
    SUBJECT_TRANSPORT("eventfd-ring", "ring with eventfd", "", NULL, eventfd_ring),
    {"pipe-ring", "latency-block", "ring with pipe", "", NULL, &pipe_ring, NULL},
    {"memcpy", "rate", "memcpy, one process", "limit", NULL, NULL, &copying},
    SUBJECT_SETUP("memfd", "memfd, mapped twice", "", NULL, memfd),
    SUBJECT_SETUP("memfd-full", "memfd, allocated", "", NULL, allocated_memfd),
    {0},
};
