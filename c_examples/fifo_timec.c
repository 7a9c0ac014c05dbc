/*
 * fifo_timec: asks the server fifo_timed for the date and prints it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

/*
 * Reads the line of the server. Returns its length, or 0 at the end of the session. It uses a
 * single read: the server wrote the line as a whole, and with several reads each of two clients
 * could get a part of it.
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
        errx(1, "%s: the server did not send a line", path);
    return (size_t)(end - line) + 1;
}

static const char usage[] =
    "usage: fifo_timec [FIFO]\n"
    "Prints the date and the time from the server fifo_timed. FIFO is the path of the server's\n"
    "FIFO (default: fifo_time). Waits while the server is busy.\n";

int main(int argc, char **argv)
{
    const struct command_line command_line = {.usage = usage, .max_args = 1};
    int first = parse_command_line(&command_line, argc, argv);
    const char *path = first < argc ? argv[first] : "fifo_time";

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
        /* Length 0: another client opened the FIFO at the same moment and read the date. */
    } while (len == 0);

    fwrite(line, 1, len, stdout);
    flush_output();
    return 0;
}
