/*
 * hello_channel: messages through shared memory, in both directions.
 * The parent sends numbers, the child replies with their squares.
 */
#include <err.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

static void child(struct ipc_channel *ch)
{
    int n;
    ssize_t len;

    while ((len = ipc_channel_recv(ch, &n, sizeof(n), -1)) > 0) {
        n *= n;
        if (ipc_channel_send(ch, &n, sizeof(n), -1) < 0)
            err(1, "child: ipc_channel_send");
    }
    if (len < 0)
        err(1, "child: ipc_channel_recv");
    printf("the parent has closed its end\n"); /* len is 0 */
}

int main(void)
{
    struct ipc_channel *ends[2];
    int status;

    if (ipc_channel_pair(NULL, 0, ends) < 0)
        err(1, "ipc_channel_pair");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    ipc_channel_close(ends[pid == 0 ? 0 : 1]); /* each process keeps one end */
    if (pid == 0) {
        child(ends[1]);
        return 0;
    }
    for (int i = 1; i <= 3; i++) {
        int square;
        if (ipc_channel_send(ends[0], &i, sizeof(i), 10000) < 0)
            err(1, "ipc_channel_send");
        if (ipc_channel_recv(ends[0], &square, sizeof(square), 10000) <= 0)
            errx(1, "the child did not reply");
        printf("the square of %d is %d\n", i, square);
    }
    fflush(stdout); /* before the child prints */
    ipc_channel_close(ends[0]);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "the child failed");
    return 0;
}
