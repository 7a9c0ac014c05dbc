/*
 * channel: messages between two processes, compared with a minimal ring that spins (../ring.h), a
 * stream socket pair and FIFOs, which are used by plain system calls.
 *
 * All transports of a row run in alternating blocks of some milliseconds. A figure is the median of
 * the blocks, and a ratio is that of the medians. The output shows after each ratio its target, and
 * the lowest and highest ratio of the rounds. QUICK=1 in the environment reduces the number and the
 * length of the blocks. channel.h describes the other files.
 */
#include "channel.h"

static void print_sleeps(const char *name, const struct result *result, int transport)
{
    printf("  %-38s %8.4f sleeps, %.4f wake-ups per message\n", name, result->sleeps[transport],
           result->wakes[transport]);
}

static void latency(void)
{
    static const struct row polling = {PING_PONG, false, 8, 256 * KIB, {&ring, &channel_spinning}};
    static const struct row blocking[2] = {
        {PING_PONG, true, 8, 256 * KIB, {&stream, &fifo, &channel, &channel_sleeping}},
        {PING_PONG, false, 8, 256 * KIB, {&stream, &fifo, &channel, &channel_sleeping}},
    };

    struct result result = measure(&polling);
    printf("\nhalf a round trip of 8 bytes, polling, two cores: ring %.0f ns, channel %.0f ns\n",
           result.ns[0] / 2, result.ns[1] / 2);
    print_ratio("channel / ring", &result, 1, 0, false, "<= 1.1");
    print_sleeps("channel", &result, 1);

    for (int i = 0; i < 2; i++) {
        result = measure(&blocking[i]);
        printf("\nhalf a round trip of 8 bytes, blocking, %s: stream %.2f us, FIFOs %.2f us,\n"
               "channel %.2f us, channel that never spins %.2f us\n",
               i == 0 ? "one core" : "two cores", result.ns[0] / 2e3, result.ns[1] / 2e3,
               result.ns[2] / 2e3, result.ns[3] / 2e3);
        const char *target = i == 0 ? "<= 0.8" : "<= 1.1";
        print_ratio("channel / stream", &result, 2, 0, false, target);
        print_ratio("channel that never spins / stream", &result, 3, 0, false, target);
        print_ratio("channel / FIFOs", &result, 2, 1, false, "");
        print_sleeps("channel", &result, 2);
        print_sleeps("channel that never spins", &result, 3);
    }
}

static void requests(void)
{
    static const struct row rows[] = {
        {PING_PONG,
         false,
         8,
         256 * KIB,
         {&channel_spinning, &calls_spinning, &timed_calls_spinning}},
        {PING_PONG, true, 8, 256 * KIB, {&channel, &calls, &timed_calls}},
    };

    for (int i = 0; i < 2; i++) {
        struct result result = measure(&rows[i]);
        printf("\nround trip of 8 bytes, %s: send and recv %.0f ns, call %.0f ns, with a time-out "
               "%.0f ns\n",
               i == 0 ? "polling, two cores" : "blocking, one core", result.ns[0], result.ns[1],
               result.ns[2]);
        print_ratio("call / send and recv", &result, 1, 0, false, "<= 1.2");
        print_ratio("call with a time-out / send and recv", &result, 2, 0, false, "");
    }
}

static void throughput(void)
{
    static const struct {
        size_t len, ring_size;
        const char *name, *ring_target, *stream_target;
    } sizes[] = {
        {8, 256 * KIB, "8 B", ">= 1.0", ">= 20"},    {64, 256 * KIB, "64 B", ">= 0.9", ">= 20"},
        {1 * KIB, 256 * KIB, "1 KiB", ">= 0.9", ""}, {2 * KIB, 256 * KIB, "2 KiB", ">= 0.9", ""},
        {3000, 256 * KIB, "3000 B", ">= 0.9", ""},   {4 * KIB, 256 * KIB, "4 KiB", ">= 0.9", ""},
        {8 * KIB, 256 * KIB, "8 KiB", ">= 0.9", ""}, {16 * KIB, 256 * KIB, "16 KiB", ">= 0.9", ""},
        {64 * KIB, 1 * MIB, "64 KiB", ">= 0.9", ""}, {1 * MIB, 8 * MIB, "1 MiB", ">= 0.9", ""},
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct row row = {ONE_WAY,
                          false,
                          sizes[i].len,
                          sizes[i].ring_size,
                          {&ring, &channel, &stream, sizes[i].len < MIB ? &fifo : &in_place,
                           sizes[i].len <= 64 ? &batches : NULL}};
        struct result result = measure(&row);
        const double *ns = result.ns;
        printf("\none way, %s, rings of %zu KiB, messages/s: ring %.0f k, channel %.0f k, "
               "stream %.0f k,\n%s %.0f k (channel %.2f GB/s)\n",
               sizes[i].name, sizes[i].ring_size / KIB, 1e6 / ns[0], 1e6 / ns[1], 1e6 / ns[2],
               sizes[i].len < MIB ? "FIFO" : "channel in place", 1e6 / ns[3],
               (double)sizes[i].len / ns[1]);
        print_ratio("channel / ring", &result, 1, 0, true, sizes[i].ring_target);
        print_ratio("channel / stream", &result, 1, 2, true, sizes[i].stream_target);
        if (sizes[i].len == MIB)
            print_ratio("channel in place / by copy", &result, 3, 1, true, ">= 1.5");
        if (sizes[i].len <= 64) {
            bool is_word = sizes[i].len == 8;
            printf("channel, 16 at a time: %.0f k\n", 1e6 / ns[4]);
            print_ratio("16 at a time / ring", &result, 4, 0, true, is_word ? ">= 1.5" : "");
            print_ratio("16 at a time / one by one", &result, 4, 1, true,
                        is_word ? ">= 3" : ">= 2");
        }
        print_sleeps("channel", &result, 1);
        print_machine(&result);
    }
}

int main(int argc, char **argv)
{
    static const struct table tables[] = {
        {"latency", latency},    {"requests", requests}, {"throughput", throughput},
        {"many", many_channels}, {"costs", costs},       {0},
    };

    if (getenv("QUICK") != NULL) {
        blocks = 3;
        block_ns = 1e6;
    }
    measure_init();
    printf("unixipc %s; medians of %d alternating blocks (ratio, target, range of the rounds)\n",
           ipc_version(), rounds * blocks);
    run_tables(tables, argc, argv);
    return 0;
}
