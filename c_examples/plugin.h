/* The protocol between plugin_host and a plug-in. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stdint.h>

/* The number of the socket over which the plug-in connects its channel. */
#define PLUGIN_FD 3

#define PLUGIN_TEXT_MAX 4000

/* A call, and the reply to it with the same ID. The text has no terminator: the length of the
 * message tells where it ends. */
struct plugin_message {
    uint64_t id;
    char text[PLUGIN_TEXT_MAX];
};

#define PLUGIN_HEADER_SIZE offsetof(struct plugin_message, text)

#endif
