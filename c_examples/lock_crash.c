/*
 * lock_crash: what happens to a lock whose owner is killed. Two accounts, of which the sum is
 * always the same, stand in shared memory. A clerk moves money from one to the other under a
 * lock, and is killed in the middle. The next one who takes the lock is told, repairs the
 * accounts from the clerk's note, says that they are consistent, and goes on.
 *
 * Then clerks are killed at any moment, again and again.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define SUM        1000
#define MAX_ROUNDS 1000000

struct bank {
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    /* volatile: written in this order, so that the note is there before the change. */
    volatile int account[2];
    volatile struct {
        int is_valid, account[2];
    } before; /* the clerk's note: how it was */
};

static struct bank *bank;
static int semlock = -1;

/* Each call returns 0, IPC_OWNER_DIED or -1. */
struct lock {
    const char *name;
    int (*make)(void);
    int (*lock)(void);
    int (*consistent)(void);
    int (*unlock)(void);
};

static int mutex_make(void)
{
    return ipc_mutex_init(&bank->mutex, 0);
}

static int mutex_lock(void)
{
    return ipc_mutex_lock(&bank->mutex, -1);
}

static int mutex_consistent(void)
{
    return ipc_mutex_consistent(&bank->mutex);
}

static int mutex_unlock(void)
{
    return ipc_mutex_unlock(&bank->mutex);
}

static int rwlock_make(void)
{
    return ipc_rwlock_init(&bank->rwlock, 0);
}

static int rwlock_lock(void)
{
    return ipc_rwlock_wrlock(&bank->rwlock, -1);
}

static int rwlock_consistent(void)
{
    return ipc_rwlock_consistent(&bank->rwlock);
}

static int rwlock_unlock(void)
{
    return ipc_rwlock_wrunlock(&bank->rwlock);
}

static int semlock_make(void)
{
    semlock = ipc_semlock_open(IPC_PRIVATE, IPC_CREAT | 0600);
    return semlock < 0 ? -1 : 0;
}

static int semlock_lock(void)
{
    return ipc_semlock_wrlock(semlock, -1);
}

static int semlock_consistent(void)
{
    return ipc_semlock_consistent(semlock);
}

static int semlock_unlock(void)
{
    return ipc_semlock_wrunlock(semlock);
}

static const struct lock locks[] = {
    {"ipc_mutex", mutex_make, mutex_lock, mutex_consistent, mutex_unlock},
    {"ipc_rwlock", rwlock_make, rwlock_lock, rwlock_consistent, rwlock_unlock},
    {"ipc_semlock", semlock_make, semlock_lock, semlock_consistent, semlock_unlock},
};

/* The semaphores stay in the system until somebody removes them; all else goes with us. */
static void remove_semlock(void)
{
    if (semlock >= 0)
        ipc_semlock_remove(semlock);
    semlock = -1;
}

static int must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
    return result;
}

static int is_right(void)
{
    return bank->account[0] + bank->account[1] == SUM;
}

/* Puts the accounts as they were before the change that was broken off. */
static void repair(const struct lock *lock)
{
    if (bank->before.is_valid) {
        for (int i = 0; i < 2; i++)
            bank->account[i] = bank->before.account[i];
        bank->before.is_valid = 0;
    }
    must(lock->consistent(), lock->name);
}

/* Takes the lock, repairing what a dead owner left. Returns whether there was one. */
static int take(const struct lock *lock)
{
    int died = must(lock->lock(), lock->name) == IPC_OWNER_DIED;
    if (died)
        repair(lock);
    return died;
}

static void stop_here(void)
{
    for (;;)
        pause();
}

/* Moves money, with the lock held. Where stop_at says so, it stops in the middle. */
static void move(int amount, int stop_at)
{
    for (int i = 0; i < 2; i++)
        bank->before.account[i] = bank->account[i];
    bank->before.is_valid = 1;
    bank->account[0] -= amount;
    if (stop_at >= 0) {
        if (write(stop_at, "", 1) != 1)
            err(1, "write");
        stop_here();
    }
    bank->account[1] += amount;
    bank->before.is_valid = 0;
}

static pid_t start(void)
{
    fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        /* A clerk whose parent is killed would go on for ever. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

static void kill_and_reap(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        errx(1, "a clerk ended by itself");
}

static void show(const char *when)
{
    printf("  %-28s accounts %4d and %4d, together %4d\n", when, bank->account[0],
           bank->account[1], bank->account[0] + bank->account[1]);
}

/* One clerk, killed with the lock held and the money between the accounts. */
static void kill_in_the_middle(const struct lock *lock)
{
    int ready[2];
    char byte;

    show("before:");
    if (pipe(ready) < 0)
        err(1, "pipe");
    pid_t clerk = start();
    if (clerk == 0) {
        must(lock->lock(), lock->name);
        move(100, ready[1]);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        errx(1, "a clerk ended by itself");
    close(ready[0]);
    kill_and_reap(clerk);
    show("the clerk is killed:");

    if (must(lock->lock(), lock->name) != IPC_OWNER_DIED)
        errx(1, "%s does not tell of its owner's death", lock->name);
    printf("  the next one gets the lock and is told: IPC_OWNER_DIED\n");
    repair(lock);
    show("repaired, consistent:");
    must(lock->unlock(), lock->name);
    if (take(lock) || !is_right())
        errx(1, "%s: it is not over", lock->name);
    move(100, -1);
    must(lock->unlock(), lock->name);
    show("and goes on:");
}

static void work(const struct lock *lock)
{
    for (int amount = 1;; amount = amount % 50 + 1) {
        take(lock);
        move(amount, -1);
        move(-amount, -1);
        must(lock->unlock(), lock->name);
    }
}

/* Clerks that work without a pause, each killed after a time of its own. */
static void kill_at_random(const struct lock *lock, long rounds)
{
    static const struct timespec now = {0};
    long deaths = 0;
    sigset_t ending;

    sigprocmask(SIG_BLOCK, NULL, &ending);
    for (long i = 0; i < rounds; i++) {
        pid_t clerk = start();
        if (clerk == 0)
            work(lock);
        const struct timespec a_while = {.tv_nsec = 100000 + random() % 900000};
        nanosleep(&a_while, NULL);
        kill_and_reap(clerk);
        deaths += take(lock);
        if (!is_right())
            errx(1, "%s: the accounts are wrong", lock->name);
        must(lock->unlock(), lock->name);

        int sig = sigtimedwait(&ending, NULL, &now);
        if (sig > 0)
            exit(128 + sig);
    }
    printf("  %ld clerks killed at any moment: %ld held the lock, nobody hung, no sum was wrong\n",
           rounds, deaths);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: lock_crash [--rounds N]\n"
                 "Kills the owner of a lock in the middle of a change, and shows how the next one\n"
                 "goes on; then N owners (default 200) at any moment. For each kind of lock.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    long rounds = 200;
    char *end;

    for (int c; (c = getopt_long(argc, argv, "r:h", options, NULL)) != -1;) {
        switch (c) {
        case 'r':
            rounds = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || rounds < 0 || rounds > MAX_ROUNDS)
                errx(2, "--rounds takes a number from 0 to %d", MAX_ROUNDS);
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return 2;
    }

    /* Looked for between two rounds, so that the semaphores are removed before the end. */
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */
    atexit(remove_semlock);

    struct ipc_shm *shm;
    if (ipc_shm_create(sizeof(*bank), NULL, 0, &shm) < 0)
        err(1, "ipc_shm_create");
    bank = ipc_shm_addr(shm);
    for (size_t i = 0; i < sizeof(locks) / sizeof(*locks); i++) {
        printf("%s:\n", locks[i].name);
        bank->account[0] = SUM;
        bank->account[1] = 0;
        must(locks[i].make(), locks[i].name);
        kill_in_the_middle(&locks[i]);
        kill_at_random(&locks[i], rounds);
        remove_semlock();
    }
    ipc_shm_close(shm);
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "standard output");
    return 0;
}
