/* The sender passes the descriptor of the open file, and the receiver reads the file itself. */
#include "transport.h"

#include <errno.h>
#include <unixipc.h>

static int open_seqpacket(void)
{
    return open_pair(SOCK_SEQPACKET);
}

static int send_fd(int file)
{
    /* A message has at least one byte. */
    return ipc_msg_send(sender_fd, "f", 1, &file, 1, -1);
}

static int recv_fd(void)
{
    char byte;
    int file;
    size_t nfds = 1;
    ssize_t len = ipc_msg_recv(receiver_fd, &byte, 1, &file, &nfds, -1);
    if (len < 0)
        return -1;
    if (len == 0 || nfds == 0) {
        errno = EPIPE;
        return -1;
    }
    return file;
}

const struct transport via_fd = {
    .name = "fd",
    .open = open_seqpacket,
    .keep_sender = keep_sender_fd,
    .keep_receiver = keep_receiver_fd,
    .send_fd = send_fd,
    .recv_fd = recv_fd,
    .remove = remove_nothing,
};
