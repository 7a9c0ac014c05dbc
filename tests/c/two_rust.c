/*
 * A program with two static libraries that are written in Rust, each with its own copy
 * of Rust's standard library: unixipc, and one that the test builds.
 */
#include "check.h"

/* The sum of the decimal numbers in text, which are separated by spaces. */
int other_sum(const char *text);

int main(void)
{
    int sv[2];

    CHECK(other_sum("1 20 300") == 321);
    CHECK(ipc_socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    CHECK(close(sv[0]) == 0);
    CHECK(close(sv[1]) == 0);
    CHECK(strcmp(ipc_version(), UNIXIPC_VERSION) == 0);
    return 0;
}
