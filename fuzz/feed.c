/*
 * Fuzzes a subscriber of a feed with the writes of a publisher into the memory that the subscriber
 * reads, for libFuzzer.
 *
 * The size of an input says how the subscriber begins. An input is a script of steps of four bytes:
 * an action and its arguments. A step of the publisher publishes a message, or writes a word that is
 * near the valid value or arbitrary, or uses a pipe. A step of the subscriber is a non-blocking call.
 * Its result must be that of a second, simple implementation that reads the same memory: the same
 * messages, sequence numbers and errors.
 */
#define _GNU_SOURCE
#include <time.h>

#include <unixipc.h>

#include "../tests/hostile/feed.h"

#include "descriptors.h"

#define LONGEST (RING_SIZE - 64 - 4 - 4)
#define PART    (RING_SIZE / 8)
#define BAD     UINT32_MAX

/* The expected state of the subscriber. */
struct reader {
    uint64_t head, sequence, lost;
    uint64_t resumed_at;
    uint32_t len; /* the length of the next message, which is read only once */
    uint32_t demotions;
    int is_lossy, has_resumed, is_peeked, poisoned;
};

static struct peer peer;
static struct ipc_sub *sub;
static struct reader reader;
static struct ring ring;

static int is_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static int is_overtaken(void)
{
    int is_safe = !reader.is_lossy && get32(peer.own, FEED_DEMOTIONS) == reader.demotions;

    return !is_safe && is_before(reader.head, get64(peer.own, FEED_OLDEST));
}

static int64_t poison(void)
{
    reader.poisoned = 1;
    return -EPROTO;
}

/* The subscriber goes to a message that is left; see broadcast/reader.rs. */
static int64_t resume(void)
{
    uint64_t oldest = get64(peer.own, FEED_OLDEST), at = oldest;
    uint64_t count = get64(peer.own, FEED_COUNT), nearest = UINT64_MAX;

    reader.is_peeked = 0;
    if (reader.has_resumed && reader.head - reader.resumed_at < PART) {
        for (int i = 0; i < 8; i++) {
            uint64_t mark = get64(peer.own, FEED_MARKS + 8 * i), distance = mark - (oldest + PART);

            if (!is_before(mark, oldest + PART) && distance < nearest) {
                nearest = distance;
                at = mark;
            }
        }
    }
    if (at % 8 != 0 || is_before(at, oldest) || is_before(get64(peer.own, FEED_TAIL), at)) {
        return poison();
    }
    uint32_t low = get32(peer.own, feed_place(at));
    uint64_t sequence = count + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)count);
    if (!is_before(reader.head, at) || !is_before(reader.sequence, sequence)) {
        return poison();
    }
    reader.lost += sequence - reader.sequence;
    reader.head = reader.resumed_at = at;
    reader.sequence = sequence;
    reader.has_resumed = 1;
    reader.len = 0;
    return -EOVERFLOW;
}

/* The length of the next message, 0 for the end, or -errno. */
static int64_t expected_len(void)
{
    if (reader.poisoned) {
        return -EPROTO;
    }
    if (reader.len == 0) {
        uint32_t len = get32(peer.own, feed_place(reader.head) + 4);

        reader.len = len > LONGEST ? BAD : len;
    }
    if (is_overtaken()) {
        return resume();
    }
    if (reader.len == BAD) {
        return poison();
    }
    if (reader.len == 0) {
        return get32(peer.own, FEED_ENDED) != 0 ? 0 : -EAGAIN;
    }
    return reader.len;
}

static void skip(void)
{
    reader.head += feed_record_size(reader.len);
    reader.sequence++;
    reader.len = 0;
    reader.is_peeked = 0;
}

/* A byte of the next message. The offset wraps around at the end of the ring. */
static uint8_t ring_byte(size_t at)
{
    return peer.own[CONTROL_SIZE + ((reader.head + 8 + at) & (RING_SIZE - 1))];
}

/* Checks the words of the subscriber. */
static void check_words(void)
{
    expect(get64(peer.victims, SUB_HEAD) == reader.head, "the cursor");
    expect(get64(peer.victims, SUB_SEQUENCE) == reader.sequence, "the sequence number");
    expect(get64(peer.victims, SUB_LOST) == reader.lost, "the number of lost messages");
}

/* Checks the result of a receive. */
static void expect_received(ssize_t len, int error, int64_t result, uint64_t seq, uint64_t before)
{
    if (result < 0) {
        expect(len == -1 && error == -result, "unexpected error");
        if (result == -EOVERFLOW) {
            expect(seq == reader.sequence, "where to go on");
        }
    } else {
        expect(len == result, "unexpected length");
        expect(len == 0 || seq == before, "unexpected sequence number");
    }
}

static void receive(size_t cap)
{
    uint8_t *buffer = malloc(cap);
    uint64_t seq = 0, before = reader.sequence;

    expect(buffer != NULL, "malloc");
    ssize_t len = ipc_sub_recv(sub, buffer, cap, &seq, 0);
    int error = errno;
    int64_t result = expected_len();
    if (result > (int64_t)cap) {
        result = -EMSGSIZE;
    }
    expect_received(len, error, result, seq, before);
    for (ssize_t i = 0; i < len; i++) {
        expect(buffer[i] == ring_byte(i), "unexpected bytes");
    }
    if (len > 0) {
        skip();
    }
    check_words();
    free(buffer);
}

static void peek(void)
{
    const void *at;
    uint64_t seq = 0, before = reader.sequence;
    ssize_t len = ipc_sub_peek(sub, &at, &seq, 0);
    int error = errno;
    int64_t result = expected_len();

    expect_received(len, error, result, seq, before);
    for (ssize_t i = 0; i < len; i++) {
        expect(((const uint8_t *)at)[i] == ring_byte(i), "unexpected bytes");
    }
    reader.is_peeked |= len > 0;
    check_words();
}

static void release(void)
{
    int released = ipc_sub_release(sub), error = errno;
    int64_t result = 0;

    if (!reader.is_peeked) {
        result = -EINVAL;
    } else if (is_overtaken()) {
        result = resume();
    } else {
        skip();
    }
    expect(released == (result == 0 ? 0 : -1), "ipc_sub_release");
    expect(result == 0 || error == -result, "unexpected error");
    check_words();
}

static void look(void)
{
    struct ipc_sub_info info;

    expect(ipc_sub_info(sub, &info, sizeof(info)) == 0, "ipc_sub_info");
    expect(info.next_seq == reader.sequence && info.lost == reader.lost, "the facts");
    expect(info.published == get64(peer.own, FEED_COUNT), "the number of messages");
    expect(ipc_sub_fd(sub) >= 0, "ipc_sub_fd");
}

/* A value that is near the valid one, or an arbitrary one. */
static uint64_t near(uint64_t valid, unsigned how, uint64_t value)
{
    switch (how & 3) {
    case 0:
        return valid + value * 8;
    case 1:
        return valid - value * 8;
    case 2:
        return valid + value;
    default:
        return value << (how >> 2 & 63);
    }
}

static void use_pipes(unsigned how, size_t value)
{
    char bytes[256] = {0};

    switch (how % 3) {
    case 0:
        (void)!write(peer.waker, bytes, value % sizeof(bytes));
        break;
    case 1:
        fcntl(peer.read_end, F_SETFL, O_NONBLOCK);
        (void)!read(peer.read_end, bytes, sizeof(bytes));
        fcntl(peer.read_end, F_SETFL, value & 1 ? O_NONBLOCK : 0);
        break;
    default:
        (void)!read(peer.bell, bytes, sizeof(bytes));
        break;
    }
}

static void step(const uint8_t *data)
{
    static const size_t words[] = {FEED_ASYMMETRIC, FEED_SPACE, FEED_CPU, FEED_ID};
    size_t value = data[2] | data[3] << 8;

    switch (data[0] % 19) {
    case 0:
    case 1:
    case 2: /* a message, which overwrites others if the ring is full */
        publish_message(&peer, &ring, 1 + value % (data[1] & 1 ? 8000 : 100));
        break;
    case 3: /* a wrong length, or a length where none is expected */
        set32(&peer, feed_place(data[1] & 2 ? ring.tail : reader.head) + 4,
              data[1] & 1 ? value : value * 0x10001 + data[1]);
        break;
    case 4:
        set32(&peer, feed_place(get64(peer.own, FEED_OLDEST)), value * 0x10001 + data[1]);
        break;
    case 5:
        set64(&peer, FEED_OLDEST, near(data[1] & 4 ? ring.oldest : reader.head, data[1], value));
        break;
    case 6:
        set64(&peer, FEED_TAIL, near(reader.head, data[1], value));
        break;
    case 7:
        set64(&peer, FEED_COUNT, near(reader.sequence, data[1], value));
        break;
    case 8:
        set64(&peer, FEED_MARKS + 8 * (data[1] >> 5), near(reader.head, data[1] & 31, value));
        break;
    case 9:
        set32(&peer, FEED_DEMOTIONS, value);
        break;
    case 10:
        set32(&peer, FEED_ENDED, data[1] & 1);
        break;
    case 11:
        set32(&peer, words[data[1] % 4], value * 0x10001);
        break;
    case 12:
        memset(peer.own + CONTROL_SIZE + value / 2, data[1], 256);
        break;
    case 13:
        use_pipes(data[1], value);
        break;
    case 14:
    case 15:
        receive(1 + value);
        break;
    case 16:
        peek();
        break;
    case 17:
        release();
        break;
    default:
        look();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipc_sub_opts opts = {.flags = IPC_SUB_F_NO_SPIN | (size & 1 ? IPC_SUB_F_LOSSY : 0)};
    struct descriptors before = open_descriptors();
    uint8_t hello[HELLO_LEN] = {0};
    int ends[2], fds[2];

    expect(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    peer_make_sized(&peer, MEMORY_SIZE, PAGE_SIZE);
    ring = (struct ring){0};
    if (size & 2) { /* the cursors wrap */
        ring.tail = ring.oldest = 0 - (uint64_t)8 * 4096;
        ring.count = UINT32_MAX - 100;
        set32(&peer, feed_place(ring.tail), (uint32_t)ring.count);
    }
    reader = (struct reader){.head = ring.tail, .sequence = ring.count, .is_lossy = size & 1};
    memcpy(hello, "uifp\1", 5);
    hello[12] = 8;
    hello[18] = 1; /* the size of the ring, 65536 */
    put(hello, 24, ring.tail, 8);
    put(hello, 32, ring.count, 8);
    fds[0] = peer.memory;
    fds[1] = peer.read_end;
    expect(send_with(ends[0], hello, HELLO_LEN, fds, 2) == HELLO_LEN, "the answer");
    expect(ipc_sub_from_fd(ends[1], &opts, sizeof(opts), 0, &sub) == 0, "ipc_sub_from_fd");
    expect(peer_hear(&peer, ends[0]), "the request");
    fcntl(peer.bell, F_SETFL, O_NONBLOCK);
    for (; size >= 4; size -= 4, data += 4) {
        step(data);
    }
    ipc_sub_close(sub);
    peer_close(&peer);
    close(ends[0]);
    close(ends[1]);
    expect_same_descriptors(&before);
    return 0;
}
