/*
 * fifo_timed: a time server on a FIFO. It waits until a client opens the FIFO,
 * sends it the date and the time, closes to end the session, and serves the next.
 * The client is fifo_timec; cat will do too.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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

static const char *path = "fifo_time";

/* A FIFO's name outlives its server, so the server takes it away. */
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

/* Reads what nobody has read. Returns 0 where nobody had the FIFO open for writing, else 1. */
static int read_leftovers(void)
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
    return found || n < 0; /* EAGAIN: nothing yet, from somebody */
}

static void create_fifo(void)
{
    /* 0644: the server writes, everybody may read. */
    if (ipc_mkfifo(path, 0644) == 0)
        return;
    struct stat st;
    if (errno != EEXIST)
        err(1, "%s", path);
    if (lstat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
        errx(1, "%s exists and is not a FIFO", path);
    /* A server that waits for a client has it open already. */
    if (read_leftovers())
        errx(1, "%s is served already", path);
    fprintf(stderr, "fifo_timed: %s is left from an earlier server: using it\n", path);
}

static void send_date(int fd)
{
    char line[100];
    time_t now = time(NULL);
    struct tm local;
    if (now == (time_t)-1 || !localtime_r(&now, &local))
        err(1, "the time");
    size_t len = strftime(line, sizeof(line), "%a %d %b %Y %H:%M:%S %z\n", &local);

    /* So short a write to a FIFO (up to PIPE_BUF bytes) is never split. */
    if (write(fd, line, len) < 0) {
        if (errno != EPIPE)
            err(1, "%s", path);
        fprintf(stderr, "fifo_timed: the client left before the date was sent\n");
    }
}

/* Nobody is waited for longer than this: a client that stops must not stop the others. */
#define PATIENCE_MS 1000

/* Reads what has happened to the FIFO so far: the IN_ bits of all events. */
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
 * One session. It ends when the client has closed its end: were the FIFO opened again
 * before that, the old client would still be there and get a second date.
 */
static void serve(int fd, int watch)
{
    struct pollfd poll_fd[2] = {{.fd = fd}, {.fd = watch, .events = POLLIN}};

    read_leftovers(); /* a date that a client did not wait for is not the next one's */
    read_events(watch);
    send_date(fd);

    /* The client has read the date (an event), or left without it (POLLERR). */
    if (poll(poll_fd, 2, PATIENCE_MS) < 0)
        err(1, "poll");
    close(fd); /* the client reads the end of the session */
    if (poll_fd[0].revents & POLLERR)
        return;
    while (!(read_events(watch) & IN_CLOSE_NOWRITE))
        if (poll(&poll_fd[1], 1, PATIENCE_MS) <= 0)
            return;
}

static void usage(FILE *out)
{
    fprintf(out, "usage: fifo_timed [FIFO]\n"
                 "Serves the date and the time on FIFO (default: fifo_time in this folder)\n"
                 "until SIGINT or SIGTERM ends it; then the FIFO is removed.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int c = getopt_long(argc, argv, "h", options, NULL);
    if (c != -1) {
        usage(c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }
    if (argc - optind > 1) {
        usage(stderr);
        return 2;
    }
    if (optind < argc)
        path = argv[optind];

    signal(SIGPIPE, SIG_IGN); /* a client that left is an EPIPE */

    /* No signal between the making of the FIFO and the readiness to remove it. */
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    create_fifo();
    atexit(remove_fifo);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    sigprocmask(SIG_UNBLOCK, &ending, NULL);

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
