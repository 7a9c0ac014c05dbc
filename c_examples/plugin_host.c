/*
 * plugin_host: starts a plug-in as a process of its own, and calls it over a channel.
 *
 * The plug-in can hang, crash, or reply late; the host continues. Each call has an ID and a
 * time-out. The host discards a reply whose ID is not that of the current call. It restarts a
 * plug-in that has ended, has sent an invalid reply, or has not replied to two calls in a row.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

#include "plugin.h"
#include "util.h"

#define START_TIMEOUT_MS 10000
#define MAX_TIMEOUTS     2 /* in a row, before the plug-in is restarted */

struct plugin {
    const char *program;
    pid_t pid;
    struct ipc_channel *ch;
    uint64_t last_id;
    int timeouts; /* calls in a row without a reply */
};

static void start_plugin(struct plugin *plugin)
{
    char *argv[] = {(char *)plugin->program, NULL}; /* exec takes no const */
    const struct ipc_spawn_opts opts = {.child_fd = PLUGIN_FD, .type = SOCK_SEQPACKET};
    int sock;

    plugin->pid = ipc_spawn(plugin->program, argv, &opts, sizeof(opts), &sock);
    if (plugin->pid < 0)
        err(1, "%s", plugin->program);
    /* The plug-in makes the other end of the channel with the same call. */
    if (ipc_channel_from_fd(sock, NULL, 0, START_TIMEOUT_MS, &plugin->ch) < 0) {
        warn("%s does not connect a channel", plugin->program);
        kill(plugin->pid, SIGKILL);
        wait_for_child(plugin->pid);
        exit(1);
    }
    close(sock); /* the channel does not use the socket after the handshake */
    plugin->timeouts = 0;
}

/* Kills the plug-in, unless it has ended already. Returns its wait status. */
static int stop_plugin(struct plugin *plugin)
{
    kill(plugin->pid, SIGKILL);
    ipc_channel_close(plugin->ch);
    return wait_for_child(plugin->pid);
}

static void restart_plugin(struct plugin *plugin, const char *reason)
{
    int status = stop_plugin(plugin);
    if (WIFSIGNALED(status))
        printf("  restarted the plug-in: %s (signal %d)\n", reason, WTERMSIG(status));
    else
        printf("  restarted the plug-in: %s (exit status %d)\n", reason, WEXITSTATUS(status));
    start_plugin(plugin);
}

/* The result of waiting for a reply. */
enum outcome { REPLY, TIMEOUT, ENDED, INVALID };

/*
 * Receives until the reply with this ID arrives, and stores its length. Other replies are late:
 * their calls have timed out. A plug-in that floods the host with such replies does not extend the
 * deadline.
 */
static enum outcome receive_reply(struct plugin *plugin, uint64_t id, uint64_t deadline,
                                  struct plugin_message *reply, size_t *ret_len)
{
    for (;;) {
        uint64_t now = nanoseconds_now();
        int timeout_ms = now < deadline ? (int)((deadline - now + 999999) / 1000000) : 0;
        ssize_t len = ipc_channel_recv(plugin->ch, reply, sizeof(*reply), timeout_ms);
        if (len < 0)
            return errno == ETIMEDOUT || errno == EAGAIN ? TIMEOUT : INVALID;
        if (len == 0)
            return ENDED;
        if ((size_t)len < PLUGIN_HEADER_SIZE || reply->id == 0 || reply->id > plugin->last_id)
            return INVALID;
        if (reply->id == id) {
            *ret_len = (size_t)len - PLUGIN_HEADER_SIZE;
            return REPLY;
        }
        printf("  discarded the late reply to call %llu\n", (unsigned long long)reply->id);
        if (now >= deadline)
            return TIMEOUT;
    }
}

/* Makes a call and prints the reply. Returns 0, or -1 if there was none. */
static int call(struct plugin *plugin, const char *text, long timeout_ms)
{
    struct plugin_message message, reply;
    size_t len = strlen(text), reply_len = 0;

    if (len > sizeof(message.text)) {
        warnx("a call has at most %d bytes", PLUGIN_TEXT_MAX);
        return -1;
    }
    /* ID 0 is never used, so this only checks whether the plug-in has ended since the last call. */
    if (receive_reply(plugin, 0, 0, &reply, &reply_len) == ENDED)
        restart_plugin(plugin, "it has ended between two calls");

    message.id = ++plugin->last_id;
    memcpy(message.text, text, len);
    printf("call %llu: %s\n", (unsigned long long)message.id, text);
    uint64_t deadline = nanoseconds_now() + (uint64_t)timeout_ms * 1000000;
    enum outcome outcome = TIMEOUT;
    if (ipc_channel_send(plugin->ch, &message, PLUGIN_HEADER_SIZE + len, (int)timeout_ms) == 0)
        outcome = receive_reply(plugin, message.id, deadline, &reply, &reply_len);
    else if (errno == EPIPE)
        outcome = ENDED;

    switch (outcome) {
    case REPLY:
        plugin->timeouts = 0;
        printf("  %.*s\n", (int)reply_len, reply.text);
        return 0;
    case TIMEOUT:
        printf("  no reply within %ld ms\n", timeout_ms);
        if (++plugin->timeouts == MAX_TIMEOUTS)
            restart_plugin(plugin, "it has not replied to two calls in a row");
        return -1;
    case ENDED:
        restart_plugin(plugin, "it has ended during the call");
        return -1;
    case INVALID:
        break;
    }
    restart_plugin(plugin, "it has sent an invalid reply");
    return -1;
}

static const char usage[] =
    "usage: plugin_host [--timeout MS] PLUGIN [CALL...]\n"
    "Starts the program PLUGIN and makes each CALL, or else a call for each line of standard\n"
    "input. A call fails without a reply within MS milliseconds (default 1000). Exits with 1 if a\n"
    "call has failed. PLUGIN is a path, such as ./plugin.\n";

int main(int argc, char **argv)
{
    long timeout_ms = 1000;
    const struct command_option options[] = {
        {'t', "timeout", .number = &timeout_ms, .min = 1, .max = 3600000},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .min_args = 1,
        .max_args = -1,
        .options_first = 1,
        .options = options,
    };
    int first = parse_command_line(&line, argc, argv);
    struct plugin plugin = {.program = argv[first++]};
    int failed = 0;

    enable_waitpid();
    start_plugin(&plugin);
    for (int i = first; i < argc; i++)
        failed |= call(&plugin, argv[i], timeout_ms) < 0;

    char *text = NULL;
    size_t cap = 0;
    for (ssize_t len; first == argc && (len = getline(&text, &cap, stdin)) > 0;) {
        if (text[len - 1] == '\n')
            text[len - 1] = '\0';
        failed |= call(&plugin, text, timeout_ms) < 0;
        flush_output();
    }
    if (first == argc && ferror(stdin))
        err(1, "standard input");
    free(text);

    /* After this the plug-in receives the end and exits. If it hangs, it is killed. */
    struct plugin_message reply;
    size_t len;
    ipc_channel_shutdown(plugin.ch, SHUT_WR);
    receive_reply(&plugin, 0, nanoseconds_now() + (uint64_t)timeout_ms * 1000000, &reply, &len);
    stop_plugin(&plugin);
    flush_output();
    return failed;
}
