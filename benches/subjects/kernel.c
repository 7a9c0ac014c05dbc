/* kernel: what the system has for messages between processes, used barely, and what can be built
 * from shared memory with its two ways to sleep. kernel_locks.c has the locks. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>

extern const struct subject_row kernel_locks[];

static int in_fd, out_fd;

/* --- bytes and messages through descriptors --- */

static int pair[2];

static void pair_prepare(int type)
{
    subject_must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), "socketpair");
}

static void stream_prepare(void)
{
    pair_prepare(SOCK_STREAM);
}

static void seqpacket_prepare(void)
{
    pair_prepare(SOCK_SEQPACKET);
}

static void dgram_prepare(void)
{
    pair_prepare(SOCK_DGRAM);
}

static void pair_open(void)
{
    in_fd = out_fd = pair[subject_side];
    close(pair[1 - subject_side]);
}

static void polled_open(void)
{
    pair_open();
    subject_must(fcntl(in_fd, F_SETFL, O_NONBLOCK), "fcntl");
}

static int fifos[2][2];

/* Both ends of a new FIFO, whose name is gone again. */
static void fifo_make(int fd[2], const char *path)
{
    subject_must(mkfifo(path, 0600), "mkfifo");
    subject_must(fd[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
    subject_must(fd[1] = open(path, O_WRONLY | O_CLOEXEC), "open");
    subject_must(unlink(path), "unlink");
}

static void fifo_prepare(void)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/fifo", subject_folder());
    for (int i = 0; i < 2; i++) {
        fifo_make(fifos[i], path);
        subject_must(fcntl(fifos[i][0], F_SETFL, 0), "fcntl");
    }
}

/* What a user without privileges may have at most, by default. */
static void large_fifo_prepare(void)
{
    fifo_prepare();
    for (int i = 0; i < 2; i++)
        subject_must(fcntl(fifos[i][0], F_SETPIPE_SZ, 1024 * 1024), "F_SETPIPE_SZ");
}

static void fifo_open(void)
{
    in_fd = fifos[1 - subject_side][0];
    out_fd = fifos[subject_side][1];
    close(fifos[subject_side][0]);
    close(fifos[1 - subject_side][1]);
}

static void polled_fifo_open(void)
{
    fifo_open();
    subject_must(fcntl(in_fd, F_SETFL, O_NONBLOCK), "fcntl");
    subject_must(fcntl(out_fd, F_SETFL, O_NONBLOCK), "fcntl");
}

/* Where the descriptor is not blocking, this looks again and again. */
SUBJECT_INLINE void bytes_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    for (size_t done = 0; done < len;) {
        ssize_t some = write(out_fd, subject_out + done, len - done);
        if (some < 0 && errno == EAGAIN)
            continue;
        subject_must(some, "write");
        done += (size_t)some;
    }
}

SUBJECT_INLINE void bytes_get(size_t len, uint64_t n)
{
    for (size_t done = 0; done < len;) {
        ssize_t some = read(in_fd, subject_in + done, len - done);
        if (some < 0 && errno == EAGAIN)
            continue;
        subject_must(some, "read");
        if (some == 0)
            errx(1, "the other process is gone");
        done += (size_t)some;
    }
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(bytes)

SUBJECT_INLINE void packet_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(send(out_fd, subject_out, len, MSG_NOSIGNAL), "send");
}

SUBJECT_INLINE void packet_get(size_t len, uint64_t n)
{
    ssize_t got;

    while ((got = recv(in_fd, subject_in, len, 0)) < 0 && errno == EAGAIN)
        ;
    if (got != (ssize_t)len)
        err(1, "recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(packet)

/* --- message queues --- */

static long limit_of(const char *path, long otherwise)
{
    FILE *file = fopen(path, "re");
    long value;

    if (file == NULL)
        return otherwise;
    if (fscanf(file, "%ld", &value) != 1 || value <= 0)
        value = otherwise;
    fclose(file);
    return value;
}

static long mq_longest(void)
{
    return limit_of("/proc/sys/fs/mqueue/msgsize_max", 8192);
}

static mqd_t queues[2];

static mqd_t mq_make(void)
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
        queues[i] = mq_make();
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

static long sysv_longest(void)
{
    long message = limit_of("/proc/sys/kernel/msgmax", 8192);
    long queue = limit_of("/proc/sys/kernel/msgmnb", 16384);

    return message < queue ? message : queue;
}

struct sysv_message {
    long type;
    char payload[];
};

static int sysv_queue;
static struct sysv_message *sysv_out, *sysv_in;

static int sysv_make(void)
{
    int id = msgget(subject_key(), IPC_CREAT | IPC_EXCL | 0600);

    subject_must(id, "msgget");
    return id;
}

/* One queue: the type says who the message is for. */
static void sysv_prepare(void)
{
    sysv_queue = sysv_make();
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

/* --- a ring in shared memory, and the two ways to sleep --- */

/* A side that finds nothing to do says that it sleeps, looks again, and sleeps; the other one
 * wakes it if it says so. Each has a full fence between its own store and its look, so that one of
 * them sees the other's. */
struct sleeper {
    _Alignas(128) uint32_t asleep;
    int fd; /* an eventfd, or -1: the futex is asleep itself */
};

struct queue {
    _Alignas(128) uint64_t tail; /* how far it has been written */
    _Alignas(128) uint64_t head; /* how far it has been read */
    struct sleeper reader, writer;
    _Alignas(128) size_t size;
};

/* What one side knows of a queue. */
struct side {
    struct queue *queue;
    char *data;
    uint64_t own, other; /* the own cursor, and what was last seen of the other's */
    char padding[96];
};

static struct queue *queue_pair[2];
static struct side queue_to, queue_from;

static struct queue *queue_make(size_t size, bool eventfds)
{
    struct queue *queue = subject_memory(sizeof(*queue) + size);

    queue->size = size;
    queue->reader.fd = queue->writer.fd = -1;
    if (eventfds) {
        subject_must(queue->reader.fd = eventfd(0, EFD_CLOEXEC), "eventfd");
        subject_must(queue->writer.fd = eventfd(0, EFD_CLOEXEC), "eventfd");
    }
    return queue;
}

static void futex_ring_prepare(void)
{
    for (int i = 0; i < 2; i++)
        queue_pair[i] = queue_make(subject_ring_size(), false);
}

static void event_ring_prepare(void)
{
    for (int i = 0; i < 2; i++)
        queue_pair[i] = queue_make(subject_ring_size(), true);
}

static void queue_open(void)
{
    queue_to.queue = queue_pair[subject_side];
    queue_from.queue = queue_pair[1 - subject_side];
    queue_to.data = (char *)(queue_to.queue + 1);
    queue_from.data = (char *)(queue_from.queue + 1);
}

SUBJECT_INLINE void wake(struct sleeper *sleeper, bool eventfds)
{
    uint64_t one = 1;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sleeper->asleep, __ATOMIC_RELAXED) == 0)
        return;
    __atomic_store_n(&sleeper->asleep, 0, __ATOMIC_RELAXED);
    if (eventfds)
        subject_must(write(sleeper->fd, &one, sizeof(one)), "write");
    else
        syscall(SYS_futex, &sleeper->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Sleeps, unless what is waited for has moved on from what was seen. */
static void sleep_until(struct sleeper *sleeper, const uint64_t *word, uint64_t seen, bool eventfds)
{
    uint64_t times;

    __atomic_store_n(&sleeper->asleep, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) {
        __atomic_store_n(&sleeper->asleep, 0, __ATOMIC_RELAXED);
        return;
    }
    if (!eventfds)
        syscall(SYS_futex, &sleeper->asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
    else
        subject_must(read(sleeper->fd, &times, sizeof(times)), "read");
}

SUBJECT_INLINE void queue_put(size_t len, uint64_t n, bool eventfds)
{
    struct side *to = &queue_to;
    struct queue *queue = to->queue;
    size_t at = to->own & (queue->size - 1), head = len < queue->size - at ? len : queue->size - at;

    subject_fill(subject_out, len, n);
    while (queue->size - (to->own - to->other) < len) {
        uint64_t seen = __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE);
        if (seen == to->other)
            sleep_until(&queue->writer, &queue->head, seen, eventfds);
        to->other = seen;
    }
    memcpy(to->data + at, subject_out, head);
    memcpy(to->data, subject_out + head, len - head);
    to->own += len;
    __atomic_store_n(&queue->tail, to->own, __ATOMIC_RELEASE);
    wake(&queue->reader, eventfds);
}

SUBJECT_INLINE void queue_get(size_t len, uint64_t n, bool eventfds)
{
    struct side *from = &queue_from;
    struct queue *queue = from->queue;
    size_t at = from->own & (queue->size - 1);
    size_t head = len < queue->size - at ? len : queue->size - at;

    while (from->other - from->own < len) {
        uint64_t seen = __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE);
        if (seen == from->other)
            sleep_until(&queue->reader, &queue->tail, seen, eventfds);
        from->other = seen;
    }
    memcpy(subject_in, from->data + at, head);
    memcpy(subject_in + head, from->data, len - head);
    from->own += len;
    __atomic_store_n(&queue->head, from->own, __ATOMIC_RELEASE);
    wake(&queue->writer, eventfds);
    subject_check(subject_in, len, n);
}

SUBJECT_INLINE void futex_ring_put(size_t len, uint64_t n)
{
    queue_put(len, n, false);
}

SUBJECT_INLINE void futex_ring_get(size_t len, uint64_t n)
{
    queue_get(len, n, false);
}

SUBJECT_INLINE void event_ring_put(size_t len, uint64_t n)
{
    queue_put(len, n, true);
}

SUBJECT_INLINE void event_ring_get(size_t len, uint64_t n)
{
    queue_get(len, n, true);
}

SUBJECT_LOOP(futex_ring)
SUBJECT_LOOP(event_ring)

/* --- what copying costs at least --- */

static void copy(void)
{
    memcpy(subject_in, subject_out, subject.len);
    __asm__ volatile("" : : "r"(subject_in) : "memory");
}

SUBJECT_WORK(copy)

/* --- making one, a message through it, and away with it --- */

static uint64_t made;

static void through(int to, int from)
{
    subject_fill(subject_out, subject.len, made);
    if (write(to, subject_out, subject.len) != (ssize_t)subject.len ||
        read(from, subject_in, subject.len) != (ssize_t)subject.len)
        err(1, "a message");
    subject_check(subject_in, subject.len, made++);
}

static void pair_setup(int type)
{
    pair_prepare(type);
    through(pair[0], pair[1]);
    close(pair[0]);
    close(pair[1]);
}

static void stream_setup(void)
{
    pair_setup(SOCK_STREAM);
}

static void seqpacket_setup(void)
{
    pair_setup(SOCK_SEQPACKET);
}

static void dgram_setup(void)
{
    pair_setup(SOCK_DGRAM);
}

static char setup_path[PATH_MAX];

static void fifo_setup_prepare(void)
{
    snprintf(setup_path, sizeof(setup_path), "%s/fifo", subject_folder());
}

static void fifo_setup(void)
{
    int fd[2];

    fifo_make(fd, setup_path);
    through(fd[1], fd[0]);
    close(fd[0]);
    close(fd[1]);
}

static void name_prepare(void)
{
    subject_name();
}

static void mq_setup(void)
{
    mqd_t queue = mq_make();

    subject_fill(subject_out, subject.len, made);
    if (mq_send(queue, subject_out, subject.len, 0) < 0 ||
        mq_receive(queue, subject_in, subject.len, NULL) !=
            (ssize_t)subject.len)
        err(1, "a message");
    subject_check(subject_in, subject.len, made++);
    mq_close(queue);
}

static void sysv_setup_prepare(void)
{
    sysv_prepare();
    msgctl(sysv_queue, IPC_RMID, NULL);
}

static void sysv_setup(void)
{
    sysv_queue = sysv_make();
    sysv_out->type = 1;
    subject_fill(sysv_out->payload, subject.len, made);
    if (msgsnd(sysv_queue, sysv_out, subject.len, 0) < 0 ||
        msgrcv(sysv_queue, sysv_in, subject.len, 0, 0) != (ssize_t)subject.len)
        err(1, "a message");
    subject_check(sysv_in->payload, subject.len, made++);
    msgctl(sysv_queue, IPC_RMID, NULL);
}

/* What a ring in shared memory needs: a memfd, mapped twice as two processes would; its memory is
 * there when it is touched first, or at once. */
SUBJECT_INLINE void memory(bool at_once)
{
    size_t size = subject_ring_size();
    int fd = memfd_create("subject", MFD_CLOEXEC);

    subject_must(fd, "memfd_create");
    if (at_once)
        subject_must(fallocate(fd, 0, 0, (off_t)size), "fallocate");
    else
        subject_must(ftruncate(fd, (off_t)size), "ftruncate");
    char *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *in = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (out == MAP_FAILED || in == MAP_FAILED)
        err(1, "mmap");
    subject_fill(out, subject.len, made);
    subject_check(in, subject.len, made++);
    munmap(out, size);
    munmap(in, size);
    close(fd);
}

static void memory_setup(void)
{
    memory(false);
}

static void full_memory_setup(void)
{
    memory(true);
}

/* Clients come to a server by its path. The server is a thread, so that there is one process. */
static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void *serve(void *unused)
{
    char *message = malloc(subject.len);

    (void)unused;
    if (message == NULL)
        err(1, "malloc");
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        subject_must(client, "accept4");
        if (read(client, message, subject.len) != (ssize_t)subject.len ||
            write(client, message, subject.len) != (ssize_t)subject.len)
            err(1, "a message");
        close(client);
    }
    return NULL;
}

static void connect_prepare(void)
{
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", subject_folder());
    subject_must(listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    subject_must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
    subject_must(listen(listener, 16), "listen");
}

static void connect_setup(void)
{
    static bool served;
    pthread_t thread;

    if (!served && pthread_create(&thread, NULL, serve, NULL) != 0)
        errx(1, "no thread can be started");
    served = true;
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    subject_must(client, "socket");
    subject_must(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
    through(client, client);
    close(client);
}

SUBJECT_WORK(connect_setup)
SUBJECT_WORK(stream_setup)
SUBJECT_WORK(seqpacket_setup)
SUBJECT_WORK(dgram_setup)
SUBJECT_WORK(fifo_setup)
SUBJECT_WORK(mq_setup)
SUBJECT_WORK(sysv_setup)
SUBJECT_WORK(memory_setup)
SUBJECT_WORK(full_memory_setup)

/* --- a server with many connections --- */

static int (*connections)[2];
static int server;

static void idle_prepare(void)
{
    connections = calloc((size_t)subject.n, sizeof(*connections));
    if (connections == NULL)
        err(1, "malloc");
    for (long i = 0; i < subject.n; i++)
        subject_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connections[i]),
                     "socketpair");
}

static void idle_open(void)
{
    for (long i = 0; i < subject.n; i++)
        close(connections[i][1 - subject_side]);
    if (subject_side == 0)
        return;
    subject_must(server = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (long i = 0; i < subject.n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = connections[i][1]};
        subject_must(epoll_ctl(server, EPOLL_CTL_ADD, event.data.fd, &event), "epoll_ctl");
    }
}

/* The client uses its connections in turn; the server answers where it was asked. */
SUBJECT_INLINE void idle_put(size_t len, uint64_t n)
{
    if (subject_side == 0)
        out_fd = connections[n % (uint64_t)subject.n][0];
    bytes_put(len, n);
}

SUBJECT_INLINE void idle_get(size_t len, uint64_t n)
{
    if (subject_side == 0) {
        in_fd = connections[n % (uint64_t)subject.n][0];
    } else {
        struct epoll_event ready;
        if (epoll_wait(server, &ready, 1, -1) != 1)
            err(1, "epoll_wait");
        in_fd = out_fd = ready.data.fd;
    }
    bytes_get(len, n);
}

SUBJECT_LOOP(idle)

/* --- all of them --- */

static const struct subject_way stream = {stream_prepare, pair_open, bytes_loop, NULL};
static const struct subject_way stream_polled = {stream_prepare, polled_open, bytes_loop, NULL};
static const struct subject_way seqpacket = {seqpacket_prepare, pair_open, packet_loop, NULL};
static const struct subject_way seqpacket_polled = {seqpacket_prepare, polled_open, packet_loop,
                                                    NULL};
static const struct subject_way dgram = {dgram_prepare, pair_open, packet_loop, NULL};
static const struct subject_way fifo = {fifo_prepare, fifo_open, bytes_loop, NULL};
static const struct subject_way fifo_polled = {fifo_prepare, polled_fifo_open, bytes_loop, NULL};
static const struct subject_way large_fifo = {large_fifo_prepare, fifo_open, bytes_loop, NULL};
static const struct subject_way mq = {mq_prepare, NULL, mq_loop, NULL};
static const struct subject_way sysv = {sysv_prepare, NULL, sysv_loop, NULL};
static const struct subject_way futex_ring = {futex_ring_prepare, queue_open, futex_ring_loop,
                                              NULL};
static const struct subject_way event_ring = {event_ring_prepare, queue_open, event_ring_loop,
                                              NULL};
static const struct subject_way idle = {idle_prepare, idle_open, idle_loop, NULL};

static const struct subject_work copying = {NULL, copy_work, NULL};
static const struct subject_work stream_made = {NULL, stream_setup_work, NULL};
static const struct subject_work seqpacket_made = {NULL, seqpacket_setup_work, NULL};
static const struct subject_work dgram_made = {NULL, dgram_setup_work, NULL};
static const struct subject_work fifo_made = {fifo_setup_prepare, fifo_setup_work, NULL};
static const struct subject_work mq_made = {name_prepare, mq_setup_work, NULL};
static const struct subject_work sysv_made = {sysv_setup_prepare, sysv_setup_work, NULL};
static const struct subject_work connected = {connect_prepare, connect_setup_work, NULL};
static const struct subject_work memory_made = {NULL, memory_setup_work, NULL};
static const struct subject_work full_memory_made = {NULL, full_memory_setup_work, NULL};

int main(int argc, char **argv)
{
    static const char *const titles[] = {
        "socketpair, stream", "socketpair, seqpacket", "socketpair, datagram", "FIFO",
        "FIFO of 1 MiB", "POSIX message queue", "System V message queue", "ring with futex",
        "ring with eventfd", "memcpy, one process", "memfd, mapped twice",
        "memfd, allocated", "stream socket, by a path",
    };
    size_t packet = subject_packet_max(), mq_max = (size_t)mq_longest() & ~(size_t)7;
    size_t sysv_max = (size_t)sysv_longest() & ~(size_t)7;
    size_t pipe_max = 65536; /* a set-up's message has to fit in, for nobody reads meanwhile */
    const struct subject_row rows[] = {
        {"stream", "latency-poll", titles[0], "isolated", 0, &stream_polled, NULL},
        {"stream", "latency-block", titles[0], "isolated", 0, &stream, NULL},
        {"stream", "rate", titles[0], "isolated", 0, &stream, NULL},
        {"stream", "setup", titles[0], "isolated", packet, NULL, &stream_made},
        {"stream-path", "setup", titles[12], "isolated", pipe_max, NULL, &connected},
        {"stream", "idle", titles[0], "isolated", 0, &idle, NULL},
        {"seqpacket", "latency-poll", titles[1], "isolated", packet, &seqpacket_polled, NULL},
        {"seqpacket", "latency-block", titles[1], "isolated", packet, &seqpacket, NULL},
        {"seqpacket", "rate", titles[1], "isolated", packet, &seqpacket, NULL},
        {"seqpacket", "setup", titles[1], "isolated", packet, NULL, &seqpacket_made},
        {"dgram", "latency-block", titles[2], "isolated", packet, &dgram, NULL},
        {"dgram", "rate", titles[2], "isolated", packet, &dgram, NULL},
        {"dgram", "setup", titles[2], "isolated", packet, NULL, &dgram_made},
        {"fifo", "latency-poll", titles[3], "isolated", 0, &fifo_polled, NULL},
        {"fifo", "latency-block", titles[3], "isolated", 0, &fifo, NULL},
        {"fifo", "rate", titles[3], "isolated", 0, &fifo, NULL},
        {"fifo", "setup", titles[3], "isolated", pipe_max, NULL, &fifo_made},
        {"fifo-large", "rate", titles[4], "isolated", 0, &large_fifo, NULL},
        {"mq", "latency-block", titles[5], "isolated", mq_max, &mq, NULL},
        {"mq", "rate", titles[5], "isolated", mq_max, &mq, NULL},
        {"mq", "setup", titles[5], "isolated", mq_max, NULL, &mq_made},
        {"sysv", "latency-block", titles[6], "isolated", sysv_max, &sysv, NULL},
        {"sysv", "rate", titles[6], "isolated", sysv_max, &sysv, NULL},
        {"sysv", "setup", titles[6], "isolated", sysv_max, NULL, &sysv_made},
        {"futex-ring", "latency-block", titles[7], "", 0, &futex_ring, NULL},
        {"futex-ring", "rate", titles[7], "", 0, &futex_ring, NULL},
        {"eventfd-ring", "latency-block", titles[8], "", 0, &event_ring, NULL},
        {"eventfd-ring", "rate", titles[8], "", 0, &event_ring, NULL},
        {"memcpy", "rate", titles[9], "limit", 0, NULL, &copying},
        {"memfd", "setup", titles[10], "", 0, NULL, &memory_made},
        {"memfd-full", "setup", titles[11], "", 0, NULL, &full_memory_made},
        {0},
    };
    const struct subject_row *const tables[] = {rows, kernel_locks, NULL};
    struct utsname system;
    char version[sizeof(system.sysname) + sizeof(system.release) + 2];

    subject_must(uname(&system), "uname");
    snprintf(version, sizeof(version), "%s %s", system.sysname, system.release);
    return subject_main(argc, argv, version, tables);
}
