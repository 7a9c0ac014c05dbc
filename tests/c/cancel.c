/*
 * Cancellation: a waiting thread is cancelled at once, holds no lock then, and runs its
 * cleanup handlers; a thread that has disabled cancellation continues to wait.
 */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct shared {
    struct ipc_event event;
    _Alignas(64) unsigned char cell[4096];
};

static struct shared *shared;
static struct ipc_cell *cell;

static int wait_for_event(int timeout_ms)
{
    return ipc_event_wait(&shared->event, timeout_ms);
}

static int wait_for_value(int timeout_ms)
{
    return ipc_cell_wait(cell, 0, timeout_ms);
}

struct waiter {
    int (*wait)(int timeout_ms);
    int timeout_ms;
    int disabled; /* whether the thread disables its cancellation */
    int result;
    int cleaned; /* whether the cleanup handler ran */
    _Atomic int thread_id;
};

static void clean(void *arg)
{
    ((struct waiter *)arg)->cleaned = 1;
}

static void *waits(void *arg)
{
    struct waiter *waiter = arg;
    int before;

    if (waiter->disabled)
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    pthread_cleanup_push(clean, waiter);
    waiter->thread_id = (int)syscall(SYS_gettid);
    waiter->result = waiter->wait(waiter->timeout_ms);
    pthread_cleanup_pop(0);
    return waiter;
}

static pthread_t start(struct waiter *waiter)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, waits, waiter) == 0);
    return thread;
}

/* Starts a thread that waits, and returns when it sleeps. */
static pthread_t start_asleep(struct waiter *waiter)
{
    pthread_t thread = start(waiter);

    while (waiter->thread_id == 0)
        check_pause();
    check_wait_state(waiter->thread_id, 'S');
    return thread;
}

static void is_cancelled(int (*wait)(int), int timeout_ms)
{
    struct waiter waiter = {.wait = wait, .timeout_ms = timeout_ms};
    pthread_t thread = start_asleep(&waiter);
    void *result;

    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && waiter.cleaned);
}

/* Cancellation that is pending before a call ends it too, unless the call may not wait. */
static void *is_pending(void *arg)
{
    struct waiter *waiter = arg;
    int before;

    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before) == 0);
    return waits(waiter);
}

static void is_cancelled_before(int (*wait)(int), int timeout_ms, int is_point)
{
    struct waiter waiter = {.wait = wait, .timeout_ms = timeout_ms};
    pthread_t thread;
    void *result;

    CHECK(pthread_create(&thread, NULL, is_pending, &waiter) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK((result == PTHREAD_CANCELED) == is_point && waiter.cleaned == is_point);
}

static void waits_on(int (*wait)(int))
{
    struct waiter waiter = {.wait = wait, .timeout_ms = -1, .disabled = 1};
    pthread_t thread = start_asleep(&waiter);
    void *result;

    CHECK(pthread_cancel(thread) == 0);
    CHECK(ipc_event_set(&shared->event) == 0);
    CHECK(ipc_cell_store(cell, "a", 1, 5000) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == &waiter && waiter.result == 0 && !waiter.cleaned);
}

static void init(unsigned event_flags, unsigned cell_flags)
{
    CHECK(ipc_event_init(&shared->event, event_flags) == 0);
    if (cell != NULL)
        ipc_cell_close(cell);
    CHECK(ipc_cell_init(shared->cell, sizeof shared->cell, 1, cell_flags, &cell) == 0);
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && ipc_cell_memory_size(1) <= sizeof shared->cell);
    init(IPC_EVENT_F_AUTO_RESET, IPC_CELL_F_WAITABLE);
    is_cancelled(wait_for_event, -1);
    is_cancelled(wait_for_event, 1000000);
    is_cancelled(wait_for_event, IPC_WAIT_INTR);
    is_cancelled(wait_for_value, -1);
    is_cancelled(wait_for_value, 1000000);
    is_cancelled(wait_for_value, IPC_WAIT_INTR);
    waits_on(wait_for_event);
    init(0, IPC_CELL_F_WAITABLE_RDONLY);
    is_cancelled(wait_for_event, -1);
    is_cancelled(wait_for_value, -1);
    waits_on(wait_for_value);

    /* The event is set, and there is a value: neither call sleeps. */
    init(IPC_EVENT_F_SET, IPC_CELL_F_WAITABLE);
    CHECK(ipc_cell_store(cell, "a", 1, 0) == 0);
    is_cancelled_before(wait_for_event, -1, 1);
    is_cancelled_before(wait_for_value, -1, 1);
    is_cancelled_before(wait_for_event, 0, 0);
    is_cancelled_before(wait_for_value, 0, 0);
    CHECK(ipc_event_is_set(&shared->event) == 1);
    ipc_cell_close(cell);
    CHECK(munmap(shared, sizeof *shared) == 0);
    return 0;
}
