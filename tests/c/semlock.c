/* ipc_semlock_*: two processes with one lock, a dead writer, and invalid calls. */
#include "check.h"

#include <sys/mman.h>

/* The data that the lock protects. */
struct account {
    long in;
    long out;
};

/* Returns when a process waits for the lock. */
static void until_somebody_waits(int id)
{
    int tries;

    for (tries = 0; tries < 30000; tries++) {
        if (ipc_semctl(id, 0, GETZCNT) + ipc_semctl(id, 1, GETZCNT) + ipc_semctl(id, 2, GETZCNT) >
            0) {
            return;
        }
        check_pause();
    }
    CHECK(!"no process waits");
}

static void exclusion(int id, struct account *account)
{
    enum { ROUNDS = 500, CHILDREN = 4 };
    pid_t children[CHILDREN];
    int i;

    for (i = 0; i < CHILDREN; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            int round;

            for (round = 0; round < ROUNDS; round++) {
                CHECK(ipc_semlock_wrlock(id, -1) == 0);
                CHECK(account->in == account->out);
                account->in++;
                account->out++;
                CHECK(ipc_semlock_wrunlock(id) == 0);
                CHECK(ipc_semlock_rdlock(id, 60000) == 0);
                CHECK(account->in == account->out);
                CHECK(ipc_semlock_rdunlock(id) == 0);
            }
            exit(0);
        }
    }
    for (i = 0; i < CHILDREN; i++) {
        check_passed(children[i]);
    }
    CHECK(account->in == (long)CHILDREN * ROUNDS);
}

static void dead_writer(int id, struct account *account)
{
    pid_t child = check_fork();

    if (child == 0) {
        CHECK(ipc_semlock_wrlock(id, 0) == 0);
        account->in++;
        CHECK(raise(SIGKILL) == 0);
    }
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK(ipc_semlock_rdlock(id, -1) == IPC_OWNER_DIED);
    CHECK(ipc_semlock_rdunlock(id) == 0);
    CHECK(ipc_semlock_wrlock(id, 1000) == IPC_OWNER_DIED);
    CHECK(ipc_semlock_wrunlock(id) == 0);
    CHECK(ipc_semlock_wrlock(id, 1000) == IPC_OWNER_DIED);
    CHECK(account->in != account->out);
    account->in = account->out;
    CHECK(ipc_semlock_consistent(id) == 0);
    CHECK(ipc_semlock_wrunlock(id) == 0);
    CHECK(ipc_semlock_wrlock(id, 1000) == 0);
    CHECK(ipc_semlock_wrunlock(id) == 0);
}

static void time_outs(int id)
{
    pid_t child;

    CHECK(ipc_semlock_wrlock(id, -1) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_semlock_rdlock(id, 0) == -1 && errno == EAGAIN);
        CHECK(ipc_semlock_rdlock(id, 20) == -1 && errno == ETIMEDOUT);
        CHECK(ipc_semlock_wrlock(id, 0) == -1 && errno == EAGAIN);
        CHECK(ipc_semlock_wrlock(id, 20) == -1 && errno == ETIMEDOUT);
        CHECK(ipc_semlock_wrunlock(id) == -1 && errno == EPERM);
        CHECK(ipc_semlock_consistent(id) == -1 && errno == EPERM);
        exit(0);
    }
    check_passed(child);

    child = check_fork();
    if (child == 0) {
        CHECK(ipc_semlock_rdlock(id, 60000) == 0);
        CHECK(ipc_semlock_rdunlock(id) == 0);
        exit(0);
    }
    until_somebody_waits(id);
    CHECK(ipc_semlock_wrunlock(id) == 0);
    check_passed(child);
}

static void errors(int id)
{
    CHECK(ipc_semlock_open(1, IPC_NOWAIT) == -1 && errno == EINVAL);
    CHECK(ipc_semlock_rdlock(id, -3) == -1 && errno == EINVAL);
    CHECK(ipc_semlock_wrlock(id, -3) == -1 && errno == EINVAL);
    CHECK(ipc_semlock_rdlock(-1, 0) == -1 && errno == EINVAL);
    CHECK(ipc_semlock_rdunlock(id) == -1 && errno == EPERM);
    CHECK(ipc_semlock_wrunlock(id) == -1 && errno == EPERM);
}

static void removed(int id)
{
    pid_t child;

    CHECK(ipc_semlock_rdlock(id, 0) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_semlock_wrlock(id, IPC_WAIT_INTR) == -1 && errno == EIDRM);
        exit(0);
    }
    until_somebody_waits(id);
    CHECK(ipc_semlock_remove(id) == 0);
    check_passed(child);
    CHECK(ipc_semlock_rdunlock(id) == -1 && errno == EINVAL);
    CHECK(ipc_semlock_remove(id) == -1 && errno == EINVAL);
}

int main(void)
{
    struct account *account =
        mmap(NULL, sizeof *account, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int id = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600);

    CHECK(account != MAP_FAILED);
    CHECK(id >= 0);
    exclusion(id, account);
    dead_writer(id, account);
    time_outs(id);
    errors(id);
    removed(id);
    CHECK(munmap(account, sizeof *account) == 0);
    return 0;
}
