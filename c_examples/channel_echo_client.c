/*
 * channel_echo_client: sends messages to channel_echo_server, checks that each reply equals the
 * message, and prints the rate.
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unixipc.h>

#include "util.h"

#define MAX_SIZE 65536

/* Fills a message with bytes that depend on its number. */
static void fill(unsigned char *message, size_t len, uint64_t number)
{
    memset(message, (int)(number * 167 + 13) & 0xff, len);
    memcpy(message, &number, sizeof(number));
}

static void send_and_check(struct ipc_channel *ch, uint64_t count, size_t len, uint64_t window)
{
    unsigned char sent[MAX_SIZE], received[MAX_SIZE], expected[MAX_SIZE];
    uint64_t nsent = 0, nreceived = 0;

    while (nreceived < count) {
        /* Never wait for free space in the ring: the server may be waiting until this client
         * receives. Receive instead, and send the rest later. */
        while (nsent < count && nsent - nreceived < window) {
            fill(sent, len, nsent);
            if (ipc_channel_send(ch, sent, len, 0) == 0) {
                nsent++;
            } else if (errno == EPIPE) {
                errx(1, "the server has ended");
            } else if (errno == EAGAIN) {
                break;
            } else {
                err(1, "ipc_channel_send");
            }
        }
        ssize_t n = ipc_channel_recv(ch, received, sizeof(received), -1);
        if (n < 0)
            err(1, "ipc_channel_recv");
        if (n == 0)
            errx(1, "the server has ended");
        fill(expected, len, nreceived);
        if ((size_t)n != len || memcmp(received, expected, len) != 0)
            errx(1, "the reply to message %llu differs from it", (unsigned long long)nreceived);
        nreceived++;
    }
}

static const char usage[] =
    "usage: channel_echo_client [--count N] [--size BYTES] [--window N] PATH\n"
    "Sends N messages (default 100000) of 8 to 65536 bytes (default 64) to the server at PATH,\n"
    "and checks the replies. At most --window messages (default 64) are sent before their\n"
    "replies have arrived.\n";

int main(int argc, char **argv)
{
    long count = 100000, size = 64, window = 64;
    const struct command_option options[] = {
        {'n', "count", .number = &count, .min = 1, .max = 1000000000000},
        {'s', "size", .number = &size, .min = sizeof(uint64_t), .max = MAX_SIZE},
        {'w', "window", .number = &window, .min = 1, .max = 1000000000},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 1,
        .max_args = 1,
        .options = options,
    };
    const char *path = argv[parse_command_line(&line, argc, argv)];

    struct ipc_channel *ch;
    if (ipc_channel_connect(path, NULL, 0, 10000, &ch) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            errx(1, "no process listens at %s: start channel_echo_server first", path);
        err(1, "%s", path);
    }
    double begin = seconds_now();
    send_and_check(ch, (uint64_t)count, (size_t)size, (uint64_t)window);
    double seconds = seconds_now() - begin;
    ipc_channel_close(ch);
    printf("%ld messages of %ld bytes and their replies: %.0f per second\n", count, size,
           (double)count / seconds);
    flush_output();
    return 0;
}
