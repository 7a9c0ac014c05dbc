/*
 * worker_pool: counts the lines, words and bytes of files with a pool of worker processes.
 *
 * The parent forks the workers in advance, with a channel to each. It hands one job at a time to
 * each idle worker, and receives the results in one epoll loop. If a worker is killed, the parent
 * starts another one, and hands the job of the dead worker out again.
 */
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#include "util.h"

#define MAX_WORKERS  64
#define MAX_ATTEMPTS 3 /* a job that kills this many workers has failed */

struct result {
    int error; /* errno, or 0 */
    uint64_t lines, words, bytes;
};

struct job {
    const char *path;
    int attempts;
    int is_finished;
    int killed_by; /* the signal that killed the last worker, if the job has failed */
    struct result result;
};

struct worker {
    pid_t pid;
    struct ipc_channel *ch;
    struct job *job; /* NULL: idle */
};

static struct worker workers[MAX_WORKERS];
static long nworkers = 4;
static struct job *jobs;
static int njobs, nfinished;
static int deaths; /* of workers */
static int epoll;

/* --- the worker ------------------------------------------------------------------------------ */

static struct result count_file(const char *path)
{
    struct result result = {0};
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC), is_in_word = 0;
    ssize_t n = -1;

    while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        for (ssize_t i = 0; i < n; i++) {
            int is_space = isspace((unsigned char)buffer[i]) != 0;
            result.lines += buffer[i] == '\n';
            result.words += !is_space && !is_in_word;
            is_in_word = !is_space;
        }
        result.bytes += (uint64_t)n;
    }
    if (n < 0)
        result.error = errno;
    if (fd >= 0)
        close(fd);
    return result;
}

/* Does one job after another, until the parent closes the channel or dies. */
static _Noreturn void work(struct ipc_channel *ch)
{
    char path[PATH_MAX];
    ssize_t len;

    while ((len = ipc_channel_recv(ch, path, sizeof(path), -1)) > 0) {
        const struct result result = count_file(path);
        if (ipc_channel_send(ch, &result, sizeof(result), -1) < 0)
            break;
    }
    _exit(len != 0);
}

/* --- the parent ------------------------------------------------------------------------------ */

static void start_worker(struct worker *worker)
{
    struct ipc_channel *ends[2];
    must(ipc_channel_pair(NULL, 0, ends), "ipc_channel_pair");

    worker->pid = start_child(0);
    if (worker->pid == 0) {
        /*
         * Close every descriptor and channel that belongs to the parent. The parent's ends of the
         * channels to the other workers are among them: while this process has a copy of such an
         * end, the channel stays open, and a sibling does not notice that the parent has closed
         * it or has died. That sibling would then never exit.
         */
        close(epoll);
        for (long i = 0; i < nworkers; i++)
            ipc_channel_close(workers[i].ch);
        ipc_channel_close(ends[0]);
        work(ends[1]);
    }
    ipc_channel_close(ends[1]);
    worker->ch = ends[0];
    worker->job = NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = worker};
    must(
        epoll_ctl(epoll, EPOLL_CTL_ADD, must(ipc_channel_fd(worker->ch), "ipc_channel_fd"), &event),
        "epoll");
}

/* Closes the channel of a worker and waits for the worker. Returns its wait status. */
static int stop_worker(struct worker *worker)
{
    /* Closing a descriptor does not remove it from epoll while another process has a copy, as a
     * worker has between fork() and its close. */
    must(epoll_ctl(epoll, EPOLL_CTL_DEL, ipc_channel_fd(worker->ch), NULL), "epoll");
    ipc_channel_close(worker->ch);
    worker->ch = NULL;
    return wait_for_child(worker->pid);
}

static void finish(struct job *job)
{
    job->is_finished = 1;
    nfinished++;
}

static struct job *next_waiting_job(void)
{
    for (int i = 0; i < njobs; i++) {
        int is_running = 0;
        for (long w = 0; w < nworkers; w++)
            is_running |= workers[w].job == &jobs[i];
        if (!jobs[i].is_finished && !is_running)
            return &jobs[i];
    }
    return NULL;
}

/* Hands jobs to all idle workers. If kill_every is not 0, kills the worker that gets every
 * kill_every-th job. */
static void hand_out_jobs(long kill_every)
{
    static long handed_out;

    for (long i = 0; i < nworkers; i++) {
        struct worker *worker = &workers[i];
        struct job *job = worker->job ? NULL : next_waiting_job();
        if (!job)
            continue;
        worker->job = job;
        /* The ring to an idle worker is empty, so the send need not wait. EPIPE: the worker has
         * died; epoll reports that too, and receive_result() handles it. */
        if (ipc_channel_send(worker->ch, job->path, strlen(job->path) + 1, 0) == 0)
            job->attempts++;
        else if (errno != EPIPE)
            err(1, "ipc_channel_send");
        if (kill_every && ++handed_out % kill_every == 0)
            kill(worker->pid, SIGKILL);
    }
}

/* The worker has ended: starts another one. Its job waits for the next idle worker. */
static void replace_worker(struct worker *worker)
{
    struct job *job = worker->job;
    int status = stop_worker(worker);

    deaths++;
    if (job && job->attempts >= MAX_ATTEMPTS) {
        job->killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        job->result.error = ECHILD;
        finish(job);
    }
    start_worker(worker);
}

static void receive_result(struct worker *worker)
{
    struct result result;
    ssize_t len;

    /* The result of a worker that died after sending it arrives before the end. */
    while ((len = ipc_channel_recv(worker->ch, &result, sizeof(result), 0)) == sizeof(result)) {
        if (worker->job) {
            worker->job->result = result;
            finish(worker->job);
        }
        worker->job = NULL;
    }
    if (len < 0 && errno == EAGAIN)
        return;
    if (len != 0)
        kill(worker->pid, SIGKILL); /* not a result: the worker is broken */
    replace_worker(worker);
}

/* Prints the results in the order of the files. Returns the number of jobs that failed. */
static int print_results(void)
{
    int failed = 0;

    for (int i = 0; i < njobs; i++) {
        const struct job *job = &jobs[i];
        failed += job->result.error != 0;
        if (job->result.error == ECHILD)
            printf("%s: failed: %d workers died during this job, the last one by signal %d\n",
                   job->path, job->attempts, job->killed_by);
        else if (job->result.error)
            printf("%s: %s\n", job->path, strerror(job->result.error));
        else
            printf("%8llu %8llu %10llu %s\n", (unsigned long long)job->result.lines,
                   (unsigned long long)job->result.words, (unsigned long long)job->result.bytes,
                   job->path);
    }
    printf("%d files, %ld workers, %d deaths of workers\n", njobs, nworkers, deaths);
    return failed;
}

static const char usage[] =
    "usage: worker_pool [--workers N] [--kill-every N] FILE...\n"
    "Counts the lines, words and bytes of each FILE with N workers (default 4, at most 64).\n"
    "--kill-every kills the worker that gets every Nth job, to show that no job is lost. A job\n"
    "during which 3 workers have died is reported as failed.\n";

int main(int argc, char **argv)
{
    long kill_every = 0;
    const struct command_option options[] = {
        {'w', "workers", .number = &nworkers, .min = 1, .max = MAX_WORKERS},
        {'k', "kill-every", .number = &kill_every, .min = 1, .max = 1000000},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 1,
        .max_args = -1,
        .options = options,
    };
    int first = parse_command_line(&line, argc, argv);

    njobs = argc - first;
    jobs = calloc((size_t)njobs, sizeof(*jobs));
    if (!jobs)
        err(1, "memory for %d jobs", njobs);
    for (int i = 0; i < njobs; i++) {
        jobs[i].path = argv[first + i];
        if (strlen(jobs[i].path) >= PATH_MAX) {
            jobs[i].result.error = ENAMETOOLONG;
            finish(&jobs[i]);
        }
    }
    enable_waitpid();
    epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll");
    for (long i = 0; i < nworkers; i++)
        start_worker(&workers[i]);

    while (nfinished < njobs) {
        hand_out_jobs(kill_every);
        struct epoll_event events[MAX_WORKERS];
        int n = epoll_wait(epoll, events, MAX_WORKERS, -1);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++)
            receive_result(events[i].data.ptr);
    }
    for (long i = 0; i < nworkers; i++)
        deaths += WIFSIGNALED(stop_worker(&workers[i])) != 0;
    int failed = print_results();
    free(jobs);
    flush_output();
    return failed != 0;
}
