/*
 * transfers: the cost of layer 2 compared with plain system calls that do the same.
 *
 * In the first table, one process sends and receives in turn, which measures the calls alone. In
 * the second, one process sends as fast as it can to another one on a second processor.
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "bench.h"

#define LARGE 65536

static char out[LARGE], in[LARGE];
static char directory[4000], fifo_path[4096];

/* The calls that move a message between two descriptors, in one process or in two. */
struct transport {
    void (*send)(int fd, size_t len);
    void (*recv)(int fd, size_t len);
};

static void write_loop(int fd, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, out + done, len - done);
        must(n, "write");
        done += (size_t)n;
    }
}

static void read_loop(int fd, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, in + done, len - done);
        if (n == 0)
            exit(0);
        must(n, "read");
        done += (size_t)n;
    }
}

static void send_full(int fd, size_t len)
{
    must(ipc_send_full(fd, out, len, NULL, -1), "ipc_send_full");
}

static void recv_full(int fd, size_t len)
{
    ssize_t n = ipc_recv_full(fd, in, len, NULL, -1);
    must(n, "ipc_recv_full");
    if (n == 0)
        exit(0);
}

static void plain_sendmsg(int fd, size_t len)
{
    struct iovec iov = {out, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    must(sendmsg(fd, &msg, MSG_NOSIGNAL), "sendmsg");
}

static void plain_recvmsg(int fd, size_t len)
{
    struct iovec iov = {in, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    must(n, "recvmsg");
    if (n == 0)
        exit(0);
}

/* The same, with a control buffer for descriptors. */
static void plain_recvmsg_control(int fd, size_t len)
{
    char control[CMSG_SPACE(253 * sizeof(int))];
    struct iovec iov = {in, len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    must(n, "recvmsg");
    if (n == 0)
        exit(0);
}

static void msg_send(int fd, size_t len)
{
    must(ipc_msg_send(fd, out, len, NULL, 0, -1), "ipc_msg_send");
}

static void msg_recv(int fd, size_t len)
{
    ssize_t n = ipc_msg_recv(fd, in, len, NULL, NULL, -1);
    must(n, "ipc_msg_recv");
    if (n == 0)
        exit(0);
}

static void msg_recv_fds(int fd, size_t len)
{
    int fds[4];
    size_t nfds = 4;
    ssize_t n = ipc_msg_recv(fd, in, len, fds, &nfds, -1);
    must(n, "ipc_msg_recv");
    if (n == 0)
        exit(0);
}

static void fifo_send(int fd, size_t len)
{
    must(ipc_fifo_send(fd, out, len, -1), "ipc_fifo_send");
}

static void fifo_recv(int fd, size_t len)
{
    ssize_t n = ipc_fifo_recv(fd, in, len, -1);
    must(n, "ipc_fifo_recv");
    if (n == 0)
        exit(0);
}

static const struct transport plain_bytes = {write_loop, read_loop};
static const struct transport full = {send_full, recv_full};
static const struct transport plain_messages = {plain_sendmsg, plain_recvmsg};
static const struct transport plain_messages_fds = {plain_sendmsg, plain_recvmsg_control};
static const struct transport messages = {msg_send, msg_recv};
static const struct transport messages_fds = {msg_send, msg_recv_fds};
static const struct transport records = {fifo_send, fifo_recv};

/* Each of these opens two descriptors: fd[0] to send into, fd[1] to receive from. */
static void stream(int fd[2])
{
    must(ipc_pair_open(SOCK_STREAM, fd), "ipc_pair_open");
}

static void seqpacket(int fd[2])
{
    must(ipc_pair_open(SOCK_SEQPACKET, fd), "ipc_pair_open");
}

static void fifo_ends(int fd[2])
{
    must(ipc_fifo_create(fifo_path, 0600, 0), "ipc_fifo_create");
    /* The receiver opens without IPC_FIFO_F_PERSIST, to see the end. Until there is a sender, this
     * descriptor keeps the FIFO open. */
    int both = open(fifo_path, O_RDWR | O_CLOEXEC);
    must(both, "open");
    fd[1] = ipc_fifo_open(fifo_path, IPC_FIFO_F_READ, 0);
    must(fd[1], "ipc_fifo_open");
    fd[0] = ipc_fifo_open(fifo_path, IPC_FIFO_F_WRITE, 0);
    must(fd[0], "ipc_fifo_open");
    close(both);
    must(ipc_fifo_unlink(fifo_path), "ipc_fifo_unlink");
}

/* A FIFO as open(2) returns it: without packet mode, blocking. */
static void plain_fifo(int fd[2])
{
    fifo_ends(fd);
    must(fcntl(fd[0], F_SETFL, 0), "fcntl");
    must(fcntl(fd[1], F_SETFL, 0), "fcntl");
}

struct row {
    const char *name;
    size_t len;
    const struct transport *transport[2]; /* the reference, unixipc */
    void (*open[2])(int fd[2]);
    int fd[2][2];
    int ack[2]; /* two processes: the receiver writes a byte at the end of a block */
};

static struct row rows[] = {
    {"full, stream, 64 B", 64, {&plain_bytes, &full}, {stream, stream}, {{0}}, {0}},
    {"full, stream, 64 KiB", LARGE, {&plain_bytes, &full}, {stream, stream}, {{0}}, {0}},
    {"message, seqpacket, 64 B",
     64,
     {&plain_messages, &messages},
     {seqpacket, seqpacket},
     {{0}},
     {0}},
    {"message, seqpacket, 64 KiB",
     LARGE,
     {&plain_messages, &messages},
     {seqpacket, seqpacket},
     {{0}},
     {0}},
    {"  with a descriptor buffer",
     64,
     {&plain_messages_fds, &messages_fds},
     {seqpacket, seqpacket},
     {{0}},
     {0}},
    {"message, stream, 64 B", 64, {&plain_bytes, &messages}, {stream, stream}, {{0}}, {0}},
    {"message, stream, 64 KiB", LARGE, {&plain_bytes, &messages}, {stream, stream}, {{0}}, {0}},
    {"record, FIFO, 64 B", 64, {&plain_bytes, &records}, {plain_fifo, fifo_ends}, {{0}}, {0}},
    {"record, FIFO, 4 KB",
     IPC_FIFO_RECORD_MAX,
     {&plain_bytes, &records},
     {plain_fifo, fifo_ends},
     {{0}},
     {0}},
};

static void one_process(const void *of, int which, long count)
{
    const struct row *row = of;
    for (long i = 0; i < count; i++) {
        row->transport[which]->send(row->fd[which][0], row->len);
        row->transport[which]->recv(row->fd[which][1], row->len);
    }
}

/* The first message of a block begins with the number of its messages. */
static void two_processes(const void *of, int which, long count)
{
    const struct row *row = of;
    char done;
    memcpy(out, &count, sizeof(count));
    for (long i = 0; i < count; i++)
        row->transport[which]->send(row->fd[which][0], row->len);
    if (read(row->ack[which], &done, 1) != 1)
        errx(1, "a receiver died");
}

static void receive_blocks(const struct row *row, int which, int ack)
{
    bench_pin(1);
    for (;;) {
        long count;
        row->transport[which]->recv(row->fd[which][1], row->len);
        memcpy(&count, in, sizeof(count));
        while (--count > 0)
            row->transport[which]->recv(row->fd[which][1], row->len);
        if (write(ack, "", 1) != 1)
            _exit(1);
    }
}

static void start_receiver(struct row *row, int which)
{
    int ack[2];
    must(pipe2(ack, O_CLOEXEC), "pipe2");
    if (bench_fork() == 0) {
        close(row->fd[which][0]);
        receive_blocks(row, which, ack[1]);
    }
    close(ack[1]);
    close(row->fd[which][1]);
    row->ack[which] = ack[0];
}

int main(void)
{
    bench_make_directory(directory, sizeof(directory));
    snprintf(fifo_path, sizeof(fifo_path), "%s/fifo", directory);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < BENCH_COUNT(rows); i++)
        for (int which = 0; which < 2; which++)
            rows[i].open[which](rows[i].fd[which]);
    rmdir(directory);

    bench_pin(0);
    bench_print_title();
    bench_print_header(32, "one process: ns, send + receive", "plain", "unixipc");
    for (size_t i = 0; i < BENCH_COUNT(rows); i++) {
        struct bench_result result = bench_measure(one_process, &rows[i]);
        bench_print_times(32, 0, rows[i].name, &result);
    }

    for (size_t i = 0; i < BENCH_COUNT(rows); i++)
        for (int which = 0; which < 2; which++)
            start_receiver(&rows[i], which);
    printf("\n%-32s %9s %9s %8s %9s %9s    %s\n", "two processes, one way", "plain/s", "unixipc/s",
           "ratio", "plain MB/s", "our MB/s", "ratio of each round");
    for (size_t i = 0; i < BENCH_COUNT(rows); i++) {
        struct bench_result result = bench_measure(two_processes, &rows[i]);
        double mb = 1e3 * (double)rows[i].len;
        printf("%-32s %9.0f %9.0f %8.3f %9.0f %9.0f    %.3f %.3f %.3f\n", rows[i].name,
               1e9 / result.ns[0], 1e9 / result.ns[1], 1 / result.ratio, mb / result.ns[0],
               mb / result.ns[1], 1 / result.ratios[0], 1 / result.ratios[1], 1 / result.ratios[2]);
        fflush(stdout);
    }
    return 0;
}
