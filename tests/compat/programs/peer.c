/*
 * One side of a meeting of two processes, which may have different versions of the library: peer
 * ROLE ADDRESS. The process that starts first prints "ready" when the other one may start. Each
 * checks what it receives, and exits with 0 if all of it was right.
 */
#include "peer.h"

const char *role;

static const struct {
    const char *name;
    void (*run)(const char *address);
} roles[] = {
    {"channel-server", channel_server}, {"channel-client", channel_client},
    {"feed-publisher", feed_publisher}, {"feed-reliable", feed_reliable},
    {"feed-lossy", feed_lossy},         {"fifo-reader", fifo_reader},
    {"fifo-writer", fifo_writer},       {"message-receiver", message_receiver},
    {"message-sender", message_sender}, {"objects-creator", objects_creator},
    {"objects-user", objects_user},     {"semlock-first", semlock_first},
    {"semlock-second", semlock_second},
};

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: peer ROLE ADDRESS\n");
        return 2;
    }
    role = argv[1];
    alarm(100);
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(role, roles[i].name) == 0) {
            roles[i].run(argv[2]);
            return 0;
        }
    }
    fprintf(stderr, "peer: no role %s\n", role);
    return 2;
}
