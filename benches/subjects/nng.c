/* nng: pair0 sockets over ipc, with copied payloads and with the library's own messages. */
#include "subject.h"

#include <limits.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

static nng_socket pair;
static char address[PATH_MAX];

static void nng_must(int result, const char *what)
{
    if (result != 0)
        errx(1, "%s: %s", what, nng_strerror(result));
}

static void address_prepare(void)
{
    snprintf(address, sizeof(address), "ipc://%s/nng", subject_directory());
}

/* The queues have the default depth of ZeroMQ. The length of a message is unlimited; the default
 * limit is 1 MiB. */
static nng_socket pair_new(void)
{
    nng_socket socket;

    nng_must(nng_pair0_open(&socket), "nng_pair0_open");
    nng_must(nng_socket_set_int(socket, NNG_OPT_SENDBUF, 1000), "NNG_OPT_SENDBUF");
    nng_must(nng_socket_set_int(socket, NNG_OPT_RECVBUF, 1000), "NNG_OPT_RECVBUF");
    nng_must(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
    return socket;
}

/* After the fork and the pinning, so that the library's threads run on the processor of their
 * process. */
static void pair_open(void)
{
    pair = pair_new();
    if (subject_side == 0)
        nng_must(nng_listen(pair, address, NULL, 0), "nng_listen");
    subject_barrier();
    if (subject_side != 0)
        nng_must(nng_dial(pair, address, NULL, 0), "nng_dial");
}

static void pair_close(void)
{
    nng_close(pair);
}

SUBJECT_INLINE void copied_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    nng_must(nng_send(pair, subject_out, len, 0), "nng_send");
}

SUBJECT_INLINE void copied_get(size_t len, uint64_t n)
{
    size_t got = len;

    nng_must(nng_recv(pair, subject_in, &got, 0), "nng_recv");
    if (got != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(copied)

SUBJECT_INLINE void in_place_put(size_t len, uint64_t n)
{
    nng_msg *message;

    nng_must(nng_msg_alloc(&message, len), "nng_msg_alloc");
    subject_fill(nng_msg_body(message), len, n);
    nng_must(nng_sendmsg(pair, message, 0), "nng_sendmsg");
}

SUBJECT_INLINE void in_place_get(size_t len, uint64_t n)
{
    nng_msg *message;

    nng_must(nng_recvmsg(pair, &message, 0), "nng_recvmsg");
    if (nng_msg_len(message) != len)
        errx(1, "wrong message length");
    subject_check(nng_msg_body(message), len, n);
    nng_msg_free(message);
}

SUBJECT_LOOP(in_place)

static void pair_setup(void)
{
    static uint64_t number;
    nng_socket first = pair_new(), second = pair_new();

    nng_must(nng_listen(first, address, NULL, 0), "nng_listen");
    nng_must(nng_dial(second, address, NULL, 0), "nng_dial");
    pair = second;
    copied_put(subject.len, number);
    pair = first;
    copied_get(subject.len, number++);
    nng_close(second);
    nng_close(first);
}

SUBJECT_SETUP_OPERATION(pair, address_prepare)

static const struct subject_transport copied = {address_prepare, pair_open, copied_loop,
                                                pair_close};
static const struct subject_transport in_place = {address_prepare, pair_open, in_place_loop,
                                                  pair_close};

static const struct subject_row rows[] = {
    SUBJECT_TRANSPORT("pair", "nng pair0", "isolated", NULL, copied),
    SUBJECT_SETUP("pair", "nng pair0", "isolated", NULL, pair),
    SUBJECT_TRANSPORT("pair-msg", "nng pair0, nng_msg", "isolated", NULL, in_place),
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};
    char version[64];

    snprintf(version, sizeof(version), "nng %s", nng_version());
    return subject_main(argc, argv, version, tables);
}
