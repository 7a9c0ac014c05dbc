/*
 * plugin: a plug-in for plugin_host. It replies to "upper TEXT" with the text in capital letters.
 * Other calls make it misbehave, to show how the host handles that:
 *
 *     hang         never replies
 *     crash        aborts
 *     late TEXT    replies only after the next call has arrived
 */
#include <ctype.h>
#include <err.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <unixipc.h>

#include "plugin.h"
#include "util.h"

static void reply(struct ipc_channel *ch, uint64_t id, const char *text, size_t len)
{
    struct plugin_message message = {.id = id};
    for (size_t i = 0; i < len; i++)
        message.text[i] = (char)toupper((unsigned char)text[i]);
    if (ipc_channel_send(ch, &message, PLUGIN_HEADER_SIZE + len, -1) < 0)
        err(1, "plugin: ipc_channel_send");
}

static int has_prefix(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static void serve(struct ipc_channel *ch)
{
    struct plugin_message call, late = {.id = 0};
    size_t late_len = 0;
    ssize_t received;

    while ((received = ipc_channel_recv(ch, &call, sizeof(call), -1)) > 0) {
        if ((size_t)received < PLUGIN_HEADER_SIZE)
            errx(1, "plugin: a call without an ID");
        size_t len = (size_t)received - PLUGIN_HEADER_SIZE;

        if (late.id)
            reply(ch, late.id, late.text + strlen("late "), late_len - strlen("late "));
        late.id = 0;
        if (has_prefix(call.text, len, "upper ")) {
            reply(ch, call.id, call.text + strlen("upper "), len - strlen("upper "));
        } else if (has_prefix(call.text, len, "late ")) {
            late = call;
            late_len = len;
        } else if (has_prefix(call.text, len, "hang")) {
            for (;;)
                pause();
        } else if (has_prefix(call.text, len, "crash")) {
            abort();
        } else {
            reply(ch, call.id, "unknown call", strlen("unknown call"));
        }
    }
    if (received < 0)
        err(1, "plugin: ipc_channel_recv");
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
