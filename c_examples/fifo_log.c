/*
 * fifo_log: many programs write lines into one log through a FIFO, each line a record.
 *
 *     fifo_log collect FIFO >log &
 *     some_program | fifo_log write FIFO
 *     echo a line >FIFO
 *
 * Records of different writers never mix, and no record is lost: a writer waits while the FIFO is
 * full, and the collector receives all records before it exits. The collector also accepts lines
 * of text, so that a shell can write to the FIFO.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

static volatile sig_atomic_t termination_signals; /* the number received */

static void on_signal(int sig)
{
    (void)sig;
    termination_signals++;
}

/* A line of text ends with a newline, a record does not. */
static void put_line(const char *line, size_t len, int is_text)
{
    if (fwrite(line, 1, len, stdout) != len || (!is_text && putchar('\n') == EOF))
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
 * Begins the last session: removes the name of the FIFO, so that no new writer finds it, and
 * replaces the persistent descriptor, so that the session ends when the last writer closes.
 */
static int begin_last_session(const char *path, int fd)
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
    int is_last_session = 0, is_text;

    if (ipc_fifo_create(path, 0622, IPC_FIFO_F_EXIST_OK) < 0)
        err(1, "%s", path);
    /* Persistent: the session does not end with the last writer. */
    int fd = open_for_reading(path, IPC_FIFO_F_PERSIST);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    fprintf(stderr, "fifo_log: process %d serves %s\n", (int)getpid(), path);

    /* A second signal ends the program even if there are writers. */
    while (termination_signals < 2) {
        if (termination_signals && !is_last_session) {
            fd = begin_last_session(path, fd);
            is_last_session = 1;
        }
        /* A signal just before the wait does not interrupt it, so the wait has a time-out. */
        ssize_t len = ipc_fifo_recv_any(fd, record, sizeof(record), &is_text, 200);
        if (len > 0)
            put_line(record, (size_t)len, is_text);
        else if (len == 0)
            break;
        else if (errno == ETIMEDOUT)
            flush_output();
        else
            err(1, "%s", path);
    }
    close(fd);
    flush_output();
}

static void send_line(int fd, const char *path, const char *line, size_t len)
{
    if (len == 0)
        return; /* a record cannot be empty */
    if (ipc_fifo_send(fd, line, len, -1) < 0)
        err(1, "%s", path);
}

static void write_lines(const char *path, int nwords, char **words)
{
    /* Collector and writer may start in any order, so the writer waits up to 10 seconds. */
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

static const char usage[] =
    "usage: fifo_log collect FIFO\n"
    "       fifo_log write FIFO [LINE...]\n"
    "collect prints each record from FIFO as a line, until SIGINT or SIGTERM; then it removes\n"
    "FIFO, waits until its writers have closed it, and exits. write sends each LINE, or else each\n"
    "line of standard input, as a record of up to 4092 bytes.\n";

int main(int argc, char **argv)
{
    const struct command_line line = {
        .usage = usage,
        .min_args = 2,
        .max_args = -1,
        .options_first = 1, /* a line may begin with '-' */
    };
    int first = parse_command_line(&line, argc, argv);
    argc -= first;
    argv += first;
    if (argc == 2 && strcmp(argv[0], "collect") == 0)
        collect(argv[1]);
    else if (strcmp(argv[0], "write") == 0)
        write_lines(argv[1], argc - 2, argv + 2);
    else
        usage_error(usage);
    return 0;
}
