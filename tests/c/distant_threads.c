/* The stacks of two threads lie exactly 4 GiB apart: the locks do not take one for the other. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#define SIZE     ((size_t)256 << 10)
#define DISTANCE ((size_t)1 << 32)

static struct ipc_mutex mutex;
static struct ipc_rwlock rwlock;
static atomic_int step;

static void wait_for(int value)
{
    while (step != value)
        check_pause();
}

static void *holds(void *unused)
{
    (void)unused;
    CHECK(ipc_mutex_lock(&mutex, -1) == 0);
    CHECK(ipc_rwlock_rdlock(&rwlock, -1) == 0);
    step = 1;
    wait_for(2);
    CHECK(ipc_rwlock_rdunlock(&rwlock) == 0);
    CHECK(ipc_mutex_unlock(&mutex) == 0);
    return NULL;
}

static void *disturbs(void *unused)
{
    (void)unused;
    wait_for(1);
    CHECK(ipc_mutex_unlock(&mutex) == -1 && errno == EPERM);
    CHECK(ipc_mutex_lock(&mutex, 20) == -1 && errno == ETIMEDOUT);
    CHECK(ipc_rwlock_rdunlock(&rwlock) == -1 && errno == EPERM);
    CHECK(ipc_rwlock_wrlock(&rwlock, 20) == -1 && errno == ETIMEDOUT);
    step = 2;
    return NULL;
}

static pthread_t start(void *(*run)(void *), char *stack)
{
    pthread_attr_t attributes;
    pthread_t thread;

    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, SIZE) == 0);
    CHECK(pthread_create(&thread, &attributes, run, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return thread;
}

int main(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *stacks = mmap(NULL, DISTANCE + SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pthread_t threads[2];

    /* For instance under a limit of the address space. */
    if (stacks == MAP_FAILED)
        return CANNOT_RUN;
    CHECK(ipc_mutex_init(&mutex, 0) == 0);
    CHECK(ipc_rwlock_init(&rwlock, 0) == 0);
    threads[0] = start(holds, stacks);
    threads[1] = start(disturbs, stacks + DISTANCE);
    CHECK(pthread_join(threads[0], NULL) == 0);
    CHECK(pthread_join(threads[1], NULL) == 0);
    puts("ok");
    return 0;
}
