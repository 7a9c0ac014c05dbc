/* Channels: options, messages, batches, descriptors, calls, and the end. */
#include "show.h"
#include <poll.h>

static struct ipc_channel *ends[2];
static char buf[256];

static void close_both(void)
{
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
}

static int is_readable(struct ipc_channel *ch)
{
    struct pollfd event = {.fd = ipc_channel_fd(ch), .events = POLLIN};
    return poll(&event, 1, LONG_MS) == 1;
}

static void show_options(void)
{
    struct ipc_channel_opts opts = {.send_size = 100000, .recv_size = 1, .message_align = 64};
    /* The options of a version that is much later than the library. */
    struct {
        struct ipc_channel_opts opts;
        char later[1000];
    } newer = {.opts = opts};

    SHOW(ipc_channel_pair(&opts, sizeof(opts), ends));
    SHOW(ipc_channel_max(ends[0]));
    SHOW(ipc_channel_max(ends[1]));
    SHOW((uintptr_t)ipc_channel_reserve(ends[0], 10, 0) % 64);
    SHOW(ipc_channel_cancel(ends[0]));
    close_both();
    SHOW(ipc_channel_pair(&newer.opts, sizeof(newer), ends));
    close_both();
    newer.later[sizeof(newer.later) - 1] = 1;
    SHOW(ipc_channel_pair(&newer.opts, sizeof(newer), ends));
    SHOW(ipc_channel_pair(&opts, 8, ends));
    opts.message_align = 5;
    SHOW(ipc_channel_pair(&opts, sizeof(opts), ends));
}

static void show_messages(void)
{
    struct iovec parts[2] = {{"split ", 6}, {"message", 7}};
    struct iovec to[3] = {{buf, 64}, {buf + 64, 64}, {buf + 128, 64}};
    struct ipc_channel_stats stats;
    struct ipc_cred cred;
    const void *message;

    SHOW(ipc_channel_pair(NULL, 0, ends));
    SHOW(ipc_channel_max(ends[0]));
    SHOW(ipc_channel_recv(ends[1], buf, sizeof(buf), 0));
    SHOW(ipc_channel_recv(ends[1], buf, sizeof(buf), 1));
    SHOW(ipc_channel_send(ends[0], "message", 7, LONG_MS));
    SHOW(ipc_channel_sendv(ends[0], parts, 2, LONG_MS));
    SHOW(ipc_channel_send_many(ends[0], parts, 2, LONG_MS));
    strcpy(SHOW_POINTER(ipc_channel_reserve(ends[0], 10, LONG_MS)), "reserved");
    SHOW(ipc_channel_commit(ends[0], 8));
    SHOW(is_readable(ends[1]));
    SHOW(ipc_channel_recv(ends[1], buf, 3, LONG_MS));
    SHOW(ipc_channel_recv(ends[1], buf, sizeof(buf), LONG_MS));
    SHOW(ipc_channel_peek(ends[1], &message, LONG_MS));
    SHOW(memcmp(message, "split message", 13) == 0);
    SHOW(ipc_channel_release(ends[1]));
    SHOW(ipc_channel_recv_many(ends[1], to, 3, LONG_MS));
    SHOW(to[0].iov_len == 6 && to[1].iov_len == 7 && to[2].iov_len == 8);
    SHOW(memcmp(buf + 128, "reserved", 8) == 0);
    SHOW(ipc_channel_stats(ends[0], &stats, sizeof(stats)));
    SHOW(stats.sent_messages);
    SHOW(stats.sent_bytes);
    SHOW(ipc_channel_stats(ends[1], &stats, 8));
    SHOW(ipc_channel_peer_cred(ends[0], &cred, sizeof(cred)));
    SHOW(cred.pid == getpid());
    int pidfd = ipc_channel_peer_pidfd(ends[0]);
    SHOW(pidfd >= 0);
    close(pidfd);
    SHOW(ipc_channel_shutdown(ends[0], SHUT_WR));
    SHOW(ipc_channel_send(ends[0], "x", 1, 0));
    SHOW(ipc_channel_recv(ends[1], buf, sizeof(buf), LONG_MS));
    close_both();
}

static void show_descriptors(void)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_FDS};
    int fds[2] = {-1, -1};
    size_t nfds = 2;

    SHOW(ipc_channel_pair(&opts, sizeof(opts), ends));
    SHOW(ipc_channel_send_fds(ends[0], "input", 5, (int[]){0}, 1, LONG_MS));
    SHOW(ipc_channel_send_fds(ends[0], "none", 4, NULL, 0, LONG_MS));
    SHOW(ipc_channel_recv_fds(ends[1], buf, sizeof(buf), fds, &nfds, LONG_MS));
    SHOW(nfds);
    close(fds[0]);
    SHOW(ipc_channel_recv(ends[1], buf, sizeof(buf), LONG_MS));
    close_both();
}

/* A server that answers each call with the request, and then ends. */
static int serve(struct ipc_channel *ch)
{
    char request[64];
    uint64_t id;
    ssize_t len;

    while ((len = ipc_channel_next_call(ch, request, sizeof(request), &id, LONG_MS)) > 0) {
        if (ipc_channel_reply(ch, id, request, (size_t)len, LONG_MS) < 0) {
            return 1;
        }
    }
    ipc_channel_close(ch);
    return len < 0;
}

static void show_connection(void)
{
    struct ipc_channel *ch;
    int sock[2], listener;
    pid_t pid;

    SHOW(ipc_channel_connect("listener", NULL, 0, 0, &ch));
    listener = ipc_channel_listen("listener", 0600, 0);
    SHOW(listener >= 0);
    SHOW(ipc_channel_accept(listener, NULL, 0, 0, &ch));
    pid = start_child();
    if (pid == 0) {
        _exit(ipc_channel_accept(listener, NULL, 0, LONG_MS, &ch) < 0 || serve(ch));
    }
    SHOW(ipc_channel_connect("listener", NULL, 0, LONG_MS, &ch));
    SHOW(ipc_channel_call(ch, "request", 7, buf, sizeof(buf), LONG_MS));
    SHOW(memcmp(buf, "request", 7) == 0);
    SHOW(ipc_channel_call(ch, "request", 7, buf, 3, LONG_MS));
    ipc_channel_close(ch);
    print_end(pid);
    close(listener);
    unlink("listener");

    if (ipc_pair_open(SOCK_STREAM, sock) < 0) {
        exit(1);
    }
    SHOW(ipc_channel_from_fd(sock[0], NULL, 0, 0, &ch));
    close(sock[0]);
    close(sock[1]);
    if (ipc_pair_open(SOCK_SEQPACKET, sock) < 0) {
        exit(1);
    }
    pid = start_child();
    if (pid == 0) {
        close(sock[1]);
        _exit(ipc_channel_from_fd(sock[0], NULL, 0, LONG_MS, &ch) < 0 || serve(ch));
    }
    close(sock[0]);
    SHOW(ipc_channel_from_fd(sock[1], NULL, 0, LONG_MS, &ch));
    close(sock[1]);
    SHOW(ipc_channel_call(ch, "request", 7, buf, sizeof(buf), LONG_MS));
    ipc_channel_close(ch);
    print_end(pid);
}

int main(void)
{
    show_options();
    show_messages();
    show_descriptors();
    show_connection();
    return 0;
}
