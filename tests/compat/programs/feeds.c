/* Feeds: options, publishing, both kinds of subscribers, and the end. */
#include "show.h"
#include <poll.h>

static struct ipc_feed *feed;
static char buf[256];

/* Admits subscribers until the feed has this many. */
static void admit(ssize_t count)
{
    while (ipc_feed_subscribers(feed, NULL, 0, 0) < count) {
        struct pollfd event = {.fd = ipc_feed_fd(feed), .events = POLLIN};
        if (poll(&event, 1, LONG_MS) != 1 || ipc_feed_service(feed) < 0) {
            exit(1);
        }
    }
}

/* Receives all messages. Returns 0 if they are complete, and the feed has ended. */
static int receive_all(struct ipc_sub *sub, uint64_t count)
{
    uint64_t seq, next = 0;
    ssize_t len;

    while ((len = ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS)) > 0) {
        if (seq != next++ || (uint64_t)len != 1 + seq % 200 || buf[len - 1] != (char)seq) {
            return 1;
        }
    }
    return len != 0 || next != count;
}

static void show_options(void)
{
    struct ipc_feed_opts opts = {.size = 65536, .message_align = 64, .lossy_only = 1};
    struct ipc_feed_info info;

    SHOW(ipc_feed_create(&opts, sizeof(opts), &feed));
    SHOW(ipc_feed_info(feed, &info, sizeof(info)));
    SHOW(info.message_max);
    SHOW(ipc_feed_info(feed, &info, 8));
    SHOW((uintptr_t)ipc_feed_reserve(feed, 10, 0) % 64);
    SHOW(ipc_feed_cancel(feed));
    ipc_feed_close(feed);
    SHOW(ipc_feed_create(&opts, 8, &feed));
    opts.message_align = 5;
    SHOW(ipc_feed_create(&opts, sizeof(opts), &feed));
}

static void show_reliable(void)
{
    struct ipc_sub_opts opts = {.name = "reliable"};
    struct ipc_feed_subscriber state;
    struct ipc_sub *sub;
    pid_t pid;

    SHOW(ipc_sub_connect("feed", &opts, sizeof(opts), 0, &sub));
    SHOW(ipc_feed_create(&(struct ipc_feed_opts){.size = 65536}, sizeof(struct ipc_feed_opts),
                         &feed));
    SHOW(ipc_feed_listen(feed, "feed", 0600, 0));
    pid = start_child();
    if (pid == 0) {
        ipc_feed_close(feed);
        _exit(ipc_sub_connect("feed", &opts, sizeof(opts), LONG_MS, &sub) < 0 ||
              receive_all(sub, 2000));
    }
    admit(1);
    SHOW(ipc_feed_subscribers(feed, &state, 1, sizeof(state)));
    printf("%s %d %d\n", state.name, state.pid == pid, state.state & IPC_SUB_S_LOSSY);
    for (uint64_t n = 0; n < 2000; n++) {
        char *message = ipc_feed_reserve(feed, 200, LONG_MS);
        if (message == NULL) {
            exit(1);
        }
        memset(message, (char)n, 200);
        if (ipc_feed_commit(feed, 1 + n % 200) < 0) {
            exit(1);
        }
    }
    ipc_feed_close(feed);
    print_end(pid);
}

/* Publishes numbers. */
static void publish(int from, int to)
{
    for (int n = from; n < to; n++) {
        if (ipc_feed_publish(feed, &n, sizeof(n), LONG_MS) < 0) {
            exit(1);
        }
    }
}

/* Adds a socket on which a request has arrived: the publisher gives a silent client little time. */
static int add(int sock)
{
    struct pollfd event = {.fd = sock, .events = POLLIN};
    int added = poll(&event, 1, LONG_MS) == 1 && ipc_feed_add(feed, sock) == 0;
    close(sock);
    return added && ipc_feed_service(feed) == 0;
}

/* The publisher of a feed for lossy subscribers. It refuses one, admits one, and takes its next step
   when it receives a byte. */
static int publish_in_steps(int refused, int admitted, int line)
{
    struct ipc_feed_opts opts = {.size = 65536, .lossy_only = 1};
    char byte;

    if (ipc_feed_create(&opts, sizeof(opts), &feed) < 0 || !add(refused) || !add(admitted)) {
        return 1;
    }
    admit(1);
    publish(0, 3);
    for (int step = 0; step < 2; step++) {
        if (write(line, "x", 1) != 1 || read(line, &byte, 1) != 1) {
            return 1;
        }
        if (step == 0) {
            publish(3, 10000);
        }
    }
    ipc_feed_close(feed);
    return 0;
}

static void wait_for_step(int line)
{
    char byte;
    if (read(line, &byte, 1) != 1) {
        exit(1);
    }
}

static void show_lossy(void)
{
    struct ipc_sub_opts opts = {.flags = IPC_SUB_F_LOSSY | IPC_SUB_F_OLDEST, .size_max = 1 << 20};
    struct ipc_sub_info info;
    struct ipc_sub *sub;
    const void *message;
    uint64_t seq = 0;
    int refused[2], admitted[2], line[2];

    if (ipc_pair_open(SOCK_STREAM, refused) < 0 || ipc_pair_open(SOCK_SEQPACKET, admitted) < 0 ||
        ipc_pair_open(SOCK_STREAM, line) < 0) {
        exit(1);
    }
    pid_t pid = start_child();
    if (pid == 0) {
        close(line[1]);
        _exit(publish_in_steps(refused[0], admitted[0], line[0]));
    }
    close(line[0]);
    SHOW(ipc_sub_from_fd(refused[1], &opts, 8, LONG_MS, &sub));
    SHOW(ipc_sub_from_fd(refused[1], NULL, 0, LONG_MS, &sub));
    SHOW(ipc_sub_from_fd(admitted[1], &opts, sizeof(opts), LONG_MS, &sub));
    wait_for_step(line[1]);
    SHOW(ipc_sub_info(sub, &info, sizeof(info)));
    SHOW(info.next_seq);
    SHOW(info.published);
    SHOW(info.lost);
    SHOW(ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS));
    SHOW(seq);
    SHOW(ipc_sub_peek(sub, &message, &seq, LONG_MS));
    SHOW(*(const int *)message);
    SHOW(ipc_sub_release(sub));
    SHOW(ipc_sub_fd(sub) >= 0);
    SHOW(write(line[1], "x", 1));
    wait_for_step(line[1]);
    SHOW(ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS));
    SHOW(ipc_sub_info(sub, &info, sizeof(info)));
    SHOW(info.lost + 2 == info.next_seq && info.next_seq == seq);
    SHOW(ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS));
    SHOW((uint64_t) * (int *)buf == seq);
    SHOW(write(line[1], "x", 1));
    print_end(pid);
    while (ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS) > 0) {
    }
    SHOW(seq);
    SHOW(ipc_sub_recv(sub, buf, sizeof(buf), &seq, LONG_MS));
    ipc_sub_close(sub);
    for (int i = 0; i < 2; i++) {
        close(refused[i]);
        close(admitted[i]);
    }
    close(line[1]);
}

int main(void)
{
    show_options();
    show_reliable();
    show_lossy();
    unlink("feed");
    return 0;
}
