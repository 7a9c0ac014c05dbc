/* Socket pairs and FIFOs between two processes: each process keeps its ends after the fork. */
#ifndef FDS_H
#define FDS_H

#include "subject.h"

#define PIPE_SIZE 65536 /* the default capacity of a pipe */

static int in_fd, out_fd;
static int pair[2];
static int fifos[2][2]; /* for each direction, the descriptors to read and to write */

static void pair_open(void)
{
    in_fd = out_fd = pair[subject_side];
    close(pair[1 - subject_side]);
}

static void fifo_open(void)
{
    in_fd = fifos[1 - subject_side][0];
    out_fd = fifos[subject_side][1];
    close(fifos[subject_side][0]);
    close(fifos[1 - subject_side][1]);
}

/* A set-up test sends a message and then receives it in the same process, so the message must fit
 * into a pipe or socket. */
static size_t setup_max_len(void)
{
    return PIPE_SIZE;
}

#endif
