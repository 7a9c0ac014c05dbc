/* zeromq: PAIR sockets over ipc, with copied payloads and with the library's own messages, and
 * publish-subscribe over ipc. */
#include "subject.h"

#include <limits.h>
#include <zmq.h>

static void *context, *zmq;
static char address[PATH_MAX];

static void zmq_must(int result, const char *what)
{
    if (result < 0)
        errx(1, "%s: %s", what, zmq_strerror(zmq_errno()));
}

static void address_prepare(void)
{
    snprintf(address, sizeof(address), "ipc://%s/zeromq", subject_directory());
}

/* The high-water mark is the default of 1000 messages, at which the socket blocks its sender. */
static void *socket_new(int type)
{
    int linger = 0;
    void *socket = zmq_socket(context, type);

    if (socket == NULL)
        errx(1, "zmq_socket: %s", zmq_strerror(zmq_errno()));
    zmq_must(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)), "zmq_setsockopt");
    return socket;
}

static void context_open(void)
{
    context = zmq_ctx_new();
    if (context == NULL)
        errx(1, "zmq_ctx_new: %s", zmq_strerror(zmq_errno()));
}

/* After the fork and the pinning, so that the library's thread runs on the processor of its
 * process. */
static void pair_open(void)
{
    context_open();
    zmq = socket_new(ZMQ_PAIR);
    if (subject_side == 0)
        zmq_must(zmq_bind(zmq, address), "zmq_bind");
    subject_barrier();
    if (subject_side != 0)
        zmq_must(zmq_connect(zmq, address), "zmq_connect");
}

static void pair_close(void)
{
    zmq_close(zmq);
    zmq_ctx_term(context);
}

SUBJECT_INLINE void copied_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    zmq_must(zmq_send(zmq, subject_out, len, 0), "zmq_send");
}

SUBJECT_INLINE void copied_get(size_t len, uint64_t n)
{
    int got = zmq_recv(zmq, subject_in, len, 0);

    zmq_must(got, "zmq_recv");
    if ((size_t)got != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(copied)

SUBJECT_INLINE void in_place_put(size_t len, uint64_t n)
{
    zmq_msg_t message;

    zmq_must(zmq_msg_init_size(&message, len), "zmq_msg_init_size");
    subject_fill(zmq_msg_data(&message), len, n);
    zmq_must(zmq_msg_send(&message, zmq, 0), "zmq_msg_send");
}

SUBJECT_INLINE void in_place_get(size_t len, uint64_t n)
{
    zmq_msg_t message;

    zmq_msg_init(&message);
    zmq_must(zmq_msg_recv(&message, zmq, 0), "zmq_msg_recv");
    if (zmq_msg_size(&message) != len)
        errx(1, "wrong message length");
    subject_check(zmq_msg_data(&message), len, n);
    zmq_msg_close(&message);
}

SUBJECT_LOOP(in_place)

/* --- publish-subscribe --- */

/* An XPUB socket receives the subscriptions, so the publisher knows when all subscribers are there.
 * With ZMQ_XPUB_NODROP, it blocks at the high-water mark of a subscriber instead of dropping
 * messages. */
static void publish_open(void)
{
    int on = 1;
    char subscription;

    context_open();
    zmq = socket_new(subject_side == 0 ? ZMQ_XPUB : ZMQ_SUB);
    if (subject_side == 0) {
        zmq_must(zmq_setsockopt(zmq, ZMQ_XPUB_NODROP, &on, sizeof(on)), "ZMQ_XPUB_NODROP");
        zmq_must(zmq_setsockopt(zmq, ZMQ_XPUB_VERBOSE, &on, sizeof(on)), "ZMQ_XPUB_VERBOSE");
        zmq_must(zmq_bind(zmq, address), "zmq_bind");
    }
    subject_barrier();
    if (subject_side != 0) {
        zmq_must(zmq_setsockopt(zmq, ZMQ_SUBSCRIBE, "", 0), "ZMQ_SUBSCRIBE");
        zmq_must(zmq_connect(zmq, address), "zmq_connect");
        return;
    }
    for (long i = 0; i < subject.n; i++)
        zmq_must(zmq_recv(zmq, &subscription, sizeof(subscription), 0), "zmq_recv");
}

/* The context and its thread are created once, because a program has one context. */
static void pair_setup(void)
{
    static uint64_t number;

    if (context == NULL)
        context_open();
    void *first = socket_new(ZMQ_PAIR), *second = socket_new(ZMQ_PAIR);
    zmq_must(zmq_bind(first, address), "zmq_bind");
    zmq_must(zmq_connect(second, address), "zmq_connect");
    zmq = second;
    copied_put(subject.len, number);
    zmq = first;
    copied_get(subject.len, number++);
    /* zmq_close would leave it to the library's thread to free the address later. */
    zmq_must(zmq_unbind(first, address), "zmq_unbind");
    zmq_close(second);
    zmq_close(first);
}

SUBJECT_SETUP_OPERATION(pair, address_prepare)

static const struct subject_transport copied = {address_prepare, pair_open, copied_loop,
                                                pair_close};
static const struct subject_transport in_place = {address_prepare, pair_open, in_place_loop,
                                                  pair_close};

static const struct subject_transport publishing = {address_prepare, publish_open, copied_loop,
                                                    pair_close};
static const struct subject_transport in_place_publishing = {address_prepare, publish_open,
                                                             in_place_loop, pair_close};

static const struct subject_row rows[] = {
    SUBJECT_TRANSPORT("pair", "ZeroMQ PAIR", "isolated", NULL, copied),
    SUBJECT_SETUP("pair", "ZeroMQ PAIR", "isolated", NULL, pair),
    {"pub", "broadcast", "ZeroMQ PUB-SUB", "isolated", NULL, &publishing, NULL},
    {"pub-msg", "broadcast", "ZeroMQ PUB-SUB, zmq_msg", "isolated", NULL, &in_place_publishing,
     NULL},
    SUBJECT_TRANSPORT("pair-msg", "ZeroMQ PAIR, zmq_msg", "isolated", NULL, in_place),
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};
    int major, minor, patch;
    char version[64];

    zmq_version(&major, &minor, &patch);
    snprintf(version, sizeof(version), "ZeroMQ %d.%d.%d", major, minor, patch);
    return subject_main(argc, argv, version, tables);
}
