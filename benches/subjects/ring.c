/* ring: the limits of what two processes can do: the minimal ring of ../ring.h, and one cache
 * line that goes to and fro. Both spin, trust each other, and do no more than is necessary. */
#include "subject.h"

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
        errx(1, "a message of another length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(ring)

/* The number is the message: it differs from the one before. */
static struct line {
    _Alignas(128) uint64_t number;
} *lines;

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

static const struct subject_way ring = {ring_prepare, ring_open, ring_loop, NULL};
static const struct subject_way line = {line_prepare, NULL, line_loop, NULL};

static const struct subject_row rows[] = {
    {"ring", "latency-poll", "minimal ring", "limit,spins", 0, &ring, NULL},
    {"ring", "rate", "minimal ring", "limit,spins", 0, &ring, NULL},
    {"line", "latency-poll", "two cache lines", "limit,spins", 8, &line, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, "minimal ring of benches/ring.h", tables);
}
