/* Sends a message through a channel to itself. */

#include <stdio.h>
#include <string.h>
#include <unixipc.h>

int main(void)
{
    struct ipc_channel *ends[2];
    char text[16];
    ssize_t len;

    if (ipc_channel_pair(NULL, 0, ends) < 0 || ipc_channel_send(ends[0], "hello", 5, 0) < 0 ||
        (len = ipc_channel_recv(ends[1], text, sizeof(text), 0)) != 5) {
        perror("prog");
        return 1;
    }
    printf("%.*s, version %s\n", (int)len, text, ipc_version());
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
    return strcmp(ipc_version(), UNIXIPC_VERSION) != 0;
}
