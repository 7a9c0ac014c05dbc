/* iceoryx2: publish-subscribe, copied and loaned, polled and with its events to sleep on.
 * src/lib.rs is what talks to the crate. */
#include "subject.h"

struct iceoryx2;

const char *iceoryx2_version(void);
struct iceoryx2 *iceoryx2_open(const char *folder, const char *prefix, const char *to,
                               const char *from, size_t len, size_t depth, bool events);
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

/* Each has said on standard error what was wrong. */
SUBJECT_INLINE void must(bool done)
{
    if (!done)
        exit(1);
}

static struct iceoryx2 *open_link(const char *to, const char *from, bool events)
{
    size_t depth = subject_ring_size() / subject.len;
    char prefix[128];

    depth = depth < 4 ? 4 : depth > 1024 ? 1024 : depth;
    snprintf(prefix, sizeof(prefix), "%s_", subject_name());
    struct iceoryx2 *link =
        iceoryx2_open(subject_folder(), prefix, to, from, subject.len, depth, events);
    must(link != NULL);
    return link;
}

static void folder_prepare(void)
{
    subject_folder();
}

/* One after the other, because who opens a service gives up when another one makes it slowly. */
static void open_both(bool events)
{
    if (subject_side != 0)
        subject_meet();
    ends = open_link(names[subject_side], names[1 - subject_side], events);
    if (subject_side == 0)
        subject_meet();
    subject_meet();
    must(iceoryx2_connect(ends));
    subject_meet();
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

/* With a node of its own, a publisher and a subscriber. */
static void setup(void)
{
    static uint64_t made;

    ends = open_link("setup", "setup", false);
    must(iceoryx2_connect(ends));
    copied_put(subject.len, made);
    copied_get(subject.len, made++);
    iceoryx2_close(ends);
}

SUBJECT_WORK(setup)

static const struct subject_way copied = {folder_prepare, polled_open, copied_loop, close_end};
static const struct subject_way loaned = {folder_prepare, polled_open, loaned_loop, close_end};
static const struct subject_way copied_event = {folder_prepare, event_open, copied_loop, close_end};
static const struct subject_work setting_up = {folder_prepare, setup_work, NULL};

static const struct subject_row rows[] = {
    {"copied", "latency-poll", "iceoryx2, copied", "spins", 0, &copied, NULL},
    {"copied", "rate", "iceoryx2, copied", "spins", 0, &copied, NULL},
    {"copied", "setup", "iceoryx2, copied", "", 0, NULL, &setting_up},
    {"loaned", "latency-poll", "iceoryx2, loaned", "spins", 0, &loaned, NULL},
    {"loaned", "rate", "iceoryx2, loaned", "spins", 0, &loaned, NULL},
    {"event", "latency-block", "iceoryx2 with events", "", 0, &copied_event, NULL},
    {"event", "rate", "iceoryx2 with events", "", 0, &copied_event, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};

    return subject_main(argc, argv, iceoryx2_version(), tables);
}
