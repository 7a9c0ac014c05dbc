/* calls: what layer 1 costs over the system's own calls. */
#include <signal.h>
#include <unistd.h>

#include "bench.h"

static int set;          /* a semaphore set */
static char fifo[4096];  /* a name that does not exist */
static char folder[4000];

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

static void block(const void *row, int which, long count)
{
    void (*const *run)(void) = row;
    for (long i = 0; i < count; i++)
        run[which]();
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

    bench_pin(0);
    bench_title();
    printf("\n%-39s %9s %9s %8s    %s\n", "ns an operation", "system", "unixipc", "ratio",
           "of each round");
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
        struct bench_result result = bench_measure(block, operations[i].run);
        printf("%-39s %9.0f %9.0f %8.3f    %.3f %.3f %.3f\n", operations[i].name, result.ns[0],
               result.ns[1], result.ratio, result.ratios[0], result.ratios[1], result.ratios[2]);
        fflush(stdout);
    }
    return 0;
}
