/*
 * socketpair_talk: a parent and its child converse over one socket pair.
 *
 * Both ends read and write. Shown for a stream, which is a row of bytes without
 * borders and ends when the other end is closed, and for datagrams, which keep
 * their borders and have no end: there the last message has to say that it is one.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#define LINE_MAX_LEN 200

/* Sends one line. MSG_NOSIGNAL: a partner that died is an EPIPE, not a signal that kills us. */
static void say(int fd, const char *who, const char *line)
{
    char message[LINE_MAX_LEN];
    int len = snprintf(message, sizeof(message), "%s\n", line);
    if (len < 0 || (size_t)len >= sizeof(message))
        errx(1, "the line is too long: %s", line);

    /* A stream may take a part of it only; a datagram goes as a whole. */
    for (size_t done = 0; done < (size_t)len;) {
        ssize_t n = send(fd, message + done, (size_t)len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err(1, "%s: send", who);
        done += (size_t)n;
    }
    printf("  %-6s says   %s\n", who, line);
    fflush(stdout);
}

/* Receives one line into line. Returns 0 at the end of the conversation. */
static int hear(int fd, const char *who, int type, char line[LINE_MAX_LEN])
{
    size_t len = 0;
    for (;;) {
        /* From a stream only up to the end of the line: what follows is the next one's. */
        size_t want = type == SOCK_STREAM ? 1 : LINE_MAX_LEN - 1;
        ssize_t n = recv(fd, line + len, want, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err(1, "%s: %s", who,
                errno == EAGAIN ? "the partner has said nothing for too long" : "recv");
        if (n == 0) {
            if (len > 0)
                errx(1, "%s: the partner stopped in the middle of a line", who);
            return 0;
        }
        len += (size_t)n;
        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
            printf("  %-6s hears  %s\n", who, line);
            fflush(stdout);
            return 1;
        }
        if (len == LINE_MAX_LEN - 1)
            errx(1, "%s: the line is too long", who);
    }
}

/* A datagram pair does not tell that the other end is gone, so no wait is without a limit. */
static void limit_waits(int fd)
{
    struct timeval limit = {.tv_sec = 10};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
        err(1, "SO_RCVTIMEO");
}

static void child(int fd, int type)
{
    char line[LINE_MAX_LEN];
    char answer[LINE_MAX_LEN];

    while (hear(fd, "child", type, line)) {
        if (strcmp(line, "Goodbye.") == 0)
            break;
        if (strcmp(line, "What is your process id?") == 0)
            snprintf(answer, sizeof(answer), "%d. And whose child am I?", (int)getpid());
        else
            snprintf(answer, sizeof(answer), "Thank you, I wrote down: %.100s", line);
        say(fd, "child", answer);
    }
}

static void parent(int fd, int type)
{
    char line[LINE_MAX_LEN];
    char answer[LINE_MAX_LEN];

    say(fd, "parent", "What is your process id?");
    if (!hear(fd, "parent", type, line))
        errx(1, "the child ended the conversation");
    snprintf(answer, sizeof(answer), "Process %d's.", (int)getpid());
    say(fd, "parent", answer);
    if (!hear(fd, "parent", type, line))
        errx(1, "the child ended the conversation");
    if (type == SOCK_DGRAM)
        say(fd, "parent", "Goodbye.");
}

static void converse(int type)
{
    printf("%s:\n", type == SOCK_STREAM ? "stream" : "datagram");
    fflush(stdout); /* or the child would print it again */

    int sv[2];
    if (ipc_socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv) < 0)
        err(1, "ipc_socketpair");
    limit_waits(sv[0]);
    limit_waits(sv[1]);

    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        /* Each side closes the end that it does not use: else it would keep its own partner alive. */
        close(sv[0]);
        child(sv[1], type);
        exit(0);
    }
    close(sv[1]);
    parent(sv[0], type);
    close(sv[0]); /* the end of a stream */

    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the child failed");
}

static void usage(FILE *out)
{
    fprintf(out, "usage: socketpair_talk [--type stream|dgram]\n"
                 "A parent and its child converse over a socket pair; without --type, over\n"
                 "a stream pair and then over a datagram pair.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"type", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int stream = 1, dgram = 1;

    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */

    for (int c; (c = getopt_long(argc, argv, "t:h", options, NULL)) != -1;) {
        switch (c) {
        case 't':
            stream = strcmp(optarg, "stream") == 0;
            dgram = strcmp(optarg, "dgram") == 0;
            if (!stream && !dgram)
                errx(2, "--type is stream or dgram, not %s", optarg);
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return 2;
    }
    if (stream)
        converse(SOCK_STREAM);
    if (dgram)
        converse(SOCK_DGRAM);
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
    return 0;
}
