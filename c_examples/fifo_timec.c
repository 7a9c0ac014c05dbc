/*
 * fifo_timec: asks the server fifo_timed for the date and prints it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixipc.h>

/*
 * Reads the server's line. Returns its length, 0 at the end of the session. One read: the
 * line was written as a whole, and two clients that each read it by parts would share it.
 */
static size_t read_line(int fd, const char *path, char *line, size_t cap)
{
    ssize_t n;
    do {
        n = read(fd, line, cap);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        err(1, "%s", path);
    if (n == 0)
        return 0;
    const char *end = memchr(line, '\n', (size_t)n);
    if (!end)
        errx(1, "%s: the server's answer is not a line", path);
    return (size_t)(end - line) + 1;
}

static void usage(FILE *out)
{
    fprintf(out, "usage: fifo_timec [FIFO]\n"
                 "Prints the date and the time that fifo_timed serves on FIFO (default:\n"
                 "fifo_time in this folder). Waits while the server is busy.\n");
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
    const char *path = optind < argc ? argv[optind] : "fifo_time";

    char line[200];
    size_t len;
    do {
        int fd = open(path, O_RDONLY | O_CLOEXEC); /* blocks until the server opens it */
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0 && errno == ENOENT)
            errx(1, "%s does not exist: start fifo_timed first", path);
        if (fd < 0)
            err(1, "%s", path);
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
            errx(1, "%s is not a FIFO", path);
        len = read_line(fd, path, line, sizeof(line));
        close(fd);
        /* Nothing: another client opened it in the same moment and took the date. */
    } while (len == 0);

    if (fwrite(line, 1, len, stdout) != len || fflush(stdout) != 0)
        err(1, "standard output");
    return 0;
}
