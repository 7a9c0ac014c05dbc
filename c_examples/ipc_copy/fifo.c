#include "stream.h"
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <unixipc.h>

/* More in flight, fewer switches between the processes; the most that everybody may ask for. */
#define PIPE_BYTES (1024 * 1024)

static int open_both_ends(const char *path)
{
    if (ipc_mkfifo(path, 0600) < 0)
        return -1;
    /* To open one end waits for the other. Here both are opened before fork, the reading end
     * first and without waiting, so that no partner that dies early can make us hang. */
    stream_in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (stream_in >= 0)
        stream_out = open(path, O_WRONLY | O_CLOEXEC);
    int error = errno;
    unlink(path); /* the name has done its work: nothing is left, whatever happens */
    errno = error;
    if (stream_in < 0 || stream_out < 0)
        return -1;
    fcntl(stream_in, F_SETPIPE_SZ, PIPE_BYTES); /* only faster: may fail */
    return fcntl(stream_in, F_SETFL, 0); /* from here on reads wait */
}

static int open_fifo(void)
{
    const char *tmp = getenv("TMPDIR");
    char folder[4000], path[4096];

    if (snprintf(folder, sizeof(folder), "%s/ipc_copy.XXXXXX", tmp ? tmp : "/tmp") >=
        (int)sizeof(folder)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!mkdtemp(folder)) /* a folder of our own: nobody else can put a file in our way */
        return -1;
    snprintf(path, sizeof(path), "%s/fifo", folder);
    int ret = open_both_ends(path);
    int error = errno;
    rmdir(folder);
    errno = error;
    return ret;
}

const struct transport via_fifo = {
    .name = "fifo",
    .open = open_fifo,
    .keep_sender = stream_keep_sender,
    .keep_receiver = stream_keep_receiver,
    .reserve = stream_reserve,
    .commit = stream_commit,
    .peek = stream_peek,
    .release = stream_release,
    .remove = stream_remove,
};
