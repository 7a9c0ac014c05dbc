/* A server that waits with epoll for messages on many channels. */
#include "channel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define CHANNELS 1000

struct server {
    pid_t pid;
    int channels;
    struct ipc_channel *clients[CHANNELS];
};

static void serve(struct ipc_channel **channels, int count)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, ready[16];
    long message;

    must(epoll, "epoll_create1");
    for (int i = 0; i < count; i++) {
        event.data.ptr = channels[i];
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, ipc_channel_fd(channels[i]), &event), "epoll_ctl");
    }
    for (;;) {
        int n = epoll_wait(epoll, ready, 16, -1);
        must(n, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct ipc_channel *from = ready[i].data.ptr;
            ssize_t len;
            while ((len = ipc_channel_recv(from, &message, sizeof(message), 0)) > 0)
                must(ipc_channel_send(from, &message, sizeof(message), -1), "ipc_channel_send");
            if (len == 0 || errno != EAGAIN)
                err(1, "ipc_channel_recv");
        }
    }
}

static void start_server(struct server *server, int count)
{
    static struct ipc_channel *theirs[CHANNELS], *both[2];
    /* The benchmark is about the number of channels, so small rings are enough. */
    struct ipc_channel_opts opts = {.send_size = 64 * KIB};

    server->channels = count;
    for (int i = 0; i < count; i++) {
        must(ipc_channel_pair(&opts, sizeof(opts), both), "ipc_channel_pair");
        server->clients[i] = both[0];
        theirs[i] = both[1];
    }
    server->pid = fork_other();
    for (int i = 0; i < count; i++)
        ipc_channel_close(server->pid == 0 ? server->clients[i] : theirs[i]);
    if (server->pid == 0)
        serve(theirs, count);
}

static void stop_server(struct server *server)
{
    int status;

    kill(server->pid, SIGTERM);
    must(waitpid(server->pid, &status, 0), "waitpid");
    if (!WIFSIGNALED(status))
        errx(1, "the server failed");
    for (int i = 0; i < server->channels; i++)
        ipc_channel_close(server->clients[i]);
}

void round_trip(struct ipc_channel *client)
{
    long message = 1;

    must(ipc_channel_send(client, &message, sizeof(message), -1), "ipc_channel_send");
    if (ipc_channel_recv(client, &message, sizeof(message), -1) != sizeof(message))
        err(1, "ipc_channel_recv");
}

static double cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec time;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
        err(1, "CPU time of a process");
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

/* The cases: a server with one channel; one with many, of which one is used; one with many, which
 * are used in turn. */
enum { ONE, ONE_OF_MANY, EACH_OF_MANY, CASES };

void many_channels(void)
{
    static struct server one, many;
    struct result result = {0};
    static block_times times;
    struct timespec second = {1, 0};

    pin(0);
    start_server(&one, 1);
    start_server(&many, CHANNELS);
    for (int i = 0; i < 2; i++) {
        round_trip(one.clients[0]);
        for (int j = 0; j < CHANNELS; j++)
            round_trip(many.clients[j]);
    }

    double before = cpu_ns(many.pid), before_here = cpu_ns(getpid());
    nanosleep(&second, NULL);
    double used = cpu_ns(many.pid) - before, used_here = cpu_ns(getpid()) - before_here;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < CASES; turn++) {
                int at = (turn + i) % CASES;
                double begin = bench_now_ns();
                for (int j = 0; j < CHANNELS; j++)
                    round_trip(at == ONE           ? one.clients[0]
                               : at == ONE_OF_MANY ? many.clients[CHANNELS / 2]
                                                   : many.clients[j]);
                times[at][round * blocks + i] = (bench_now_ns() - begin) / CHANNELS;
            }
        set_round_medians(&result, times, CASES, round);
    }
    set_medians(&result, times, CASES);
    stop_server(&one);
    stop_server(&many);

    printf("\nepoll server, one core, round trip of 8 bytes: with one channel %.2f us,\n"
           "one of %d %.2f us, each of %d in turn %.2f us\n",
           result.ns[ONE] / 1e3, CHANNELS, result.ns[ONE_OF_MANY] / 1e3, CHANNELS,
           result.ns[EACH_OF_MANY] / 1e3);
    print_ratio("one of many / one channel", &result, ONE_OF_MANY, ONE, false, "0.8-1.2");
    print_ratio("each in turn / one channel", &result, EACH_OF_MANY, ONE, false, "");
    bare_many("the system calls and pages alone", false);
    bare_many("stream sockets", true);
    printf("  %-38s %8.1f  us of the server, %.1f us of the client (target 0)\n",
           "CPU time in an idle second", used / 1e3, used_here / 1e3);
}
