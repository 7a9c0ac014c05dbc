/*
 * plugin_host: starts a plug-in as a process of its own, and calls it over a channel.
 *
 * The plug-in can hang, crash, or reply late; the host continues. Each call has a time-out, and the
 * library discards late replies. The host restarts a plug-in that has ended, has sent an invalid
 * reply, or has not replied to two calls in a row.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
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

/* Makes a call and prints the reply. Returns 0, or -1 if there was none. */
static int call(struct plugin *plugin, int number, const char *text, long timeout_ms)
{
    char reply[PLUGIN_TEXT_MAX];
    size_t len = strlen(text);

    if (len == 0 || len > PLUGIN_TEXT_MAX) {
        warnx("a call has 1 to %d bytes", PLUGIN_TEXT_MAX);
        return -1;
    }
    /* A call without time to wait sends nothing. It only detects that the plug-in has ended. */
    if (ipc_channel_call(plugin->ch, text, len, NULL, 0, 0) < 0 && errno == EPIPE)
        restart_plugin(plugin, "it has ended between two calls");

    printf("call %d: %s\n", number, text);
    ssize_t received =
        ipc_channel_call(plugin->ch, text, len, reply, sizeof(reply), (int)timeout_ms);
    if (received >= 0) {
        plugin->timeouts = 0;
        printf("  %.*s\n", (int)received, reply);
        return 0;
    }
    if (errno == ETIMEDOUT) {
        printf("  no reply within %ld ms\n", timeout_ms);
        if (++plugin->timeouts == MAX_TIMEOUTS)
            restart_plugin(plugin, "it has not replied to two calls in a row");
    } else if (errno == EPIPE) {
        restart_plugin(plugin, "it has ended during the call");
    } else {
        restart_plugin(plugin, "it has sent an invalid reply"); /* EBADMSG, EMSGSIZE, EPROTO */
    }
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
    int failed = 0, number = 0;

    enable_waitpid();
    start_plugin(&plugin);
    for (int i = first; i < argc; i++)
        failed |= call(&plugin, ++number, argv[i], timeout_ms) < 0;

    char *text = NULL;
    size_t cap = 0;
    for (ssize_t len; first == argc && (len = getline(&text, &cap, stdin)) > 0;) {
        if (text[len - 1] == '\n')
            text[len - 1] = '\0';
        failed |= call(&plugin, ++number, text, timeout_ms) < 0;
        flush_output();
    }
    if (first == argc && ferror(stdin))
        err(1, "standard input");
    free(text);

    /* The plug-in receives the end and exits. If it hangs, it is killed after the time-out. */
    char request[1];
    uint64_t id;
    ipc_channel_shutdown(plugin.ch, SHUT_WR);
    ipc_channel_next_call(plugin.ch, request, sizeof(request), &id, (int)timeout_ms);
    stop_plugin(&plugin);
    flush_output();
    return failed;
}
