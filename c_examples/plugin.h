/* What plugin_host and a plug-in have in common. */
#ifndef PLUGIN_H
#define PLUGIN_H

/* The number of the socket over which the plug-in connects its channel. */
#define PLUGIN_FD 3

/* The longest request and the longest reply, which are texts without a terminator. */
#define PLUGIN_TEXT_MAX 4000

#endif
