/* The payloads of the channel benchmark and its loops. Each sender writes every byte of a payload, and
 * each receiver reads and checks every byte. */
#ifndef CHANNEL_PAYLOAD_H
#define CHANNEL_PAYLOAD_H

#include "channel.h"

#define LONGEST   MIB
#define WORDS_MAX 64 /* longer payloads are written by memset */

extern _Alignas(64) char payload_out[LONGEST], payload_in[LONGEST];
extern volatile uint64_t payload_sink;

static inline void fill(void *payload, size_t len, uint64_t n)
{
    if (len > WORDS_MAX) {
        memset(payload, (int)(n & 0xff), len);
        return;
    }
    for (size_t i = 0; i < len / 8; i++)
        memcpy((char *)payload + 8 * i, &n, 8);
}

typedef uint64_t u64x2 __attribute__((vector_size(16)));

/* Reads a long message by vectors, as memcpy does. Word by word, the processor would have too few
 * cache lines in flight, and the benchmark would measure this loop instead of the channel. */
static inline void check(const void *payload, size_t len, uint64_t n)
{
    const char *at = payload;
    u64x2 words[4], a = {0}, b = {0}, c = {0}, d = {0};
    uint64_t word, sum = 0;
    size_t i = 0;

    for (; i + sizeof(words) <= len; i += sizeof(words)) {
        memcpy(words, at + i, sizeof(words));
        a += words[0];
        b += words[1];
        c += words[2];
        d += words[3];
    }
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, at + i, 8);
        sum += word;
    }
    a += b + c + d;
    payload_sink = sum += a[0] + a[1];
    uint64_t expected = len > WORDS_MAX ? (n & 0xff) * 0x0101010101010101u : n;
    if (sum != expected * (len / 8))
        errx(1, "wrong message");
}

/* Each transport has loops of its own, so that no message is sent through a function pointer. */
#define LOOPS(name)                                                       \
    static void name##_loop(enum pattern pattern, long count, size_t len) \
    {                                                                     \
        if (pattern == PING_PONG && side == 0)                            \
            for (long i = 0; i < count; i++) {                            \
                name##_put(len, (uint64_t)i);                             \
                name##_get(len, (uint64_t)i);                             \
            }                                                             \
        else if (pattern == PING_PONG)                                    \
            for (long i = 0; i < count; i++) {                            \
                name##_get(len, (uint64_t)i);                             \
                name##_put(len, (uint64_t)i);                             \
            }                                                             \
        else if (side == 0)                                               \
            for (long i = 0; i < count; i++)                              \
                name##_put(len, (uint64_t)i);                             \
        else                                                              \
            for (long i = 0; i < count; i++)                              \
                name##_get(len, (uint64_t)i);                             \
    }

#endif
