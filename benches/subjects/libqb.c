/* libqb: its ring buffer between processes, with the semaphore that readers sleep on and without.
 * There is no way to wait for room: a writer tries again, as the library's own examples do. */
#include "subject.h"

#include <limits.h>
#include <qb/qbconfig.h>
#include <qb/qbrb.h>

static qb_ringbuffer_t *rings[2], *to, *from;

/* Its files, in /dev/shm, bear this run's name and go when it is closed. */
static qb_ringbuffer_t *ring_new(int number, uint32_t flags)
{
    char name[NAME_MAX];

    snprintf(name, sizeof(name), "%s-%d", subject_name(), number);
    qb_ringbuffer_t *made = qb_rb_open(name, subject_ring_size(),
                                       QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS | flags, 0);
    if (made == NULL)
        err(1, "qb_rb_open");
    return made;
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

/* The other process has the rings by fork, and is not counted as one that has opened them. */
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

/* Which of these it is when there is nothing depends on the call and the version. */
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
        errx(1, "qb_rb_chunk_read: %s", got < 0 ? strerror((int)-got) : "another length");
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
        errx(1, "qb_rb_chunk_peek: %s", got < 0 ? strerror((int)-got) : "another length");
    subject_check(payload, len, n);
    qb_rb_chunk_reclaim(from);
}

SUBJECT_LOOP(in_place)

static void name_prepare(void)
{
    subject_name();
}

static void setup(void)
{
    static uint64_t made;

    to = from = ring_new(0, 0);
    ring_put(subject.len, made);
    ring_get(subject.len, made++);
    qb_rb_close(to);
}

SUBJECT_WORK(setup)

static const struct subject_way sleeping = {ring_prepare, ring_open, ring_loop, ring_close};
static const struct subject_way polled = {polled_prepare, ring_open, ring_loop, ring_close};
static const struct subject_way in_place = {polled_prepare, ring_open, in_place_loop, ring_close};
static const struct subject_work setting_up = {name_prepare, setup_work, NULL};

static const struct subject_row rows[] = {
    {"ring", "latency-block", "libqb ring", "", 0, &sleeping, NULL},
    {"ring", "rate", "libqb ring", "", 0, &sleeping, NULL},
    {"ring", "setup", "libqb ring", "", 0, NULL, &setting_up},
    {"ring-poll", "latency-poll", "libqb ring, no semaphore", "spins", 0, &polled, NULL},
    {"ring-poll", "rate", "libqb ring, no semaphore", "spins", 0, &polled, NULL},
    {"ring-place", "latency-poll", "libqb ring, no semaphore, in place", "spins", 0, &in_place,
     NULL},
    {"ring-place", "rate", "libqb ring, no semaphore, in place", "spins", 0, &in_place, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, "libqb " QB_VER_STR, tables);
}
