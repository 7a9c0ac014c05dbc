/* Medians, percentiles, and the output of a run. */
#include "engine.h"

struct subject_histogram subject_histogram = {.lowest = UINT64_MAX};

static int by_rate(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    double left = (double)x->messages * (double)y->ns, right = (double)y->messages * (double)x->ns;

    return (left > right) - (left < right);
}

struct result median_block(struct result *blocks, size_t count)
{
    qsort(blocks, count, sizeof(*blocks), by_rate);
    return blocks[count / 2];
}

/* The lower bound of a bucket, in nanoseconds of a round trip. */
static uint64_t bound(size_t at)
{
    size_t octave = at >> SUBJECT_BUCKET_BITS;

    if (octave < 2)
        return at;
    return (uint64_t)(at - ((octave - 1) << SUBJECT_BUCKET_BITS)) << (octave - 1);
}

static double percentile(double share)
{
    double wanted = share * (double)subject_histogram.total;
    uint64_t seen = 0;

    for (size_t at = 0; at < sizeof(subject_histogram.counts) / sizeof(uint64_t); at++) {
        seen += subject_histogram.counts[at];
        if ((double)seen >= wanted && seen > 0)
            return (double)(bound(at) + bound(at + 1)) / 2;
    }
    return (double)subject_histogram.highest;
}

/* Prints times of half round trips. A line of the histogram combines 8 buckets, so that an octave
 * has 16 lines. */
static void print_latency(void)
{
    const struct subject_histogram *all = &subject_histogram;

    printf("p50_ns %.1f\np99_ns %.1f\np999_ns %.1f\n", percentile(0.5) / 2, percentile(0.99) / 2,
           percentile(0.999) / 2);
    printf("min_ns %.1f\nmax_ns %.1f\n", (double)all->lowest / 2, (double)all->highest / 2);
    for (size_t at = 0; at < sizeof(all->counts) / sizeof(uint64_t); at += 8) {
        uint64_t count = 0;
        for (size_t i = 0; i < 8; i++)
            count += all->counts[at + i];
        if (count > 0)
            printf("hist %.1f %llu\n", (double)bound(at) / 2, (unsigned long long)count);
    }
}

static void print(const char *key, uint64_t value)
{
    printf("%s %llu\n", key, (unsigned long long)value);
}

void measure_row(const struct subject_row *row)
{
    const char *test = row->test;
    bool broadcast = strcmp(test, "broadcast") == 0, idle = strcmp(test, "idle") == 0;
    bool ping_pong = !broadcast && strcmp(test, "rate") != 0;
    bool timed = row->transport != NULL && ping_pong && !idle;
    struct result result;

    if (row->transport != NULL) {
        result = measure_transport(row->transport, ping_pong, timed, broadcast ? subject.n : 1);
        /* In this test, a message and its answer are one operation. */
        if (idle)
            result.messages /= 2;
    } else {
        bool all_cpus = strcmp(test, "readers") == 0;
        long workers = all_cpus ? subject.n : strcmp(test, "lock-contended") == 0 ? 2 : 1;
        result =
            measure_operation(row->operation, workers, strcmp(test, "read-written") == 0, all_cpus);
    }
    if (result.messages == 0 || result.ns == 0)
        errx(1, "no operation finished in time");
    bool is_transfer = (row->transport != NULL && !idle) || strcmp(test, "rate") == 0 ||
                       strcmp(test, "setup") == 0;
    print(is_transfer ? "messages" : "operations", result.messages);
    print("ns", result.ns);
    print("cpu_ns", result.cpu_ns);
    if (strncmp(test, "read", 4) == 0)
        print("failed", result.failed);
    if (strcmp(test, "read-written") == 0)
        print("written", result.written);
    if (timed)
        print_latency();
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
}
