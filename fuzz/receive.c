/*
 * What a peer can send to ipc_msg_recv and ipc_fifo_recv, for libFuzzer.
 *
 * An input is four bytes (the receiver's room, how many places for descriptors it has, and
 * flags) and then pieces: two bytes, of which 13 bits are a length and 2 bits a number of
 * descriptors, and so many bytes. The pieces are sent with bare system calls. What the
 * library then gives has to be what a second, simple reading of the same bytes gives: the same
 * messages in the same order, the same errors, the same end; and no descriptor may stay.
 *
 * Built three times: with CHANNEL as STREAM, SEQPACKET and FIFO.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <unixipc.h>

#define STREAM 1
#define SEQPACKET 2
#define FIFO 3

/* Flags of an input. */
#define STAYS_OPEN 1  /* the peer does not close its end */
#define NO_PACKETS 2  /* a FIFO whose writes can be joined */
#define FDS_UNASKED 4 /* no places for descriptors, and no number either */

#define PIECES_MAX 64
#define FDS_MAX 3
#define BYTES_MAX 65536
#define NUMBERS 64
#define EMPTY_MAX 16 /* how many empty packets a call passes over */

struct piece {
    const uint8_t *bytes;
    size_t len;
    int nfds;
};

/* What was sent: all bytes in a row, and where each piece begins. */
static uint8_t sent[BYTES_MAX];
static size_t sent_len;
static struct piece pieces[PIECES_MAX];
static size_t npieces;

/* What the second reading expects of the next receive: a length, or -errno. */
struct expected {
    ssize_t result;
    const uint8_t *bytes;
};

static size_t cap;
static int stays_open;
static int packets;
static int dead; /* the stream's direction has ended */
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

static struct expected error(int number)
{
    return (struct expected){-number, NULL};
}

/* Nothing is left. */
static struct expected at_end(void)
{
    return stays_open && !dead ? error(EAGAIN) : (struct expected){0, NULL};
}

/* The peer stopped inside a message: the direction is at its end. */
static struct expected cut(void)
{
    dead = 1;
    return error(stays_open ? ETIMEDOUT : EPROTO);
}

static inline struct expected expect_stream(void)
{
    size_t left = sent_len - next_byte;
    const uint8_t *at = sent + next_byte;
    uint32_t len;

    if (dead || left == 0) {
        return at_end();
    }
    if (left < 8) {
        return cut();
    }
    len = at[4] | (uint32_t)at[5] << 8 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 24;
    if (memcmp(at, "uipc", 4) != 0 || len == 0 || len > IPC_MSG_MAX) {
        dead = 1;
        return error(EPROTO);
    }
    if (left - 8 < len) {
        return cut();
    }
    next_byte += 8 + len;
    return len > cap ? error(EMSGSIZE) : (struct expected){len, at + 8};
}

/* Empty packets are passed over, but not without end. */
static inline struct expected expect_seqpacket(void)
{
    for (int empty = 1; next_piece < npieces; empty++) {
        const struct piece *piece = &pieces[next_piece++];

        if (piece->len == 0 && !stays_open && next_piece < npieces) {
            /* It reads like the end, after which the call reads once more. */
            piece = &pieces[next_piece++];
        }
        if (piece->len > 0 || !stays_open) {
            return piece->len > cap ? error(EMSGSIZE)
                                    : (struct expected){piece->len, piece->bytes};
        }
        if (empty == EMPTY_MAX) {
            return error(EAGAIN);
        }
    }
    return at_end();
}

/* A record is what one read gives: a packet, or up to PIPE_BUF of what there is. */
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

/* Sends a piece with descriptors; false where there is no more room. */
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

/* Cuts the input into pieces, and sends them. */
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
            piece.len = 4096; /* the pipe would make two packets of it */
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

/* Which of the first numbers are open descriptors. */
static void open_descriptors(short open[NUMBERS])
{
    struct pollfd fds[NUMBERS];

    for (int i = 0; i < NUMBERS; i++) {
        fds[i] = (struct pollfd){.fd = i};
    }
    expect(poll(fds, NUMBERS, 0) >= 0, "poll");
    for (int i = 0; i < NUMBERS; i++) {
        open[i] = fds[i].revents & POLLNVAL;
    }
}

/* One receive, which is compared with what the second reading expects. */
static ssize_t receive(int fd, size_t places, int asks, size_t *inout_passed)
{
    /* Of the very size, so that the sanitizer sees one byte too much. */
    uint8_t *room = malloc(cap);
    int *fds = malloc(places * sizeof(int));
    size_t nfds = places;
    struct expected expected;
    ssize_t result;

    expect(room != NULL && (fds != NULL || places == 0), "malloc");
    if (CHANNEL == STREAM) {
        expected = expect_stream();
    } else if (CHANNEL == SEQPACKET) {
        expected = expect_seqpacket();
    } else {
        expected = expect_fifo();
    }
    errno = 0;
    if (CHANNEL == FIFO) {
        result = ipc_fifo_recv(fd, room, cap, 0);
        nfds = 0;
    } else {
        result = ipc_msg_recv(fd, room, cap, fds, asks ? &nfds : NULL, 0);
        if (!asks) {
            nfds = 0;
        }
    }
    if (result < 0) {
        expect(result == -1 && expected.result == -errno, "another error than expected");
        expect(CHANNEL == FIFO || !asks || nfds == places, "the number changed on failure");
    } else {
        expect(result == expected.result, "another length than expected");
        expect(result == 0 || memcmp(room, expected.bytes, result) == 0, "other bytes");
        expect(nfds <= places && nfds <= *inout_passed, "more descriptors than were sent");
        *inout_passed -= nfds;
        for (size_t i = 0; i < nfds; i++) {
            int flags = fcntl(fds[i], F_GETFD);

            expect(flags >= 0 && (flags & FD_CLOEXEC), "a descriptor that exec inherits");
            close(fds[i]);
        }
        if (CHANNEL == SEQPACKET && result > 0) {
            size_t sent_with = pieces[next_piece - 1].nfds;

            expect(nfds == (sent_with < places ? sent_with : places) || !asks,
                   "fewer descriptors than there was room for");
        }
    }
    free(room);
    free(fds);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    short before[NUMBERS], after[NUMBERS];
    int ends[2], asks;
    size_t places, passed = 0;
    ssize_t result;

    if (size < 4) {
        return 0;
    }
    cap = 1 + (data[0] | data[1] << 8);
    places = data[2] % (FDS_MAX + 2);
    asks = !(data[3] & FDS_UNASKED);
    places = asks ? places : 0;
    stays_open = data[3] & STAYS_OPEN;
    packets = !(data[3] & NO_PACKETS);
    dead = 0;
    next_piece = next_byte = 0;

    open_descriptors(before);
    open_ends(ends);
    send_all(ends[0], data + 4, size - 4);
    for (size_t i = 0; i < npieces; i++) {
        passed += pieces[i].nfds;
    }
    if (!stays_open) {
        /* Descriptors that are on their way keep this end open. */
        if (CHANNEL != FIFO) {
            shutdown(ends[0], SHUT_WR);
        }
        close(ends[0]);
    }
    for (size_t calls = 0;; calls++) {
        expect(calls <= BYTES_MAX, "no end");
        result = receive(ends[1], places, asks, &passed);
        if (result == 0 || (result == -1 && errno == EAGAIN)) {
            break;
        }
    }
    if (CHANNEL == STREAM && dead) {
        int unread;

        expect(ioctl(ends[1], FIONREAD, &unread) == 0 && unread == 0, "bytes stayed");
        if (stays_open) {
            expect(ipc_msg_send(ends[0], "x", 1, NULL, 0, 0) == -1 && errno == EPIPE,
                   "the peer can send on");
        }
    }
    if (stays_open) {
        close(ends[0]);
    }
    close(ends[1]);
    open_descriptors(after);
    expect(memcmp(before, after, sizeof(before)) == 0, "a descriptor stayed open");
    return 0;
}
