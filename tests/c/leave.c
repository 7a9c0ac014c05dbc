/*
 * A thread leaves a waiting call without a return: it is cancelled, or a signal handler jumps
 * out. No lock stays held without the thread knowing it.
 */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>

struct board {
    struct ipc_mutex mutex;
    struct ipc_cond cond;
    struct ipc_rwlock rwlock;
    atomic_int inside;
};

static struct board *board;

static void unlock(void *mutex)
{
    CHECK(ipc_mutex_unlock(mutex) == 0);
}

static void *waits_for_the_condition(void *unused)
{
    (void)unused;
    CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
    pthread_cleanup_push(unlock, &board->mutex);
    board->inside = 1;
    for (;;)
        ipc_cond_wait(&board->cond, &board->mutex, -1);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *locks_the_mutex(void *unused)
{
    (void)unused;
    board->inside = 1;
    CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
    CHECK(ipc_rwlock_wrlock(&board->rwlock, -1) == 0);
    CHECK(ipc_rwlock_wrunlock(&board->rwlock) == 0);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    return NULL;
}

static void *result_of(pthread_t thread)
{
    void *result;

    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

static void start(pthread_t *thread, void *(*run)(void *))
{
    board->inside = 0;
    CHECK(pthread_create(thread, NULL, run, NULL) == 0);
    while (!board->inside)
        check_pause();
}

/* Nor is a call that initialises a lock. */
static void *initialises(void *unused)
{
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;

    (void)unused;
    board->inside = 1;
    CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK(ipc_mutex_init(&mutex, 0) == 0);
    CHECK(ipc_rwlock_init(&rwlock, 0) == 0);
    return NULL;
}

static void cancelled(void)
{
    pthread_t thread;

    start(&thread, initialises);
    CHECK(result_of(thread) == NULL);

    /* A wait for a condition is a cancellation point, at which the thread holds the mutex. */
    start(&thread, waits_for_the_condition);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(result_of(thread) == PTHREAD_CANCELED);
    CHECK(ipc_mutex_lock(&board->mutex, 0) == 0);

    /* Locking is not a cancellation point: the thread ends only after its last step. */
    start(&thread, locks_the_mutex);
    CHECK(pthread_cancel(thread) == 0);
    /* After a while it checks that the owner lives. */
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
    CHECK(result_of(thread) == NULL);
    CHECK(ipc_mutex_lock(&board->mutex, 0) == 0);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
}

static sigjmp_buf out;

static void jump(int sig)
{
    siglongjmp(out, sig);
}

/* The handler of SIGALRM jumps out of a waiting call. */
static void left(int (*lock)(void))
{
    struct sigaction action = {.sa_handler = jump};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    if (sigsetjmp(out, 1) == 0) {
        alarm(1);
        lock();
        CHECK(0);
    }
}

static int lock_mutex(void)
{
    return ipc_mutex_lock(&board->mutex, -1);
}

static int lock_for_writing(void)
{
    return ipc_rwlock_wrlock(&board->rwlock, -1);
}

/* A child that holds both until it is killed. */
static pid_t holder(void)
{
    pid_t child;

    board->inside = 0;
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_mutex_lock(&board->mutex, -1) == 0);
        CHECK(ipc_rwlock_rdlock(&board->rwlock, -1) == 0);
        board->inside = 1;
        for (;;)
            pause();
    }
    while (!board->inside)
        check_pause();
    return child;
}

static int others_can_read(void)
{
    pid_t child = check_fork();

    if (child == 0) {
        CHECK(ipc_rwlock_rdlock(&board->rwlock, 10000) == 0);
        CHECK(ipc_rwlock_rdunlock(&board->rwlock) == 0);
        exit(0);
    }
    check_passed(child);
    return 1;
}

static void jumped(void)
{
    pid_t child = holder();

    left(lock_mutex);
    CHECK(ipc_mutex_unlock(&board->mutex) == -1 && errno == EPERM);

    /* The thread holds the gate, and releases it. */
    left(lock_for_writing);
    CHECK(others_can_read());
    CHECK(ipc_rwlock_wrunlock(&board->rwlock) == 0);
    CHECK(ipc_rwlock_wrunlock(&board->rwlock) == -1 && errno == EPERM);
    CHECK(others_can_read());

    /* Or it repeats the call, and continues. */
    left(lock_for_writing);
    check_kill(child);
    CHECK(ipc_rwlock_wrlock(&board->rwlock, 10000) == 0);
    CHECK(ipc_rwlock_wrlock(&board->rwlock, 0) == -1 && errno == EDEADLK);
    CHECK(ipc_rwlock_wrunlock(&board->rwlock) == 0);
    CHECK(others_can_read());
    CHECK(ipc_mutex_lock(&board->mutex, 10000) == IPC_OWNER_DIED);
    CHECK(ipc_mutex_unlock(&board->mutex) == 0);
}

int main(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(board != MAP_FAILED);
    CHECK(ipc_mutex_init(&board->mutex, 0) == 0);
    CHECK(ipc_cond_init(&board->cond, 0) == 0);
    CHECK(ipc_rwlock_init(&board->rwlock, 0) == 0);
    cancelled();
    jumped();
    CHECK(munmap(board, sizeof *board) == 0);
    return 0;
}
