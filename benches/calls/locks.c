/* locks: the cost of the uncontended semaphore lock compared with semop calls that do the same. */
#include <sys/sem.h>

#include "bench.h"

static int plain; /* a semaphore set for plain semop calls */
static int lock;  /* an ipc_semlock */

/* The same operations as in ipc_semlock, in the same order. */
enum { READERS, WRITER, WRITER_PENDING, RECOVERY };

#define WAIT_FOR_0(num) \
    {                   \
        (num), 0, 0     \
    }
#define TRY_FOR_0(num)       \
    {                        \
        (num), 0, IPC_NOWAIT \
    }
#define OP(num, change, flags)   \
    {                            \
        (num), (change), (flags) \
    }

static void operate(struct sembuf *ops, size_t count)
{
    must(semop(plain, ops, count), "semop");
}

#define OPERATE(...)                                \
    do {                                            \
        static struct sembuf ops[] = {__VA_ARGS__}; \
        operate(ops, sizeof(ops) / sizeof(*ops));   \
    } while (0)

static void plain_read(void)
{
    OPERATE(WAIT_FOR_0(WRITER), WAIT_FOR_0(WRITER_PENDING), TRY_FOR_0(RECOVERY),
            OP(READERS, 1, SEM_UNDO));
    OPERATE(OP(READERS, -1, SEM_UNDO | IPC_NOWAIT));
}

static void plain_write(void)
{
    OPERATE(TRY_FOR_0(READERS), TRY_FOR_0(WRITER), TRY_FOR_0(WRITER_PENDING), TRY_FOR_0(RECOVERY),
            OP(RECOVERY, 1, IPC_NOWAIT), OP(WRITER, 1, SEM_UNDO | IPC_NOWAIT));
    OPERATE(OP(WRITER, -1, SEM_UNDO | IPC_NOWAIT), OP(WRITER, 32767, 0),
            OP(WRITER, -32767, SEM_UNDO), OP(WRITER, 32767, SEM_UNDO), OP(WRITER, -32767, 0),
            OP(RECOVERY, -1, IPC_NOWAIT));
}

/* The textbook lock with two counters. It has no protection against starvation. */
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

static const struct bench_pair pairs[] = {
    {"semlock rdlock, rdunlock / same semops", {plain_read, semlock_read}},
    {"semlock wrlock, wrunlock / same semops", {plain_write, semlock_write}},
    {"semlock rdlock, rdunlock / textbook lock", {textbook_read, semlock_read}},
    {"semlock wrlock, wrunlock / textbook lock", {textbook_write, semlock_write}},
};

static void remove_all(void)
{
    ipc_semctl(plain, 0, IPC_RMID);
    ipc_semlock_remove(lock);
}

int main(void)
{
    plain = ipc_semget(IPC_PRIVATE, 4, IPC_CREAT | 0600);
    must(plain, "ipc_semget");
    lock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600);
    if (lock < 0) {
        warn("ipc_semlock_open");
        ipc_semctl(plain, 0, IPC_RMID);
        return 1;
    }
    bench_remove_at_exit(remove_all);

    bench_pin(0);
    bench_print_title();
    bench_print_header(42, "ns per uncontended lock and unlock", "plain", "unixipc");
    bench_print_pairs(42, 0, pairs, BENCH_COUNT(pairs));
    return 0;
}
