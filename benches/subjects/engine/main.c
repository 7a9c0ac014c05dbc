/* The arguments of a subject, and the list of its rows. */
#include "engine.h"

#include <sys/resource.h>

#define GRACE 20 /* seconds that a run may take in addition to the requested time */

struct subject_options subject = {.len = 8, .ms = 100, .n = 1};
cpu_set_t allowed_cpus;

static long number(const char *key, const char *text, long least, long most)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most)
        errx(1, "%s must be a number from %ld to %ld, not \"%s\"", key, least, most, text);
    return value;
}

static void use_cpus(const char *text)
{
    char *comma;

    for (int i = 0; i < 2; i++) {
        char part[16] = "";
        comma = strchr(text, ',');
        size_t len = comma != NULL ? (size_t)(comma - text) : strlen(text);
        if (len >= sizeof(part) || (comma != NULL) != (i == 0))
            errx(1, "cpus must be two numbers, separated by a comma");
        memcpy(part, text, len);
        subject.cpus[i] = (int)number("cpus", part, 0, CPU_SETSIZE - 1);
        if (!CPU_ISSET(subject.cpus[i], &allowed_cpus))
            errx(1, "processor %d may not be used", subject.cpus[i]);
        text = comma + 1;
    }
}

static void parse(int argc, char **argv)
{
    bool two_cores = true, explicit = false;
    const char *cpus = NULL;

    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value == NULL)
            errx(1, "not key=value: %s", argv[i]);
        *value++ = '\0';
        if (strcmp(argv[i], "len") == 0)
            subject.len = (size_t)number("len", value, 8, 1L << 30);
        else if (strcmp(argv[i], "ms") == 0)
            subject.ms = number("ms", value, 1, 600000);
        else if (strcmp(argv[i], "n") == 0)
            subject.n = number("n", value, 1, PROCESSES_MAX);
        else if (strcmp(argv[i], "messages") == 0)
            subject.messages = number("messages", value, 1, 1000000000000);
        else if (strcmp(argv[i], "cpus") == 0)
            cpus = value;
        else if (strcmp(argv[i], "cores") == 0 && strcmp(value, "one") == 0)
            two_cores = false;
        else if (strcmp(argv[i], "cores") == 0 && strcmp(value, "two") == 0)
            explicit = true;
        else
            errx(1, "unknown key or value: %s=%s", argv[i], value);
    }
    if (subject.len % 8 != 0)
        errx(1, "len must be a multiple of 8");

    subject_must(sched_getaffinity(0, sizeof(allowed_cpus), &allowed_cpus), "sched_getaffinity");
    subject.cpus[0] = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed_cpus)) {
            subject.cpus[1] = cpu;
            if (subject.cpus[0] < 0)
                subject.cpus[0] = cpu;
        }
    if (cpus != NULL)
        use_cpus(cpus);
    if (!two_cores)
        subject.cpus[1] = subject.cpus[0];
    subject.one_core = subject.cpus[0] == subject.cpus[1];
    if (explicit && subject.one_core)
        errx(1, "only one processor may be used");
}

/* Finds a row, or exits. */
static const struct subject_row *find(const struct subject_row *const *tables, const char *variant,
                                      const char *test)
{
    for (; *tables != NULL; tables++)
        for (const struct subject_row *row = *tables; row->variant != NULL; row++)
            if (strcmp(row->variant, variant) == 0 && strcmp(row->test, test) == 0)
                return row;
    errx(1, "no row %s %s; \"list\" prints all rows", variant, test);
}

static void list(const struct subject_row *const *tables)
{
    for (; *tables != NULL; tables++)
        for (const struct subject_row *row = *tables; row->variant != NULL; row++) {
            printf("%s\t%s\t%s\t%s", row->variant, row->test, row->title, row->flags);
            if (row->max_len != NULL)
                printf("\tmax=%zu", row->max_len());
            putchar('\n');
        }
}

/* Whether two processes must run at the same time. */
static bool needs_two(const struct subject_row *row)
{
    static const char *const tests[] = {"latency-poll", "rate", "broadcast", "lock-contended",
                                        "read-written"};

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (strcmp(row->test, tests[i]) == 0)
            return row->operation == NULL || strcmp(row->test, "rate") != 0;
    return false;
}

/* There can be a thousand channels, and both ends of a channel have several descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit files;
    rlim_t enough = 256 + 16 * (rlim_t)subject.n;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < enough) {
        files.rlim_cur = files.rlim_max < enough ? files.rlim_max : enough;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int subject_main(int argc, char **argv, const char *version,
                 const struct subject_row *const *tables)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list(tables);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(version);
        return 0;
    }
    if (argc < 4 || strcmp(argv[1], "run") != 0)
        errx(1, "usage: %s list | version | run VARIANT TEST [KEY=VALUE]...", argv[0]);
    const struct subject_row *row = find(tables, argv[2], argv[3]);
    parse(argc - 4, argv + 4);
    if (row->max_len != NULL && subject.len > row->max_len())
        errx(1, "len is at most %zu here", row->max_len());
    if (subject.one_core && needs_two(row))
        errx(1, "%s needs two processors", row->test);
    if (strcmp(row->test, "idle") == 0) {
        subject.cpus[1] = subject.cpus[0];
        subject.one_core = true;
    }

    watchdog_start((unsigned)(subject.ms / 1000 + GRACE));
    raise_descriptor_limit();
    processes_init();
    payload_init();
    measure_row(row);
    return 0;
}
