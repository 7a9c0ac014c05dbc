/*
 * Fuzzes ipc_msg_recv and ipc_fifo_recv with the bytes of a peer, for libFuzzer.
 *
 * An input begins with four bytes: the capacity of the receiver's buffer (two bytes), the capacity
 * of its descriptor array, and flags. Pieces follow. A piece has a header of two bytes (13 bits are
 * its length, 2 bits its number of descriptors) and its bytes. The fuzzer sends the pieces with
 * plain system calls. The library must return the same as a second, simple parser of the same
 * bytes: the same messages in the same order, the same errors and the same end. No descriptor may
 * stay open.
 *
 * The file is built three times: CHANNEL is STREAM, SEQPACKET or FIFO.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <unixipc.h>

#define STREAM    1
#define SEQPACKET 2
#define FIFO      3

/* Flags of an input. */
#define STAYS_OPEN 1 /* the peer does not close its end */
#define NO_PACKETS 2 /* a FIFO without packet mode, in which writes can be joined */
#define NO_FDS     4 /* the receiver passes NULL as the number of descriptors */

#define PIECES_MAX 64
#define FDS_MAX    3
#define BYTES_MAX  65536
#define EMPTY_MAX  16 /* the number of empty packets that a call skips */

struct piece {
    const uint8_t *bytes;
    size_t len;
    int nfds;
};

/* All bytes that were sent, and the pieces, which point into them. */
static uint8_t sent[BYTES_MAX];
static size_t sent_len;
static struct piece pieces[PIECES_MAX];
static size_t npieces;

/* The expected result of the next receive: a length or -errno, and the bytes. */
struct expected {
    ssize_t result;
    const uint8_t *bytes;
};

static size_t cap;
static int stays_open;
static int packets;
static int ended; /* the receiving direction of the stream has ended */
static size_t next_piece, next_byte;

static void fail(const char *what)
{
    fprintf(stderr, "receive: %s (errno %s)\n", what, strerrorname_np(errno));
    abort();
}

static void expect(int condition, const char *what)
{
    if (!condition) {
        fail(what);
    }
}

#include "descriptors.h"

static struct expected error(int number)
{
    return (struct expected){-number, NULL};
}

/* All pieces have been received. */
static struct expected at_end(void)
{
    return stays_open && !ended ? error(EAGAIN) : (struct expected){0, NULL};
}

/* The peer stopped inside a message, which ends the direction. */
static struct expected truncated(void)
{
    ended = 1;
    return error(stays_open ? ETIMEDOUT : EPROTO);
}

static inline struct expected expect_stream(void)
{
    size_t left = sent_len - next_byte;
    const uint8_t *at = sent + next_byte;
    uint32_t len;

    if (ended || left == 0) {
        return at_end();
    }
    if (left < 8) {
        return truncated();
    }
    len = at[4] | (uint32_t)at[5] << 8 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 24;
    if (memcmp(at, "uipc", 4) != 0 || len == 0 || len > IPC_MSG_MAX) {
        ended = 1;
        return error(EPROTO);
    }
    if (left - 8 < len) {
        return truncated();
    }
    next_byte += 8 + len;
    return len > cap ? error(EMSGSIZE) : (struct expected){len, at + 8};
}

/* A call skips empty packets, but not an unlimited number. */
static inline struct expected expect_seqpacket(void)
{
    for (int empty = 1; next_piece < npieces; empty++) {
        const struct piece *piece = &pieces[next_piece++];

        if (piece->len == 0 && !stays_open && next_piece < npieces) {
            /* An empty packet looks like the end, so the call reads again. */
            piece = &pieces[next_piece++];
        }
        if (piece->len > 0 || !stays_open) {
            return piece->len > cap ? error(EMSGSIZE) : (struct expected){piece->len, piece->bytes};
        }
        if (empty == EMPTY_MAX) {
            return error(EAGAIN);
        }
    }
    return at_end();
}

/* A record is the result of one read: a packet, or up to PIPE_BUF of the available bytes. */
static inline struct expected expect_fifo(void)
{
    const uint8_t *at = sent + next_byte;
    size_t len;

    if (packets) {
        while (next_piece < npieces && pieces[next_piece].len == 0) {
            next_piece++;
        }
        len = next_piece < npieces ? pieces[next_piece++].len : 0;
    } else {
        len = sent_len - next_byte < 4096 ? sent_len - next_byte : 4096;
    }
    next_byte += len;
    if (len == 0) {
        return at_end();
    }
    const uint8_t *end = at + len;
    if (len <= 4 || memcmp(end - 4, "\0\xf5", 2) != 0 ||
        (size_t)(end[-2] | end[-1] << 8) != len - 4) {
        return error(EPROTO);
    }
    return len - 4 > cap ? error(EMSGSIZE) : (struct expected){(ssize_t)len - 4, at};
}

/* Sends a piece with its descriptors. Returns 0 if the buffer is full. */
static inline int send_piece(int fd, struct piece piece)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)piece.bytes, piece.len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (CHANNEL == FIFO) {
        return piece.len == 0 || write(fd, piece.bytes, piece.len) == (ssize_t)piece.len;
    }
    if (piece.nfds > 0) {
        size_t size = piece.nfds * sizeof(int);

        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(size);
        for (int i = 0; i < piece.nfds; i++) {
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(int));
        }
    }
    return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)piece.len;
}

/* Divides the input into pieces and sends them. */
static void send_all(int fd, const uint8_t *data, size_t size)
{
    npieces = 0;
    sent_len = 0;
    while (size >= 2 && npieces < PIECES_MAX) {
        size_t head = data[0] | data[1] << 8;
        struct piece piece = {sent + sent_len, head & 0x1fff, head >> 13 & 3};

        data += 2;
        size -= 2;
        if (piece.len > size) {
            piece.len = size;
        }
        if (CHANNEL == FIFO && packets && piece.len > 4096) {
            piece.len = 4096; /* the pipe would divide it into two packets */
        }
        if (sent_len + piece.len > BYTES_MAX) {
            return;
        }
        memcpy(sent + sent_len, data, piece.len);
        data += piece.len;
        size -= piece.len;
        if (!send_piece(fd, piece)) {
            return;
        }
        if (CHANNEL == STREAM && piece.len == 0) {
            piece.nfds = 0; /* nothing was sent */
        }
        sent_len += piece.len;
        pieces[npieces++] = piece;
    }
}

static void open_ends(int ends[2])
{
    if (CHANNEL == FIFO) {
        int pair[2];

        expect(pipe2(pair, O_CLOEXEC | O_NONBLOCK | (packets ? O_DIRECT : 0)) == 0, "pipe2");
        ends[0] = pair[1];
        ends[1] = pair[0];
    } else {
        expect(ipc_pair_open(CHANNEL == STREAM ? SOCK_STREAM : SOCK_SEQPACKET, ends) == 0,
               "ipc_pair_open");
    }
}

/* Receives once, and compares the result with that of the second parser. `fds_cap` is the capacity
 * of the descriptor array. `inout_fds` is the number of descriptors that are still in flight. */
static ssize_t receive(int fd, size_t fds_cap, int wants_fds, size_t *inout_fds)
{
    /* Exactly as large as allowed, so that the sanitizer detects one byte too many. */
    uint8_t *buffer = malloc(cap);
    int *fds = malloc(fds_cap * sizeof(int));
    size_t nfds = fds_cap;
    struct expected expected;
    ssize_t result;

    expect(buffer != NULL && (fds != NULL || fds_cap == 0), "malloc");
    if (CHANNEL == STREAM) {
        expected = expect_stream();
    } else if (CHANNEL == SEQPACKET) {
        expected = expect_seqpacket();
    } else {
        expected = expect_fifo();
    }
    errno = 0;
    if (CHANNEL == FIFO) {
        result = ipc_fifo_recv(fd, buffer, cap, 0);
        nfds = 0;
    } else {
        result = ipc_msg_recv(fd, buffer, cap, fds, wants_fds ? &nfds : NULL, 0);
        if (!wants_fds) {
            nfds = 0;
        }
    }
    if (result < 0) {
        expect(result == -1 && expected.result == -errno, "unexpected error");
        expect(CHANNEL == FIFO || !wants_fds || nfds == fds_cap, "nfds changed on failure");
    } else {
        expect(result == expected.result, "unexpected length");
        expect(result == 0 || memcmp(buffer, expected.bytes, result) == 0, "unexpected bytes");
        expect(nfds <= fds_cap && nfds <= *inout_fds, "more descriptors than were sent");
        *inout_fds -= nfds;
        for (size_t i = 0; i < nfds; i++) {
            int flags = fcntl(fds[i], F_GETFD);

            expect(flags >= 0 && (flags & FD_CLOEXEC), "a descriptor without close-on-exec");
            close(fds[i]);
        }
        if (CHANNEL == SEQPACKET && result > 0) {
            size_t sent_with = pieces[next_piece - 1].nfds;

            expect(nfds == (sent_with < fds_cap ? sent_with : fds_cap) || !wants_fds,
                   "fewer descriptors than the array can hold");
        }
    }
    free(buffer);
    free(fds);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct descriptors before;
    int ends[2], wants_fds;
    size_t fds_cap, sent_fds = 0;
    ssize_t result;

    if (size < 4) {
        return 0;
    }
    cap = 1 + (data[0] | data[1] << 8);
    wants_fds = !(data[3] & NO_FDS);
    fds_cap = wants_fds ? data[2] % (FDS_MAX + 2) : 0;
    stays_open = data[3] & STAYS_OPEN;
    packets = !(data[3] & NO_PACKETS);
    ended = 0;
    next_piece = next_byte = 0;

    before = open_descriptors();
    open_ends(ends);
    send_all(ends[0], data + 4, size - 4);
    for (size_t i = 0; i < npieces; i++) {
        sent_fds += pieces[i].nfds;
    }
    if (!stays_open) {
        /* Descriptors in flight keep this end open. */
        if (CHANNEL != FIFO) {
            shutdown(ends[0], SHUT_WR);
        }
        close(ends[0]);
    }
    for (size_t calls = 0;; calls++) {
        expect(calls <= BYTES_MAX, "the receiver does not end");
        result = receive(ends[1], fds_cap, wants_fds, &sent_fds);
        if (result == 0 || (result == -1 && errno == EAGAIN)) {
            break;
        }
    }
    if (CHANNEL == STREAM && ended) {
        int unread;

        expect(ioctl(ends[1], FIONREAD, &unread) == 0 && unread == 0, "unread bytes");
        if (stays_open) {
            expect(ipc_msg_send(ends[0], "x", 1, NULL, 0, 0) == -1 && errno == EPIPE,
                   "the peer can still send");
        }
    }
    if (stays_open) {
        close(ends[0]);
    }
    close(ends[1]);
    expect_same_descriptors(&before);
    return 0;
}
