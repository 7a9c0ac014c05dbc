/* How ipc_copy moves bytes from one process to another: one struct a mechanism. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stddef.h>
#include <sys/types.h>

struct transport {
    const char *name;

    /* Before fork: makes the mechanism. Returns 0, or -1 with errno. */
    int (*open)(void);
    /* After fork, once in each process: keeps its own end and lets go of the other one. */
    void (*keep_sender)(void);
    void (*keep_receiver)(void);

    /* The sender: the buffer to fill, then how much is in it; 0 says that all has been sent.
     * commit returns 0, or -1 with errno, which is EPIPE where the receiver is gone. */
    void *(*reserve)(size_t *ret_cap);
    int (*commit)(size_t len);

    /* The receiver: the next piece and its length, 0 after the last one, or -1 with errno,
     * which is EPIPE where the sender is gone before it has sent all; then done with it. */
    ssize_t (*peek)(const void **ret_data);
    int (*release)(void);

    /* Instead of these, a mechanism that moves the open file itself: the sender gives it, and
     * the receiver gets a descriptor of it. Each returns -1 with errno. */
    int (*send_fd)(int file);
    int (*recv_fd)(void);

    /* Removes what would outlive both processes. Called in a signal handler too, so it is
     * async-signal-safe; a partner that waits finds out. */
    void (*remove)(void);
};

extern const struct transport via_socketpair, via_fifo, via_shm, via_message, via_channel, via_fd;

#endif
