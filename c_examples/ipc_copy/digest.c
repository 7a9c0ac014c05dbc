#include "digest.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

extern char **environ;

/* Starts sha256sum with fd as its input. *ret_out becomes a descriptor of its output. Returns its
 * pid, or -1. */
static pid_t start(int fd, int *ret_out)
{
    int out[2];
    if (lseek(fd, 0, SEEK_SET) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        warn("digest");
        return -1;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    pid_t pid;
    char *argv[] = {"sha256sum", NULL};
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    if (error) {
        warnx("sha256sum: %s", strerror(error));
        close(out[0]);
        return -1;
    }
    *ret_out = out[0];
    return pid;
}

static int finish(pid_t pid, int out, char ret_hex[DIGEST_HEX + 1])
{
    size_t len = 0;
    for (ssize_t n; len < DIGEST_HEX; len += (size_t)n) {
        n = read(out, ret_hex + len, DIGEST_HEX - len);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            break;
    }
    ret_hex[len] = '\0';
    close(out);

    int status = wait_for_child(pid);
    if (len == DIGEST_HEX && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    warnx("sha256sum failed");
    return -1;
}

int digest_two(const int fd[2], char ret_hex[2][DIGEST_HEX + 1])
{
    pid_t pid[2];
    int out[2];
    int ret = 0;

    for (int i = 0; i < 2; i++)
        pid[i] = start(fd[i], &out[i]);
    for (int i = 0; i < 2; i++)
        if (pid[i] < 0 || finish(pid[i], out[i], ret_hex[i]) < 0)
            ret = -1;
    return ret;
}
