/* A server that waits with epoll for messages on many channels, compared with stream sockets. */
#include "channel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
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

static void kill_server(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    must(waitpid(pid, &status, 0), "waitpid");
    if (!WIFSIGNALED(status))
        errx(1, "the server failed");
}

static void stop_server(struct server *server)
{
    kill_server(server->pid);
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

/* --- the same with stream sockets --- */

static int sockets[2][CHANNELS]; /* of the clients, and of the server */

static void serve_sockets(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, ready[16];
    long message;

    must(epoll, "epoll_create1");
    for (int i = 0; i < CHANNELS; i++) {
        event.data.fd = sockets[1][i];
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[1][i], &event), "epoll_ctl");
    }
    for (;;) {
        int n = epoll_wait(epoll, ready, 16, -1);
        must(n, "epoll_wait");
        for (int i = 0; i < n; i++) {
            int from = ready[i].data.fd;
            ssize_t len;
            while ((len = recv(from, &message, sizeof(message), MSG_DONTWAIT)) > 0)
                must(send(from, &message, sizeof(message), MSG_NOSIGNAL), "send");
            if (len == 0 || errno != EAGAIN)
                err(1, "recv");
        }
    }
}

static pid_t start_socket_server(void)
{
    for (int i = 0; i < CHANNELS; i++) {
        int both[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both), "socketpair");
        for (int end = 0; end < 2; end++)
            sockets[end][i] = both[end];
    }
    pid_t pid = fork_other();
    for (int i = 0; i < CHANNELS; i++)
        close(sockets[pid == 0 ? 0 : 1][i]);
    if (pid == 0)
        serve_sockets();
    return pid;
}

static void stop_socket_server(pid_t pid)
{
    kill_server(pid);
    for (int i = 0; i < CHANNELS; i++)
        close(sockets[0][i]);
}

static void socket_round_trip(int client)
{
    long message = 1;

    must(send(client, &message, sizeof(message), MSG_NOSIGNAL), "send");
    if (recv(client, &message, sizeof(message), 0) != sizeof(message))
        err(1, "recv");
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
 * are used in turn. The last two also with stream sockets. */
enum { ONE, ONE_OF_MANY, EACH_OF_MANY, ONE_OF_MANY_SOCKETS, EACH_OF_MANY_SOCKETS, CASES };
_Static_assert(CASES <= TRANSPORTS_MAX, "a result has a figure for each case");

static struct server one, many;

static void case_round_trip(int which, int i)
{
    if (which == EACH_OF_MANY_SOCKETS)
        socket_round_trip(sockets[0][i]);
    else if (which == ONE_OF_MANY_SOCKETS)
        socket_round_trip(sockets[0][CHANNELS / 2]);
    else
        round_trip(which == ONE           ? one.clients[0]
                   : which == ONE_OF_MANY ? many.clients[CHANNELS / 2]
                                          : many.clients[i]);
}

void many_channels(void)
{
    struct result result = {0};
    static block_times times;
    struct timespec second = {1, 0};

    pin(0);
    start_server(&one, 1);
    start_server(&many, CHANNELS);
    pid_t socket_server = start_socket_server();
    for (int i = 0; i < 2; i++) {
        round_trip(one.clients[0]);
        for (int j = 0; j < CHANNELS; j++) {
            round_trip(many.clients[j]);
            socket_round_trip(sockets[0][j]);
        }
    }

    double before = cpu_ns(many.pid), before_here = cpu_ns(getpid());
    nanosleep(&second, NULL);
    double used = cpu_ns(many.pid) - before, used_here = cpu_ns(getpid()) - before_here;

    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < blocks; i++)
            for (int turn = 0; turn < CASES; turn++) {
                int at = (turn + i) % CASES;
                double begin = bench_now_ns();
                for (int j = 0; j < CHANNELS; j++)
                    case_round_trip(at, j);
                times[at][round * blocks + i] = (bench_now_ns() - begin) / CHANNELS;
            }
        set_round_medians(&result, times, CASES, round);
    }
    set_medians(&result, times, CASES);
    stop_server(&one);
    stop_server(&many);
    stop_socket_server(socket_server);

    printf("\nepoll server, one core, round trip of 8 bytes: with one channel %.2f us,\n"
           "one of %d %.2f us, each of %d in turn %.2f us;\n"
           "stream sockets: one of %d %.2f us, each in turn %.2f us\n",
           result.ns[ONE] / 1e3, CHANNELS, result.ns[ONE_OF_MANY] / 1e3, CHANNELS,
           result.ns[EACH_OF_MANY] / 1e3, CHANNELS, result.ns[ONE_OF_MANY_SOCKETS] / 1e3,
           result.ns[EACH_OF_MANY_SOCKETS] / 1e3);
    print_ratio("one of many / one channel", &result, ONE_OF_MANY, ONE, false, "0.8-1.2");
    print_ratio("each in turn / one channel", &result, EACH_OF_MANY, ONE, false, "<= 1.5");
    print_ratio("each in turn / sockets in turn", &result, EACH_OF_MANY, EACH_OF_MANY_SOCKETS,
                false, "<= 1.0");
    bare_many();
    printf("  %-38s %8.1f  us of the server, %.1f us of the client (target 0)\n",
           "CPU time in an idle second", used / 1e3, used_here / 1e3);
}
