/*
 * The producer and consumer of the textbooks: a ring of buffers in shared memory, and two
 * semaphores that count the empty and the full buffers.
 */
#include "transport.h"

#include <errno.h>
#include <unixipc.h>

enum { EMPTY, FULL };

#define SLOTS 8

struct shared {
    struct {
        size_t len;
        char data[256 * 1024];
    } slot[SLOTS];
};

static struct shared *shared;

static int sems = -1;
static unsigned next; /* the slot that this side uses next */

static int add(unsigned short semaphore, short value)
{
    struct sembuf op = {.sem_num = semaphore, .sem_op = value};
    while (ipc_semop(sems, &op, 1) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EIDRM || errno == EINVAL)
            errno = EPIPE; /* the peer has ended, and the semaphores were removed after that */
        return -1;
    }
    return 0;
}

static void remove_shm(void)
{
    if (sems >= 0)
        ipc_semctl(sems, 0, IPC_RMID);
}

static int open_shm(void)
{
    int id = ipc_shmget(IPC_PRIVATE, sizeof(struct shared), IPC_CREAT | 0600);
    if (id < 0)
        return -1;
    shared = ipc_shmat(id, NULL, 0);
    int error = errno;
    /* After IPC_RMID the segment exists until both processes have detached it. */
    ipc_shmctl(id, IPC_RMID, NULL);
    errno = error;
    if (shared == (void *)-1)
        return -1;

    sems = ipc_semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    if (sems < 0)
        return -1;
    if (add(EMPTY, SLOTS) < 0) {
        error = errno;
        remove_shm();
        errno = error;
        return -1;
    }
    return 0;
}

static void keep_both(void)
{
    /* Both processes use the same memory. */
}

static void *reserve(size_t *ret_cap)
{
    *ret_cap = sizeof(shared->slot[0].data);
    return add(EMPTY, -1) < 0 ? NULL : shared->slot[next].data;
}

static int commit(size_t len)
{
    shared->slot[next].len = len;
    next = (next + 1) % SLOTS;
    return add(FULL, 1); /* the system call also orders the memory accesses */
}

static ssize_t peek(const void **ret_data)
{
    if (add(FULL, -1) < 0)
        return -1;
    *ret_data = shared->slot[next].data;
    return (ssize_t)shared->slot[next].len;
}

static int release(void)
{
    next = (next + 1) % SLOTS;
    return add(EMPTY, 1);
}

const struct transport via_shm = {
    .name = "shm",
    .open = open_shm,
    .keep_sender = keep_both,
    .keep_receiver = keep_both,
    .reserve = reserve,
    .commit = commit,
    .peek = peek,
    .release = release,
    .remove = remove_shm,
};
