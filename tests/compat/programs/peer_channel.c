/* A client and a server of a channel that carries descriptors. */
#include "peer.h"
#include <poll.h>

#define MESSAGES 4000
#define BATCH    8
#define CALLS    500

static unsigned char buf[20000];

/* The length of a message: from short ones to ones of a quarter of the ring. */
static size_t length(uint64_t number)
{
    return number % 50 == 0 ? 16000 : 1 + number * 7 % 300;
}

static struct ipc_channel_opts options(unsigned int align)
{
    struct ipc_channel_opts opts = {
        .flags = IPC_CHANNEL_F_FDS | IPC_CHANNEL_F_WAIT,
        .send_size = 65536,
        .message_align = align,
    };
    return opts;
}

/* Sends more messages than the ring holds, so both sides sleep and wake each other. */
static void send_messages(struct ipc_channel *ch)
{
    for (uint64_t n = 0; n < MESSAGES; n++) {
        unsigned char *at = ipc_channel_reserve(ch, length(n), LONG_MS);
        MUST(at != NULL);
        fill(at, length(n), n);
        MUST(ipc_channel_commit(ch, length(n)) == 0);
    }
}

static void receive_messages(struct ipc_channel *ch)
{
    const void *at;
    for (uint64_t n = 0; n < MESSAGES; n++) {
        MUST(ipc_channel_peek(ch, &at, LONG_MS) == (ssize_t)length(n));
        MUST(is_filled(at, length(n), n));
        MUST(ipc_channel_release(ch) == 0);
    }
}

static void send_batch(struct ipc_channel *ch)
{
    struct iovec messages[BATCH];
    fill(buf, sizeof(buf), 0);
    for (size_t i = 0; i < BATCH; i++) {
        messages[i] = (struct iovec){buf, i + 1};
    }
    MUST(ipc_channel_send_many(ch, messages, BATCH, LONG_MS) == BATCH);
    MUST(ipc_channel_sendv(ch, messages, BATCH, LONG_MS) == BATCH * (BATCH + 1) / 2);
}

static void receive_batch(struct ipc_channel *ch)
{
    for (size_t i = 0; i < BATCH; i++) {
        struct iovec message = {buf, sizeof(buf)};
        MUST(ipc_channel_recv_many(ch, &message, 1, LONG_MS) == 1);
        MUST(message.iov_len == i + 1 && is_filled(buf, i + 1, 0));
    }
    MUST(ipc_channel_recv(ch, buf, sizeof(buf), LONG_MS) == BATCH * (BATCH + 1) / 2);
}

/* Sends the write end of a pipe, through which the receiver answers. */
static void send_descriptor(struct ipc_channel *ch)
{
    int fds[2];
    char byte = 0;
    MUST(pipe(fds) == 0);
    MUST(ipc_channel_send_fds(ch, "a pipe", 6, &fds[1], 1, LONG_MS) == 0);
    close(fds[1]);
    MUST(read(fds[0], &byte, 1) == 1 && byte == 'x');
    close(fds[0]);
}

static void receive_descriptor(struct ipc_channel *ch)
{
    int fd = -1;
    size_t nfds = 1;
    MUST(ipc_channel_recv_fds(ch, buf, sizeof(buf), &fd, &nfds, LONG_MS) == 6 && nfds == 1);
    MUST(write(fd, "x", 1) == 1);
    close(fd);
}

static void make_calls(struct ipc_channel *ch)
{
    uint64_t reply;
    for (uint64_t n = 0; n < CALLS; n++) {
        MUST(ipc_channel_call(ch, &n, sizeof(n), &reply, sizeof(reply), LONG_MS) == sizeof(n));
        MUST(reply == n + 1);
    }
}

static void serve_calls(struct ipc_channel *ch)
{
    uint64_t request, id;
    for (uint64_t n = 0; n < CALLS; n++) {
        MUST(ipc_channel_next_call(ch, &request, sizeof(request), &id, LONG_MS) == sizeof(n));
        MUST(request == n);
        request++;
        MUST(ipc_channel_reply(ch, id, &request, sizeof(request), LONG_MS) == 0);
    }
}

static void await_message(struct ipc_channel *ch)
{
    struct pollfd event = {.fd = ipc_channel_fd(ch), .events = POLLIN};
    MUST(event.fd >= 0 && poll(&event, 1, LONG_MS) == 1);
}

void channel_server(const char *path)
{
    struct ipc_channel_opts opts = options(8);
    struct ipc_channel *ch;
    int listener = ipc_channel_listen(path, 0600, 0);

    MUST(listener >= 0);
    ready();
    opts.flags = IPC_CHANNEL_F_FDS;
    MUST(ipc_channel_accept(listener, &opts, sizeof(opts), LONG_MS, &ch) == 0);
    receive_messages(ch);
    send_messages(ch);
    receive_batch(ch);
    send_batch(ch);
    receive_descriptor(ch);
    send_descriptor(ch);
    serve_calls(ch);
    await_message(ch);
    MUST(ipc_channel_recv(ch, buf, sizeof(buf), LONG_MS) == 4);
    MUST(ipc_channel_recv(ch, buf, sizeof(buf), LONG_MS) == 0);
    MUST(ipc_channel_send(ch, "last", 4, LONG_MS) == 0);
    ipc_channel_close(ch);
    close(listener);
    unlink(path);
}

void channel_client(const char *path)
{
    struct ipc_channel_opts opts = options(64);
    struct ipc_channel *ch;
    const void *at;

    MUST(ipc_channel_connect(path, &opts, sizeof(opts), LONG_MS, &ch) == 0);
    send_messages(ch);
    receive_messages(ch);
    send_batch(ch);
    receive_batch(ch);
    send_descriptor(ch);
    receive_descriptor(ch);
    make_calls(ch);
    MUST(ipc_channel_send(ch, "last", 4, LONG_MS) == 0);
    MUST(ipc_channel_shutdown(ch, SHUT_WR) == 0);
    await_message(ch);
    MUST(ipc_channel_peek(ch, &at, LONG_MS) == 4 && (uintptr_t)at % 64 == 0);
    MUST(ipc_channel_release(ch) == 0);
    MUST(ipc_channel_recv(ch, buf, sizeof(buf), LONG_MS) == 0);
    ipc_channel_close(ch);
}
