/* A successful call leaves errno unchanged; a failed call sets it, in its thread only. */
#include "check.h"

#include <pthread.h>
#include <stdint.h>

#define UNTOUCHED 12345

/* Checks the result of a call, and that errno is unchanged. */
#define CHECK_QUIET(expression)    \
    do {                           \
        errno = UNTOUCHED;         \
        CHECK(expression);         \
        CHECK(errno == UNTOUCHED); \
    } while (0)

static void successes(void)
{
    const char *path = check_path("errno");
    struct sembuf up = {0, 1, 0};
    struct sembuf down = {0, -1, 0};
    const struct timespec limit = {1, 0};
    struct shmid_ds ds;
    struct shm_info info;
    int sv[2];
    int shm;
    int sem;
    void *memory;

    CHECK_QUIET(ipc_version() != NULL);
    CHECK_QUIET(ipc_socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    CHECK(close(sv[0]) == 0);
    CHECK(close(sv[1]) == 0);
    CHECK_QUIET(ipc_mkfifo(path, 0600) == 0);
    CHECK_QUIET(ipc_ftok(path, 1) != -1);
    CHECK(unlink(path) == 0);

    CHECK_QUIET((shm = ipc_shmget(IPC_PRIVATE, 1, 0600)) >= 0);
    CHECK_QUIET((memory = ipc_shmat(shm, NULL, 0)) != (void *)-1);
    CHECK_QUIET(ipc_shmctl(shm, IPC_STAT, &ds) == 0);
    CHECK_QUIET(ipc_shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info) >= 0);
    CHECK_QUIET(ipc_shmdt(memory) == 0);
    CHECK_QUIET(ipc_shmctl(shm, IPC_RMID, NULL) == 0);

    CHECK_QUIET((sem = ipc_semget(IPC_PRIVATE, 1, 0600)) >= 0);
    CHECK_QUIET(ipc_semop(sem, &up, 1) == 0);
    CHECK_QUIET(ipc_semctl(sem, 0, GETVAL) == 1);
    CHECK_QUIET(ipc_semtimedop(sem, &down, 1, &limit) == 0);
    CHECK_QUIET(ipc_semctl(sem, 0, IPC_RMID) == 0);
}

/* Runs while the main thread waits, after giving that thread time to go to sleep. */
struct later {
    pthread_t thread;
    void (*run)(void *);
    void *with;
};

static void *run_later(void *argument)
{
    struct later *later = argument;

    check_pause();
    later->run(later->with);
    return NULL;
}

static void begin(struct later *later, void (*run)(void *), void *with)
{
    later->run = run;
    later->with = with;
    CHECK(pthread_create(&later->thread, NULL, run_later, later) == 0);
}

static void end(struct later *later)
{
    CHECK(pthread_join(later->thread, NULL) == 0);
}

static void send_byte(void *fd)
{
    CHECK(ipc_msg_send(*(int *)fd, "b", 1, NULL, 0, 5000) == 0);
}

static void write_byte(void *fd)
{
    CHECK(ipc_send_full(*(int *)fd, "b", 1, NULL, 5000) == 1);
}

static void messages(int type)
{
    struct later later;
    struct ipc_cred cred;
    char byte;
    int sv[2], pidfd;

    CHECK_QUIET(ipc_pair_open(type, sv) == 0);
    CHECK_QUIET(ipc_peer_cred(sv[0], &cred, sizeof cred) == 0);
    CHECK_QUIET((pidfd = ipc_peer_pidfd(sv[0])) >= 0);
    check_close_pidfd(pidfd);
    for (int timeout_ms = -1; timeout_ms < 1001; timeout_ms += 1001) {
        CHECK_QUIET(ipc_msg_send(sv[0], "a", 1, NULL, 0, timeout_ms) == 0);
        CHECK_QUIET(ipc_msg_recv(sv[1], &byte, 1, NULL, NULL, timeout_ms) == 1);
    }
    begin(&later, send_byte, &sv[0]);
    CHECK_QUIET(ipc_msg_recv(sv[1], &byte, 1, NULL, NULL, 5000) == 1);
    end(&later);
    if (type == SOCK_STREAM) {
        CHECK_QUIET(ipc_send_full(sv[0], "a", 1, NULL, 5000) == 1);
        CHECK_QUIET(ipc_recv_full(sv[1], &byte, 1, NULL, 5000) == 1);
        begin(&later, write_byte, &sv[0]);
        CHECK_QUIET(ipc_recv_full(sv[1], &byte, 1, NULL, 5000) == 1);
        end(&later);
    }
    CHECK(close(sv[0]) == 0);
    if (type != SOCK_DGRAM)
        CHECK_QUIET(ipc_msg_recv(sv[1], &byte, 1, NULL, NULL, 5000) == 0);
    CHECK(close(sv[1]) == 0);
}

static void send_record(void *path)
{
    int fd = ipc_fifo_open(path, IPC_FIFO_F_WRITE, 5000);

    CHECK(fd >= 0);
    CHECK(ipc_fifo_send(fd, "a", 1, 5000) == 0);
    check_pause();
    CHECK(ipc_fifo_send(fd, "b", 1, 5000) == 0);
    CHECK(close(fd) == 0);
}

static void fifos(void)
{
    const char *path = check_path("errno");
    struct later later;
    char byte;
    int fd;

    CHECK_QUIET(ipc_fifo_create(path, 0600, 0) == 0);
    CHECK_QUIET(ipc_fifo_create(path, 0600, IPC_FIFO_F_EXIST_OK) == 0);
    begin(&later, send_record, (void *)(uintptr_t)path);
    CHECK_QUIET((fd = ipc_fifo_open(path, IPC_FIFO_F_READ, 5000)) >= 0);
    CHECK_QUIET(ipc_fifo_recv(fd, &byte, 1, 5000) == 1);
    CHECK_QUIET(ipc_fifo_recv(fd, &byte, 1, 5000) == 1);
    CHECK_QUIET(ipc_fifo_recv(fd, &byte, 1, 5000) == 0);
    end(&later);
    CHECK(close(fd) == 0);
    CHECK_QUIET(ipc_fifo_unlink(path) == 0);
}

static void children(void)
{
    char name[] = "true";
    char *argv[] = {name, NULL};
    pid_t child;
    int fd;

    CHECK_QUIET((child = ipc_spawn("true", argv, NULL, 0, &fd)) > 0);
    check_passed(child);
    CHECK(close(fd) == 0);
}

static void unlock_semaphore(void *id)
{
    CHECK(ipc_semlock_rdlock(*(int *)id, 5000) == 0);
    CHECK(ipc_semlock_rdunlock(*(int *)id) == 0);
}

static void semaphore_locks(void)
{
    struct later later;
    int id;

    CHECK_QUIET((id = ipc_semlock_open(IPC_PRIVATE, 0600)) >= 0);
    begin(&later, unlock_semaphore, &id);
    CHECK_QUIET(ipc_semlock_wrlock(id, 5000) == 0);
    CHECK_QUIET(ipc_semlock_consistent(id) == 0);
    CHECK_QUIET(ipc_semlock_wrunlock(id) == 0);
    CHECK_QUIET(ipc_semlock_rdlock(id, -1) == 0);
    CHECK_QUIET(ipc_semlock_rdunlock(id) == 0);
    end(&later);
    CHECK_QUIET(ipc_semlock_remove(id) == 0);
}

static void unlock_mutex(void *mutex)
{
    CHECK(ipc_mutex_lock(mutex, 5000) == 0);
    for (int i = 0; i < 5; i++)
        check_pause();
    CHECK(ipc_mutex_unlock(mutex) == 0);
}

struct condition {
    struct ipc_mutex mutex;
    struct ipc_cond cond;
    int happened;
};

static void happen(void *with)
{
    struct condition *it = with;

    CHECK(ipc_mutex_lock(&it->mutex, 5000) == 0);
    it->happened = 1;
    CHECK(ipc_cond_signal(&it->cond) == 0);
    CHECK(ipc_cond_broadcast(&it->cond) == 0);
    CHECK(ipc_mutex_unlock(&it->mutex) == 0);
}

static void unlock_rwlock(void *lock)
{
    CHECK(ipc_rwlock_wrlock(lock, 5000) == 0);
    for (int i = 0; i < 5; i++)
        check_pause();
    CHECK(ipc_rwlock_wrunlock(lock) == 0);
}

static void set_event(void *event)
{
    CHECK(ipc_event_set(event) == 0);
}

static void store(void *cell)
{
    CHECK(ipc_cell_store(cell, "b", 1, 5000) == 0);
}

static void shared_memory(void)
{
    struct later later;
    struct condition *it;
    struct ipc_rwlock *rwlock;
    struct ipc_event *event;
    struct ipc_cell *cell;
    struct ipc_shm *shm;
    uint64_t version;
    char *memory;
    char byte;

    CHECK_QUIET(ipc_shm_create(65536, NULL, 0, &shm) == 0);
    CHECK_QUIET((memory = ipc_shm_addr(shm)) != NULL);
    it = (struct condition *)(void *)memory;
    rwlock = (struct ipc_rwlock *)(void *)(memory + 4096);

    CHECK_QUIET(ipc_mutex_init(&it->mutex, 0) == 0);
    begin(&later, unlock_mutex, &it->mutex);
    for (int i = 0; i < 5; i++) {
        CHECK_QUIET(ipc_mutex_lock(&it->mutex, 5000) == 0);
        CHECK_QUIET(ipc_mutex_unlock(&it->mutex) == 0);
        check_pause();
    }
    end(&later);
    CHECK_QUIET(ipc_cond_init(&it->cond, 0) == 0);
    CHECK_QUIET(ipc_mutex_lock(&it->mutex, -1) == 0);
    begin(&later, happen, it);
    while (!it->happened)
        CHECK_QUIET(ipc_cond_wait(&it->cond, &it->mutex, 5000) == 0);
    CHECK_QUIET(ipc_mutex_unlock(&it->mutex) == 0);
    end(&later);

    CHECK_QUIET(ipc_rwlock_init(rwlock, 0) == 0);
    begin(&later, unlock_rwlock, rwlock);
    for (int i = 0; i < 5; i++) {
        CHECK_QUIET(ipc_rwlock_rdlock(rwlock, 5000) == 0);
        CHECK_QUIET(ipc_rwlock_rdunlock(rwlock) == 0);
        CHECK_QUIET(ipc_rwlock_wrlock(rwlock, 5000) == 0);
        CHECK_QUIET(ipc_rwlock_wrunlock(rwlock) == 0);
        check_pause();
    }
    end(&later);

    event = (struct ipc_event *)(void *)(memory + 16384);
    CHECK_QUIET(ipc_event_init(event, IPC_EVENT_F_AUTO_RESET) == 0);
    CHECK_QUIET(ipc_event_is_set(event) == 0);
    begin(&later, set_event, event);
    CHECK_QUIET(ipc_event_wait(event, 5000) == 0);
    end(&later);
    CHECK_QUIET(ipc_event_set(event) == 0);
    CHECK_QUIET(ipc_event_clear(event) == 0);

    memory += 32768;
    CHECK_QUIET(ipc_cell_init(memory, ipc_cell_memory_size(1), 1, IPC_CELL_F_WAITABLE, &cell) == 0);
    CHECK_QUIET(ipc_cell_store(cell, "a", 1, 5000) == 0);
    CHECK_QUIET(ipc_cell_load(cell, &byte, 1, &version) == 1);
    begin(&later, store, cell);
    CHECK_QUIET(ipc_cell_wait(cell, version, 5000) == 0);
    end(&later);
    ipc_cell_close(cell);
    ipc_shm_close(shm);
}

static void answer(void *channel)
{
    CHECK(ipc_channel_send(channel, "b", 1, 5000) == 0);
}

static void channels(void)
{
    static char half[100000];
    struct later later;
    struct ipc_channel *ch[2];
    const void *at;
    char byte;

    CHECK_QUIET(ipc_channel_pair(NULL, 0, ch) == 0);
    CHECK_QUIET(ipc_channel_send(ch[0], "a", 1, 5000) == 0);
    CHECK_QUIET(ipc_channel_recv(ch[1], &byte, 1, 5000) == 1);
    begin(&later, answer, ch[1]);
    CHECK_QUIET(ipc_channel_peek(ch[0], &at, 5000) == 1);
    CHECK_QUIET(ipc_channel_release(ch[0]) == 0);
    end(&later);
    CHECK_QUIET(ipc_channel_fd(ch[0]) >= 0);
    begin(&later, answer, ch[1]);
    CHECK_QUIET(ipc_channel_recv(ch[0], &byte, 1, 5000) == 1);
    end(&later);
    while (ipc_channel_send(ch[0], half, sizeof half, 0) == 0)
        continue;
    CHECK(errno == EAGAIN);
    CHECK_QUIET(ipc_channel_reserve(ch[0], 1, 5000) != NULL);
    CHECK_QUIET(ipc_channel_commit(ch[0], 1) == 0);
    CHECK_QUIET(ipc_channel_shutdown(ch[0], SHUT_RDWR) == 0);
    CHECK_QUIET(ipc_channel_recv(ch[0], &byte, 1, 5000) == 0);
    CHECK_QUIET((ipc_channel_close(ch[0]), 1));
    CHECK_QUIET((ipc_channel_close(ch[1]), 1));
}

static void *fail(void *unused)
{
    CHECK(ipc_shmdt((void *)4096) == -1 && errno == EINVAL);
    return unused;
}

int main(void)
{
    pthread_t thread;

    successes();
    messages(SOCK_STREAM);
    messages(SOCK_SEQPACKET);
    messages(SOCK_DGRAM);
    fifos();
    children();
    semaphore_locks();
    shared_memory();
    channels();
    errno = UNTOUCHED;
    CHECK(pthread_create(&thread, NULL, fail, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(errno == UNTOUCHED);
    fail(NULL);
    return 0;
}
