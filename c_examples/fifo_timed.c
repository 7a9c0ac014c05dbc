/*
 * fifo_timed: a time server on a FIFO. It waits until a client opens the FIFO, sends the date and
 * the time, and closes the FIFO to end the session. Then it waits for the next client. The client
 * is fifo_timec or any program that reads a file, such as cat.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

static const char *path = "fifo_time";

/* The name of a FIFO outlives its processes, so the server removes it. */
static void remove_fifo(void)
{
    unlink(path);
}

static void on_signal(int sig)
{
    (void)sig;
    remove_fifo();
    _exit(0);
}

/*
 * Reads and discards data that no client has read. Returns 1 if there was any, or if a process has
 * the FIFO open for writing; otherwise 0.
 */
static int discard_unread_data(void)
{
    char buffer[4096];
    ssize_t n;
    int found = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", path);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        found = 1;
    close(fd);
    return found || n < 0; /* EAGAIN: no data, but a writer exists */
}

static void create_fifo(void)
{
    /* 0644: the user of the server may write, and all users may read. */
    if (ipc_mkfifo(path, 0644) == 0)
        return;
    struct stat st;
    if (errno != EEXIST)
        err(1, "%s", path);
    if (lstat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
        errx(1, "%s exists and is not a FIFO", path);
    if (discard_unread_data())
        errx(1, "%s has a server already", path);
    fprintf(stderr, "fifo_timed: using %s, which an earlier server has left\n", path);
}

static void send_date(int fd)
{
    char line[100];
    time_t now = time(NULL);
    struct tm local;
    if (now == (time_t)-1 || !localtime_r(&now, &local))
        err(1, "the time");
    size_t len = strftime(line, sizeof(line), "%a %d %b %Y %H:%M:%S %z\n", &local);

    /* A write to a FIFO of up to PIPE_BUF bytes is atomic. */
    if (write(fd, line, len) < 0) {
        if (errno != EPIPE)
            err(1, "%s", path);
        fprintf(stderr, "fifo_timed: the client closed the FIFO before the date was sent\n");
    }
}

/* How long the server waits for a client: a client that hangs must not stop the server. */
#define CLIENT_TIMEOUT_MS 1000

/* Reads all pending events of the FIFO. Returns their IN_ bits. */
static uint32_t read_events(int watch)
{
    _Alignas(struct inotify_event) char buffer[4096];
    uint32_t seen = 0;
    for (ssize_t n; (n = read(watch, buffer, sizeof(buffer))) > 0;) {
        const struct inotify_event *event;
        for (char *at = buffer; at < buffer + n; at += sizeof(*event) + event->len) {
            event = (const struct inotify_event *)(void *)at;
            seen |= event->mask;
        }
    }
    if (errno != EAGAIN)
        err(1, "inotify");
    return seen;
}

/*
 * Serves one session. It returns after the client has closed the FIFO: if the server opened the
 * FIFO again before that, the same client would get a second date.
 */
static void serve(int fd, int watch)
{
    struct pollfd poll_fd[2] = {{.fd = fd}, {.fd = watch, .events = POLLIN}};

    discard_unread_data(); /* a date for a client that did not read it */
    read_events(watch);
    send_date(fd);

    /* Wait until the client reads the date (an event) or closes the FIFO (POLLERR). */
    if (poll(poll_fd, 2, CLIENT_TIMEOUT_MS) < 0)
        err(1, "poll");
    close(fd); /* the client reads the end of the session */
    if (poll_fd[0].revents & POLLERR)
        return;
    while (!(read_events(watch) & IN_CLOSE_NOWRITE))
        if (poll(&poll_fd[1], 1, CLIENT_TIMEOUT_MS) <= 0)
            return;
}

static const char usage[] =
    "usage: fifo_timed [FIFO]\n"
    "Creates FIFO (default: fifo_time) and sends the date and the time to each client that opens\n"
    "it, until SIGINT or SIGTERM; then it removes FIFO.\n";

int main(int argc, char **argv)
{
    const struct command_line command_line = {.usage = usage, .max_args = 1};
    int first = parse_command_line(&command_line, argc, argv);
    if (first < argc)
        path = argv[first];

    signal(SIGPIPE, SIG_IGN); /* write() fails with EPIPE after the client has closed the FIFO */

    /* Signals stay blocked until the handlers that remove the FIFO are installed. */
    const sigset_t termination = block_termination_signals();
    create_fifo();
    atexit(remove_fifo);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    sigprocmask(SIG_UNBLOCK, &termination, NULL);

    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch < 0 || inotify_add_watch(watch, path, IN_ACCESS | IN_CLOSE_NOWRITE) < 0)
        err(1, "inotify: %s", path);
    fprintf(stderr, "fifo_timed: process %d serves %s\n", (int)getpid(), path);

    for (;;) {
        int fd = open(path, O_WRONLY | O_CLOEXEC); /* blocks until a client opens it */
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            err(1, "%s", path);
        serve(fd, watch);
    }
}
