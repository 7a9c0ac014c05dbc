/*
 * channel_echo_server: sends every message back to its sender. One thread with epoll serves any
 * number of clients. A client that is killed, receives nothing or floods the server does not
 * delay the other clients.
 *
 * The server uses edge-triggered epoll, because a client can send without receiving. While the
 * ring to such a client is full, its messages stay unread and its descriptor stays readable:
 * level-triggered epoll would report it again and again.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

#define EVENTS 64
#define BATCH  64 /* messages of one client before the server turns to the next client */

/* The user data of an epoll event: one of these addresses, or a channel. */
static char listener_tag, signal_tag;

static int epoll, listener;
static int is_listening;
static unsigned long long clients, echoed;

static int watch(int operation, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(epoll, operation, fd, &event);
}

static void resume_listening(void)
{
    if (!is_listening && watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener_tag) < 0)
        err(1, "epoll");
    is_listening = 1;
}

/* The server has no descriptor or memory left. New clients wait until another client ends. */
static void pause_listening(void)
{
    warn("ipc_channel_accept, with %llu clients", clients);
    if (watch(EPOLL_CTL_DEL, listener, 0, NULL) < 0)
        err(1, "epoll");
    is_listening = 0;
}

static void close_client(struct ipc_channel *ch)
{
    ipc_channel_close(ch); /* this also removes its descriptor from epoll */
    clients--;
    resume_listening();
}

/* Echoes the messages of a client. Returns 0 if the client has ended or violated the protocol. */
static int echo(struct ipc_channel *ch)
{
    for (int i = 0; i < BATCH; i++) {
        const void *message;
        ssize_t len = ipc_channel_peek(ch, &message, 0);
        if (len <= 0)
            return len < 0 && errno == EAGAIN;
        /* If the ring to the client is full, the message stays. The descriptor becomes readable
         * when the ring has free space again. */
        if (ipc_channel_send(ch, message, (size_t)len, 0) < 0)
            return errno == EAGAIN;
        if (ipc_channel_release(ch) < 0)
            return 0;
        echoed++;
    }
    /* More messages may be there: EPOLL_CTL_MOD makes epoll report them again. */
    return watch(EPOLL_CTL_MOD, ipc_channel_fd(ch), EPOLLIN | EPOLLET, ch) == 0;
}

static void accept_clients(void)
{
    for (;;) {
        struct ipc_channel *ch;
        if (ipc_channel_accept(listener, NULL, 0, 0, &ch) < 0) {
            if (errno != EAGAIN)
                pause_listening();
            return;
        }
        clients++;
        int fd = ipc_channel_fd(ch);
        if (fd < 0 || watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, ch) < 0) {
            warn("a new client");
            close_client(ch);
        }
    }
}

/* A client takes four descriptors, so the server raises its limit as far as it may. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* if it fails, the server serves fewer clients */
}

static const char usage[] =
    "usage: channel_echo_server PATH\n"
    "Sends each message of a client (channel_echo_client) back, until SIGINT or SIGTERM.\n"
    "PATH is a path, or @NAME for an abstract name outside of the file system.\n";

int main(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .min_args = 1, .max_args = 1};
    const char *path = argv[parse_command_line(&line, argc, argv)];

    raise_limit();
    const sigset_t termination = block_termination_signals();
    int signals = signalfd(-1, &termination, SFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (signals < 0 || epoll < 0 || watch(EPOLL_CTL_ADD, signals, EPOLLIN, &signal_tag) < 0)
        err(1, "epoll");
    listener = ipc_channel_listen(path, 0600, 0);
    if (listener < 0)
        err(1, "%s", path);
    resume_listening();
    fprintf(stderr, "channel_echo_server: process %d serves %s\n", (int)getpid(), path);

    for (int ended = 0; !ended;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++) {
            void *tag = events[i].data.ptr;
            if (tag == &signal_tag)
                ended = 1;
            else if (tag == &listener_tag)
                accept_clients();
            else if (!echo(tag))
                close_client(tag);
        }
    }
    /* The kernel closes the channels when this process exits, and each client receives the end. */
    if (path[0] != '@' && unlink(path) < 0)
        err(1, "%s", path);
    printf("%llu messages echoed, %llu clients still connected\n", echoed, clients);
    return 0;
}
