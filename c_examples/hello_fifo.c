/*
 * hello_fifo: several writers, one reader, and a FIFO between them.
 * A FIFO is a stream of bytes, but each record arrives whole.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#define WRITERS 3

static void write_record(const char *path, int number)
{
    char record[100];
    int len = snprintf(record, sizeof(record), "hello from writer %d", number);
    int fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, 10000); /* waits for the reader */
    if (fd < 0 || ipc_fifo_send(fd, record, (size_t)len, -1) < 0)
        err(1, "writer %d", number);
    close(fd);
}

int main(int argc, char **argv)
{
    char record[IPC_FIFO_RECORD_MAX];
    int failed = 0, status;

    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: hello_fifo PATH\n");
        return 2;
    }
    if (ipc_fifo_create(argv[1], 0600, IPC_FIFO_F_EXIST_OK) < 0)
        err(1, "%s", argv[1]);
    /* Persistent: the reader does not wait for a writer, and does not end with the last one. */
    int fd = ipc_fifo_open(argv[1], IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, 0);
    if (fd < 0)
        err(1, "%s", argv[1]);
    for (int i = 1; i <= WRITERS; i++) {
        pid_t pid = fork();
        if (pid < 0)
            err(1, "fork");
        if (pid == 0) {
            write_record(argv[1], i);
            exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        ssize_t len = ipc_fifo_recv(fd, record, sizeof(record), 10000);
        if (len < 0)
            err(1, "ipc_fifo_recv");
        printf("%.*s\n", (int)len, record);
    }
    close(fd);
    if (ipc_fifo_unlink(argv[1]) < 0)
        err(1, "%s", argv[1]);
    while (wait(&status) > 0)
        failed |= status;
    return failed != 0;
}
