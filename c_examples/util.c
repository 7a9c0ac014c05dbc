#include "util.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Noreturn void usage_error(const char *usage)
{
    fputs(usage, stderr);
    exit(2);
}

static void parse_option(const struct command_option *option, const char *text)
{
    char *end = NULL;

    errno = 0;
    if (option->flag) {
        *option->flag = option->value;
    } else if (option->text) {
        *option->text = text;
    } else if (option->real) {
        *option->real = strtod(text, &end);
        if (end == text || *end != '\0' || !(*option->real > 0 && *option->real <= option->max))
            errx(2, "--%s takes a number above 0 and up to %ld", option->name, option->max);
    } else {
        long n = strtol(text, &end, 10);
        if (end == text || *end != '\0' || errno || n < option->min || n > option->max)
            errx(2, "--%s takes a number from %ld to %ld", option->name, option->min, option->max);
        *option->number = n;
    }
}

int parse_command_line(const struct command_line *line, int argc, char **argv)
{
    struct option names[MAX_OPTIONS + 2] = {{0}};
    char letters[2 * MAX_OPTIONS + 3];
    char *end = letters;
    int count = 0;
    static const struct command_option no_options[] = {{0}};
    const struct command_option *options = line->options ? line->options : no_options;

    if (line->options_first)
        *end++ = '+';
    for (const struct command_option *o = options; o->name && count < MAX_OPTIONS; o++) {
        names[count++] = (struct option){
            .name = o->name,
            .has_arg = o->flag ? no_argument : required_argument,
            .val = o->letter,
        };
        *end++ = o->letter;
        if (!o->flag)
            *end++ = ':';
    }
    names[count] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
    *end++ = 'h';
    *end = '\0';

    for (int c; (c = getopt_long(argc, argv, letters, names, NULL)) != -1;) {
        if (c == 'h') {
            fputs(line->usage, stdout);
            flush_output();
            exit(0);
        }
        const struct command_option *o = options;
        while (o->name && o->letter != c)
            o++;
        if (!o->name)
            usage_error(line->usage);
        parse_option(o, optarg);
    }
    int args = argc - optind;
    if (args < line->min_args || (line->max_args >= 0 && args > line->max_args))
        usage_error(line->usage);
    return optind;
}

void parse_two_numbers(const char *option, const char *text, char separator, const char *example,
                       long min, long max, long ret[2])
{
    char *end;

    for (int i = 0; i < 2; i++) {
        errno = 0;
        ret[i] = strtol(text, &end, 10);
        if (end == text || *end != (i == 0 ? separator : '\0'))
            errx(2, "%s takes two numbers with '%c', such as %s", option, separator, example);
        if (errno || ret[i] < min || ret[i] > max)
            errx(2, "%s takes numbers from %ld to %ld", option, min, max);
        text = end + 1;
    }
}

int must(int result, const char *call)
{
    if (result < 0)
        err(1, "%s", call);
    return result;
}

void flush_output(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
}

void enable_waitpid(void)
{
    signal(SIGCHLD, SIG_DFL);
}

pid_t start_child(int death_signal)
{
    fflush(stdout); /* otherwise the child could print the buffered text again */
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0 && death_signal) {
        prctl(PR_SET_PDEATHSIG, death_signal);
        if (getppid() != parent) /* the parent died before prctl() */
            _exit(1);
    }
    return pid;
}

int wait_for_child(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    return status;
}

void expect_success(pid_t pid, const char *name)
{
    int status = wait_for_child(pid);
    if (WIFSIGNALED(status))
        errx(1, "%s was killed by signal %d", name, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        errx(1, "%s failed", name);
}

sigset_t block_termination_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

int wait_for_signal(const sigset_t *signals, uint64_t ns)
{
    const struct timespec time = {
        .tv_sec = (time_t)(ns / 1000000000),
        .tv_nsec = (long)(ns % 1000000000),
    };
    int sig = sigtimedwait(signals, NULL, &time);
    return sig < 0 ? 0 : sig;
}

uint64_t nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

double seconds_now(void)
{
    return 1e-9 * (double)nanoseconds_now();
}
