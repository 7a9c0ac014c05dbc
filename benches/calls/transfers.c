/*
 * transfers: what layer 2 costs over the bare system calls that do the same.
 *
 * First in one process, which sends and receives in turn: what the calls themselves cost.
 * Then between two processes on two processors, one way, as fast as it goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

#define LARGE 65536

static char out[LARGE], in[LARGE];
static char folder[4000], fifo_path[4096];

/* A way to move a message: between two ends, both in this process or not. */
struct way {
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

static void bare_sendmsg(int fd, size_t len)
{
    struct iovec iov = {out, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    must(sendmsg(fd, &msg, MSG_NOSIGNAL), "sendmsg");
}

static void bare_recvmsg(int fd, size_t len)
{
    struct iovec iov = {in, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    must(n, "recvmsg");
    if (n == 0)
        exit(0);
}

/* The same with room for descriptors. */
static void bare_recvmsg_control(int fd, size_t len)
{
    char control[CMSG_SPACE(253 * sizeof(int))];
    struct iovec iov = {in, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
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

static const struct way bare_bytes = {write_loop, read_loop};
static const struct way full = {send_full, recv_full};
static const struct way bare_messages = {bare_sendmsg, bare_recvmsg};
static const struct way bare_messages_fds = {bare_sendmsg, bare_recvmsg_control};
static const struct way messages = {msg_send, msg_recv};
static const struct way messages_fds = {msg_send, msg_recv_fds};
static const struct way records = {fifo_send, fifo_recv};

/* Each makes two ends, [0] to send into and [1] to receive from. */
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
    /* Not persistent, so that the receiver reads the end. */
    int both = open(fifo_path, O_RDWR | O_CLOEXEC);
    must(both, "open");
    fd[1] = ipc_fifo_open(fifo_path, IPC_FIFO_F_READ, 0);
    must(fd[1], "ipc_fifo_open");
    fd[0] = ipc_fifo_open(fifo_path, IPC_FIFO_F_WRITE, 0);
    must(fd[0], "ipc_fifo_open");
    close(both);
    must(ipc_fifo_unlink(fifo_path), "ipc_fifo_unlink");
}

/* A FIFO as open(2) gives it: no packets, blocking. */
static void bare_fifo(int fd[2])
{
    fifo_ends(fd);
    must(fcntl(fd[0], F_SETFL, 0), "fcntl");
    must(fcntl(fd[1], F_SETFL, 0), "fcntl");
}

struct row {
    const char *name;
    size_t len;
    const struct way *way[2];     /* what it is compared with, ours */
    void (*ends[2])(int fd[2]);
    int fd[2][2];
    int ack[2];                   /* two processes: where the receiver says that it has a block */
};

static struct row rows[] = {
    {"full, stream, 64 B", 64, {&bare_bytes, &full}, {stream, stream}, {{0}}, {0}},
    {"full, stream, 64 KiB", LARGE, {&bare_bytes, &full}, {stream, stream}, {{0}}, {0}},
    {"message, seqpacket, 64 B", 64, {&bare_messages, &messages}, {seqpacket, seqpacket}, {{0}}, {0}},
    {"message, seqpacket, 64 KiB", LARGE, {&bare_messages, &messages}, {seqpacket, seqpacket}, {{0}}, {0}},
    {"the same, room for descriptors", 64, {&bare_messages_fds, &messages_fds}, {seqpacket, seqpacket}, {{0}}, {0}},
    {"message, stream, 64 B", 64, {&bare_bytes, &messages}, {stream, stream}, {{0}}, {0}},
    {"message, stream, 64 KiB", LARGE, {&bare_bytes, &messages}, {stream, stream}, {{0}}, {0}},
    {"record, FIFO, 64 B", 64, {&bare_bytes, &records}, {bare_fifo, fifo_ends}, {{0}}, {0}},
    {"record, FIFO, 4 KB", IPC_FIFO_RECORD_MAX, {&bare_bytes, &records}, {bare_fifo, fifo_ends}, {{0}}, {0}},
};
#define ROWS (sizeof(rows) / sizeof(*rows))

static void one_process(const void *of, int which, long count)
{
    const struct row *row = of;
    for (long i = 0; i < count; i++) {
        row->way[which]->send(row->fd[which][0], row->len);
        row->way[which]->recv(row->fd[which][1], row->len);
    }
}

/* Its length is in the first bytes of a block, so that the receiver knows when it has all. */
static void two_processes(const void *of, int which, long count)
{
    const struct row *row = of;
    char done;
    memcpy(out, &count, sizeof(count));
    for (long i = 0; i < count; i++)
        row->way[which]->send(row->fd[which][0], row->len);
    if (read(row->ack[which], &done, 1) != 1)
        errx(1, "a receiver has died");
}

static void receive_blocks(const struct row *row, int which, int ack)
{
    bench_pin(1);
    for (;;) {
        long count;
        row->way[which]->recv(row->fd[which][1], row->len);
        memcpy(&count, in, sizeof(count));
        while (--count > 0)
            row->way[which]->recv(row->fd[which][1], row->len);
        if (write(ack, "", 1) != 1)
            _exit(1);
    }
}

static void start_receiver(struct row *row, int which)
{
    int ack[2];
    must(pipe2(ack, O_CLOEXEC), "pipe2");
    pid_t parent = getpid(), pid = fork();
    must(pid, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(row->fd[which][0]);
        receive_blocks(row, which, ack[1]);
    }
    close(ack[1]);
    close(row->fd[which][1]);
    row->ack[which] = ack[0];
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/unixipc-bench.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        err(1, "%s", folder);
    snprintf(fifo_path, sizeof(fifo_path), "%s/fifo", folder);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ROWS; i++)
        for (int which = 0; which < 2; which++)
            rows[i].ends[which](rows[i].fd[which]);
    rmdir(folder);

    bench_pin(0);
    bench_title();
    printf("\n%-32s %9s %9s %8s    %s\n", "one process: ns, send + receive", "bare", "unixipc",
           "ratio", "of each round");
    for (size_t i = 0; i < ROWS; i++) {
        struct bench_result result = bench_measure(one_process, &rows[i]);
        printf("%-32s %9.0f %9.0f %8.3f    %.3f %.3f %.3f\n", rows[i].name, result.ns[0],
               result.ns[1], result.ratio, result.ratios[0], result.ratios[1], result.ratios[2]);
        fflush(stdout);
    }

    for (size_t i = 0; i < ROWS; i++)
        for (int which = 0; which < 2; which++)
            start_receiver(&rows[i], which);
    printf("\n%-32s %9s %9s %8s %9s %9s    %s\n", "two processes, one way", "bare/s", "unixipc/s",
           "ratio", "bare MB/s", "our MB/s", "of each round");
    for (size_t i = 0; i < ROWS; i++) {
        struct bench_result result = bench_measure(two_processes, &rows[i]);
        double mb = 1e3 * (double)rows[i].len;
        printf("%-32s %9.0f %9.0f %8.3f %9.0f %9.0f    %.3f %.3f %.3f\n", rows[i].name,
               1e9 / result.ns[0], 1e9 / result.ns[1], 1 / result.ratio, mb / result.ns[0],
               mb / result.ns[1], 1 / result.ratios[0], 1 / result.ratios[1],
               1 / result.ratios[2]);
        fflush(stdout);
    }
    return 0;
}
