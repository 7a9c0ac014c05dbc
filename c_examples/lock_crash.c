/*
 * lock_crash: kills processes that own a lock, and shows how the next owner continues.
 *
 * Two accounts in shared memory always have the same sum. A clerk process moves money from one
 * account to the other under a lock, and is killed between the two changes. The next owner of the
 * lock is told so (IPC_OWNER_DIED). It restores the accounts from the clerk's note, declares them
 * consistent, and continues.
 *
 * After that the program kills one clerk after another at a random moment.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#include "locks.h"
#include "util.h"

#define SUM 1000

struct bank {
    struct lock_memory lock;
    /* volatile: the compiler keeps the order of these writes, so the note is complete before an
     * account changes. */
    volatile int account[2];
    volatile struct {
        int is_valid, account[2];
    } note; /* the accounts before the change */
};

static struct bank *bank;
static struct lock lock;

/* A semaphore set exists until a process removes it. */
static void remove_lock(void)
{
    if (lock.type)
        lock.type->remove(&lock);
    lock.type = NULL;
}

static int is_sum_right(void)
{
    return bank->account[0] + bank->account[1] == SUM;
}

/* Undoes the change that the dead owner has begun. */
static void repair(void)
{
    if (bank->note.is_valid) {
        for (int i = 0; i < 2; i++)
            bank->account[i] = bank->note.account[i];
        bank->note.is_valid = 0;
    }
    must(lock.type->consistent(&lock), lock.type->name);
}

/* Acquires the lock. Returns 1 if the last owner died, after the repair; otherwise 0. */
static int acquire(void)
{
    int owner_died = must(lock.type->wrlock(&lock), lock.type->name) == IPC_OWNER_DIED;
    if (owner_died)
        repair();
    return owner_died;
}

static void release(void)
{
    must(lock.type->wrunlock(&lock), lock.type->name);
}

/* Moves money; the caller has the lock. If notify_fd is a descriptor, it writes a byte to it
 * between the two changes, and waits there to be killed. */
static void move(int amount, int notify_fd)
{
    for (int i = 0; i < 2; i++)
        bank->note.account[i] = bank->account[i];
    bank->note.is_valid = 1;
    bank->account[0] -= amount;
    if (notify_fd >= 0) {
        if (write(notify_fd, "", 1) != 1)
            err(1, "write");
        for (;;)
            pause();
    }
    bank->account[1] += amount;
    bank->note.is_valid = 0;
}

static void kill_clerk(pid_t clerk)
{
    kill(clerk, SIGKILL);
    int status = wait_for_child(clerk);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        errx(1, "a clerk exited before it was killed");
}

static void show(const char *when)
{
    printf("  %-28s accounts %4d and %4d, together %4d\n", when, bank->account[0], bank->account[1],
           bank->account[0] + bank->account[1]);
}

/* Kills one clerk between the two changes. */
static void kill_in_the_middle(void)
{
    int ready[2];
    char byte;

    show("before:");
    if (pipe(ready) < 0)
        err(1, "pipe");
    pid_t clerk = start_child(SIGKILL);
    if (clerk == 0) {
        acquire();
        move(100, ready[1]);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        errx(1, "a clerk exited before it was killed");
    close(ready[0]);
    kill_clerk(clerk);
    show("the clerk has been killed:");

    if (must(lock.type->wrlock(&lock), lock.type->name) != IPC_OWNER_DIED)
        errx(1, "%s did not report the death of its owner", lock.type->name);
    printf("  the next owner gets the lock and IPC_OWNER_DIED\n");
    repair();
    show("repaired and consistent:");
    release();
    if (acquire() || !is_sum_right())
        errx(1, "%s still reports the death, or the accounts are wrong", lock.type->name);
    move(100, -1);
    release();
    show("after the next change:");
}

static void run_clerk(void)
{
    for (int amount = 1;; amount = amount % 50 + 1) {
        acquire();
        move(amount, -1);
        move(-amount, -1);
        release();
    }
}

/* Kills clerks that work without a pause, each after a random time. */
static void kill_at_random(long rounds, const sigset_t *termination)
{
    long owners = 0;

    for (long i = 0; i < rounds; i++) {
        pid_t clerk = start_child(SIGKILL);
        if (clerk == 0)
            run_clerk();
        int sig = wait_for_signal(termination, 100000 + (uint64_t)random() % 900000);
        kill_clerk(clerk);
        owners += acquire();
        if (!is_sum_right())
            errx(1, "%s: the accounts are wrong", lock.type->name);
        release();
        if (sig)
            exit(128 + sig);
    }
    printf(
        "  %ld clerks killed at random: %ld of them owned the lock; no process hung, and the sum "
        "was always right\n",
        rounds, owners);
}

static const char usage[] =
    "usage: lock_crash [--rounds N]\n"
    "For each kind of robust lock: kills an owner in the middle of a change, shows how the next\n"
    "owner continues, and then kills N owners (default 200) at random moments.\n";

int main(int argc, char **argv)
{
    static const struct lock_type *const types[] = {&mutex_lock, &rwlock_lock, &semlock_lock};
    long rounds = 200;
    const struct command_option options[] = {
        {'r', "rounds", .number = &rounds, .min = 0, .max = 1000000},
        {0},
    };
    const struct command_line line = {.usage = usage, .options = options};

    parse_command_line(&line, argc, argv);
    /* The program looks for these signals between two rounds, and removes the semaphores before it
     * exits. */
    const sigset_t termination = block_termination_signals();
    enable_waitpid();
    atexit(remove_lock);

    struct ipc_shm *shm;
    must(ipc_shm_create(sizeof(*bank), NULL, 0, &shm), "ipc_shm_create");
    bank = ipc_shm_addr(shm);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        lock = (struct lock){.memory = &bank->lock};
        must(types[i]->create(&lock), types[i]->name);
        lock.type = types[i];
        printf("%s:\n", lock.type->name);
        bank->account[0] = SUM;
        bank->account[1] = 0;
        kill_in_the_middle();
        kill_at_random(rounds, &termination);
        remove_lock();
    }
    ipc_shm_close(shm);
    flush_output();
    return 0;
}
