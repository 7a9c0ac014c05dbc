/*
 * hello_fds: open files through a channel, in order with its messages.
 * The parent opens files, and the child, which needs no access to them, reads them.
 */
#include <err.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

static void child(struct ipc_channel *ch)
{
    char name[16], text[64];
    ssize_t len;

    for (;;) {
        int fd;
        size_t nfds = 1; /* set it before each call */

        len = ipc_channel_recv_fds(ch, name, sizeof(name), &fd, &nfds, -1);
        if (len <= 0)
            break;
        if (nfds == 0) {
            printf("%.*s has no file\n", (int)len, name);
            continue;
        }
        ssize_t size = pread(fd, text, sizeof(text), 0);
        if (size < 0)
            err(1, "child: pread");
        close(fd); /* the receiver owns it */
        printf("%.*s says: %.*s\n", (int)len, name, (int)size, text);
    }
    if (len < 0)
        err(1, "child: ipc_channel_recv_fds");
}

/* Returns a temporary file with this text. */
static FILE *file_with(const char *text)
{
    FILE *file = tmpfile();

    if (file == NULL || fputs(text, file) < 0 || fflush(file) != 0)
        err(1, "temporary file");
    return file;
}

int main(void)
{
    struct ipc_channel_opts opts = {.flags = IPC_CHANNEL_F_FDS};
    struct ipc_channel *ends[2];
    int status;

    if (ipc_channel_pair(&opts, sizeof(opts), ends) < 0)
        err(1, "ipc_channel_pair");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    ipc_channel_close(ends[pid == 0 ? 0 : 1]); /* each process keeps one end */
    if (pid == 0) {
        child(ends[1]);
        return 0;
    }
    static const char *const texts[] = {"hello", "world"};
    for (int i = 0; i < 2; i++) {
        FILE *file = file_with(texts[i]);
        char name[16];
        int len = snprintf(name, sizeof(name), "file %d", i + 1), fd = fileno(file);

        if (ipc_channel_send_fds(ends[0], name, (size_t)len, &fd, 1, 10000) < 0)
            err(1, "ipc_channel_send_fds");
        fclose(file); /* the child has its own descriptor */
    }
    if (ipc_channel_send(ends[0], "the last message", 16, 10000) < 0)
        err(1, "ipc_channel_send");
    ipc_channel_close(ends[0]);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "the child failed");
    return 0;
}
