/* FIFO records, messages over a stream socket, and the lock in a semaphore set. */
#include "peer.h"
#include <signal.h>
#include <sys/un.h>

#define RECORDS 3000
#define KEY     17
#define ROUNDS  2000

static unsigned char buf[70000];

static size_t record_length(uint64_t number)
{
    return 1 + number * 17 % IPC_FIFO_RECORD_MAX;
}

void fifo_reader(const char *path)
{
    int fd;

    MUST(ipc_fifo_create(path, 0600, 0) == 0);
    ready();
    fd = ipc_fifo_open(path, IPC_FIFO_F_READ, LONG_MS);
    MUST(fd >= 0);
    for (uint64_t n = 0; n < RECORDS; n++) {
        MUST(ipc_fifo_recv(fd, buf, sizeof(buf), LONG_MS) == (ssize_t)record_length(n));
        MUST(is_filled(buf, record_length(n), n));
    }
    MUST(ipc_fifo_recv(fd, buf, sizeof(buf), LONG_MS) == 0);
    close(fd);
    MUST(ipc_fifo_unlink(path) == 0);
}

void fifo_writer(const char *path)
{
    int fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, LONG_MS);

    MUST(fd >= 0);
    for (uint64_t n = 0; n < RECORDS; n++) {
        fill(buf, record_length(n), n);
        MUST(ipc_fifo_send(fd, buf, record_length(n), LONG_MS) == 0);
    }
    close(fd);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    MUST(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    return address;
}

static size_t message_length(uint64_t number)
{
    return number % 100 == 0 ? sizeof(buf) : 1 + number;
}

void message_receiver(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), sock, fd = -1;
    size_t nfds = 1;

    MUST(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    MUST(listen(listener, 1) == 0);
    ready();
    sock = accept(listener, NULL, NULL);
    for (uint64_t n = 0; n < RECORDS; n++) {
        MUST(ipc_msg_recv(sock, buf, sizeof(buf), NULL, NULL, LONG_MS) ==
             (ssize_t)message_length(n));
        MUST(is_filled(buf, message_length(n), n));
    }
    MUST(ipc_msg_recv(sock, buf, sizeof(buf), &fd, &nfds, LONG_MS) == 6 && nfds == 1);
    MUST(write(fd, "x", 1) == 1);
    close(fd);
    MUST(ipc_msg_recv(sock, buf, sizeof(buf), NULL, NULL, LONG_MS) == 0);
    close(sock);
    close(listener);
    unlink(path);
}

void message_sender(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int sock = socket(AF_UNIX, SOCK_STREAM, 0), fds[2];
    char byte = 0;

    MUST(connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0);
    for (uint64_t n = 0; n < RECORDS; n++) {
        struct iovec parts[2] = {{buf, 1}, {buf + 1, message_length(n) - 1}};
        fill(buf, message_length(n), n);
        MUST(ipc_msg_sendv(sock, parts, 2, NULL, 0, LONG_MS) == (ssize_t)message_length(n));
    }
    MUST(pipe(fds) == 0);
    MUST(ipc_msg_send(sock, "a pipe", 6, &fds[1], 1, LONG_MS) == 0);
    close(fds[1]);
    MUST(read(fds[0], &byte, 1) == 1 && byte == 'x');
    close(fds[0]);
    close(sock);
}

/* Counts in shared memory under the lock, until both processes have counted. */
static volatile int *count(int id)
{
    struct ipc_shm *shm;
    volatile int *counter;

    MUST(ipc_shm_attach(KEY, sizeof(*counter), IPC_CREAT | 0600, &shm) == 0);
    counter = ipc_shm_addr(shm);
    for (int i = 0; i < ROUNDS; i++) {
        MUST(ipc_semlock_wrlock(id, LONG_MS) == 0);
        *counter = *counter + 1;
        MUST(ipc_semlock_wrunlock(id) == 0);
    }
    return counter;
}

/* Leaves the lock to the other process as the owner that died. */
void semlock_first(const char *unused)
{
    int id = ipc_semlock_open(KEY, IPC_CREAT | 0600), counted = 0;
    volatile int *counter;

    (void)unused;
    MUST(id >= 0);
    ready();
    counter = count(id);
    while (!counted) {
        MUST(ipc_semlock_rdlock(id, LONG_MS) == 0);
        counted = *counter == 2 * ROUNDS;
        MUST(ipc_semlock_rdunlock(id) == 0);
    }
    MUST(ipc_semlock_wrlock(id, LONG_MS) == 0);
    *counter = -1;
    /* Exits with the lock. */
}

void semlock_second(const char *unused)
{
    int id = ipc_semlock_open(KEY, 0), locked;
    volatile int *counter;

    (void)unused;
    MUST(id >= 0);
    counter = count(id);
    for (;;) {
        locked = ipc_semlock_rdlock(id, LONG_MS);
        MUST(locked >= 0);
        MUST(ipc_semlock_rdunlock(id) == 0);
        if (locked == IPC_OWNER_DIED) {
            break;
        }
    }
    MUST(ipc_semlock_wrlock(id, LONG_MS) == IPC_OWNER_DIED);
    MUST(*counter == -1);
    MUST(ipc_semlock_consistent(id) == 0);
    MUST(ipc_semlock_wrunlock(id) == 0);
    MUST(ipc_semlock_remove(id) == 0);
    MUST(ipc_shmctl(ipc_shmget(KEY, 0, 0), IPC_RMID, NULL) == 0);
}
