/*
 * feed: messages from one publisher to many subscribers, compared with channels.
 *
 * All figures are medians of nine repetitions, which measure everything in turn. The output shows
 * after each figure its target, and the lowest and highest one of the repetitions. QUICK=1 in the
 * environment makes the repetitions shorter. channel.h describes the other files.
 */
#include "channel.h"

/* A feed with one subscriber. */
static void one_subscriber(void)
{
    static const struct {
        size_t len, ring_size;
        const char *name;
    } sizes[] = {
        {8, 256 * KIB, "8 B"},
        {64, 256 * KIB, "64 B"},
        {4 * KIB, 256 * KIB, "4 KiB"},
        {64 * KIB, 1 * MIB, "64 KiB"},
    };
    static const struct row polling = {
        PING_PONG, false, 8, 256 * KIB, {&channel_spinning, &feed_spinning}};
    static const struct row blocking = {PING_PONG, true, 8, 256 * KIB, {&channel, &feed}};

    printf("\none subscriber, in another process\n");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct row row = {ONE_WAY, false, sizes[i].len, sizes[i].ring_size, {&channel, &feed}};
        struct result result = measure(&row);
        printf("one way, %s, rings of %zu KiB, messages/s: channel %.0f k, feed %.0f k\n",
               sizes[i].name, sizes[i].ring_size / KIB, 1e6 / result.ns[0], 1e6 / result.ns[1]);
        print_ratio("feed / channel", &result, 1, 0, true, ">= 0.9");
        print_machine(&result);
    }
    struct result result = measure(&polling);
    printf("half a round trip of 8 bytes, polling, two cores: channels %.0f ns, feeds %.0f ns\n",
           result.ns[0] / 2, result.ns[1] / 2);
    print_ratio("feeds / channels", &result, 1, 0, false, "<= 1.15");
    result = measure(&blocking);
    printf("half a round trip of 8 bytes, blocking, one core: channels %.2f us, feeds %.2f us\n",
           result.ns[0] / 2e3, result.ns[1] / 2e3);
    print_ratio("feeds / channels", &result, 1, 0, false, "");
}

int main(int argc, char **argv)
{
    static const struct table tables[] = {
        {"publisher", publisher_costs},
        {"one", one_subscriber},
        {"lossy", lossy_readers},
        {0},
    };

    rounds = ROUNDS_MAX;
    if (getenv("QUICK") != NULL) {
        blocks = 1;
        block_ns = 1e6;
    }
    measure_init();
    printf("unixipc %s; medians of %d interleaved repetitions (figure, target, range of the "
           "repetitions)\n",
           ipc_version(), rounds);
    run_tables(tables, argc, argv);
    return 0;
}
