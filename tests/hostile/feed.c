/*
 * Feeds whose publisher or subscribers are hostile.
 *
 * This process, the victim, makes all calls of a subscriber or of a publisher. Its library is built
 * for AddressSanitizer. Inaccessible pages surround its mappings, and the unused parts of the
 * control page are poisoned (guard.h). Its children are the other side, which does not use the
 * library (peer.h). They send requests and answers that are right or wrong, or none, and write random
 * values into all that they can write: cursors, sequence numbers, lengths, messages, marks and pipes.
 * The victim's calls may fail as the header describes. The victim must not crash or access memory
 * out of bounds, no call may outlast its time-out, and no descriptor or mapping may be left. Another
 * child is an honest subscriber of the victim: its messages must be right.
 *
 *     feed SECONDS SEED KERNEL SIDE
 *
 * KERNEL is as for channel.c. SIDE is that of the victim: subscriber or publisher.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>

#include <unixipc.h>

#include "feed.h"
#include "guard.h"

#define HOSTILE 3 /* the number of hostile children */

/* Poisons the gaps between the control words and the label. */
static void poison_control(uint8_t *page)
{
    static const size_t gaps[][2] = {
        {FEED_ASYMMETRIC + 4, FEED_OLDEST},
        {FEED_OLDEST + 8, FEED_MARKS},
        {FEED_ENDED + 4, FEED_SPACE},
        {FEED_CPU + 4, FEED_ID},
        {FEED_ID + 16, LABEL},
        {LABEL + LABEL_SIZE, CONTROL_SIZE},
    };

    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        __asan_poison_memory_region(page + gaps[i][0], gaps[i][1] - gaps[i][0]);
    }
}

/* -------------------------------------------------------------------- both hostile sides */

static void wake(const struct peer *peer)
{
    if (write(peer->waker, "", 1) == -1) {
        expect(errno == EAGAIN || errno == EPIPE || errno == EBADF, "write to the victim");
    }
}

static void drain(int read_end)
{
    char buffer[256];

    while (read_end >= 0 && read(read_end, buffer, sizeof(buffer)) > 0) {
    }
}

/* Floods the pipe to the victim, steals its wake-ups, changes the shared descriptions, or closes. */
static void act_on_pipes(struct peer *peer, uint64_t chance)
{
    switch (chance % 8) {
    case 0: /* the victim shares this file description */
        fcntl(peer->read_end, F_SETFL, chance & 256 ? O_NONBLOCK : 0);
        break;
    case 1:
        fcntl(peer->read_end, F_SETFL, O_NONBLOCK);
        drain(peer->read_end);
        fcntl(peer->read_end, F_SETFL, 0);
        break;
    case 2:
        while (write(peer->waker, peer->own, 4096) > 0) {
        }
        break;
    case 3: /* packet mode */
        fcntl(peer->waker, F_SETFL, O_NONBLOCK | (chance & 256 ? O_DIRECT : 0));
        break;
    case 4:
        fcntl(chance & 256 ? peer->read_end : peer->bell, F_SETPIPE_SZ, 4096);
        break;
    case 5:
        drain(peer->bell);
        break;
    case 6:
        if ((chance >> 9) % 256 == 0) {
            close_if_open(chance >> 20 & 1 ? &peer->waker : &peer->bell);
        } else if ((chance >> 9) % 256 == 1) { /* hides the death of this peer */
            reopen(&peer->waker, O_RDWR | O_NONBLOCK);
        }
        break;
    default:
        wake(peer);
        break;
    }
}

/* Sends a hello with descriptors that are right or wrong. */
static void send_hello(const struct peer *peer, int sock, const uint8_t *hello, uint64_t chance)
{
    int fds[3] = {peer->memory, peer->read_end, sock}, other = -1;
    size_t len = HELLO_LEN, nfds = 2;

    switch (chance % 128) {
    case 0:
        nfds = (chance >> 8) % 2;
        break;
    case 1:
        nfds = 3;
        break;
    case 2:
        len = 1 + (chance >> 8) % (HELLO_LEN - 1);
        break;
    case 3:
        fds[1] = peer->waker;
        break;
    case 4:
        fds[(chance >> 8) % 2] = other = open("/dev/null", O_RDWR | O_CLOEXEC);
        break;
    case 5:
        fds[(chance >> 8) % 2] = sock;
        break;
    case 6: /* memory that is not sealed */
        fds[0] = other = memfd_create("unixipc-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        expect(ftruncate(other, peer->size) == 0, "ftruncate");
        break;
    case 7: /* memory of another size */
        fds[0] = other = memfd_create("unixipc-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        expect(ftruncate(other, peer->size / 2) == 0, "ftruncate");
        expect(fcntl(other, F_ADD_SEALS,
                     F_SEAL_SHRINK | F_SEAL_GROW | SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0,
               "F_ADD_SEALS");
        break;
    default:
        break;
    }
    send_with(sock, hello, len, fds, nfds);
    close_if_open(&other);
}

/* --------------------------------------------------------------------- hostile publishers */

/* Writes wrong values near the place at which the victim reads. */
static void lie(struct peer *peer, struct ring *ring, uint64_t *random)
{
    uint64_t head = get64(peer->victims, SUB_HEAD), chance = next_random(random);

    switch (chance % 12) {
    case 0:
        set32(peer, feed_place(head) + 4, bad_length(random));
        break;
    case 1:
        set32(peer, feed_place(head), next_random(random));
        break;
    case 2:
        set64(peer, FEED_OLDEST, bad_cursor(head, random));
        break;
    case 3:
        set64(peer, FEED_TAIL, bad_cursor(head, random));
        break;
    case 4:
        set64(peer, FEED_COUNT, bad_cursor(ring->count, random));
        break;
    case 5:
        set64(peer, FEED_MARKS + (chance >> 8) % 8 * 8, bad_cursor(head, random));
        break;
    case 6:
        set32(peer, FEED_DEMOTIONS, chance >> 8);
        break;
    case 7:
        set32(peer, chance & 256 ? FEED_ASYMMETRIC : FEED_CPU, chance >> 16);
        break;
    case 8:
        set32(peer, FEED_SPACE, chance & 256 ? UINT32_MAX - 3 + chance % 5 : chance >> 16 | 1);
        break;
    case 9:
        set32(peer, FEED_ENDED, (chance >> 8) % 512 == 0);
        break;
    case 10: { /* noise */
        size_t from = CONTROL_SIZE + chance % (RING_SIZE - 4096) / 8 * 8;

        for (size_t at = from; at < from + 1024; at += 8) {
            set64(peer, at, next_random(random));
        }
        break;
    }
    default: /* a ring full of messages of one byte, without an end */
        for (size_t at = CONTROL_SIZE; at < MEMORY_SIZE && chance >> 60 == 0; at += 8) {
            set64(peer, at, (uint64_t)1 << 32 | ring->count);
        }
        break;
    }
}

/* Fills an answer, and says where the victim begins. */
static void make_answer(uint8_t *hello, struct ring *ring, uint64_t *random)
{
    static const uint64_t sizes[] = {
        0, 1, 3, 4096, 2 * RING_SIZE, (uint64_t)1 << 40, (uint64_t)1 << 63, UINT64_MAX};
    uint64_t chance = next_random(random);

    memset(hello, 0, HELLO_LEN);
    memcpy(hello, "uifp\1", 5);
    hello[6] = chance & 1;
    put(hello, 12, 8, 4);
    put(hello, 16, RING_SIZE, 8);
    put(hello, 24, ring->oldest, 8);
    put(hello, 32, ring->count, 8);
    switch ((chance >> 8) % 64) {
    case 0:
        put(hello, 8, chance >> 16 & 7, 4);
        break;
    case 1:
        put(hello, 12, chance >> 16 & 127, 4);
        break;
    case 2:
        put(hello, 16, sizes[(chance >> 16) % 8], 8);
        break;
    case 3:
        put(hello, (chance >> 16) % 8, chance >> 24, 1);
        break;
    case 4:
    case 5:
        put(hello, 24, bad_cursor(ring->tail, random), 8);
        break;
    case 6:
    case 7:
        put(hello, 32, bad_cursor(ring->count, random), 8);
        break;
    case 8:
        put(hello, 40, chance >> 16, 4);
        break;
    case 9:
        put(hello, 44 + (chance >> 16) % 20, 1, 1);
        break;
    default:
        break;
    }
}

static void attack_subscriber(int sock, uint64_t *random)
{
    struct peer peer;
    struct ring ring = {0};
    uint8_t hello[HELLO_LEN];
    uint64_t end = now() + 200000000, chance = next_random(random);
    unsigned honesty = 1 + chance % 256; /* how many messages come for each lie */

    peer_make_sized(&peer, MEMORY_SIZE, PAGE_SIZE);
    if (!peer_hear(&peer, sock)) {
        peer_close(&peer);
        return;
    }
    fcntl(peer.bell, F_SETFL, O_NONBLOCK);
    for (uint64_t i = 0; i < (chance >> 8) % 64; i++) {
        publish_message(&peer, &ring, 1 + next_random(random) % 4000);
    }
    make_answer(hello, &ring, random);
    if ((chance >> 32) % 64 != 0) { /* otherwise it says nothing */
        send_hello(&peer, sock, hello, chance >> 40);
    }
    for (unsigned i = 1; now() < end; i++) {
        uint64_t what = next_random(random);

        publish_message(&peer, &ring, 1 + what % (what & 1 << 20 ? 5000 : 60));
        if (what >> 32 & 1) {
            wake(&peer);
        }
        if (i % honesty == 0) {
            lie(&peer, &ring, random);
        }
        if (i % 64 == 0) {
            struct pollfd bell = {.fd = peer.bell, .events = 0};

            act_on_pipes(&peer, what >> 33);
            if (peer.bell < 0 || poll(&bell, 1, 0) == 1) {
                break;
            }
        }
    }
    peer_close(&peer);
}

__attribute__((noreturn)) static void be_publisher(int listener, uint64_t random)
{
    for (;;) {
        int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        expect(sock >= 0, "accept4");
        attack_subscriber(sock, &random);
        close(sock);
    }
}

/* -------------------------------------------------------------------- hostile subscribers */

static void make_request(uint8_t *hello, uint64_t chance)
{
    memset(hello, 0, HELLO_LEN);
    memcpy(hello, "uifs\1", 5);
    hello[6] = chance & 7;
    memcpy(hello + 16, "hostile", 7);
    switch ((chance >> 8) % 64) {
    case 0:
        put(hello, (chance >> 16) % HELLO_LEN, chance >> 24, 1);
        break;
    case 1:
        memset(hello + 16, 'x', 32);
        break;
    default:
        break;
    }
}

static void attack_publisher(int sock, uint64_t *random)
{
    static int silent[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    struct peer peer;
    uint8_t hello[HELLO_LEN];
    uint64_t end = now() + 100000000, chance = next_random(random);

    if (chance % 8 == 0) { /* connects and says nothing */
        int *slot = &silent[(chance >> 8) % 8];

        close_if_open(slot);
        *slot = fcntl(sock, F_DUPFD_CLOEXEC, 0);
        return;
    }
    peer_make_sized(&peer, PAGE_SIZE, MEMORY_SIZE);
    make_request(hello, next_random(random));
    send_hello(&peer, sock, hello, chance >> 16);
    if (!peer_hear(&peer, sock)) {
        peer_close(&peer);
        return;
    }
    fcntl(peer.bell, F_SETFL, O_NONBLOCK);
    while (now() < end) {
        uint64_t what = next_random(random), tail = get64(peer.victims, FEED_TAIL);

        switch (what % 8) {
        case 0: /* as the protocol requires */
            set64(&peer, SUB_HEAD, tail);
            break;
        case 1:
            set64(&peer, SUB_HEAD,
                  bad_cursor(what & 256 ? tail : get64(peer.own, SUB_HEAD), random));
            break;
        case 2:
            set64(&peer, what & 256 ? SUB_SEQUENCE : SUB_LOST, bad_cursor(what >> 32, random));
            break;
        case 3:
            set32(&peer, SUB_RECEIVER,
                  what & 256 ? UINT32_MAX - 3 + (what >> 16) % 5 : what >> 16 | 1);
            break;
        case 4:
            set32(&peer, SUB_CPU, what >> 16);
            break;
        case 5:
            send_with(sock, hello, (what >> 16) % HELLO_LEN, &peer.memory, what >> 8 & 1);
            break;
        default:
            act_on_pipes(&peer, what >> 8);
            break;
        }
    }
    peer_close(&peer);
}

__attribute__((noreturn)) static void be_subscriber(uint64_t random)
{
    for (;;) {
        int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        expect(sock >= 0, "socket");
        if (connect(sock, (struct sockaddr *)&address, address_len) == -1) {
            _exit(0); /* the victim has finished */
        }
        attack_publisher(sock, &random);
        close(sock);
    }
}

/* ------------------------------------------------------------------------------ the victims */

static struct {
    uint64_t calls, done, received, lost, eproto, refused, connections, admitted;
} counts;

/* Checks the duration of a call and, if it failed, the error. */
static void check(uint64_t since, int failed, int timeout_ms, int allowed, const char *what)
{
    int error = errno;

    counts.calls++;
    if (now() - since > TOLERANCE_NS + (uint64_t)timeout_ms * 1000000) {
        fail("a call outlasted its time-out");
    }
    if (failed) {
        counts.eproto += error == EPROTO;
        counts.lost += error == EOVERFLOW;
        int known = (error == EAGAIN && timeout_ms == 0) ||
                    (error == ETIMEDOUT && timeout_ms > 0) || error == allowed ||
                    (allowed == EPROTO && (error == EOVERFLOW || error == EMSGSIZE));
        errno = error;
        expect(known, what);
    }
}

static int some_timeout(uint64_t *random)
{
    static const int timeouts[] = {0, 0, 0, 1, 2, 5};

    return timeouts[next_random(random) % 6];
}

/* Receives in each way. Returns 0 at the end. */
static int receive(struct ipc_sub *sub, uint64_t *random)
{
    uint64_t chance = next_random(random), seq = 0, since = now();
    int timeout_ms = some_timeout(random);
    ssize_t len;

    if (chance & 1) {
        size_t cap = chance & 2 ? 64 : RING_SIZE;
        uint8_t *buffer = malloc(cap);

        expect(buffer != NULL, "malloc");
        len = ipc_sub_recv(sub, buffer, cap, &seq, timeout_ms);
        check(since, len < 0, timeout_ms, EPROTO, "ipc_sub_recv");
        free(buffer);
    } else {
        const void *at;

        len = ipc_sub_peek(sub, &at, &seq, timeout_ms);
        check(since, len < 0, timeout_ms, EPROTO, "ipc_sub_peek");
        if (len > 0) {
            volatile uint8_t last = ((const volatile uint8_t *)at)[len - 1];

            (void)last;
            check(since, ipc_sub_release(sub) != 0, timeout_ms, EPROTO, "ipc_sub_release");
        }
    }
    counts.received += len > 0;
    if (chance >> 8 & 15) {
        return len != 0;
    }
    struct pollfd ready = {.fd = ipc_sub_fd(sub), .events = POLLIN};
    struct ipc_sub_info info;

    expect(ready.fd >= 0, "ipc_sub_fd");
    expect(poll(&ready, 1, chance >> 16 & 1) >= 0, "poll");
    expect(ipc_sub_info(sub, &info, sizeof(info)) == 0, "ipc_sub_info");
    return len != 0;
}

static void subscribe(const char *name, uint64_t *random)
{
    static const unsigned flags[] = {0, IPC_SUB_F_LOSSY, IPC_SUB_F_OLDEST, IPC_SUB_F_FROM_SEQ,
                                     IPC_SUB_F_FROM_SEQ | IPC_SUB_F_LOSSY};
    uint64_t chance = next_random(random), since = now();
    struct ipc_sub_opts opts = {.flags = flags[chance % 5]};
    struct ipc_sub *sub;

    if (opts.flags & IPC_SUB_F_FROM_SEQ) {
        opts.seq = chance & 256 ? chance >> 32 : chance >> 32 & 63;
    }
    if (ipc_sub_connect(name, &opts, sizeof(opts), 300, &sub) == -1) {
        counts.refused++;
        expect(errno == EPROTO || errno == EPIPE || errno == ETIMEDOUT || errno == ESTALE ||
                   errno == EUSERS || errno == EOPNOTSUPP,
               "ipc_sub_connect");
        check(since, 0, 300, 0, "ipc_sub_connect");
        return;
    }
    check(since, 0, 300, 0, "ipc_sub_connect");
    counts.connections++;
    for (int i = 0, bad = 0; i < 2000 && bad < 4 && now() - since < 300000000; i++) {
        uint64_t before = counts.eproto;

        if (!receive(sub, random)) {
            bad++;
        }
        bad += counts.eproto != before;
    }
    ipc_sub_close(sub);
}

/* The bytes of an honest message: its sequence number, repeated. */
static void fill(uint64_t *words, size_t count, uint64_t seq)
{
    for (size_t i = 0; i < count; i++) {
        words[i] = seq;
    }
}

static void publish_some(struct ipc_feed *feed, uint64_t *random)
{
    static uint64_t words[4096];
    struct ipc_feed_info info;
    struct ipc_feed_subscriber list[8];
    uint64_t chance = next_random(random);
    size_t count = 1 + (chance >> 8) % (chance & 1 ? 4096 : 16);
    int timeout_ms = some_timeout(random);

    expect(ipc_feed_info(feed, &info, sizeof(info)) == 0, "ipc_feed_info");
    fill(words, count, info.published);
    uint64_t since = now();
    if (chance & 2) {
        int result = ipc_feed_publish(feed, words, count * 8, timeout_ms);

        check(since, result != 0, timeout_ms, 0, "ipc_feed_publish");
        counts.done += result == 0;
    } else {
        void *at = ipc_feed_reserve(feed, count * 8, timeout_ms);

        check(since, at == NULL, timeout_ms, 0, "ipc_feed_reserve");
        if (at != NULL && chance & 4) {
            expect(ipc_feed_cancel(feed) == 0, "ipc_feed_cancel");
        } else if (at != NULL) {
            memcpy(at, words, count * 8);
            expect(ipc_feed_commit(feed, count * 8) == 0, "ipc_feed_commit");
            counts.done++;
        }
    }
    since = now();
    if (chance >> 32 & 7) {
        return;
    }
    struct pollfd ready = {.fd = ipc_feed_fd(feed), .events = POLLIN};
    expect(poll(&ready, 1, chance >> 40 & 1) >= 0, "poll");
    check(since, ipc_feed_service(feed) != 0, 0, 0, "ipc_feed_service");
    ssize_t total = ipc_feed_subscribers(feed, list, 8, sizeof(list[0]));
    expect(total >= 0, "ipc_feed_subscribers");
    counts.admitted += total > 1;
    for (ssize_t i = 0; i < total && i < 8; i++) {
        expect(list[i].lag_messages <= info.published + 1 && list[i].lost <= info.published + 1 &&
                   list[i].lag_bytes <= RING_SIZE,
               "an impossible lag");
    }
}

/* An honest subscriber, which checks its messages. Only a stall may make it lose some. */
__attribute__((noreturn)) static void be_honest(const char *name)
{
    static uint64_t words[4096];
    struct ipc_sub_opts opts = {.flags = IPC_SUB_F_WAIT};
    struct ipc_sub *sub;
    uint64_t next = 0, seq = 0, received = 0;

    while (ipc_sub_connect(name, &opts, sizeof(opts), 20000, &sub) == -1) {
        expect(errno == EUSERS || errno == EPIPE, "an honest ipc_sub_connect");
    }
    for (;;) {
        ssize_t len = ipc_sub_recv(sub, words, sizeof(words), &seq, 20000);

        if (len == 0) {
            break;
        }
        expect(len > 0 || errno == EOVERFLOW, "an honest ipc_sub_recv");
        expect(seq >= next && (next == 0 || len < 0 || seq == next), "a sequence number");
        for (ssize_t i = 0; i < len / 8; i++) {
            expect(words[i] == seq, "a wrong message");
        }
        next = len < 0 ? seq : seq + 1;
        received += len > 0;
    }
    ipc_sub_close(sub);
    _exit(received > 0 ? 0 : 1);
}

static pid_t start(int is_publisher, int listener, uint64_t seed)
{
    pid_t pid = fork();

    expect(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        if (is_publisher) {
            be_publisher(listener, seed);
        }
        be_subscriber(seed);
    }
    return pid;
}

static void stop(pid_t *pids, int count)
{
    for (int i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

/* The victim is a subscriber. */
static void run_subscriber(uint64_t end, uint64_t random)
{
    char name[64];
    pid_t pids[HOSTILE];
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    name_listener(name, "publisher");
    expect(bind(listener, (struct sockaddr *)&address, address_len) == 0, "bind");
    expect(listen(listener, 4) == 0, "listen");
    for (int i = 0; i < HOSTILE; i++) {
        pids[i] = start(1, listener, next_random(&random));
    }
    while (now() < end) {
        subscribe(name, &random);
    }
    stop(pids, HOSTILE);
    close(listener);
}

/* The victim is a publisher. */
static void run_publisher(uint64_t end, uint64_t random)
{
    struct ipc_feed_opts opts = {.size = RING_SIZE, .stall_ms = 20, .subscribers_max = 8};
    struct ipc_feed *feed;
    char name[64];
    pid_t pids[HOSTILE], honest;
    int status;

    name_listener(name, "feed");
    honest = fork();
    expect(honest >= 0, "fork");
    if (honest == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        be_honest(name);
    }
    expect(ipc_feed_create(&opts, sizeof(opts), &feed) == 0, "ipc_feed_create");
    expect(ipc_feed_listen(feed, name, 0600, 0) == 0, "ipc_feed_listen");
    while (ipc_feed_subscribers(feed, NULL, 0, sizeof(struct ipc_feed_subscriber)) == 0) {
        struct pollfd ready = {.fd = ipc_feed_fd(feed), .events = POLLIN};

        expect(poll(&ready, 1, 20000) == 1, "no honest subscriber");
        expect(ipc_feed_service(feed) == 0, "ipc_feed_service");
    }
    for (int i = 0; i < HOSTILE; i++) {
        pids[i] = start(0, -1, next_random(&random));
    }
    while (now() < end) {
        publish_some(feed, &random);
    }
    stop(pids, HOSTILE);
    ipc_feed_close(feed);
    expect(waitpid(honest, &status, 0) == honest && status == 0, "the honest subscriber");
}

int main(int argc, char **argv)
{
    expect(argc == 5, "usage: feed SECONDS SEED KERNEL SIDE");
    uint64_t end = now() + strtoull(argv[1], NULL, 10) * 1000000000;
    uint64_t seed = strtoull(argv[2], NULL, 10);
    int kernel = atoi(argv[3]);

    alarm(strtoul(argv[1], NULL, 10) + 60);
    if (kernel > 0) {
        simulate_older_kernel(kernel == 1 ? 0x100 : 0x100 | RWF_NOWAIT);
    }
    int before = open_descriptors();
    if (strcmp(argv[4], "subscriber") == 0) {
        run_subscriber(end, seed);
    } else {
        run_publisher(end, seed);
    }
    expect_no_mappings();
    expect(open_descriptors() == before, "a descriptor is left");
    printf("calls %llu connections %llu refused %llu received %llu lost %llu eproto %llu "
           "published %llu admitted %llu guarded %d\n",
           (unsigned long long)counts.calls, (unsigned long long)counts.connections,
           (unsigned long long)counts.refused, (unsigned long long)counts.received,
           (unsigned long long)counts.lost, (unsigned long long)counts.eproto,
           (unsigned long long)counts.done, (unsigned long long)counts.admitted, guarded);
    expect(guarded >= (int)counts.connections, "mappings without guards");
    return 0;
}
