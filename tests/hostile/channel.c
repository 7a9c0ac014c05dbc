/*
 * A channel whose other side is hostile.
 *
 * This process, the victim, runs all calls of a channel, with the library built for
 * AddressSanitizer; what it maps has inaccessible pages on both sides, and the unused parts of
 * the control pages are poisoned. A child holds the other end, made by hand (peer.h), and
 * writes whatever it can into what it can write: words, lengths, messages, pipes. Errors are
 * allowed, those that the header names; what is not: a crash, an access out of bounds, a call
 * that outlasts its time-out, a descriptor or a mapping that stays.
 *
 *     channel SECONDS SEED KERNEL
 *
 * KERNEL is 0 for this one; 1 for one that cannot write to a pipe without a signal (before
 * Linux 6.18); 2 for one that cannot read or write a pipe without waiting either (before 6.5).
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <unixipc.h>

#include "peer.h"

/* How long a call may take beyond its time-out, on a machine that does much else, in ns. */
#define PATIENCE 4000000000

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}


/* -------------------------------------------------------------------- guarded mappings */

#define GUARD 65536
#define MAPPINGS 32

struct mapping {
    uint8_t *at;
    size_t len;
};

static struct mapping mappings[MAPPINGS];
static int guarded; /* how many there have been */

void *__real_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t len);
void *__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t len);

/* What of a control page no word is in. */
static void poison_control(uint8_t *page)
{
    static const size_t gaps[][2] = {
        {TAIL + 16, HEAD}, {HEAD + 16, RECEIVER}, {RECEIVER + 8, SENDER},
        {SENDER + 8, PROCESSOR}, {PROCESSOR + 8, CONTROL_SIZE},
    };

    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        __asan_poison_memory_region(page + gaps[i][0], gaps[i][1] - gaps[i][0]);
    }
}

/* mmap: the library asks for the room for all of a mapping, and then maps the file into it. */
void *__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    if (at != NULL || protection != PROT_NONE) {
        void *mapped = __real_mmap(at, len, protection, flags, fd, offset);

        if (mapped != MAP_FAILED && at != NULL && offset == 0) {
            poison_control(mapped);
        }
        return mapped;
    }
    uint8_t *room = __real_mmap(NULL, len + 2 * GUARD, PROT_NONE, flags, fd, offset);

    if (room == MAP_FAILED) {
        return room;
    }
    for (int i = 0; i < MAPPINGS; i++) {
        if (mappings[i].at == NULL) {
            mappings[i] = (struct mapping){room + GUARD, len};
            guarded++;
            return room + GUARD;
        }
    }
    fail("mappings stayed");
    return MAP_FAILED;
}

int __wrap_munmap(void *at, size_t len)
{
    for (int i = 0; i < MAPPINGS; i++) {
        if (mappings[i].at == at) {
            expect(mappings[i].len == len, "a part of a mapping is undone");
            mappings[i].at = NULL;
            __asan_unpoison_memory_region(at, len);
            return __real_munmap((uint8_t *)at - GUARD, len + 2 * GUARD);
        }
    }
    return __real_munmap(at, len); /* the hostile side's */
}

/* ------------------------------------------------------------------------- older kernels */

/* Lets pwritev2 and preadv2 fail as they did in older kernels, for all processes from here on. */
static void older_kernel(unsigned refused)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, refused, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    expect(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

/* ----------------------------------------------------------------------- the hostile side */

static struct sockaddr_un address;
static socklen_t address_len;

/* A value near to what it should be, or at an edge, or any. */
static uint64_t bad_cursor(uint64_t right, uint64_t *random)
{
    static const uint64_t steps[] = {
        8, 16, 4096, RING_SIZE - 8, RING_SIZE, RING_SIZE + 8, 2 * RING_SIZE, 1, 4, 7,
        (uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX - 7, UINT64_MAX,
    };
    uint64_t step = steps[next_random(random) % (sizeof(steps) / sizeof(steps[0]))];

    switch (next_random(random) % 8) {
    case 0:
        return next_random(random);
    case 1:
        return step;
    case 2:
    case 3:
        return right - step;
    default:
        return right + step;
    }
}

static uint32_t bad_length(uint64_t *random)
{
    static const uint32_t lengths[] = {
        0, 1, 4, 12, 4092, RING_SIZE - 12, RING_SIZE - 11, RING_SIZE - 4, RING_SIZE,
        2 * RING_SIZE, 4 * RING_SIZE, INT32_MAX, UINT32_MAX - 11, UINT32_MAX - 3, UINT32_MAX,
    };

    if (next_random(random) % 4 == 0) {
        return next_random(random);
    }
    return lengths[next_random(random) % (sizeof(lengths) / sizeof(lengths[0]))];
}

/* As the protocol wants it: a message of this length. */
static void send_well(struct peer *peer, uint64_t *tail, uint32_t len)
{
    uint64_t head = get64(peer->victims, HEAD);

    if (RING_SIZE - 8 - (*tail - head) >= record_size(len)) {
        *tail = publish(peer, *tail, len);
    }
}

/* Opens the pipe anew, by a descriptor of another mode, and closes the old one. */
static void reopen(int *fd, int flags)
{
    char path[64];

    if (*fd < 0) {
        return;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    int again = open(path, flags | O_CLOEXEC);
    if (again >= 0) {
        close(*fd);
        *fd = again;
    }
}

static void wake(const struct peer *peer)
{
    if (write(peer->rope, "", 1) == -1) {
        expect(errno == EAGAIN || errno == EPIPE || errno == EBADF, "write to the victim");
    }
}

/* Kinds of what it does; a connection has some of them. */
enum {
    WELL = 1,
    CURSORS = 2,
    LENGTHS = 4,
    WORDS = 8,
    NOISE = 16,
    PIPES = 32,
    DRAINS = 64,
    ENDS = 128,
    ALL = 255
};

static void act(struct peer *peer, unsigned kind, uint64_t *tail, uint64_t *random)
{
    static const size_t words[] = {TAIL_UNFENCED, TAIL_ENDED, HEAD_UNFENCED, HEAD_ENDED,
                                   RECEIVER,      SENDER,     PROCESSOR};
    static uint32_t sleep = 1;
    uint64_t chance = next_random(random);
    char drained[256];

    switch (kind) {
    case WELL:
        /* Receives all there is, sends, and says that it sleeps. */
        set64(peer, HEAD, get64(peer->victims, TAIL));
        send_well(peer, tail, 1 + chance % 5000);
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
        /* Of the message that the victim is about to receive, or of another. */
        send_well(peer, tail, 1 + chance % 64);
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
        switch (chance % 8) {
        case 0:
            fcntl(peer->bell_rope, F_SETFL, 0); /* the victim has the same description */
            break;
        case 1:
            fcntl(peer->bell_rope, F_SETFL, O_NONBLOCK | O_DIRECT);
            break;
        case 2: /* fills the pipe that the victim writes to */
            for (int i = 0; i < 70 && fcntl(peer->bell_rope, F_SETFL, O_NONBLOCK) == 0 &&
                            write(peer->bell_rope, peer->own, CONTROL_SIZE) > 0;
                 i++) {
            }
            fcntl(peer->bell_rope, F_SETFL, 0);
            break;
        case 3:
        case 4:
            fcntl(peer->rope, F_SETPIPE_SZ, 4096);
            break;
        case 5: { /* takes the victim's wake-ups from under it */
            char path[64];

            snprintf(path, sizeof(path), "/proc/self/fd/%d", peer->rope);
            int theirs = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
            while (theirs >= 0 && read(theirs, drained, sizeof(drained)) > 0) {
            }
            close_if_open(&theirs);
            break;
        }
        case 6:
            fcntl(peer->rope, F_SETFL, O_NONBLOCK);
            while (write(peer->rope, peer->own, CONTROL_SIZE) > 0) {
            }
            break;
        default:
            wake(peer);
            break;
        }
        break;
    case DRAINS:
        while (read(peer->bell, drained, sizeof(drained)) > 0) {
        }
        break;
    case ENDS:
        switch (chance % 4096) {
        case 0:
            close_if_open(&peer->bell);
            break;
        case 1:
            close_if_open(&peer->rope);
            break;
        case 2:
            reopen(&peer->rope, O_RDWR | O_NONBLOCK);
            break;
        case 3:
            reopen(&peer->bell, O_RDONLY | O_NONBLOCK);
            break;
        case 4:
            if (chance >> 60 == 0) {
                _exit(0);
            }
            break;
        default:
            break;
        }
        break;
    default:
        break;
    }
}

/* Whether the victim has closed its end. */
static int is_gone(const struct peer *peer)
{
    struct pollfd rope = {.fd = peer->rope, .events = 0};

    return peer->rope < 0 || poll(&rope, 1, 0) == 1;
}

static void attack(int sock, uint64_t *random)
{
    struct peer peer;
    uint64_t tail = 0, end = now() + 300000000;
    unsigned kinds = 1 + next_random(random) % ALL;
    int seldom = next_random(random) % 4 == 0; /* so that the victim comes further */

    peer_make(&peer);
    if (!peer_say(&peer, sock, next_random(random) & 1) || !peer_hear(&peer, sock)) {
        peer_close(&peer);
        return;
    }
    fcntl(peer.rope, F_SETFL, O_NONBLOCK);
    for (unsigned i = 1;; i++) {
        unsigned kind = 1u << next_random(random) % 8;

        if (seldom && kind != WELL && i % 64 != 0) {
            kind = WELL;
        }
        if (kind & (kinds | (seldom ? WELL : 0))) {
            act(&peer, kind, &tail, random);
        }
        /* It does not see the victim go where it reads the victim's pipe too. */
        if (i % 256 == 0 && (is_gone(&peer) || now() > end)) {
            break;
        }
    }
    peer_close(&peer);
}

static void hostile(uint64_t seed)
{
    signal(SIGPIPE, SIG_IGN);
    for (uint64_t random = seed;;) {
        int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        expect(sock >= 0, "socket");
        if (connect(sock, (struct sockaddr *)&address, address_len) == -1) {
            _exit(0); /* the victim is done */
        }
        attack(sock, &random);
        close(sock);
    }
}

/* ------------------------------------------------------------------------------ the victim */

struct counts {
    uint64_t calls, sent, received, shown, eproto, epipe, waited;
};

struct side {
    struct ipc_channel *ch;
    uint64_t random;
    uint64_t calls;
    struct counts counts;
    int sends, receives;
};

/* Looks at how a call ended. */
static void ended(struct side *side, uint64_t since, int failed, int timeout_ms, int mask_busy,
                  const char *what)
{
    int error = errno;
    uint64_t time = now() - since;

    if (time > PATIENCE + (uint64_t)timeout_ms * 1000000) {
        fprintf(stderr, "%s took %.3f s\n", what, time * 1e-9);
        fail("a call outlasted its time-out");
    }
    if (!failed) {
        return;
    }
    side->counts.eproto += error == EPROTO;
    side->counts.epipe += error == EPIPE;
    side->counts.waited += error == ETIMEDOUT;
    int known = error == EPROTO || error == EPIPE ||
                (error == EAGAIN && timeout_ms == 0) || (error == ETIMEDOUT && timeout_ms > 0) ||
                (mask_busy && (error == EINVAL || error == EMSGSIZE || error == EBUSY));
    errno = error;
    expect(known, what);
}

static volatile uint8_t sink;

static void read_all(const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i += i + 64 < len ? 64 : 1) {
        sink = at[i];
    }
}

static void sending_call(struct side *side, int timeout_ms)
{
    size_t max = ipc_channel_max(side->ch);
    uint64_t chance = next_random(&side->random);
    size_t len = chance % 8 == 0 ? max - chance % 16 % 3 : 1 + chance % 3000;
    uint64_t since = now();

    expect(max == RING_SIZE - 12, "the longest message");
    if (chance >> 32 & 1) {
        /* Of the very size, so that the sanitizer sees one byte too much. */
        uint8_t *bytes = malloc(len);

        expect(bytes != NULL, "malloc");
        memset(bytes, (int)len, len);
        int result = ipc_channel_send(side->ch, bytes, len, timeout_ms);
        ended(side, since, result != 0, timeout_ms, 0, "ipc_channel_send");
        side->counts.sent += result == 0;
        free(bytes);
        return;
    }
    uint8_t *room = ipc_channel_reserve(side->ch, len, timeout_ms);

    ended(side, since, room == NULL, timeout_ms, 0, "ipc_channel_reserve");
    if (room == NULL) {
        return;
    }
    memset(room, 0x55, len);
    since = now();
    if (chance >> 33 & 1) {
        expect(ipc_channel_send(side->ch, "x", 1, 0) == -1, "a send while something is reserved");
        ended(side, since, 1, 0, 1, "ipc_channel_send while something is reserved");
    }
    since = now();
    int result = chance >> 34 & 3 ? ipc_channel_commit(side->ch, 1 + chance % len)
                                  : ipc_channel_cancel(side->ch);
    ended(side, since, result != 0, 0, 0, "ipc_channel_commit");
    side->counts.sent += result == 0;
}

static void receiving_call(struct side *side, int timeout_ms)
{
    static const size_t caps[] = {1, 64, 4096, RING_SIZE, 16 * RING_SIZE};
    uint64_t chance = next_random(&side->random);
    size_t cap = caps[chance % 5];
    uint64_t since = now();
    ssize_t len;

    switch (chance >> 32 & 3) {
    case 0: {
        const void *at = NULL;
        len = ipc_channel_peek(side->ch, &at, timeout_ms);
        ended(side, since, len < 0, timeout_ms, 0, "ipc_channel_peek");
        if (len > 0) {
            expect(len <= RING_SIZE - 12, "a message that is longer than the ring");
            expect(((uintptr_t)at & 7) == 0, "a message that is not aligned");
            read_all(at, len);
            side->counts.shown++;
        }
        break;
    }
    case 1:
        len = ipc_channel_release(side->ch);
        ended(side, since, len < 0, 0, 1, "ipc_channel_release");
        break;
    default: {
        uint8_t *room = malloc(cap);

        expect(room != NULL, "malloc");
        len = ipc_channel_recv(side->ch, room, cap, timeout_ms);
        ended(side, since, len < 0, timeout_ms, 1, "ipc_channel_recv");
        if (len > 0) {
            expect((size_t)len <= cap && len <= RING_SIZE - 12, "more than there is room for");
            read_all(room, len);
            side->counts.received++;
        }
        free(room);
        break;
    }
    }
}

static void other_call(struct side *side)
{
    uint64_t chance = next_random(&side->random);
    struct ipc_channel_stats stats;
    struct ipc_cred cred;

    switch (chance % 256) {
    case 0:
        expect(ipc_channel_shutdown(side->ch, chance >> 32 & 1 ? SHUT_RD : SHUT_WR) == 0,
               "ipc_channel_shutdown");
        break;
    case 1:
    case 2: {
        struct pollfd ready = {.fd = ipc_channel_fd(side->ch), .events = POLLIN};
        expect(ready.fd >= 0, "ipc_channel_fd");
        expect(poll(&ready, 1, chance >> 32 & 1) >= 0, "poll");
        break;
    }
    case 3:
        expect(ipc_channel_stats(side->ch, &stats, sizeof(stats)) == 0, "ipc_channel_stats");
        expect(ipc_channel_peer_cred(side->ch, &cred, sizeof(cred)) == 0, "ipc_channel_peer_cred");
        break;
    default:
        break;
    }
}

static void *calls(void *data)
{
    struct side *side = data;
    uint64_t broken = 0;

    for (uint64_t i = 0; i < side->calls && broken < 40; i++) {
        static const int timeouts[] = {0, 0, 0, 0, 0, 1, 2, 7};
        int timeout_ms = timeouts[next_random(&side->random) % 8];
        uint64_t bad = side->counts.eproto + side->counts.epipe;

        side->counts.calls++;
        if (side->sends && (!side->receives || next_random(&side->random) & 1)) {
            sending_call(side, timeout_ms);
        } else {
            receiving_call(side, timeout_ms);
        }
        other_call(side);
        broken += side->counts.eproto + side->counts.epipe - bad;
    }
    return NULL;
}

static void add(struct counts *sum, const struct counts *more)
{
    sum->calls += more->calls;
    sum->sent += more->sent;
    sum->received += more->received;
    sum->shown += more->shown;
    sum->eproto += more->eproto;
    sum->epipe += more->epipe;
    sum->waited += more->waited;
}

/* One connection, used by one thread or by two. */
static void suffer(struct ipc_channel *ch, uint64_t *random, struct counts *sum)
{
    struct side first = {.ch = ch, .random = next_random(random), .calls = 400, .sends = 1};
    struct side second = first;
    int two = next_random(random) % 2;
    pthread_t thread;

    first.receives = !two;
    second.random = next_random(random);
    second.sends = 0;
    second.receives = 1;
    if (two) {
        expect(pthread_create(&thread, NULL, calls, &second) == 0, "pthread_create");
    }
    calls(&first);
    if (two) {
        expect(pthread_join(thread, NULL) == 0, "pthread_join");
        add(sum, &second.counts);
    }
    add(sum, &first.counts);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

static pid_t start_hostile(uint64_t seed, int listener)
{
    pid_t pid = fork();

    expect(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(listener);
        hostile(seed);
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
    uint64_t connections = 0;
    char name[64];

    alarm(strtoul(argv[1], NULL, 10) + 60);
    if (kernel > 0) {
        older_kernel(kernel == 1 ? 0x100 : 0x100 | RWF_NOWAIT);
    }
    int before = open_descriptors();
    snprintf(name, sizeof(name), "@unixipc-hostile-%d", getpid());
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    address_len = offsetof(struct sockaddr_un, sun_path) + strlen(name);
    int listener = ipc_channel_listen(name, 0600, 0);

    expect(listener >= 0, "ipc_channel_listen");
    pid_t pid = start_hostile(next_random(&random), listener);
    struct ipc_channel_opts opts = {.send_size = RING_SIZE, .recv_size_max = RING_SIZE};

    while (now() < end) {
        struct ipc_channel *ch;

        if (ipc_channel_accept(listener, &opts, sizeof(opts), 500, &ch) == -1) {
            expect(errno == ETIMEDOUT || errno == EPIPE, "ipc_channel_accept");
            if (waitpid(pid, NULL, WNOHANG) == pid) {
                pid = start_hostile(next_random(&random), listener);
            }
            continue;
        }
        suffer(ch, &random, &sum);
        ipc_channel_close(ch);
        connections++;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(listener);
    for (int i = 0; i < MAPPINGS; i++) {
        expect(mappings[i].at == NULL, "a mapping stayed");
    }
    expect(open_descriptors() == before, "a descriptor stayed open");
    printf("connections %llu calls %llu sent %llu received %llu shown %llu eproto %llu epipe %llu "
           "timed-out %llu guarded %d\n",
           (unsigned long long)connections, (unsigned long long)sum.calls,
           (unsigned long long)sum.sent, (unsigned long long)sum.received,
           (unsigned long long)sum.shown, (unsigned long long)sum.eproto,
           (unsigned long long)sum.epipe, (unsigned long long)sum.waited, guarded);
    expect(guarded >= 2 * (int)connections - 2, "mappings without guards");
    return 0;
}
