/*
 * fd_pass: a process opens files and passes the descriptors to a worker without privileges.
 *
 * If the program runs as root, the worker drops its privileges before it receives the first
 * message. It can read the files that it receives, although it could not open them.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

#define NOBODY 65534

static void drop_privileges(void)
{
    if (geteuid() != 0)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0)
        err(1, "worker: cannot drop its privileges");
}

/* Counts the lines of a file, for which the worker has only the descriptor. */
static void report(const char *name, int fd)
{
    char buffer[65536];
    unsigned long long bytes = 0, lines = 0;
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            warn("worker: %s", name);
            return;
        }
        bytes += (unsigned long long)n;
        for (const char *at = buffer; (at = memchr(at, '\n', (size_t)(buffer + n - at))); at++)
            lines++;
    }
    printf("  worker (user %d) reads %s: %llu lines, %llu bytes\n", (int)geteuid(), name, lines,
           bytes);
}

static void work(int pair)
{
    char name[4096];

    drop_privileges();
    for (;;) {
        int fd;
        size_t nfds = 1;
        ssize_t len = ipc_msg_recv(pair, name, sizeof(name) - 1, &fd, &nfds, -1);
        if (len < 0)
            err(1, "worker: ipc_msg_recv");
        if (len == 0)
            return; /* the parent has closed its end */
        name[len] = '\0';
        if (nfds != 1)
            errx(1, "worker: %s arrived without a descriptor", name);

        int own = open(name, O_RDONLY | O_CLOEXEC);
        if (own < 0)
            printf("  worker (user %d) cannot open %s itself: %s\n", (int)geteuid(), name,
                   strerror(errno));
        else
            close(own);
        report(name, fd);
        fflush(stdout);
        close(fd);
    }
}

/* Sends the name of a file with its descriptor. */
static int pass_file(int pair, const char *name)
{
    if (strlen(name) >= 4096) {
        warnx("%s: %s", name, strerror(ENAMETOOLONG));
        return -1;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        warn("%s", name);
        return -1;
    }
    int ret = ipc_msg_send(pair, name, strlen(name), &fd, 1, -1);
    if (ret < 0)
        warn("ipc_msg_send");
    close(fd); /* the message holds another descriptor for the worker */
    return ret;
}

static const char usage[] =
    "usage: fd_pass FILE...\n"
    "Opens each file and passes it to a worker, which counts its lines. If the program runs as\n"
    "root, the worker changes its user ID to 65534 (nobody), and could not open the file itself.\n";

int main(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .min_args = 1, .max_args = -1};
    int first = parse_command_line(&line, argc, argv);

    int pair[2];
    /* SOCK_SEQPACKET preserves message boundaries and reports that the peer has closed. */
    if (ipc_pair_open(SOCK_SEQPACKET, pair) < 0)
        err(1, "ipc_pair_open");
    enable_waitpid();
    pid_t pid = start_child(0);
    if (pid == 0) {
        close(pair[0]);
        work(pair[1]);
        return 0;
    }
    close(pair[1]);

    int failed = 0;
    for (int i = first; i < argc; i++)
        if (pass_file(pair[0], argv[i]) < 0)
            failed = 1;
    close(pair[0]);

    expect_success(pid, "the worker");
    return failed;
}
