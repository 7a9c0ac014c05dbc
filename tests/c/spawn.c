/* ipc_spawn from C: a coprocess, options, and invalid arguments. */
#include "check.h"

#include <fcntl.h>

static void check_exit(pid_t pid, int want)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == want);
}

static void coprocess(void)
{
    char *argv[] = {(char[]){"sort"}, NULL};
    char buffer[100];
    int fd;
    pid_t pid = ipc_spawn("sort", argv, NULL, 0, &fd);

    CHECK(pid > 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ipc_send_full(fd, "b\na\n", 4, NULL, -1) == 4);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(ipc_recv_full(fd, buffer, sizeof buffer, NULL, -1) == 4);
    CHECK(memcmp(buffer, "a\nb\n", 4) == 0);
    CHECK(close(fd) == 0);
    check_exit(pid, 0);
}

/* All options: the shell prints what it receives. */
static void options(void)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"},
                    (char[]){"{ pwd; echo $X; cat <&5; } >&7; echo unseen >&2; exit 3"}, NULL};
    char *envp[] = {(char[]){"X=value"}, (char[]){"PATH=/usr/bin:/bin"}, NULL};
    static const char want[] = "/\nvalue\npiped\n";
    char buffer[100];
    int fd, ends[2];
    pid_t pid;

    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], "piped\n", 6) == 6 && close(ends[1]) == 0);
    struct ipc_spawn_fd fds[] = {{.fd = ends[0], .child_fd = 5}};
    struct ipc_spawn_opts opts = {.envp = envp,
                                  .cwd = "/",
                                  .fds = fds,
                                  .nfds = 1,
                                  .child_fd = 7,
                                  .flags = IPC_SPAWN_F_STDERR_NULL};
    pid = ipc_spawn("sh", argv, &opts, sizeof opts, &fd);
    CHECK(pid > 0);
    CHECK(ipc_recv_full(fd, buffer, sizeof buffer, NULL, -1) == sizeof want - 1);
    CHECK(memcmp(buffer, want, sizeof want - 1) == 0);
    CHECK(close(fd) == 0 && close(ends[0]) == 0);
    check_exit(pid, 3);
}

static void refused(void)
{
    char *argv[] = {(char[]){"no such program"}, NULL};
    struct {
        struct ipc_spawn_opts opts;
        int newer;
    } longer = {.newer = 1};
    const char *preload = getenv("LD_PRELOAD");
    int fd = -7;

    /* Valgrind makes a fork of the vfork in posix_spawn, and so loses exec's error. */
    if (!preload || !strstr(preload, "vgpreload")) {
        errno = 0;
        CHECK(ipc_spawn(argv[0], argv, NULL, 0, &fd) == -1 && errno == ENOENT && fd == -7);
    }
    errno = 0;
    CHECK(ipc_spawn(argv[0], argv, &longer.opts, sizeof longer, &fd) == -1 && errno == E2BIG);
    const struct ipc_spawn_opts *pointer = &longer.opts;
    errno = 0;
    CHECK(ipc_spawn("true", argv, pointer, sizeof pointer, &fd) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_spawn(NULL, argv, NULL, 0, &fd) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(void)
{
    coprocess();
    options();
    refused();
    return 0;
}
