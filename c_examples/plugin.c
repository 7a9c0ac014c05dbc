/*
 * plugin: a plug-in for plugin_host. It replies to "upper TEXT" with the text in capital letters.
 * Other requests make it misbehave, to show how the host handles that:
 *
 *     hang         never replies
 *     crash        aborts
 *     invalid      sends a message that is not a reply
 *     late TEXT    replies only after the next request has arrived
 */
#include <ctype.h>
#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <unixipc.h>

#include "plugin.h"
#include "util.h"

/* Replies with the text in capital letters. */
static void reply(struct ipc_channel *ch, uint64_t id, const char *text, size_t len)
{
    char upper[PLUGIN_TEXT_MAX];

    for (size_t i = 0; i < len; i++)
        upper[i] = (char)toupper((unsigned char)text[i]);
    if (ipc_channel_reply(ch, id, upper, len, -1) < 0)
        err(1, "plugin: ipc_channel_reply");
}

static int has_prefix(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static void serve(struct ipc_channel *ch)
{
    char text[PLUGIN_TEXT_MAX], late[PLUGIN_TEXT_MAX];
    uint64_t id, late_id = 0; /* 0 is not the id of a call */
    size_t late_len = 0;
    ssize_t received;

    while ((received = ipc_channel_next_call(ch, text, sizeof(text), &id, -1)) > 0) {
        size_t len = (size_t)received;

        if (late_id)
            reply(ch, late_id, late + strlen("late "), late_len - strlen("late "));
        late_id = 0;
        if (has_prefix(text, len, "upper ")) {
            reply(ch, id, text + strlen("upper "), len - strlen("upper "));
        } else if (has_prefix(text, len, "late ")) {
            memcpy(late, text, len);
            late_len = len;
            late_id = id;
        } else if (has_prefix(text, len, "hang")) {
            for (;;)
                pause();
        } else if (has_prefix(text, len, "crash")) {
            abort();
        } else if (has_prefix(text, len, "invalid")) {
            ipc_channel_send(ch, "not a reply", strlen("not a reply"), -1);
        } else {
            reply(ch, id, "unknown call", strlen("unknown call"));
        }
    }
    if (received < 0)
        err(1, "plugin: ipc_channel_next_call");
}

static const char usage[] = "usage: plugin\n"
                            "A plug-in that plugin_host starts.\n";

int main(int argc, char **argv)
{
    const struct command_line line = {.usage = usage};
    const struct rlimit no_core = {0, 0};
    struct ipc_channel *ch;

    parse_command_line(&line, argc, argv);
    setrlimit(RLIMIT_CORE, &no_core); /* the crash is intended */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a plug-in that hangs must not outlive its host */
    if (ipc_channel_from_fd(PLUGIN_FD, NULL, 0, 10000, &ch) < 0)
        err(1, "plugin: descriptor %d is not a connection to a host", PLUGIN_FD);
    close(PLUGIN_FD); /* the channel does not use the socket after the handshake */
    serve(ch);
    ipc_channel_close(ch);
    return 0;
}
