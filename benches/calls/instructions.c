/*
 * Sends and receives messages in one process, for scripts/count-instructions:
 *
 *     instructions LEN [BATCH]
 *
 * With BATCH it uses the batch calls, and sends that many messages at a time.
 */
#include "bench.h"

#include <sys/uio.h>

#define MESSAGES  1024
#define LEN_MAX   4096
#define BATCH_MAX 64

static char buffers[BATCH_MAX][LEN_MAX];

static void one_by_one(struct ipc_channel *const *ends, size_t len)
{
    for (int i = 0; i < MESSAGES; i++) {
        must(ipc_channel_send(ends[0], buffers[0], len, -1), "ipc_channel_send");
        if (ipc_channel_recv(ends[1], buffers[0], LEN_MAX, -1) != (ssize_t)len)
            err(1, "ipc_channel_recv");
    }
}

static void in_batches(struct ipc_channel *const *ends, size_t len, size_t batch)
{
    struct iovec messages[BATCH_MAX];

    for (size_t done = 0; done < MESSAGES; done += batch) {
        for (size_t i = 0; i < batch; i++)
            messages[i] = (struct iovec){buffers[i], len};
        if (ipc_channel_send_many(ends[0], messages, batch, -1) != (ssize_t)batch ||
            ipc_channel_recv_many(ends[1], messages, batch, -1) != (ssize_t)batch)
            err(1, "a batch");
    }
}

int main(int argc, char **argv)
{
    struct ipc_channel *ends[2];
    size_t len = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    size_t batch = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

    if (len == 0 || len > LEN_MAX || batch > BATCH_MAX)
        errx(1, "usage: instructions LEN [BATCH]");
    must(ipc_channel_pair(NULL, 0, ends), "ipc_channel_pair");
    if (batch == 0)
        one_by_one(ends, len);
    else
        in_batches(ends, len, batch);
    ipc_channel_close(ends[0]);
    ipc_channel_close(ends[1]);
    return 0;
}
