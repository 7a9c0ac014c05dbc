/*
 * Fuzzes the handshake of a channel with the hello of a peer, for libFuzzer.
 *
 * An input is a byte of flags and then pieces. A piece has a header of two bytes and its bytes. In
 * the header, 7 bits are the length, and one bit replaces the bytes by those of a valid hello, so
 * that the fuzzer passes the first checks at once. The other bits choose the descriptors. The
 * library must return the same as a second, simple implementation of the checks. No descriptor may
 * stay open.
 */
#define _GNU_SOURCE
#include <sys/eventfd.h>

#include <unixipc.h>

#include "../tests/hostile/peer.h"
#include "descriptors.h"

/* Flags of an input. */
#define SEQPACKET 1
#define ENDS      2 /* the peer shuts its direction down after the pieces */

#define PIECES_MAX 16

/* Kinds of descriptors that a peer can send. */
enum { MEMORY, READ_END, SMALL, UNSEALED, WRITE_END, BOTH_ENDS, EVENT, PATH, KINDS };

static int kinds[KINDS];
static struct peer peer;

static void open_kinds(void)
{
    char path[64];

    peer_make(&peer);
    kinds[MEMORY] = peer.memory;
    kinds[READ_END] = peer.read_end;
    kinds[SMALL] = memfd_create("unixipc-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    expect(ftruncate(kinds[SMALL], RING_SIZE) == 0, "ftruncate");
    expect(fcntl(kinds[SMALL], F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0,
           "F_ADD_SEALS");
    kinds[UNSEALED] = memfd_create("unixipc-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    expect(ftruncate(kinds[UNSEALED], MEMORY_SIZE) == 0, "ftruncate");
    kinds[WRITE_END] = peer.waker;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", peer.read_end);
    kinds[BOTH_ENDS] = open(path, O_RDWR | O_CLOEXEC);
    kinds[EVENT] = eventfd(0, EFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", peer.memory);
    kinds[PATH] = open(path, O_PATH | O_CLOEXEC);
    for (int i = 0; i < KINDS; i++) {
        expect(kinds[i] >= 0, "a descriptor");
    }
}

struct piece {
    uint8_t bytes[128];
    size_t len;
    int fds[3]; /* their kinds */
    size_t nfds;
};

static struct piece pieces[PIECES_MAX];
static size_t npieces;

/* The expected result for the pieces: 0 or an error number. A hello must arrive complete.
 *
 * In a stream, the kernel joins bytes without descriptors with the bytes that follow them. If
 * `peeks_behind`, the kernel does so with MSG_PEEK even if the buffer is full: then it returns the
 * descriptors of the piece after the hello. Kernels differ in this. */
static int expected_error(int flags, int peeks_behind)
{
    uint8_t hello[HELLO_LEN], valid[HELLO_LEN];
    const struct piece *last = NULL; /* the last piece that was read */
    size_t len = 0;

    for (size_t i = 0; i < npieces && (last == NULL || last->nfds == 0); i++) {
        size_t free = HELLO_LEN - len;

        if (free == 0 && !peeks_behind) {
            break;
        }

        last = &pieces[i];
        if (flags & SEQPACKET && last->len == 0) {
            return EPIPE;
        }
        if (flags & SEQPACKET && last->len > free) {
            return EPROTO;
        }
        size_t part = last->len < free ? last->len : free;
        memcpy(hello + len, last->bytes, part);
        len += part;
        if (flags & SEQPACKET) {
            break;
        }
    }
    if (len == 0) {
        return flags & ENDS ? EPIPE : EAGAIN;
    }
    if (len < HELLO_LEN || last->nfds != 2) {
        return EPROTO;
    }
    hello_bytes(valid, 0);
    if (memcmp(hello, valid, 4) != 0) {
        return EPROTO;
    }
    if (memcmp(hello + 4, valid + 4, 2) != 0) {
        return ESTALE;
    }
    switch (hello[16]) {
    case 8:
    case 16:
    case 32:
    case 64:
        valid[16] = hello[16];
    }
    if (memcmp(hello + 8, valid + 8, HELLO_LEN - 8) != 0) {
        /* No alignment, reserved bytes, or a size that no descriptor here has. */
        return EPROTO;
    }
    return last->fds[0] == MEMORY && last->fds[1] == READ_END ? 0 : EPROTO;
}

/* Divides the input into pieces. */
static void parse(const uint8_t *data, size_t size)
{
    uint8_t valid[HELLO_LEN];
    size_t at = 0;

    hello_bytes(valid, 1);
    npieces = 0;
    while (size >= 2 && npieces < PIECES_MAX) {
        struct piece *piece = &pieces[npieces];
        unsigned choice = data[0] >> 7 | data[1] << 1;

        piece->len = data[0] & 127;
        /* 1 bit: valid bytes; 2 bits: the number of descriptors; the others: their kinds. */
        piece->nfds = choice >> 1 & 3;
        piece->fds[0] = choice >> 3 & 1 ? (int)(choice >> 4) % KINDS : MEMORY;
        piece->fds[1] = choice >> 3 & 1 ? (int)(choice >> 6) % KINDS : READ_END;
        piece->fds[2] = EVENT;
        data += 2;
        size -= 2;
        if (choice & 1) {
            /* The bytes of a valid hello at this offset. */
            for (size_t i = 0; i < piece->len; i++) {
                piece->bytes[i] = at + i < HELLO_LEN ? valid[at + i] : 0;
            }
        } else {
            piece->len = piece->len < size ? piece->len : size;
            memcpy(piece->bytes, data, piece->len);
            data += piece->len;
            size -= piece->len;
        }
        at += piece->len;
        npieces++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ipc_channel_opts opts = {.send_size = RING_SIZE,
                                                 .recv_size_max = RING_SIZE};
    struct descriptors before;
    struct ipc_channel *ch = NULL;
    int ends[2], result;
    char byte;

    if (kinds[READ_END] == 0) {
        open_kinds();
    }
    if (size < 1) {
        return 0;
    }
    int flags = data[0];

    before = open_descriptors();
    parse(data + 1, size - 1);
    expect(socketpair(AF_UNIX, (flags & SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0,
                      ends) == 0,
           "socketpair");
    for (size_t i = 0; i < npieces; i++) {
        struct piece *piece = &pieces[i];
        int fds[3];

        for (size_t k = 0; k < piece->nfds; k++) {
            fds[k] = kinds[piece->fds[k]];
        }
        ssize_t sent = send_with(ends[0], piece->bytes, piece->len, fds, piece->nfds);
        expect(sent == (ssize_t)piece->len, "sendmsg");
        if (!(flags & SEQPACKET) && piece->len == 0) {
            npieces--; /* nothing was sent */
            memmove(piece, piece + 1, (npieces - i) * sizeof(*piece));
            i--;
        }
    }
    if (flags & ENDS) {
        expect(shutdown(ends[0], SHUT_WR) == 0, "shutdown");
    }
    errno = 0;
    result = ipc_channel_from_fd(ends[1], &opts, sizeof(opts), 0, &ch);
    expect(result == -1 || errno == 0, "errno after a success");
    expect(errno == expected_error(flags, 0) || errno == expected_error(flags, 1),
           "unexpected result");
    if (result == 0) {
        expect(ipc_channel_recv(ch, &byte, 1, 0) == -1 && errno == EAGAIN, "something to receive");
        ipc_channel_close(ch);
    } else {
        expect(ch == NULL, "a channel despite the failure");
        expect(send_with(ends[0], "x", 1, NULL, 0) == -1 && errno == EPIPE,
               "the socket is still open");
    }
    close(ends[0]);
    close(ends[1]);
    expect_same_descriptors(&before);
    return 0;
}
