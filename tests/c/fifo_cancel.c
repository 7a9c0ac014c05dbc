/* Threads that are cancelled in the calls on FIFOs leave no descriptor, reader or writer behind. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>

/* The address sanitizer of GCC 12 takes the stack of a cancelled thread for one in use. */
#ifdef __SANITIZE_ADDRESS__
#define CAN_CANCEL 0
#else
#define CAN_CANCEL 1
#endif

static char path[4096];
/* The call of a thread, and its arguments. */
static int end, timeout;
static unsigned flags;
static volatile int result, cleaned, thread_number;

static void clean(void *arg)
{
    (void)arg;
    cleaned++;
}

static int call_open(void)
{
    return ipc_fifo_open(path, flags, timeout);
}

static int call_send(void)
{
    return ipc_fifo_send(end, "more", 4, timeout);
}

static int call_recv(void)
{
    char record[8];

    return (int)ipc_fifo_recv(end, record, sizeof record, timeout);
}

static int call_recv_any(void)
{
    char record[8];

    return (int)ipc_fifo_recv_any(end, record, sizeof record, NULL, timeout);
}

static void *run(void *call)
{
    pthread_cleanup_push(clean, NULL);
    thread_number = gettid();
    result = (*(int (**)(void))call)();
    pthread_cleanup_pop(0);
    return NULL;
}

/* Cancels a thread in the call. */
static void cancel_in(int (*call)(void), useconds_t later)
{
    pthread_t thread;
    void *got = NULL;
    int fds = check_descriptors();

    cleaned = 0;
    thread_number = 0;
    CHECK(pthread_create(&thread, NULL, run, &call) == 0);
    while (thread_number == 0)
        CHECK(usleep(100) == 0);
    check_wait_state(thread_number, 'S');
    CHECK(usleep(later) == 0);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &got) == 0);
    CHECK(got == PTHREAD_CANCELED);
    CHECK(cleaned == 1);
    CHECK(check_descriptors() == fds);
}

/* The other side does not take a cancelled thread for a peer. */
static void opening(void)
{
    static const int timeouts[] = {-1, 60000, IPC_WAIT_INTR};

    for (int i = 0; i < 30; i++) {
        flags = i % 2 ? IPC_FIFO_F_WRITE : IPC_FIFO_F_READ;
        timeout = timeouts[i % 3];
        cancel_in(call_open, (useconds_t)i * 100);
        errno = 0;
        CHECK(open(path, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);
        errno = 0;
        CHECK(ipc_fifo_open(path, IPC_FIFO_F_READ, 0) == -1 && errno == EAGAIN);
    }
}

/* The session ends, and no record of the cancelled thread arrives. */
static void records(void)
{
    static const int timeouts[] = {-1, 60000, IPC_WAIT_INTR};
    char record[8];

    for (int i = 0; i < 9; i++) {
        int both = ipc_fifo_open(path, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, 0);
        int reader = ipc_fifo_open(path, IPC_FIFO_F_READ, 0);
        int writer = ipc_fifo_open(path, IPC_FIFO_F_WRITE, 0);

        CHECK(both >= 0 && reader >= 0 && writer >= 0 && close(both) == 0);
        timeout = timeouts[i % 3];
        end = reader;
        cancel_in(call_recv, 0);
        cancel_in(call_recv_any, 0);
        while (ipc_fifo_send(writer, "full", 4, 0) == 0) {
        }
        end = writer;
        cancel_in(call_send, (useconds_t)i * 100);
        CHECK(close(writer) == 0);
        while (ipc_fifo_recv(reader, record, sizeof record, 0) == 4)
            CHECK(memcmp(record, "full", 4) == 0);
        CHECK(ipc_fifo_recv(reader, record, sizeof record, 0) == 0);
        CHECK(close(reader) == 0);
    }
}

static void *cancelled_before(void *arg)
{
    (void)arg;
    CHECK(pthread_cancel(pthread_self()) == 0);
    result = ipc_fifo_open(path, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, -1);
    CHECK(ipc_fifo_create(path, 0600, IPC_FIFO_F_EXIST_OK) == 0);
    pthread_testcancel();
    return NULL;
}

/* A call that does not have to wait succeeds. */
static void no_wait(void)
{
    pthread_t thread;
    void *got = NULL;

    result = -1;
    CHECK(pthread_create(&thread, NULL, cancelled_before, NULL) == 0);
    CHECK(pthread_join(thread, &got) == 0 && got == PTHREAD_CANCELED);
    CHECK(result >= 0 && close(result) == 0);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/fifo_cancel", tmp ? tmp : "/tmp");
    CHECK(ipc_fifo_create(path, 0600, 0) == 0);
    no_wait();
    if (CAN_CANCEL) {
        opening();
        records();
    }
    CHECK(ipc_fifo_unlink(path) == 0);
    return 0;
}
