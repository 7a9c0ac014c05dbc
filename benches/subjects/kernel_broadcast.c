/* A stream socket for each of many receivers. Part of the subject kernel. */
#include "subject.h"

#include <sys/socket.h>

static int (*pairs)[2]; /* for each receiver, the sender's socket and its own */
static int in_fd;

static void streams_prepare(void)
{
    pairs = calloc((size_t)subject.n, sizeof(*pairs));
    if (pairs == NULL)
        err(1, "malloc");
    for (long i = 0; i < subject.n; i++)
        subject_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), "socketpair");
}

static void streams_open(void)
{
    for (long i = 0; i < subject.n; i++) {
        close(pairs[i][subject_side == 0 ? 1 : 0]);
        if (subject_side == i + 1)
            in_fd = pairs[i][1];
        else if (subject_side != 0)
            close(pairs[i][1]);
    }
}

SUBJECT_INLINE void streams_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    for (long i = 0; i < subject.n; i++)
        for (size_t done = 0; done < len;) {
            ssize_t some = send(pairs[i][0], subject_out + done, len - done, MSG_NOSIGNAL);
            subject_must(some, "send");
            done += (size_t)some;
        }
}

SUBJECT_INLINE void streams_get(size_t len, uint64_t n)
{
    for (size_t done = 0; done < len;) {
        ssize_t some = recv(in_fd, subject_in + done, len - done, 0);
        subject_must(some, "recv");
        if (some == 0)
            errx(1, "the sender has ended");
        done += (size_t)some;
    }
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(streams)

static const struct subject_transport streams = {streams_prepare, streams_open, streams_loop, NULL};

const struct subject_row kernel_broadcast[] = {
    {"stream", "broadcast", "a stream socket for each", "isolated", NULL, &streams, NULL},
    {0},
};
