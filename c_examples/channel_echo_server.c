/*
 * channel_echo_server: sends every message back to its sender, for any number of clients at
 * once, in one thread with epoll. A client that is killed, reads nothing or floods it stops
 * nobody else.
 *
 * Edge-triggered, because of clients that send and do not read: while a channel waits for room,
 * its messages stay unread, and its descriptor readable.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <unixipc.h>

#define EVENTS 64
#define TURN   64 /* messages of one client before it is the others' turn */

/* What epoll tells apart by address; any other address is a channel's. */
static char for_listener, for_signal;

static int epoll, listener;
static int is_listening;
static unsigned long long clients, echoed;

static int watch(int how, int fd, uint32_t events, void *whose)
{
    struct epoll_event event = {.events = events, .data.ptr = whose};
    return epoll_ctl(epoll, how, fd, &event);
}

static void listen_again(void)
{
    if (!is_listening && watch(EPOLL_CTL_ADD, listener, EPOLLIN, &for_listener) < 0)
        err(1, "epoll");
    is_listening = 1;
}

/* No descriptor or memory is left: who waits to be accepted waits until a client goes. */
static void listen_no_more(void)
{
    warn("ipc_channel_accept: %llu clients are served", clients);
    if (watch(EPOLL_CTL_DEL, listener, 0, NULL) < 0)
        err(1, "epoll");
    is_listening = 0;
}

static void let_go(struct ipc_channel *ch)
{
    ipc_channel_close(ch); /* epoll forgets its descriptor too */
    clients--;
    listen_again();
}

/* Echoes the messages that have come. Returns 0 when the client is gone, or has broken the rules. */
static int echo(struct ipc_channel *ch)
{
    for (int i = 0; i < TURN; i++) {
        const void *message;
        ssize_t len = ipc_channel_peek(ch, &message, 0);
        if (len <= 0)
            return len < 0 && errno == EAGAIN;
        /* Where there is no room, the message stays, and is seen again when there is. */
        if (ipc_channel_send(ch, message, (size_t)len, 0) < 0)
            return errno == EAGAIN;
        if (ipc_channel_release(ch) < 0)
            return 0;
        echoed++;
    }
    /* There may be more: set anew, epoll looks anew. */
    return watch(EPOLL_CTL_MOD, ipc_channel_fd(ch), EPOLLIN | EPOLLET, ch) == 0;
}

static void accept_clients(void)
{
    for (;;) {
        struct ipc_channel *ch;
        if (ipc_channel_accept(listener, NULL, 0, 0, &ch) < 0) {
            if (errno != EAGAIN)
                listen_no_more();
            return;
        }
        clients++;
        int fd = ipc_channel_fd(ch);
        if (fd < 0 || watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, ch) < 0) {
            warn("a client");
            let_go(ch);
        }
    }
}

/* A client takes four descriptors: as many as the system lets us have. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* more clients: may fail */
}

static int ending_signals(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    return signalfd(-1, &ending, SFD_CLOEXEC);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: channel_echo_server PATH\n"
                 "Sends back what clients (channel_echo_client) send, until SIGINT or SIGTERM.\n"
                 "PATH is a path, or @NAME for a name outside of the file system.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int c = getopt_long(argc, argv, "h", options, NULL);
    if (c != -1 || argc - optind != 1) {
        usage(c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }
    const char *path = argv[optind];

    raise_limit();
    int signals = ending_signals();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (signals < 0 || epoll < 0 || watch(EPOLL_CTL_ADD, signals, EPOLLIN, &for_signal) < 0)
        err(1, "epoll");
    listener = ipc_channel_listen(path, 0600, 0);
    if (listener < 0)
        err(1, "%s", path);
    listen_again();
    fprintf(stderr, "channel_echo_server: process %d serves %s\n", (int)getpid(), path);

    for (int ended = 0; !ended;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++) {
            void *whose = events[i].data.ptr;
            if (whose == &for_signal)
                ended = 1;
            else if (whose == &for_listener)
                accept_clients();
            else if (!echo(whose))
                let_go(whose);
        }
    }
    /* The system closes the channels, and their clients receive the end. */
    if (path[0] != '@' && unlink(path) < 0)
        err(1, "%s", path);
    printf("%llu messages echoed, %llu clients still there\n", echoed, clients);
    return 0;
}
