/* Finds out which descriptors are open, to detect leaks. The including file defines `expect`. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <poll.h>

#define DESCRIPTORS 64 /* the range of descriptors that is checked */

struct descriptors {
    short closed[DESCRIPTORS]; /* POLLNVAL or 0 */
};

static struct descriptors open_descriptors(void)
{
    struct descriptors result;
    struct pollfd fds[DESCRIPTORS];

    for (int i = 0; i < DESCRIPTORS; i++) {
        fds[i] = (struct pollfd){.fd = i};
    }
    expect(poll(fds, DESCRIPTORS, 0) >= 0, "poll");
    for (int i = 0; i < DESCRIPTORS; i++) {
        result.closed[i] = fds[i].revents & POLLNVAL;
    }
    return result;
}

static void expect_same_descriptors(const struct descriptors *before)
{
    struct descriptors after = open_descriptors();

    expect(memcmp(before, &after, sizeof(after)) == 0, "a descriptor is still open");
}

#endif
