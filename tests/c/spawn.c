/* ipc_spawn from C: a coprocess, options, a sandbox, and invalid arguments. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

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

/* Limits, pipes, a pidfd, and a signal at the end of this process. */
static void sandbox(void)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"},
                    (char[]){"ulimit -t; ulimit -H -c; cat /dev/stdin; exit 4"}, NULL};
    static const char want[] = "20\n0\npiped\n";
    struct ipc_spawn_limit limits[] = {
        {.resource = RLIMIT_CORE, .soft = 0, .hard = 0},
        {.resource = RLIMIT_CPU, .soft = 20, .hard = 20},
    };
    char buffer[100];
    size_t len = 0;
    ssize_t got;
    int in, out = -7, pidfd = -7;
    struct ipc_spawn_opts opts = {.limits = limits,
                                  .nlimits = 2,
                                  .flags = IPC_SPAWN_F_NO_NEW_PRIVS | IPC_SPAWN_F_PIPES,
                                  .ret_pidfd = &pidfd,
                                  .ret_out_fd = &out,
                                  .pdeathsig = SIGKILL};
    pid_t pid = ipc_spawn("sh", argv, &opts, sizeof opts, &in);

    CHECK(pid > 0 && out >= 0 && pidfd >= 0);
    CHECK(fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
    CHECK(write(in, "piped\n", 6) == 6 && close(in) == 0);
    while ((got = read(out, buffer + len, sizeof buffer - len)) > 0)
        len += (size_t)got;
    CHECK(got == 0 && len == sizeof want - 1 && memcmp(buffer, want, len) == 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    CHECK(poll(&ended, 1, 20000) == 1);
    CHECK(close(out) == 0 && close(pidfd) == 0);
    check_exit(pid, 4);
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

    /* Valgrind makes a fork of the vfork in ipc_spawn, and so loses the child's error. */
    if (!preload || !strstr(preload, "vgpreload")) {
        const struct ipc_spawn_limit limit = {.resource = -1};
        const struct ipc_spawn_opts limited = {.limits = &limit, .nlimits = 1};
        errno = 0;
        CHECK(ipc_spawn("true", argv, &limited, sizeof limited, &fd) == -1 && errno == EINVAL);
        errno = 0;
        CHECK(ipc_spawn(argv[0], argv, NULL, 0, &fd) == -1 && errno == ENOENT && fd == -7);
    }
    errno = 0;
    CHECK(ipc_spawn(argv[0], argv, &longer.opts, sizeof longer, &fd) == -1 && errno == E2BIG);
    const struct ipc_spawn_opts *pointer = &longer.opts;
    const struct ipc_spawn_user user = {.uid = (uid_t)-1};
    const struct ipc_spawn_opts invalid[] = {
        {.user = &user},
        {.nlimits = 1},
        {.pdeathsig = 65},
        {.pdeathsig = -1},
        {.flags = IPC_SPAWN_F_PIPES},
        {.ret_out_fd = &fd},
        {.flags = IPC_SPAWN_F_PIPES, .ret_out_fd = &fd, .type = SOCK_STREAM},
        {.flags = IPC_SPAWN_F_PIPES, .ret_out_fd = &fd, .child_fd = 3},
    };
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        errno = 0;
        CHECK(ipc_spawn("true", argv, &invalid[i], sizeof *invalid, &fd) == -1);
        CHECK(errno == EINVAL && fd == -7);
    }
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
    sandbox();
    refused();
    return 0;
}
