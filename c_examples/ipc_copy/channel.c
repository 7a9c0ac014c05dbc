/* The sender reads the file into the ring, and the receiver writes the copy from the ring. */
#include "transport.h"

#include <errno.h>
#include <unixipc.h>

struct message {
    char kind;
    _Alignas(8) char data[256 * 1024];
};

#define HEADER offsetof(struct message, data)

static struct ipc_channel *end[2];

static int open_channel(void)
{
    /* The ring holds several messages, so that the processes read and write at the same time. */
    struct ipc_channel_opts opts = {.send_size = 1024 * 1024, .recv_size = 64 * 1024};
    return ipc_channel_pair(&opts, sizeof(opts), end);
}

static void keep_sender(void)
{
    ipc_channel_close(end[1]);
}

static void keep_receiver(void)
{
    ipc_channel_close(end[0]);
}

static struct message *message;

static void *reserve(size_t *ret_cap)
{
    message = ipc_channel_reserve(end[0], sizeof(*message), -1);
    *ret_cap = sizeof(message->data);
    return message ? message->data : NULL;
}

static int commit(size_t len)
{
    message->kind = len > 0 ? DATA : END;
    return ipc_channel_commit(end[0], HEADER + len);
}

static ssize_t peek(const void **ret_data)
{
    const void *at;
    ssize_t len = ipc_channel_peek(end[1], &at, -1);
    if (len < 0)
        return -1;
    if (len == 0) {
        errno = EPIPE; /* the sender ended before the end mark */
        return -1;
    }
    const struct message *received = at;
    *ret_data = received->data;
    return received->kind == END ? 0 : len - (ssize_t)HEADER;
}

static int release(void)
{
    return ipc_channel_release(end[1]);
}

const struct transport via_channel = {
    .name = "channel",
    .open = open_channel,
    .keep_sender = keep_sender,
    .keep_receiver = keep_receiver,
    .reserve = reserve,
    .commit = commit,
    .peek = peek,
    .release = release,
    .remove = remove_nothing,
};
