/* POSIX and System V message queues: part of the subject kernel. */
#include "subject.h"

#include <mqueue.h>
#include <sys/msg.h>

/* Reads a limit from /proc. */
static long limit_of(const char *path, long fallback)
{
    FILE *file = fopen(path, "re");
    long value;

    if (file == NULL)
        return fallback;
    if (fscanf(file, "%ld", &value) != 1 || value <= 0)
        value = fallback;
    fclose(file);
    return value;
}

/* --- POSIX --- */

static size_t mq_max_len(void)
{
    return (size_t)limit_of("/proc/sys/fs/mqueue/msgsize_max", 8192) & ~(size_t)7;
}

static uint64_t number; /* of the next message of a set-up test */
static mqd_t queues[2];

static mqd_t make_mq(void)
{
    char name[128];
    struct mq_attr attr = {.mq_maxmsg = limit_of("/proc/sys/fs/mqueue/msg_max", 10),
                           .mq_msgsize = (long)subject.len};

    snprintf(name, sizeof(name), "/%s", subject_name());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
    subject_must(queue, "mq_open");
    subject_must(mq_unlink(name), "mq_unlink");
    return queue;
}

static void mq_prepare(void)
{
    for (int i = 0; i < 2; i++)
        queues[i] = make_mq();
}

SUBJECT_INLINE void mq_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(mq_send(queues[subject_side], subject_out, len, 0), "mq_send");
}

SUBJECT_INLINE void mq_get(size_t len, uint64_t n)
{
    if (mq_receive(queues[1 - subject_side], subject_in, len, NULL) != (ssize_t)len)
        err(1, "mq_receive");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(mq)

static void name_prepare(void)
{
    subject_name();
}

static void mq_setup(void)
{
    mqd_t queue = make_mq();

    subject_fill(subject_out, subject.len, number);
    if (mq_send(queue, subject_out, subject.len, 0) < 0 ||
        mq_receive(queue, subject_in, subject.len, NULL) != (ssize_t)subject.len)
        err(1, "a message");
    subject_check(subject_in, subject.len, number++);
    mq_close(queue);
}

SUBJECT_SETUP_OPERATION(mq, name_prepare)

/* --- System V --- */

static size_t sysv_max_len(void)
{
    long message = limit_of("/proc/sys/kernel/msgmax", 8192);
    long queue = limit_of("/proc/sys/kernel/msgmnb", 16384);

    return (size_t)(message < queue ? message : queue) & ~(size_t)7;
}

struct sysv_message {
    long type;
    char payload[];
};

static int sysv_queue;
static struct sysv_message *sysv_out, *sysv_in;

static int make_sysv(void)
{
    int id = msgget(subject_key(), IPC_CREAT | IPC_EXCL | 0600);

    subject_must(id, "msgget");
    return id;
}

/* There is one queue for both directions: the type of a message identifies its sender. */
static void sysv_prepare(void)
{
    sysv_queue = make_sysv();
    sysv_out = malloc(sizeof(*sysv_out) + subject.len);
    sysv_in = malloc(sizeof(*sysv_in) + subject.len);
    if (sysv_out == NULL || sysv_in == NULL)
        err(1, "malloc");
}

SUBJECT_INLINE void sysv_put(size_t len, uint64_t n)
{
    subject_fill(sysv_out->payload, len, n);
    sysv_out->type = 1 + subject_side;
    while (msgsnd(sysv_queue, sysv_out, len, 0) < 0)
        if (errno != EINTR)
            err(1, "msgsnd");
}

SUBJECT_INLINE void sysv_get(size_t len, uint64_t n)
{
    ssize_t got;

    while ((got = msgrcv(sysv_queue, sysv_in, len, 2 - subject_side, 0)) < 0 && errno == EINTR)
        ;
    if (got != (ssize_t)len)
        err(1, "msgrcv");
    subject_check(sysv_in->payload, len, n);
}

SUBJECT_LOOP(sysv)

static void sysv_setup_prepare(void)
{
    sysv_prepare();
    msgctl(sysv_queue, IPC_RMID, NULL);
}

static void sysv_setup(void)
{
    sysv_queue = make_sysv();
    sysv_out->type = 1;
    subject_fill(sysv_out->payload, subject.len, number);
    if (msgsnd(sysv_queue, sysv_out, subject.len, 0) < 0 ||
        msgrcv(sysv_queue, sysv_in, subject.len, 0, 0) != (ssize_t)subject.len)
        err(1, "a message");
    subject_check(sysv_in->payload, subject.len, number++);
    msgctl(sysv_queue, IPC_RMID, NULL);
}

SUBJECT_SETUP_OPERATION(sysv, sysv_setup_prepare)

/* --- rows --- */

static const struct subject_transport mq = {mq_prepare, NULL, mq_loop, NULL};
static const struct subject_transport sysv = {sysv_prepare, NULL, sysv_loop, NULL};

const struct subject_row kernel_queues[] = {
    SUBJECT_TRANSPORT("mq", "POSIX message queue", "isolated", mq_max_len, mq),
    SUBJECT_SETUP("mq", "POSIX message queue", "isolated", mq_max_len, mq),
    SUBJECT_TRANSPORT("sysv", "System V message queue", "isolated", sysv_max_len, sysv),
    SUBJECT_SETUP("sysv", "System V message queue", "isolated", sysv_max_len, sysv),
    {0},
};
