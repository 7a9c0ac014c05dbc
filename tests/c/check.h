/*
 * Helpers of the test programs. A program exits 0 (passed), 1 (failed) or 77 (cannot
 * be run here). It need not limit its own time: the runner does. This header comes
 * first, since it defines _GNU_SOURCE.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <unixipc.h>

#define CANNOT_RUN 77

/* Exits with 1 if the expression is false. */
#define CHECK(expression) ((expression) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))

__attribute__((noreturn, unused)) static void check_failed(const char *file, int line,
                                                           const char *expression)
{
    int error = errno;

    fprintf(stderr, "%s:%d: %s: errno %d (%s)\n", file, line, expression, error, strerror(error));
    exit(1);
}

/* Forks a child that does not outlive this process. */
__attribute__((unused)) static pid_t check_fork(void)
{
    pid_t parent = getpid();
    pid_t child;

    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        CHECK(getppid() == parent);
    }
    return child;
}

/* Waits for a child, which must exit with 0. */
__attribute__((unused)) static void check_passed(pid_t child)
{
    int status;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Kills a child and reaps it. */
__attribute__((unused)) static void check_kill(pid_t child)
{
    int status;

    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A pause between two checks of a condition that must soon hold. */
__attribute__((unused)) static void check_pause(void)
{
    struct timespec millisecond = {0, 1000000};

    nanosleep(&millisecond, NULL);
}

/* The path of a file in the runner's directory for temporary files. */
__attribute__((unused)) static const char *check_path(const char *name)
{
    static char path[4096];
    const char *directory = getenv("TMPDIR");
    int length = snprintf(path, sizeof path, "%s/%s", directory != NULL ? directory : "/tmp", name);

    CHECK(length > 0 && (size_t)length < sizeof path);
    return path;
}

/* The number of open descriptors, with the one by which they are counted. */
__attribute__((unused)) static int check_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CHECK(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    CHECK(closedir(directory) == 0);
    return count;
}

#endif
