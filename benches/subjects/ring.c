/* ring: the limits of messages between two processes: the minimal ring of ../ring.h, and two cache
 * lines that the processes write in turn; and that of messages from one process to several: the
 * minimal ring of ../broadcast.h. The processes spin, trust each other, and do only what is
 * necessary. */
#include "subject.h"

#include "../broadcast.h"
#include "../ring.h"

static struct ring forth, back, to_other, from_other;

static void ring_prepare(void)
{
    forth = ring_new(subject_ring_size());
    back = ring_new(subject_ring_size());
}

static void ring_open(void)
{
    to_other = subject_side == 0 ? forth : back;
    from_other = subject_side == 0 ? back : forth;
}

SUBJECT_INLINE void ring_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    ring_send(&to_other, subject_out, len);
}

SUBJECT_INLINE void ring_get(size_t len, uint64_t n)
{
    if (ring_recv(&from_other, subject_in) != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(ring)

/* The message is its number, which differs from the previous one. */
struct line {
    _Alignas(128) uint64_t number;
};

static struct line *lines;

static void line_prepare(void)
{
    lines = subject_memory(2 * sizeof(*lines));
    lines[0].number = lines[1].number = UINT64_MAX;
}

SUBJECT_INLINE void line_put(size_t len, uint64_t n)
{
    (void)len;
    __atomic_store_n(&lines[subject_side].number, n, __ATOMIC_RELEASE);
}

SUBJECT_INLINE void line_get(size_t len, uint64_t n)
{
    (void)len;
    while (__atomic_load_n(&lines[1 - subject_side].number, __ATOMIC_ACQUIRE) != n)
        ;
}

SUBJECT_LOOP(line)

/* --- from one process to several --- */

static struct broadcast broadcast;

static void broadcast_prepare(void)
{
    if (subject.n > BROADCAST_READERS_MAX)
        errx(1, "n is at most %d here", BROADCAST_READERS_MAX);
    broadcast = broadcast_new(subject_ring_size(), (int)subject.n);
}

static void broadcast_open(void)
{
    if (subject_side != 0)
        broadcast_read(&broadcast, subject_side - 1);
}

SUBJECT_INLINE void broadcast_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    while (!broadcast_try_send(&broadcast, subject_out, len))
        subject_spin();
}

SUBJECT_INLINE void broadcast_get(size_t len, uint64_t n)
{
    size_t got;

    while ((got = broadcast_try_recv(&broadcast, subject_in)) == 0)
        subject_spin();
    if (got != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(broadcast)

static size_t line_max_len(void)
{
    return sizeof(lines->number);
}

static const struct subject_transport ring = {ring_prepare, ring_open, ring_loop, NULL};
static const struct subject_transport line = {line_prepare, NULL, line_loop, NULL};

static const struct subject_transport broadcasting = {broadcast_prepare, broadcast_open,
                                                      broadcast_loop, NULL};

static const struct subject_row rows[] = {
    SUBJECT_SPINNING("ring", "minimal ring", "limit,spins", NULL, ring),
    {"broadcast", "broadcast", "minimal ring", "limit,spins", NULL, &broadcasting, NULL},
    {"line", "latency-poll", "two cache lines", "limit,spins", line_max_len, &line, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, "minimal rings of benches/ring.h and benches/broadcast.h",
                        tables);
}
