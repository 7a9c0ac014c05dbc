/*
 * The declarations of unixipc for Python's cffi and similar tools.
 *
 * Generated from unixipc.h: changes made here are lost. The constants are enumerators. Objects that
 * lie in memory of the program (struct ipc_mutex, ipc_rwlock, ipc_cond, ipc_event) need an address
 * that is divisible by 16.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

typedef int pid_t;
typedef int key_t;
typedef unsigned int uid_t;
typedef unsigned int gid_t;
typedef unsigned int mode_t;
struct timespec {
    long tv_sec;
    long tv_nsec;
};
struct iovec {
    void *iov_base;
    size_t iov_len;
};
struct sembuf {
    unsigned short sem_num;
    short sem_op;
    short sem_flg;
};
struct shmid_ds;

enum { UNIXIPC_VERSION_MAJOR = 0 };
enum { UNIXIPC_VERSION_MINOR = 1 };
enum { UNIXIPC_VERSION_PATCH = 0 };
const char *ipc_version(void);
enum { IPC_WAIT_INTR = -2 };
enum { IPC_OWNER_DIED = 1 };
int ipc_socketpair(int domain, int type, int protocol, int sv[2]);
int ipc_mkfifo(const char *path, mode_t mode);
key_t ipc_ftok(const char *path, int proj_id);
int ipc_shmget(key_t key, size_t size, int shmflg);
void *ipc_shmat(int shmid, const void *shmaddr, int shmflg);
int ipc_shmdt(const void *shmaddr);
int ipc_shmctl(int shmid, int cmd, struct shmid_ds *buf);
int ipc_semget(key_t key, int nsems, int semflg);
int ipc_semop(int semid, struct sembuf *sops, size_t nsops);
int ipc_semtimedop(int semid, struct sembuf *sops, size_t nsops, const struct timespec *timeout);
int ipc_semctl(int semid, int semnum, int cmd, ...);
struct ipc_cred {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
int ipc_pair_open(int type, int ret_fd[2]);
ssize_t ipc_send_full(int fd, const void *buf, size_t len, size_t *inout_done, int timeout_ms);
ssize_t ipc_recv_full(int fd, void *buf, size_t len, size_t *inout_done, int timeout_ms);
int ipc_peer_cred(int fd, struct ipc_cred *ret_cred, size_t cred_size);
int ipc_peer_pidfd(int fd);
enum { IPC_MSG_MAX = 1073741824 };
enum { IPC_MSG_FDS_MAX = 253 };
int ipc_msg_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds, int timeout_ms);
ssize_t ipc_msg_sendv(int fd,
                      const struct iovec *iov,
                      int iovcnt,
                      const int *fds,
                      size_t nfds,
                      int timeout_ms);
ssize_t ipc_msg_recv(int fd,
                     void *buf,
                     size_t cap,
                     int *ret_fds,
                     size_t *inout_nfds,
                     int timeout_ms);
enum { IPC_SPAWN_F_STDERR_NULL = 1 };
enum { IPC_SPAWN_F_NO_NEW_PRIVS = 2 };
enum { IPC_SPAWN_F_PIPES = 4 };
struct ipc_spawn_fd {
    int fd;
    int child_fd;
};
struct ipc_spawn_limit {
    int resource;
    uint64_t soft;
    uint64_t hard;
};
struct ipc_spawn_user {
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t ngroups;
};
struct ipc_spawn_opts {
    char *const *envp;
    const char *cwd;
    const struct ipc_spawn_fd *fds;
    size_t nfds;
    const struct ipc_spawn_limit *limits;
    size_t nlimits;
    const struct ipc_spawn_user *user;
    int *ret_pidfd;
    int *ret_out_fd;
    int type;
    int child_fd;
    unsigned int flags;
    int pdeathsig;
};
pid_t ipc_spawn(const char *file,
                char *const argv[],
                const struct ipc_spawn_opts *opts,
                size_t opts_size,
                int *ret_fd);
enum { IPC_FIFO_F_READ = 1 };
enum { IPC_FIFO_F_WRITE = 2 };
enum { IPC_FIFO_F_PERSIST = 4 };
enum { IPC_FIFO_F_PACKET = 8 };
enum { IPC_FIFO_F_EXIST_OK = 16 };
enum { IPC_FIFO_RECORD_MAX = 4092 };
int ipc_fifo_create(const char *path, mode_t mode, unsigned int flags);
int ipc_fifo_open(const char *path, unsigned int flags, int timeout_ms);
int ipc_fifo_send(int fd, const void *rec, size_t len, int timeout_ms);
ssize_t ipc_fifo_recv(int fd, void *rec, size_t cap, int timeout_ms);
ssize_t ipc_fifo_recv_any(int fd, void *buf, size_t cap, int *ret_text, int timeout_ms);
int ipc_fifo_unlink(const char *path);
int ipc_semlock_open(key_t key, int mode_flags);
int ipc_semlock_rdlock(int id, int timeout_ms);
int ipc_semlock_rdunlock(int id);
int ipc_semlock_wrlock(int id, int timeout_ms);
int ipc_semlock_wrunlock(int id);
int ipc_semlock_consistent(int id);
int ipc_semlock_remove(int id);
enum { IPC_SHM_F_PUBLISH = 1 };
enum { IPC_SHM_F_SOLE_WRITER = 2 };
enum { IPC_SHM_F_HUGE = 4 };
enum { IPC_SHM_F_PREFAULT = 8 };
enum { IPC_SHM_F_LOCK = 16 };
enum { IPC_SHM_F_RDONLY = 32 };
enum { IPC_SHM_F_TRUST = 64 };
enum { IPC_SHM_F_TRANSIENT = 128 };
enum { IPC_SHM_F_REPLACE_STALE = 256 };
struct ipc_shm;
struct ipc_shm_opts {
    unsigned int flags;
    mode_t mode;
    int timeout_ms;
    unsigned int reserved;
    uint64_t layout;
};
int ipc_shm_create(size_t size,
                   const struct ipc_shm_opts *opts,
                   size_t opts_size,
                   struct ipc_shm **ret_shm);
int ipc_shm_publish(struct ipc_shm *shm, const char *name);
int ipc_shm_open(const char *name, unsigned int flags, struct ipc_shm **ret_shm);
int ipc_shm_from_fd(int fd, unsigned int flags, struct ipc_shm **ret_shm);
int ipc_shm_attach(key_t key, size_t size, int shmflg, struct ipc_shm **ret_shm);
void *ipc_shm_addr(const struct ipc_shm *shm);
size_t ipc_shm_size(const struct ipc_shm *shm);
int ipc_shm_fd(const struct ipc_shm *shm);
uint64_t ipc_shm_layout(const struct ipc_shm *shm);
int ipc_shm_is_current(const struct ipc_shm *shm);
int ipc_shm_unlink(const char *name);
void ipc_shm_close(struct ipc_shm *shm);
int ipc_shm_open_or_create(const char *name,
                           size_t size,
                           int (*init)(void *addr, size_t size, void *arg),
                           void *arg,
                           const struct ipc_shm_opts *opts,
                           size_t opts_size,
                           struct ipc_shm **ret_shm);
enum { IPC_MUTEX_F_PRIO_INHERIT = 1 };
struct ipc_mutex {
    uint64_t reserved[16];
};
int ipc_mutex_init(struct ipc_mutex *m, unsigned int flags);
int ipc_mutex_lock(struct ipc_mutex *m, int timeout_ms);
int ipc_mutex_consistent(struct ipc_mutex *m);
int ipc_mutex_unlock(struct ipc_mutex *m);
pid_t ipc_mutex_owner(const struct ipc_mutex *m);
enum { IPC_RWLOCK_READERS_MAX = 128 };
struct ipc_rwlock {
    uint64_t reserved[1048];
};
int ipc_rwlock_init(struct ipc_rwlock *l, unsigned int flags);
int ipc_rwlock_rdlock(struct ipc_rwlock *l, int timeout_ms);
int ipc_rwlock_rdunlock(struct ipc_rwlock *l);
int ipc_rwlock_wrlock(struct ipc_rwlock *l, int timeout_ms);
int ipc_rwlock_wrunlock(struct ipc_rwlock *l);
int ipc_rwlock_consistent(struct ipc_rwlock *l);
struct ipc_cond {
    uint64_t reserved[8];
};
int ipc_cond_init(struct ipc_cond *c, unsigned int flags);
int ipc_cond_wait(struct ipc_cond *c, struct ipc_mutex *m, int timeout_ms);
int ipc_cond_signal(struct ipc_cond *c);
int ipc_cond_broadcast(struct ipc_cond *c);
enum { IPC_EVENT_F_AUTO_RESET = 1 };
enum { IPC_EVENT_F_SET = 2 };
struct ipc_event {
    uint64_t reserved[8];
};
int ipc_event_init(struct ipc_event *e, unsigned int flags);
int ipc_event_set(struct ipc_event *e);
int ipc_event_clear(struct ipc_event *e);
int ipc_event_wait(struct ipc_event *e, int timeout_ms);
int ipc_event_is_set(const struct ipc_event *e);
enum { IPC_CELL_F_WAITABLE = 1 };
enum { IPC_CELL_F_RDONLY = 2 };
enum { IPC_CELL_F_SOLE_WRITER = 4 };
enum { IPC_CELL_F_WAITABLE_RDONLY = 8 };
struct ipc_cell;
size_t ipc_cell_memory_size(size_t value_size);
int ipc_cell_init(void *mem,
                  size_t mem_size,
                  size_t value_size,
                  unsigned int flags,
                  struct ipc_cell **ret_cell);
int ipc_cell_open(const void *mem, size_t mem_size, unsigned int flags, struct ipc_cell **ret_cell);
int ipc_cell_store(struct ipc_cell *c, const void *value, size_t len, int timeout_ms);
ssize_t ipc_cell_load(const struct ipc_cell *c, void *value, size_t cap, uint64_t *ret_version);
int ipc_cell_wait(const struct ipc_cell *c, uint64_t seen, int timeout_ms);
size_t ipc_cell_value_size(const struct ipc_cell *c);
void ipc_cell_close(struct ipc_cell *c);
enum { IPC_CHANNEL_F_PREFAULT = 1 };
enum { IPC_CHANNEL_F_LOCK = 2 };
enum { IPC_CHANNEL_F_NO_SPIN = 4 };
enum { IPC_CHANNEL_F_WAIT = 8 };
enum { IPC_CHANNEL_F_FDS = 16 };
struct ipc_channel;
struct ipc_channel_opts {
    unsigned int flags;
    unsigned int spin_us;
    uint64_t send_size;
    uint64_t recv_size;
    uint64_t recv_size_max;
    uint64_t message_max;
    unsigned int message_align;
    unsigned int reserved;
};
int ipc_channel_pair(const struct ipc_channel_opts *opts,
                     size_t opts_size,
                     struct ipc_channel **ret_ch);
int ipc_channel_from_fd(int sock,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);
int ipc_channel_listen(const char *path, mode_t mode, unsigned int flags);
int ipc_channel_accept(int listen_fd,
                       const struct ipc_channel_opts *opts,
                       size_t opts_size,
                       int timeout_ms,
                       struct ipc_channel **ret_ch);
int ipc_channel_connect(const char *path,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);
int ipc_channel_send(struct ipc_channel *ch, const void *buf, size_t len, int timeout_ms);
ssize_t ipc_channel_sendv(struct ipc_channel *ch,
                          const struct iovec *iov,
                          int iovcnt,
                          int timeout_ms);
ssize_t ipc_channel_send_many(struct ipc_channel *ch,
                              const struct iovec *msgs,
                              size_t count,
                              int timeout_ms);
void *ipc_channel_reserve(struct ipc_channel *ch, size_t len, int timeout_ms);
int ipc_channel_commit(struct ipc_channel *ch, size_t len);
int ipc_channel_cancel(struct ipc_channel *ch);
size_t ipc_channel_max(const struct ipc_channel *ch);
ssize_t ipc_channel_recv(struct ipc_channel *ch, void *buf, size_t cap, int timeout_ms);
ssize_t ipc_channel_recv_many(struct ipc_channel *ch,
                              struct iovec *inout_msgs,
                              size_t count,
                              int timeout_ms);
ssize_t ipc_channel_peek(struct ipc_channel *ch, const void **ret_buf, int timeout_ms);
int ipc_channel_release(struct ipc_channel *ch);
int ipc_channel_send_fds(struct ipc_channel *ch,
                         const void *buf,
                         size_t len,
                         const int *fds,
                         size_t nfds,
                         int timeout_ms);
ssize_t ipc_channel_recv_fds(struct ipc_channel *ch,
                             void *buf,
                             size_t cap,
                             int *ret_fds,
                             size_t *inout_nfds,
                             int timeout_ms);
enum { IPC_CHANNEL_CALL_OVERHEAD = 24 };
ssize_t ipc_channel_call(struct ipc_channel *ch,
                         const void *req,
                         size_t len,
                         void *ret_rep,
                         size_t cap,
                         int timeout_ms);
ssize_t ipc_channel_next_call(struct ipc_channel *ch,
                              void *ret_buf,
                              size_t cap,
                              uint64_t *ret_id,
                              int timeout_ms);
int ipc_channel_reply(struct ipc_channel *ch,
                      uint64_t id,
                      const void *buf,
                      size_t len,
                      int timeout_ms);
struct ipc_channel_stats {
    uint64_t sent_messages;
    uint64_t sent_bytes;
    uint64_t received_messages;
    uint64_t received_bytes;
    uint64_t sleeps;
    uint64_t wakes;
    uint64_t full;
};
int ipc_channel_fd(struct ipc_channel *ch);
int ipc_channel_shutdown(struct ipc_channel *ch, int how);
void ipc_channel_close(struct ipc_channel *ch);
int ipc_channel_peer_cred(const struct ipc_channel *ch,
                          struct ipc_cred *ret_cred,
                          size_t cred_size);
int ipc_channel_peer_pidfd(const struct ipc_channel *ch);
int ipc_channel_stats(const struct ipc_channel *ch,
                      struct ipc_channel_stats *ret_stats,
                      size_t stats_size);
enum { IPC_FEED_F_PREFAULT = 1 };
enum { IPC_FEED_F_LOCK = 2 };
enum { IPC_FEED_F_NO_SPIN = 4 };
enum { IPC_SUB_NAME_SIZE = 32 };
enum { IPC_FEED_ID_SIZE = 16 };
struct ipc_feed;
struct ipc_feed_opts {
    unsigned int flags;
    unsigned int spin_us;
    uint64_t size;
    uint64_t message_max;
    unsigned int message_align;
    unsigned int subscribers_max;
    int stall_ms;
    unsigned int lossy_only;
};
int ipc_feed_create(const struct ipc_feed_opts *opts, size_t opts_size, struct ipc_feed **ret_feed);
int ipc_feed_listen(struct ipc_feed *feed, const char *path, mode_t mode, unsigned int flags);
int ipc_feed_add(struct ipc_feed *feed, int sock);
void ipc_feed_close(struct ipc_feed *feed);
int ipc_feed_publish(struct ipc_feed *feed, const void *buf, size_t len, int timeout_ms);
void *ipc_feed_reserve(struct ipc_feed *feed, size_t len, int timeout_ms);
int ipc_feed_commit(struct ipc_feed *feed, size_t len);
int ipc_feed_cancel(struct ipc_feed *feed);
enum { IPC_SUB_S_LOSSY = 1 };
enum { IPC_SUB_S_STALLED = 2 };
enum { IPC_SUB_S_ASLEEP = 4 };
enum { IPC_SUB_S_HOLDS = 8 };
struct ipc_feed_subscriber {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    unsigned int state;
    uint64_t lag_messages;
    uint64_t lag_bytes;
    uint64_t lost;
    char name[IPC_SUB_NAME_SIZE];
};
struct ipc_feed_info {
    uint8_t feed_id[IPC_FEED_ID_SIZE];
    uint64_t published;
    uint64_t message_max;
};
int ipc_feed_service(struct ipc_feed *feed);
int ipc_feed_fd(struct ipc_feed *feed);
ssize_t ipc_feed_subscribers(struct ipc_feed *feed,
                             struct ipc_feed_subscriber *ret,
                             size_t count,
                             size_t size);
int ipc_feed_info(struct ipc_feed *feed, struct ipc_feed_info *ret_info, size_t size);
enum { IPC_SUB_F_LOSSY = 1 };
enum { IPC_SUB_F_OLDEST = 2 };
enum { IPC_SUB_F_FROM_SEQ = 4 };
enum { IPC_SUB_F_NO_SPIN = 8 };
enum { IPC_SUB_F_WAIT = 16 };
struct ipc_sub;
struct ipc_sub_opts {
    unsigned int flags;
    unsigned int spin_us;
    uint64_t seq;
    uint64_t size_max;
    const char *name;
    uint8_t feed_id[IPC_FEED_ID_SIZE];
};
int ipc_sub_connect(const char *path,
                    const struct ipc_sub_opts *opts,
                    size_t opts_size,
                    int timeout_ms,
                    struct ipc_sub **ret_sub);
int ipc_sub_from_fd(int sock,
                    const struct ipc_sub_opts *opts,
                    size_t opts_size,
                    int timeout_ms,
                    struct ipc_sub **ret_sub);
void ipc_sub_close(struct ipc_sub *sub);
struct ipc_sub_info {
    uint8_t feed_id[IPC_FEED_ID_SIZE];
    uint64_t next_seq;
    uint64_t published;
    uint64_t lost;
    struct ipc_cred publisher;
    uint32_t reserved;
};
ssize_t ipc_sub_recv(struct ipc_sub *sub, void *buf, size_t cap, uint64_t *ret_seq, int timeout_ms);
ssize_t ipc_sub_peek(struct ipc_sub *sub, const void **ret_buf, uint64_t *ret_seq, int timeout_ms);
int ipc_sub_release(struct ipc_sub *sub);
int ipc_sub_fd(struct ipc_sub *sub);
int ipc_sub_info(struct ipc_sub *sub, struct ipc_sub_info *ret_info, size_t size);
