/*
 * The functions that the programs of this directory share. A program prints each call and its result,
 * so its output records the behaviour of the library when the version was frozen. It prints nothing
 * that differs between two runs.
 */
#ifndef SHOW_H
#define SHOW_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

/* A time-out, in milliseconds, that expires only if the library fails. */
#define LONG_MS 60000

/* Prints a call that returns an integer, with its result or its errno. Returns the result. */
#define SHOW(call) show(#call, (errno = 0, (long)(call)))

/* Prints a call that returns a pointer. Returns the pointer. */
#define SHOW_POINTER(call) show_pointer(#call, (errno = 0, (void *)(call)))

static inline long show(const char *call, long result)
{
    if (result < 0) {
        printf("%s = %ld %s\n", call, result, strerrorname_np(errno));
    } else {
        printf("%s = %ld\n", call, result);
    }
    return result;
}

static inline void *show_pointer(const char *call, void *result)
{
    if (result == NULL || result == (void *)-1) {
        printf("%s = %s %s\n", call, result == NULL ? "NULL" : "-1", strerrorname_np(errno));
    } else {
        printf("%s = a pointer\n", call);
    }
    return result;
}

/* Forks. Each process ends after a time limit. */
static inline pid_t start_child(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    alarm(100);
    return pid;
}

/* Waits for a child, and prints how it ended. */
static inline void print_end(pid_t pid)
{
    int status = -1;
    if (waitpid(pid, &status, 0) != pid) {
        perror("waitpid");
        exit(1);
    }
    if (WIFSIGNALED(status)) {
        printf("the child was killed by signal %d\n", WTERMSIG(status));
    } else {
        printf("the child exited with %d\n", WEXITSTATUS(status));
    }
}

#endif
