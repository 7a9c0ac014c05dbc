/*
 * unixipc: local IPC for C and C++ programs on Linux.
 *
 *     cc prog.c $(pkg-config --cflags --libs unixipc)
 *
 * unixipc(7) is the overview; each function has a page in section 3.
 *
 * Generated from the library's source; changes made here are lost.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef UNIXIPC_H
#define UNIXIPC_H

#if !defined(__linux__) || !defined(__LP64__)
#error "unixipc supports Linux on 64-bit (LP64) systems only"
#endif

/* What the calls take: the types, SOCK_STREAM, IPC_CREAT, SHM_RDONLY, SEM_UNDO and so on. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <time.h>

struct timespec; /* C99's own <time.h> has none */

/* How objects in shared memory are aligned, as C99 and C++11 both take it. */
#define UNIXIPC_ALIGNED(n) __attribute__((__aligned__(n)))

/* A function and a structure may have one name, as stat has; g++ calls the constructor hidden. */
#if defined(__cplusplus) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#define UNIXIPC_SHADOW
#endif

/**
 * The version of the header as text; ipc_version returns the library's.
 */
#define UNIXIPC_VERSION "0.1.0"


/**
 * A flag of ipc_cell_init: processes that can write to the memory may wait with ipc_cell_wait.
 * A store for which no thread waits makes no system call.
 */
#define IPC_CELL_F_WAITABLE 1

/**
 * A flag of ipc_cell_open: the handle does not store, so the memory may be mapped read-only.
 */
#define IPC_CELL_F_RDONLY 2

/**
 * A flag of ipc_cell_init and ipc_cell_open: no other handle stores as long as this one exists.
 * Its stores need no lock.
 */
#define IPC_CELL_F_SOLE_WRITER 4

/**
 * A flag of ipc_cell_init: handles with IPC_CELL_F_RDONLY may wait too. They cannot announce
 * themselves, so each store makes a system call. Includes IPC_CELL_F_WAITABLE.
 */
#define IPC_CELL_F_WAITABLE_RDONLY 8

/**
 * A flag of ipc_channel_opts: all memory of the ring that this side sends through is allocated and
 * mapped before the channel is used.
 */
#define IPC_CHANNEL_F_PREFAULT 1

/**
 * A flag of ipc_channel_opts: the ring that this side sends through stays in memory (mlock(2)).
 */
#define IPC_CHANNEL_F_LOCK 2

/**
 * A flag of ipc_channel_opts: a blocking call sleeps at once, without spinning.
 */
#define IPC_CHANNEL_F_NO_SPIN 4

/**
 * A flag of ipc_event_init: a wait that finds the event set clears it, so each set releases one
 * waiter.
 */
#define IPC_EVENT_F_AUTO_RESET 1

/**
 * A flag of ipc_event_init: the event is set from the beginning.
 */
#define IPC_EVENT_F_SET 2

/**
 * A flag of ipc_fifo_open: for receiving.
 */
#define IPC_FIFO_F_READ 1

/**
 * A flag of ipc_fifo_open: for sending.
 */
#define IPC_FIFO_F_WRITE 2

/**
 * A flag of ipc_fifo_open, with IPC_FIFO_F_READ: the session does not end with the last writer.
 */
#define IPC_FIFO_F_PERSIST 4

/**
 * A flag of ipc_fifo_open: each record is a packet of the pipe, so that several readers get
 * whole ones. Records are packets without this flag too.
 */
#define IPC_FIFO_F_PACKET 8

/**
 * A flag of ipc_fifo_create: an existing FIFO is used.
 */
#define IPC_FIFO_F_EXIST_OK 16

/**
 * The longest record, in bytes: PIPE_BUF without the trailer of four bytes.
 */
#define IPC_FIFO_RECORD_MAX 4092

/**
 * Returned by a lock call that acquired the lock, if the last owner died while it held the lock,
 * or unlocked it without declaring the protected data consistent.
 */
#define IPC_OWNER_DIED 1

/**
 * The longest message on a stream, in bytes: 1 GiB.
 */
#define IPC_MSG_MAX 1073741824

/**
 * How many descriptors a message can carry.
 */
#define IPC_MSG_FDS_MAX 253

/**
 * A flag of ipc_mutex_init: while a thread waits for the mutex, its owner runs with the priority of
 * that thread if it is higher.
 */
#define IPC_MUTEX_F_PRIO_INHERIT 1

/**
 * A time-out: wait forever, but fail with EINTR after a signal handler has run. A handler that
 * runs before the call starts to wait does not end the call. Nor does one that runs between two
 * waits of a call, as those of the locks have from time to time.
 */
#define IPC_WAIT_INTR (-2)

/**
 * How many threads can hold an ipc_rwlock for reading at once; more wait for one of them.
 */
#define IPC_RWLOCK_READERS_MAX 128

/**
 * A flag of struct ipc_shm_opts: the region can get a name with ipc_shm_publish.
 */
#define IPC_SHM_F_PUBLISH 1

/**
 * A flag of struct ipc_shm_opts: no other process can ever map the region for writing.
 */
#define IPC_SHM_F_SOLE_WRITER 2

/**
 * A flag of all calls: ask for transparent huge pages, if the system has them for shared memory.
 */
#define IPC_SHM_F_HUGE 4

/**
 * A flag of all calls: allocate and map all pages at once, so that the first access to each page
 * causes no page fault.
 */
#define IPC_SHM_F_PREFAULT 8

/**
 * A flag of all calls: keep the region in memory, and out of swap space (mlock(2)).
 */
#define IPC_SHM_F_LOCK 16

/**
 * A flag of ipc_shm_open and ipc_shm_from_fd: map the memory for reading only.
 */
#define IPC_SHM_F_RDONLY 32

/**
 * A flag of ipc_shm_from_fd: trust every process that can write the file not to truncate it.
 */
#define IPC_SHM_F_TRUST 64

/**
 * A flag of struct ipc_shm_opts: the name of the region ends with its last user.
 */
#define IPC_SHM_F_TRANSIENT 128

/**
 * A flag of ipc_shm_open_or_create: replace a region of another size or layout.
 */
#define IPC_SHM_F_REPLACE_STALE 256

/**
 * A flag of struct ipc_spawn_opts: the child's standard error is /dev/null.
 */
#define IPC_SPAWN_F_STDERR_NULL 1

/**
 * The version of the header: incompatible changes.
 */
#define UNIXIPC_VERSION_MAJOR 0

/**
 * The version of the header: additions (while the major version is 0, incompatible changes too).
 */
#define UNIXIPC_VERSION_MINOR 1

/**
 * The version of the header: corrections.
 */
#define UNIXIPC_VERSION_PATCH 0

/**
 * The version of the header as one number, for `#if`: 10203 is 1.2.3.
 */
#define UNIXIPC_VERSION_NUMBER (((UNIXIPC_VERSION_MAJOR * 10000) + (UNIXIPC_VERSION_MINOR * 100)) + UNIXIPC_VERSION_PATCH)



/**
 * A cell in memory that this process has mapped: its address, and the sizes read when it was
 * opened. The sizes in the memory itself are not read again.
 */
struct ipc_cell;

/**
 * One end of a channel.
 *
 * Two threads may use it: one sends, one receives.
 */
struct ipc_channel;

/**
 * A region of shared memory in one process. Its address and size never change.
 */
struct ipc_shm;

/**
 * Options of a channel. All zeros are the defaults.
 */
struct ipc_channel_opts {
    /**
     * IPC_CHANNEL_F_PREFAULT, IPC_CHANNEL_F_LOCK, IPC_CHANNEL_F_NO_SPIN
     */
    uint32_t flags;
    /**
     * how long a blocking call spins before it sleeps, in microseconds, at most 1000000; 0 for
     * the default: about 10 microseconds, if the last spins have succeeded. A call does not spin
     * if both sides run on the same processor
     */
    uint32_t spin_us;
    /**
     * the size of the ring that this side sends through, in bytes; 0 for 256 KiB. It is rounded
     * up to a power of two of 64 KiB or more
     */
    uint64_t send_size;
    /**
     * for ipc_channel_pair: the size of the ring that the second end sends through, 0 for the
     * same; otherwise the peer chooses it, and this is 0
     */
    uint64_t recv_size;
    /**
     * the largest ring that is accepted from a peer, 0 for 16 MiB: this process maps it, and its
     * memory may count as this process's own
     */
    uint64_t recv_size_max;
    /**
     * a message of this length, at most 4294967294, can be sent, whatever send_size is; 0 for no
     * such requirement
     */
    uint64_t message_max;
};

/**
 * Credentials of the peer of a local socket.
 */
struct ipc_cred {
    /**
     * process ID; 0 if it has none in the PID namespace of the caller: never pass 0 to kill(2)
     */
    pid_t pid;
    /**
     * effective user ID; 65534 if it has none in the user namespace of the caller
     */
    uid_t uid;
    /**
     * effective group ID; 65534 if it has none in the user namespace of the caller
     */
    gid_t gid;
};

/**
 * Counters of an end of a channel since it was made.
 */
struct ipc_channel_stats {
    /**
     * messages sent
     */
    uint64_t sent_messages;
    /**
     * their bytes
     */
    uint64_t sent_bytes;
    /**
     * messages received
     */
    uint64_t received_messages;
    /**
     * their bytes
     */
    uint64_t received_bytes;
    /**
     * number of sleeps in calls on this end
     */
    uint64_t sleeps;
    /**
     * number of times that this end has woken its peer
     */
    uint64_t wakes;
    /**
     * number of sends and reservations that found the ring full
     */
    uint64_t full;
};

/**
 * A condition in shared memory, made by ipc_cond_init. One cache line; its contents belong to the
 * library.
 */
struct UNIXIPC_ALIGNED(16) ipc_cond {
    uint64_t reserved[8];
};

/**
 * A mutex in shared memory, made by ipc_mutex_init. Two cache lines; its contents belong to the
 * library.
 */
struct UNIXIPC_ALIGNED(16) ipc_mutex {
    uint64_t reserved[16];
};

/**
 * An event in shared memory, made by ipc_event_init. One cache line; the library alone accesses
 * the content.
 */
struct UNIXIPC_ALIGNED(16) ipc_event {
    uint64_t reserved[8];
};

/**
 * A reader-writer lock in shared memory, made by ipc_rwlock_init. 131 cache lines; its contents
 * belong to the library.
 */
struct UNIXIPC_ALIGNED(16) ipc_rwlock {
    uint64_t reserved[1048];
};

/**
 * Options of a new region. All zeros are the defaults.
 */
struct ipc_shm_opts {
    /**
     * IPC_SHM_F_PUBLISH, _SOLE_WRITER, _TRANSIENT, _HUGE, _PREFAULT, _LOCK, _REPLACE_STALE, or'ed
     */
    unsigned int flags;
    /**
     * the permissions, bits of 0666; the umask does not apply; 0: 0600
     */
    mode_t mode;
    /**
     * how long ipc_shm_open_or_create waits for other processes, in milliseconds;
     * 0 (the default here) and -1: no limit; IPC_WAIT_INTR: until a signal handler runs
     */
    int timeout_ms;
    /**
     * 0
     */
    unsigned int reserved;
    /**
     * identifies the layout of the memory, for example its version; 0: not recorded or checked
     */
    uint64_t layout;
};

/**
 * A descriptor that a started program gets besides its end of the pair.
 */
struct ipc_spawn_fd {
    /**
     * its number in this process
     */
    int fd;
    /**
     * its number in the child
     */
    int child_fd;
};

/**
 * Options of ipc_spawn. All zeros are the defaults.
 */
struct ipc_spawn_opts {
    /**
     * the environment, as execve(2) takes it; NULL: the caller's
     */
    char *const *envp;
    /**
     * the working directory; NULL: the caller's. A relative file is relative to this directory.
     */
    const char *cwd;
    /**
     * more descriptors for the child, in addition to its end of the pair
     */
    const struct ipc_spawn_fd *fds;
    /**
     * the number of them
     */
    size_t nfds;
    /**
     * the type of the pair, without flags; 0: SOCK_STREAM
     */
    int type;
    /**
     * the number of the child's end of the pair; 0: it is standard input and output.
     * With another number, standard input and output are the caller's unless fds contains 0 or 1.
     */
    int child_fd;
    /**
     * IPC_SPAWN_F_STDERR_NULL, or 0: standard error is the caller's unless fds contains 2
     */
    unsigned int flags;
    /**
     * 0
     */
    unsigned int reserved;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Creates a pair of connected sockets: socketpair(2).
 *
 * domain is AF_UNIX; type is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, with
 * SOCK_CLOEXEC and SOCK_NONBLOCK or'ed in where wanted; protocol is 0. The two
 * descriptors are the caller's to close; after fork both processes have both.
 *
 * Does not block. May be called from any thread, from a signal handler, and in
 * the child after fork.
 *
 * Returns 0, or -1 with errno; the kernel may have written to sv then too:
 *   EAFNOSUPPORT     the system does not have this domain
 *   EFAULT           sv is not writable memory of this process
 *   EINVAL           type is not a socket type, or has an unknown flag
 *   EMFILE           the process has no descriptor left (RLIMIT_NOFILE)
 *   ENFILE           the system has no open file left
 *   ENOBUFS, ENOMEM  no memory is left
 *   EOPNOTSUPP       this domain has no pairs
 *   EPROTONOSUPPORT  the domain does not have this protocol
 *   ESOCKTNOSUPPORT  the domain does not have this type
 */
int ipc_socketpair(int domain, int type, int protocol, int sv[2]);

/**
 * Creates a FIFO: mkfifo(3).
 *
 * Its permissions are mode less the bits of the process's umask. The name stays
 * until somebody unlinks it.
 *
 * Does not block, except for the file system. May be called from any thread,
 * from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        a folder of the path may not be searched, or the last one not written
 *   EDQUOT        the quota of the file system is used up
 *   EEXIST        path exists already, be it a FIFO or anything else, a dangling link too
 *   EFAULT        path is not memory of this process
 *   EINVAL        mode has the bits of another file type
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        a folder of the path does not exist, or path is empty
 *   ENOMEM        the kernel has no memory left
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a folder
 *   EPERM         the file system has no FIFOs
 *   EROFS         the file system is read-only
 */
int ipc_mkfifo(const char *path, mode_t mode);

/**
 * Makes a key for ipc_shmget and ipc_semget from an existing file: ftok(3).
 *
 * The same file and the same lowest eight bits of proj_id give the same key as
 * the C library's ftok. Only some bits of the file's inode and device go into
 * it, so two files can have one key; a file that was removed and made anew has
 * another one.
 *
 * Does not block, except for the file system. May be called from any thread,
 * from a signal handler, and in the child after fork.
 *
 * Returns the key, or -1 with errno:
 *   EACCES        a folder of the path may not be searched
 *   EFAULT        path is not memory of this process
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        path does not exist, or is empty
 *   ENOMEM        the kernel has no memory left
 *   ENOTDIR       a part of the path is not a folder
 */
key_t ipc_ftok(const char *path, int proj_id);

/**
 * Gets the shared memory segment of a key, or makes one: shmget(2).
 *
 * key IPC_PRIVATE makes a new one without a key. size is in bytes, rounded up to
 * whole pages in memory; for an existing segment it may be less than, but not
 * more than, the segment's. shmflg is IPC_CREAT, IPC_EXCL, SHM_HUGETLB,
 * SHM_NORESERVE and the nine permission bits, which no umask changes. A new
 * segment is all zero bytes. It stays until somebody removes it with
 * ipc_shmctl(IPC_RMID), whoever dies.
 *
 * Does not block. May be called from any thread, from a signal handler, and in
 * the child after fork.
 *
 * Returns the identifier (0 is one), or -1 with errno:
 *   EACCES  the segment's permissions do not grant what shmflg asks for
 *   EEXIST  IPC_CREAT and IPC_EXCL, and the key has a segment
 *   EINVAL  size is 0 or over SHMMAX for a new one, or more than an existing one's;
 *           SHM_HUGETLB with a size of page that the system does not have
 *   ENFILE  the system has no open file left
 *   ENOENT  the key has no segment, and IPC_CREAT is not set
 *   ENOMEM  the kernel has no memory left
 *   ENOSPC  SHMMNI segments exist, or all would be more than SHMALL pages
 *   EPERM   SHM_HUGETLB without the right to it
 */
int ipc_shmget(key_t key, size_t size, int shmflg);

/**
 * Attaches a shared memory segment to this process's memory: shmat(2).
 *
 * shmaddr NULL lets the system choose where. shmflg is SHM_RDONLY (a write then
 * is a SIGSEGV), SHM_RND, SHM_EXEC, SHM_REMAP. The segment stays attached until
 * ipc_shmdt, exec or the process's end; a child made by fork has it too.
 *
 * Does not block. May be called from any thread and in the child after fork.
 *
 * Returns the address, or (void *)-1 with errno:
 *   EACCES  the segment's permissions do not grant it
 *   EAGAIN  mlockall(MCL_FUTURE) is in force, and it would be over RLIMIT_MEMLOCK
 *   EIDRM   the segment was removed during the call
 *   EINVAL  shmid is no segment; shmaddr is not aligned (and no SHM_RND) or taken;
 *           SHM_REMAP with NULL
 *   ENFILE  the system has no open file left
 *   ENOMEM  no address space or memory left, or shmaddr is beyond the address space
 */
void *ipc_shmat(int shmid, const void *shmaddr, int shmflg);

/**
 * Detaches what ipc_shmat attached at shmaddr: shmdt(2).
 *
 * The segment itself stays, unless it was removed and this was the last process
 * that had it.
 *
 * Does not block. May be called from any thread and in the child after fork;
 * no other thread may still use the memory.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  no segment is attached at shmaddr
 */
int ipc_shmdt(const void *shmaddr);

/**
 * Looks after a shared memory segment: shmctl(2).
 *
 * cmd is IPC_STAT, IPC_SET (with buf), IPC_RMID, SHM_LOCK, SHM_UNLOCK (buf is not
 * looked at), or one of Linux's own: IPC_INFO (buf is a struct shminfo *),
 * SHM_INFO (a struct shm_info *), SHM_STAT, SHM_STAT_ANY (shmid is an index into
 * the kernel's table). IPC_RMID lets the segment go when the last process has
 * detached it.
 *
 * Does not block. May be called from any thread, from a signal handler, and in
 * the child after fork.
 *
 * Returns 0; for IPC_INFO and SHM_INFO the highest index in use, for SHM_STAT and
 * SHM_STAT_ANY the identifier; or -1 with errno:
 *   EACCES     IPC_STAT or SHM_STAT without read permission
 *   EFAULT     buf is not memory of this process
 *   EIDRM      the segment was removed during the call
 *   EINVAL     shmid is no segment, cmd is unknown, or IPC_SET with an invalid owner
 *   ENOMEM     SHM_LOCK over RLIMIT_MEMLOCK
 *   EOVERFLOW  IPC_STAT: an id does not fit its field
 *   EPERM      IPC_SET, IPC_RMID, SHM_LOCK or SHM_UNLOCK by another than the owner,
 *              the creator or root; SHM_LOCK with an RLIMIT_MEMLOCK of 0
 */
int ipc_shmctl(int shmid, int cmd, struct shmid_ds *buf);

/**
 * Gets the semaphore set of a key, or makes one: semget(2).
 *
 * key IPC_PRIVATE makes a new one without a key. nsems is how many semaphores a
 * new set has; for an existing one it may be less, or 0. semflg is IPC_CREAT,
 * IPC_EXCL and the nine permission bits (read and alter), which no umask
 * changes. On Linux the semaphores of a new set are 0. It stays until somebody
 * removes it with ipc_semctl(IPC_RMID), whoever dies.
 *
 * Does not block. May be called from any thread, from a signal handler, and in
 * the child after fork.
 *
 * Returns the identifier (0 is one), or -1 with errno:
 *   EACCES  the set's permissions do not grant what semflg asks for
 *   EEXIST  IPC_CREAT and IPC_EXCL, and the key has a set
 *   EINVAL  nsems is negative or over SEMMSL, 0 for a new set, or more than an
 *           existing set has
 *   ENOENT  the key has no set, and IPC_CREAT is not set
 *   ENOMEM  the kernel has no memory left
 *   ENOSPC  SEMMNI sets or SEMMNS semaphores exist
 */
int ipc_semget(key_t key, int nsems, int semflg);

/**
 * Does operations on a semaphore set, all at once or none: semop(2).
 *
 * Each of the nsops operations adds sem_op to semaphore sem_num, or waits for it
 * to be 0 where sem_op is 0. The call waits until all can be done at once.
 * sem_flg is IPC_NOWAIT (EAGAIN instead of waiting) and SEM_UNDO (the kernel
 * takes the operation back when the process ends, however it ends).
 *
 * Blocks. A signal handler that ran ends the wait with EINTR, with SA_RESTART
 * too, and so does a stop and continue. The kernel looks at the low 32 bits of
 * nsops only. May be called from any thread, from a signal handler, and in the child
 * after fork, which inherits no undo.
 *
 * Returns 0, or -1 with errno and nothing done:
 *   E2BIG   nsops is over SEMOPM
 *   EACCES  the set's permissions do not grant it
 *   EAGAIN  it would have to wait, and IPC_NOWAIT is set
 *   EFAULT  sops is not memory of this process
 *   EFBIG   a sem_num is not one of the set's
 *   EIDRM   the set was removed during the call
 *   EINTR   a signal handler ran, or the process was stopped, while waiting
 *   EINVAL  semid is no set, or nsops is 0
 *   ENOMEM  no memory left for an undo
 *   ENOSPC  no undo structure left
 *   ERANGE  a value would be over SEMVMX, or an undo value over SEMAEM
 */
int ipc_semop(int semid, struct sembuf *sops, size_t nsops);

/**
 * ipc_semop with a limit to the wait: semtimedop(2).
 *
 * timeout is relative; NULL waits for ever. It is not changed.
 *
 * Blocks. Otherwise as ipc_semop.
 *
 * Returns 0, or -1 with errno and nothing done: ipc_semop's, and
 *   EAGAIN  the time is over too
 *   EFAULT  timeout is not memory of this process
 *   EINVAL  timeout is negative, or its tv_nsec 1000000000 or more
 */
int ipc_semtimedop(int semid,
                   struct sembuf *sops,
                   size_t nsops,
                   const struct timespec *timeout);

/**
 * Looks after a semaphore set: semctl(2).
 *
 * cmd is IPC_RMID, GETPID, GETNCNT, GETZCNT, GETVAL (three arguments), SETVAL,
 * GETALL, SETALL, IPC_STAT, IPC_SET, or one of Linux's own: IPC_INFO, SEM_INFO,
 * SEM_STAT, SEM_STAT_ANY. Where there is a fourth argument it is a union semun,
 * which the caller defines, as for the original.
 *
 * SETVAL and SETALL erase what SEM_UNDO has noted for every process.
 *
 * Does not block. May be called from any thread, from a signal handler, and in
 * the child after fork.
 *
 * Returns what GETVAL, GETPID, GETNCNT and GETZCNT ask for; for IPC_INFO and
 * SEM_INFO the highest index in use, for SEM_STAT and SEM_STAT_ANY the
 * identifier; else 0; or -1 with errno:
 *   EACCES  the set's permissions do not grant it
 *   EFAULT  the fourth argument points to no memory of this process
 *   EIDRM   the set was removed during the call
 *   EINVAL  semid is no set, semnum none of its semaphores, cmd is unknown, or IPC_SET
 *           with an invalid owner
 *   ENOMEM  GETALL or SETALL: the kernel has no memory left
 *   EPERM   IPC_SET or IPC_RMID by another than the owner, the creator or root
 *   ERANGE  SETVAL or SETALL: a value below 0 or over SEMVMX
 */
extern int ipc_semctl(int semid, int semnum, int cmd, ...);

/**
 * Returns how much shared memory a cell needs for values of up to value_size bytes: several times
 * that, because old values stay while readers may copy them.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns the number of bytes, or 0 if value_size is 0 or too large for any memory. Does not
 * change errno.
 */
size_t ipc_cell_memory_size(size_t value_size);

/**
 * Makes a cell: a value of 1 to value_size bytes that processes share. It has no value yet.
 *
 * mem is aligned to 16 bytes and has mem_size bytes, at least ipc_cell_memory_size(value_size). It
 * may contain anything except a cell that is still used. No other process should be able to
 * truncate the memory (System V, or a sealed memfd): access to a truncated mapping raises SIGBUS.
 * The memory belongs to the caller, and stays mapped until ipc_cell_close. flags is 0 or a
 * combination of IPC_CELL_F_WAITABLE, IPC_CELL_F_WAITABLE_RDONLY and IPC_CELL_F_SOLE_WRITER (see
 * ipc_cell_open). *ret_cell becomes a handle of this process: another process opens the same
 * memory with ipc_cell_open. A process that is killed before it has made the cell leaves none: to
 * open it is EPROTO.
 *
 * Does not block, and is not a cancellation point. May be called from any thread and in the child
 * after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, flags has an unknown flag, or
 *           value_size is 0 or too large for any memory
 *   ENOMEM  no memory for the handle, or for a lock in the C library
 *   ENOSPC  mem_size is less than ipc_cell_memory_size(value_size)
 */
int ipc_cell_init(void *mem,
                  size_t mem_size,
                  size_t value_size,
                  unsigned int flags,
                  struct ipc_cell **ret_cell);

/**
 * Opens a cell that a process has made with ipc_cell_init.
 *
 * mem is the address at which this process has mapped the memory, aligned to 16 bytes and with
 * mem_size bytes. flags is 0, IPC_CELL_F_RDONLY or IPC_CELL_F_SOLE_WRITER. With IPC_CELL_F_RDONLY
 * the memory may be mapped read-only, and no call writes to it. Without it, only ipc_cell_store
 * and ipc_cell_wait write. The memory may contain anything, and may change at any time: the sizes
 * are checked once and kept in the handle, and whatever another process writes, ipc_cell_load and
 * ipc_cell_wait stay within mem_size bytes.
 *
 * With IPC_CELL_F_SOLE_WRITER the calling thread becomes the only writer of the cell, until it
 * closes the handle or ends, or its process dies. It holds the lock between the writers, so
 * its stores need none and are several times as fast while others read. Stores by other
 * handles wait until then. Only this thread may store with the handle, and it closes it.
 *
 * The memory belongs to the caller, and stays mapped until ipc_cell_close (for a sole writer:
 * until its own thread has closed the handle, or ends). The handle works in the child after fork,
 * where it is a second handle to be closed. The parent stays the sole writer: a store by its
 * handle in the child fails with EPERM.
 *
 * Does not block, and is not a cancellation point. May be called from any thread and in the child
 * after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   flags is IPC_CELL_F_SOLE_WRITER, and the cell has a sole writer, or a store is in
 *           progress
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, or flags has an unknown flag, or both
 *           IPC_CELL_F_RDONLY and IPC_CELL_F_SOLE_WRITER
 *   ENOMEM  no memory for the handle
 *   EPROTO  the memory contains no cell, or not yet, or a cell larger than mem_size
 *   ESTALE  the cell has the layout of another version of the library; or, with
 *           IPC_CELL_F_SOLE_WRITER, its lock is that of another C library
 */
int ipc_cell_open(const void *mem,
                  size_t mem_size,
                  unsigned int flags,
                  struct ipc_cell **ret_cell);

/**
 * Replaces the value by len bytes, from 1 to ipc_cell_value_size.
 *
 * Readers see the old value until the new one is complete, then the new one, and never
 * a part of either, even if this process is killed at any instruction of the call. Each store
 * gives the value a version: 1 for the first value, and then always one more. Several threads and
 * processes may store, one after the other: timeout_ms is how long to wait for the others, in
 * milliseconds; -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits until a signal handler
 * has run. A writer that dies does not stop the others. A sole writer (IPC_CELL_F_SOLE_WRITER)
 * never waits.
 *
 * In a cell made with IPC_CELL_F_WAITABLE the store wakes the threads that wait, and makes a system
 * call only if there are any, or if one was killed while it waited. If a process is killed
 * between its publication and the wake-up, the waiters see the value up to 100 ms late. In a cell
 * made with IPC_CELL_F_WAITABLE_RDONLY each store makes one system call, which publishes and wakes
 * (two calls if a filter refuses that one; then the delay can be a second).
 *
 * A process that stores must trust all processes that can write to the memory, because the lock
 * between the writers is in it; a process that only loads and waits need not.
 *
 * Blocks as timeout_ms says, and only while another writer stores; is not a cancellation point.
 * May be called from any thread, by several at once, and in the child after fork, but with the
 * handle of a sole writer only in its thread; not from a signal handler.
 *
 * Returns 0, or -1 with errno and nothing stored:
 *   EAGAIN     timeout_ms is 0, and another thread is storing
 *   EBADF      the handle is for reading only (IPC_CELL_F_RDONLY)
 *   EDEADLK    this thread is the sole writer with another handle
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     c or value is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is larger than ipc_cell_value_size
 *   EPERM      the handle is that of a sole writer, which is another thread, or the parent
 *              of this process
 *   EPROTO     another process has overwritten the cell
 *   ESTALE     the lock in the cell is that of another C library
 *   ETIMEDOUT  the time-out expired, and another thread is still storing
 *
 * The algorithm is a row of seqlocks (Lameter, "Effective synchronization on Linux/NUMA
 * systems", 2005): the writer fills the next slot, and readers copy the last complete one.
 */
int ipc_cell_store(struct ipc_cell *c,
                   const void *value,
                   size_t len,
                   int timeout_ms);

/**
 * Copies the current value, all of one version, to a buffer of cap bytes.
 *
 * *ret_version becomes its version; ret_version may be NULL. The call writes nothing to the shared
 * memory and takes no lock: readers do not disturb each other, and delay no writer. Behind the
 * value, within cap bytes, the buffer can contain parts of a value that writers have replaced
 * meanwhile. After EAGAIN or EPROTO the buffer can contain anything; after another error too, if
 * writers stored meanwhile. *ret_version is unchanged after any error.
 *
 * Does not block, whatever the writers do, and is not a cancellation point. May be called from any
 * thread, by several at once, from a signal handler, and in the child after fork.
 *
 * Returns the value's length, or -1 with errno:
 *   EAGAIN    during each of 64 attempts, writers replaced the value more often than the cell has
 *             slots (at least four); only hostile writers were seen to do so
 *   EINVAL    c or value is NULL, or cap is 0
 *   EMSGSIZE  the value is longer than cap
 *   ENODATA   the cell has no value yet
 *   EPROTO    another process has overwritten the cell
 */
ssize_t ipc_cell_load(const struct ipc_cell *c,
                      void *value,
                      size_t cap,
                      uint64_t *ret_version);

/**
 * Waits until the version of the value is not seen: the version from ipc_cell_load, or 0 to wait
 * for the first value.
 *
 * The thread sleeps meanwhile. Several values may have been stored when the call returns.
 * timeout_ms is as for ipc_cell_store. The cell must have been made with IPC_CELL_F_WAITABLE or
 * IPC_CELL_F_WAITABLE_RDONLY. With the former the call announces the waiting thread in the memory,
 * so the handle must not have IPC_CELL_F_RDONLY; with the latter it writes nothing.
 *
 * The call checks the version itself every 100 ms (IPC_CELL_F_WAITABLE_RDONLY: every second),
 * because a process that can read the memory can take its wake-up away, and a writer can be killed
 * just before it wakes: that is the longest delay. A process that is killed while it waits costs
 * the next store one system call.
 *
 * Blocks as timeout_ms says; is a cancellation point unless timeout_ms is 0. May be called from any
 * thread, by several at once, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the version is still seen
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      c is NULL, or timeout_ms is below -2
 *   EOPNOTSUPP  the cell was made without a flag that allows this handle to wait: one with
 *               IPC_CELL_F_RDONLY cannot announce itself to stores, and needs
 *               IPC_CELL_F_WAITABLE_RDONLY
 *   EPROTO      another process has overwritten the cell
 *   ETIMEDOUT   the time-out expired, and the version is still seen
 */
int ipc_cell_wait(const struct ipc_cell *c,
                  uint64_t seen,
                  int timeout_ms);

/**
 * Returns the size of the largest value of a cell: the value_size with which it was made.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns the number of bytes, or 0 if c is NULL.
 */
size_t ipc_cell_value_size(const struct ipc_cell *c);

/**
 * Frees a handle. The thread that opened it as the sole writer no longer is. The cell and its
 * memory stay unchanged. NULL is allowed.
 *
 * The thread that opened a handle with IPC_CELL_F_SOLE_WRITER closes it. If another thread closes
 * it, the handle is freed, and the first thread stays the sole writer until it ends. The memory
 * stays mapped until then: a list of the locks that the thread holds goes through it.
 *
 * Does not block, and is not a cancellation point. May be called from any thread, once no thread
 * uses the handle, and in the child after fork; not from a signal handler. Cannot fail.
 */
void ipc_cell_close(struct ipc_cell *c);

/**
 * Makes both ends of a channel, for a process and the child that it forks.
 *
 * A channel carries messages in both directions and preserves their boundaries. They go through
 * shared memory: each direction has a ring, which only its sender can write. After fork each
 * process closes the end that it does not use, as with socketpair(2). Only then does each process
 * notice that the other end has closed.
 *
 * opts (of opts_size bytes, see ipc_channel_opts) may be NULL for the defaults. The caller closes
 * the ends with ipc_channel_close. An end takes two descriptors, close-on-exec, and two more after
 * ipc_channel_fd. In a process with several threads an end takes another one when a receiving
 * thread first sleeps in a call, and another one when a sending thread does.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Only one thread may send on an end at the same time, and only one may receive.
 *
 * If two processes have the same end after fork, the first one that sends on it owns the sending
 * direction, and the first one that receives owns the receiving direction. The calls of the other
 * process then fail with EBUSY, and no message is lost. If the direction was used before the fork,
 * and both processes use it at the very same moment, this is not detected reliably.
 * Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG   opts sets a member that this version does not know
 *   EFBIG   the process may not make a file as large as the ring (RLIMIT_FSIZE)
 *   EINVAL  ret_ch is NULL, opts has an unknown flag or an invalid size or time, opts_size is
 *           smaller than the structure's first version, or the kernel is older than Linux 5.1
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could be
 *           locked, or more would be locked than RLIMIT_MEMLOCK allows
 *   ENOSPC  the ring would be larger than all memory and swap space; or, with
 *           IPC_CHANNEL_F_PREFAULT, not enough memory is free
 *   EPERM   IPC_CHANNEL_F_LOCK, and the process may lock no memory
 */
int ipc_channel_pair(const struct ipc_channel_opts *opts,
                     size_t opts_size,
                     struct ipc_channel **ret_ch);

/**
 * Makes the end of a channel over a connected socket. The peer makes its end with the same call.
 *
 * sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
 * ipc_pair_open or socketpair(2), or an accepted one. It carries one message of 64 bytes each way,
 * and the channel does not use it after that. The caller may close it at any time.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. opts is as for ipc_channel_pair, with recv_size 0.
 *
 * Blocks as timeout_ms says, until the peer has called this too. If the call fails after it has
 * sent its part of the handshake (EAGAIN, EINTR, ETIMEDOUT and others), it shuts the socket down
 * for both sides (shutdown(2)). The socket is useless then, and the peer notices: EPIPE, or the
 * end of the session at once. May be called from any thread and in the child after fork; not from
 * a signal handler.
 * Not a cancellation point: use a time-out.
 *
 * Returns 0, or -1 with errno: ipc_channel_pair's errors, and
 *   EAGAIN      timeout_ms is 0, and the peer has not sent its handshake yet
 *   EBADF       sock is not open
 *   EBUSY       another process that has the socket has received the peer's handshake
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      recv_size is not 0, or timeout_ms is below -2
 *   ENOBUFS     no memory is left for the handshake
 *   ENOTCONN    sock is not connected
 *   ENOTSOCK    sock is not a socket
 *   EOPNOTSUPP  sock is not a local socket
 *   EPIPE       the peer has closed the socket or died, or accepts no descriptors (SO_PASSRIGHTS)
 *   EPROTO      the peer does not speak this protocol, its memory is not sealed as it must be, or
 *               its ring is larger than recv_size_max; or the socket is full of other data
 *   ESTALE      the peer speaks another version of the protocol
 *   ETIMEDOUT   the time-out expired
 *   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
 */
int ipc_channel_from_fd(int sock,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);

/**
 * Listens for channels at a path.
 *
 * path is a path in the file system, or "@name" for a name that is in none (abstract, see
 * unix(7)). The path gets exactly this mode before a client can connect: a process that may
 * write it may connect. mode is not used for "@name", which every process on the system may
 * connect to. A path that a dead listener left behind is replaced; that of a living one never.
 *
 * The descriptor is the caller's to poll (it is readable when a client waits to be accepted)
 * and to close; it is close-on-exec and non-blocking. The path stays when it is
 * closed: unlink(2) removes it. Call unlink first and close(2) after it; in the other order
 * unlink can remove the path of another listener that has replaced this one. flags is 0.
 *
 * For a path NAME the call creates a lock file .NAME.lock in the same directory, and removes
 * it. A process that is killed in between leaves this empty file behind; the next listener takes
 * it over.
 *
 * Blocks for about a second at most, while another process is starting to listen at the same
 * path. May be called from any thread and in the child after fork; not from a signal handler.
 * Not a cancellation point.
 *
 * Returns the descriptor, or -1 with errno:
 *   EACCES      the directory may not be searched or written, or the lock file belongs to
 *               another user
 *   EADDRINUSE  a process listens there, or has been starting to for a second; or path is not
 *               a socket
 *   EDQUOT      the quota of the file system is used up
 *   EEXIST      the name of the lock file is taken by something else than a regular file
 *   EINVAL      path is NULL or "@", mode has more than permissions, or flags is not 0
 *   ELOOP       too many symbolic links in the path
 *   EMFILE      the process has no descriptor left
 *   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
 *   ENFILE      the system has no open file left
 *   ENOENT      the directory does not exist, or path is empty
 *   ENOLCK      the system has no memory for locks
 *   ENOMEM      no memory is left
 *   ENOSPC      the file system is full
 *   ENOTDIR     a part of the path is not a directory
 *   EPERM       the file system has no sockets
 *   EROFS       the file system is read-only
 */
int ipc_channel_listen(const char *path,
                       mode_t mode,
                       unsigned int flags);

/**
 * Accepts a client, as the end of a channel.
 *
 * listen_fd is from ipc_channel_listen, or any other local socket that listens. The client speaks
 * first: it sends its handshake immediately after it has connected. The call waits for it, for up
 * to 1 ms and within timeout_ms (with 0 it only yields the processor once), and then completes the
 * handshake. If the handshake comes later, the first call that needs the peer completes it, under
 * its own time-out, and reports its errors. A silent client costs the server one descriptor, and
 * delays the call by at most 1 ms.
 *
 * A client that has died already is accepted like any other: the first call reports it (a receive
 * returns 0, a send fails with EPIPE). A call that fails leaves the client in the listener's
 * queue.
 *
 * The call sets O_NONBLOCK on the open file description of listen_fd, for good and for all
 * processes that share it: no system call accepts with a time-out.
 *
 * timeout_ms is as for ipc_channel_from_fd, and opts as for ipc_channel_pair, with recv_size 0.
 *
 * Blocks as timeout_ms says, until a client connects. May be called from any thread, by several at
 * once, and in the child after fork; not from a signal handler.
 * A cancellation point while it waits for a client: no client is lost.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG       opts sets a member that this version does not know
 *   EAGAIN      timeout_ms is 0, and no client has connected
 *   EBADF       listen_fd is not open
 *   EFBIG       the process may not make a file as large as the ring (RLIMIT_FSIZE)
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      ret_ch is NULL, listen_fd does not listen, opts has an unknown flag or an invalid
 *               size or time, recv_size is not 0, opts_size is smaller than the structure's first
 *               version, or timeout_ms is below -2
 *   EMFILE      the process does not have the five descriptors left that the handshake needs
 *   ENFILE      the system has no open file left
 *   ENOMEM      no memory is left
 *   ENOSPC      the ring would be larger than all memory and swap space
 *   ENOTSOCK    listen_fd is not a socket
 *   EOPNOTSUPP  listen_fd is not a local socket, or is a nonblocking one of type SOCK_DGRAM
 *   ETIMEDOUT   the time-out expired
 */
int ipc_channel_accept(int listen_fd,
                       const struct ipc_channel_opts *opts,
                       size_t opts_size,
                       int timeout_ms,
                       struct ipc_channel **ret_ch);

/**
 * Connects to a listener, as the end of a channel.
 *
 * path is as for ipc_channel_listen; opts as for ipc_channel_pair, with recv_size 0. timeout_ms is
 * as for ipc_channel_from_fd. It limits the whole call: the wait for a place in the listener's
 * queue, and for the handshake.
 *
 * Blocks as timeout_ms says, until the handshake has ended: the listener has called
 * ipc_channel_accept and, if that did not complete the handshake, a call on its channel. May be
 * called from any thread and in the child after fork; not from a signal handler.
 * Not a cancellation point: use a time-out.
 *
 * Returns 0, or -1 with errno: ipc_channel_pair's errors, and
 *   EACCES        the path may not be written, or a directory of it may not be searched
 *   EAGAIN        timeout_ms is 0, and the listener's queue is full, or the handshake has not
 *                 ended
 *   ECONNREFUSED  no process listens at the path, or not with SOCK_SEQPACKET
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        path is NULL or "@", recv_size is not 0, or timeout_ms is below -2
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
 *   ENOBUFS       no memory is left for the handshake
 *   ENOENT        the path does not exist, or is empty
 *   ENOTDIR       a part of the path is not a directory
 *   EPIPE         the listener has closed the connection or died, or accepts no descriptors
 *                 (SO_PASSRIGHTS)
 *   EPROTO        the listener does not speak this protocol, its memory is not sealed as it must
 *                 be, or its ring is larger than recv_size_max
 *   ESTALE        the listener speaks another version of the protocol
 *   ETIMEDOUT     the time-out expired
 *   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
 */
int ipc_channel_connect(const char *path,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);

/**
 * Sends a message, whole or not at all.
 *
 * len is from 1 to ipc_channel_max. The call copies the message into the ring. If there is no room
 * it waits as timeout_ms says: in milliseconds, -1 waits without limit, 0 does not wait,
 * IPC_WAIT_INTR waits until a signal handler has run.
 *
 * The call makes a system call only to wait, to wake the peer, and to ask the kernel whether the
 * peer lives. It asks after 64 messages of which the peer has received none. Before
 * ipc_channel_fd, a call with timeout_ms 0 that finds no room asks too, at most once in 20
 * microseconds.
 *
 * A message that was sent is received even if this process dies at once. A send notices that the
 * peer has gone when it has to wake the peer, when there is no room, and otherwise within 128
 * messages. The messages that were sent until then are lost.
 *
 * Blocks as timeout_ms says. Only one thread may send at the same time. May be called in the child
 * after fork, not from a signal handler. No SIGPIPE.
 * A cancellation point while it waits: the message is then not sent.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and there is no room
 *   EBUSY      room is reserved (ipc_channel_reserve); or another process has this end from fork,
 *              and has sent on it: nothing was sent
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or buf is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is greater than ipc_channel_max
 *   EPIPE      the peer has gone or has ended receiving, and has not received this message; or
 *              this side has ended sending
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, until a call has completed the handshake:
 *   EAGAIN     timeout_ms is 0, and the client has not sent its handshake
 *   EBUSY      another process that has this end from fork has received the client's handshake; or
 *              this is the child of a fork that was made while another thread completed the
 *              handshake
 *   EFBIG      the process may not make a file as large as the ring (RLIMIT_FSIZE)
 *   EINVAL     the kernel is older than Linux 5.1
 *   EMFILE     the process has no descriptor left
 *   ENFILE     the system has no open file left
 *   ENOBUFS    no memory is left for the handshake
 *   ENOMEM     no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could be
 *              locked, or more would be locked than RLIMIT_MEMLOCK allows
 *   ENOSPC     the ring would be larger than all memory and swap space; with
 *              IPC_CHANNEL_F_PREFAULT, not enough memory is free; or, after ipc_channel_fd, the
 *              user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 *   EPERM      IPC_CHANNEL_F_LOCK, and the process may lock no memory
 *   EPIPE      the client has closed the connection or died, or accepts no descriptors
 *              (SO_PASSRIGHTS)
 *   EPROTO     the client does not speak this protocol, its memory is not sealed as it must be, or
 *              its ring is larger than recv_size_max
 *   ESTALE     the client speaks another version of the protocol
 *   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
 * After EBUSY, EPIPE, EPROTO and ESTALE the handshake has failed for good. After the others it is
 * still pending, and the call can be repeated; but if the kernel refused an epoll watch (ENOSPC,
 * ENOMEM), it has failed for good too.
 */
int ipc_channel_send(struct ipc_channel *ch,
                     const void *buf,
                     size_t len,
                     int timeout_ms);

/**
 * Receives a message.
 *
 * The call copies the message into buf, which has room for cap bytes. If the message is longer,
 * the call fails with EMSGSIZE and the message stays in the ring: receive it with a larger buffer,
 * or with ipc_channel_peek. All messages that the peer sent before it ended are received before
 * the end. timeout_ms is as for ipc_channel_send.
 *
 * A call that waits notices at once that the peer has gone. One with timeout_ms 0 that finds no
 * message asks the kernel at most once in 20 microseconds; after ipc_channel_fd, each time.
 *
 * Blocks as timeout_ms says. Only one thread may receive at the same time. May be called in the
 * child after fork, not from a signal handler.
 * A cancellation point while it waits: no message is lost.
 *
 * Returns the message's length, 0 at the end of the session, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and there is no message
 *   EBUSY      another process has this end from fork, and has received on it: nothing was
 *              received
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or buf is NULL, cap is 0, or timeout_ms is below -2
 *   EMSGSIZE   the message is longer than cap
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, those of the handshake, which ipc_channel_send lists (EPIPE is the
 * end of the session here):
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
 *   ETOOMANYREFS
 */
ssize_t ipc_channel_recv(struct ipc_channel *ch,
                         void *buf,
                         size_t cap,
                         int timeout_ms);

/**
 * Reserves room for a message in the ring, which the caller fills in place.
 *
 * len is from 1 to ipc_channel_max. The caller may read and write the room until
 * ipc_channel_commit sends it or ipc_channel_cancel gives it back. It is aligned to 8 bytes, and
 * its content is undefined at first. Waits for room as ipc_channel_send does.
 *
 * Blocks as timeout_ms says. With regard to threads, fork and signals it is a sending call.
 * A cancellation point while it waits.
 *
 * Returns the room, or NULL with errno: ipc_channel_send's errors.
 */
void *ipc_channel_reserve(struct ipc_channel *ch,
                          size_t len,
                          int timeout_ms);

/**
 * Sends the first len bytes of the reserved room.
 *
 * The rest is given back. Does not block. With regard to threads, fork and signals it is a sending
 * call.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   another process has this end from fork, and has sent on it. Nothing is reserved then
 *   EINVAL  ch is NULL, no room is reserved, or len is 0 or greater than the reserved length
 *   EPIPE   the peer has gone or has ended receiving, and has not received this message; or this
 *           side has ended sending. Nothing is reserved then
 *   EPROTO  the peer has violated the protocol. Nothing is reserved then
 */
int ipc_channel_commit(struct ipc_channel *ch,
                       size_t len);

/**
 * Gives the reserved room back.
 *
 * Does not block. With regard to threads, fork and signals it is a sending call.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch is NULL, or no room is reserved
 */
int ipc_channel_cancel(struct ipc_channel *ch);

/**
 * Shows the next message in the ring.
 *
 * The message stays until ipc_channel_release or ipc_channel_recv takes it. Until then it can be
 * read at *ret_buf, which is aligned to 8 bytes. Its length is fixed, but a hostile peer can
 * change its bytes at any time. So a program that must check them copies them first. timeout_ms is
 * as for ipc_channel_send.
 *
 * Blocks as timeout_ms says. With regard to threads, fork and signals it is a receiving call.
 * A cancellation point while it waits.
 *
 * Returns the message's length, 0 at the end of the session, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and there is no message
 *   EBUSY      another process has this end from fork, and has received on it
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or ret_buf is NULL, or timeout_ms is below -2
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, those of the handshake, as for ipc_channel_recv:
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
 *   ETOOMANYREFS
 * *ret_buf is set only with a message.
 */
ssize_t ipc_channel_peek(struct ipc_channel *ch,
                         const void **ret_buf,
                         int timeout_ms);

/**
 * Takes the message that ipc_channel_peek has shown.
 *
 * Does not block. With regard to threads, fork and signals it is a receiving call.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   another process has this end from fork, and has received on it. No message is shown
 *           then
 *   EINVAL  ch is NULL, or no message is shown
 */
int ipc_channel_release(struct ipc_channel *ch);

/**
 * Ends one direction or both, for good, and for all processes that have this end.
 *
 * how is SHUT_WR: the peer receives all messages that were sent, and then the end; SHUT_RD:
 * sending fails for the peer with EPIPE from then on, and this side receives the messages that are
 * in the ring, and then the end; or SHUT_RDWR. Calls that wait on this end in other threads of
 * this process end too. A message that another thread sends at the same moment, or that the peer
 * sends before it has noticed, may still arrive after the end. Room that was reserved before
 * SHUT_WR cannot be sent.
 *
 * If the handshake has not ended, the call notes the shutdown, and the peer learns of it when the
 * handshake ends.
 *
 * Does not block. May be called from any thread at any time and in the child after fork; not from
 * a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch is NULL, or how is another value
 */
int ipc_channel_shutdown(struct ipc_channel *ch,
                         int how);

/**
 * Returns the channel's descriptor for poll, epoll and similar calls.
 *
 * It becomes readable (POLLIN, no other event) for a message; for the end of the session, until a
 * receive has reported it; for the peer's death, and then it stays readable; after a send or a
 * reservation that failed with EAGAIN, when half of the ring is free; and on an accepted channel
 * when the handshake can continue. Spurious readiness is possible.
 *
 * It stays readable until a receive fails with EAGAIN. When it is readable, first retry a send
 * that was refused, then receive. A level-triggered loop may stop after a number of messages,
 * since the descriptor stays readable. An edge-triggered loop must receive until EAGAIN or the
 * end.
 *
 * The interest in room ends only after it was signalled: when the thread whose send was refused
 * sends a message of at least that length without waiting (timeout_ms 0), or when its receives
 * fail with EAGAIN twice. Calls of other threads, and sends that wait, do not end it. Use the
 * descriptor from one event loop only.
 *
 * From the first call on, the peer must wake this side for each message that it waits for. A
 * program that only waits in the calls themselves, or polls them, does not need the descriptor.
 *
 * The descriptor belongs to the channel, which closes it. Do not read from it or write to it. Each
 * call returns the same one.
 *
 * Does not block. May be called from any thread and in the child after fork (which shares its
 * parent's descriptor if the parent had one, as with epoll_create(2)); not from a signal handler.
 *
 * Returns the descriptor, or -1 with errno:
 *   EBUSY   this is the child of a fork that was made while another thread completed the handshake
 *   EINVAL  ch is NULL
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory is left
 *   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 */
int ipc_channel_fd(struct ipc_channel *ch);

/**
 * Returns the length of the longest message that this end can send, in bytes.
 *
 * It has room whenever the ring is empty. Does not block. May be called from any thread, from a
 * signal handler, and in the child after fork.
 *
 * Returns the length, or 0 with errno:
 *   EINVAL  ch is NULL
 */
size_t ipc_channel_max(const struct ipc_channel *ch);

/**
 * Reports the credentials of the peer.
 *
 * They are those of the process that connected, listened, or made the socket (see ipc_peer_cred);
 * for ipc_channel_pair, of the process that made the channel. *ret_cred receives cred_size bytes
 * of them.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch or ret_cred is NULL, or cred_size is smaller than the structure's first version
 */
int ipc_channel_peer_cred(const struct ipc_channel *ch,
                          struct ipc_cred *ret_cred,
                          size_t cred_size);

/**
 * Reports the counters of this end.
 *
 * *ret_stats receives stats_size bytes of them. They count the calls of this process: the child of
 * a fork starts with its parent's numbers.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch or ret_stats is NULL, or stats_size is smaller than the structure's first version
 */
int ipc_channel_stats(const struct ipc_channel *ch,
                      struct ipc_channel_stats *ret_stats,
                      size_t stats_size);

/**
 * Closes this process's handle of an end, with its descriptors and its memory.
 *
 * The peer receives all messages that were sent, and then the end, once no process has this end:
 * it continues in a child that has it from fork. Reserved room is given back, and a message that
 * ipc_channel_peek has shown must not be read after this. NULL does nothing. No other thread may
 * use ch during the call or after it.
 *
 * Does not block. May be called in the child after fork; not from a signal handler.
 * Not a cancellation point.
 */
void ipc_channel_close(struct ipc_channel *ch);

/**
 * Makes a condition, whatever the memory held.
 *
 * c is in memory that all its users share, aligned to 16. flags is 0. The condition lives as
 * long as the memory, and is not destroyed. Call this once, before any other use. A condition that
 * lies in one page of 4096 bytes with its mutex is cheaper to broadcast to.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     c is NULL or not aligned to 16, or flags is not 0
 */
int ipc_cond_init(struct ipc_cond *c,
                  unsigned int flags);

/**
 * Waits for a change of the data that a mutex guards.
 *
 * The calling thread holds m. The call unlocks it, and locks it again before it returns, however
 * long that takes: with 0, IPC_OWNER_DIED, EAGAIN, EINTR and ETIMEDOUT the thread holds m; with
 * the other errors m is as it was before. The call can return 0 without a signal: check the
 * condition again, and wait again if necessary. Signals that come after m was unlocked are not
 * missed (but for exactly 2^32 of them before the thread runs again). All waiters of a condition
 * use the same mutex.
 *
 * timeout_ms is as for ipc_mutex_lock; 0 unlocks m and locks it again. IPC_OWNER_DIED is what
 * ipc_mutex_lock would return, and takes precedence over an expired time-out: it is also returned
 * where m was marked already and the caller has not called ipc_mutex_consistent. An owner that
 * dies signals no waiter: a thread that gets IPC_OWNER_DIED does it in its place.
 *
 * Blocks as timeout_ms says, and then for m. May be called from any thread and in the child
 * after fork; not from a signal handler. A cancellation point: the cancellation acts within
 * 100 ms once m is unlocked, and the thread then holds m.
 *
 * Returns 0 or IPC_OWNER_DIED, or -1 with errno:
 *   EAGAIN     timeout_ms is 0
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     c or m is NULL or not aligned to 16, or timeout_ms is below -2
 *   EPERM      this thread does not hold m
 *   EPROTO     c is not a condition that ipc_cond_init made, or m not a mutex
 *   ESTALE     one of them was made by another version of the library, or m with another C
 *              library
 *   ETIMEDOUT  the time-out expired
 */
int ipc_cond_wait(struct ipc_cond *c,
                  struct ipc_mutex *m,
                  int timeout_ms);

/**
 * Wakes at least one thread that waits for a condition.
 *
 * Call it after the change, with or without the mutex. A waiter sees the change only if it was
 * made with the mutex held. Use ipc_cond_broadcast where one change can let several waiters go
 * on. If the waiter that was woken is killed before it has locked the mutex, the other waiters
 * return within 100 ms in its place.
 *
 * Does not block; without waiters it makes no system call. A process that is killed in it has
 * woken a waiter or none. May be called from any thread, from a signal handler, and in the child
 * after fork. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     c is NULL or not aligned to 16
 *   EPROTO     c is not a condition that ipc_cond_init made
 *   ESTALE     it was made by another version of the library
 */
int ipc_cond_signal(struct ipc_cond *c);

/**
 * Wakes all threads that wait for a condition.
 *
 * All is as for ipc_cond_signal. If the condition and the mutex lie in one page of 4096 bytes,
 * one waiter is woken, and the others sleep on until the mutex is unlocked, one after the other,
 * instead of all running into a locked mutex. A process that is killed in it may have woken none;
 * the waiters then return within 100 ms.
 *
 * Returns 0, or -1 with errno: ipc_cond_signal's, for the same reasons.
 */
int ipc_cond_broadcast(struct ipc_cond *c);

/**
 * Makes an event in memory of any content.
 *
 * An event is a flag that threads of all processes set, clear and wait for. e is in memory that
 * they share and can write, aligned to 16. flags is 0 or a combination of IPC_EVENT_F_AUTO_RESET
 * and IPC_EVENT_F_SET. Without the former, the event stays set until ipc_event_clear, and each set
 * releases all threads that wait. With it, a set releases one thread, which clears the event. The
 * event lives as long as the memory and is not destroyed. The call is made once, before any other
 * process uses the event.
 *
 * Does not block, and is not a cancellation point. May be called from any thread, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     e is NULL or not aligned to 16, or flags has an unknown flag
 */
int ipc_event_init(struct ipc_event *e,
                   unsigned int flags);

/**
 * Sets an event.
 *
 * With manual reset the call releases all threads that wait, even if the event is cleared before
 * they run. With automatic reset it releases one thread: one that waits now, or the next one that
 * waits. To set an event that is set changes nothing. What the calling thread wrote before is
 * visible to the threads that it releases.
 *
 * Does not block, and is not a cancellation point. Makes a system call only if a thread waits, or
 * if a thread stopped waiting without having been woken: it was killed or cancelled, or its
 * time-out expired. A process that is killed in the call has set the event and woken a waiter, or
 * neither; or it has set the event, and waiters that began to wait during the call see it up to 100
 * ms late. May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     e is NULL or not aligned to 16
 *   EPROTO     e is not an event that ipc_event_init made
 *   ESTALE     another version of the library made it
 */
int ipc_event_set(struct ipc_event *e);

/**
 * Clears an event. If the event was set, the calling thread sees what was written before.
 *
 * Does not block, makes no system call, and is not a cancellation point. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     e is NULL or not aligned to 16
 *   EPROTO     e is not an event that ipc_event_init made
 *   ESTALE     another version of the library made it
 */
int ipc_event_clear(struct ipc_event *e);

/**
 * Waits until an event is set. With automatic reset, the call clears the event.
 *
 * Returns at once if the event is set. timeout_ms is in milliseconds; -1 waits without limit, 0
 * does not wait, IPC_WAIT_INTR waits until a signal handler has run. What was written before the
 * event was set is visible to the calling thread. With manual reset the call also returns if the
 * event was set and cleared again while it waited.
 *
 * A process that is killed while it waits consumes nothing: with automatic reset the waiting
 * thread itself clears the event, just before the call returns. If it is killed or cancelled
 * after it was woken and before that, the event stays set, and another thread that waits sees it
 * at most 100 ms later: each waiter checks the event that often.
 *
 * Blocks as timeout_ms says; is a cancellation point unless timeout_ms is 0. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and the event is not set
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     e is NULL or not aligned to 16, or timeout_ms is below -2
 *   EPROTO     e is not an event that ipc_event_init made
 *   ESTALE     another version of the library made it
 *   ETIMEDOUT  the time-out expired
 */
int ipc_event_wait(struct ipc_event *e,
                   int timeout_ms);

/**
 * Tells whether an event is set. Does not clear it. The answer can be outdated when the call
 * returns.
 *
 * Does not block, makes no system call, and is not a cancellation point. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 1 if it is set, 0 if not, or -1 with errno:
 *   EINVAL     e is NULL or not aligned to 16
 *   EPROTO     e is not an event that ipc_event_init made
 *   ESTALE     another version of the library made it
 */
int ipc_event_is_set(const struct ipc_event *e);

/**
 * Creates a FIFO with exactly this mode, whatever the umask.
 *
 * mode has the permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: a FIFO of that
 * name is then used, and given the mode. A sender needs write permission, a receiver read
 * permission, and IPC_FIFO_F_PERSIST both. A receiver that also has write permission loses no
 * record when it stops waiting (see ipc_fifo_open).
 *
 * Does not block, except for the file system; not a cancellation point. May be called from any
 * thread and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        a directory of the path may not be searched, or the last one not written
 *   EDQUOT        the quota of the file system is used up
 *   EEXIST        path exists, and is not a FIFO or EXIST_OK is not set
 *   EINVAL        path is NULL, mode has other bits, or flags an unknown one
 *   ELOOP         too many symbolic links in the path
 *   EMFILE        the process has no descriptor left, and the umask is in the way of the mode
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE        the system has no open file left, likewise
 *   ENOENT        a directory of the path does not exist, or path is empty; or there is no /proc,
 *                 and the umask is in the way of the mode
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         another user owns the FIFO and it has another mode, or the file system has no FIFOs
 *   EROFS         the file system is read-only
 */
int ipc_fifo_create(const char *path,
                    mode_t mode,
                    unsigned int flags);

/**
 * Opens a FIFO for receiving or sending, and waits for the other side.
 *
 * flags is IPC_FIFO_F_READ or IPC_FIFO_F_WRITE, with IPC_FIFO_F_PERSIST and
 * IPC_FIFO_F_PACKET or'ed in where wanted. A reader waits until there is a writer, a writer
 * until there is a reader, also one that opens the FIFO with open(2). A persistent reader is a
 * writer itself: it does not wait, and the last writer's close does not end its session.
 * Only a FIFO is opened, and no symbolic link that leads to one. If the name is removed and made
 * again during the wait, the call goes on at the new FIFO.
 *
 * timeout_ms is in milliseconds: -1 waits forever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran. A handler that runs before the call begins does not end it.
 *
 * A waiting reader is visible to every writer, and returns at once when a writer sends something
 * or closes the FIFO. A writer that has only opened it is found by looking: every 0.4 ms for the
 * first 100 ms, later after 1/64 of the time waited, at most 20 ms. A waiting writer looks for a
 * reader in the same way.
 *
 * A reader that fails with EAGAIN, ETIMEDOUT or EINTR has discarded no record for which
 * ipc_fifo_send returned 0: it returns a descriptor instead if there is one. This needs write
 * permission for the FIFO and /proc; without them a record that is sent in the last microseconds
 * can be lost. For the same reason a reader that serves one session after another should open the
 * next one before it closes the descriptor of the last one: close(2) discards what is in the FIFO.
 *
 * The caller closes the descriptor. It is close-on-exec, and non-blocking, so that it can be
 * polled. ipc_fifo_send and ipc_fifo_recv are fastest if it stays non-blocking.
 *
 * Blocks as timeout_ms says; waiting takes up to two more descriptors. A call that waits is a
 * cancellation point: a cancelled call leaves no descriptor open, and is no longer visible to the
 * other side. A call that need not wait is none. A signal handler must not leave the call by
 * siglongjmp, which leaves descriptors open. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns the descriptor, or -1 with errno:
 *   EACCES     the permissions do not grant it
 *   EAGAIN     timeout_ms is 0, and the other side is not there
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     path is NULL or not a FIFO, flags are not as above, or timeout_ms is below -2
 *   ELOOP      path is a symbolic link, or has too many in it
 *   EMFILE     the process has too few descriptors left: a reader takes three, a writer one
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE     the system has no open file left
 *   ENOENT     path does not exist, or was removed while the call waited
 *   ENOMEM     no memory is left
 *   ENOTDIR    a part of the path is not a directory
 *   ETIMEDOUT  the time-out expired before the other side came
 */
int ipc_fifo_open(const char *path,
                  unsigned int flags,
                  int timeout_ms);

/**
 * Sends a record: whole, and never mixed with another.
 *
 * fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. Behind the record the
 * call writes a trailer of four bytes: 0x00, 0xf5, and the length as two bytes, the lower first.
 * timeout_ms is as for ipc_fifo_open, and holds for a descriptor that blocks too. After the last
 * reader has closed the FIFO the call fails with EPIPE, and raises no SIGPIPE.
 *
 * Of many senders that wait for room with timeout_ms -1, a record that is received wakes one, in
 * the order in which they came. With a time-out or IPC_WAIT_INTR it wakes all of them.
 *
 * Blocks as timeout_ms says. It is a cancellation point, as write(2) is; a call that is cancelled
 * while it waits has sent nothing. May be called from any thread, by several at once, from a
 * signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno and nothing sent:
 *   EAGAIN     timeout_ms is 0, and the FIFO is full
 *   EBADF      fd is not open for writing
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
 *   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
 *   EMSGSIZE   len exceeds IPC_FIFO_RECORD_MAX
 *   ENFILE     likewise, and the system has no open file left
 *   ENOMEM     likewise, and no memory is left
 *   EPIPE      the last reader has closed the FIFO
 *   ETIMEDOUT  the time-out expired, and the FIFO is still full
 */
int ipc_fifo_send(int fd,
                  const void *rec,
                  size_t len,
                  int timeout_ms);

/**
 * Receives a record of up to cap bytes.
 *
 * fd is from ipc_fifo_open. If the record exceeds cap, the call fails with EMSGSIZE and the
 * record is discarded; the next receive gives the next record. Of several readers each gets whole
 * records. timeout_ms is as for ipc_fifo_open, and holds for a descriptor that blocks too.
 *
 * Blocks as timeout_ms says. It is a cancellation point, as read(2) is; a call that is cancelled
 * while it waits has taken nothing. May be called from any thread, by several at once, from a
 * signal handler, and in the child after fork.
 *
 * Returns the record's length, 0 at the end of the session (the last writer has closed the FIFO,
 * and it is empty; a writer that opens it later begins another session), or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no record is there
 *   EBADF      fd is not open for reading
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
 *   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
 *   EMSGSIZE   the record was longer than cap
 *   ENFILE     likewise, and the system has no open file left
 *   ENOMEM     likewise, and no memory is left
 *   EPROTO     the FIFO had bytes that ipc_fifo_send did not write; they are discarded, and
 *              with them records that were written behind them before they were read:
 *              ipc_fifo_recv_any receives both
 *   ETIMEDOUT  the time-out expired
 */
ssize_t ipc_fifo_recv(int fd,
                      void *rec,
                      size_t cap,
                      int timeout_ms);

/**
 * Receives a record, or a line of text that a program wrote without this library.
 *
 * So a shell script can use echo to send lines to a FIFO on which other programs send records.
 * *ret_text becomes 1 for text and 0 for a record or the end; ret_text may be NULL. A line of text
 * includes its newline. Text that exceeds cap comes in pieces, and so does a line that has not
 * been written as a whole yet. Everything arrives in the order in which it was written, and
 * text damages no record. Text has no zero byte; foreign bytes that have one can look like a
 * record.
 *
 * fd is from ipc_fifo_open. If a record exceeds cap, the call fails with EMSGSIZE and the record
 * is discarded; the next receive gives what follows. timeout_ms is as for ipc_fifo_open. Only one
 * thread, in all processes together, receives from the FIFO at a time.
 *
 * Blocks as timeout_ms says; it is a cancellation point where it waits, and a cancelled call has
 * taken nothing. Each call makes a pipe and closes it, so ipc_fifo_recv is faster. May be called
 * from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the length, 0 at the end of the session, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and nothing is there
 *   EBADF      fd is not open for reading
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, cap is 0, timeout_ms is below -2, or fd is not a pipe
 *   EMFILE     the process has fewer than two descriptors left
 *   EMSGSIZE   the record exceeded cap
 *   ENFILE     the system has no open file left
 *   ENOMEM     no memory is left
 *   ENOSYS     a filter of system calls refuses tee(2)
 *   EPROTO     another receiver took bytes at the same time; some are lost
 *   ETIMEDOUT  the time-out expired
 */
ssize_t ipc_fifo_recv_any(int fd,
                          void *buf,
                          size_t cap,
                          int *ret_text,
                          int timeout_ms);

/**
 * Removes a FIFO's name, if it is a FIFO. Processes that have it open keep it.
 *
 * Does not block, except for the file system; not a cancellation point. May be called from any thread, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        a directory of the path may not be searched, or the last one not written
 *   EINVAL        path is NULL or not a FIFO
 *   ELOOP         path is a symbolic link, or has too many in it
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        path does not exist, or is empty
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         the directory's sticky bit forbids it
 *   EROFS         the file system is read-only
 */
int ipc_fifo_unlink(const char *path);

/**
 * Sends a message, whole or not at all, and descriptors with it.
 *
 * fd is a connected socket: a local one (AF_UNIX), or one of TCP or UDP. On SOCK_SEQPACKET and
 * SOCK_DGRAM the kernel keeps messages apart, and len is limited by the socket's send buffer, over
 * UDP also by the length of a datagram (65507 bytes over IPv4). UDP can lose messages. On SOCK_STREAM, also one of TCP, a
 * header of eight bytes goes before each: the letters uipc, and the length as four bytes, the
 * lowest first; the other side receives with ipc_msg_recv, and each end has one sender and one
 * receiver at a time.
 *
 * The nfds descriptors of fds (NULL where nfds is 0) are duplicated into the receiver; the
 * sender's stay open.
 *
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran. On a local stream, a message of up to 32 KiB is sent at once or not at
 * all (with a send buffer of the usual size). A longer one that the time-out cuts ends the
 * sending direction: ETIMEDOUT now, EPIPE from then on, and the receiver reads EPROTO. TCP
 * takes as much as the send buffer has room for, so that a message of any length can be cut:
 * give a time-out there, and 0 only where the buffer takes the whole message.
 *
 * Blocks as timeout_ms says. It is a cancellation point, as sendmsg(2) is; on a stream no longer
 * once a part of the message has been sent. May be called from any thread (on a stream by one at
 * a time), from a signal handler, and in the child after fork. No SIGPIPE.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the message could not be sent at once; nothing was sent
 *   EBADF       fd or one of fds is not open
 *   EFAULT      buf or fds is not memory of this process
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran; nothing was sent
 *   EINVAL      len is 0, nfds is over IPC_MSG_FDS_MAX, buf or fds is NULL, or timeout_ms is
 *               below -2
 *   EMSGSIZE    the message is too long for the socket, or exceeds IPC_MSG_MAX
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN    the socket is not connected, and not one of TCP; for SOCK_DGRAM also that the
 *               receiver is gone, from the second send on
 *   ENOTSOCK    fd is not a socket
 *   EOPNOTSUPP  fd is a socket of another type; or it is not local, and there are descriptors
 *   EPERM       the receiver of a SOCK_DGRAM socket is connected to another one
 *   EPIPE       the receiver is gone, or this direction has ended; or the socket is one of TCP
 *               and not connected; or an earlier message over UDP was refused, and this one was
 *               not sent
 *   ETIMEDOUT   the time is over; on a stream the message may be half sent
 *   ETOOMANYREFS  too many descriptors are on their way already
 */
int ipc_msg_send(int fd,
                 const void *buf,
                 size_t len,
                 const int *fds,
                 size_t nfds,
                 int timeout_ms);

/**
 * Receives a message of up to cap bytes, and the descriptors that come with it.
 *
 * inout_nfds says how many descriptors ret_fds has room for, and then how many were stored
 * there; they are the caller's to close, and close-on-exec. Those that do not fit are closed.
 * With inout_nfds NULL all are.
 *
 * A message longer than cap is EMSGSIZE and gone; the next receive gives the next message. An
 * empty packet, which ipc_msg_send does not send, is discarded: it is neither a message nor the
 * end. On SOCK_DGRAM there is no end, unless shutdown(2) has ended this direction here.
 *
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran. On a stream, a time-out inside a message (one longer than 32 KiB, or
 * a peer that stops) ends the receiving direction: ETIMEDOUT now, 0 from then on, and the
 * peer's next send is EPIPE. So is what is not a message: EPROTO. Where long messages and
 * time-outs go together, ipc_recv_full can go on where it stopped. Over TCP a message of any
 * length can come in parts: 0 is not for it. Such an end resets the connection there: the
 * next receive may be ENOTCONN instead of 0, and the other direction has ended too.
 *
 * Blocks as timeout_ms says. It is a cancellation point, as recvmsg(2) is; on a stream no longer
 * once a part of the message has been received. May be called from any thread (on a stream by one
 * at a time), from a signal handler, and in the child after fork.
 *
 * Returns the message's length, 0 at the end of the session, or -1 with errno. ret_fds and
 * inout_nfds are then as they were; what is in buf is not defined:
 *   EAGAIN      timeout_ms is 0, and no message is there
 *   EBADF       fd is not open
 *   ECONNREFUSED  over UDP: an earlier message was refused, and nothing was received
 *   EFAULT      buf is not memory of this process
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      cap is 0, buf is NULL, ret_fds is NULL and inout_nfds asks for descriptors,
 *               timeout_ms is below -2, or fd is a stream that is not connected
 *   EMFILE      the process has no descriptor left for those that came, or a security module
 *               refuses one: the message is gone, and all of its descriptors are closed
 *   EMSGSIZE    the message was longer than cap
 *   ENOMEM      no memory is left
 *   ENOTCONN    the socket is not connected (any more)
 *   ENOTSOCK    fd is not a socket
 *   EOPNOTSUPP  fd is a socket of another type, before Linux 5.15; from there on such a one
 *               (netlink, raw) is taken for one on which the kernel keeps messages apart
 *   EPROTO      the peer ended inside a message, or sent what is none
 *   ETIMEDOUT   the time is over
 */
ssize_t ipc_msg_recv(int fd,
                     void *buf,
                     size_t cap,
                     int *ret_fds,
                     size_t *inout_nfds,
                     int timeout_ms);

/**
 * Makes an unlocked mutex, whatever the memory held.
 *
 * m is in memory that all users of the mutex share: a mapping that begins at a page for each of
 * them (at whatever address), aligned to 16. flags is 0 or IPC_MUTEX_F_PRIO_INHERIT, for real-time
 * programs. The mutex lives as long as the memory, and is not destroyed. Call this once, before
 * any other use; to call it for a mutex in use is an error that is not detected. A process that
 * is killed in the call leaves memory that is no mutex (EPROTO); call it again.
 *
 * The mutex is the C library's robust one, shared between processes: the kernel releases it when
 * its owner dies. All users run in the PID namespace of the process that calls ipc_mutex_init,
 * use one C library, and trust each other: a process that can write the memory can crash the
 * users. ipc_semlock_open is for processes in several PID namespaces, or that do not trust each
 * other.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      m is NULL or not aligned to 16, or flags has an unknown one
 *   ENOMEM      no memory is left
 *   EOPNOTSUPP  the system has no priority inheritance
 */
int ipc_mutex_init(struct ipc_mutex *m,
                   unsigned int flags);

/**
 * Locks a mutex.
 *
 * A mutex whose owner died is locked all the same: IPC_OWNER_DIED says that the data it guards can
 * be half-changed. Each owner in turn is told so until one calls ipc_mutex_consistent. The mutex
 * belongs to the calling thread until ipc_mutex_unlock. If the thread ends or executes a program
 * before, that counts as its death.
 *
 * timeout_ms is in milliseconds: -1 waits forever, 0 does not wait, IPC_WAIT_INTR waits until a
 * signal handler has run; a handler that runs before the call sleeps, or between two of its
 * sleeps (every 100 ms), does not end it. Waiters are not served in order, but a waiter that has
 * waited for a millisecond goes before a thread that comes later.
 *
 * Blocks as timeout_ms says. May be called from any thread and in the child after fork (which
 * does not hold what its parent holds); not from a signal handler. Not a cancellation point.
 * siglongjmp(3) out of a signal handler may leave the call while it sleeps.
 *
 * Returns 0 or IPC_OWNER_DIED with the mutex held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and another thread holds it
 *   EDEADLK     this thread holds it already
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      m is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  timeout_ms is IPC_WAIT_INTR, the mutex has IPC_MUTEX_F_PRIO_INHERIT, and the
 *               call would have to wait; or the process is the child of a bare clone(2)
 *   EPROTO      m is not a mutex that ipc_mutex_init made
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired, and another thread still holds it
 *   EXDEV       it was made in another PID namespace
 *
 * Asking to go first is the starvation mode of Go's sync.Mutex (2016); the check whether the owner
 * still exists is this library's.
 */
int ipc_mutex_lock(struct ipc_mutex *m,
                   int timeout_ms);

/**
 * Marks the data that a mutex guards as consistent.
 *
 * For its owner, after IPC_OWNER_DIED. Otherwise it changes nothing, and succeeds.
 *
 * Does not block. May be called from any thread and in the child after fork. Not a cancellation
 * point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      m is NULL or not aligned to 16
 *   EOPNOTSUPP  the process is the child of a bare clone(2)
 *   EPERM       this thread does not hold it
 *   EPROTO      m is not a mutex that ipc_mutex_init made
 *   ESTALE      it was made by another version of the library, or with another C library
 */
int ipc_mutex_consistent(struct ipc_mutex *m);

/**
 * Unlocks a mutex.
 *
 * If ipc_mutex_lock returned IPC_OWNER_DIED and ipc_mutex_consistent was not called, the next
 * owner is told the same.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno: ipc_mutex_consistent's, for the same reasons.
 */
int ipc_mutex_unlock(struct ipc_mutex *m);

/**
 * Returns which thread holds a mutex.
 *
 * Unless that is the calling thread, it can change at any time. After the death of an owner it
 * is 0 until another thread locks the mutex; where the kernel did not notice the death (see
 * ipc_mutex_init(3)), until a waiter has noticed it.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the thread's id as gettid(2) has it, 0 if the mutex is free, or -1 with errno:
 *   EINVAL     m is NULL or not aligned to 16
 *   EPROTO     m is not a mutex that ipc_mutex_init made
 *   ESTALE     it was made by another version of the library, or with another C library
 */
pid_t ipc_mutex_owner(const struct ipc_mutex *m);

/**
 * Makes a pair of connected sockets that no exec inherits.
 *
 * type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, optionally with SOCK_NONBLOCK or'ed in. Both
 * descriptors are close-on-exec, and the caller closes them. SOCK_SEQPACKET preserves message
 * boundaries, limits a message to the socket's send buffer, and reports that the peer has closed.
 * SOCK_DGRAM does not report that: a receiver then waits on.
 *
 * After fork both processes have both ends; each closes the one that it does not use.
 * Does not block. May be called from any thread and from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_fd unchanged:
 *   EINVAL           type is not one of these, or ret_fd is NULL
 *   EMFILE           the process has no descriptor left
 *   ENFILE           the system has no open file left
 *   ENOBUFS, ENOMEM  no memory is left
 */
int ipc_pair_open(int type,
                  int ret_fd[2]);

/**
 * Sends a whole buffer through a stream socket, in as many system calls as it takes.
 *
 * *inout_done is the number of bytes of buf that have been sent already (NULL: 0). The call
 * updates it, also on failure: the same call again continues there. timeout_ms is in milliseconds
 * for the whole call: -1 waits forever, 0 does not wait, and IPC_WAIT_INTR waits until a signal
 * handler has run. The descriptor may be blocking or not. A receiver that has closed is EPIPE, and
 * does not raise SIGPIPE. On a message-oriented socket each system call sends a message: use
 * ipc_msg_send there.
 *
 * Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
 * the child after fork; data that several threads send through one socket at once can mix.
 *
 * Returns len, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and not all could be sent at once
 *   EBADF      fd is not open
 *   EFAULT     buf is not memory of this process
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, *inout_done is more than len, or timeout_ms is below -2
 *   EMSGSIZE   the socket is message-oriented, and len is too long for a message
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN   the socket is not connected
 *   ENOTSOCK   fd is not a socket
 *   EPIPE      the receiver has closed, or this direction was shut down
 *   ETIMEDOUT  the time-out expired before all was sent
 */
ssize_t ipc_send_full(int fd,
                      const void *buf,
                      size_t len,
                      size_t *inout_done,
                      int timeout_ms);

/**
 * Receives a whole buffer from a stream socket, in as many system calls as it takes.
 *
 * *inout_done is the number of bytes of buf that have been received already (NULL: 0). The call
 * updates it, also on failure: the same call again continues there. timeout_ms is as for
 * ipc_send_full. On a message-oriented socket the kernel truncates a message that does not fit:
 * use ipc_msg_recv there.
 *
 * Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
 * the child after fork; several threads that receive from one socket at once share its bytes.
 *
 * Returns the number of bytes in buf: len, or less at the end of the stream (0: the stream ended
 * before the first byte, or len is 0); or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and not all could be received at once
 *   EBADF      fd is not open
 *   EFAULT     buf is not memory of this process
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, *inout_done is more than len, timeout_ms is below -2, or the
 *              socket is not connected
 *   ENOMEM     no memory is left
 *   ENOTCONN   the socket is not connected
 *   ENOTSOCK   fd is not a socket
 *   ETIMEDOUT  the time-out expired before all was received
 */
ssize_t ipc_recv_full(int fd,
                      void *buf,
                      size_t len,
                      size_t *inout_done,
                      int timeout_ms);

/**
 * Gets the credentials of the peer of a connected local socket.
 *
 * For a pair, these are of the process that made it; for other sockets, of the one that connected
 * or listened. They do not change when a descriptor is passed on. The kernel records them, so the
 * peer cannot forge them; but the pid may belong to another process by now. A pid of 0 or a uid
 * of 65534 stands for a process or user without an ID in the namespaces of the caller: kill(0,
 * sig) signals the caller's own process group, and all such users have the uid 65534.
 *
 * cred_size is sizeof(*ret_cred). An older, shorter structure gets the beginning; in a longer one
 * the rest becomes zero.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns 0, or -1 with errno and ret_cred unchanged:
 *   EBADF       fd is not open
 *   EINVAL      ret_cred is NULL, or cred_size is smaller than the structure's first version
 *   ENOTCONN    the kernel has recorded no peer
 *   ENOTSOCK    fd is not a socket
 */
int ipc_peer_cred(int fd,
                  struct ipc_cred *ret_cred,
                  size_t cred_size);

/**
 * Makes an unlocked reader-writer lock, whatever the memory held.
 *
 * All is as for ipc_mutex_init; flags is 0. Readers on different processors write to no common
 * cache line. A writer locks one mutex, and checks each slot that a reader has ever used.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL     l is NULL or not aligned to 16, or flags is not 0
 *   ENOMEM     no memory is left
 */
int ipc_rwlock_init(struct ipc_rwlock *l,
                    unsigned int flags);

/**
 * Locks for reading: up to IPC_RWLOCK_READERS_MAX threads at once, and no writer.
 *
 * IPC_OWNER_DIED says that a writer died, and the data that the lock guards can be half-changed:
 * each reader and writer is told so until a writer calls ipc_rwlock_consistent. The death of a
 * reader is not reported. A reader that comes while a writer waits for readers comes after the
 * writer, unless that is stopped: after half a second without progress of the writer the reader
 * goes first. A reader that comes when a writer unlocks may come before the next writer. A thread
 * may lock for reading more than once, and unlocks as often; where it would have to wait for a
 * writer that waits for its own first lock, the error is EDEADLK.
 *
 * The lock belongs to the calling thread until ipc_rwlock_rdunlock. timeout_ms is as for
 * ipc_mutex_lock.
 *
 * Blocks as timeout_ms says. May be called from any thread and in the child after fork (which
 * does not hold what its parent holds); not from a signal handler. Not a cancellation point.
 * After siglongjmp(3) out of a signal handler that interrupted the call, call
 * ipc_rwlock_wrunlock: the thread may hold a part of the lock.
 *
 * Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and it would have to wait
 *   EDEADLK     this thread holds it for writing; or it holds it for reading, and would wait
 *               for a thread that can wait for this very thread
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  the process is the child of a bare clone(2)
 *   EPROTO      l is not a lock that ipc_rwlock_init made
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired
 *   EXDEV       it was made in another PID namespace
 */
int ipc_rwlock_rdlock(struct ipc_rwlock *l,
                      int timeout_ms);

/**
 * Unlocks after reading.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      l is NULL or not aligned to 16
 *   EOPNOTSUPP  the process is the child of a bare clone(2)
 *   EPERM       this thread does not hold it for reading
 *   EPROTO      l is not a lock that ipc_rwlock_init made
 *   ESTALE      it was made by another version of the library, or with another C library
 */
int ipc_rwlock_rdunlock(struct ipc_rwlock *l);

/**
 * Locks for writing: no other thread has the lock in any way.
 *
 * All else is as for ipc_rwlock_rdlock. A writer waits for the writers before it and then for the
 * present readers, but not for readers that come later; a writer whose time-out expires lets
 * those in.
 *
 * After siglongjmp(3) out of a signal handler that interrupted the call, call
 * ipc_rwlock_wrunlock, or ipc_rwlock_wrlock again.
 *
 * Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and another thread holds it
 *   EDEADLK     this thread holds it already, for reading or writing
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  the process is the child of a bare clone(2)
 *   EPROTO      l is not a lock that ipc_rwlock_init made
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired, and another thread still holds it
 *   EXDEV       it was made in another PID namespace
 */
int ipc_rwlock_wrlock(struct ipc_rwlock *l,
                      int timeout_ms);

/**
 * Unlocks after writing.
 *
 * If ipc_rwlock_wrlock returned IPC_OWNER_DIED and ipc_rwlock_consistent was not called, the next
 * owners are told the same. The call also gives up what a wait holds that siglongjmp(3) has left.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno: ipc_rwlock_rdunlock's, for the same reasons.
 */
int ipc_rwlock_wrunlock(struct ipc_rwlock *l);

/**
 * Marks the data that a reader-writer lock guards as consistent.
 *
 * For the thread that holds it for writing, after IPC_OWNER_DIED. Otherwise it changes nothing,
 * and succeeds.
 *
 * Does not block. May be called from any thread and in the child after fork. Not a cancellation
 * point.
 *
 * Returns 0, or -1 with errno: ipc_rwlock_rdunlock's, for the same reasons; EPERM says that this
 * thread does not hold it for writing.
 */
int ipc_rwlock_consistent(struct ipc_rwlock *l);

/**
 * Gets or makes the reader-writer lock of a key.
 *
 * key is from ipc_ftok, a number that the programs agree on, or IPC_PRIVATE, which makes a new
 * lock each time. mode_flags is as for ipc_semget: IPC_CREAT makes the lock where there is none,
 * IPC_EXCL with it insists on making it, and the permission bits are the new lock's, or those
 * that are asked for. A process that locks, also for reading, needs alter permission (0200).
 *
 * The lock is a set of five semaphores. One of them marks the set as a lock, so that the set of
 * another program is not taken for one. Processes may start in any order and die at any
 * instruction: a set that is new and not marked yet is marked by the next open. The lock stays
 * until it is removed (ipc_semlock_remove, ipcrm), or the system is restarted. The id is valid in
 * every process, and need not be closed.
 *
 * Does not block; not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns the id, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations at once
 *   EACCES  the lock exists, and its permissions do not grant what mode_flags asks for
 *   EEXIST  the lock exists, and IPC_CREAT and IPC_EXCL are set
 *   EINVAL  mode_flags has other bits, or the system allows no set of five semaphores
 *   ENOENT  there is none, and IPC_CREAT is not set
 *   ENOMEM  no memory is left
 *   ENOSPC  the system has as many sets or semaphores as it allows
 *   EPROTO  the key's semaphore set is not such a lock
 */
int ipc_semlock_open(key_t key,
                     int mode_flags);

/**
 * Takes the lock for reading, together with other readers.
 *
 * Waits while a writer holds the lock, or is next. Readers and writers are served in the order
 * in which they come: neither can starve the other. (Only where a writer died with the lock, and
 * until that is repaired, can a reader come after writers that came later.) The lock belongs to
 * the process: any of its threads may give it back, the end of a thread does not, and the end
 * of the process does, however it ends, also by SIGKILL. A child made by fork does not have it.
 * Each call needs its ipc_semlock_rdunlock. Whoever reads already and locks again hangs if a
 * writer came meanwhile.
 *
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran.
 *
 * Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or IPC_OWNER_DIED: the lock is held too, but a writer died while it held the lock,
 * and nobody has said since (ipc_semlock_consistent) that what it guards is in order;
 * or -1 with errno:
 *   E2BIG      the system allows fewer than seven operations at once
 *   EACCES     the lock's permissions do not grant it (0200)
 *   EAGAIN     timeout_ms is 0, and the lock is not to be had
 *   EIDRM      the lock was removed meanwhile
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
 *              and continued
 *   EINVAL     there is no such lock (any more), or timeout_ms is below -2
 *   ENOMEM     no memory is left
 *   EPROTO     id is a set of fewer than four semaphores
 *   ERANGE     32767 read locks are held
 *   ETIMEDOUT  the time is over
 */
int ipc_semlock_rdlock(int id,
                       int timeout_ms);

/**
 * Gives back what ipc_semlock_rdlock took.
 *
 * That the process has a read lock to give back is the caller's to know: while other processes
 * read, the call takes one of their locks instead of failing, and the kernel gives it back when
 * the process ends. Nor is it checked that id is a lock: of another set it lowers the first
 * semaphore.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES  the lock's permissions do not grant it
 *   EIDRM   the lock was removed meanwhile
 *   EINVAL  there is no such lock (any more)
 *   ENOMEM  no memory is left; only where the process has no lock to give back
 *   EPERM   nobody reads
 */
int ipc_semlock_rdunlock(int id);

/**
 * Takes the lock for writing, alone.
 *
 * Waits while others hold the lock, in the order in which readers and writers come: a reader
 * that comes later waits for this writer. The lock belongs to the process, as that of
 * ipc_semlock_rdlock. Whoever holds the lock already, for reading or writing, waits for itself.
 * timeout_ms is as for ipc_semlock_rdlock; a writer whose time is over is no longer waited for.
 *
 * A writer that dies with the lock leaves a mark at it: each one that takes the lock from then
 * on, also for reading, is told so by IPC_OWNER_DIED. A writer that is told repairs what the
 * lock guards and calls ipc_semlock_consistent.
 *
 * Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or IPC_OWNER_DIED: the lock is held too, but a writer died while it held the lock,
 * and what it guards may be half changed; or -1 with errno:
 *   E2BIG      the system allows fewer than seven operations at once
 *   EACCES     the lock's permissions do not grant it (0200)
 *   EAGAIN     timeout_ms is 0, and the lock is not to be had
 *   EIDRM      the lock was removed meanwhile
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
 *              and continued
 *   EINVAL     there is no such lock (any more), or timeout_ms is below -2
 *   ENOMEM     no memory is left
 *   EPROTO     id is a set of fewer than four semaphores
 *   ETIMEDOUT  the time is over
 */
int ipc_semlock_wrlock(int id,
                       int timeout_ms);

/**
 * Gives back what ipc_semlock_wrlock took.
 *
 * Any thread of the process may do it; another process cannot. After IPC_OWNER_DIED, and without
 * ipc_semlock_consistent, the next one that takes the lock is told IPC_OWNER_DIED again.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations at once
 *   EACCES  the lock's permissions do not grant it
 *   EIDRM   the lock was removed meanwhile
 *   EINVAL  there is no such lock (any more)
 *   ENOMEM  no memory is left; only where the process does not hold the lock
 *   EPERM   the process does not hold the lock for writing
 *   EPROTO  id is a set of fewer than four semaphores
 */
int ipc_semlock_wrunlock(int id);

/**
 * Says that what the lock guards is in order again, after IPC_OWNER_DIED.
 *
 * To be called with the lock held for writing; those that take it afterwards are told nothing.
 * Where it was in order, the call does nothing.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations at once
 *   EACCES  the lock's permissions do not grant it
 *   EIDRM   the lock was removed meanwhile
 *   EINVAL  there is no such lock (any more)
 *   ENOMEM  no memory is left; only where the process does not hold the lock
 *   EPERM   the process does not hold the lock for writing
 *   EPROTO  id is a set of fewer than four semaphores
 */
int ipc_semlock_consistent(int id);

/**
 * Removes a lock, whoever holds it or waits for it: these fail with EIDRM, and later calls
 * with EINVAL. A lock of the same key that is opened afterwards is another one.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  there is no such lock (any more)
 *   EPERM   the lock is somebody else's
 */
int ipc_semlock_remove(int id);

/**
 * Makes a region of shared memory of size bytes, all zero, without a name.
 *
 * opts points to options, of opts_size bytes (sizeof(*opts)); NULL means the defaults. By default
 * the region is a sealed memfd: its size never changes, so no process can take the memory away
 * from the others. Other processes get it by fork, or by its descriptor, with ipc_msg_send and
 * ipc_shm_from_fd. With IPC_SHM_F_SOLE_WRITER the kernel does not map it for writing again,
 * whichever process has the descriptor: only this process, and its children by fork, can write.
 * With IPC_SHM_F_PUBLISH the region is a file on the tmpfs in /dev/shm, without a name until
 * ipc_shm_publish; it cannot be sealed, so the two flags exclude each other.
 *
 * With IPC_SHM_F_TRANSIENT, which needs PUBLISH, a name without users does not exist: the calls of
 * this library do not open the region again, and the next process that makes one of that name
 * replaces it. A user is a process that has a handle of the region, other than with RDONLY.
 *
 * layout, if it is not 0, is recorded with the region: ipc_shm_layout returns it, and
 * ipc_shm_open_or_create compares it. The file then has one more page behind the region, and so it
 * has with TRANSIENT.
 *
 * The call allocates all of the memory. A region without a name disappears with the last process
 * that has it.
 *
 * The caller closes the handle with ipc_shm_close. The handle also works in the child after fork,
 * which has its own copy to close.
 *
 * Does not block, but a large region takes time. May be called from any thread, and in the child
 * after fork; not from a signal handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   E2BIG       opts is from a newer version of the library and sets an option that this one
 *               does not have
 *   EACCES      PUBLISH: no permission to write /dev/shm
 *   EAGAIN      LOCK: not all of it could be locked
 *   EDQUOT      PUBLISH: the quota of /dev/shm is exhausted
 *   EFBIG       size exceeds RLIMIT_FSIZE, or the maximum size of a file
 *   EINVAL      ret_shm is NULL, size is 0, a flag, the mode or timeout_ms is not as above,
 *               opts_size is smaller than the structure's first version, SOLE_WRITER comes with
 *               PUBLISH or TRANSIENT without, or the kernel does not know SOLE_WRITER (before
 *               Linux 5.1)
 *   EMFILE      the process has no descriptor left
 *   ENFILE      the system has no open file left
 *   ENOENT      PUBLISH: there is no /dev/shm
 *   ENOLCK      TRANSIENT: the system has no memory for locks
 *   ENOMEM      no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
 *               RLIMIT_MEMLOCK
 *   ENOSPC      not enough memory: /dev/shm is too full, or the machine too small
 *   EOPNOTSUPP  PUBLISH: /dev/shm is not a tmpfs
 *   EPERM       LOCK: the process may not lock memory
 *   EROFS       PUBLISH: /dev/shm is read-only
 */
int ipc_shm_create(size_t size,
                   const struct ipc_shm_opts *opts,
                   size_t opts_size,
                   struct ipc_shm **ret_shm);

/**
 * Gives a name to a region that was made with IPC_SHM_F_PUBLISH. Initialise the region before.
 *
 * From then on ipc_shm_open and shm_open(3) find it. A name consists of a slash and 1 to 255 bytes
 * without a slash, and is not "/." or "/.."; the file is /dev/shm/name. A name that begins with
 * "/." and ends with ".lock" is reserved. The name stays until ipc_shm_unlink, whichever processes
 * die; that of a transient region ends with its last user. A region can have several names.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to write /dev/shm
 *   EBADF         the region's descriptor was closed
 *   EDQUOT        the quota of /dev/shm is exhausted
 *   EEXIST        the name is taken
 *   EINVAL        shm or name is NULL, the region was not made with PUBLISH, or the name is not
 *                 valid
 *   ENAMETOOLONG  the name is too long
 *   ENOENT        every name that the region had was removed; or there is no /dev/shm, or,
 *                 before Linux 6.10, no /proc
 *   ENOMEM        no memory is left
 *   ENOSPC        /dev/shm has no room for a name
 *   EPERM         the process has changed its user, and the region belongs to the former one; or
 *                 the name is a transient region of another user, without users
 *   EROFS         /dev/shm is read-only
 *   EXDEV         /dev/shm is not the same as when the region was made
 */
int ipc_shm_publish(struct ipc_shm *shm,
                    const char *name);

/**
 * Opens a region by its name.
 *
 * The name is as for ipc_shm_publish. flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT and
 * _LOCK, or'ed. A region from this library becomes visible only when it is complete; one from
 * shm_open(3) can be visible before. The file must be a regular file on tmpfs, and not a symbolic
 * link.
 *
 * With IPC_SHM_F_RDONLY the descriptor is open for reading only too. A process that has permission
 * to write the file can open it again for writing: the flag restrains only other users.
 *
 * A process that may write a named region may also truncate it. An access to the removed part then
 * raises SIGBUS. So use a named region only between processes that trust each other.
 *
 * The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout. It opens
 * a transient region while that has users; the caller becomes one, unless it uses RDONLY.
 *
 * The handle is as for ipc_shm_create. Does not block, but waits for at most 1 second if another
 * process is stopped while it opens the same transient region. May be called from any thread, and
 * in the child after fork; not from a signal handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES        the permissions do not allow it
 *   EAGAIN        LOCK: not all of it could be locked; or a process holds a lease on the file
 *   EBUSY         the region is transient, and a process that may read it keeps it locked, or one
 *                 that opens it is stopped
 *   EINVAL        name or ret_shm is NULL, the name is not valid or not that of a regular file, or
 *                 flags has an unknown bit
 *   ELOOP         it is the name of a symbolic link
 *   EMFILE        the process has no descriptor left
 *   ENAMETOOLONG  the name is too long
 *   ENFILE        the system has no open file left
 *   ENOENT        there is no region of this name, or a transient one without users
 *   ENOLCK        the region is transient, and the system has no memory for locks
 *   ENOMEM        no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
 *                 RLIMIT_MEMLOCK; or LOCK: a page cannot be allocated
 *   ENOSPC        PREFAULT: the memory is not allocated, and /dev/shm is full
 *   EOPNOTSUPP    /dev/shm is not a tmpfs
 *   EPERM         LOCK: the process may not lock memory
 *   EPROTO        the file is empty: another program has made it without a size; or PREFAULT: it
 *                 was truncated during the call
 *   EROFS         /dev/shm is read-only, and RDONLY is not set
 *   ESTALE        another version of the library has made the region
 */
int ipc_shm_open(const char *name,
                 unsigned int flags,
                 struct ipc_shm **ret_shm);

/**
 * Opens a region by its descriptor, which a peer has passed for example.
 *
 * flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT, _LOCK and _TRUST, or'ed. The file must be a
 * memfd that is sealed against shrinking, as ipc_shm_create makes it, and not of hugetlbfs: no
 * process can take such memory away. With PREFAULT or LOCK all of it must be allocated, as
 * ipc_shm_create does; otherwise a peer could make this process allocate memory, as much as the
 * file is long. With IPC_SHM_F_TRUST any regular file is accepted that is not empty and can be
 * mapped; after a truncation, an access to the removed part raises SIGBUS. A descriptor that is
 * open for reading only, and a region with a sole writer, need IPC_SHM_F_RDONLY.
 *
 * The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout.
 *
 * The call duplicates fd; the caller still closes its own. The handle is as for ipc_shm_create.
 * Does not block. May be called from any thread, and in the child after fork; not from a signal
 * handler. Not a cancellation point.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES  fd is not open for reading, or not for writing and RDONLY is not set
 *   EAGAIN  LOCK: not all of it could be locked
 *   EBADF   fd is not open, or open as a path only
 *   EINVAL  ret_shm is NULL, or flags has an unknown bit
 *   EIO     TRUST and PREFAULT: reading the file failed
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENODEV  TRUST: this file cannot be mapped
 *   ENOMEM  no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
 *           RLIMIT_MEMLOCK
 *   ENOSPC  TRUST and PREFAULT: the memory is not allocated, and the file system is full
 *   EPERM   the region is sealed against writing and RDONLY is not set, or LOCK: the process may
 *           not lock memory
 *   EPROTO  it is not a memfd sealed against shrinking; it is empty; PREFAULT or LOCK: it is
 *           not completely allocated; TRUST: it is not a regular file, or empty, or was truncated
 *           during the call
 *   ESTALE  another version of the library has made the region
 */
int ipc_shm_from_fd(int fd,
                    unsigned int flags,
                    struct ipc_shm **ret_shm);

/**
 * Opens a region that is a System V segment, by its key, or makes it.
 *
 * shmflg is as for ipc_shmget: permission bits, IPC_CREAT, IPC_EXCL, SHM_HUGETLB; SHM_RDONLY
 * attaches it for reading only. (SHM_NORESERVE is the same bit, so it is not available here.) A
 * new segment is all zeros, and other processes see it before its maker has filled it in. Its size
 * never changes, so no process can take the memory away. size may be smaller than that of an
 * existing segment, also 0; ipc_shm_size returns the actual size.
 *
 * The segment stays until a process removes it: ipc_shmctl with IPC_RMID, or ipcrm(1).
 * IPC_PRIVATE is not valid: ipc_shm_create makes memory without a key.
 *
 * If the call makes a segment and then fails, it removes the segment, unless another process has
 * attached it by then.
 *
 * The handle is as for ipc_shm_create; ipc_shm_close detaches. Does not block. May be called
 * from any thread, and in the child after fork; not from a signal handler. Not a cancellation
 * point.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES  the permissions of the segment do not allow it
 *   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
 *   EINVAL  ret_shm is NULL, key is IPC_PRIVATE, shmflg has SHM_RND, SHM_REMAP or SHM_EXEC, or
 *           size is 0 or over SHMMAX for a new segment
 *   ENFILE  the system has no open file left
 *   ENOENT  the key has no segment, and IPC_CREAT is not set
 *   ENOMEM  no memory or address space is left, or too few huge pages; or mlockall(MCL_FUTURE):
 *           more than RLIMIT_MEMLOCK
 *   ENOSPC  SHMMNI segments or SHMALL pages exist already
 *   EPERM   SHM_HUGETLB: the process lacks the privilege
 *   ESTALE  the key has a segment of fewer than size bytes
 */
int ipc_shm_attach(key_t key,
                   size_t size,
                   int shmflg,
                   struct ipc_shm **ret_shm);

/**
 * Returns the address of a region in this process. It is aligned to a page.
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the address; or NULL, with errno EINVAL, if shm is NULL.
 */
void *ipc_shm_addr(const struct ipc_shm *shm);

/**
 * Returns the size of a region in bytes, as its maker requested it.
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the size; or 0, with errno EINVAL, if shm is NULL.
 */
size_t ipc_shm_size(const struct ipc_shm *shm);

/**
 * Returns the descriptor of a region, to pass it to another process with ipc_msg_send.
 *
 * It is close-on-exec and belongs to the handle: ipc_shm_close closes it. If the file has lost its
 * last name, for example because systemd-logind has removed it (RemoveIPC), fstat(2) reports 0
 * links (st_nlink).
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the descriptor, or -1 with errno:
 *   EINVAL      shm is NULL
 *   EOPNOTSUPP  the region is from ipc_shm_attach, and has no descriptor
 */
int ipc_shm_fd(const struct ipc_shm *shm);

/**
 * Returns the layout tag of a region: the member layout of the options with which it was made.
 *
 * ipc_shm_open and ipc_shm_from_fd open a region with any tag; the caller compares it.
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the tag, or 0 if the region has none; or 0, with errno EINVAL, if shm is NULL.
 */
uint64_t ipc_shm_layout(const struct ipc_shm *shm);

/**
 * Tells whether a process that opens the name of a region now gets this region.
 *
 * The name is the one by which the region was opened, or the first one that it was given; for a
 * region from ipc_shm_attach it is the key. The answer is 0 after ipc_shm_unlink, after the region
 * was replaced (IPC_SHM_F_REPLACE_STALE), and after systemd-logind has removed the name
 * (RemoveIPC). It can be outdated when the call returns.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork. Not a cancellation point.
 *
 * Returns 1 or 0, or -1 with errno:
 *   EACCES      the process may not search /dev/shm; or, for a segment, its permissions
 *   EBADF       a read-only handle of a transient region: its descriptor was closed
 *   EINVAL      shm is NULL
 *   EOPNOTSUPP  the region has no name: it was not published, or is from ipc_shm_from_fd
 */
int ipc_shm_is_current(const struct ipc_shm *shm);

/**
 * Removes the name of a region. Processes that have the region open keep it.
 *
 * The name is as for ipc_shm_publish. Does not block. May be called from any thread, from a
 * signal handler, and in the child after fork. Not a cancellation point.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to write /dev/shm
 *   EINVAL        name is NULL, not valid, or not the name of a regular file
 *   ELOOP         it is the name of a symbolic link
 *   ENAMETOOLONG  the name is too long
 *   ENOENT        there is no region of this name
 *   EPERM         another user owns it, and the sticky bit of the directory forbids it
 *   EROFS         /dev/shm is read-only
 */
int ipc_shm_unlink(const char *name);

/**
 * Unmaps a region and closes its descriptor; other processes keep theirs. NULL does nothing.
 *
 * The address becomes invalid. A name stays, and so does a System V segment; the last user of a
 * transient region removes its name. Before, unlock all locks in the region that this process
 * holds.
 *
 * If the program has closed the descriptor, as a daemon does that closes all, and its number now
 * refers to another file, the call does not close that file. It compares the device and inode
 * numbers.
 *
 * Does not block. May be called from any thread, and in the child after fork, where it closes
 * the child's copy; not from a signal handler. Not a cancellation point.
 */
void ipc_shm_close(struct ipc_shm *shm);

/**
 * Opens a region by its name; if there is none, makes it, initialises it and publishes it.
 *
 * For programs that start in any order. Of all processes that call it at the same time, one
 * makes the region and runs its init; the others wait, and then open the published region. No
 * other process sees the memory before init has returned. If the first process dies, even
 * inside init, the next one makes a new region and runs its own init. It waits until every
 * child that was forked during the first init has ended or executed a program.
 *
 * init receives the address and size of the memory, which is all zeros, and arg. It returns 0,
 * or another value to make the call fail. A C++ exception may leave it, and so may
 * pthread_exit(3): the region is then removed and its name unlocked. longjmp(3) may not: the
 * name stays locked until the process ends. init must not open or create the same name;
 * another name is allowed. A NULL init leaves the zeros.
 *
 * opts is as for ipc_shm_create. PUBLISH is implied, SOLE_WRITER is not possible; the mode and
 * TRANSIENT apply to a new region. timeout_ms limits the time that the call waits for other
 * processes: 0 is the default and sets no limit, and so does -1; with IPC_WAIT_INTR a signal
 * handler ends the wait.
 *
 * An existing region is opened if it has at least size bytes and the same layout tag;
 * ipc_shm_size returns its size. If opts->layout is 0, every layout tag is accepted. Any other
 * region is stale: the call fails with ESTALE. With IPC_SHM_F_REPLACE_STALE it makes a new
 * region instead, and gives it the name: exactly one process does so, and the others open the
 * new region. The processes that have the old region open keep it; ipc_shm_is_current returns
 * 0 for it. A transient region without users is replaced without this flag.
 *
 * An existing region is opened without a lock. To make one, a process locks the file .NAME.lock
 * in /dev/shm, whose mode is 0600. Only this call and ipc_shm_publish respect the lock. If
 * another program publishes the name in the meantime, the call opens that region and discards
 * its own.
 *
 * Blocks while another process makes the region of this name. May be called from any thread,
 * and in the child after fork; not from a signal handler. Not a cancellation point: the
 * cancellation of the thread is deferred until the call returns, also while init runs.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged; ipc_shm_create's and ipc_shm_open's
 * errors, and:
 *   EACCES     timeout_ms: the lock file of another user is still there
 *   ECANCELED  init has not returned 0
 *   EEXIST     the path of the lock file is not a regular file
 *   EINTR      IPC_WAIT_INTR: a signal handler has run
 *   EINVAL     timeout_ms is less than -2, or the name begins with "/." and ends with ".lock"
 *   ENOENT     there is no /dev/shm or, before Linux 6.10, no /proc
 *   ENOLCK     the system has no memory for locks
 *   EPERM      a region of another user must be replaced, and the sticky bit of the directory
 *              forbids it
 *   ESTALE     the region exists and has fewer than size bytes or another layout tag
 *   ETIMEDOUT  timeout_ms has expired
 */
extern int ipc_shm_open_or_create(const char *name,
                                  size_t size,
                                  int (*init)(void *addr, size_t size, void *arg),
                                  void *arg,
                                  const struct ipc_shm_opts *opts,
                                  size_t opts_size,
                                  struct ipc_shm **ret_shm);

/**
 * Starts a program that has one end of a socket pair as its standard input and output.
 *
 * The call searches for file as execvp(3) does. argv holds the arguments, argv[0] the name by
 * convention, with NULL at its end. opts points to options, of opts_size bytes (sizeof(*opts));
 * NULL means the defaults. *ret_fd becomes the caller's end of the pair, which is close-on-exec
 * and blocking. The caller waits for the pid, with waitpid(2).
 *
 * The child starts with no signal blocked and the default action for each. Its descriptors are
 * its end of the pair, its standard input, output and error (/dev/null if the caller has them
 * closed or close-on-exec), and those of opts->fds.
 *
 * A socket cannot be opened by a name: to open /dev/stdin or /dev/stdout in the child is ENXIO.
 * A program that opens these names needs pipes in opts->fds, and another opts->child_fd.
 *
 * Blocks until the program has started. May be called from any thread of a multithreaded program,
 * and in the child after fork; not from a signal handler.
 * Not a cancellation point.
 *
 * Returns the pid, or -1 with errno, ret_fd unchanged and no child left:
 *   E2BIG    argv and the environment are too long; or opts is from a newer version of the
 *            library and sets an option that this one does not have
 *   EACCES   the permissions of the program, or of a directory in its path, do not allow it
 *   EAGAIN   RLIMIT_NPROC
 *   EBADF    a descriptor of opts->fds is not open, or a number for the child is too high
 *            for RLIMIT_NOFILE
 *   EINVAL   file, argv, argv[0] or ret_fd is NULL, a flag, type or number in opts is not
 *            valid, two descriptors get the same number, or opts_size is smaller than the
 *            structure's first version
 *   EMFILE   the process has no descriptor left, or none above the child's numbers
 *   ENFILE   the system has no open file left
 *   ENOENT   the program, its interpreter or opts->cwd does not exist
 *   ENOEXEC  the file is not a program (and no shell is tried)
 *   ENOMEM   no memory is left
 *   and the other errors of execve(2) and chdir(2)
 */
pid_t ipc_spawn(const char *file,
                char *const argv[],
                const struct ipc_spawn_opts *opts,
                size_t opts_size,
                int *ret_fd);

/**
 * Returns the version of the library that the program runs with, such as "0.1.0".
 *
 * UNIXIPC_VERSION is the version of the header that it was compiled with; the
 * two can differ where a newer shared library was installed since.
 *
 * The string is constant and never freed. Does not block; may be called from
 * any thread, from a signal handler, and in the child after fork. Cannot fail.
 */
const char *ipc_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNIXIPC_H */

#ifdef UNIXIPC_SHADOW
#pragma GCC diagnostic pop
#undef UNIXIPC_SHADOW
#endif
