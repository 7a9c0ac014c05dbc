/* Locks in shared memory from C: sizes, return values, a child that dies with a lock. */
#include "check.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

_Static_assert(sizeof(struct ipc_mutex) == 128, "two cache lines");
_Static_assert(sizeof(struct ipc_rwlock) == 8384, "131 cache lines");
_Static_assert(sizeof(struct ipc_cond) == 64, "a cache line");
_Static_assert(sizeof(struct ipc_event) == 64, "a cache line");
_Static_assert(_Alignof(struct ipc_mutex) == 16, "aligned");
_Static_assert(_Alignof(struct ipc_rwlock) == 16, "aligned");
_Static_assert(_Alignof(struct ipc_cond) == 16, "aligned");
_Static_assert(_Alignof(struct ipc_event) == 16, "aligned");
_Static_assert(IPC_OWNER_DIED > 0, "a lock that is held is no failure");
_Static_assert(IPC_RWLOCK_READERS_MAX == 128, "as documented");

/* The shared memory of a program. */
struct board {
    int before;
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    int value;
};

static struct board *board;

_Static_assert(offsetof(struct board, mutex) == 16, "aligned inside others");
_Static_assert(offsetof(struct board, value) == 16 + 128 + 8384 + 64, "no gaps");

#define FAILS(call, error)                       \
    do {                                         \
        errno = 0;                               \
        CHECK((call) == -1 && errno == (error)); \
    } while (0)

static void mutex(void)
{
    FAILS(ipc_mutex_lock(&board->mutex, -1), EPROTO);
    FAILS(ipc_mutex_init(&board->mutex, 2), EINVAL);
    FAILS(ipc_mutex_init(NULL, 0), EINVAL);
    CHECK(ipc_mutex_init(&board->mutex, 0) == 0);
    CHECK(ipc_mutex_owner(&board->mutex) == 0);
    CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
    CHECK(ipc_mutex_owner(&board->mutex) == (pid_t)syscall(SYS_gettid));
    FAILS(ipc_mutex_lock(&board->mutex, 100), EDEADLK);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    FAILS(ipc_mutex_unlock(&board->mutex), EPERM);

    pid_t child = check_fork();
    if (child == 0) {
        CHECK(ipc_mutex_lock(&board->mutex, IPC_WAIT_INTR) == 0);
        _exit(0); /* holds the mutex */
    }
    check_passed(child);
    CHECK(ipc_mutex_lock(&board->mutex, 5000) == IPC_OWNER_DIED);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    CHECK(ipc_mutex_lock(&board->mutex, 0) == IPC_OWNER_DIED);
    CHECK(ipc_mutex_consistent(&board->mutex) == 0);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    CHECK(ipc_mutex_lock(&board->mutex, 0) == 0);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
}

static void inheriting(void)
{
    struct timespec tenth = {0, 100000000};

    CHECK(ipc_mutex_init(&board->mutex, IPC_MUTEX_F_PRIO_INHERIT) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
        board->value = 1;
        nanosleep(&tenth, NULL);
        _exit(0); /* holds the mutex */
    }
    while (*(volatile int *)&board->value == 0)
        check_pause();
    CHECK(ipc_mutex_lock(&board->mutex, 10000) == IPC_OWNER_DIED);
    FAILS(ipc_mutex_lock(&board->mutex, 0), EDEADLK);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    check_passed(child);
    board->value = 0;
    CHECK(ipc_mutex_init(&board->mutex, 0) == 0);
}

static void rwlock(void)
{
    CHECK(ipc_rwlock_init(&board->rwlock, 0) == 0);
    CHECK(ipc_rwlock_rdlock(&board->rwlock, -1) == 0);

    pid_t child = check_fork();
    if (child == 0) {
        CHECK(ipc_rwlock_rdlock(&board->rwlock, 0) == 0);
        FAILS(ipc_rwlock_wrlock(&board->rwlock, 0), EDEADLK);
        CHECK(ipc_rwlock_rdunlock(&board->rwlock) == 0);
        FAILS(ipc_rwlock_rdunlock(&board->rwlock), EPERM);
        FAILS(ipc_rwlock_wrlock(&board->rwlock, 0), EAGAIN);
        FAILS(ipc_rwlock_wrlock(&board->rwlock, 20), ETIMEDOUT);
        exit(0);
    }
    check_passed(child);
    CHECK(ipc_rwlock_rdunlock(&board->rwlock) == 0);

    child = check_fork();
    if (child == 0) {
        CHECK(ipc_rwlock_wrlock(&board->rwlock, -1) == 0);
        _exit(0); /* holds the lock */
    }
    check_passed(child);
    CHECK(ipc_rwlock_rdlock(&board->rwlock, -1) == IPC_OWNER_DIED);
    FAILS(ipc_rwlock_consistent(&board->rwlock), EPERM);
    CHECK(ipc_rwlock_rdunlock(&board->rwlock) == 0);
    CHECK(ipc_rwlock_wrlock(&board->rwlock, -1) == IPC_OWNER_DIED);
    CHECK(ipc_rwlock_consistent(&board->rwlock) == 0);
    CHECK(ipc_rwlock_wrunlock(&board->rwlock) == 0);
    CHECK(ipc_rwlock_rdlock(&board->rwlock, -1) == 0);
    CHECK(ipc_rwlock_rdunlock(&board->rwlock) == 0);
}

static void cond(void)
{
    CHECK(ipc_cond_init(&board->cond, 0) == 0);
    FAILS(ipc_cond_wait(&board->cond, &board->mutex, -1), EPERM);
    CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
    FAILS(ipc_cond_wait(&board->cond, &board->mutex, 0), EAGAIN);
    FAILS(ipc_cond_wait(&board->cond, &board->mutex, 20), ETIMEDOUT);

    pid_t child = check_fork();
    if (child == 0) {
        CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
        board->value = 42;
        CHECK(ipc_cond_signal(&board->cond) == 0);
        CHECK(ipc_mutex_unlock(&board->mutex) == 0);
        exit(0);
    }
    while (board->value != 42) {
        CHECK(ipc_cond_wait(&board->cond, &board->mutex, -1) == 0);
    }
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    check_passed(child);
    CHECK(ipc_cond_broadcast(&board->cond) == 0);
    FAILS(ipc_cond_broadcast(NULL), EINVAL);
}

int main(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(board != MAP_FAILED);
    mutex();
    inheriting();
    rwlock();
    cond();
    CHECK(munmap(board, sizeof *board) == 0);
    return 0;
}
