/*
 * fifo: the latency of opening a FIFO, and the rate of records from many senders to one receiver.
 *
 * Each open waits for the open of the peer in another process; the latency is a median of many. For
 * the rates, each sender sends as fast as it can, so that nearly all senders wait for a full FIFO.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "bench.h"

#define SENDERS 200
#define LEN     64
#define OPENS   101

static char directory[4000], path[4096];
static volatile double *peer_opens_ns; /* the time of the peer's open, in shared memory */

static void remove_all(void)
{
    unlink(path);
    rmdir(directory);
}

/* Forks a child that ignores SIGPIPE. */
static pid_t start(void)
{
    pid_t pid = bench_fork();
    if (pid == 0)
        signal(SIGPIPE, SIG_IGN);
    return pid;
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int plain_open(unsigned flags, int timeout_ms)
{
    (void)timeout_ms;
    return open(path, flags == IPC_FIFO_F_READ ? O_RDONLY : O_WRONLY);
}

static int our_open(unsigned flags, int timeout_ms)
{
    return ipc_fifo_open(path, flags, timeout_ms);
}

/* The median time in microseconds from the peer's open(2) until our open returns. The peer opens
 * after `ms` and transfers nothing. */
static double time_to_open(int (*open_side)(unsigned, int), unsigned flags, int timeout_ms, long ms)
{
    int opens = getenv("QUICK") != NULL ? 11 : OPENS;
    double us[OPENS];

    for (int i = 0; i < opens; i++) {
        pid_t pid = start();
        if (pid == 0) {
            sleep_ms(ms);
            *peer_opens_ns = bench_now_ns();
            int other = open(path, flags == IPC_FIFO_F_READ ? O_WRONLY : O_RDONLY);
            sleep_ms(40);
            _exit(other < 0);
        }
        int fd = open_side(flags, timeout_ms);
        us[i] = (bench_now_ns() - *peer_opens_ns) / 1e3;
        must(fd, "open");
        close(fd);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return bench_median(us, (size_t)opens);
}

/* The median time in microseconds until an open without a peer fails. */
static double time_to_fail(unsigned flags, int timeout_ms)
{
    double us[OPENS];

    for (int i = 0; i < OPENS; i++) {
        double begin = bench_now_ns();
        int fd = ipc_fifo_open(path, flags, timeout_ms);
        us[i] = (bench_now_ns() - begin) / 1e3;
        if (fd >= 0 || (errno != ETIMEDOUT && errno != EAGAIN))
            err(1, "ipc_fifo_open");
    }
    return bench_median(us, OPENS);
}

static void plain_send(int fd, int timeout_ms)
{
    char record[LEN] = {0};
    (void)timeout_ms;
    if (write(fd, record, sizeof(record)) != LEN)
        _exit(0);
}

static void our_send(int fd, int timeout_ms)
{
    char record[LEN] = {0};
    if (ipc_fifo_send(fd, record, sizeof(record), timeout_ms) < 0)
        _exit(0);
}

static void plain_recv(int fd)
{
    char record[4096];
    if (read(fd, record, sizeof(record)) != LEN)
        errx(1, "read");
}

static void our_recv(int fd)
{
    char record[4096];
    if (ipc_fifo_recv(fd, record, sizeof(record), -1) != LEN)
        errx(1, "ipc_fifo_recv");
}

/* The number of records per second. */
static double rate(int senders, void (*send)(int, int), void (*recv)(int), int timeout_ms)
{
    double span = getenv("QUICK") != NULL ? 3e8 : 2e9;
    long records = 0;
    pid_t *pids = calloc((size_t)senders, sizeof(*pids));
    int both = open(path, O_RDWR);
    int reader = ipc_fifo_open(path, IPC_FIFO_F_READ, 0);

    if (pids == NULL)
        err(1, "calloc");
    must(both, "open");
    must(reader, "ipc_fifo_open");
    for (int i = 0; i < senders; i++) {
        pids[i] = start();
        if (pids[i] == 0) {
            int fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, 0);
            close(both);
            close(reader);
            if (send == plain_send) /* packet mode, blocking */
                must(fcntl(fd, F_SETFL, O_DIRECT), "fcntl");
            for (;;)
                send(fd, timeout_ms);
        }
    }
    close(both);
    if (recv == plain_recv)
        must(fcntl(reader, F_SETFL, 0), "fcntl");
    sleep_ms(300);
    double begin = bench_now_ns(), now;
    do {
        for (int i = 0; i < 64; i++, records++)
            recv(reader);
        now = bench_now_ns();
    } while (now - begin < span);
    for (int i = 0; i < senders; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < senders; i++)
        waitpid(pids[i], NULL, 0);
    close(reader);
    free(pids);
    return 1e9 * (double)records / (now - begin);
}

static void open_row(const char *name, unsigned flags, int timeout_ms, long ms)
{
    double plain = time_to_open(plain_open, flags, timeout_ms, ms);
    double ours = time_to_open(our_open, flags, timeout_ms, ms);
    printf("%-46s %9.0f %9.0f\n", name, plain, ours);
    fflush(stdout);
}

static void time_out_row(const char *name, unsigned flags, int timeout_ms)
{
    printf("%-46s %9s %9.0f\n", name, "", time_to_fail(flags, timeout_ms));
    fflush(stdout);
}

static void rate_row(const char *name, int senders, int timeout_ms)
{
    double plain = rate(senders, plain_send, plain_recv, 0);
    double ours = rate(senders, our_send, our_recv, timeout_ms);
    printf("%-46s %9.0f %9.0f %8.3f\n", name, plain, ours, ours / plain);
    fflush(stdout);
}

int main(void)
{
    bench_make_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/fifo", directory);
    bench_remove_at_exit(remove_all);
    peer_opens_ns = bench_shared_memory(sizeof(*peer_opens_ns));
    must(ipc_fifo_create(path, 0600, 0), "ipc_fifo_create");

    bench_print_title();
    printf("\n%-46s %9s %9s\n", "us until open returns", "open(2)", "unixipc");
    open_row("reader, writer opens after 20 ms", IPC_FIFO_F_READ, -1, 20);
    open_row("reader, writer after 20 ms, time-out 60 s", IPC_FIFO_F_READ, 60000, 20);
    open_row("reader, writer opens after 200 ms", IPC_FIFO_F_READ, -1, 200);
    open_row("writer, reader opens after 20 ms", IPC_FIFO_F_WRITE, -1, 20);
    time_out_row("reader, no writer, time-out 0", IPC_FIFO_F_READ, 0);
    time_out_row("reader, no writer, time-out 1 ms", IPC_FIFO_F_READ, 1);

    printf("\n%-46s %9s %9s %8s\n", "records of 64 B per second", "write(2)", "unixipc", "ratio");
    rate_row("1 sender", 1, -1);
    rate_row("200 senders", SENDERS, -1);
    rate_row("200 senders, time-out 60 s", SENDERS, 60000);
    return 0;
}
