/*
 * ipc_copy: copies a file through a second process, with a mechanism that the user selects. The
 * parent reads the file and sends it; a child receives it and writes the copy. The copy gets its
 * name only when it is complete and has the same digest as the original.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"
#include "digest.h"
#include "progress.h"
#include "transport.h"

static const struct transport *const transports[] = {
    &via_socketpair, &via_fifo, &via_shm, &via_message, &via_channel, &via_fd,
};
#define TRANSPORTS (sizeof(transports) / sizeof(*transports))

static const struct transport *transport;

/* The path of the incomplete copy, or an empty string if there is none. */
static char part[4096 + 8];

static void clean_up(void)
{
    if (part[0])
        unlink(part);
    if (transport)
        transport->remove();
}

static void on_signal(int sig)
{
    clean_up();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* The child has ended: make a transport call that waits for the child fail. */
static void on_child(int sig)
{
    (void)sig;
    int error = errno;
    transport->remove();
    errno = error;
}

static void handle_signals(void)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
        signal(ending[i], on_signal);
    signal(SIGPIPE, SIG_IGN); /* write() fails with EPIPE instead */
    /* SA_NOCLDSTOP: no signal when the child is stopped (Ctrl-Z). */
    struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    sigaction(SIGCHLD, &child, NULL);
}

/* Reports errno, removes the incomplete copy and the mechanism, and exits. */
static _Noreturn void fail(const char *what)
{
    warn("%s", what);
    clean_up();
    exit(1);
}

static void write_all(int to, const char *dest, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(to, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail(dest);
        data += n;
        len -= (size_t)n;
    }
}

/* Ends the child. Some file systems report only in close() that the disk is full. */
static _Noreturn void finish(int to, const char *dest)
{
    if (close(to) < 0)
        fail(dest);
    exit(0);
}

/* The child, if the mechanism passes the open file. */
static _Noreturn void copy_received_file(int to, const char *dest)
{
    static char buffer[256 * 1024];
    int file = transport->recv_fd();
    if (file < 0)
        fail(transport->name);
    for (;;) {
        ssize_t n = read(file, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail("the received file");
        if (n == 0)
            finish(to, dest);
        write_all(to, dest, buffer, (size_t)n);
    }
}

/* The child: writes each piece to the copy. */
static _Noreturn void receive(int to, const char *dest)
{
    const void *data;
    ssize_t len;

    while ((len = transport->peek(&data)) > 0) {
        write_all(to, dest, data, (size_t)len);
        if (transport->release() < 0)
            fail(transport->name);
    }
    if (len < 0) {
        if (errno != EPIPE)
            fail(transport->name);
        warnx("the sender ended before it had sent everything");
        clean_up();
        exit(1);
    }
    finish(to, dest);
}

/* The parent: sends the file. Returns its length, or -1 if the receiver has ended. */
static long long send_file(int from, const char *file)
{
    unsigned long long done = 0;
    for (;;) {
        size_t cap;
        char *buffer = transport->reserve(&cap);
        if (!buffer)
            break;
        ssize_t n;
        do {
            n = read(from, buffer, cap);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            fail(file);
        if (n == 0)
            return transport->commit(0) == 0 ? (long long)done : -1;
        if (transport->commit((size_t)n) < 0)
            break;
        done += (unsigned long long)n;
        progress_at(done);
    }
    if (errno != EPIPE)
        fail(transport->name);
    return -1;
}

/*
 * The parent, if the mechanism passes the open file. Both processes share the open file
 * description, so its offset shows the progress of the receiver.
 */
static long long pass_file(int from, pid_t receiver)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    siginfo_t ended;

    if (transport->send_fd(from) < 0) {
        if (errno != EPIPE)
            fail(transport->name);
        return -1;
    }
    do {
        off_t at = lseek(from, 0, SEEK_CUR);
        if (at > 0)
            progress_at((unsigned long long)at);
        ended.si_pid = 0;
        /* WNOWAIT: receiver_result() reaps the child. */
        if (waitid(P_PID, (id_t)receiver, &ended, WEXITED | WNOHANG | WNOWAIT) < 0)
            fail("waitid");
    } while (ended.si_pid == 0 && (nanosleep(&pause, NULL), 1));
    off_t end = lseek(from, 0, SEEK_CUR);
    return end < 0 ? 0 : (long long)end;
}

/* Waits for the child. Returns 0 if it has succeeded; otherwise -1. */
static int receiver_result(pid_t pid)
{
    int status = wait_for_child(pid);
    if (WIFSIGNALED(status))
        warnx("the receiver was killed by signal %d (%s)", WTERMSIG(status),
              strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/*
 * Opens the destination. A regular file is written under another name in the same directory
 * first, with the permissions of the original. Another kind of file (/dev/null) is written
 * directly; *ret_final becomes NULL then.
 */
static int open_dest(const char *dest, const struct stat *from, const char **ret_final)
{
    struct stat st;
    *ret_final = NULL;
    if (stat(dest, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            errx(1, "%s is a directory", dest);
        if (st.st_dev == from->st_dev && st.st_ino == from->st_ino)
            errx(1, "%s is the same file", dest);
        if (!S_ISREG(st.st_mode)) {
            int fd = open(dest, O_WRONLY | O_CLOEXEC);
            if (fd < 0)
                err(1, "%s", dest);
            return fd;
        }
    }
    /* A symbolic link stays, and the file that it refers to is replaced. */
    char *real = realpath(dest, NULL);
    const char *final = real ? real : dest;
    if (snprintf(part, sizeof(part), "%s.XXXXXX", final) >= (int)sizeof(part)) {
        part[0] = '\0';
        errx(1, "%s: %s", dest, strerror(ENAMETOOLONG));
    }
    int fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0) {
        part[0] = '\0';
        err(1, "%s", dest);
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, from->st_mode & 0777 & ~mask) < 0)
        fail(dest);
    *ret_final = final;
    return fd;
}

static void copy(const char *file, const char *dest)
{
    struct stat st;
    int from = open(file, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &st) < 0)
        err(1, "%s", file);
    if (S_ISDIR(st.st_mode))
        errx(1, "%s is a directory", file);

    const char *final;
    handle_signals();
    int to = open_dest(dest, &st, &final);
    if (transport->open() < 0)
        fail(transport->name);

    double begin = seconds_now();
    progress_begin(S_ISREG(st.st_mode) ? (unsigned long long)st.st_size : 0);
    fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        /* If the sender is killed, the receiver gets SIGTERM, and its handler cleans up. */
        signal(SIGCHLD, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            raise(SIGTERM);
        transport->keep_receiver();
        if (transport->recv_fd) {
            close(from); /* the receiver uses the descriptor that the sender passes */
            copy_received_file(to, dest);
        }
        receive(to, dest);
    }
    transport->keep_sender();
    long long len = transport->send_fd ? pass_file(from, pid) : send_file(from, file);
    int received = receiver_result(pid);
    progress_end();
    if (received < 0 || len < 0) {
        if (received == 0)
            warnx("the receiver ended before everything was sent");
        clean_up();
        exit(1);
    }
    double seconds = seconds_now() - begin;
    enable_waitpid(); /* the next children are sha256sum */

    const char *check = final ? "not checked: the original is not a regular file"
                              : "not checked: the copy is not a regular file";
    char hex[2][DIGEST_HEX + 1];
    if (final && S_ISREG(st.st_mode)) {
        int copied = open(part, O_RDONLY | O_CLOEXEC);
        if (copied < 0)
            fail(dest);
        if (digest_two((int[]){from, copied}, hex) < 0 || strcmp(hex[0], hex[1]) != 0) {
            warnx("%s: the digest of the copy differs or is missing (did the file change?)", dest);
            clean_up();
            exit(1);
        }
        check = hex[0];
    }
    if (final && rename(part, final) < 0)
        fail(dest);
    part[0] = '\0';
    transport->remove();
    printf("%-11s %14lld bytes %9.3f s %9.0f MB/s  sha256 %s\n", transport->name, len, seconds,
           (double)len / 1e6 / seconds, check);
    if (fflush(stdout) != 0)
        err(1, "standard output");
}

static const char usage[] =
    "usage: ipc_copy FILE DEST --via MECHANISM\n"
    "Copies FILE to DEST through a second process, compares the SHA-256 of both, and prints the\n"
    "rate. MECHANISM is socketpair, fifo, shm, message, channel or fd.\n";

int main(int argc, char **argv)
{
    const char *mechanism = NULL;
    const struct command_option options[] = {
        {'v', "via", .text = &mechanism},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 2,
        .max_args = 2,
        .options = options,
    };
    int first = parse_command_line(&line, argc, argv);

    if (!mechanism)
        usage_error(usage);
    for (size_t i = 0; i < TRANSPORTS; i++)
        if (strcmp(mechanism, transports[i]->name) == 0)
            transport = transports[i];
    if (!transport) {
        warnx("--via does not take %s", mechanism);
        usage_error(usage);
    }
    copy(argv[first], argv[first + 1]);
    return 0;
}
