/*
 * socketpair_talk: a parent and its child exchange lines over one pair of sockets.
 *
 * Both processes send and receive. A stream has no message boundaries, and it ends when the peer
 * closes its socket. Datagrams preserve message boundaries, but a datagram socket does not report
 * that the peer has closed, so the last message says that it is the last one.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

#define LINE_MAX_LEN 200

/* Sends one line. With MSG_NOSIGNAL, send() to a closed peer fails with EPIPE and raises no
 * SIGPIPE. */
static void send_line(int fd, const char *name, const char *line)
{
    char message[LINE_MAX_LEN];
    int len = snprintf(message, sizeof(message), "%s\n", line);
    if (len < 0 || (size_t)len >= sizeof(message))
        errx(1, "the line is too long: %s", line);

    /* A stream socket can accept a part of the line. A datagram is sent as a whole. */
    for (size_t done = 0; done < (size_t)len;) {
        ssize_t n = send(fd, message + done, (size_t)len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err(1, "%s: send", name);
        done += (size_t)n;
    }
    printf("  %-6s sends     %s\n", name, line);
    fflush(stdout);
}

/* Receives one line. Returns 0 if the peer has closed the stream. */
static int receive_line(int fd, const char *name, int type, char line[LINE_MAX_LEN])
{
    size_t len = 0;
    for (;;) {
        /* A stream is read byte by byte, so that the next line stays in the socket. */
        size_t want = type == SOCK_STREAM ? 1 : LINE_MAX_LEN - 1;
        ssize_t n = recv(fd, line + len, want, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err(1, "%s: %s", name, errno == EAGAIN ? "no line from the peer" : "recv");
        if (n == 0) {
            if (len > 0)
                errx(1, "%s: the peer closed the stream in the middle of a line", name);
            return 0;
        }
        len += (size_t)n;
        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
            printf("  %-6s receives  %s\n", name, line);
            fflush(stdout);
            return 1;
        }
        if (len == LINE_MAX_LEN - 1)
            errx(1, "%s: the line is too long", name);
    }
}

/* A datagram socket does not report that the peer has closed, so recv() needs a time-out. */
static void set_recv_timeout(int fd)
{
    struct timeval limit = {.tv_sec = 10};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
        err(1, "SO_RCVTIMEO");
}

static void child(int fd, int type)
{
    char line[LINE_MAX_LEN];
    char answer[LINE_MAX_LEN];

    while (receive_line(fd, "child", type, line)) {
        if (strcmp(line, "Goodbye.") == 0)
            break;
        if (strcmp(line, "What is your process ID?") == 0)
            snprintf(answer, sizeof(answer), "%d. What is yours?", (int)getpid());
        else
            snprintf(answer, sizeof(answer), "Thank you. I have noted: %.100s", line);
        send_line(fd, "child", answer);
    }
}

static void parent(int fd, int type)
{
    char line[LINE_MAX_LEN];
    char answer[LINE_MAX_LEN];

    send_line(fd, "parent", "What is your process ID?");
    if (!receive_line(fd, "parent", type, line))
        errx(1, "the child has closed the stream");
    snprintf(answer, sizeof(answer), "It is %d.", (int)getpid());
    send_line(fd, "parent", answer);
    if (!receive_line(fd, "parent", type, line))
        errx(1, "the child has closed the stream");
    if (type == SOCK_DGRAM)
        send_line(fd, "parent", "Goodbye.");
}

static void talk(int type)
{
    printf("%s:\n", type == SOCK_STREAM ? "stream" : "datagram");

    int sv[2];
    if (ipc_socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv) < 0)
        err(1, "ipc_socketpair");
    set_recv_timeout(sv[0]);
    set_recv_timeout(sv[1]);

    pid_t pid = start_child(0);
    if (pid == 0) {
        /* Each process closes the end that it does not use. Otherwise it would not notice when
         * the other process closes that end. */
        close(sv[0]);
        child(sv[1], type);
        exit(0);
    }
    close(sv[1]);
    parent(sv[0], type);
    close(sv[0]); /* ends the stream */

    expect_success(pid, "the child");
}

static const char usage[] =
    "usage: socketpair_talk [--type stream|dgram]\n"
    "A parent and its child exchange lines over a pair of stream sockets, and then over a pair of\n"
    "datagram sockets. --type selects one of them.\n";

int main(int argc, char **argv)
{
    const char *type = NULL;
    const struct command_option options[] = {
        {'t', "type", .text = &type},
        {0},
    };
    const struct command_line line = {.usage = usage, .options = options};

    parse_command_line(&line, argc, argv);
    int stream = !type || strcmp(type, "stream") == 0;
    int dgram = !type || strcmp(type, "dgram") == 0;
    if (!stream && !dgram)
        errx(2, "--type takes stream or dgram, not %s", type);
    enable_waitpid();
    if (stream)
        talk(SOCK_STREAM);
    if (dgram)
        talk(SOCK_DGRAM);
    flush_output();
    return 0;
}
