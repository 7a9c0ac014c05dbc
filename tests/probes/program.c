/*
 * Reaches probes of the library, and prints what a tracer must find there: one line a probe, with its
 * arguments. An argument that the program does not know is printed as "?".
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

void other_probe(void);

#pragma weak other_probe

static void must(long result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

static void expect_errno(long result, int error, const char *what)
{
    if (result != -1 || errno != error)
        err(1, "%s", what);
}

static void channels(void)
{
    struct ipc_channel *ends[2];
    struct iovec parts[2] = {{"abc", 3}, {"defg", 4}};
    char a[8], b[8];
    struct iovec targets[2] = {{a, sizeof(a)}, {b, sizeof(b)}};

    must(ipc_channel_pair(NULL, 0, ends), "ipc_channel_pair");
    must(ipc_channel_send(ends[0], "hello", 5, -1), "ipc_channel_send");
    /* The receiver is not known to be awake yet. */
    printf("channel_send %p 5\n", (void *)ends[0]);
    printf("channel_wake %p 0\n", (void *)ends[0]);
    must(ipc_channel_recv(ends[1], a, sizeof(a), -1), "ipc_channel_recv");
    printf("channel_receive %p 5\n", (void *)ends[1]);
    must(ipc_channel_send_many(ends[0], parts, 2, -1), "ipc_channel_send_many");
    printf("channel_send_many %p 7 2\n", (void *)ends[0]);
    must(ipc_channel_recv_many(ends[1], targets, 2, -1), "ipc_channel_recv_many");
    printf("channel_receive_many %p 7 2\n", (void *)ends[1]);
    expect_errno(ipc_channel_recv(ends[1], a, sizeof(a), 0), EAGAIN,
                 "a receive from an empty ring");
    printf("error %d channel/recv.rs ?\n", EAGAIN);
    expect_errno(ipc_channel_recv(ends[1], a, sizeof(a), 1), ETIMEDOUT, "a time-out");
    printf("channel_sleep %p 0\n", (void *)ends[1]);
    printf("channel_awake %p 0\n", (void *)ends[1]);
    printf("error %d deadline.rs ?\n", ETIMEDOUT);
    expect_errno(ipc_channel_send(NULL, "x", 1, 0), EINVAL, "no channel");
    printf("error %d ffi/pointer.rs ?\n", EINVAL);
    expect_errno(ipc_channel_send(ends[0], "x", 1, -3), EINVAL, "a wrong time-out");
    printf("error %d deadline.rs ?\n", EINVAL);
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
}

static void *subscribe(void *sock)
{
    struct ipc_sub_opts opts = {.flags = IPC_SUB_F_LOSSY};
    struct ipc_sub *sub;

    must(ipc_sub_from_fd(*(int *)sock, &opts, sizeof(opts), -1, &sub), "ipc_sub_from_fd");
    return sub;
}

static void feeds(void)
{
    static char message[1000];
    struct ipc_feed *feed;
    struct ipc_sub *sub;
    pthread_t thread;
    uint64_t next;
    int socks[2];

    must(ipc_feed_create(NULL, 0, &feed), "ipc_feed_create");
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), "socketpair");
    must(ipc_feed_add(feed, socks[0]), "ipc_feed_add");
    if (pthread_create(&thread, NULL, subscribe, &socks[1]) != 0)
        errx(1, "pthread_create");
    /* The descriptor is readable when a subscriber waits for its admission. */
    do {
        struct pollfd readable = {ipc_feed_fd(feed), POLLIN, 0};

        must(poll(&readable, 1, -1), "poll");
        must(ipc_feed_service(feed), "ipc_feed_service");
    } while (ipc_feed_subscribers(feed, NULL, 0, 0) == 0);
    if (pthread_join(thread, (void **)&sub) != 0)
        errx(1, "pthread_join");
    must(ipc_feed_publish(feed, message, 10, -1), "ipc_feed_publish");
    printf("feed_publish %p 10 0\n", (void *)feed);
    must(ipc_sub_recv(sub, message, sizeof(message), NULL, -1), "ipc_sub_recv");
    printf("feed_receive %p 10 0\n", (void *)sub);
    for (int i = 0; i < 1000; i++)
        must(ipc_feed_publish(feed, message, sizeof(message), -1), "ipc_feed_publish");
    expect_errno(ipc_sub_recv(sub, message, sizeof(message), &next, -1), EOVERFLOW, "an overrun");
    printf("feed_overrun %p %ld %ld\n", (void *)sub, (long)next - 1, (long)next);
    printf("error %d feed/subscriber.rs ?\n", EOVERFLOW);
    ipc_sub_close(sub);
    ipc_feed_close(feed);
    close(socks[0]);
    close(socks[1]);
}

static void *lock_with_timeout(void *mutex)
{
    expect_errno(ipc_mutex_lock(mutex, 1), ETIMEDOUT, "a locked mutex");
    return NULL;
}

static void locks(void)
{
    const int access = PROT_READ | PROT_WRITE;
    struct ipc_mutex *mutex = mmap(NULL, 4096, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t thread;
    pid_t child;

    if (mutex == MAP_FAILED)
        err(1, "mmap");
    must(ipc_mutex_init(mutex, 0), "ipc_mutex_init");
    child = fork();
    must(child, "fork");
    if (child == 0) {
        must(ipc_mutex_lock(mutex, -1), "ipc_mutex_lock");
        _exit(0); /* with the mutex locked */
    }
    must(waitpid(child, NULL, 0), "waitpid");
    if (ipc_mutex_lock(mutex, -1) != IPC_OWNER_DIED)
        errx(1, "the owner did not die");
    printf("owner_died ?\n");
    if (pthread_create(&thread, NULL, lock_with_timeout, mutex) != 0 ||
        pthread_join(thread, NULL) != 0)
        errx(1, "a thread");
    printf("lock_wait ? %d\n", gettid());
    printf("lock_waited ? %d\n", ETIMEDOUT);
    must(ipc_mutex_unlock(mutex), "ipc_mutex_unlock");
}

static void kernel_objects(void)
{
    char buffer[16], path[] = "/tmp/unixipc-probes-XXXXXX", fifo[64];
    int socks[2], fd;

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), "socketpair");
    must(ipc_msg_send(socks[0], "hello", 5, NULL, 0, -1), "ipc_msg_send");
    printf("message_send %d 5 0\n", socks[0]);
    must(ipc_msg_recv(socks[1], buffer, sizeof(buffer), NULL, NULL, -1), "ipc_msg_recv");
    printf("message_receive %d 5 0\n", socks[1]);
    if (mkdtemp(path) == NULL)
        err(1, "mkdtemp");
    snprintf(fifo, sizeof(fifo), "%s/fifo", path);
    must(ipc_fifo_create(fifo, 0600, 0), "ipc_fifo_create");
    fd = ipc_fifo_open(fifo, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, -1);
    must(fd, "ipc_fifo_open");
    must(ipc_fifo_send(fd, "hello", 5, -1), "ipc_fifo_send");
    printf("fifo_send %d 5\n", fd);
    must(ipc_fifo_recv(fd, buffer, sizeof(buffer), -1), "ipc_fifo_recv");
    printf("fifo_receive %d 5\n", fd);
    close(fd);
    unlink(fifo);
    rmdir(path);
    expect_errno(ipc_fifo_open(fifo, IPC_FIFO_F_READ, 0), ENOENT, "a FIFO that is gone");
    printf("error %d system call 0\n", ENOENT);
}

int main(void)
{
    if (other_probe)
        other_probe();
    channels();
    feeds();
    locks();
    kernel_objects();
    fflush(stdout);
    return 0;
}
