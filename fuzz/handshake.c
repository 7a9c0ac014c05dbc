/*
 * The hello of a peer, for libFuzzer.
 *
 * An input is a byte of flags and then pieces. A piece is two bytes, of which 7 bits are a length and
 * the others choose the descriptors that go with it, and then this number of bytes. If a bit says
 * so, the bytes are those of a valid hello, so that the fuzzer gets behind the first checks at once.
 * The library's answer must be that of a second, simple implementation of the checks, and no
 * descriptor or mapping may stay.
 */
#define _GNU_SOURCE
#include <sys/eventfd.h>

#include <unixipc.h>

#include "../tests/hostile/peer.h"

/* Flags of an input. */
#define SEQPACKET 1
#define ENDS 2 /* the peer sends nothing after the pieces */

#define PIECES_MAX 16
#define NUMBERS 64

/* Kinds of descriptors. */
enum { MEMORY, READ_END, SMALL, UNSEALED, WRITE_END, BOTH_ENDS, EVENT, PATH, KINDS };

static int kinds[KINDS];
static struct peer peer;

static void make_kinds(void)
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
    int fds[3]; /* kinds */
    size_t nfds;
};

static struct piece pieces[PIECES_MAX];
static size_t npieces;

/* The right answer to the pieces: 0, or an error. A hello must arrive whole.
 *
 * In a stream the kernel joins bytes without descriptors and those behind them. A kernel that
 * `peeks_behind` does so with MSG_PEEK even if there is no room for bytes of the latter: then it
 * returns the descriptors behind the hello. */
static int judge(int flags, int peeks_behind)
{
    uint8_t hello[HELLO_LEN], right[HELLO_LEN];
    const struct piece *with = NULL; /* the last piece that was read */
    size_t len = 0;

    for (size_t i = 0; i < npieces && (with == NULL || with->nfds == 0); i++) {
        size_t room = HELLO_LEN - len;

        if (room == 0 && !peeks_behind) {
            break;
        }

        with = &pieces[i];
        if (flags & SEQPACKET && with->len == 0) {
            return EPIPE;
        }
        if (flags & SEQPACKET && with->len > room) {
            return EPROTO;
        }
        size_t part = with->len < room ? with->len : room;
        memcpy(hello + len, with->bytes, part);
        len += part;
        if (flags & SEQPACKET) {
            break;
        }
    }
    if (len == 0) {
        return flags & ENDS ? EPIPE : EAGAIN;
    }
    if (len < HELLO_LEN || with->nfds != 2) {
        return EPROTO;
    }
    hello_bytes(right, 0);
    if (memcmp(hello, right, 4) != 0) {
        return EPROTO;
    }
    if (memcmp(hello + 4, right + 4, 2) != 0) {
        return ESTALE;
    }
    if (memcmp(hello + 8, right + 8, HELLO_LEN - 8) != 0) {
        return EPROTO; /* the reserved bytes, or a size that no descriptor here has */
    }
    return with->fds[0] == MEMORY && with->fds[1] == READ_END ? 0 : EPROTO;
}

static void cut(const uint8_t *data, size_t size)
{
    uint8_t right[HELLO_LEN];
    size_t at = 0;

    hello_bytes(right, 1);
    npieces = 0;
    while (size >= 2 && npieces < PIECES_MAX) {
        struct piece *piece = &pieces[npieces];
        unsigned choice = data[0] >> 7 | data[1] << 1;

        piece->len = data[0] & 127;
        /* 1 bit: the right bytes; 2 bits: the number of descriptors; then which. */
        piece->nfds = choice >> 1 & 3;
        piece->fds[0] = choice >> 3 & 1 ? (int)(choice >> 4) % KINDS : MEMORY;
        piece->fds[1] = choice >> 3 & 1 ? (int)(choice >> 6) % KINDS : READ_END;
        piece->fds[2] = EVENT;
        data += 2;
        size -= 2;
        if (choice & 1) {
            /* The right bytes at this offset. */
            for (size_t i = 0; i < piece->len; i++) {
                piece->bytes[i] = at + i < HELLO_LEN ? right[at + i] : 0;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ipc_channel_opts opts = {.send_size = RING_SIZE,
                                                 .recv_size_max = RING_SIZE};
    short before[NUMBERS], after[NUMBERS];
    struct ipc_channel *ch = NULL;
    int ends[2], result;
    char byte;

    if (kinds[READ_END] == 0) {
        make_kinds();
    }
    if (size < 1) {
        return 0;
    }
    int flags = data[0];

    open_descriptors(before);
    cut(data + 1, size - 1);
    expect(socketpair(AF_UNIX,
                      (flags & SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0,
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
    expect(errno == judge(flags, 0) || errno == judge(flags, 1), "another answer than expected");
    if (result == 0) {
        expect(ipc_channel_recv(ch, &byte, 1, 0) == -1 && errno == EAGAIN, "something to receive");
        ipc_channel_close(ch);
    } else {
        expect(ch == NULL, "a channel in spite of the failure");
        expect(send_with(ends[0], "x", 1, NULL, 0) == -1 && errno == EPIPE, "the socket is open");
    }
    close(ends[0]);
    close(ends[1]);
    open_descriptors(after);
    expect(memcmp(before, after, sizeof(before)) == 0, "a descriptor stayed open");
    return 0;
}
