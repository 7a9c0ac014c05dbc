/* nng: pair0 over ipc, copied and with the library's own messages. */
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
    snprintf(address, sizeof(address), "ipc://%s/nng", subject_folder());
}

/* Queues of the depth that ZeroMQ has by default, and no limit of the length, which is 1 MiB by
 * default. */
static nng_socket pair_new(void)
{
    nng_socket made;

    nng_must(nng_pair0_open(&made), "nng_pair0_open");
    nng_must(nng_socket_set_int(made, NNG_OPT_SENDBUF, 1000), "NNG_OPT_SENDBUF");
    nng_must(nng_socket_set_int(made, NNG_OPT_RECVBUF, 1000), "NNG_OPT_RECVBUF");
    nng_must(nng_socket_set_size(made, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
    return made;
}

/* After the fork and the pinning: the library's threads are where their process is. */
static void pair_open(void)
{
    pair = pair_new();
    if (subject_side == 0)
        nng_must(nng_listen(pair, address, NULL, 0), "nng_listen");
    subject_meet();
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
        errx(1, "a message of another length");
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
        errx(1, "a message of another length");
    subject_check(nng_msg_body(message), len, n);
    nng_msg_free(message);
}

SUBJECT_LOOP(in_place)

static void setup(void)
{
    static uint64_t made;
    nng_socket first = pair_new(), second = pair_new();

    nng_must(nng_listen(first, address, NULL, 0), "nng_listen");
    nng_must(nng_dial(second, address, NULL, 0), "nng_dial");
    pair = second;
    copied_put(subject.len, made);
    pair = first;
    copied_get(subject.len, made++);
    nng_close(second);
    nng_close(first);
}

SUBJECT_WORK(setup)

static const struct subject_way copied = {address_prepare, pair_open, copied_loop, pair_close};
static const struct subject_way in_place = {address_prepare, pair_open, in_place_loop, pair_close};
static const struct subject_work setting_up = {address_prepare, setup_work, NULL};

static const struct subject_row rows[] = {
    {"pair", "latency-block", "nng pair0", "isolated", 0, &copied, NULL},
    {"pair", "rate", "nng pair0", "isolated", 0, &copied, NULL},
    {"pair", "setup", "nng pair0", "isolated", 0, NULL, &setting_up},
    {"pair-msg", "latency-block", "nng pair0, nng_msg", "isolated", 0, &in_place, NULL},
    {"pair-msg", "rate", "nng pair0, nng_msg", "isolated", 0, &in_place, NULL},
    {0},
};

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {rows, NULL};
    char version[64];

    snprintf(version, sizeof(version), "nng %s", nng_version());
    return subject_main(argc, argv, version, tables);
}
