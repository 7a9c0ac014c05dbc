#include "stream.h"
#include "transport.h"

#include <unixipc.h>

static int open_pair(void)
{
    int sv[2];
    if (ipc_socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    stream_out = sv[0];
    stream_in = sv[1];
    return 0;
}

const struct transport via_socketpair = {
    .name = "socketpair",
    .open = open_pair,
    .keep_sender = stream_keep_sender,
    .keep_receiver = stream_keep_receiver,
    .reserve = stream_reserve,
    .commit = stream_commit,
    .peek = stream_peek,
    .release = stream_release,
    .remove = stream_remove,
};
