/*
 * Channels whose peers are hostile.
 *
 * This process, the victim, makes all calls of a channel. Its library is built for
 * AddressSanitizer. Inaccessible pages surround its mappings, and the unused parts of the control
 * pages are poisoned. Two children are the peers, which do not use the library (peer.h). One
 * connects to the victim, the other accepts the victim's connections. They write random values
 * into all that they can write: control words, lengths, messages and pipes. The victim's calls may
 * fail as the header describes. The victim must not crash or access memory out of bounds, no call
 * may outlast its time-out, and no descriptor or mapping may be left.
 *
 *     channel SECONDS SEED KERNEL
 *
 * KERNEL is 0 for this kernel, 1 to simulate a kernel without RWF_NOSIGNAL (before Linux 6.18),
 * and 2 to simulate a kernel that also lacks RWF_NOWAIT on pipes (before Linux 6.5).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <unixipc.h>

#include "guard.h"

/* Poisons the gaps between the control words and the label. */
static void poison_control(uint8_t *page)
{
    static const size_t gaps[][2] = {
        {TAIL + 16, HEAD},
        {HEAD_TAKEN + 8, RECEIVER},
        {RECEIVING_ENDED + 4, LABEL},
        {LABEL + LABEL_SIZE, CONTROL_SIZE},
    };

    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        __asan_poison_memory_region(page + gaps[i][0], gaps[i][1] - gaps[i][0]);
    }
}

/* --------------------------------------------------------------------- the hostile peers */

/* Sends a message of this length, as the protocol requires, if there is room. */
static void send_valid(struct peer *peer, uint64_t *tail, uint32_t len)
{
    uint64_t head = get64(peer->victims, HEAD);

    if (RING_SIZE - 8 - (*tail - head) >= record_size(len)) {
        *tail = publish(peer, *tail, len);
    }
}

static void wake(const struct peer *peer)
{
    if (write(peer->waker, "", 1) == -1) {
        expect(errno == EAGAIN || errno == EPIPE || errno == EBADF, "write to the victim");
    }
}

/* Empties a pipe through its nonblocking read end. */
static void drain(int read_end)
{
    char buffer[256];

    while (read_end >= 0 && read(read_end, buffer, sizeof(buffer)) > 0) {
    }
}

/* Fills a pipe through its nonblocking write end. */
static void fill(const struct peer *peer, int write_end)
{
    while (write_end >= 0 && write(write_end, peer->own, CONTROL_SIZE) > 0) {
    }
}

/* The first 8 bytes of a request, a reply, or an ordinary message. */
static uint64_t first_word(uint64_t chance)
{
    static const char *const letters[] = {"uicr", "uicr", "uicr", "uicr",
                                          "uicr", "uicq", "uicq", "uicx"};
    uint64_t word = (chance >> 8) % 16 == 0 ? (uint64_t)1 << 32 : 0;

    memcpy(&word, letters[chance % 8], 4);
    return word;
}

/* Publishes a request or a reply whose header is right or nearly right, and changes the header
 * while the victim reads it. */
static void act_on_calls(struct peer *peer, uint64_t *tail, uint64_t *random)
{
    uint64_t chance = next_random(random), cursor = *tail & ~(uint64_t)7;
    uint32_t len = chance >> 6 & 7 ? 24 + (chance >> 9) % 100 : 1 + (chance >> 9) % 25;
    /* The library's id of the first request that this peer has not received. */
    uint64_t head = get64(peer->own, HEAD), received = get64(peer->victims, TAIL);
    uint64_t id = chance & 7 ? head + 1 : bad_cursor(head, random);
    size_t header[3]; /* the offsets of its words; a message can wrap around */

    if (received == head && chance >> 48 & 63) {
        return; /* a flood would leave no time for a call */
    }
    if (RING_SIZE - 8 - (*tail - get64(peer->victims, HEAD)) < record_size(len)) {
        set64(peer, HEAD, received);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        header[i] = CONTROL_SIZE + ((cursor + 8 + 8 * i) & (RING_SIZE - 1));
    }
    set64(peer, header[0], first_word(chance >> 16));
    set64(peer, header[1], id);
    set64(peer, header[2], chance & 8 ? 0 : now() + (chance >> 4 & 3) * 1000000 - 1000000);
    *tail = publish(peer, *tail, len);
    set64(peer, HEAD, received);
    wake(peer);
    for (uint64_t i = chance >> 40 & 1 ? chance >> 41 & 15 : 0; i > 0; i--) {
        uint64_t change = next_random(random);

        set64(peer, header[0], first_word(change));
        set64(peer, header[1], change >> 16 & 1 ? id : change);
    }
}

/* Actions, as flags. Each connection uses a random subset of them. */
enum {
    VALID = 1,
    CURSORS = 2,
    LENGTHS = 4,
    WORDS = 8,
    NOISE = 16,
    PIPES = 32,
    DRAINS = 64,
    ENDS = 128,
    FDS = 256,
    CALLS = 512,
    ALL = 1023
};

/* Sends a message with descriptors, mostly as the protocol requires. */
static void act_with_descriptors(struct peer *peer, uint64_t *tail, uint64_t *random)
{
    static const uint32_t lengths[] = {0,
                                       1,
                                       8,
                                       9,
                                       4000,
                                       MARKED_LONGEST - 1,
                                       MARKED_LONGEST,
                                       MARKED_LONGEST + 1,
                                       MARKED_LONGEST + 9,
                                       RING_SIZE - 68,
                                       RING_SIZE,
                                       MARK - 1};
    uint64_t chance = next_random(random), token = next_random(random) % 8;
    int fds[3] = {peer->memory, peer->read_end, peer->sock};
    size_t nfds = 1 + chance % 3;
    uint8_t bytes[HELLO_LEN] = {0};

    set64(peer, HEAD, get64(peer->victims, TAIL));
    while (recv(peer->sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    switch (chance >> 8 & 255) {
    case 0: /* none */
        break;
    case 1: /* a wrong count */
        send_token(peer->sock, token, chance >> 40, fds, nfds);
        break;
    case 2: /* not the descriptors of this message */
        send_token(peer->sock, token + 1, nfds, fds, nfds);
        break;
    case 3: /* other data */
        send_with(peer->sock, bytes, chance >> 40 & 31, fds, chance >> 48 & 1);
        break;
    case 4: /* many descriptors of killed senders */
        for (uint64_t i = 0; i < (chance >> 40 & 31); i++) {
            send_token(peer->sock, token + 1, 1, fds, 1);
        }
        send_token(peer->sock, token, nfds, fds, nfds);
        break;
    default:
        send_token(peer->sock, token, nfds, fds, nfds);
        break;
    }
    uint32_t len = 1 + (chance >> 32) % 200;
    uint64_t head = get64(peer->victims, HEAD);
    if ((chance >> 20 & 255) == 0) { /* no message follows */
        return;
    }
    if ((chance >> 20 & 255) == 1) {
        set32(peer, place(head), MARK | lengths[(chance >> 32) % 12]);
        return;
    }
    if (RING_SIZE - 8 - (*tail - head) >= record_size(marked_size(len))) {
        uint64_t at = *tail;

        *tail = publish_marked(peer, at, len, token);
        if ((chance >> 20 & 255) == 2) { /* another token than before */
            set64(peer, CONTROL_SIZE + ((at + marked_size(len)) & (RING_SIZE - 8)), token + 1);
        }
    }
}

static void act_on_pipes(struct peer *peer, uint64_t chance)
{
    switch (chance % 8) {
    case 0: /* the victim shares this file description */
        fcntl(peer->read_end, F_SETFL, 0);
        break;
    case 1:
        fcntl(peer->read_end, F_SETFL, O_NONBLOCK);
        break;
    case 2: /* steals the victim's wake-ups */
        fcntl(peer->read_end, F_SETFL, O_NONBLOCK);
        drain(peer->read_end);
        fcntl(peer->read_end, F_SETFL, 0);
        break;
    case 3:
        fill(peer, peer->waker);
        break;
    case 4: /* packet mode */
        fcntl(peer->waker, F_SETFL, O_NONBLOCK | (chance & 1 << 20 ? O_DIRECT : 0));
        break;
    case 5:
        fcntl(chance & 1 << 20 ? peer->read_end : peer->bell, F_SETPIPE_SZ, 4096);
        break;
    case 6: { /* fills the pipe into which the victim writes */
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", peer->bell);
        int write_end = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        fill(peer, write_end);
        close_if_open(&write_end);
        break;
    }
    default:
        wake(peer);
        break;
    }
}

static void close_at_random(struct peer *peer, uint64_t chance)
{
    switch (chance % 4096) {
    case 0:
        close_if_open(&peer->bell);
        break;
    case 1:
        close_if_open(&peer->waker);
        break;
    case 2:
        close_if_open(&peer->read_end);
        break;
    case 3: /* from now on this peer cannot detect that the victim closes */
        reopen(&peer->bell, O_RDWR | O_NONBLOCK);
        break;
    case 4:
        reopen(&peer->waker, O_RDWR | O_NONBLOCK);
        break;
    case 5:
        if (chance >> 60 == 0) {
            _exit(0);
        }
        break;
    case 6:
        close_if_open(&peer->sock);
        break;
    default:
        break;
    }
}

static void act(struct peer *peer, unsigned action, uint64_t *tail, uint64_t *random)
{
    static const size_t words[] = {TAIL_UNFENCED, SENDING_ENDED, HEAD_UNFENCED, RECEIVING_ENDED,
                                   RECEIVER,      SENDER,        PROCESSOR};
    static uint32_t sleep = 1;
    uint64_t chance = next_random(random);

    switch (action) {
    case VALID:
        /* Receives everything, sends, and announces a sleep. */
        set64(peer, HEAD, get64(peer->victims, TAIL));
        send_valid(peer, tail, 1 + chance % 5000);
        set32(peer, chance & 1 << 20 ? RECEIVER : SENDER, sleep += 2);
        wake(peer);
        break;
    case CURSORS:
        if (chance & 1 << 20) {
            set64(peer, HEAD, bad_cursor(get64(peer->victims, TAIL), random));
        } else {
            set64(peer, TAIL, bad_cursor(get64(peer->victims, HEAD), random));
        }
        break;
    case LENGTHS:
        /* The length of the message that the victim receives next, or of the message after it. */
        send_valid(peer, tail, 1 + chance % 64);
        set32(peer, place(get64(peer->victims, HEAD) + chance % 4 / 3 * 8), bad_length(random));
        break;
    case WORDS:
        for (size_t i = 0; i < 16; i++) {
            set32(peer, words[(chance >> 3 * i) % 7],
                  i % 4 == 0 ? next_random(random) : UINT32_MAX - 2 + chance % 5);
        }
        break;
    case NOISE: {
        size_t from = chance % 8 == 0 ? 0 : CONTROL_SIZE + chance % (RING_SIZE - 4096) / 8 * 8;

        for (size_t at = from; at < from + 1024; at += 8) {
            set64(peer, at, next_random(random));
        }
        break;
    }
    case PIPES:
        act_on_pipes(peer, chance);
        break;
    case DRAINS:
        drain(peer->bell);
        break;
    case ENDS:
        close_at_random(peer, chance);
        break;
    case FDS:
        act_with_descriptors(peer, tail, random);
        break;
    case CALLS:
        act_on_calls(peer, tail, random);
        break;
    default:
        break;
    }
}

/* Whether the victim has closed its end. */
static int has_closed(const struct peer *peer)
{
    struct pollfd bell = {.fd = peer->bell, .events = 0};

    return peer->bell < 0 || poll(&bell, 1, 0) == 1;
}

/* Sends a hello whose second descriptor is not the read end of a pipe. */
static void send_invalid_descriptor(const struct peer *peer, int sock, uint64_t chance)
{
    uint8_t hello[HELLO_LEN];
    int fds[2] = {peer->memory, peer->waker};
    int opened = -1;

    switch (chance % 5) {
    case 0:
        opened = dup(peer->read_end);
        reopen(&opened, O_RDWR);
        break;
    case 1:
        opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
        break;
    case 2:
        fds[1] = sock;
        break;
    case 3:
        fds[1] = peer->memory;
        break;
    default:
        break;
    }
    if (opened >= 0) {
        fds[1] = opened;
    }
    hello_bytes(hello, 1);
    send_with(sock, hello, HELLO_LEN, fds, 2);
    close_if_open(&opened);
}

/* Forks a process that holds copies of the pipe's ends for 30 ms, even if this process dies. */
static void fork_holder(void)
{
    pid_t pid = fork();

    expect(pid >= 0, "fork");
    if (pid == 0) {
        poll(NULL, 0, 30);
        _exit(0);
    }
}

/* Makes the handshake. The side that connects must send its hello first; this peer sometimes
 * violates that. Returns 0 if there is no session to attack. */
static int handshake(struct peer *peer, int sock, int connects, int flags, uint64_t *random)
{
    uint64_t chance = next_random(random);
    int sends_first = connects || chance % 4 == 0;

    if (!sends_first && !peer_hear(peer, sock)) {
        return 0;
    }
    if (chance >> 8 & 1) {
        poll(NULL, 0, chance >> 16 & 3); /* a late hello */
    }
    if ((chance >> 32) % 16 == 0) {
        send_invalid_descriptor(peer, sock, chance >> 40);
        return 0;
    }
    if (!peer_say(peer, sock, flags) || (sends_first && !peer_hear(peer, sock))) {
        return 0;
    }
    if ((chance >> 32) % 16 == 1) {
        fork_holder();
    }
    return 1;
}

static void attack(int sock, int connects, uint64_t *random)
{
    struct peer peer;
    uint64_t tail = 0, end = now() + 300000000;
    unsigned actions = 1 + next_random(random) % ALL;
    int mostly_valid = next_random(random) % 4 == 0; /* such a session lasts longer */
    int serves = next_random(random) % 4 != 0;
    int flags = next_random(random) % 4; /* of the hello */

    if (next_random(random) % 4 == 0) {
        actions = FDS;
        flags |= HELLO_FDS;
    }

    peer_make(&peer);
    peer.sock = fcntl(sock, F_DUPFD_CLOEXEC, 0);
    if (!handshake(&peer, sock, connects, flags, random)) {
        peer_close(&peer);
        return;
    }
    fcntl(peer.bell, F_SETFL, O_NONBLOCK);
    for (unsigned i = 1;; i++) {
        unsigned action = 1u << next_random(random) % 10;

        if (mostly_valid && action != VALID && action != FDS && i % 64 != 0) {
            action = serves ? CALLS : VALID;
        }
        if (action & (actions | (mostly_valid ? VALID | CALLS : 0))) {
            act(&peer, action, &tail, random);
        }
        if (i % 256 == 0 && (has_closed(&peer) || now() > end)) {
            break;
        }
    }
    peer_close(&peer);
}

/* Accepts connections from a listener and attacks them, or, without a listener, connects to the
 * victim and attacks these connections. */
__attribute__((noreturn)) static void run_hostile(int listener, uint64_t seed)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    for (uint64_t random = seed;;) {
        int sock;

        if (listener >= 0) {
            sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            expect(sock >= 0, "accept4");
        } else {
            sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
            expect(sock >= 0, "socket");
            if (connect(sock, (struct sockaddr *)&address, address_len) == -1) {
                _exit(0); /* the victim has finished */
            }
        }
        attack(sock, listener < 0, &random);
        close(sock);
    }
}

/* ------------------------------------------------------------------------------ the victim */

struct counts {
    uint64_t calls, sent, received, peeked, descriptors, replies, requests, eproto, epipe,
        timed_out;
};

#define REPLY_OR_REQUEST 2

/* A thread of the victim, which sends, receives or both. */
struct user {
    struct ipc_channel *ch;
    uint64_t random;
    uint64_t calls;
    struct counts counts;
    int sends, receives;
};

/* Checks the result of a call and its duration. `misuse`: the call may also fail because of its
 * arguments or the state of the channel, or, if it is REPLY_OR_REQUEST, because of the next message.
 */
static void check(struct user *user, uint64_t since, int failed, int timeout_ms, int misuse,
                  const char *what)
{
    int error = errno;
    uint64_t time = now() - since;

    if (time > TOLERANCE_NS + (uint64_t)timeout_ms * 1000000) {
        fprintf(stderr, "%s took %.3f s\n", what, time * 1e-9);
        fail("a call outlasted its time-out");
    }
    if (!failed) {
        return;
    }
    user->counts.eproto += error == EPROTO;
    user->counts.epipe += error == EPIPE;
    user->counts.timed_out += error == ETIMEDOUT;
    int known = error == EPROTO || error == EPIPE || (error == EAGAIN && timeout_ms == 0) ||
                (error == ETIMEDOUT && timeout_ms > 0) ||
                (misuse && (error == EINVAL || error == EMSGSIZE || error == EBUSY ||
                            error == EOPNOTSUPP || error == ETOOMANYREFS)) ||
                (misuse == REPLY_OR_REQUEST && error == EBADMSG);
    errno = error;
    expect(known, what);
}

static volatile uint8_t sink;

static void read_bytes(const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i += i + 64 < len ? 64 : 1) {
        sink = at[i];
    }
}

static void sending_call(struct user *user, int timeout_ms)
{
    size_t max = ipc_channel_max(user->ch);
    uint64_t chance = next_random(&user->random);
    size_t len = chance % 8 == 0 ? max - chance % 16 % 3 : 1 + chance % 3000;
    uint64_t since = now();

    expect(max == RING_SIZE - 68, "the longest message");
    if (chance >> 32 & 1) {
        /* A buffer of this length, so that the sanitizer detects an access behind it. */
        uint8_t *bytes = malloc(len);

        expect(bytes != NULL, "malloc");
        memset(bytes, (int)len, len);
        int fds[3] = {0, 1, 2};
        size_t nfds = chance >> 35 & 3;
        struct iovec same[4] = {{bytes, len}, {bytes, len}, {bytes, len}, {bytes, len}};
        ssize_t sent = chance >> 40 & 1
                           ? ipc_channel_send_many(user->ch, same, 4, timeout_ms)
                           : ipc_channel_send_fds(user->ch, bytes, len, fds, nfds, timeout_ms) + 1;
        /* A single send returns 0 or -1. */
        int failed = chance >> 40 & 1 ? sent < 0 : sent == 0;
        check(user, since, failed, timeout_ms, nfds != 0, "ipc_channel_send_fds");
        user->counts.sent += failed ? 0 : (uint64_t)sent;
        free(bytes);
        return;
    }
    uint8_t *reserved = ipc_channel_reserve(user->ch, len, timeout_ms);

    check(user, since, reserved == NULL, timeout_ms, 0, "ipc_channel_reserve");
    if (reserved == NULL) {
        return;
    }
    memset(reserved, 0x55, len);
    since = now();
    if (chance >> 33 & 1) {
        expect(ipc_channel_send(user->ch, "x", 1, 0) == -1, "a send during a reservation");
        check(user, since, 1, 0, 1, "ipc_channel_send during a reservation");
    }
    since = now();
    int result = chance >> 34 & 3 ? ipc_channel_commit(user->ch, 1 + chance % len)
                                  : ipc_channel_cancel(user->ch);
    check(user, since, result != 0, 0, 0, "ipc_channel_commit");
    user->counts.sent += result == 0;
}

/* Buffers of exactly the size that the call may use, so that the sanitizer detects one byte more. */
static void receive_batch(struct user *user, size_t cap, int timeout_ms)
{
    struct iovec messages[8];
    uint64_t since = now();

    for (size_t i = 0; i < 8; i++) {
        messages[i] = (struct iovec){malloc(cap), cap};
        expect(messages[i].iov_base != NULL, "malloc");
    }
    ssize_t count = ipc_channel_recv_many(user->ch, messages, 8, timeout_ms);
    check(user, since, count < 0, timeout_ms, 1, "ipc_channel_recv_many");
    expect(count <= 8, "too many messages");
    for (ssize_t i = 0; i < 8; i++) {
        if (i < count) {
            expect(messages[i].iov_len >= 1 && messages[i].iov_len <= cap,
                   "a message that is longer than its buffer");
            read_bytes(messages[i].iov_base, messages[i].iov_len);
            user->counts.received++;
        }
        free(messages[i].iov_base);
    }
}

static void receiving_call(struct user *user, int timeout_ms)
{
    static const size_t caps[] = {1, 64, 4096, RING_SIZE, 16 * RING_SIZE};
    uint64_t chance = next_random(&user->random);
    size_t cap = caps[chance % 5];
    uint64_t since = now();
    ssize_t len;

    switch (chance >> 32 & 3) {
    case 0: {
        const void *at = NULL;
        len = ipc_channel_peek(user->ch, &at, timeout_ms);
        check(user, since, len < 0, timeout_ms, 0, "ipc_channel_peek");
        if (len > 0) {
            expect(len <= RING_SIZE - 68, "a message that is longer than the ring");
            expect(((uintptr_t)at & 7) == 0, "a message that is not aligned");
            read_bytes(at, len);
            user->counts.peeked++;
        }
        break;
    }
    case 1:
        len = ipc_channel_release(user->ch);
        check(user, since, len < 0, 0, 1, "ipc_channel_release");
        break;
    case 2:
        receive_batch(user, cap, timeout_ms);
        break;
    default: {
        uint8_t *buffer = malloc(cap);

        size_t nfds = chance >> 34 & 3;
        int *fds = malloc(nfds * sizeof(int));

        expect(buffer != NULL && (fds != NULL || nfds == 0), "malloc");
        if (chance >> 36 & 3) {
            len = ipc_channel_recv_fds(user->ch, buffer, cap, fds, &nfds, timeout_ms);
        } else {
            len = ipc_channel_recv(user->ch, buffer, cap, timeout_ms);
            nfds = 0;
        }
        check(user, since, len < 0, timeout_ms, 1, "ipc_channel_recv");
        for (size_t i = 0; len >= 0 && i < nfds; i++) {
            expect(fcntl(fds[i], F_GETFD) == FD_CLOEXEC, "a descriptor without close-on-exec");
            close(fds[i]);
            user->counts.descriptors++;
        }
        free(fds);
        if (len > 0) {
            expect((size_t)len <= cap && len <= RING_SIZE - 68,
                   "a message that is longer than the buffer");
            read_bytes(buffer, len);
            user->counts.received++;
        }
        free(buffer);
        break;
    }
    }
}

/* Makes a call, or serves one. `both`: this thread alone uses the channel. */
static void call_or_serve(struct user *user, int both, int timeout_ms)
{
    static const size_t caps[] = {1, 64, 4096};
    uint64_t chance = next_random(&user->random);
    size_t cap = caps[chance % 3], len = 1 + (chance >> 8) % 200;
    uint64_t since = now(), id = 0;
    /* Buffers of these sizes, so that the sanitizer detects an access behind them. */
    uint8_t *buffer = malloc(cap), *request = malloc(len);

    expect(buffer != NULL && request != NULL, "malloc");
    memset(request, 0x55, len);
    if (both && chance >> 32 & 1) {
        /* Other messages would prevent the call. */
        const void *at;
        for (int i = 0; i < 5000 && ipc_channel_peek(user->ch, &at, 0) > 0; i++) {
            ipc_channel_release(user->ch);
        }
        since = now();
        timeout_ms *= 10; /* the peer may have to be scheduled twice */
        ssize_t got = ipc_channel_call(user->ch, request, len, buffer, cap, timeout_ms);
        check(user, since, got < 0, timeout_ms, REPLY_OR_REQUEST, "ipc_channel_call");
        expect(got <= (ssize_t)cap, "a reply that is longer than the buffer");
        if (got >= 0) {
            read_bytes(buffer, got);
            user->counts.replies++;
        }
    } else if (user->receives) {
        ssize_t got = ipc_channel_next_call(user->ch, buffer, cap, &id, timeout_ms);
        check(user, since, got < 0, timeout_ms, REPLY_OR_REQUEST, "ipc_channel_next_call");
        expect(got <= (ssize_t)cap, "a request that is longer than the buffer");
        if (got > 0) {
            expect(id != 0, "a request without an id");
            read_bytes(buffer, got);
            user->counts.requests++;
        }
    }
    if (user->sends && chance >> 33 & 1) {
        since = now();
        int result = ipc_channel_reply(user->ch, id | 1, request, len, timeout_ms);
        check(user, since, result != 0, timeout_ms, 1, "ipc_channel_reply");
        user->counts.sent += result == 0;
    }
    free(request);
    free(buffer);
}

static void other_call(struct user *user)
{
    uint64_t chance = next_random(&user->random);
    struct ipc_channel_stats stats;
    struct ipc_cred cred;

    switch (chance % 256) {
    case 0:
        expect(ipc_channel_shutdown(user->ch, chance >> 32 & 1 ? SHUT_RD : SHUT_WR) == 0,
               "ipc_channel_shutdown");
        break;
    case 1:
    case 2: {
        struct pollfd ready = {.fd = ipc_channel_fd(user->ch), .events = POLLIN};
        expect(ready.fd >= 0, "ipc_channel_fd");
        expect(poll(&ready, 1, chance >> 32 & 1) >= 0, "poll");
        break;
    }
    case 3:
        expect(ipc_channel_stats(user->ch, &stats, sizeof(stats)) == 0, "ipc_channel_stats");
        expect(ipc_channel_peer_cred(user->ch, &cred, sizeof(cred)) == 0, "ipc_channel_peer_cred");
        break;
    default:
        break;
    }
}

static void *make_calls(void *data)
{
    struct user *user = data;
    uint64_t failures = 0;

    for (uint64_t i = 0; i < user->calls && failures < 40; i++) {
        static const int timeouts[] = {0, 0, 0, 0, 0, 1, 2, 7};
        int timeout_ms = timeouts[next_random(&user->random) % 8];
        uint64_t failed_before = user->counts.eproto + user->counts.epipe;

        user->counts.calls++;
        if (next_random(&user->random) % 4 == 0) {
            call_or_serve(user, user->sends && user->receives, timeout_ms);
        } else if (user->sends && (!user->receives || next_random(&user->random) & 1)) {
            sending_call(user, timeout_ms);
        } else {
            receiving_call(user, timeout_ms);
        }
        other_call(user);
        failures += user->counts.eproto + user->counts.epipe - failed_before;
    }
    return NULL;
}

static void add(struct counts *sum, const struct counts *more)
{
    sum->calls += more->calls;
    sum->sent += more->sent;
    sum->received += more->received;
    sum->peeked += more->peeked;
    sum->descriptors += more->descriptors;
    sum->replies += more->replies;
    sum->requests += more->requests;
    sum->eproto += more->eproto;
    sum->epipe += more->epipe;
    sum->timed_out += more->timed_out;
}

/* Uses one connection in one thread or in two. */
static void use_channel(struct ipc_channel *ch, uint64_t *random, struct counts *sum)
{
    struct user first = {.ch = ch, .random = next_random(random), .calls = 400, .sends = 1};
    struct user second = first;
    int two_threads = next_random(random) % 2;
    pthread_t thread;

    first.receives = !two_threads;
    second.random = next_random(random);
    second.sends = 0;
    second.receives = 1;
    if (two_threads) {
        expect(pthread_create(&thread, NULL, make_calls, &second) == 0, "pthread_create");
    } else {
        call_or_serve(&first, 1, 2); /* before a violation of the protocol, which is likely */
    }
    make_calls(&first);
    if (two_threads) {
        expect(pthread_join(thread, NULL) == 0, "pthread_join");
        add(sum, &second.counts);
    }
    add(sum, &first.counts);
}

/* Starts a child that attacks the connections of `peer_listener`, or, if that is -1, connects to
 * the victim. The child closes `victim_listener`. */
static pid_t start_hostile(uint64_t seed, int victim_listener, int peer_listener)
{
    pid_t pid = fork();

    expect(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(victim_listener);
        run_hostile(peer_listener, seed);
    }
    return pid;
}

int main(int argc, char **argv)
{
    expect(argc == 4, "usage: channel SECONDS SEED KERNEL");
    uint64_t end = now() + strtoull(argv[1], NULL, 10) * 1000000000;
    uint64_t random = strtoull(argv[2], NULL, 10);
    int kernel = atoi(argv[3]);
    struct counts sum = {0};
    uint64_t connections = 0, refused = 0;
    char victim_name[64], peer_name[64];
    int listeners[2]; /* the victim's listener, and that of a hostile child */
    pid_t pids[2];

    alarm(strtoul(argv[1], NULL, 10) + 60);
    if (kernel > 0) {
        simulate_older_kernel(kernel == 1 ? 0x100 : 0x100 | RWF_NOWAIT);
    }
    int before = open_descriptors();
    name_listener(peer_name, "peer");
    listeners[1] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    expect(bind(listeners[1], (struct sockaddr *)&address, address_len) == 0, "bind");
    expect(listen(listeners[1], 1) == 0, "listen");
    name_listener(victim_name, "victim");
    listeners[0] = ipc_channel_listen(victim_name, 0600, 0);
    expect(listeners[0] >= 0, "ipc_channel_listen");
    for (int i = 0; i < 2; i++) {
        pids[i] = start_hostile(next_random(&random), listeners[0], i ? listeners[1] : -1);
    }
    struct ipc_channel_opts opts = {.send_size = RING_SIZE, .recv_size_max = RING_SIZE};

    for (unsigned connects = 0; now() < end; connects ^= 1) {
        struct ipc_channel *ch;

        opts.flags = next_random(&random) & 1 ? IPC_CHANNEL_F_FDS : 0;
        uint64_t since = now();
        int made = connects ? ipc_channel_connect(peer_name, &opts, sizeof(opts), 500, &ch)
                            : ipc_channel_accept(listeners[0], &opts, sizeof(opts), 500, &ch);

        expect(now() - since < TOLERANCE_NS + 500000000, "a connection attempt was too slow");
        if (made == -1) {
            expect(errno == ETIMEDOUT || errno == EPIPE || (connects && errno == EPROTO),
                   connects ? "ipc_channel_connect" : "ipc_channel_accept");
            refused += errno == EPROTO;
            if (waitpid(pids[connects], NULL, WNOHANG) == pids[connects]) {
                pids[connects] =
                    start_hostile(next_random(&random), listeners[0], connects ? listeners[1] : -1);
            }
            continue;
        }
        use_channel(ch, &random, &sum);
        ipc_channel_close(ch);
        connections++;
    }
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        close(listeners[i]);
    }
    expect_no_mappings();
    expect(open_descriptors() == before, "a descriptor is left");
    printf("connections %llu refused %llu calls %llu sent %llu received %llu peeked %llu "
           "descriptors %llu replies %llu requests %llu eproto %llu epipe %llu timed-out %llu "
           "guarded %d\n",
           (unsigned long long)connections, (unsigned long long)refused,
           (unsigned long long)sum.calls, (unsigned long long)sum.sent,
           (unsigned long long)sum.received, (unsigned long long)sum.peeked,
           (unsigned long long)sum.descriptors, (unsigned long long)sum.replies,
           (unsigned long long)sum.requests, (unsigned long long)sum.eproto,
           (unsigned long long)sum.epipe, (unsigned long long)sum.timed_out, guarded);
    expect(guarded >= (int)connections, "mappings without guards");
    return 0;
}
