/* ipc_semget, ipc_semop, ipc_semtimedop, and the promises of SEM_UNDO. */
#include "check.h"

static struct sembuf op(int number, int add, int flags)
{
    struct sembuf operation;

    operation.sem_num = (unsigned short)number;
    operation.sem_op = (short)add;
    operation.sem_flg = (short)flags;
    return operation;
}

static void add(int id, int number, int by)
{
    struct sembuf one = op(number, by, 0);

    CHECK(ipc_semop(id, &one, 1) == 0);
}

static int value(int id, int number)
{
    int result = ipc_semctl(id, number, GETVAL);

    CHECK(result >= 0);
    return result;
}

/* Returns once a process sleeps until semaphore `number` is larger. */
static void until_somebody_waits(int id, int number)
{
    int tries;

    for (tries = 0; tries < 30000; tries++) {
        int waiting = ipc_semctl(id, number, GETNCNT);

        CHECK(waiting >= 0);
        if (waiting == 1) {
            return;
        }
        check_pause();
    }
    CHECK(!"no process waits");
}

static void all_or_none(int id)
{
    struct sembuf ops[2] = {op(0, 3, 0), op(1, -1, IPC_NOWAIT)};
    pid_t child;

    CHECK(ipc_semop(id, ops, 2) == -1 && errno == EAGAIN);
    CHECK(value(id, 0) == 0);
    CHECK(value(id, 1) == 0);

    /* While the call waits, no operation takes effect; then all do at once. */
    ops[1].sem_flg = 0;
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_semop(id, ops, 2) == 0);
        exit(0);
    }
    until_somebody_waits(id, 1);
    CHECK(value(id, 0) == 0);
    add(id, 1, 1);
    check_passed(child);
    CHECK(value(id, 0) == 3);
    CHECK(value(id, 1) == 0);
    add(id, 0, -3);
}

static double seconds(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void time_limit(int id)
{
    struct sembuf take = op(0, -1, 0);
    struct sembuf zero = op(0, 0, 0);
    struct timespec limit = {0, 50000000};
    const struct timespec none = {0, 0};
    const struct timespec wrong = {0, 1000000000};
    const struct timespec negative = {-1, 0};
    double begun = seconds();

    CHECK(ipc_semtimedop(id, &take, 1, &limit) == -1 && errno == EAGAIN);
    CHECK(seconds() - begun >= 0.05);
    CHECK(limit.tv_sec == 0 && limit.tv_nsec == 50000000);
    CHECK(ipc_semtimedop(id, &take, 1, &none) == -1 && errno == EAGAIN);
    CHECK(ipc_semtimedop(id, &take, 1, &wrong) == -1 && errno == EINVAL);
    CHECK(ipc_semtimedop(id, &take, 1, &negative) == -1 && errno == EINVAL);
    CHECK(ipc_semtimedop(id, &zero, 1, &limit) == 0);
    add(id, 0, 1);
    CHECK(ipc_semtimedop(id, &zero, 1, &none) == -1 && errno == EAGAIN);
    CHECK(ipc_semtimedop(id, &take, 1, NULL) == 0);
}

/* A child adds 5 with SEM_UNDO and 2 without, and exits or is killed. */
static void undo(int id, int killed)
{
    struct sembuf ops[2] = {op(0, 5, SEM_UNDO), op(1, 2, 0)};
    int ready[2];
    char byte;
    pid_t child;

    CHECK(pipe(ready) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(close(ready[0]) == 0);
        CHECK(ipc_semop(id, ops, 2) == 0);
        CHECK(value(id, 0) == 5);
        CHECK(write(ready[1], "x", 1) == 1);
        CHECK(close(ready[1]) == 0);
        while (killed) {
            pause();
        }
        exit(0);
    }
    CHECK(close(ready[1]) == 0);
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(close(ready[0]) == 0);
    if (killed) {
        CHECK(value(id, 0) == 5);
        check_kill(child);
    } else {
        check_passed(child);
    }
    CHECK(value(id, 0) == 0);
    CHECK(value(id, 1) == 2);
    add(id, 1, -2);
}

static void on_alarm(int signal)
{
    (void)signal;
}

/* A handler ends a wait, with SA_RESTART too, and so does the set's removal. */
static void end_of_wait(int id)
{
    struct sembuf take = op(0, -1, 0);
    pid_t children[2];
    int i;

    for (i = 0; i < 2; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            struct sigaction action;

            memset(&action, 0, sizeof action);
            action.sa_handler = on_alarm;
            action.sa_flags = SA_RESTART;
            CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
            CHECK(ipc_semop(id, &take, 1) == -1);
            CHECK(errno == (i == 0 ? EINTR : EIDRM));
            exit(0);
        }
        until_somebody_waits(id, 0);
        if (i == 0) {
            CHECK(kill(children[i], SIGUSR1) == 0);
        } else {
            CHECK(ipc_semctl(id, 0, IPC_RMID) == 0);
        }
        check_passed(children[i]);
    }
}

static void errors(int id)
{
    struct sembuf outside = op(3, 1, 0);
    struct sembuf none = op(0, 0, 0);
    struct seminfo limits;
    struct sembuf *many;

    CHECK(ipc_semop(id, &outside, 1) == -1 && errno == EFBIG);
    CHECK(ipc_semop(id, &none, 0) == -1 && errno == EINVAL);
    CHECK(ipc_semctl(0, 0, IPC_INFO, &limits) >= 0);
    many = (struct sembuf *)calloc((size_t)limits.semopm + 1, sizeof *many);
    CHECK(many != NULL);
    CHECK(ipc_semop(id, many, (size_t)limits.semopm + 1) == -1 && errno == E2BIG);
    free(many);
    CHECK(ipc_semop(-1, &none, 1) == -1 && errno == EINVAL);
    CHECK(ipc_semget(IPC_PRIVATE, 0, IPC_CREAT | 0600) == -1 && errno == EINVAL);
    CHECK(ipc_semget(IPC_PRIVATE, -1, IPC_CREAT | 0600) == -1 && errno == EINVAL);
}

int main(void)
{
    int id = ipc_semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);

    CHECK(id >= 0);
    all_or_none(id);
    time_limit(id);
    undo(id, 0);
    undo(id, 1);
    errors(id);
    end_of_wait(id);
    return 0;
}
