/* What the subjects share: see subject.h. */
#include "subject.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NAME   "unixipc-bench-"
#define KEY    0x75 /* the top byte of a System V key; the rest is the number of the run */
#define GRACE  20   /* seconds that a run may take beyond what was asked for */
#define COUNTED_WARM_UP 16 /* messages, where an exact number was asked for */
#define BLOCKS 17 /* in the time of a run, about */
#define BLOCKS_MAX 256
#define FEW        20
#define PROCESSES_MAX 100000

struct subject_options subject = {.len = 8, .ms = 100, .n = 1};
int subject_side;
char *subject_out, *subject_in;
struct subject_histogram subject_histogram = {.lowest = UINT64_MAX};
struct subject_slot *subject_slot;
uint64_t subject_limit = UINT64_MAX;
const int *subject_stop;
uint64_t *subject_counter;

/* What the processes of a run see. */
static struct shared {
    _Alignas(128) uint32_t waiting; /* how many have come to a barrier */
    _Alignas(128) uint32_t ready;   /* of the processes that repeat something */
    uint32_t go;
    enum subject_kind kind; /* of the next block */
    long count;             /* 0: there is none */
    uint64_t first;         /* the number of its first message */
    uint64_t begin[2], end[2], cpu_ns[2];
    _Alignas(128) int stop;
    _Alignas(128) uint64_t counter;
} *shared;

static pid_t run; /* the process that was started */
static pid_t guard;
static int guarded = -1; /* the end of the pipe whose closing tells the guard */
static pid_t *children;
static size_t children_count;
static cpu_set_t allowed;

void subject_wrong(const void *payload, size_t len, uint64_t n)
{
    uint64_t first;

    memcpy(&first, payload, 8);
    errx(1, "wrong content: %zu bytes, number %llu, expected %llu", len, (unsigned long long)first,
         (unsigned long long)n);
}

void *subject_memory(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        err(1, "mmap");
    return at;
}

size_t subject_ring_size(void)
{
    size_t size = 256 * 1024;

    /* Room for several messages, so that both sides can be at work. */
    while (size < 8 * subject.len && subject.len > 4096)
        size *= 2;
    return subject.len > 4096 && size < 1024 * 1024 ? 1024 * 1024 : size;
}

size_t subject_packet_max(void)
{
    int size = 0;
    socklen_t len = sizeof(size);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0)
        err(1, "SO_SNDBUF");
    close(fd);
    return ((size_t)size - 32) & ~(size_t)7;
}

/* --- what has a name --- */

static bool is_over(long pid)
{
    return pid == run || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    remove(path);
    return 0;
}

/* What this run, and runs whose guard was killed too, have left in a folder. */
static void clean_folder(const char *folder)
{
    DIR *entries = opendir(folder);
    struct dirent *entry;
    char path[PATH_MAX];

    if (entries == NULL)
        return;
    while ((entry = readdir(entries)) != NULL) {
        const char *name = strstr(entry->d_name, NAME);
        if (name == NULL)
            continue;
        /* Other programs' names go on differently behind the number, if there is one. */
        char *end;
        long pid = strtol(name + strlen(NAME), &end, 10);
        if (pid <= 0 || strchr("-_", *end) == NULL || !is_over(pid))
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path))
            nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    closedir(entries);
}

static void clean_keys(const char *table, void (*remove_id)(int id))
{
    FILE *lines = fopen(table, "re");
    char line[512];
    int key, id;

    if (lines == NULL)
        return;
    while (fgets(line, sizeof(line), lines) != NULL)
        if (sscanf(line, "%d %d", &key, &id) == 2 && (unsigned)key >> 24 == KEY &&
            is_over(key & 0xffffff))
            remove_id(id);
    fclose(lines);
}

static void remove_semaphores(int id)
{
    semctl(id, 0, IPC_RMID);
}

static void remove_queue(int id)
{
    msgctl(id, IPC_RMID, NULL);
}

static void clean(void)
{
    char queue[64];

    snprintf(queue, sizeof(queue), "/" NAME "%ld", (long)run);
    mq_unlink(queue);
    clean_folder("/tmp");
    clean_folder("/dev/shm");
    clean_keys("/proc/sysvipc/sem", remove_semaphores);
    clean_keys("/proc/sysvipc/msg", remove_queue);
}

/* All processes of the run hold the other end of the pipe: when the last has died, the guard goes
 * to work. It is in a session of its own, because who ends a run often ends its whole group. */
static void start_guard(void)
{
    int fds[2];
    char byte;

    if (guard != 0)
        return;
    subject_must(pipe2(fds, O_CLOEXEC), "pipe2");
    fflush(NULL);
    guard = fork();
    subject_must(guard, "fork");
    if (guard > 0) {
        close(fds[0]);
        guarded = fds[1];
        return;
    }
    setsid();
    signal(SIGCHLD, SIG_DFL);
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    close(fds[1]);
    while (read(fds[0], &byte, 1) < 0 && errno == EINTR)
        ;
    clean();
    _exit(0);
}

/* At exit: no other process of the run is left, and no name. */
static void finish(void)
{
    if (getpid() != run)
        return;
    signal(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < children_count; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    while (children_count > 0)
        if (children[--children_count] > 0)
            waitpid(children[children_count], NULL, 0);
    if (guard > 0) {
        close(guarded);
        waitpid(guard, NULL, 0);
    }
}

const char *subject_name(void)
{
    static char name[64];

    start_guard();
    snprintf(name, sizeof(name), NAME "%ld", (long)run);
    return name;
}

const char *subject_folder(void)
{
    static char folder[128];

    if (folder[0] == '\0') {
        snprintf(folder, sizeof(folder), "/tmp/%s", subject_name());
        subject_must(mkdir(folder, 0700), folder);
    }
    return folder;
}

int subject_key(void)
{
    start_guard();
    return (KEY << 24) | (int)(run & 0xffffff);
}

/* --- processes --- */

pid_t subject_fork(void)
{
    fflush(NULL);
    pid_t child = fork();
    subject_must(child, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != run)
            _exit(1);
        signal(SIGCHLD, SIG_DFL);
        return 0;
    }
    children[children_count++] = child;
    return child;
}

/* A process that has failed has said why, and nobody shall wait for it. The guard removes names. */
static void on_child(int sig, siginfo_t *info, void *context)
{
    static const char killed[] = "a process of the run was killed\n";

    (void)sig;
    (void)context;
    if (info->si_pid == guard)
        return;
    if (info->si_code != CLD_EXITED && write(2, killed, sizeof(killed) - 1) < 0)
        _exit(1);
    if (info->si_code != CLD_EXITED || info->si_status != 0)
        _exit(1);
}

static void on_alarm(int sig)
{
    static const char text[] = "the run took too long\n";

    (void)sig;
    if (write(2, text, sizeof(text) - 1) < 0)
        _exit(1);
    _exit(1);
}

static void reap(void)
{
    for (size_t i = 0; i < children_count; i++) {
        int status;
        pid_t child = children[i];
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                err(1, "waitpid");
        children[i] = 0;
        if (status != 0)
            errx(1, "a process of the run failed");
    }
    children_count = 0;
}

static void pin(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    subject_must(sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static uint64_t cpu_ns(void)
{
    struct timespec time;

    subject_must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), "clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void futex_wait(uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_wake_all(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* The two processes meet. Without spin they leave the processors to a library's threads. */
static void meet(bool spin)
{
    uint32_t seen = __atomic_add_fetch(&shared->waiting, 1, __ATOMIC_SEQ_CST);

    if (seen % 2 == 0) {
        if (!spin)
            futex_wake_all(&shared->waiting);
        return;
    }
    while (__atomic_load_n(&shared->waiting, __ATOMIC_SEQ_CST) == seen)
        if (!spin)
            futex_wait(&shared->waiting, seen);
}

void subject_meet(void)
{
    meet(false);
}

/* --- messages between two processes --- */

struct result {
    uint64_t messages, ns, cpu_ns;
    uint64_t failed, written;
};

static int by_rate(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    double left = (double)x->messages * (double)y->ns, right = (double)y->messages * (double)x->ns;

    return (left > right) - (left < right);
}

/* What counts of a run's blocks: when other work has interrupted some of them, the mean would be
 * that work's rather than the subject's. */
static struct result median(struct result *blocks, size_t count)
{
    qsort(blocks, count, sizeof(*blocks), by_rate);
    return blocks[count / 2];
}

/* Each tells its own processor time: another process's is up to date at ticks only. It is told
 * when both have come to the end, because a library's threads may have more to do by then. */
static void take_part(const struct subject_way *way)
{
    meet(!subject.one_core);
    uint64_t cpu = cpu_ns();
    shared->begin[subject_side] = subject_now();
    way->loop(shared->kind, shared->count, subject.len, shared->first);
    shared->end[subject_side] = subject_now();
    meet(false);
    shared->cpu_ns[subject_side] = cpu_ns() - cpu;
    meet(false);
}

static struct result block(const struct subject_way *way, enum subject_kind kind, long count)
{
    struct result result = {0};

    shared->kind = kind;
    shared->count = count;
    meet(false);
    take_part(way);
    result.cpu_ns = shared->cpu_ns[0] + shared->cpu_ns[1];
    shared->first += (uint64_t)count;

    uint64_t begin = shared->begin[0] < shared->begin[1] ? shared->begin[0] : shared->begin[1];
    uint64_t end = shared->end[0] > shared->end[1] ? shared->end[0] : shared->end[1];
    result.messages = (uint64_t)count * (kind == SUBJECT_ONE_WAY ? 1 : 2);
    result.ns = end - begin;
    return result;
}

static void be_the_other(const struct subject_way *way)
{
    for (;;) {
        meet(false);
        if (shared->count == 0)
            break;
        take_part(way);
    }
    if (way->close != NULL)
        way->close();
    _exit(0);
}

static struct result messages(const struct subject_way *way, bool ping_pong, bool timed)
{
    enum subject_kind kind = ping_pong ? SUBJECT_PING_PONG : SUBJECT_ONE_WAY;
    struct result result;

    if (way->prepare != NULL)
        way->prepare();
    pid_t child = subject_fork();
    subject_side = child == 0 ? 1 : 0;
    pin(subject.cpus[subject_side]);
    if (way->open != NULL)
        way->open();
    if (child == 0)
        be_the_other(way);

    if (subject.messages != 0) {
        block(way, kind, COUNTED_WARM_UP);
        result = block(way, timed ? SUBJECT_TIMED : kind,
                       ping_pong ? (subject.messages + 1) / 2 : subject.messages);
    } else {
        /* Warms up, and finds out how many messages make a block. */
        uint64_t wanted = 1000000u * (uint64_t)subject.ms, least = wanted / BLOCKS, spent = 0;
        struct result blocks[BLOCKS_MAX];
        size_t done = 0;
        long count = 2;
        while ((result = block(way, kind, count)).ns < least)
            count *= result.ns < least / 8 ? 4 : 2;
        /* The mean is of blocks in which no clock is read, the distribution of others. */
        for (; spent < wanted && done < BLOCKS_MAX; done++) {
            blocks[done] = block(way, kind, count);
            spent += blocks[done].ns;
            if (timed)
                spent += block(way, SUBJECT_TIMED, count).ns;
            if (blocks[done].ns < least / 2)
                count *= 2;
        }
        result = median(blocks, done);
    }
    shared->count = 0;
    meet(false);
    if (way->close != NULL)
        way->close();
    reap();
    return result;
}

/* --- work that processes repeat --- */

static void start_worker(void (*work)(void), struct subject_slot *slot, int cpu)
{
    if (subject_fork() != 0)
        return;
    pin(cpu);
    subject_slot = slot;
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    futex_wake_all(&shared->ready);
    while (__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST) == 0)
        futex_wait(&shared->go, 0);
    uint64_t before = cpu_ns();
    work();
    slot->cpu_ns = cpu_ns() - before;
    _exit(0);
}

/* What all have done so far. */
static struct result so_far(const struct subject_slot *slots, long workers, bool writer)
{
    struct result sum = {.ns = subject_now()};

    for (long i = 0; i < workers; i++) {
        uint64_t done = __atomic_load_n(&slots[i].done, __ATOMIC_RELAXED);
        if (writer && i == workers - 1) {
            sum.written = done;
            continue;
        }
        sum.messages += done;
        sum.failed += __atomic_load_n(&slots[i].failed, __ATOMIC_RELAXED);
    }
    return sum;
}

static struct result between(const struct result *begin, const struct result *end)
{
    return (struct result){end->messages - begin->messages, end->ns - begin->ns, 0,
                           end->failed - begin->failed, end->written - begin->written};
}

static void sleep_ms(double ms)
{
    struct timespec left = {(time_t)(ms / 1e3), 0};

    left.tv_nsec = (long)((ms - 1e3 * (double)left.tv_sec) * 1e6);
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* The process of the calling thread only watches, and sleeps meanwhile. */
static struct result repeated(const struct subject_work *work, long workers, bool writer,
                              bool everywhere)
{
    long all = workers + (writer ? 1 : 0);
    struct subject_slot *slots =
        (struct subject_slot *)subject_memory((size_t)all * sizeof(*slots));
    struct result begin, end, result;

    if (subject.messages != 0)
        subject_limit = (uint64_t)((subject.messages + workers - 1) / workers);
    if (work->prepare != NULL)
        work->prepare();
    int cpu = -1;
    for (long i = 0; i < all; i++) {
        if (everywhere)
            do
                cpu = (cpu + 1) % CPU_SETSIZE;
            while (!CPU_ISSET(cpu, &allowed));
        else
            cpu = subject.cpus[i % 2];
        start_worker(writer && i == workers ? work->write : work->work, &slots[i], cpu);
    }
    for (uint32_t seen; (seen = __atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST)) < all;)
        futex_wait(&shared->ready, seen);
    begin = so_far(slots, all, writer);
    __atomic_store_n(&shared->go, 1, __ATOMIC_SEQ_CST);
    futex_wake_all(&shared->go);

    if (subject.messages != 0) {
        /* A writer has its own number to do, which may take longer. */
        siginfo_t info;
        for (long i = 0; i < workers; i++)
            while (waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOWAIT) < 0)
                if (errno != EINTR)
                    err(1, "waitid");
        end = so_far(slots, all, writer);
        result = between(&begin, &end);
    } else {
        struct result blocks[BLOCKS], first;
        sleep_ms((double)subject.ms / 5 + 1);
        first = begin = so_far(slots, all, writer);
        size_t done = 0;
        for (int i = 0; i < BLOCKS; i++) {
            sleep_ms((double)subject.ms / BLOCKS);
            end = so_far(slots, all, writer);
            blocks[done] = between(&begin, &end);
            done += blocks[done].messages > 0 || blocks[done].failed > 0;
            begin = end;
        }
        /* Other work can have kept the processes from running, in some blocks or in all. */
        result = between(&first, &end);
        for (int i = 0; i < 1000 && result.messages == 0; i++) {
            sleep_ms(5);
            end = so_far(slots, all, writer);
            result = between(&first, &end);
        }
        /* A few operations a block would make the median a matter of rounding. */
        if (done > 0 && result.messages >= FEW * done && median(blocks, done).messages > 0)
            result = median(blocks, done);
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
    reap();

    uint64_t done = 0, used = 0;
    for (long i = 0; i < workers; i++)
        done += slots[i].done;
    for (long i = 0; i < all; i++)
        used += slots[i].cpu_ns;
    /* The processor time of an operation is that of the whole run. */
    if (done > 0)
        result.cpu_ns = (uint64_t)((double)used / (double)done * (double)result.messages);
    if (shared->counter != 0 && shared->counter != done)
        errx(1, "%llu operations under the lock, %llu counted", (unsigned long long)done,
             (unsigned long long)shared->counter);
    return result;
}

/* --- what is printed --- */

/* The lower bound of a bucket, in nanoseconds of a round trip. */
static uint64_t bound(size_t at)
{
    size_t octave = at >> SUBJECT_FINE;

    if (octave < 2)
        return at;
    return (uint64_t)(at - ((octave - 1) << SUBJECT_FINE)) << (octave - 1);
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

/* Of half round trips. A line is of 8 fine buckets: 16 an octave. */
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

static void measure(const struct subject_row *row)
{
    const char *test = row->test;
    bool ping_pong = strcmp(test, "rate") != 0, idle = strcmp(test, "idle") == 0;
    bool timed = row->way != NULL && ping_pong && !idle;
    struct result result;

    if (row->way != NULL) {
        result = messages(row->way, ping_pong, timed);
        /* There a message and its answer are one operation. */
        if (idle)
            result.messages /= 2;
    } else {
        bool everywhere = strcmp(test, "readers") == 0;
        long workers = everywhere                             ? subject.n
                       : strcmp(test, "lock-contended") == 0 ? 2
                                                              : 1;
        result = repeated(row->work, workers, strcmp(test, "read-written") == 0, everywhere);
    }
    if (result.messages == 0 || result.ns == 0)
        errx(1, "nothing was done in the time");
    bool moves = (row->way != NULL && !idle) || strcmp(test, "rate") == 0 ||
                 strcmp(test, "setup") == 0;
    print(moves ? "messages" : "operations", result.messages);
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

/* --- what was asked for --- */

static long number(const char *key, const char *text, long least, long most)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most)
        errx(1, "%s is a number from %ld to %ld, not \"%s\"", key, least, most, text);
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
            errx(1, "cpus is two numbers with a comma between them");
        memcpy(part, text, len);
        subject.cpus[i] = (int)number("cpus", part, 0, CPU_SETSIZE - 1);
        if (!CPU_ISSET(subject.cpus[i], &allowed))
            errx(1, "processor %d is not among those that may be used", subject.cpus[i]);
        text = comma + 1;
    }
}

static void parse(int argc, char **argv)
{
    bool two = true, said = false;
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
            two = false;
        else if (strcmp(argv[i], "cores") == 0 && strcmp(value, "two") == 0)
            said = true;
        else
            errx(1, "not a key, or not a value of it: %s=%s", argv[i], value);
    }
    if (subject.len % 8 != 0)
        errx(1, "len is a multiple of 8");

    subject_must(sched_getaffinity(0, sizeof(allowed), &allowed), "sched_getaffinity");
    subject.cpus[0] = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            subject.cpus[1] = cpu;
            if (subject.cpus[0] < 0)
                subject.cpus[0] = cpu;
        }
    if (cpus != NULL)
        use_cpus(cpus);
    if (!two)
        subject.cpus[1] = subject.cpus[0];
    subject.one_core = subject.cpus[0] == subject.cpus[1];
    if (said && subject.one_core)
        errx(1, "there are no two processors that may be used");
}

static const struct subject_row *find(const struct subject_row *const *tables, const char *variant,
                                      const char *test)
{
    for (; *tables != NULL; tables++)
        for (const struct subject_row *row = *tables; row->variant != NULL; row++)
            if (strcmp(row->variant, variant) == 0 && strcmp(row->test, test) == 0)
                return row;
    errx(1, "there is no %s %s; \"list\" tells what there is", variant, test);
}

static void list(const struct subject_row *const *tables)
{
    for (; *tables != NULL; tables++)
        for (const struct subject_row *row = *tables; row->variant != NULL; row++) {
            printf("%s\t%s\t%s\t%s", row->variant, row->test, row->title, row->flags);
            if (row->max != 0)
                printf("\tmax=%zu", row->max);
            putchar('\n');
        }
}

/* Whether two processes have to run at the same time. */
static bool needs_two(const struct subject_row *row)
{
    static const char *const tests[] = {"latency-poll", "rate", "lock-contended", "read-written"};

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (strcmp(row->test, tests[i]) == 0)
            return row->work == NULL || strcmp(row->test, "rate") != 0;
    return false;
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
    if (row->max != 0 && subject.len > row->max)
        errx(1, "len is at most %zu here", row->max);
    if (subject.one_core && needs_two(row))
        errx(1, "%s needs two processors", row->test);
    if (strcmp(row->test, "idle") == 0) {
        subject.cpus[1] = subject.cpus[0];
        subject.one_core = true;
    }

    run = getpid();
    struct sigaction child = {.sa_sigaction = on_child,
                              .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP};
    struct sigaction watchdog = {.sa_handler = on_alarm};
    subject_must(sigaction(SIGCHLD, &child, NULL), "sigaction");
    subject_must(sigaction(SIGALRM, &watchdog, NULL), "sigaction");
    alarm((unsigned)(subject.ms / 1000 + GRACE));
    if (atexit(finish) != 0)
        errx(1, "atexit");

    /* Both ends of a channel have several descriptors, and there can be a thousand of them. */
    struct rlimit files;
    rlim_t enough = 256 + 16 * (rlim_t)subject.n;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < enough) {
        files.rlim_cur = files.rlim_max < enough ? files.rlim_max : enough;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    children = calloc((size_t)subject.n + 2, sizeof(*children));
    shared = subject_memory(sizeof(*shared));
    subject_stop = &shared->stop;
    subject_counter = &shared->counter;
    size_t room = (subject.len + 4095) & ~(size_t)4095;
    subject_out = aligned_alloc(4096, room);
    subject_in = aligned_alloc(4096, room);
    if (children == NULL || subject_out == NULL || subject_in == NULL)
        err(1, "malloc");
    memset(subject_out, 0, room);
    memset(subject_in, 0, room);
    measure(row);
    return 0;
}
