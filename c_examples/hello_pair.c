/*
 * hello_pair: a message and its reply over a pair of sockets.
 * One message is one send: the library preserves message boundaries.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

static void child(int fd)
{
    char name[100], reply[200];
    ssize_t len = ipc_msg_recv(fd, name, sizeof(name) - 1, NULL, NULL, -1);
    if (len < 0)
        err(1, "child: ipc_msg_recv");
    name[len] = '\0';
    int reply_len = snprintf(reply, sizeof(reply), "hello, %s", name);
    if (ipc_msg_send(fd, reply, (size_t)reply_len, NULL, 0, -1) < 0)
        err(1, "child: ipc_msg_send");
}

int main(void)
{
    int pair[2], status;
    char reply[200];

    if (ipc_pair_open(SOCK_SEQPACKET, pair) < 0)
        err(1, "ipc_pair_open");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    close(pair[pid == 0 ? 0 : 1]); /* each process keeps one end */
    if (pid == 0) {
        child(pair[1]);
        return 0;
    }
    if (ipc_msg_send(pair[0], "world", strlen("world"), NULL, 0, -1) < 0)
        err(1, "ipc_msg_send");
    ssize_t len = ipc_msg_recv(pair[0], reply, sizeof(reply), NULL, NULL, 10000);
    if (len < 0)
        err(1, "ipc_msg_recv");
    printf("the child replied: %.*s\n", (int)len, reply);
    if (ipc_msg_recv(pair[0], reply, sizeof(reply), NULL, NULL, 10000) != 0)
        errx(1, "the child did not close its end");
    printf("the child has closed its end\n");
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "the child failed");
    return 0;
}
