/*
 * coprocess: gives text to another program and takes what it makes of it, as in
 *
 *     coprocess --with sort pear apple fig
 *
 * ipc_spawn starts the program with one socket as its standard input and output.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

struct text {
    char *data;
    size_t len, cap;
};

static void append(struct text *text, const char *data, size_t len)
{
    if (len == 0)
        return;
    if (text->cap - text->len < len) {
        size_t cap = (text->len + len) * 2;
        char *grown = realloc(text->data, cap);
        if (!grown)
            err(1, "out of memory");
        text->data = grown;
        text->cap = cap;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
}

static void read_input(struct text *text)
{
    char buffer[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err(1, "standard input");
        if (n == 0)
            return;
        append(text, buffer, (size_t)n);
    }
}

/*
 * Sends and receives at the same time. Whoever sends all first, and then receives, waits
 * for ever with a program that answers early: its answer fills the socket, so that it stops
 * reading.
 */
static void converse(int fd, const struct text *input)
{
    size_t sent = 0;
    int sending = 1;

    for (;;) {
        if (sending && sent == input->len) {
            /* The program reads the end of its input, and can still answer. */
            if (shutdown(fd, SHUT_WR) < 0)
                err(1, "shutdown");
            sending = 0;
        }
        struct pollfd ready = {.fd = fd, .events = sending ? POLLIN | POLLOUT : POLLIN};
        if (poll(&ready, 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            err(1, "poll");
        }
        if (sending && (ready.revents & POLLOUT)) {
            /* As much as there is room for; sent says how far it came. */
            if (ipc_send_full(fd, input->data, input->len, &sent, 0) < 0 && errno != EAGAIN) {
                if (errno != EPIPE)
                    err(1, "ipc_send_full");
                sending = 0; /* the program does not want the rest: head, for instance */
            }
        }
        if (ready.revents & (POLLIN | POLLHUP)) {
            char buffer[65536];
            ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno != ECONNRESET)
                err(1, "recv");
            if (n <= 0)
                return;
            if (fwrite(buffer, 1, (size_t)n, stdout) != (size_t)n)
                err(1, "standard output");
        }
    }
}

static void usage(FILE *out)
{
    fprintf(out, "usage: coprocess [--with PROGRAM] [WORD...]\n"
                 "Gives the words, a line each, or else standard input to PROGRAM (default:\n"
                 "sort) and prints what comes back.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"with", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    char *program[] = {"sort", NULL};

    for (int c; (c = getopt_long(argc, argv, "w:h", options, NULL)) != -1;) {
        switch (c) {
        case 'w':
            program[0] = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }

    struct text input = {0};
    for (int i = optind; i < argc; i++) {
        append(&input, argv[i], strlen(argv[i]));
        append(&input, "\n", 1);
    }
    if (optind == argc)
        read_input(&input);

    int fd;
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */
    pid_t pid = ipc_spawn(program[0], program, NULL, 0, &fd);
    if (pid < 0)
        err(1, "%s", program[0]); /* exec's own error: ENOENT, EACCES */
    converse(fd, &input);
    close(fd);
    free(input.data);

    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (fflush(stdout) != 0)
        err(1, "standard output");
    if (WIFSIGNALED(status))
        errx(1, "%s was killed by signal %d", program[0], WTERMSIG(status));
    return WEXITSTATUS(status);
}
