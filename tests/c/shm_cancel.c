/* A thread is cancelled inside the calls for regions: none is a cancellation point, and none
 * leaves a lock or a descriptor behind. */
#include "check.h"

#include <pthread.h>

static char name[64], lock[128];
static pid_t owner;
static pthread_barrier_t inside;

static void clean_up(void)
{
    if (getpid() == owner) {
        ipc_shm_unlink(name);
        unlink(lock);
    }
}

/* Cancellation is pending when this runs, and this function has cancellation points. */
static int init(void *addr, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&inside);
    pthread_testcancel();
    check_pause();
    memcpy(addr, "complete", 9);
    return 0;
}

static void make(void *arg)
{
    struct ipc_shm *shm;

    CHECK(ipc_shm_open_or_create(name, 100, init, arg, NULL, 0, &shm) == 0);
    CHECK(strcmp(ipc_shm_addr(shm), "complete") == 0);
    ipc_shm_close(shm);
}

static void all_calls(void *arg)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_PUBLISH | IPC_SHM_F_TRANSIENT};
    struct ipc_shm *shm, *opened;
    int ignored;

    /* Pending from the beginning: the first cancellation point would end the thread. */
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&inside);
    CHECK(ipc_shm_create(100, &opts, sizeof opts, &shm) == 0);
    CHECK(ipc_shm_publish(shm, name) == 0);
    CHECK(ipc_shm_open(name, 0, &opened) == 0);
    CHECK(ipc_shm_is_current(opened) == 1);
    ipc_shm_close(opened);
    CHECK(ipc_shm_open_or_create(name, 100, NULL, NULL, NULL, 0, &opened) == 0);
    ipc_shm_close(opened);
    CHECK(ipc_shm_unlink(name) == 0);
    ipc_shm_close(shm);
    CHECK(ipc_shm_open_or_create(name, 100, NULL, NULL, NULL, 0, &opened) == 0);
    ipc_shm_close(opened);
    CHECK(ipc_shm_unlink(name) == 0);
    CHECK(ipc_shm_create(100, NULL, 0, &shm) == 0);
    CHECK(ipc_shm_from_fd(ipc_shm_fd(shm), 0, &opened) == 0);
    ipc_shm_close(opened);
    ipc_shm_close(shm);
    *(int *)arg = 1;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored) == 0);
    CHECK(ignored == PTHREAD_CANCEL_ENABLE);
}

/* The threads end here, in a frame without local variables: AddressSanitizer would consider the
 * variables live. */
static void *make_and_end(void *arg)
{
    make(arg);
    pthread_testcancel();
    return NULL;
}

static void *all_calls_and_end(void *arg)
{
    all_calls(arg);
    pthread_testcancel();
    return NULL;
}

static void cancel(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    void *result;

    CHECK(pthread_create(&thread, NULL, run, arg) == 0);
    pthread_barrier_wait(&inside);
    CHECK(pthread_cancel(thread) == 0);
    pthread_barrier_wait(&inside);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

int main(void)
{
    struct ipc_shm_opts opts = {.timeout_ms = 10000};
    struct ipc_shm *shm;
    int before, done = 0;
    pid_t child;

    owner = getpid();
    snprintf(name, sizeof name, "/unixipc-test-%ld", (long)owner);
    snprintf(lock, sizeof lock, "/dev/shm/.%s.lock", name + 1);
    CHECK(atexit(clean_up) == 0);
    CHECK(pthread_barrier_init(&inside, NULL, 2) == 0);
    before = check_descriptors();
    cancel(make_and_end, NULL);
    CHECK(check_descriptors() == before);
    CHECK(access(lock, F_OK) == -1);
    child = check_fork();
    if (child == 0) {
        CHECK(ipc_shm_open_or_create(name, 100, NULL, NULL, &opts, sizeof opts, &shm) == 0);
        CHECK(strcmp(ipc_shm_addr(shm), "complete") == 0);
        ipc_shm_close(shm);
        exit(0);
    }
    check_passed(child);
    CHECK(ipc_shm_unlink(name) == 0);
    cancel(all_calls_and_end, &done);
    CHECK(done == 1 && check_descriptors() == before);
    CHECK(pthread_barrier_destroy(&inside) == 0);
    return 0;
}
