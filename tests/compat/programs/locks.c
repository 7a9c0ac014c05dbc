/* Mutex, reader-writer lock, condition and event, between two processes. */
#include "show.h"
#include <signal.h>
#include <sys/mman.h>

static struct shared {
    struct ipc_mutex mutex, inherits;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    struct ipc_event event, latch;
    int turn;
} * s;

static void show_mutex(struct ipc_mutex *m, unsigned flags)
{
    SHOW(ipc_mutex_lock(m, 0));
    SHOW(ipc_mutex_init(m, flags));
    SHOW(ipc_mutex_owner(m));
    SHOW(ipc_mutex_lock(m, LONG_MS));
    SHOW(ipc_mutex_owner(m) == getpid());
    SHOW(ipc_mutex_lock(m, 0));
    SHOW(ipc_mutex_unlock(m));
    SHOW(ipc_mutex_unlock(m));
    pid_t pid = start_child();
    if (pid == 0) {
        ipc_mutex_lock(m, LONG_MS);
        raise(SIGKILL);
    }
    print_end(pid);
    SHOW(ipc_mutex_lock(m, LONG_MS));
    SHOW(ipc_mutex_consistent(m));
    SHOW(ipc_mutex_unlock(m));
    SHOW(ipc_mutex_lock(m, LONG_MS));
    SHOW(ipc_mutex_unlock(m));
}

static void show_rwlock(void)
{
    struct ipc_rwlock *l = &s->rwlock;

    SHOW(ipc_rwlock_rdlock(l, 0));
    SHOW(ipc_rwlock_init(l, 0));
    SHOW(ipc_rwlock_rdlock(l, LONG_MS));
    SHOW(ipc_rwlock_wrlock(l, 0));
    pid_t pid = start_child();
    if (pid == 0) {
        int reads = ipc_rwlock_rdlock(l, 0) == 0 && ipc_rwlock_rdunlock(l) == 0;
        _exit(!(reads && ipc_rwlock_wrlock(l, 1) == -1 && errno == ETIMEDOUT));
    }
    print_end(pid);
    SHOW(ipc_rwlock_rdunlock(l));
    SHOW(ipc_rwlock_rdunlock(l));
    pid = start_child();
    if (pid == 0) {
        ipc_rwlock_wrlock(l, LONG_MS);
        raise(SIGKILL);
    }
    print_end(pid);
    SHOW(ipc_rwlock_wrlock(l, LONG_MS));
    SHOW(ipc_rwlock_consistent(l));
    SHOW(ipc_rwlock_wrunlock(l));
    SHOW(ipc_rwlock_rdlock(l, LONG_MS));
    SHOW(ipc_rwlock_rdunlock(l));
}

static void show_cond(void)
{
    struct ipc_mutex *m = &s->mutex;

    SHOW(ipc_cond_signal(&s->cond));
    SHOW(ipc_cond_init(&s->cond, 0));
    SHOW(ipc_cond_signal(&s->cond));
    SHOW(ipc_mutex_lock(m, LONG_MS));
    SHOW(ipc_cond_wait(&s->cond, m, 1));
    pid_t pid = start_child();
    if (pid == 0) {
        if (ipc_mutex_lock(m, LONG_MS) < 0) {
            _exit(1);
        }
        s->turn = 1;
        _exit(ipc_cond_broadcast(&s->cond) < 0 || ipc_mutex_unlock(m) < 0);
    }
    while (s->turn == 0) {
        if (ipc_cond_wait(&s->cond, m, LONG_MS) < 0) {
            perror("ipc_cond_wait");
            exit(1);
        }
    }
    SHOW(ipc_mutex_unlock(m));
    print_end(pid);
}

static void show_event(void)
{
    SHOW(ipc_event_is_set(&s->event));
    SHOW(ipc_event_init(&s->event, IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET));
    SHOW(ipc_event_init(&s->latch, 0));
    SHOW(ipc_event_wait(&s->event, LONG_MS));
    SHOW(ipc_event_wait(&s->event, 0));
    SHOW(ipc_event_wait(&s->event, 1));
    pid_t pid = start_child();
    if (pid == 0) {
        _exit(ipc_event_set(&s->event) < 0 || ipc_event_wait(&s->latch, LONG_MS) < 0);
    }
    SHOW(ipc_event_wait(&s->event, LONG_MS));
    SHOW(ipc_event_set(&s->latch));
    print_end(pid);
    SHOW(ipc_event_is_set(&s->latch));
    SHOW(ipc_event_clear(&s->latch));
    SHOW(ipc_event_is_set(&s->latch));
}

int main(void)
{
    s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED) {
        return 1;
    }
    printf("sizes: %zu %zu %zu %zu\n", sizeof(s->mutex), sizeof(s->rwlock), sizeof(s->cond),
           sizeof(s->event));
    show_mutex(&s->mutex, 0);
    show_mutex(&s->inherits, IPC_MUTEX_F_PRIO_INHERIT);
    show_rwlock();
    show_cond();
    show_event();
    return 0;
}
