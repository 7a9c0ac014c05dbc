/* Pieces over a stream of bytes: the same for a socket pair and a FIFO. */
#ifndef STREAM_H
#define STREAM_H

#include <stddef.h>
#include <sys/types.h>

/* The descriptors; -1 where this process does not have the end. */
extern int stream_in, stream_out;

void stream_keep_sender(void);
void stream_keep_receiver(void);
void *stream_reserve(size_t *ret_cap);
int stream_commit(size_t len);
ssize_t stream_peek(const void **ret_data);
int stream_release(void);
void stream_remove(void);

#endif
