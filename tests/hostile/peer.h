/*
 * A peer of a channel that is made with system calls and without the library: its memory, its pipe
 * and its side of the handshake.
 */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_LEN    64
#define CONTROL_SIZE 65536
#define RING_SIZE    65536
#define MEMORY_SIZE  (CONTROL_SIZE + RING_SIZE)

/* Flags of a hello. */
#define HELLO_MEMBARRIER 1
#define HELLO_FDS        2

/* The mark of a message with descriptors in its length, and the longest such message. */
#define MARK           0x80000000u
#define MARKED_LONGEST (RING_SIZE - 80)

/* From linux/fcntl.h, which conflicts with fcntl.h. */
#define SEAL_FUTURE_WRITE 0x10

/* The offsets of an end's control words in its memory. */
enum word {
    TAIL = 0,
    TAIL_UNFENCED = 8,
    TAIL_PROCESS = 12,
    HEAD = 128,
    HEAD_UNFENCED = 136,
    HEAD_PROCESS = 140,
    HEAD_TAKEN = 144,
    RECEIVER = 256,
    SENDER = 260,
    PROCESSOR = 264,
    SENDING_ENDED = 268,
    RECEIVING_ENDED = 272,
};

/* The label of a memory, which is in its control page too, and its size. */
#define LABEL      1024
#define LABEL_SIZE 128

struct peer {
    uint8_t *own;           /* the peer's memory, which the victim can read */
    size_t size;            /* the size of that memory */
    const uint8_t *victims; /* the victim's memory; NULL before its hello */
    size_t victims_size;    /* the size of that memory */
    int memory;             /* the descriptor of `own` */
    int waker;              /* the write end of the pipe that wakes the victim */
    int read_end;           /* its read end; the victim shares the file description */
    int bell;               /* the read end of the victim's pipe; -1 before its hello */
    int sock;               /* the socket, if the peer keeps it for descriptors, or -1 */
};

static void fail(const char *what)
{
    fprintf(stderr, "%s (errno %s)\n", what, strerrorname_np(errno));
    abort();
}

static void expect(int condition, const char *what)
{
    if (!condition) {
        fail(what);
    }
}

/* Pseudorandom numbers: splitmix64. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline uint64_t get64(const uint8_t *memory, size_t at)
{
    return atomic_load((const _Atomic uint64_t *)(const void *)(memory + at));
}

static inline void set64(struct peer *peer, size_t at, uint64_t value)
{
    atomic_store((_Atomic uint64_t *)(void *)(peer->own + at), value);
}

static inline uint32_t get32(const uint8_t *memory, size_t at)
{
    return atomic_load((const _Atomic uint32_t *)(const void *)(memory + at));
}

static inline void set32(struct peer *peer, size_t at, uint32_t value)
{
    atomic_store((_Atomic uint32_t *)(void *)(peer->own + at), value);
}

/* The offset of the length field at a cursor, which is rounded down to a multiple of 8. The
 * message follows the length. */
static inline size_t place(uint64_t cursor)
{
    return CONTROL_SIZE + 4 + (cursor & (RING_SIZE - 8));
}

/* The number of bytes that a message occupies in the ring. */
static inline uint64_t record_size(uint64_t len)
{
    return (len + 4 + 7) & ~(uint64_t)7;
}

/* Publishes a message of this length at a cursor, as the protocol requires. Returns the next
 * cursor. */
static inline uint64_t publish(struct peer *peer, uint64_t cursor, uint32_t len)
{
    uint64_t next = cursor + record_size(len);

    set32(peer, place(next), 0);
    set64(peer, TAIL, next);
    set32(peer, place(cursor), len);
    return next;
}

/* The length of an unmarked message that is as long as a marked one. */
static inline uint64_t marked_size(uint64_t len)
{
    return ((len + 7) & ~(uint64_t)7) + 8;
}

/* Publishes a message with a token, as the protocol requires. Its descriptors were sent. Returns the
 * next cursor. */
static inline uint64_t publish_marked(struct peer *peer, uint64_t cursor, uint32_t len,
                                      uint64_t token)
{
    uint64_t next = cursor + record_size(marked_size(len));

    /* The token can be in the second mapping of the ring, which the peer does not have. */
    set64(peer, CONTROL_SIZE + ((cursor + marked_size(len)) & (RING_SIZE - 8)), token);
    set32(peer, place(next), 0);
    set64(peer, TAIL, next);
    set32(peer, place(cursor), MARK | len);
    return next;
}

/* Makes a peer with memory of this size. The victim's memory will have the other size. */
static inline void peer_make_sized(struct peer *peer, size_t size, size_t victims_size)
{
    int ends[2];

    peer->size = size;
    peer->victims_size = victims_size;
    peer->memory = memfd_create("unixipc-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    expect(peer->memory >= 0, "memfd_create");
    expect(ftruncate(peer->memory, size) == 0, "ftruncate");
    peer->own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, peer->memory, 0);
    expect(peer->own != MAP_FAILED, "mmap");
    expect(fcntl(peer->memory, F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0,
           "F_ADD_SEALS");
    expect(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
    expect(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
    peer->read_end = ends[0];
    peer->waker = ends[1];
    peer->victims = NULL;
    peer->bell = -1;
    peer->sock = -1;
}

static inline void peer_make(struct peer *peer)
{
    peer_make_sized(peer, MEMORY_SIZE, MEMORY_SIZE);
}

/* Sends bytes with descriptors. Returns the number of bytes, or -1. */
static inline ssize_t send_with(int sock, const void *bytes, size_t len, const int *fds,
                                size_t nfds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    expect(nfds <= 16, "too many descriptors for a test");
    if (nfds > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }
    return sendmsg(sock, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sends a token, a number of descriptors, and descriptors. Returns 0 on failure. */
static inline int send_token(int sock, uint64_t token, uint64_t count, const int *fds, size_t nfds)
{
    uint64_t bytes[2] = {token, count};

    return send_with(sock, bytes, sizeof(bytes), fds, nfds) == sizeof(bytes);
}

static inline void hello_bytes(uint8_t bytes[HELLO_LEN], int flags)
{
    memset(bytes, 0, HELLO_LEN);
    memcpy(bytes, "uich\4", 5);
    bytes[6] = (uint8_t)flags;
    bytes[10] = RING_SIZE >> 16;
    bytes[16] = 8; /* the alignment */
}

/* Receives the victim's hello. Returns 0 if none arrives within five seconds. */
static inline int peer_hear(struct peer *peer, int sock)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    uint8_t bytes[HELLO_LEN];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct pollfd ready = {.fd = sock, .events = POLLIN};
    int fds[2];

    if (poll(&ready, 1, 5000) != 1 ||
        recvmsg(sock, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != HELLO_LEN) {
        return 0;
    }
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    expect(cmsg != NULL && cmsg->cmsg_len == CMSG_LEN(sizeof(fds)), "two descriptors");
    memcpy(fds, CMSG_DATA(cmsg), sizeof(fds));
    peer->victims = mmap(NULL, peer->victims_size, PROT_READ, MAP_SHARED, fds[0], 0);
    expect(peer->victims != MAP_FAILED, "mmap of the victim's memory");
    close(fds[0]);
    peer->bell = fds[1];
    expect((fcntl(peer->bell, F_GETFL) & O_ACCMODE) == O_RDONLY, "a read end");
    return 1;
}

/* Sends a hello. Returns 0 on failure. */
static inline int peer_say(const struct peer *peer, int sock, int flags)
{
    uint8_t hello[HELLO_LEN];
    int fds[2] = {peer->memory, peer->read_end};

    hello_bytes(hello, flags);
    return send_with(sock, hello, HELLO_LEN, fds, 2) == HELLO_LEN;
}

static inline void close_if_open(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static inline void peer_close(struct peer *peer)
{
    munmap(peer->own, peer->size);
    if (peer->victims != NULL) {
        munmap((void *)(uintptr_t)peer->victims, peer->victims_size);
    }
    close_if_open(&peer->memory);
    close_if_open(&peer->waker);
    close_if_open(&peer->read_end);
    close_if_open(&peer->bell);
    close_if_open(&peer->sock);
}

#endif
