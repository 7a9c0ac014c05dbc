/*
 * calls: what layer 1 costs over the system's own calls.
 *
 * Each operation is timed with the C library's function and with unixipc's, block by
 * block in turn, the one first that was second before. A round is REPETITIONS blocks of
 * each; its ratio is that of their medians. Of three rounds the best one counts: other work on
 * the machine makes a round worse, and never better.
 */
#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define ROUNDS      3
#define REPETITIONS 51
#define BLOCK_NS    2e6 /* about how long a block takes */

static int set;          /* a semaphore set */
static char fifo[4096];  /* a name that does not exist */
static char folder[4000];

static void must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

/* The operations, with the calls' prefix: nothing for the system's, ipc_ for ours. */
#define OPERATIONS(prefix)                                                                      \
    static void prefix##socketpair_close(void)                                                  \
    {                                                                                           \
        int sv[2];                                                                              \
        must(prefix##socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair");                    \
        close(sv[0]);                                                                           \
        close(sv[1]);                                                                           \
    }                                                                                           \
    static void prefix##shmget_to_rmid(void)                                                    \
    {                                                                                           \
        int id = prefix##shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);                           \
        must(id, "shmget");                                                                     \
        char *memory = prefix##shmat(id, NULL, 0);                                              \
        if (memory == (void *)-1)                                                               \
            err(1, "shmat");                                                                    \
        *memory = 1;                                                                            \
        must(prefix##shmdt(memory), "shmdt");                                                   \
        must(prefix##shmctl(id, IPC_RMID, NULL), "shmctl");                                     \
    }                                                                                           \
    static void prefix##semop_pair(void)                                                        \
    {                                                                                           \
        struct sembuf up = {.sem_op = 1}, down = {.sem_op = -1};                                \
        must(prefix##semop(set, &up, 1), "semop");                                              \
        must(prefix##semop(set, &down, 1), "semop");                                            \
    }                                                                                           \
    static void prefix##semop_undo_pair(void)                                                   \
    {                                                                                           \
        struct sembuf up = {.sem_op = 1, .sem_flg = SEM_UNDO};                                  \
        struct sembuf down = {.sem_op = -1, .sem_flg = SEM_UNDO};                               \
        must(prefix##semop(set, &up, 1), "semop");                                              \
        must(prefix##semop(set, &down, 1), "semop");                                            \
    }                                                                                           \
    static void prefix##semctl_getval(void)                                                     \
    {                                                                                           \
        must(prefix##semctl(set, 0, GETVAL), "semctl");                                         \
    }                                                                                           \
    static void prefix##mkfifo_unlink(void)                                                     \
    {                                                                                           \
        must(prefix##mkfifo(fifo, 0600), "mkfifo");                                             \
        must(unlink(fifo), "unlink");                                                           \
    }                                                                                           \
    static void prefix##ftok_only(void)                                                         \
    {                                                                                           \
        if (prefix##ftok(folder, 'b') == -1)                                                    \
            err(1, "ftok");                                                                     \
    }

/* So that the system's are called sys_x, and a macro of the C library cannot come between. */
#define sys_socketpair socketpair
#define sys_shmget     shmget
#define sys_shmat      shmat
#define sys_shmdt      shmdt
#define sys_shmctl     shmctl
#define sys_semop      semop
#define sys_semctl     semctl
#define sys_mkfifo     mkfifo
#define sys_ftok       ftok
OPERATIONS(sys_)
OPERATIONS(ipc_)

static const struct {
    const char *name;
    void (*run[2])(void); /* the system's, ours */
} operations[] = {
    {"socketpair, close, close", {sys_socketpair_close, ipc_socketpair_close}},
    {"shmget, shmat, write, shmdt, IPC_RMID", {sys_shmget_to_rmid, ipc_shmget_to_rmid}},
    {"semop up, semop down", {sys_semop_pair, ipc_semop_pair}},
    {"the same with SEM_UNDO", {sys_semop_undo_pair, ipc_semop_undo_pair}},
    {"semctl GETVAL", {sys_semctl_getval, ipc_semctl_getval}},
    {"mkfifo, unlink", {sys_mkfifo_unlink, ipc_mkfifo_unlink}},
    {"ftok", {sys_ftok_only, ipc_ftok_only}},
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

/* Nanoseconds for one operation, from a block of count. */
static double time_block(void (*run)(void), long count)
{
    double begin = now_ns();
    for (long i = 0; i < count; i++)
        run();
    return (now_ns() - begin) / (double)count;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static void measure(size_t op)
{
    double best[2] = {0}, best_ratio = 0, ratios[ROUNDS];

    /* Warms up too. */
    long count = (long)(BLOCK_NS / time_block(operations[op].run[0], 1000)) + 1;
    time_block(operations[op].run[1], 1000);

    for (int round = 0; round < ROUNDS; round++) {
        double ns[2][REPETITIONS];
        for (int rep = 0; rep < REPETITIONS; rep++)
            for (int turn = 0; turn < 2; turn++) {
                int which = (rep + turn) % 2;
                ns[which][rep] = time_block(operations[op].run[which], count);
            }
        double medians[2] = {median(ns[0], REPETITIONS), median(ns[1], REPETITIONS)};
        ratios[round] = medians[1] / medians[0];
        if (round == 0 || ratios[round] < best_ratio) {
            best_ratio = ratios[round];
            memcpy(best, medians, sizeof(best));
        }
    }
    printf("%-39s %9.0f %9.0f %8.3f    %.3f %.3f %.3f\n", operations[op].name, best[0], best[1],
           best_ratio, ratios[0], ratios[1], ratios[2]);
    fflush(stdout);
}

static void remove_all(void)
{
    ipc_semctl(set, 0, IPC_RMID);
    unlink(fifo);
    rmdir(folder);
}

static void on_signal(int sig)
{
    remove_all();
    _exit(128 + sig);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/unixipc-bench.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        err(1, "%s", folder);
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    set = ipc_semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    if (set < 0) {
        warn("ipc_semget");
        rmdir(folder);
        return 1;
    }
    atexit(remove_all);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    /* One processor, so that no block is measured on a colder one than the other. */
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
        int cpu = 0;
        while (!CPU_ISSET(cpu, &cpus))
            cpu++;
        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        sched_setaffinity(0, sizeof(cpus), &cpus);
    }

    struct utsname system;
    uname(&system);
    printf("unixipc %s, Linux %s, %s; %d blocks of each a round, medians, ns an operation\n\n",
           ipc_version(), system.release, system.machine, REPETITIONS);
    printf("%-39s %9s %9s %8s    %s\n", "operation", "system", "unixipc", "ratio",
           "of each round");
    for (size_t op = 0; op < sizeof(operations) / sizeof(*operations); op++)
        measure(op);
    return 0;
}
