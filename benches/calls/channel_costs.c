/* The cost of a channel itself: set-up time, descriptors, memory. */
#include "channel.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory itself */

    if (directory == NULL)
        err(1, "/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* The address space and the resident memory (PSS, which counts a page once even if it is mapped
 * several times) of all memfds in this process, in KiB. */
static void memfd_memory(long *mapped, long *resident)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512];
    long kib;
    bool ours = false;

    if (smaps == NULL)
        err(1, "/proc/self/smaps");
    *mapped = *resident = 0;
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (sscanf(line, "Size: %ld", &kib) == 1)
            *mapped += ours ? kib : 0;
        else if (sscanf(line, "Pss: %ld", &kib) == 1)
            *resident += ours ? kib : 0;
        else if (strchr(line, '-') != NULL && strstr(line, " r") != NULL)
            ours = strstr(line, "memfd:") != NULL;
    }
    fclose(smaps);
}

static void report_memory(const char *when)
{
    long mapped, resident;

    memfd_memory(&mapped, &resident);
    printf("  %-38s %8ld  KiB resident, %ld KiB of address space, both ends\n", when, resident,
           mapped);
}

static void channel_pair_and_close(void)
{
    struct ipc_channel *pair[2];

    must(ipc_channel_pair(NULL, 0, pair), "ipc_channel_pair");
    ipc_channel_close(pair[0]);
    ipc_channel_close(pair[1]);
}

static void socketpair_and_close(void)
{
    int fd[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), "socketpair");
    close(fd[0]);
    close(fd[1]);
}

static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len;

static void accept_channel(void)
{
    struct ipc_channel *from;
    long message;

    must(ipc_channel_accept(listener, NULL, 0, -1, &from), "ipc_channel_accept");
    must(ipc_channel_recv(from, &message, sizeof(message), -1), "ipc_channel_recv");
    must(ipc_channel_send(from, &message, sizeof(message), -1), "ipc_channel_send");
    ipc_channel_close(from);
}

static void connect_channel(void)
{
    struct ipc_channel *to;

    must(ipc_channel_connect(address.sun_path, NULL, 0, -1, &to), "ipc_channel_connect");
    round_trip(to);
    ipc_channel_close(to);
}

static void accept_socket(void)
{
    long message;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    must(fd, "accept4");
    must(read(fd, &message, sizeof(message)), "read");
    must(write(fd, &message, sizeof(message)), "write");
    close(fd);
}

static void connect_socket(void)
{
    long message = 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd, "socket");
    must(connect(fd, (struct sockaddr *)&address, address_len), "connect");
    must(write(fd, &message, sizeof(message)), "write");
    must(read(fd, &message, sizeof(message)), "read");
    close(fd);
}

static void accept_bare(void)
{
    bare_accept(listener);
}

static void connect_bare(void)
{
    bare_connect(&address, address_len);
}

static void listen_with(int type)
{
    must(listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
    must(bind(listener, (struct sockaddr *)&address, address_len), "bind");
    must(listen(listener, 16), "listen");
}

/* The median time in microseconds. */
static double time_of(void (*run)(void), int count)
{
    double times[BLOCKS_MAX];

    for (int i = 0; i < 2 * blocks; i++) {
        double begin = bench_now_ns();
        for (int j = 0; j < count; j++)
            run();
        times[i] = (bench_now_ns() - begin) / count / 1e3;
    }
    return bench_median(times, (size_t)(2 * blocks));
}

/* The same, while another process accepts connections from the blocking listener. */
static double time_of_connect(void (*accept_one)(void), void (*connect_one)(void))
{
    pid_t child = fork_other();

    if (child == 0)
        for (;;)
            accept_one();
    double us = time_of(connect_one, 20);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return us;
}

void costs(void)
{
    static const char message[4 * KIB];
    struct ipc_channel *pair[2];
    const void *payload;

    pin(0);
    printf("\ncost of a channel with rings of 256 KiB\n");
    printf("  %-38s %8.1f  us (system calls alone %.1f us, socketpair and close %.1f us)\n",
           "pair and close", time_of(channel_pair_and_close, 50), time_of(bare_pair_and_close, 50),
           time_of(socketpair_and_close, 50));

    snprintf(address.sun_path, sizeof(address.sun_path), "@unixipc-bench-%d", (int)getpid());
    must(listener = ipc_channel_listen(address.sun_path, 0600, 0), "ipc_channel_listen");
    double ours = time_of_connect(accept_channel, connect_channel);
    close(listener);
    address.sun_path[0] = '\0';
    address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1));
    listen_with(SOCK_SEQPACKET);
    double alone = time_of_connect(accept_bare, connect_bare);
    close(listener);
    listen_with(SOCK_STREAM);
    double others = time_of_connect(accept_socket, connect_socket);
    close(listener);
    printf("  %-38s %8.1f  us (system calls alone %.1f us, stream socket %.1f us)\n",
           "connect, accept, message, answer, close", ours, alone, others);

    int before = open_descriptors();
    size_t heap = mallinfo2().uordblks;
    must(ipc_channel_pair(NULL, 0, pair), "ipc_channel_pair");
    int after = open_descriptors();
    heap = mallinfo2().uordblks - heap;
    must(ipc_channel_fd(pair[0]), "ipc_channel_fd");
    printf("  %-38s %8d  per end, %d after ipc_channel_fd\n", "descriptors", (after - before) / 2,
           (after - before) / 2 + open_descriptors() - after);
    printf("  %-38s %8zu  bytes per end\n", "malloc", heap / 2);
    report_memory("new");
    must(ipc_channel_send(pair[0], &before, sizeof(before), 0), "ipc_channel_send");
    must(ipc_channel_recv(pair[1], &before, sizeof(before), 0), "ipc_channel_recv");
    report_memory("after a message");
    for (int from = 0; from < 2; from++)
        for (int i = 0; i < 256; i++) {
            must(ipc_channel_send(pair[from], message, sizeof(message), 0), "ipc_channel_send");
            must(ipc_channel_peek(pair[1 - from], &payload, 0), "ipc_channel_peek");
            must(ipc_channel_release(pair[1 - from]), "ipc_channel_release");
        }
    report_memory("after 1 MiB each way");
    ipc_channel_close(pair[0]);
    ipc_channel_close(pair[1]);
}
