/* FIFOs and records. */
#include "show.h"

int main(void)
{
    char buf[IPC_FIFO_RECORD_MAX];
    int reader, writer, text = -1;

    SHOW(ipc_fifo_create("fifo", 0600, 0));
    SHOW(ipc_fifo_create("fifo", 0600, 0));
    SHOW(ipc_fifo_create("fifo", 0600, IPC_FIFO_F_EXIST_OK));
    SHOW(ipc_fifo_open("fifo", IPC_FIFO_F_WRITE, 0));
    reader = ipc_fifo_open("fifo", IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, 0);
    writer = ipc_fifo_open("fifo", IPC_FIFO_F_WRITE, 0);
    SHOW(reader >= 0 && writer >= 0);
    SHOW(ipc_fifo_recv(reader, buf, sizeof(buf), 0));
    SHOW(ipc_fifo_send(writer, "lost: the buffer is too small", 29, LONG_MS));
    SHOW(ipc_fifo_send(writer, "record", 6, LONG_MS));
    memset(buf, 'x', sizeof(buf));
    SHOW(ipc_fifo_send(writer, buf, sizeof(buf), LONG_MS));
    SHOW(ipc_fifo_send(writer, buf, sizeof(buf) + 1, LONG_MS));
    SHOW(ipc_fifo_recv(reader, buf, 3, LONG_MS));
    SHOW(ipc_fifo_recv(reader, buf, sizeof(buf), LONG_MS));
    SHOW(memcmp(buf, "record", 6) == 0);
    SHOW(ipc_fifo_recv(reader, buf, sizeof(buf), LONG_MS));
    SHOW(buf[sizeof(buf) - 1]);
    SHOW(write(writer, "line\n", 5));
    SHOW(ipc_fifo_recv_any(reader, buf, sizeof(buf), &text, LONG_MS));
    SHOW(text);
    SHOW(memcmp(buf, "line\n", 4) == 0);
    SHOW(ipc_fifo_send(writer, "second", 6, LONG_MS));
    SHOW(ipc_fifo_recv_any(reader, buf, sizeof(buf), &text, LONG_MS));
    SHOW(text);
    close(writer);
    SHOW(ipc_fifo_recv(reader, buf, sizeof(buf), 0));
    close(reader);
    SHOW(ipc_fifo_unlink("fifo"));
    SHOW(ipc_fifo_unlink("fifo"));
    return 0;
}
