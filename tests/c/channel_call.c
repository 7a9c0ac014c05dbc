/*
 * Requests and replies between two processes, with time-outs, late replies, the server's death, and
 * a caller that is cancelled.
 */
#include "cancel.h"

static struct ipc_channel *ch;

/* Replies with the request. The request "late" gets its reply after the next one; "exit" none. */
static void serve(struct ipc_channel *end)
{
    char request[64];
    uint64_t id, late = 0;
    ssize_t len;

    while ((len = ipc_channel_next_call(end, request, sizeof(request), &id, -1)) > 0) {
        CHECK(id != 0);
        if (len == 4 && memcmp(request, "exit", 4) == 0)
            return;
        if (len == 4 && memcmp(request, "late", 4) == 0) {
            late = id;
            continue;
        }
        if (late)
            CHECK(ipc_channel_reply(end, late, "stale", 5, -1) == 0);
        late = 0;
        if (len == 5 && memcmp(request, "empty", 5) == 0)
            CHECK(ipc_channel_reply(end, id, NULL, 0, -1) == 0);
        else
            CHECK(ipc_channel_reply(end, id, request, (size_t)len, -1) == 0);
    }
    CHECK(len == 0);
}

static ssize_t call(const char *text, void *reply, size_t cap, int timeout_ms)
{
    return ipc_channel_call(ch, text, strlen(text), reply, cap, timeout_ms);
}

static void *calls_forever(void *unused)
{
    char reply[8];

    (void)unused;
    begun = 1;
    call("late", reply, sizeof(reply), -1);
    return NULL;
}

int main(void)
{
    struct ipc_channel *ends[2];
    char reply[64];
    uint64_t id = 7;

    CHECK(ipc_channel_pair(NULL, 0, ends) == 0);
    pid_t server = check_fork();
    if (server == 0) {
        ipc_channel_close(ends[0]);
        serve(ends[1]);
        ipc_channel_close(ends[1]);
        return 0;
    }
    ipc_channel_close(ends[1]);
    ch = ends[0];
    for (int i = 0; i < 1000; i++) {
        CHECK(call("hello", reply, sizeof(reply), -1) == 5);
        CHECK(memcmp(reply, "hello", 5) == 0);
    }
    CHECK(call("empty", NULL, 0, 10000) == 0);

    memset(reply, 'r', sizeof(reply));
    CHECK(call("hello", reply, 4, 10000) == -1 && errno == EMSGSIZE);
    CHECK(call("hello", reply, sizeof(reply), 0) == -1 && errno == EAGAIN);
    CHECK(call("", reply, sizeof(reply), -1) == -1 && errno == EINVAL);
    CHECK(call("late", reply, sizeof(reply), 20) == -1 && errno == ETIMEDOUT);
    CHECK(reply[0] == 'r' && reply[63] == 'r');
    CHECK(call("fresh", reply, sizeof(reply), 10000) == 5);
    CHECK(memcmp(reply, "fresh", 5) == 0);
    for (int i = 0; i < 3; i++) {
        cancel(calls_forever, NULL);
        CHECK(call("fresh", reply, sizeof(reply), 10000) == 5);
        CHECK(memcmp(reply, "fresh", 5) == 0);
    }

    CHECK(ipc_channel_next_call(ch, reply, sizeof(reply), &id, 0) == -1 && errno == EAGAIN);
    CHECK(id == 7);
    CHECK(call("exit", reply, sizeof(reply), -1) == -1 && errno == EPIPE);
    check_passed(server);
    CHECK(call("hello", reply, sizeof(reply), -1) == -1 && errno == EPIPE);
    CHECK(ipc_channel_next_call(ch, reply, sizeof(reply), &id, -1) == 0);
    CHECK(id == 7);
    CHECK(ipc_channel_reply(ch, 1, "x", 1, -1) == -1 && errno == EPIPE);
    ipc_channel_close(ch);
    return 0;
}
