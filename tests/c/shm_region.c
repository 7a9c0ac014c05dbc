/* Regions of shared memory from C: created, published, opened in every way, passed, removed. */
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>

#define SIZE 10000

_Static_assert(sizeof(struct ipc_shm_opts) == 24, "the options' size");
_Static_assert(offsetof(struct ipc_shm_opts, mode) == 4, "where the mode is");
_Static_assert(offsetof(struct ipc_shm_opts, timeout_ms) == 8, "where the time-out is");
_Static_assert(offsetof(struct ipc_shm_opts, layout) == 16, "where the layout tag is");

static char name[64];
static pid_t owner;

/* A failed test leaves no name either. */
static void clean_up(void)
{
    if (getpid() == owner) {
        ipc_shm_unlink(name);
    }
}

static void make_and_publish(void)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_PUBLISH | IPC_SHM_F_PREFAULT, .mode = 0640};
    struct ipc_shm *shm, *opened;
    struct stat st;

    CHECK(ipc_shm_create(SIZE, &opts, sizeof opts, &shm) == 0);
    CHECK(ipc_shm_size(shm) == SIZE);
    CHECK(ipc_shm_open(name, 0, &opened) == -1 && errno == ENOENT);
    strcpy(ipc_shm_addr(shm), "filled in");
    CHECK(ipc_shm_publish(shm, name) == 0);
    CHECK(ipc_shm_publish(shm, name) == -1 && errno == EEXIST);
    CHECK(fstat(ipc_shm_fd(shm), &st) == 0 && st.st_mode == (S_IFREG | 0640));
    ipc_shm_close(shm);

    CHECK(ipc_shm_open(name, IPC_SHM_F_RDONLY, &opened) == 0);
    CHECK(ipc_shm_size(opened) == SIZE);
    CHECK(strcmp(ipc_shm_addr(opened), "filled in") == 0);
    CHECK(ipc_shm_unlink(name) == 0);
    CHECK(ipc_shm_unlink(name) == -1 && errno == ENOENT);
    CHECK(strcmp(ipc_shm_addr(opened), "filled in") == 0);
    ipc_shm_close(opened);
    ipc_shm_close(NULL);
}

struct fill {
    const char *text;
    int runs;
    int fails;
};

static int fill(void *addr, size_t size, void *arg)
{
    struct fill *how = arg;

    CHECK(size == SIZE);
    strcpy(addr, how->text);
    how->runs++;
    return how->fails;
}

static void open_or_create(void)
{
    struct ipc_shm *first, *second;
    struct fill how = {.text = "by init", .fails = 1};

    CHECK(ipc_shm_open_or_create(name, SIZE, fill, &how, NULL, 0, &first) == -1);
    CHECK(errno == ECANCELED && how.runs == 1);
    how.fails = 0;
    CHECK(ipc_shm_open_or_create(name, SIZE, fill, &how, NULL, 0, &first) == 0);
    CHECK(ipc_shm_open_or_create(name, SIZE, fill, &how, NULL, 0, &second) == 0);
    CHECK(how.runs == 2);
    CHECK(ipc_shm_addr(first) != ipc_shm_addr(second));
    strcpy(ipc_shm_addr(first), "through one");
    CHECK(strcmp(ipc_shm_addr(second), "through one") == 0);
    CHECK(ipc_shm_open_or_create(name, SIZE + 1, fill, &how, NULL, 0, &second) == -1);
    CHECK(errno == ESTALE);
    ipc_shm_close(first);
    ipc_shm_close(second);
    CHECK(ipc_shm_unlink(name) == 0);
}

/* The child receives the memory of its parent through a socket pair, and can only read it. */
static void passed(void)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_SOLE_WRITER};
    struct ipc_shm *shm, *reader;
    int ends[2], fd;
    size_t nfds = 1;
    char byte;
    pid_t child;

    CHECK(ipc_pair_open(SOCK_SEQPACKET, ends) == 0);
    child = check_fork();
    if (child == 0) {
        CHECK(close(ends[0]) == 0);
        CHECK(ipc_msg_recv(ends[1], &byte, 1, &fd, &nfds, 10000) == 1 && nfds == 1);
        CHECK(ipc_shm_from_fd(fd, 0, &reader) == -1 && errno == EPERM);
        CHECK(ipc_shm_from_fd(fd, IPC_SHM_F_RDONLY, &reader) == 0);
        CHECK(close(fd) == 0);
        CHECK(strcmp(ipc_shm_addr(reader), "passed") == 0);
        CHECK(ftruncate(ipc_shm_fd(reader), 0) == -1 && errno == EPERM);
        ipc_shm_close(reader);
        CHECK(close(ends[1]) == 0);
        exit(0);
    }
    CHECK(ipc_shm_create(SIZE, &opts, sizeof opts, &shm) == 0);
    strcpy(ipc_shm_addr(shm), "passed");
    fd = ipc_shm_fd(shm);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ipc_msg_send(ends[0], "s", 1, &fd, 1, -1) == 0);
    check_passed(child);
    ipc_shm_close(shm);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void refused(void)
{
    struct ipc_shm_opts opts = {.mode = 0600};
    struct ipc_shm *shm;
    int ends[2], fd = memfd_create("test", MFD_CLOEXEC);

    CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0 && pipe(ends) == 0);
    CHECK(ipc_shm_from_fd(fd, 0, &shm) == -1 && errno == EPROTO);
    CHECK(ipc_shm_from_fd(ends[0], 0, &shm) == -1 && errno == EPROTO);
    CHECK(ipc_shm_from_fd(-1, 0, &shm) == -1 && errno == EBADF);
    CHECK(ipc_shm_from_fd(fd, IPC_SHM_F_TRUST, &shm) == 0);
    ipc_shm_close(shm);
    CHECK(close(fd) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK(ipc_shm_create(0, NULL, 0, &shm) == -1 && errno == EINVAL);
    CHECK(ipc_shm_create(1, NULL, 0, NULL) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_shm_create(1, &opts, 0, &shm) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(ipc_shm_create(1, &opts, sizeof opts.flags, &shm) == -1 && errno == EINVAL);
    CHECK(ipc_shm_open("no slash", 0, &shm) == -1 && errno == EINVAL);
    CHECK(ipc_shm_addr(NULL) == NULL && errno == EINVAL);
    CHECK(ipc_shm_size(NULL) == 0 && ipc_shm_fd(NULL) == -1);
}

static void by_key(void)
{
    key_t key = (key_t)(0x75690000 | (getpid() & 0xffff));
    struct ipc_shm *made, *opened;
    int id;

    CHECK(ipc_shm_attach(key, SIZE, IPC_CREAT | IPC_EXCL | 0600, &made) == 0);
    id = ipc_shmget(key, 0, 0);
    CHECK(id >= 0 && ipc_shmctl(id, IPC_RMID, NULL) == 0);
    CHECK(ipc_shm_attach(key, 0, 0, &opened) == -1 && errno == ENOENT);
    CHECK(ipc_shm_size(made) == SIZE);
    CHECK(ipc_shm_fd(made) == -1 && errno == EOPNOTSUPP);
    strcpy(ipc_shm_addr(made), "still there");
    ipc_shm_close(made);
}

int main(void)
{
    owner = getpid();
    snprintf(name, sizeof name, "/unixipc-test-%ld", (long)owner);
    CHECK(atexit(clean_up) == 0);
    make_and_publish();
    open_or_create();
    passed();
    refused();
    by_key();
    return 0;
}
