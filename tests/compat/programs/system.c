/* The calls of the system, socket pairs, messages, child processes and the System V lock. */
#include "show.h"
#include <fcntl.h>
#include <signal.h>

static void show_system_calls(void)
{
    int sv[2], id;
    struct shmid_ds ds;
    struct sembuf up = {0, 1, 0}, down = {0, -2, IPC_NOWAIT};
    struct timespec limit = {0, 1000000};
    char *memory;

    SHOW(ipc_socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv));
    close(sv[0]);
    close(sv[1]);
    SHOW(ipc_socketpair(AF_UNIX, -1, 0, sv));
    SHOW(ipc_mkfifo("fifo", 0600));
    SHOW(ipc_mkfifo("fifo", 0600));
    SHOW(ipc_ftok("fifo", 1) == ipc_ftok("fifo", 1));
    SHOW(ipc_ftok("absent", 1));
    unlink("fifo");

    id = ipc_shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
    memory = SHOW_POINTER(ipc_shmat(id, NULL, 0));
    memory[0] = 'x';
    SHOW(ipc_shmctl(id, IPC_STAT, &ds));
    SHOW(ds.shm_segsz);
    SHOW(ipc_shmdt(memory));
    SHOW(ipc_shmdt(memory));
    SHOW(ipc_shmctl(id, IPC_RMID, NULL));
    SHOW_POINTER(ipc_shmat(-1, NULL, 0));

    id = ipc_semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    SHOW(ipc_semop(id, &up, 1));
    SHOW(ipc_semop(id, &down, 1));
    down.sem_flg = 0;
    SHOW(ipc_semtimedop(id, &down, 1, &limit));
    SHOW(ipc_semctl(id, 0, GETVAL));
    SHOW(ipc_semctl(id, 0, IPC_RMID));
    SHOW(ipc_semctl(id, 0, GETVAL));
}

static void show_pair(void)
{
    int pair[2], pidfd;
    struct ipc_cred cred;
    char buf[8];
    size_t done = 0;

    SHOW(ipc_pair_open(SOCK_STREAM, pair));
    SHOW(ipc_send_full(pair[0], "12345678", 8, &done, LONG_MS));
    SHOW(done);
    SHOW(ipc_recv_full(pair[1], buf, 8, NULL, LONG_MS));
    SHOW(memcmp(buf, "12345678", 8) == 0);
    SHOW(ipc_recv_full(pair[1], buf, 8, NULL, 0));
    SHOW(ipc_peer_cred(pair[0], &cred, sizeof(cred)));
    SHOW(cred.pid == getpid() && cred.uid == geteuid() && cred.gid == getegid());
    SHOW(ipc_peer_cred(pair[0], &cred, 1));
    pidfd = ipc_peer_pidfd(pair[0]);
    SHOW(pidfd >= 0);
    close(pidfd);
    close(pair[0]);
    SHOW(ipc_recv_full(pair[1], buf, 8, NULL, LONG_MS));
    SHOW(ipc_send_full(pair[1], "x", 1, NULL, LONG_MS));
    close(pair[1]);
}

static void show_messages(int type)
{
    int pair[2], fds[2] = {-1, -1};
    struct iovec parts[2] = {{"split ", 6}, {"message", 7}};
    char buf[64];
    size_t nfds;

    SHOW(ipc_pair_open(type, pair));
    SHOW(ipc_msg_send(pair[0], "message", 7, NULL, 0, LONG_MS));
    SHOW(ipc_msg_sendv(pair[0], parts, 2, NULL, 0, LONG_MS));
    SHOW(ipc_msg_send(pair[0], "with one", 8, &pair[1], 1, LONG_MS));
    SHOW(ipc_msg_send(pair[0], "too long", 8, NULL, 0, LONG_MS));
    nfds = 0;
    SHOW(ipc_msg_recv(pair[1], buf, sizeof(buf), NULL, &nfds, LONG_MS));
    SHOW(memcmp(buf, "message", 7) == 0);
    SHOW(ipc_msg_recv(pair[1], buf, sizeof(buf), NULL, NULL, LONG_MS));
    SHOW(memcmp(buf, "split message", 13) == 0);
    nfds = 2;
    SHOW(ipc_msg_recv(pair[1], buf, sizeof(buf), fds, &nfds, LONG_MS));
    SHOW(nfds);
    SHOW(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close(fds[0]);
    SHOW(ipc_msg_recv(pair[1], buf, 3, NULL, NULL, LONG_MS));
    SHOW(ipc_msg_recv(pair[1], buf, sizeof(buf), NULL, NULL, 0));
    close(pair[0]);
    SHOW(ipc_msg_recv(pair[1], buf, sizeof(buf), NULL, NULL, LONG_MS));
    close(pair[1]);
}

static void show_spawn(void)
{
    char *cat[] = {"cat", NULL}, *print[] = {"sh", "-c", "echo $WORD; pwd >&7; ulimit -n", NULL};
    char *env[] = {"WORD=hello", "PATH=/usr/bin:/bin", NULL};
    char buf[64] = "";
    int fd, out, pidfd, extra[2];
    pid_t pid;

    pid = ipc_spawn("cat", cat, NULL, 0, &fd);
    SHOW(pid > 0);
    SHOW(ipc_send_full(fd, "echo", 4, NULL, LONG_MS));
    SHOW(ipc_recv_full(fd, buf, 4, NULL, LONG_MS));
    close(fd);
    print_end(pid);

    if (pipe(extra) < 0) {
        exit(1);
    }
    struct ipc_spawn_fd fds[] = {{extra[1], 7}};
    struct ipc_spawn_limit limits[] = {{7 /* RLIMIT_NOFILE */, 77, 77}};
    struct ipc_spawn_opts opts = {
        .envp = env,
        .cwd = "/",
        .fds = fds,
        .nfds = 1,
        .limits = limits,
        .nlimits = 1,
        .ret_pidfd = &pidfd,
        .ret_out_fd = &out,
        .flags = IPC_SPAWN_F_PIPES | IPC_SPAWN_F_STDERR_NULL | IPC_SPAWN_F_NO_NEW_PRIVS,
        .pdeathsig = SIGKILL,
    };
    pid = ipc_spawn("sh", print, &opts, sizeof(opts), &fd);
    SHOW(pid > 0);
    close(extra[1]);
    memset(buf, 0, sizeof(buf));
    print_end(pid);
    SHOW(read(out, buf, sizeof(buf)));
    printf("%s", buf);
    SHOW(read(extra[0], buf, sizeof(buf)));
    SHOW(memcmp(buf, "/\n", 2) == 0);
    close(extra[0]);
    close(pidfd);
    close(out);
    close(fd);
    SHOW(ipc_spawn("/absent", cat, NULL, 0, &fd));
    SHOW(ipc_spawn("cat", cat, &opts, 8, &fd));
}

static void show_semlock(void)
{
    int id = ipc_semlock_open(17, IPC_CREAT | 0600);

    SHOW(id == ipc_semlock_open(17, 0));
    SHOW(ipc_semlock_open(18, 0));
    SHOW(ipc_semlock_rdlock(id, LONG_MS));
    SHOW(ipc_semlock_rdlock(id, 0));
    SHOW(ipc_semlock_wrlock(id, 0));
    SHOW(ipc_semlock_rdunlock(id));
    SHOW(ipc_semlock_rdunlock(id));
    SHOW(ipc_semlock_rdunlock(id));
    pid_t pid = start_child();
    if (pid == 0) {
        ipc_semlock_wrlock(id, LONG_MS);
        raise(SIGKILL);
    }
    print_end(pid);
    SHOW(ipc_semlock_wrlock(id, LONG_MS));
    SHOW(ipc_semlock_rdlock(id, 0));
    SHOW(ipc_semlock_consistent(id));
    SHOW(ipc_semlock_wrunlock(id));
    SHOW(ipc_semlock_wrlock(id, LONG_MS));
    SHOW(ipc_semlock_wrunlock(id));
    SHOW(ipc_semlock_remove(id));
    SHOW(ipc_semlock_rdlock(id, 0));
}

int main(void)
{
    printf("%s\n", UNIXIPC_VERSION);
    SHOW(strlen(ipc_version()) > 4);
    show_system_calls();
    show_pair();
    show_messages(SOCK_STREAM);
    show_messages(SOCK_SEQPACKET);
    show_spawn();
    show_semlock();
    return 0;
}
