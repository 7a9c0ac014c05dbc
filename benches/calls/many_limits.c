/* The round trips of many connections in turn, without the library: with the system calls of a
 * channel and its memory, but without its messages. */
#include "channel.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define COUNT 1000
#define PAGE  4096

/* A pipe for the request of a connection, and one for the answer. */
static struct {
    int to_server[2], to_client[2];
    volatile char *memory; /* of the client, then of the server: the control words and the ring */
} connections[COUNT];

static void answer(int connection, int events)
{
    int to = connections[connection].to_client[1];
    volatile char *memory = connections[connection].memory;
    struct epoll_event event;
    char byte = 0;

    /* A channel leaves most bytes in the pipe. The server reads the message, answers, and polls. */
    must(epoll_wait(events, &event, 1, 0), "epoll_wait");
    memory[2 * PAGE] = memory[3 * PAGE] = memory[PAGE];
    must(write(to, &byte, 1), "write");
}

static void serve_bare(void)
{
    static int events[COUNT];
    struct epoll_event event = {.events = EPOLLIN}, ready[16];
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    must(epoll, "epoll_create1");
    for (int i = 0; i < COUNT; i++) {
        struct epoll_event edge = {.events = EPOLLIN | EPOLLET};

        must(events[i] = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        must(epoll_ctl(events[i], EPOLL_CTL_ADD, connections[i].to_server[0], &edge), "epoll_ctl");
        event.data.u32 = (uint32_t)i;
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, events[i], &event), "epoll_ctl");
    }
    for (;;) {
        int n = epoll_wait(epoll, ready, 16, -1);
        must(n, "epoll_wait");
        for (int i = 0; i < n; i++)
            answer((int)ready[i].data.u32, events[ready[i].data.u32]);
    }
}

static void bare_round_trip(int connection)
{
    int to = connections[connection].to_server[1], from = connections[connection].to_client[0];
    volatile char *memory = connections[connection].memory;
    char byte = 0;

    memory[0] = memory[PAGE] = 1;
    must(write(to, &byte, 1), "write");
    must(read(from, &byte, 1), "read");
    (void)memory[2 * PAGE];
    (void)memory[3 * PAGE];
}

static void make_connection(int i)
{
    must(pipe2(connections[i].to_server, O_CLOEXEC), "pipe2");
    must(pipe2(connections[i].to_client, O_CLOEXEC), "pipe2");
    connections[i].memory =
        mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (connections[i].memory == MAP_FAILED)
        err(1, "mmap");
}

static void close_connection(int i)
{
    close(connections[i].to_server[0]);
    close(connections[i].to_server[1]);
    close(connections[i].to_client[0]);
    close(connections[i].to_client[1]);
    munmap((void *)(uintptr_t)connections[i].memory, 4 * PAGE);
}

void bare_many(void)
{
    double one[BLOCKS_MAX], each[BLOCKS_MAX];

    for (int i = 0; i < COUNT; i++)
        make_connection(i);
    pid_t server = fork_other();
    if (server == 0)
        serve_bare();
    for (int block = 0; block < blocks; block++) {
        double begin = bench_now_ns();
        for (int i = 0; i < COUNT; i++)
            bare_round_trip(COUNT / 2);
        double between = bench_now_ns();
        for (int i = 0; i < COUNT; i++)
            bare_round_trip(i);
        one[block] = (between - begin) / COUNT / 1e3;
        each[block] = (bench_now_ns() - between) / COUNT / 1e3;
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    for (int i = 0; i < COUNT; i++)
        close_connection(i);
    double one_us = bench_median(one, (size_t)blocks), each_us = bench_median(each, (size_t)blocks);
    printf("  %-38s %8.2f  (one of %d %.2f us, each in turn %.2f us)\n",
           "the same, system calls and pages alone", each_us / one_us, COUNT, one_us, each_us);
}
