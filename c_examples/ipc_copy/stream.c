#include "stream.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "transport.h"

/* A stream has no message boundaries, so the length of each piece precedes it. The end of file
 * does not prove that everything was sent: the sender may have died. So the end mark is a length
 * of 0. */
static struct {
    uint32_t len;
    char data[256 * 1024];
} piece;

void *stream_reserve(size_t *ret_cap)
{
    *ret_cap = sizeof(piece.data);
    return piece.data;
}

int stream_commit(size_t len)
{
    piece.len = (uint32_t)len;
    const char *from = (const char *)&piece;
    for (size_t left = sizeof(piece.len) + len; left > 0;) {
        ssize_t n = write(sender_fd, from, left); /* SIGPIPE is ignored */
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno == ECONNRESET)
                errno = EPIPE;
            return -1;
        }
        from += n;
        left -= (size_t)n;
    }
    return 0;
}

static int read_all(void *to, size_t len)
{
    for (char *at = to; len > 0;) {
        ssize_t n = read(receiver_fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            errno = EPIPE;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t stream_peek(const void **ret_data)
{
    if (read_all(&piece.len, sizeof(piece.len)) < 0)
        return -1;
    if (piece.len > sizeof(piece.data)) {
        errno = EPROTO;
        return -1;
    }
    if (read_all(piece.data, piece.len) < 0)
        return -1;
    *ret_data = piece.data;
    return (ssize_t)piece.len;
}

int stream_release(void)
{
    return 0;
}
