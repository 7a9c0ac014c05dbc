/* calls: the cost of layer 1 compared with the system's own calls. */
#include "bench.h"

static int set;         /* a semaphore set */
static char fifo[4096]; /* the name of a FIFO that does not exist yet */
static char directory[4000];

/* The operations, by the prefix of their calls: sys_ for the system's, ipc_ for unixipc's. */
#define OPERATIONS(prefix)                                                   \
    static void prefix##socketpair_close(void)                               \
    {                                                                        \
        int sv[2];                                                           \
        must(prefix##socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair"); \
        close(sv[0]);                                                        \
        close(sv[1]);                                                        \
    }                                                                        \
    static void prefix##shmget_to_rmid(void)                                 \
    {                                                                        \
        int id = prefix##shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);        \
        must(id, "shmget");                                                  \
        char *memory = prefix##shmat(id, NULL, 0);                           \
        if (memory == (void *)-1)                                            \
            err(1, "shmat");                                                 \
        *memory = 1;                                                         \
        must(prefix##shmdt(memory), "shmdt");                                \
        must(prefix##shmctl(id, IPC_RMID, NULL), "shmctl");                  \
    }                                                                        \
    static void prefix##semop_pair(void)                                     \
    {                                                                        \
        struct sembuf up = {.sem_op = 1}, down = {.sem_op = -1};             \
        must(prefix##semop(set, &up, 1), "semop");                           \
        must(prefix##semop(set, &down, 1), "semop");                         \
    }                                                                        \
    static void prefix##semop_undo_pair(void)                                \
    {                                                                        \
        struct sembuf up = {.sem_op = 1, .sem_flg = SEM_UNDO};               \
        struct sembuf down = {.sem_op = -1, .sem_flg = SEM_UNDO};            \
        must(prefix##semop(set, &up, 1), "semop");                           \
        must(prefix##semop(set, &down, 1), "semop");                         \
    }                                                                        \
    static void prefix##semctl_getval(void)                                  \
    {                                                                        \
        must(prefix##semctl(set, 0, GETVAL), "semctl");                      \
    }                                                                        \
    static void prefix##mkfifo_unlink(void)                                  \
    {                                                                        \
        must(prefix##mkfifo(fifo, 0600), "mkfifo");                          \
        must(unlink(fifo), "unlink");                                        \
    }                                                                        \
    static void prefix##ftok_only(void)                                      \
    {                                                                        \
        if (prefix##ftok(directory, 'b') == -1)                              \
            err(1, "ftok");                                                  \
    }

/* Gives the system's calls the prefix sys_, so that a macro of the C library does not interfere. */
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

static const struct bench_pair operations[] = {
    {"socketpair, close, close", {sys_socketpair_close, ipc_socketpair_close}},
    {"shmget, shmat, write, shmdt, IPC_RMID", {sys_shmget_to_rmid, ipc_shmget_to_rmid}},
    {"semop up, semop down", {sys_semop_pair, ipc_semop_pair}},
    {"semop up, semop down, SEM_UNDO", {sys_semop_undo_pair, ipc_semop_undo_pair}},
    {"semctl GETVAL", {sys_semctl_getval, ipc_semctl_getval}},
    {"mkfifo, unlink", {sys_mkfifo_unlink, ipc_mkfifo_unlink}},
    {"ftok", {sys_ftok_only, ipc_ftok_only}},
};

static void remove_all(void)
{
    ipc_semctl(set, 0, IPC_RMID);
    unlink(fifo);
    rmdir(directory);
}

int main(void)
{
    bench_make_directory(directory, sizeof(directory));
    snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
    set = ipc_semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    if (set < 0) {
        warn("ipc_semget");
        rmdir(directory);
        return 1;
    }
    bench_remove_at_exit(remove_all);

    bench_pin(0);
    bench_print_title();
    bench_print_header(39, "ns per operation", "system", "unixipc");
    bench_print_pairs(39, 0, operations, BENCH_COUNT(operations));
    return 0;
}
