/* The roles of peer.c. Each function exits with 1 if something is wrong. */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unixipc.h>

/* A time-out, in milliseconds, that expires only if the library fails. */
#define LONG_MS 60000

/* Exits unless a condition holds. */
#define MUST(condition) must(condition, #condition, __FILE__, __LINE__)

extern const char *role;

static inline void must(int holds, const char *condition, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s: %s:%d: %s, errno %s\n", role, file, line, condition,
                strerrorname_np(errno));
        exit(1);
    }
}

/* The other process may start. */
static inline void ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

/* Fills a buffer with bytes that follow from a number. */
static inline void fill(unsigned char *at, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++) {
        at[i] = (unsigned char)(number * 31 + i);
    }
}

static inline int is_filled(const unsigned char *at, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++) {
        if (at[i] != (unsigned char)(number * 31 + i)) {
            return 0;
        }
    }
    return 1;
}

void channel_server(const char *path);
void channel_client(const char *path);
void feed_publisher(const char *path);
void feed_reliable(const char *path);
void feed_lossy(const char *path);
void fifo_reader(const char *path);
void fifo_writer(const char *path);
void message_receiver(const char *path);
void message_sender(const char *path);
void objects_creator(const char *name);
void objects_user(const char *name);
void semlock_first(const char *unused);
void semlock_second(const char *unused);

#endif
