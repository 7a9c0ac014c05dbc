/*
 * fifo: how soon a FIFO opens, and how many records pass when many senders wait for room.
 *
 * The times are medians of many opens, each beside the other side's open in another process. The
 * rates are those of one receiver, while each of the senders sends as fast as it can: all of them
 * wait for room nearly always.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define SENDERS 200
#define LEN     64
#define OPENS   101

static char folder[4000], path[4096];
/* When the other side has come, in memory that both processes have. */
static volatile double *came;

static void remove_all(void)
{
    unlink(path);
    rmdir(folder);
}

static void on_signal(int sig)
{
    remove_all();
    _exit(128 + sig);
}

static pid_t start(void)
{
    pid_t parent = getpid(), pid = fork();
    must(pid, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int bare_open(unsigned flags, int timeout_ms)
{
    (void)timeout_ms;
    return open(path, flags == IPC_FIFO_F_READ ? O_RDONLY : O_WRONLY);
}

static int our_open(unsigned flags, int timeout_ms)
{
    return ipc_fifo_open(path, flags, timeout_ms);
}

/* The other side comes with open(2) after ms, and does nothing. In microseconds. */
static double time_to_open(int (*open_side)(unsigned, int), unsigned flags, int timeout_ms, long ms)
{
    int opens = getenv("QUICK") != NULL ? 11 : OPENS;
    double us[OPENS];

    for (int i = 0; i < opens; i++) {
        pid_t pid = start();
        if (pid == 0) {
            sleep_ms(ms);
            *came = bench_now_ns();
            int other = open(path, flags == IPC_FIFO_F_READ ? O_WRONLY : O_RDONLY);
            sleep_ms(40);
            _exit(other < 0);
        }
        int fd = open_side(flags, timeout_ms);
        us[i] = (bench_now_ns() - *came) / 1e3;
        must(fd, "open");
        close(fd);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return bench_median(us, (size_t)opens);
}

/* In microseconds. */
static double time_out(unsigned flags, int timeout_ms)
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

static void bare_send(int fd, int timeout_ms)
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

static void bare_recv(int fd)
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

/* Records a second. */
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
            if (send == bare_send) /* packets, and a write that blocks */
                must(fcntl(fd, F_SETFL, O_DIRECT), "fcntl");
            for (;;)
                send(fd, timeout_ms);
        }
    }
    close(both);
    if (recv == bare_recv)
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
    double bare = time_to_open(bare_open, flags, timeout_ms, ms);
    double ours = time_to_open(our_open, flags, timeout_ms, ms);
    printf("%-46s %9.0f %9.0f\n", name, bare, ours);
    fflush(stdout);
}

static void time_out_row(const char *name, unsigned flags, int timeout_ms)
{
    printf("%-46s %9s %9.0f\n", name, "", time_out(flags, timeout_ms));
    fflush(stdout);
}

static void rate_row(const char *name, int senders, int timeout_ms)
{
    double bare = rate(senders, bare_send, bare_recv, 0);
    double ours = rate(senders, our_send, our_recv, timeout_ms);
    printf("%-46s %9.0f %9.0f %8.3f\n", name, bare, ours, ours / bare);
    fflush(stdout);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/unixipc-bench.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        err(1, "%s", folder);
    snprintf(path, sizeof(path), "%s/fifo", folder);
    atexit(remove_all);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    came = mmap(NULL, sizeof(*came), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (came == MAP_FAILED)
        err(1, "mmap");
    must(ipc_fifo_create(path, 0600, 0), "ipc_fifo_create");

    bench_title();
    printf("\n%-46s %9s %9s\n", "microseconds until open returns", "open(2)", "unixipc");
    open_row("reader, the writer comes after 20 ms", IPC_FIFO_F_READ, -1, 20);
    open_row("the same, time-out of 60 s", IPC_FIFO_F_READ, 60000, 20);
    open_row("reader, the writer comes after 200 ms", IPC_FIFO_F_READ, -1, 200);
    open_row("writer, the reader comes after 20 ms", IPC_FIFO_F_WRITE, -1, 20);
    time_out_row("reader, no writer, time-out of 0", IPC_FIFO_F_READ, 0);
    time_out_row("reader, no writer, time-out of 1 ms", IPC_FIFO_F_READ, 1);

    printf("\n%-46s %9s %9s %8s\n", "records of 64 B a second", "write(2)", "unixipc", "ratio");
    rate_row("1 sender", 1, -1);
    rate_row("200 senders", SENDERS, -1);
    rate_row("200 senders, time-out of 60 s", SENDERS, 60000);
    return 0;
}
