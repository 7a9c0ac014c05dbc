/*
 * The version is the same everywhere. UNIXIPC_PKG_VERSION in the environment is the output
 * of pkg-config.
 */
#include "check.h"

#if UNIXIPC_VERSION_NUMBER < 100
#error "UNIXIPC_VERSION_NUMBER is not for #if"
#endif

int main(void)
{
    const char *installed = getenv("UNIXIPC_PKG_VERSION");
    char text[64];

    snprintf(text, sizeof text, "%d.%d.%d", UNIXIPC_VERSION_MAJOR, UNIXIPC_VERSION_MINOR,
             UNIXIPC_VERSION_PATCH);
    CHECK(strcmp(UNIXIPC_VERSION, text) == 0);
    CHECK(UNIXIPC_VERSION_NUMBER ==
          UNIXIPC_VERSION_MAJOR * 10000 + UNIXIPC_VERSION_MINOR * 100 + UNIXIPC_VERSION_PATCH);
    CHECK(UNIXIPC_VERSION_MINOR < 100 && UNIXIPC_VERSION_PATCH < 100);
    CHECK(strcmp(ipc_version(), UNIXIPC_VERSION) == 0);
    CHECK(ipc_version() == ipc_version());
    if (installed == NULL) {
        fprintf(stderr, "UNIXIPC_PKG_VERSION is not set\n");
        return CANNOT_RUN;
    }
    CHECK(strcmp(installed, UNIXIPC_VERSION) == 0);
    return 0;
}
