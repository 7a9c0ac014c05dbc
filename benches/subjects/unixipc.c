/* unixipc: the mechanisms of this library. */
#include "subject.h"

#include <unixipc.h>

extern const struct subject_row unixipc_channels[], unixipc_feeds[], unixipc_fds[], unixipc_locks[];

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {unixipc_channels, unixipc_feeds, unixipc_fds,
                                                unixipc_locks, NULL};
    char version[64];

    snprintf(version, sizeof(version), "unixipc %s", ipc_version());
    return subject_main(argc, argv, version, tables);
}
