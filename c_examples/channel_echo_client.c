/*
 * channel_echo_client: sends messages to channel_echo_server, checks that each comes back as it
 * was sent, and prints the rate.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unixipc.h>

#define MAX_SIZE (64 * 1024)

/* Each byte of a message tells which one it is. */
static void fill(unsigned char *message, size_t len, uint64_t number)
{
    memset(message, (int)(number * 167 + 13) & 0xff, len);
    memcpy(message, &number, sizeof(number));
}

static void talk(struct ipc_channel *ch, uint64_t count, size_t len, uint64_t window)
{
    unsigned char sent[MAX_SIZE], received[MAX_SIZE], wanted[MAX_SIZE];
    uint64_t nsent = 0, nreceived = 0;

    while (nreceived < count) {
        /* Where there is no room, receiving makes some: to wait for it would be to wait for
         * the server, which may wait for us. */
        while (nsent < count && nsent - nreceived < window) {
            fill(sent, len, nsent);
            if (ipc_channel_send(ch, sent, len, 0) == 0) {
                nsent++;
            } else if (errno == EPIPE) {
                errx(1, "the server is gone");
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
            errx(1, "the server is gone");
        fill(wanted, len, nreceived);
        if ((size_t)n != len || memcmp(received, wanted, len) != 0)
            errx(1, "message %llu came back as another one", (unsigned long long)nreceived);
        nreceived++;
    }
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: channel_echo_client [--count N] [--size BYTES] [--window N] PATH\n"
            "Sends N messages (default 100000) of 8 to %d bytes (default 64) to the server at\n"
            "PATH and checks what comes back. At most --window of them (default 64) are on\n"
            "their way at a time.\n",
            MAX_SIZE);
}

static uint64_t number(const char *what, const char *text, long long least, long long most)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno || n < least || n > most)
        errx(2, "%s takes a number from %lld to %lld", what, least, most);
    return (uint64_t)n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 's'},
        {"window", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    uint64_t count = 100000, size = 64, window = 64;

    for (int c; (c = getopt_long(argc, argv, "n:s:w:h", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            count = number("--count", optarg, 1, 1000000000000);
            break;
        case 's':
            size = number("--size", optarg, sizeof(uint64_t), MAX_SIZE);
            break;
        case 'w':
            window = number("--window", optarg, 1, 1000000000);
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind != 1) {
        usage(stderr);
        return 2;
    }
    const char *path = argv[optind];

    struct ipc_channel *ch;
    if (ipc_channel_connect(path, NULL, 0, 10000, &ch) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            errx(1, "nobody listens at %s: start channel_echo_server first", path);
        err(1, "%s", path);
    }
    double begin = seconds_now();
    talk(ch, count, size, window);
    double seconds = seconds_now() - begin;
    ipc_channel_close(ch);
    printf("%llu messages of %llu bytes there and back: %.0f a second\n",
           (unsigned long long)count, (unsigned long long)size, (double)count / seconds);
    if (fflush(stdout) != 0)
        err(1, "standard output");
    return 0;
}
