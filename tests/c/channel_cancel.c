/*
 * Threads are cancelled in calls on channels: no descriptor is left, and no message or wake-up
 * is lost.
 */
#include "cancel.h"

static int listener;
static struct ipc_channel *ends[2];

static void *accepts(void *unused)
{
    struct ipc_channel *channel;

    (void)unused;
    begun = 1;
    ipc_channel_accept(listener, NULL, 0, -1, &channel);
    return NULL;
}

static void *connects(void *path)
{
    struct ipc_channel *channel;

    begun = 1;
    CHECK(ipc_channel_connect(path, NULL, 0, 500, &channel) == -1 && errno == ETIMEDOUT);
    pthread_testcancel();
    return NULL;
}

/* No process listens at the path. */
static void *waits_for_listener(void *path)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_WAIT};
    struct ipc_channel *channel;

    begun = 1;
    CHECK(ipc_channel_connect(path, &opts, sizeof opts, 500, &channel) == -1 && errno == ETIMEDOUT);
    pthread_testcancel();
    return NULL;
}

static void *receives(void *unused)
{
    char byte;

    (void)unused;
    begun = 1;
    for (;;)
        CHECK(ipc_channel_recv(ends[1], &byte, 1, -1) == 1);
    return NULL;
}

static void *sends(void *unused)
{
    (void)unused;
    begun = 1;
    for (;;)
        CHECK(ipc_channel_send(ends[0], "x", 1, -1) == 0);
    return NULL;
}

static void *receives_descriptors(void *unused)
{
    char byte;
    int fd;

    (void)unused;
    begun = 1;
    for (;;) {
        size_t nfds = 1;
        CHECK(ipc_channel_recv_fds(ends[1], &byte, 1, &fd, &nfds, -1) == 1);
        CHECK(nfds == 1 && close(fd) == 0);
    }
}

static void *sends_descriptors(void *unused)
{
    int input = 0;

    (void)unused;
    begun = 1;
    for (;;)
        CHECK(ipc_channel_send_fds(ends[0], "x", 1, &input, 1, -1) == 0);
}

/* Receives the messages of sends_descriptors, each with its descriptor. */
static void receive_all(void)
{
    char byte;
    int fd;
    size_t nfds = 1;

    while (ipc_channel_recv_fds(ends[1], &byte, 1, &fd, &nfds, 0) == 1)
        CHECK(byte == 'x' && nfds == 1 && close(fd) == 0);
    CHECK(errno == EAGAIN);
}

static void with_descriptors(void)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_FDS};
    int input = 0;

    CHECK(ipc_channel_pair(&opts, sizeof(opts), ends) == 0);
    for (int i = 0; i < 20; i++) {
        cancel(receives_descriptors, NULL);
        CHECK(ipc_channel_send_fds(ends[0], "x", 1, &input, 1, 0) == 0);
        receive_all();
    }
    /* The socket becomes full, and the sender waits for space. */
    for (int i = 0; i < 5; i++) {
        cancel(sends_descriptors, NULL);
        receive_all();
    }
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
}

int main(void)
{
    const char *path = check_path("listener");
    int before = check_descriptors();
    char byte;

    listener = ipc_channel_listen(path, 0600, 0);
    CHECK(listener >= 0);
    cancel(accepts, NULL);
    cancel(connects, (void *)path);
    CHECK(check_descriptors() == before + 1);
    unlink(path);
    close(listener);
    cancel(waits_for_listener, (void *)path);
    CHECK(check_descriptors() == before);

    CHECK(ipc_channel_pair(NULL, 0, ends) == 0);
    for (int i = 0; i < 20; i++) {
        cancel(receives, NULL);
        CHECK(ipc_channel_send(ends[0], "y", 1, 0) == 0);
        CHECK(ipc_channel_recv(ends[1], &byte, 1, 0) == 1 && byte == 'y');
    }
    /* The ring becomes full, and the sender waits for space. */
    cancel(sends, NULL);
    while (ipc_channel_recv(ends[1], &byte, 1, 0) == 1)
        CHECK(byte == 'x');
    CHECK(errno == EAGAIN);
    CHECK(ipc_channel_send(ends[0], "y", 1, 0) == 0);
    CHECK(ipc_channel_recv(ends[1], &byte, 1, 0) == 1 && byte == 'y');
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
    CHECK(check_descriptors() == before);
    with_descriptors();
    CHECK(check_descriptors() == before);
    return 0;
}
