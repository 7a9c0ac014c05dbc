/* Buffers for payloads, shared memory, and sizes that depend on the length of a message. */
#include "engine.h"

#include <sys/mman.h>
#include <sys/socket.h>

char *subject_out, *subject_in;

void payload_init(void)
{
    size_t size = (subject.len + 4095) & ~(size_t)4095;

    subject_out = aligned_alloc(4096, size);
    subject_in = aligned_alloc(4096, size);
    if (subject_out == NULL || subject_in == NULL)
        err(1, "malloc");
    memset(subject_out, 0, size);
    memset(subject_in, 0, size);
}

void subject_fail_check(const void *payload, size_t len, uint64_t n)
{
    uint64_t first;

    memcpy(&first, payload, 8);
    errx(1, "wrong payload: %zu bytes, number %llu, expected %llu", len, (unsigned long long)first,
         (unsigned long long)n);
}

void *subject_memory(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        err(1, "mmap");
    return at;
}

size_t subject_ring_size(void)
{
    size_t size = 256 * 1024;

    /* Large enough for several messages, so that both processes can work at the same time. */
    while (size < 8 * subject.len && subject.len > 4096)
        size *= 2;
    return subject.len > 4096 && size < 1024 * 1024 ? 1024 * 1024 : size;
}

size_t subject_packet_max(void)
{
    int size = 0;
    socklen_t len = sizeof(size);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0)
        err(1, "SO_SNDBUF");
    close(fd);
    return ((size_t)size - 32) & ~(size_t)7;
}
