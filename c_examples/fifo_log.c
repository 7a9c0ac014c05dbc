/*
 * fifo_log: many programs write lines into one log through a FIFO, each line a record.
 *
 *     fifo_log collect FIFO >log &
 *     some_program | fifo_log write FIFO
 *     echo a line >FIFO
 *
 * Records of different writers never mix, and none is lost: a writer waits while the FIFO is
 * full, and the collector, when a signal ends it, first receives the records that are in the FIFO.
 * Lines that a shell writes arrive beside the records.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unixipc.h>

static volatile sig_atomic_t asked_to_end;

static void on_signal(int sig)
{
    (void)sig;
    asked_to_end++;
}

/* A record has no newline; a line of text has its own. */
static void put_line(const char *line, size_t len, int text)
{
    if (fwrite(line, 1, len, stdout) != len || (!text && putchar('\n') == EOF))
        err(1, "standard output");
}

static void flush(void)
{
    if (fflush(stdout) != 0)
        err(1, "standard output");
}

static int open_for_reading(const char *path, unsigned flags)
{
    int fd = ipc_fifo_open(path, IPC_FIFO_F_READ | flags, 0);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

/*
 * The end: no new writer finds the FIFO any more, and the descriptor becomes one that is no
 * writer itself, so that the end comes when the last writer has gone.
 */
static int no_more_writers(const char *path, int fd)
{
    int reader = open_for_reading(path, 0);
    if (ipc_fifo_unlink(path) < 0)
        warn("%s", path);
    close(fd);
    return reader;
}

static void collect(const char *path)
{
    char record[IPC_FIFO_RECORD_MAX];
    int last_session = 0, text;

    if (ipc_fifo_create(path, 0622, IPC_FIFO_F_EXIST_OK) < 0)
        err(1, "%s", path);
    /* Persistent: that no writer is there just now is not the end. */
    int fd = open_for_reading(path, IPC_FIFO_F_PERSIST);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    fprintf(stderr, "fifo_log: process %d serves %s\n", (int)getpid(), path);

    /* A second signal ends it although there are writers. */
    while (asked_to_end < 2) {
        if (asked_to_end && !last_session) {
            fd = no_more_writers(path, fd);
            last_session = 1;
        }
        /* A signal that comes just before the wait does not end it, so no wait is for ever. */
        ssize_t len = ipc_fifo_recv_any(fd, record, sizeof(record), &text, 200);
        if (len > 0)
            put_line(record, (size_t)len, text);
        else if (len == 0)
            break;
        else if (errno == ETIMEDOUT)
            flush();
        else
            err(1, "%s", path);
    }
    close(fd);
    flush();
}

static void send_line(int fd, const char *path, const char *line, size_t len)
{
    if (len == 0)
        return; /* there is no empty record */
    if (ipc_fifo_send(fd, line, len, -1) < 0)
        err(1, "%s", path);
}

static void write_lines(const char *path, int nwords, char **words)
{
    /* Waits a while for the collector: the two may start in any order. */
    int fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, 10000);
    if (fd < 0)
        err(1, "%s", path);

    for (int i = 0; i < nwords; i++)
        send_line(fd, path, words[i], strlen(words[i]));

    char *line = NULL;
    size_t cap = 0;
    for (ssize_t len; nwords == 0 && (len = getline(&line, &cap, stdin)) > 0;)
        send_line(fd, path, line, (size_t)len - (line[len - 1] == '\n'));
    if (ferror(stdin))
        err(1, "standard input");
    free(line);
    close(fd);
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: fifo_log collect FIFO\n"
            "       fifo_log write FIFO [LINE...]\n"
            "collect prints what is written to FIFO, a line a record, until SIGINT or SIGTERM;\n"
            "then it waits for the writers that are there, removes FIFO and ends. write sends\n"
            "the lines, or else those of standard input, of up to %d bytes each.\n",
            IPC_FIFO_RECORD_MAX);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int c = getopt_long(argc, argv, "+h", options, NULL);
    if (c != -1) {
        usage(c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }
    argc -= optind;
    argv += optind;
    if (argc == 2 && strcmp(argv[0], "collect") == 0) {
        collect(argv[1]);
    } else if (argc >= 2 && strcmp(argv[0], "write") == 0) {
        write_lines(argv[1], argc - 2, argv + 2);
    } else {
        usage(stderr);
        return 2;
    }
    return 0;
}
