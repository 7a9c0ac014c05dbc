/* Socket pairs and FIFOs, used by plain system calls: part of the subject kernel. */
#include "fds.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* --- transports --- */

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

static void polled_pair_open(void)
{
    pair_open();
    subject_must(fcntl(in_fd, F_SETFL, O_NONBLOCK), "fcntl");
}

/* Opens both ends of a new FIFO, and removes its name. */
static void make_fifo(int fd[2], const char *path)
{
    subject_must(mkfifo(path, 0600), "mkfifo");
    subject_must(fd[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open");
    subject_must(fd[1] = open(path, O_WRONLY | O_CLOEXEC), "open");
    subject_must(unlink(path), "unlink");
}

static void fifo_prepare(void)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/fifo", subject_directory());
    for (int i = 0; i < 2; i++) {
        make_fifo(fifos[i], path);
        subject_must(fcntl(fifos[i][0], F_SETFL, 0), "fcntl");
    }
}

/* With the largest size that an unprivileged user may set by default. */
static void large_fifo_prepare(void)
{
    fifo_prepare();
    for (int i = 0; i < 2; i++)
        subject_must(fcntl(fifos[i][0], F_SETPIPE_SZ, 1024 * 1024), "F_SETPIPE_SZ");
}

static void polled_fifo_open(void)
{
    fifo_open();
    subject_must(fcntl(in_fd, F_SETFL, O_NONBLOCK), "fcntl");
    subject_must(fcntl(out_fd, F_SETFL, O_NONBLOCK), "fcntl");
}

/* With a non-blocking descriptor, this spins. */
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
            errx(1, "the other process has ended");
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

/* --- creating, using and removing --- */

static uint64_t number; /* of the next message */

static void transfer(int to, int from)
{
    subject_fill(subject_out, subject.len, number);
    if (write(to, subject_out, subject.len) != (ssize_t)subject.len ||
        read(from, subject_in, subject.len) != (ssize_t)subject.len)
        err(1, "a message");
    subject_check(subject_in, subject.len, number++);
}

static void pair_setup(int type)
{
    pair_prepare(type);
    transfer(pair[0], pair[1]);
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
    snprintf(setup_path, sizeof(setup_path), "%s/fifo", subject_directory());
}

static void fifo_setup(void)
{
    int fd[2];

    make_fifo(fd, setup_path);
    transfer(fd[1], fd[0]);
    close(fd[0]);
    close(fd[1]);
}

/* A client connects to the path of a server, which is a thread of the same process. */
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
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", subject_directory());
    subject_must(listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    subject_must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
    subject_must(listen(listener, 16), "listen");
}

static void connect_setup(void)
{
    static bool started;
    pthread_t thread;

    if (!started && pthread_create(&thread, NULL, serve, NULL) != 0)
        errx(1, "pthread_create");
    started = true;
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    subject_must(client, "socket");
    subject_must(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
    transfer(client, client);
    close(client);
}

SUBJECT_SETUP_OPERATION(stream, NULL)
SUBJECT_SETUP_OPERATION(seqpacket, NULL)
SUBJECT_SETUP_OPERATION(dgram, NULL)
SUBJECT_SETUP_OPERATION(fifo, fifo_setup_prepare)
SUBJECT_SETUP_OPERATION(connect, connect_prepare)

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

/* The client uses its connections in turn. The server answers on the same connection. */
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

/* --- rows --- */

static const struct subject_transport stream = {stream_prepare, pair_open, bytes_loop, NULL};
static const struct subject_transport stream_polled = {stream_prepare, polled_pair_open, bytes_loop,
                                                       NULL};
static const struct subject_transport seqpacket = {seqpacket_prepare, pair_open, packet_loop, NULL};
static const struct subject_transport seqpacket_polled = {seqpacket_prepare, polled_pair_open,
                                                          packet_loop, NULL};
static const struct subject_transport dgram = {dgram_prepare, pair_open, packet_loop, NULL};
static const struct subject_transport fifo = {fifo_prepare, fifo_open, bytes_loop, NULL};
static const struct subject_transport fifo_polled = {fifo_prepare, polled_fifo_open, bytes_loop,
                                                     NULL};
static const struct subject_transport large_fifo = {large_fifo_prepare, fifo_open, bytes_loop,
                                                    NULL};
static const struct subject_transport idle = {idle_prepare, idle_open, idle_loop, NULL};

#define PACKETS subject_packet_max

const struct subject_row kernel_fds[] = {
    {"stream", "latency-poll", "socketpair, stream", "isolated", NULL, &stream_polled, NULL},
    SUBJECT_TRANSPORT("stream", "socketpair, stream", "isolated", NULL, stream),
    SUBJECT_SETUP("stream", "socketpair, stream", "isolated", PACKETS, stream),
    SUBJECT_SETUP("stream-path", "stream socket, by a path", "isolated", setup_max_len, connect),
    {"stream", "idle", "socketpair, stream", "isolated", NULL, &idle, NULL},
    {"seqpacket", "latency-poll", "socketpair, seqpacket", "isolated", PACKETS, &seqpacket_polled,
     NULL},
    SUBJECT_TRANSPORT("seqpacket", "socketpair, seqpacket", "isolated", PACKETS, seqpacket),
    SUBJECT_SETUP("seqpacket", "socketpair, seqpacket", "isolated", PACKETS, seqpacket),
    SUBJECT_TRANSPORT("dgram", "socketpair, datagram", "isolated", PACKETS, dgram),
    SUBJECT_SETUP("dgram", "socketpair, datagram", "isolated", PACKETS, dgram),
    {"fifo", "latency-poll", "FIFO", "isolated", NULL, &fifo_polled, NULL},
    SUBJECT_TRANSPORT("fifo", "FIFO", "isolated", NULL, fifo),
    SUBJECT_SETUP("fifo", "FIFO", "isolated", setup_max_len, fifo),
    {"fifo-large", "rate", "FIFO of 1 MiB", "isolated", NULL, &large_fifo, NULL},
    {0},
};
