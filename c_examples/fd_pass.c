/*
 * fd_pass: an opener that may open files hands them, open, to a worker that may not.
 *
 * The worker gives up its rights, where it has any to give up (run it as root), and only
 * then asks for files: it can read what it is given, and nothing else.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#define NOBODY 65534

static void give_up_rights(void)
{
    if (geteuid() != 0)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0)
        err(1, "worker: cannot give up its rights");
}

/* Reads a file of which it knows only the descriptor. */
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

    give_up_rights();
    for (;;) {
        int fd;
        size_t nfds = 1;
        ssize_t len = ipc_msg_recv(pair, name, sizeof(name) - 1, &fd, &nfds, -1);
        if (len < 0)
            err(1, "worker: ipc_msg_recv");
        if (len == 0)
            return; /* the opener has closed its end */
        name[len] = '\0';
        if (nfds != 1)
            errx(1, "worker: %s came without a descriptor", name);

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

/* Sends a file's name, and the file. */
static int hand_over(int pair, const char *name)
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
    close(fd); /* the worker has its own now */
    return ret;
}

static void usage(FILE *out)
{
    fprintf(out, "usage: fd_pass FILE...\n"
                 "Opens each file and hands it to a worker, which counts its lines. Run as root,\n"
                 "the worker is nobody and could not open it itself.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int c = getopt_long(argc, argv, "h", options, NULL);
    if (c != -1 || optind == argc) {
        usage(c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }

    int pair[2];
    /* Messages keep their borders, and the end is seen. */
    if (ipc_pair_open(SOCK_SEQPACKET, pair) < 0)
        err(1, "ipc_pair_open");
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        close(pair[0]);
        work(pair[1]);
        return 0;
    }
    close(pair[1]);

    int failed = 0;
    for (int i = optind; i < argc; i++)
        if (hand_over(pair[0], argv[i]) < 0)
            failed = 1;
    close(pair[0]);

    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the worker failed");
    return failed;
}
