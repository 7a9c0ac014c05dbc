/*
 * Fuzzes a channel with the writes of a peer into the memory that the channel reads, for libFuzzer.
 *
 * An input is a script of steps. A step has four bytes: an action and its arguments. A step of the
 * peer writes a word or a length, which is either near the valid value or arbitrary, or it uses a
 * pipe. It can also send descriptors over the socket. A step of the victim is a non-blocking call. Its result must be that of a second, simple
 * implementation that reads the same memory: the same messages and the same errors. The victim's
 * own words may change only as the protocol allows.
 */
#define _GNU_SOURCE
#include <time.h>

#include <unixipc.h>

#include "../tests/hostile/peer.h"

#include "descriptors.h"

#define QUEUE_MAX 64 /* the number of messages of the peer on the socket */
#define STALE_MAX 16 /* the number of messages with other tokens that a call skips */

/* The largest number of messages in a batch. */
#define BATCH_MAX 8

/* The expected state of the victim's receiving side. */
struct reader {
    uint64_t head;
    uint32_t len; /* the length of the next message, which is read only once */
    uint32_t woken;
    int is_peeked, poisoned;
    int has_token; /* the token of the next message has been read */
    uint64_t token;
};

/* A message of the peer on the socket. */
struct sent {
    uint64_t token, count;
    size_t len, nfds;
};

static struct peer peer;
static struct ipc_channel *ch;
static struct reader reader;
static uint64_t written; /* the cursor of the peer, as far as it follows the protocol */
static uint64_t tail;    /* the cursor of the victim */
static uint64_t reserved;
static uint32_t ended, shut;
static int with_fds; /* both sides have asked for descriptors with messages */
static struct sent queue[QUEUE_MAX];
static size_t queue_first, queue_len;

/* Whether this is the length field of a message with descriptors. */
static int is_marked(uint32_t len)
{
    return with_fds && len > MARK && (len & ~MARK) <= MARKED_LONGEST;
}

/* The length of the next message, 0 for the end, or -errno; see ring.rs. */
static int64_t expected_len(void)
{
    if (reader.len == 0) {
        reader.len = get32(peer.own, place(reader.head));
    }
    if (is_marked(reader.len)) {
        uint32_t len = reader.len & ~MARK;

        if (reader.poisoned) {
            return -EPROTO;
        }
        if (!reader.has_token) {
            size_t at = (reader.head + marked_size(len)) & (RING_SIZE - 8);
            reader.token = get64(peer.own, CONTROL_SIZE + at);
            reader.has_token = 1;
        }
        return len;
    }
    if (reader.len > RING_SIZE - 68) {
        reader.len = UINT32_MAX;
        reader.poisoned = 1;
        return -EPROTO;
    }
    if (reader.len == 0) {
        return reader.poisoned ? -EPROTO : ended & 1 || shut & 1 ? 0 : -EAGAIN;
    }
    return reader.len;
}

/* A byte of the message at a cursor. The offset wraps around at the end of the ring. */
static uint8_t ring_byte(uint64_t cursor, size_t at)
{
    return peer.own[CONTROL_SIZE + ((cursor + 8 + at) & (RING_SIZE - 1))];
}

/* The victim removes the descriptors of the next message from the socket, and receives them if
 * `wanted`. Returns their number, or -1 for a violation; see fd_queue.rs. */
static int take_descriptors(int wanted)
{
    for (int i = 0; i <= STALE_MAX && !reader.poisoned; i++) {
        const struct sent *first = &queue[queue_first];

        if (queue_first == queue_len || first->len != 16) {
            break;
        }
        if (first->token == reader.token) {
            if (wanted && (first->nfds == 0 || first->nfds != first->count)) {
                break;
            }
            queue_first++;
            return first->nfds;
        }
        queue_first++;
    }
    reader.poisoned = 1;
    return -1;
}

/* The victim goes to the message after the next one. */
static void skip(void)
{
    uint32_t len = reader.len;

    reader.head += record_size(is_marked(len) ? marked_size(len & ~MARK) : len);
    reader.len = 0;
    reader.has_token = 0;
    reader.is_peeked = 0;
}

/* The victim has released the messages that it skipped. */
static void released(void)
{
    expect(get64(peer.victims, HEAD) == reader.head, "the victim's head");

    uint32_t asleep = get32(peer.own, SENDER);
    if (asleep % 2 == 1 && asleep != reader.woken &&
        get64(peer.own, TAIL) - reader.head <= RING_SIZE / 2) {
        reader.woken = asleep;
    }
}

/* The victim has consumed the next message. */
static void consumed(void)
{
    skip();
    released();
}

static void expect_bytes(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        expect(bytes[i] == ring_byte(reader.head, i), "unexpected bytes");
    }
}

static void receive(size_t cap, size_t places)
{
    int64_t result = expected_len();
    int fds[4] = {-1, -1, -1, -1}, sent_fds = 0;
    size_t nfds = places;
    /* Exactly as large as allowed, so that the sanitizer detects one byte too many. */
    uint8_t *buffer = malloc(cap);

    expect(buffer != NULL, "malloc");
    if (result > 0 && result <= (int64_t)cap && is_marked(reader.len)) {
        sent_fds = take_descriptors(places > 0);
        result = sent_fds < 0 ? -EPROTO : result;
    }
    ssize_t len = places > 0 ? ipc_channel_recv_fds(ch, buffer, cap, fds, &nfds, 0)
                             : ipc_channel_recv(ch, buffer, cap, 0);
    if (len >= 0 && places > 0) {
        size_t expected = sent_fds < (int)places ? (size_t)sent_fds : places;
        expect(nfds == expected, "unexpected number of descriptors");
        for (size_t i = 0; i < nfds; i++) {
            expect(fcntl(fds[i], F_GETFD) == FD_CLOEXEC, "close-on-exec");
            close(fds[i]);
        }
    } else {
        expect(nfds == places && fds[0] == -1, "descriptors of a failed call");
    }
    if (result > (int64_t)cap) {
        expect(len == -1 && errno == EMSGSIZE, "no EMSGSIZE for a long message");
    } else if (result < 0) {
        expect(len == -1 && errno == -result, "unexpected error");
    } else {
        expect(len == result, "unexpected length");
        expect_bytes(buffer, len);
        if (len > 0) {
            consumed();
        }
    }
    free(buffer);
}

/* Receives up to `count` messages into buffers of `cap` bytes. */
static void receive_many(size_t count, size_t cap)
{
    int64_t result = expected_len();
    uint64_t begin = reader.head;
    struct iovec messages[BATCH_MAX];
    size_t expected = 0;

    for (size_t i = 0; i < count; i++) {
        messages[i] = (struct iovec){malloc(cap), cap};
        expect(messages[i].iov_base != NULL, "malloc");
    }
    int marked = result > 0 && result <= (int64_t)cap && is_marked(reader.len);
    if (marked && take_descriptors(0) < 0) {
        result = -EPROTO;
    }
    ssize_t got = ipc_channel_recv_many(ch, messages, count, 0);
    if (result > (int64_t)cap) {
        expect(got == -1 && errno == EMSGSIZE, "no EMSGSIZE for a long message");
    } else if (result < 0) {
        expect(got == -1 && errno == -result, "unexpected error");
    } else if (marked) {
        expect(got == 1 && messages[0].iov_len == (size_t)result, "not one message");
        expect_bytes(messages[0].iov_base, result);
        expected = 1;
        consumed();
    } else {
        while (reader.len != 0 && reader.len <= cap && expected < count) {
            expect(messages[expected].iov_len == reader.len, "unexpected length");
            expect_bytes(messages[expected].iov_base, reader.len);
            expected++;
            skip();
            uint32_t next = get32(peer.own, place(reader.head));
            uint64_t end = reader.head + record_size(next);
            if (expected < count && next <= RING_SIZE - 68 && next <= cap &&
                end - begin <= RING_SIZE - 8) {
                reader.len = next;
            }
        }
        expect(got == (ssize_t)expected, "unexpected number of messages");
        if (got > 0) {
            released();
        }
    }
    for (size_t i = 0; i < count; i++) {
        expect(i < expected || messages[i].iov_len == cap, "an unused buffer");
        free(messages[i].iov_base);
    }
}

static void peek(void)
{
    const void *at = NULL;
    int64_t result = expected_len();
    ssize_t len = ipc_channel_peek(ch, &at, 0);

    if (result < 0) {
        expect(len == -1 && errno == -result && at == NULL, "unexpected error");
        return;
    }
    expect(len == result, "unexpected length");
    if (len > 0) {
        expect_bytes(at, len);
        reader.is_peeked = 1;
    }
}

static void release(void)
{
    int expected = reader.is_peeked ? 0 : -1;

    if (reader.is_peeked && is_marked(reader.len) && take_descriptors(0) < 0) {
        reader.is_peeked = 0;
        expected = -1;
    }
    expect(ipc_channel_release(ch) == expected, "ipc_channel_release");
    if (expected == 0) {
        consumed();
    }
}

static uint64_t ring_word(uint64_t cursor, size_t at)
{
    uint64_t word = 0;

    for (size_t i = 0; i < 8; i++) {
        word |= (uint64_t)ring_byte(cursor, at + i) << 8 * i;
    }
    return word;
}

#define OVERHEAD IPC_CHANNEL_CALL_OVERHEAD

enum kind { REQUEST, EXPIRED, REPLY, ORDINARY };

static uint64_t letters(enum kind kind)
{
    return kind == REPLY ? 0x72636975 : 0x71636975; /* uicr, uicq */
}

/* The kind of the next message. */
static enum kind expected_kind(void)
{
    int is_ordinary = is_marked(reader.len) || reader.len < OVERHEAD;
    uint64_t word = is_ordinary ? 0 : ring_word(reader.head, 0);
    uint64_t expires = ring_word(reader.head, 16);
    struct timespec now;

    if (word == letters(REPLY)) {
        return REPLY;
    }
    if (word != letters(REQUEST) || ring_word(reader.head, 8) == 0 || reader.len == OVERHEAD) {
        return ORDINARY;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    return expires != 0 && expires <= ns ? EXPIRED : REQUEST;
}

/* Skips the messages that a call discards, up to a message of the kind `wanted`. Returns the length
 * of that message, 0 for the end, or -errno. */
static int64_t skip_to(enum kind wanted)
{
    for (uint64_t discarded = 0; discarded <= RING_SIZE;) {
        int64_t len = expected_len();
        enum kind kind = len > 0 ? expected_kind() : ORDINARY;

        if (len <= 0) {
            return len;
        }
        if (kind == ORDINARY || (kind != REPLY && wanted == REPLY)) {
            return -EBADMSG;
        }
        if (kind == wanted && wanted == REQUEST) {
            return len;
        }
        discarded += record_size(len);
        skip();
    }
    return -EAGAIN;
}

static void next_call(size_t cap)
{
    uint64_t id = 0;
    uint8_t *buffer = malloc(cap);

    expect(buffer != NULL, "malloc");
    ssize_t len = ipc_channel_next_call(ch, buffer, cap, &id, 0);
    int error = errno;
    int64_t result = skip_to(REQUEST);
    if (result > (int64_t)(cap + OVERHEAD)) {
        expect(len == -1 && error == EMSGSIZE, "no EMSGSIZE for a long request");
    } else if (result < 0) {
        expect(len == -1 && error == -result, "unexpected error");
    } else if (result == 0) {
        expect(len == 0 && id == 0, "no end");
    } else {
        expect(len == result - OVERHEAD, "unexpected length");
        expect(id == ring_word(reader.head, 8), "unexpected id");
        for (ssize_t i = 0; i < len; i++) {
            expect(buffer[i] == ring_byte(reader.head, OVERHEAD + i), "unexpected bytes");
        }
        skip();
    }
    expect(get64(peer.victims, HEAD) == reader.head, "the victim's head");
    free(buffer);
}

/* A call without time to wait only discards late replies. */
static void call_without_waiting(void)
{
    uint64_t before = get64(peer.victims, TAIL);
    ssize_t len = ipc_channel_call(ch, "x", 1, NULL, 0, 0);
    int error = errno;
    int64_t result = reader.is_peeked ? -EBUSY : skip_to(REPLY);

    expect(len == -1 && error == (result == 0 ? EPIPE : -result), "unexpected error");
    expect(get64(peer.victims, TAIL) == before, "a request was sent");
    expect(get64(peer.victims, HEAD) == reader.head, "the victim's head");
}

/* Checks the result of a sending call: the victim's cursor moves by one record, or not at all. */
static void expect_sent(int result, uint64_t len)
{
    uint64_t size = record_size(len & MARK ? marked_size(len & ~(uint64_t)MARK) : len);
    uint64_t now = get64(peer.victims, TAIL);

    if (result == 0) {
        expect(now != tail, "nothing was published");
    } else {
        expect(errno == EAGAIN || errno == EPIPE || errno == EPROTO || errno == EBUSY ||
                   errno == EINVAL || errno == EMSGSIZE || errno == EOPNOTSUPP,
               "unexpected error");
        reader.poisoned |= errno == EPROTO;
    }
    if (now != tail) {
        expect(now - tail == size, "the victim's tail");
        expect(get32(peer.victims, place(tail)) == len, "the victim's length");
        expect(get32(peer.victims, place(now)) == 0, "the next length");
        tail = now;
    }
}

static void send_some(size_t len)
{
    uint8_t *bytes = malloc(len);

    expect(bytes != NULL || len == 0, "malloc");
    memset(bytes, 7, len);
    expect_sent(ipc_channel_send(ch, bytes, len, 0), len);
    free(bytes);
}

/* Sends `count` messages of `len` bytes. */
static void send_many(size_t count, size_t len)
{
    struct iovec messages[BATCH_MAX];
    uint8_t *bytes = malloc(len);

    expect(bytes != NULL || len == 0, "malloc");
    memset(bytes, 5, len);
    for (size_t i = 0; i < count; i++) {
        messages[i] = (struct iovec){bytes, len};
    }
    ssize_t sent = ipc_channel_send_many(ch, messages, count, 0);
    if (sent < 0) {
        uint64_t bytes_sent = get64(peer.victims, TAIL) - tail;
        /* The batch has been published if the victim then found that the peer had gone, or that it
         * had violated the protocol. */
        expect(bytes_sent == 0 ||
                   ((errno == EPIPE || errno == EPROTO) && bytes_sent % record_size(len) == 0),
               "a failed batch was published");
        reader.poisoned |= errno == EPROTO;
        sent = (ssize_t)(bytes_sent / record_size(len));
    }
    expect(sent <= (ssize_t)count, "too many messages");
    for (ssize_t i = 0; i < sent; i++) {
        expect(get32(peer.victims, place(tail)) == len, "the victim's length");
        tail += record_size(len);
    }
    expect(get64(peer.victims, TAIL) == tail, "the victim's tail");
    expect(sent == 0 || get32(peer.victims, place(tail)) == 0, "the next length");
    free(bytes);
}

/* Sends a message with descriptors; the peer may receive them. */
static void send_descriptors(size_t len, size_t nfds, int received)
{
    int fds[3] = {0, 1, 2};
    uint8_t *bytes = malloc(len), first[32];

    expect(bytes != NULL || len == 0, "malloc");
    memset(bytes, 7, len);
    expect_sent(ipc_channel_send_fds(ch, bytes, len, fds, nfds, 0), nfds ? len | MARK : len);
    free(bytes);
    while (received && recv(peer.sock, first, sizeof(first), MSG_DONTWAIT) > 0) {
    }
}

/* The peer sends over the socket: what belongs to the next message, or anything else. */
static void send_over_socket(unsigned how, size_t value)
{
    uint64_t bytes[4] = {value & 7, how & 3, 0, 0};
    struct sent sent = {bytes[0], bytes[1], 16, how & 3};
    int fds[3] = {peer.memory, peer.read_end, peer.sock};

    if ((how >> 2) % 8 == 0) {
        bytes[1] = sent.count = value >> 8;
    } else if ((how >> 2) % 8 == 1) {
        sent.len = value % 32;
    }
    if (queue_len < QUEUE_MAX && sent.len > 0 &&
        send_with(peer.sock, bytes, sent.len, fds, sent.nfds) == (ssize_t)sent.len) {
        queue[queue_len++] = sent;
    }
}

static void reply(uint64_t id, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    uint64_t before = tail;

    expect(bytes != NULL, "malloc");
    memset(bytes, 7, len);
    expect_sent(ipc_channel_reply(ch, id, bytes, len, 0), OVERHEAD + len);
    if (tail != before) {
        const uint64_t header[3] = {letters(REPLY), id, 0};
        for (size_t i = 0; i < 3; i++) {
            size_t at = CONTROL_SIZE + ((before + 8 + 8 * i) & (RING_SIZE - 1));
            expect(get64(peer.victims, at) == header[i], "the header of a reply");
        }
    }
    free(bytes);
}

/* The peer sends a request or a reply. */
static void send_call(unsigned how, size_t value)
{
    static const uint64_t times[] = {0, 1, UINT64_MAX, 0};
    const uint64_t header[3] = {letters(how & 1 ? REPLY : REQUEST), how & 2 ? value : 1,
                                times[how >> 2 & 3]};

    for (size_t i = 0; i < 3; i++) {
        set64(&peer, CONTROL_SIZE + ((written + 8 + 8 * i) & (RING_SIZE - 1)), header[i]);
    }
    written = publish(&peer, written, OVERHEAD + value % 300);
}

static void reserve(size_t len)
{
    uint8_t *payload = ipc_channel_reserve(ch, len, 0);

    if (payload == NULL) {
        expect_sent(-1, 0);
        return;
    }
    expect(reserved == 0, "reserved twice");
    reserved = len;
    memset(payload, 9, len);
}

static void commit(size_t len)
{
    int result = ipc_channel_commit(ch, len);

    expect(result == -1 || (len > 0 && len <= reserved), "more than was reserved");
    expect_sent(result, len);
    if (len > 0 && len <= reserved) {
        reserved = 0;
    }
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
        return valid + RING_SIZE - 256 + value;
    default:
        return value << (how >> 2 & 63);
    }
}

/* Wakes the victim, consumes its wake-ups, or changes the file description that both share. */
static void use_pipes(unsigned how, size_t value)
{
    char bytes[256] = {0};

    switch (how % 4) {
    case 0:
        (void)!write(peer.waker, bytes, value % sizeof(bytes));
        break;
    case 1:
        fcntl(peer.read_end, F_SETFL, O_NONBLOCK);
        (void)!read(peer.read_end, bytes, sizeof(bytes));
        fcntl(peer.read_end, F_SETFL, value & 1 ? O_NONBLOCK : 0);
        break;
    case 2:
        (void)!read(peer.bell, bytes, sizeof(bytes));
        break;
    default:
        fcntl(value & 1 ? peer.bell : peer.read_end, F_SETPIPE_SZ, 4096);
        break;
    }
}

static void step(const uint8_t *data)
{
    static const size_t words[] = {TAIL_UNFENCED, HEAD_UNFENCED, RECEIVER, SENDER, PROCESSOR};
    size_t value = data[2] | data[3] << 8;

    switch (data[0] % 31) {
    case 0:
    case 1: /* a message, which overwrites others if the ring is full */
        written = publish(&peer, written, data[1] & 1 ? value & 0xfff : value);
        break;
    case 2: /* a wrong length, or a length where none is expected */
        set32(&peer, place(data[1] & 2 ? written : reader.head),
              data[1] & 1 ? value : value * 0x10001 + data[1]);
        break;
    case 3:
        set64(&peer, TAIL, near(reader.head, data[1], value));
        break;
    case 4:
        set64(&peer, HEAD, near(tail, data[1], value));
        break;
    case 5:
        set64(&peer, HEAD, tail);
        break;
    case 6:
        set32(&peer, words[data[1] % 5], value * 0x10001);
        break;
    case 7:
        set32(&peer, words[data[1] % 5], UINT32_MAX - value % 4);
        break;
    case 8:
        ended |= 1 << (data[1] & 1);
        set32(&peer, data[1] & 1 ? RECEIVING_ENDED : SENDING_ENDED, 1 + value);
        break;
    case 9:
        memset(peer.own + CONTROL_SIZE + value / 2, data[1], 256);
        break;
    case 10:
        use_pipes(data[1], value);
        break;
    case 11:
        reserved = ipc_channel_cancel(ch) == 0 ? 0 : reserved;
        break;
    case 12:
    case 13:
        receive(1 + value, 0);
        break;
    case 14:
        peek();
        break;
    case 15:
        release();
        break;
    case 16:
        send_some(value);
        break;
    case 17:
        reserve(value);
        break;
    case 18:
        commit(value);
        break;
    case 20:
        receive_many(1 + data[1] % BATCH_MAX, 1 + value);
        break;
    case 21:
        send_many(1 + data[1] % BATCH_MAX, value);
        break;
    case 19:
        if (data[1] % 16 == 0) {
            shut |= data[2] & 1 ? 2 : 1;
            expect(ipc_channel_shutdown(ch, data[2] & 1 ? SHUT_WR : SHUT_RD) == 0, "shutdown");
        }
        break;
    case 22:
    case 23: { /* a message with descriptors, which were sent or not */
        uint32_t len = 1 + (data[1] & 8 ? value : value & 0xff);

        if (len <= MARKED_LONGEST) {
            written = publish_marked(&peer, written, len, data[1] & 7);
        }
        break;
    }
    case 24:
        send_over_socket(data[1], value);
        break;
    case 25:
        receive(1 + value, 1 + data[1] % 4);
        break;
    case 27:
        send_call(data[1], value);
        break;
    case 28:
        next_call(1 + value);
        break;
    case 29:
        call_without_waiting();
        break;
    case 30:
        reply(data[1], value);
        break;
    default:
        send_descriptors(value, data[1] & 3, data[1] & 4);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipc_channel_opts opts = {
        .flags = IPC_CHANNEL_F_NO_SPIN, .send_size = RING_SIZE, .recv_size_max = RING_SIZE};
    struct descriptors before = open_descriptors();
    int ends[2];

    with_fds = (size & 6) == 6;
    opts.flags |= size & 2 ? IPC_CHANNEL_F_FDS : 0;
    queue_first = queue_len = 0;

    expect(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    peer_make(&peer);
    peer.sock = ends[0];
    expect(peer_say(&peer, ends[0], (size & 1) | (size & 4 ? HELLO_FDS : 0)), "sendmsg");
    expect(ipc_channel_from_fd(ends[1], &opts, sizeof(opts), 0, &ch) == 0, "from_fd");
    expect(peer_hear(&peer, ends[0]), "the victim's hello");
    fcntl(peer.bell, F_SETFL, O_NONBLOCK);
    reader = (struct reader){0};
    written = tail = reserved = 0;
    ended = shut = 0;
    for (; size >= 4; size -= 4, data += 4) {
        step(data);
    }
    ipc_channel_close(ch);
    peer_close(&peer);
    close(ends[1]);
    expect_same_descriptors(&before);
    return 0;
}
