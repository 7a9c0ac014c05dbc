/* quotes publish PATH COUNT: publishes numbered quotes, one each 5 ms, at a feed.
 * quotes read PATH COUNT: receives them, and connects again when the feed ends, until the last one.
 *
 * The two programs know nothing of a bridge, which is between them in scripts/demo-bridge. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unixipc.h>

struct quote {
    uint64_t number;
    double price;
};

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int publish(const char *path, uint64_t count)
{
    struct ipc_feed *feed;
    struct quote quote = {0, 100.0};

    if (ipc_feed_create(NULL, 0, &feed) < 0 || ipc_feed_listen(feed, path, 0600, 0) < 0) {
        return fail("quotes publish");
    }
    while (ipc_feed_subscribers(feed, NULL, 0, 0) == 0) { /* the bridge comes first */
        const struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
        ipc_feed_service(feed);
    }
    for (; quote.number < count; quote.number++) {
        const struct timespec pause = {0, 5000000};

        if (ipc_feed_publish(feed, &quote, sizeof(quote), -1) < 0) {
            return fail("ipc_feed_publish");
        }
        quote.price += (double)(quote.number * 7919 % 21) / 10 - 1;
        nanosleep(&pause, NULL);
    }
    printf("published: %" PRIu64 " quotes\n", count);
    ipc_feed_close(feed);
    return 0;
}

static int read_quotes(const char *path, uint64_t count)
{
    uint64_t next = 0, feeds = 0;

    while (next < count) {
        const struct ipc_sub_opts opts = {.flags = IPC_SUB_F_WAIT | IPC_SUB_F_OLDEST};
        struct ipc_sub *sub;
        struct quote quote;
        ssize_t len;

        if (ipc_sub_connect(path, &opts, sizeof(opts), 30000, &sub) < 0) {
            return fail("ipc_sub_connect");
        }
        feeds++;
        do {
            len = ipc_sub_recv(sub, &quote, sizeof(quote), NULL, 30000);
            if (len < 0) {
                return fail("ipc_sub_recv");
            }
            if (len > 0 && quote.number != next) {
                fprintf(stderr, "quotes: number %" PRIu64 " in place of %" PRIu64 "\n",
                        quote.number, next);
                return 1;
            }
            if (len > 0 && next++ % 200 == 0) {
                printf("received: quote %" PRIu64 ", %.1f\n", quote.number, quote.price);
                fflush(stdout);
            }
        } while (len > 0 && next < count);
        ipc_sub_close(sub); /* the feed has ended: its bridge was killed */
    }
    printf("received: %" PRIu64 " quotes from %" PRIu64 " feeds, none missing, none twice\n", next,
           feeds);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "publish") == 0) {
        return publish(argv[2], strtoull(argv[3], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "read") == 0) {
        return read_quotes(argv[2], strtoull(argv[3], NULL, 10));
    }
    fprintf(stderr, "usage: quotes publish|read PATH COUNT\n");
    return 2;
}
