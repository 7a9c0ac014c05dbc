/* Socket pairs, FIFOs and regions of shared memory: part of the subject unixipc. */
#include "fds.h"

#include <limits.h>
#include <unixipc.h>

/* --- transports --- */

static void stream_prepare(void)
{
    subject_must(ipc_pair_open(SOCK_STREAM, pair), "ipc_pair_open");
}

static void seqpacket_prepare(void)
{
    subject_must(ipc_pair_open(SOCK_SEQPACKET, pair), "ipc_pair_open");
}

SUBJECT_INLINE void full_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_send_full(out_fd, subject_out, len, NULL, -1), "ipc_send_full");
}

SUBJECT_INLINE void full_get(size_t len, uint64_t n)
{
    if (ipc_recv_full(in_fd, subject_in, len, NULL, -1) != (ssize_t)len)
        err(1, "ipc_recv_full");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(full)

SUBJECT_INLINE void msg_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_msg_send(out_fd, subject_out, len, NULL, 0, -1), "ipc_msg_send");
}

SUBJECT_INLINE void msg_get(size_t len, uint64_t n)
{
    if (ipc_msg_recv(in_fd, subject_in, len, NULL, NULL, -1) != (ssize_t)len)
        err(1, "ipc_msg_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(msg)

/* Opens both ends of a new FIFO, and removes its name. */
static void make_fifo(int fd[2], const char *path)
{
    subject_must(ipc_fifo_create(path, 0600, 0), "ipc_fifo_create");
    subject_must(fd[0] = ipc_fifo_open(path, IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST, -1),
                 "ipc_fifo_open");
    subject_must(fd[1] = ipc_fifo_open(path, IPC_FIFO_F_WRITE, -1), "ipc_fifo_open");
    subject_must(ipc_fifo_unlink(path), "ipc_fifo_unlink");
}

static char path[PATH_MAX];

static void path_prepare(void)
{
    snprintf(path, sizeof(path), "%s/fifo", subject_directory());
}

static void fifo_prepare(void)
{
    path_prepare();
    for (int i = 0; i < 2; i++)
        make_fifo(fifos[i], path);
}

SUBJECT_INLINE void fifo_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    subject_must(ipc_fifo_send(out_fd, subject_out, len, -1), "ipc_fifo_send");
}

SUBJECT_INLINE void fifo_get(size_t len, uint64_t n)
{
    if (ipc_fifo_recv(in_fd, subject_in, len, -1) != (ssize_t)len)
        err(1, "ipc_fifo_recv");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(fifo)

/* --- creating, using and removing --- */

static uint64_t number; /* of the next message */

static void pair_setup(int type, bool messages)
{
    subject_must(ipc_pair_open(type, pair), "ipc_pair_open");
    out_fd = pair[0];
    in_fd = pair[1];
    if (messages) {
        msg_put(subject.len, number);
        msg_get(subject.len, number++);
    } else {
        full_put(subject.len, number);
        full_get(subject.len, number++);
    }
    close(pair[0]);
    close(pair[1]);
}

static void full_setup(void)
{
    pair_setup(SOCK_STREAM, false);
}

static void msg_stream_setup(void)
{
    pair_setup(SOCK_STREAM, true);
}

static void msg_setup(void)
{
    pair_setup(SOCK_SEQPACKET, true);
}

static void fifo_setup(void)
{
    int fd[2];

    make_fifo(fd, path);
    in_fd = fd[0];
    out_fd = fd[1];
    fifo_put(subject.len, number);
    fifo_get(subject.len, number++);
    close(fd[0]);
    close(fd[1]);
}

/* A region, which is also opened from its descriptor, as another process would do. */
static void shm_setup(void)
{
    struct ipc_shm *first, *second;

    subject_must(ipc_shm_create(subject_ring_size(), NULL, 0, &first), "ipc_shm_create");
    subject_must(ipc_shm_from_fd(ipc_shm_fd(first), IPC_SHM_F_RDONLY, &second), "ipc_shm_from_fd");
    subject_fill(ipc_shm_addr(first), subject.len, number);
    subject_check(ipc_shm_addr(second), subject.len, number++);
    ipc_shm_close(first);
    ipc_shm_close(second);
}

SUBJECT_SETUP_OPERATION(full, NULL)
SUBJECT_SETUP_OPERATION(msg_stream, NULL)
SUBJECT_SETUP_OPERATION(msg, NULL)
SUBJECT_SETUP_OPERATION(fifo, path_prepare)
SUBJECT_SETUP_OPERATION(shm, NULL)

/* --- rows --- */

static size_t record_max_len(void)
{
    return IPC_FIFO_RECORD_MAX & ~7;
}

static const struct subject_transport full = {stream_prepare, pair_open, full_loop, NULL};
static const struct subject_transport msg_stream = {stream_prepare, pair_open, msg_loop, NULL};
static const struct subject_transport msg = {seqpacket_prepare, pair_open, msg_loop, NULL};
static const struct subject_transport fifo = {fifo_prepare, fifo_open, fifo_loop, NULL};

#define FLAGS "ours,isolated"

const struct subject_row unixipc_fds[] = {
    SUBJECT_TRANSPORT("full", "send_full on a stream", FLAGS, NULL, full),
    SUBJECT_SETUP("full", "send_full on a stream", FLAGS, setup_max_len, full),
    SUBJECT_TRANSPORT("msg-stream", "messages on a stream", FLAGS, NULL, msg_stream),
    SUBJECT_SETUP("msg-stream", "messages on a stream", FLAGS, setup_max_len, msg_stream),
    SUBJECT_TRANSPORT("msg", "messages on seqpacket", FLAGS, subject_packet_max, msg),
    SUBJECT_SETUP("msg", "messages on seqpacket", FLAGS, setup_max_len, msg),
    SUBJECT_TRANSPORT("fifo", "FIFO records", FLAGS, record_max_len, fifo),
    SUBJECT_SETUP("fifo", "FIFO records", FLAGS, record_max_len, fifo),
    SUBJECT_SETUP("shm", "region of shared memory", "ours", NULL, shm),
    {0},
};
