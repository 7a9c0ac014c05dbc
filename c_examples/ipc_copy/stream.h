/* Pieces with a length before each, for streams of bytes: a socket pair and a FIFO. */
#ifndef STREAM_H
#define STREAM_H

#include <stddef.h>
#include <sys/types.h>

/* The functions of struct transport; they use sender_fd and receiver_fd. */
void *stream_reserve(size_t *ret_cap);
int stream_commit(size_t len);
ssize_t stream_peek(const void **ret_data);
int stream_release(void);

#endif
