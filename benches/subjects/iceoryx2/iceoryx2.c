/* iceoryx2: publish-subscribe with copied and with loaned payloads, polled or with events to sleep
 * on. src/lib.rs wraps the crate in C functions. */
#include "subject.h"

struct iceoryx2;

const char *iceoryx2_version(void);

/* The same as Options in src/lib.rs. */
struct iceoryx2_options {
    const char *to, *from;
    size_t len, depth, subscribers;
    bool events, yields;
};

struct iceoryx2 *iceoryx2_open(const char *directory, const char *prefix,
                               const struct iceoryx2_options *options);
bool iceoryx2_connect(const struct iceoryx2 *link);
void iceoryx2_close(struct iceoryx2 *link);
bool iceoryx2_send(const struct iceoryx2 *link, const void *payload, size_t len);
bool iceoryx2_recv(const struct iceoryx2 *link, void *payload, size_t len);
void *iceoryx2_loan(struct iceoryx2 *link, size_t len);
bool iceoryx2_commit(struct iceoryx2 *link);
const void *iceoryx2_peek(struct iceoryx2 *link, size_t len);
void iceoryx2_release(struct iceoryx2 *link);

static const char *const names[] = {"forth", "back"};
static struct iceoryx2 *ends;

/* The functions of lib.rs have printed the error. */
SUBJECT_INLINE void must(bool done)
{
    if (!done)
        exit(1);
}

static struct iceoryx2 *open_link(const char *to, const char *from, size_t subscribers, bool events)
{
    size_t depth = subject_ring_size() / subject.len;
    char prefix[128];

    depth = depth < 4 ? 4 : depth > 1024 ? 1024 : depth;
    snprintf(prefix, sizeof(prefix), "%s_", subject_name());
    struct iceoryx2_options options = {to,          from,   subject.len,    depth,
                                       subscribers, events, subject_crowded};
    struct iceoryx2 *link = iceoryx2_open(subject_directory(), prefix, &options);
    must(link != NULL);
    return link;
}

static void directory_prepare(void)
{
    subject_directory();
}

/* One process after the other, because opening a service fails if the other process takes too long
 * to create it. */
static void open_both(bool events)
{
    if (subject_side != 0)
        subject_barrier();
    ends = open_link(names[subject_side], names[1 - subject_side], 1, events);
    if (subject_side == 0)
        subject_barrier();
    subject_barrier();
    must(iceoryx2_connect(ends));
    subject_barrier();
}

/* The publisher first, for the same reason. */
static void broadcast_open_with(bool events)
{
    bool publishes = subject_side == 0;

    if (!publishes)
        subject_barrier();
    ends = open_link(publishes ? names[0] : NULL, publishes ? NULL : names[0], (size_t)subject.n,
                     events);
    if (publishes)
        subject_barrier();
    subject_barrier();
    must(iceoryx2_connect(ends));
    subject_barrier();
}

static void broadcast_open(void)
{
    broadcast_open_with(false);
}

static void event_broadcast_open(void)
{
    broadcast_open_with(true);
}

static void polled_open(void)
{
    open_both(false);
}

static void event_open(void)
{
    open_both(true);
}

static void close_end(void)
{
    iceoryx2_close(ends);
}

SUBJECT_INLINE void copied_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    must(iceoryx2_send(ends, subject_out, len));
}

SUBJECT_INLINE void copied_get(size_t len, uint64_t n)
{
    must(iceoryx2_recv(ends, subject_in, len));
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(copied)

SUBJECT_INLINE void loaned_put(size_t len, uint64_t n)
{
    void *payload = iceoryx2_loan(ends, len);

    must(payload != NULL);
    subject_fill(payload, len, n);
    must(iceoryx2_commit(ends));
}

SUBJECT_INLINE void loaned_get(size_t len, uint64_t n)
{
    const void *payload = iceoryx2_peek(ends, len);

    must(payload != NULL);
    subject_check(payload, len, n);
    iceoryx2_release(ends);
}

SUBJECT_LOOP(loaned)

/* A node of its own with a publisher and a subscriber. */
static void link_setup(void)
{
    static uint64_t number;

    ends = open_link("setup", "setup", 1, false);
    must(iceoryx2_connect(ends));
    copied_put(subject.len, number);
    copied_get(subject.len, number++);
    iceoryx2_close(ends);
}

SUBJECT_SETUP_OPERATION(link, directory_prepare)

static const struct subject_transport copied = {directory_prepare, polled_open, copied_loop,
                                                close_end};
static const struct subject_transport loaned = {directory_prepare, polled_open, loaned_loop,
                                                close_end};
static const struct subject_transport copied_event = {directory_prepare, event_open, copied_loop,
                                                      close_end};

static const struct subject_transport copied_broadcast = {directory_prepare, broadcast_open,
                                                          copied_loop, close_end};
static const struct subject_transport loaned_broadcast = {directory_prepare, broadcast_open,
                                                          loaned_loop, close_end};
static const struct subject_transport event_broadcast = {directory_prepare, event_broadcast_open,
                                                         copied_loop, close_end};

static const struct subject_row rows[] = {
    SUBJECT_SPINNING("copied", "iceoryx2, copied", "spins", NULL, copied),
    SUBJECT_SETUP("copied", "iceoryx2, copied", "", NULL, link),
    SUBJECT_SPINNING("loaned", "iceoryx2, loaned", "spins", NULL, loaned),
    SUBJECT_TRANSPORT("event", "iceoryx2 with events", "", NULL, copied_event),
    {"copied", "broadcast", "iceoryx2, copied", "spins", NULL, &copied_broadcast, NULL},
    {"loaned", "broadcast", "iceoryx2, loaned", "spins", NULL, &loaned_broadcast, NULL},
    {"event", "broadcast", "iceoryx2 with events", "", NULL, &event_broadcast, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, iceoryx2_version(), tables);
}
