/* Functions that several examples use: the command line, child processes, signals and clocks. */
#ifndef UTIL_H
#define UTIL_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_OPTIONS 6

/* An option. Exactly one of flag, number, real and text is set. */
struct command_option {
    char letter;
    const char *name;
    int *flag; /* an option without argument: becomes value */
    int value;
    long *number; /* from min to max */
    double *real; /* above 0, at most max */
    const char **text;
    long min, max;
};

struct command_line {
    const char *usage;
    int min_args, max_args;               /* arguments after the options; max_args -1: any number */
    int options_first;                    /* 1: no option follows the first argument */
    const struct command_option *options; /* ends with an option without a name; NULL: none */
};

/*
 * Parses the options of a program. --help prints the usage text and exits with 0. A wrong option
 * or a wrong number of arguments prints it to standard error and exits with 2.
 * Returns the index of the first argument in argv.
 */
int parse_command_line(const struct command_line *line, int argc, char **argv);

/* Prints the usage text to standard error and exits with 2. */
_Noreturn void usage_error(const char *usage);

/* Parses two numbers from min to max with a separator between them. On failure it prints what the
 * option takes, with an example, and exits with 2. */
void parse_two_numbers(const char *option, const char *text, char separator, const char *example,
                       long min, long max, long ret[2]);

/* Exits with 1 if the result of a call is negative. Returns the result. */
int must(int result, const char *call);

/* Flushes standard output, and exits with 1 if any output has failed. */
void flush_output(void);

/*
 * A program can inherit an ignored SIGCHLD. The kernel then reaps each child by itself, and
 * waitpid() fails. Call this before the first child starts.
 */
void enable_waitpid(void);

/* Forks. Returns the pid in the parent and 0 in the child. If death_signal is not 0, the child
 * receives it when its parent dies. */
pid_t start_child(int death_signal);

/* Waits for a child. Returns its wait status. */
int wait_for_child(pid_t pid);

/* Waits for a child, and exits with 1 if the child did not exit with 0. */
void expect_success(pid_t pid, const char *name);

/* Blocks SIGINT, SIGTERM and SIGHUP. Returns this set, for wait_for_signal() or signalfd(2). */
sigset_t block_termination_signals(void);

/* Waits for one of the blocked signals. Returns the signal, or 0 when the time has expired. */
int wait_for_signal(const sigset_t *signals, uint64_t ns);

/* The time of CLOCK_MONOTONIC. */
uint64_t nanoseconds_now(void);
double seconds_now(void);

#endif
