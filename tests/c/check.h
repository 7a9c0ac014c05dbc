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

/* Closes a descriptor of ipc_peer_pidfd or ipc_channel_peer_pidfd. valgrind 3.24 does not know that
 * getsockopt(2) opens it, and would report that it is closed twice; it knows dup2(2). */
__attribute__((unused)) static void check_close_pidfd(int pidfd)
{
    CHECK(dup2(STDERR_FILENO, pidfd) == pidfd && close(pidfd) == 0);
}

/* A pause between two checks of a condition that must soon hold. */
__attribute__((unused)) static void check_pause(void)
{
    struct timespec millisecond = {0, 1000000};

    nanosleep(&millisecond, NULL);
}

/* The state of a thread of this process, as a letter of proc(5). */
__attribute__((unused)) static char check_thread_state(int thread_id)
{
    char path[64], line[512], *end;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)getpid(), thread_id);
    file = fopen(path, "r");
    CHECK(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    end = strrchr(line, ')');
    CHECK(end != NULL);
    return end[2];
}

/* Waits until a thread of this process sleeps in the kernel ('S') or has ended ('Z'). */
__attribute__((unused)) static void check_wait_state(int thread_id, char state)
{
    while (check_thread_state(thread_id) != state)
        check_pause();
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
