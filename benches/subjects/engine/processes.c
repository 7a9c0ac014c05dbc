/* The processes of a run, their processors, and their barrier. */
#include "engine.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

pid_t *children;
static size_t children_count;
uint32_t barrier_parties = 2;
static uint32_t *arrived; /* how many processes have arrived at a barrier so far */

/* Exits when a child fails, so that no process waits for it. A child that failed has printed the
 * reason. The cleaner still removes all objects. */
static void on_child(int sig, siginfo_t *info, void *context)
{
    static const char killed[] = "a process of the run was killed\n";

    (void)sig;
    (void)context;
    if (info->si_pid == cleaner)
        return;
    if (info->si_code != CLD_EXITED && write(2, killed, sizeof(killed) - 1) < 0)
        _exit(1);
    if (info->si_code != CLD_EXITED || info->si_status != 0)
        _exit(1);
}

static void on_alarm(int sig)
{
    static const char text[] = "the run took too long\n";

    (void)sig;
    if (write(2, text, sizeof(text) - 1) < 0)
        _exit(1);
    _exit(1);
}

/* At exit: kills the processes that are left, and removes all objects. */
static void finish(void)
{
    if (getpid() != run)
        return;
    signal(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < children_count; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    while (children_count > 0)
        if (children[--children_count] > 0)
            waitpid(children[children_count], NULL, 0);
    cleaner_finish();
}

void processes_init(void)
{
    struct sigaction child = {.sa_sigaction = on_child,
                              .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP};

    run = getpid();
    subject_must(sigaction(SIGCHLD, &child, NULL), "sigaction");
    if (atexit(finish) != 0)
        errx(1, "atexit");
    children = calloc((size_t)subject.n + 2, sizeof(*children));
    if (children == NULL)
        err(1, "malloc");
    arrived = (uint32_t *)subject_memory(sizeof(*arrived));
}

void watchdog_start(unsigned seconds)
{
    struct sigaction watchdog = {.sa_handler = on_alarm};

    subject_must(sigaction(SIGALRM, &watchdog, NULL), "sigaction");
    alarm(seconds);
}

pid_t subject_fork(void)
{
    fflush(NULL);
    pid_t child = fork();
    subject_must(child, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != run)
            _exit(1);
        signal(SIGCHLD, SIG_DFL);
        return 0;
    }
    children[children_count++] = child;
    return child;
}

void reap_children(void)
{
    for (size_t i = 0; i < children_count; i++) {
        int status;
        pid_t child = children[i];
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                err(1, "waitpid");
        children[i] = 0;
        if (status != 0)
            errx(1, "a process of the run failed");
    }
    children_count = 0;
}

void pin(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    subject_must(sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

uint64_t cpu_time_ns(void)
{
    struct timespec time;

    subject_must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), "clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void futex_wait(uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void futex_wake_all(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void barrier(bool spin)
{
    uint32_t seen = __atomic_add_fetch(arrived, 1, __ATOMIC_SEQ_CST);

    if (seen % barrier_parties == 0) {
        if (!spin)
            futex_wake_all(arrived);
        return;
    }
    uint32_t turn = seen / barrier_parties;
    while ((seen = __atomic_load_n(arrived, __ATOMIC_SEQ_CST)) / barrier_parties == turn)
        if (!spin)
            futex_wait(arrived, seen);
}

void subject_barrier(void)
{
    barrier(false);
}
