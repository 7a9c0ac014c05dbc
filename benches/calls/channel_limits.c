/* The system calls and page faults of the set-up of a channel, without the library: what a channel
 * costs at least on this machine. No call is checked that the library must check, and no error is
 * handled. */
#include "channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONTROL (64 * KIB)
#define RING    (256 * KIB)
#define ALL     (CONTROL + 2 * RING)
#define SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | 0x10 /* F_SEAL_FUTURE_WRITE */)

/* Maps a memory, with the ring twice, so that it ends at `end` if that is not NULL. */
static char *map(int memory, off_t offset, int protection, char *end)
{
    char *again = end == NULL ? NULL : end - RING;
    int flags = MAP_SHARED | (again == NULL ? 0 : MAP_FIXED_NOREPLACE);

    again = mmap(again, RING, protection, flags, memory, offset + CONTROL);
    if (again == MAP_FAILED)
        err(1, "mmap of a ring");
    char *at = again - RING - CONTROL;
    if (mmap(at, RING + CONTROL, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, memory, offset) !=
        at)
        err(1, "mmap of a memory");
    return at;
}

static int make_memory(int count)
{
    int memory = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    must(memory, "memfd_create");
    must(ftruncate(memory, (off_t)count * (CONTROL + RING)), "ftruncate");
    return memory;
}

static void make_pipe(int fd[2])
{
    must(pipe2(fd, O_CLOEXEC), "pipe2");
    must(fcntl(fd[1], F_SETFL, O_NONBLOCK), "F_SETFL");
}

void bare_pair_and_close(void)
{
    int memory = make_memory(2), one[2], two[2];
    char *a = map(memory, 0, PROT_READ | PROT_WRITE, NULL);
    char *b = map(memory, CONTROL + RING, PROT_READ | PROT_WRITE, a - ALL);

    must(fcntl(memory, F_ADD_SEALS, SEALS), "F_ADD_SEALS");
    char *b_of_a = map(memory, CONTROL + RING, PROT_READ, a);
    char *a_of_b = map(memory, 0, PROT_READ, b);
    close(memory);
    make_pipe(one);
    make_pipe(two);
    munmap(b_of_a, 2 * ALL);
    close(one[0]);
    close(two[1]);
    munmap(a_of_b, 2 * ALL);
    close(two[0]);
    close(one[1]);
}

struct side {
    char *own, *peers;
    int memory, bell[2], peer_bell;
};

static struct side make_side(void)
{
    struct side side = {.memory = make_memory(1)};

    side.own = map(side.memory, 0, PROT_READ | PROT_WRITE, NULL);
    must(fcntl(side.memory, F_ADD_SEALS, SEALS), "F_ADD_SEALS");
    make_pipe(side.bell);
    return side;
}

union fds {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
};

static void send_side(int sock, struct side *side)
{
    char hello[64] = {0};
    union fds fds = {.bytes = {0}};
    struct iovec part = {hello, sizeof(hello)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = fds.bytes,
                             .msg_controllen = sizeof(fds.bytes)};

    fds.header = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&fds.header), (int[]){side->memory, side->bell[0]}, 2 * sizeof(int));
    must(sendmsg(sock, &message, MSG_NOSIGNAL), "sendmsg");
    close(side->memory);
    close(side->bell[0]);
    *(volatile char *)side->own = 0;
    *(volatile char *)(side->own + CONTROL) = 0;
}

static void recv_side(int sock, struct side *side)
{
    char hello[64];
    union fds fds;
    struct iovec part = {hello, sizeof(hello)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = fds.bytes,
                             .msg_controllen = sizeof(fds.bytes)};
    int received[2];

    must(recvmsg(sock, &message, MSG_CMSG_CLOEXEC), "recvmsg");
    memcpy(received, CMSG_DATA(&fds.header), sizeof(received));
    side->peers = map(received[0], 0, PROT_READ, NULL);
    close(received[0]);
    side->peer_bell = received[1];
}

/* Sends a message: writes it, and wakes the peer. */
static void ring_bell(struct side *side)
{
    side->own[CONTROL] = 1;
    must(write(side->bell[1], "", 1), "write");
}

/* Receives a message: sleeps until the peer wakes this side, and reads the message. */
static void await_bell(struct side *side)
{
    char byte;

    must(read(side->peer_bell, &byte, 1), "read");
    (void)*(volatile char *)side->peers;
    (void)*(volatile char *)(side->peers + CONTROL);
}

static void close_side(struct side *side)
{
    munmap(side->own, ALL);
    munmap(side->peers, ALL);
    close(side->bell[1]);
    close(side->peer_bell);
}

void bare_connect(const struct sockaddr_un *address, unsigned address_len)
{
    struct side side = make_side();
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    must(sock, "socket");
    must(connect(sock, (const struct sockaddr *)address, address_len), "connect");
    send_side(sock, &side);
    recv_side(sock, &side);
    close(sock);
    ring_bell(&side);
    await_bell(&side);
    close_side(&side);
}

void bare_accept(int listener)
{
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct side side, peers;

    must(sock, "accept4");
    recv_side(sock, &peers);
    side = make_side();
    side.peers = peers.peers;
    side.peer_bell = peers.peer_bell;
    send_side(sock, &side);
    close(sock);
    await_bell(&side);
    ring_bell(&side);
    close_side(&side);
}
