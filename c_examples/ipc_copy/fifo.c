#include "stream.h"
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <unixipc.h>

/* A larger pipe needs fewer context switches. This is the largest that any user may request. */
#define PIPE_BYTES (1024 * 1024)

static int open_both_ends(const char *path)
{
    if (ipc_mkfifo(path, 0600) < 0)
        return -1;
    /* open() waits until the other end is open. This process opens both ends before fork, the read
     * end first and without blocking, so it cannot hang if the peer dies early. */
    receiver_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (receiver_fd >= 0)
        sender_fd = open(path, O_WRONLY | O_CLOEXEC);
    int error = errno;
    unlink(path); /* the name is no longer needed, and must not outlive the processes */
    errno = error;
    if (receiver_fd < 0 || sender_fd < 0)
        return -1;
    fcntl(receiver_fd, F_SETPIPE_SZ, PIPE_BYTES); /* if it fails, the copy is only slower */
    return fcntl(receiver_fd, F_SETFL, 0);        /* reads block from now on */
}

static int open_fifo(void)
{
    const char *tmp = getenv("TMPDIR");
    char directory[4000], path[4096];

    if (snprintf(directory, sizeof(directory), "%s/ipc_copy.XXXXXX", tmp ? tmp : "/tmp") >=
        (int)sizeof(directory)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!mkdtemp(directory)) /* a private directory: other users cannot create files in it */
        return -1;
    snprintf(path, sizeof(path), "%s/fifo", directory);
    int ret = open_both_ends(path);
    int error = errno;
    rmdir(directory);
    errno = error;
    return ret;
}

const struct transport via_fifo = {
    .name = "fifo",
    .open = open_fifo,
    .keep_sender = keep_sender_fd,
    .keep_receiver = keep_receiver_fd,
    .reserve = stream_reserve,
    .commit = stream_commit,
    .peek = stream_peek,
    .release = stream_release,
    .remove = remove_nothing,
};
