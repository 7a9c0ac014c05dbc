/*
 * coprocess: sends text to another program and prints the program's output, as in
 *
 *     coprocess --with sort pear apple fig
 *
 * ipc_spawn starts the program with one socket as its standard input and output.
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

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
 * Sends and receives at the same time. Sending everything first can deadlock: a program that
 * writes output early fills the socket, blocks, and no longer reads its input.
 */
static void exchange(int fd, const struct text *input)
{
    size_t sent = 0;
    int sending = 1;

    for (;;) {
        if (sending && sent == input->len) {
            /* The program reads the end of its input, and can still write output. */
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
            /* Sends as much as the socket takes now, and counts it in sent. */
            if (ipc_send_full(fd, input->data, input->len, &sent, 0) < 0 && errno != EAGAIN) {
                if (errno != EPIPE)
                    err(1, "ipc_send_full");
                sending = 0; /* the program reads no further, as head does */
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

static const char usage[] =
    "usage: coprocess [--with PROGRAM] [WORD...]\n"
    "Sends the words, each as a line, to PROGRAM (default: sort), and prints its output. Without\n"
    "words it sends its standard input.\n";

int main(int argc, char **argv)
{
    const char *program = "sort";
    const struct command_option options[] = {
        {'w', "with", .text = &program},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .max_args = -1,
        .options = options,
    };
    int first = parse_command_line(&line, argc, argv);
    char *program_argv[] = {(char *)program, NULL}; /* exec takes no const */

    struct text input = {0};
    for (int i = first; i < argc; i++) {
        append(&input, argv[i], strlen(argv[i]));
        append(&input, "\n", 1);
    }
    if (first == argc)
        read_input(&input);

    int fd;
    enable_waitpid();
    pid_t pid = ipc_spawn(program, program_argv, NULL, 0, &fd);
    if (pid < 0)
        err(1, "%s", program); /* also exec's error: ENOENT, EACCES */
    exchange(fd, &input);
    close(fd);
    free(input.data);

    int status = wait_for_child(pid);
    flush_output();
    if (WIFSIGNALED(status))
        errx(1, "%s was killed by signal %d", program, WTERMSIG(status));
    return WEXITSTATUS(status);
}
