/* The interface of a mechanism that moves a file from one process to another. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stddef.h>
#include <sys/types.h>

struct transport {
    const char *name;

    /* Called before fork: creates the mechanism. Returns 0, or -1 with errno. */
    int (*open)(void);
    /* Called after fork, once in each process: keeps the end of this process and closes the
     * other end. */
    void (*keep_sender)(void);
    void (*keep_receiver)(void);

    /* Called by the sender. reserve returns a buffer, and commit sends len bytes of it; len 0 is
     * the end mark. commit returns 0, or -1 with errno: EPIPE if the receiver has ended. */
    void *(*reserve)(size_t *ret_cap);
    int (*commit)(size_t len);

    /* Called by the receiver. peek returns the length of the next piece, 0 for the end mark, or
     * -1 with errno: EPIPE if the sender has ended before the end mark. release frees the piece. */
    ssize_t (*peek)(const void **ret_data);
    int (*release)(void);

    /* A mechanism that passes the open file has these functions instead: the sender sends the
     * descriptor, and the receiver gets its own descriptor of the file. They return -1 with errno
     * on failure. */
    int (*send_fd)(int file);
    int (*recv_fd)(void);

    /* Removes whatever would outlive both processes. A peer that waits then fails. It is called
     * in signal handlers too, so it must be async-signal-safe. */
    void (*remove)(void);
};

extern const struct transport via_socketpair, via_fifo, via_shm, via_message, via_channel, via_fd;

/*
 * The first byte of each message. A message cannot be empty, and the end of the session does not
 * prove that everything was sent: the sender may have died. So the end mark is a message.
 */
enum { DATA = 'd', END = 'e' };

/* For mechanisms that leave nothing behind. */
void remove_nothing(void);

/* For mechanisms that use two descriptors: the end of the sender and the end of the receiver. */
extern int sender_fd, receiver_fd;
int open_pair(int type); /* sets both to the ends of a socket pair */
void keep_sender_fd(void);
void keep_receiver_fd(void);

#endif
