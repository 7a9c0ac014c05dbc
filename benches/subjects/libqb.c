/* libqb: its ring buffer between processes, with and without the semaphore on which readers sleep.
 * A writer cannot sleep until the ring has space: it retries, as the library's own examples do. */
#include "subject.h"

#include <limits.h>
#include <qb/qbconfig.h>
#include <qb/qbrb.h>

static qb_ringbuffer_t *rings[2], *to, *from;

/* The files of the ring, in /dev/shm, have the name of this run. qb_rb_close removes them. */
static qb_ringbuffer_t *ring_new(int number, uint32_t flags)
{
    char name[NAME_MAX];

    snprintf(name, sizeof(name), "%s-%d", subject_name(), number);
    qb_ringbuffer_t *ring = qb_rb_open(name, subject_ring_size(),
                                       QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS | flags, 0);
    if (ring == NULL)
        err(1, "qb_rb_open");
    return ring;
}

static void ring_prepare(void)
{
    for (int i = 0; i < 2; i++)
        rings[i] = ring_new(i, 0);
}

static void polled_prepare(void)
{
    for (int i = 0; i < 2; i++)
        rings[i] = ring_new(i, QB_RB_FLAG_NO_SEMAPHORE);
}

static void ring_open(void)
{
    to = rings[subject_side];
    from = rings[1 - subject_side];
}

/* The library does not count a process that has inherited the rings by fork as a user of them. */
static void ring_close(void)
{
    for (int i = 0; i < 2 && subject_side == 0; i++)
        qb_rb_close(rings[i]);
}

SUBJECT_INLINE void ring_put(size_t len, uint64_t n)
{
    ssize_t put;

    subject_fill(subject_out, len, n);
    while ((put = qb_rb_chunk_write(to, subject_out, len)) == -EAGAIN)
        ;
    if (put != (ssize_t)len)
        errx(1, "qb_rb_chunk_write: %s", strerror((int)-put));
}

/* The result for an empty ring depends on the call and the version of the library. */
SUBJECT_INLINE bool is_empty(ssize_t got)
{
    return got == 0 || got == -ETIMEDOUT || got == -EBADMSG;
}

SUBJECT_INLINE void ring_get(size_t len, uint64_t n)
{
    ssize_t got;

    while (is_empty(got = qb_rb_chunk_read(from, subject_in, len, -1)))
        ;
    if (got != (ssize_t)len)
        errx(1, "qb_rb_chunk_read: %s", got < 0 ? strerror((int)-got) : "wrong length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(ring)

SUBJECT_INLINE void in_place_put(size_t len, uint64_t n)
{
    void *payload;

    while ((payload = qb_rb_chunk_alloc(to, len)) == NULL)
        if (errno != EAGAIN)
            err(1, "qb_rb_chunk_alloc");
    subject_fill(payload, len, n);
    if (qb_rb_chunk_commit(to, len) < 0)
        errx(1, "qb_rb_chunk_commit");
}

SUBJECT_INLINE void in_place_get(size_t len, uint64_t n)
{
    void *payload;
    ssize_t got;

    while (is_empty(got = qb_rb_chunk_peek(from, &payload, -1)))
        ;
    if (got != (ssize_t)len)
        errx(1, "qb_rb_chunk_peek: %s", got < 0 ? strerror((int)-got) : "wrong length");
    subject_check(payload, len, n);
    qb_rb_chunk_reclaim(from);
}

SUBJECT_LOOP(in_place)

static void name_prepare(void)
{
    subject_name();
}

static void ring_setup(void)
{
    static uint64_t number;

    to = from = ring_new(0, 0);
    ring_put(subject.len, number);
    ring_get(subject.len, number++);
    qb_rb_close(to);
}

SUBJECT_SETUP_OPERATION(ring, name_prepare)

static const struct subject_transport sleeping = {ring_prepare, ring_open, ring_loop, ring_close};
static const struct subject_transport polled = {polled_prepare, ring_open, ring_loop, ring_close};
static const struct subject_transport in_place = {polled_prepare, ring_open, in_place_loop,
                                                  ring_close};

static const struct subject_row rows[] = {
    SUBJECT_TRANSPORT("ring", "libqb ring", "", NULL, sleeping),
    SUBJECT_SETUP("ring", "libqb ring", "", NULL, ring),
    SUBJECT_SPINNING("ring-poll", "libqb ring, no semaphore", "spins", NULL, polled),
    SUBJECT_SPINNING("ring-place", "libqb ring, no semaphore, in place", "spins", NULL, in_place),
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, "libqb " QB_VER_STR, tables);
}
