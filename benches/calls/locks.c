/* locks: what a lock costs that nobody else wants, beside the bare calls that do the same. */
#include <signal.h>
#include <sys/sem.h>
#include <unistd.h>

#include "bench.h"

static int bare; /* a semaphore set for the bare calls */
static int lock; /* an ipc_semlock */

/* Bare semops: the same operations as the lock's own, in the same order. */
enum { READERS, WRITER, NEXT, MARK };

#define WAIT_FOR_0(num) {(num), 0, 0}
#define TRY_FOR_0(num)  {(num), 0, IPC_NOWAIT}
#define OP(num, change, flags) {(num), (change), (flags)}

static void operate(struct sembuf *ops, size_t count)
{
    must(semop(bare, ops, count), "semop");
}

#define OPERATE(...)                                      \
    do {                                                  \
        static struct sembuf ops[] = {__VA_ARGS__};       \
        operate(ops, sizeof(ops) / sizeof(*ops));         \
    } while (0)

static void bare_read(void)
{
    OPERATE(WAIT_FOR_0(WRITER), WAIT_FOR_0(NEXT), TRY_FOR_0(MARK), OP(READERS, 1, SEM_UNDO));
    OPERATE(OP(READERS, -1, SEM_UNDO | IPC_NOWAIT));
}

static void bare_write(void)
{
    OPERATE(TRY_FOR_0(READERS), TRY_FOR_0(WRITER), TRY_FOR_0(NEXT), TRY_FOR_0(MARK),
            OP(MARK, 1, IPC_NOWAIT), OP(WRITER, 1, SEM_UNDO | IPC_NOWAIT));
    OPERATE(OP(WRITER, -1, SEM_UNDO | IPC_NOWAIT), OP(WRITER, 32767, 0),
            OP(WRITER, -32767, SEM_UNDO), OP(WRITER, 32767, SEM_UNDO), OP(WRITER, -32767, 0),
            OP(MARK, -1, IPC_NOWAIT));
}

/* The textbook's lock of two counters. */
static void textbook_read(void)
{
    OPERATE(WAIT_FOR_0(WRITER), OP(READERS, 1, SEM_UNDO));
    OPERATE(OP(READERS, -1, SEM_UNDO | IPC_NOWAIT));
}

static void textbook_write(void)
{
    OPERATE(WAIT_FOR_0(READERS), WAIT_FOR_0(WRITER), OP(WRITER, 1, SEM_UNDO));
    OPERATE(OP(WRITER, -1, SEM_UNDO | IPC_NOWAIT));
}

static void semlock_read(void)
{
    must(ipc_semlock_rdlock(lock, -1), "ipc_semlock_rdlock");
    must(ipc_semlock_rdunlock(lock), "ipc_semlock_rdunlock");
}

static void semlock_write(void)
{
    must(ipc_semlock_wrlock(lock, -1), "ipc_semlock_wrlock");
    must(ipc_semlock_wrunlock(lock), "ipc_semlock_wrunlock");
}

static const struct {
    const char *name;
    void (*run[2])(void); /* what it is compared with, ours */
} pairs[] = {
    {"semlock rdlock, rdunlock: the same semops", {bare_read, semlock_read}},
    {"semlock wrlock, wrunlock: the same semops", {bare_write, semlock_write}},
    {"semlock rdlock, rdunlock: textbook's", {textbook_read, semlock_read}},
    {"semlock wrlock, wrunlock: textbook's", {textbook_write, semlock_write}},
};

static void block(const void *row, int which, long count)
{
    void (*const *run)(void) = row;
    for (long i = 0; i < count; i++)
        run[which]();
}

static void remove_all(void)
{
    ipc_semctl(bare, 0, IPC_RMID);
    ipc_semlock_remove(lock);
}

static void on_signal(int sig)
{
    remove_all();
    _exit(128 + sig);
}

int main(void)
{
    bare = ipc_semget(IPC_PRIVATE, 4, IPC_CREAT | 0600);
    must(bare, "ipc_semget");
    lock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600);
    if (lock < 0) {
        warn("ipc_semlock_open");
        ipc_semctl(bare, 0, IPC_RMID);
        return 1;
    }
    atexit(remove_all);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    bench_pin(0);
    bench_title();
    printf("\n%-42s %9s %9s %8s    %s\n", "ns a lock and unlock, nobody else", "bare", "unixipc",
           "ratio", "of each round");
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        struct bench_result result = bench_measure(block, pairs[i].run);
        printf("%-42s %9.0f %9.0f %8.3f    %.3f %.3f %.3f\n", pairs[i].name, result.ns[0],
               result.ns[1], result.ratio, result.ratios[0], result.ratios[1], result.ratios[2]);
        fflush(stdout);
    }
    return 0;
}
