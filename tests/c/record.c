/* FIFOs and records from C. */
#include "check.h"

#include <fcntl.h>

static char path[4096];

/* Sessions, the end of one, and records of every length. */
static void sessions(void)
{
    static char record[IPC_FIFO_RECORD_MAX], got[IPC_FIFO_RECORD_MAX];
    pid_t child;
    int fd;

    memset(record, 'r', sizeof record);
    for (int session = 0; session < 3; session++) {
        child = check_fork();
        if (child == 0) {
            fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, -1);
            CHECK(fd >= 0);
            for (size_t len = 1; len <= sizeof record; len += 31)
                CHECK(ipc_fifo_send(fd, record, len, -1) == 0);
            CHECK(close(fd) == 0);
            exit(0);
        }
        fd = ipc_fifo_open(path, IPC_FIFO_F_READ, -1);
        CHECK(fd >= 0);
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
        for (size_t len = 1; len <= sizeof record; len += 31) {
            CHECK(ipc_fifo_recv(fd, got, sizeof got, -1) == (ssize_t)len);
            CHECK(memcmp(record, got, len) == 0);
        }
        CHECK(ipc_fifo_recv(fd, got, sizeof got, -1) == 0);
        CHECK(close(fd) == 0);
        check_passed(child);
    }
}

static void limits(void)
{
    char byte;
    int reader, writer;

    errno = 0;
    CHECK(ipc_fifo_open(path, IPC_FIFO_F_WRITE, 0) == -1 && errno == EAGAIN);
    errno = 0;
    CHECK(ipc_fifo_open(path, IPC_FIFO_F_READ, 10) == -1 && errno == ETIMEDOUT);
    reader = ipc_fifo_open(path, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, 0);
    CHECK(reader >= 0);
    writer = ipc_fifo_open(path, IPC_FIFO_F_WRITE | IPC_FIFO_F_PACKET, 0);
    CHECK(writer >= 0);
    errno = 0;
    CHECK(ipc_fifo_recv(reader, &byte, 1, 0) == -1 && errno == EAGAIN);
    CHECK(ipc_fifo_send(writer, "ab", 2, 0) == 0 && ipc_fifo_send(writer, "c", 1, 0) == 0);
    errno = 0;
    CHECK(ipc_fifo_recv(reader, &byte, 1, 0) == -1 && errno == EMSGSIZE);
    CHECK(ipc_fifo_recv(reader, &byte, 1, 0) == 1 && byte == 'c');
    errno = 0;
    CHECK(ipc_fifo_send(writer, path, IPC_FIFO_RECORD_MAX + 1, 0) == -1 && errno == EMSGSIZE);
    errno = 0;
    CHECK(ipc_fifo_send(writer, path, 0, 0) == -1 && errno == EINVAL);
    /* A persistent reader may send too. */
    CHECK(ipc_fifo_send(reader, "d", 1, 0) == 0 && ipc_fifo_send(writer, "e", 1, 0) == 0);
    CHECK(ipc_fifo_recv(reader, &byte, 1, 0) == 1 && byte == 'd');
    CHECK(ipc_fifo_recv(reader, &byte, 1, 0) == 1 && byte == 'e');
    CHECK(close(reader) == 0);
    /* No signal: this process would end. */
    errno = 0;
    CHECK(ipc_fifo_send(writer, "x", 1, 0) == -1 && errno == EPIPE);
    CHECK(close(writer) == 0);
}

/* A waiting reader finds the FIFO that replaces the old one. */
static void made_anew(void)
{
    char ready, byte;
    int fd, told[2];
    pid_t child;

    CHECK(pipe(told) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(write(told[1], "r", 1) == 1);
        fd = ipc_fifo_open(path, IPC_FIFO_F_READ, -1);
        if (fd < 0) {
            /* The FIFO did not exist at that moment. */
            CHECK(errno == ENOENT);
            while ((fd = ipc_fifo_open(path, IPC_FIFO_F_READ, -1)) < 0)
                CHECK(errno == ENOENT);
        }
        CHECK(ipc_fifo_recv(fd, &byte, 1, -1) == 1);
        CHECK(close(fd) == 0 && close(told[0]) == 0 && close(told[1]) == 0);
        exit(0);
    }
    CHECK(read(told[0], &ready, 1) == 1);
    CHECK(usleep(20000) == 0); /* usually it waits by then; the test must pass either way */
    CHECK(ipc_fifo_unlink(path) == 0 && ipc_fifo_create(path, 0600, 0) == 0);
    fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, -1);
    CHECK(fd >= 0 && ipc_fifo_send(fd, "x", 1, -1) == 0);
    CHECK(close(fd) == 0 && close(told[0]) == 0 && close(told[1]) == 0);
    check_passed(child);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    struct stat st;

    snprintf(path, sizeof path, "%s/record", tmp ? tmp : "/tmp");
    umask(077);
    CHECK(ipc_fifo_create(path, 0622, 0) == 0);
    CHECK(stat(path, &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0622);
    errno = 0;
    CHECK(ipc_fifo_create(path, 0622, 0) == -1 && errno == EEXIST);
    CHECK(ipc_fifo_create(path, 0600, IPC_FIFO_F_EXIST_OK) == 0);
    sessions();
    limits();
    made_anew();
    CHECK(ipc_fifo_unlink(path) == 0);
    errno = 0;
    CHECK(ipc_fifo_unlink("/") == -1 && errno == EINVAL);
    return 0;
}
