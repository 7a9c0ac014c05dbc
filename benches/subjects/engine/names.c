/*
 * Names of the objects that a run creates, and the cleaner, which removes them.
 *
 * All names contain the process id of the run. The cleaner is a process that outlives the run, even
 * if the run is killed. It also removes the objects of earlier runs whose cleaner was killed.
 */
#include "engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NAME "unixipc-bench-"
#define KEY  0x75 /* the most significant byte of a System V key; the process id is the rest */

pid_t run;
pid_t cleaner;
static int cleaner_pipe = -1; /* the write end; the cleaner works when all copies are closed */

static bool has_ended(long pid)
{
    return pid == run || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    remove(path);
    return 0;
}

/* Removes the files of this run, and of earlier runs that have ended. */
static void clean_directory(const char *directory)
{
    DIR *entries = opendir(directory);
    struct dirent *entry;
    char path[PATH_MAX];

    if (entries == NULL)
        return;
    while ((entry = readdir(entries)) != NULL) {
        const char *name = strstr(entry->d_name, NAME);
        if (name == NULL)
            continue;
        /* Names of other programs have no number, or continue differently after it. */
        char *end;
        long pid = strtol(name + strlen(NAME), &end, 10);
        if (pid <= 0 || strchr("-_", *end) == NULL || !has_ended(pid))
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) < (int)sizeof(path))
            nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    closedir(entries);
}

/* The same for System V objects. `table` is a file of /proc/sysvipc. */
static void clean_keys(const char *table, void (*remove_id)(int id))
{
    FILE *lines = fopen(table, "re");
    char line[512];
    int key, id;

    if (lines == NULL)
        return;
    while (fgets(line, sizeof(line), lines) != NULL)
        if (sscanf(line, "%d %d", &key, &id) == 2 && (unsigned)key >> 24 == KEY &&
            has_ended(key & 0xffffff))
            remove_id(id);
    fclose(lines);
}

static void remove_semaphores(int id)
{
    semctl(id, 0, IPC_RMID);
}

static void remove_queue(int id)
{
    msgctl(id, IPC_RMID, NULL);
}

static void clean(void)
{
    char queue[64];

    snprintf(queue, sizeof(queue), "/" NAME "%ld", (long)run);
    mq_unlink(queue);
    clean_directory("/tmp");
    clean_directory("/dev/shm");
    clean_keys("/proc/sysvipc/sem", remove_semaphores);
    clean_keys("/proc/sysvipc/msg", remove_queue);
}

/* All processes of the run inherit the write end of a pipe. When the last of them has ended, the
 * cleaner reads the end of the pipe. It has its own session, because a program that kills the run
 * often kills the whole process group. */
static void start_cleaner(void)
{
    int fds[2];
    char byte;

    if (cleaner != 0)
        return;
    subject_must(pipe2(fds, O_CLOEXEC), "pipe2");
    fflush(NULL);
    cleaner = fork();
    subject_must(cleaner, "fork");
    if (cleaner > 0) {
        close(fds[0]);
        cleaner_pipe = fds[1];
        return;
    }
    setsid();
    signal(SIGCHLD, SIG_DFL);
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    close(fds[1]);
    while (read(fds[0], &byte, 1) < 0 && errno == EINTR)
        ;
    clean();
    _exit(0);
}

void cleaner_finish(void)
{
    if (cleaner > 0) {
        close(cleaner_pipe);
        waitpid(cleaner, NULL, 0);
    }
}

const char *subject_name(void)
{
    static char name[64];

    start_cleaner();
    snprintf(name, sizeof(name), NAME "%ld", (long)run);
    return name;
}

const char *subject_directory(void)
{
    static char directory[128];

    if (directory[0] == '\0') {
        snprintf(directory, sizeof(directory), "/tmp/%s", subject_name());
        subject_must(mkdir(directory, 0700), directory);
    }
    return directory;
}

int subject_key(void)
{
    start_cleaner();
    return (KEY << 24) | (int)(run & 0xffffff);
}
