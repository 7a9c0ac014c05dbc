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

/**
 * The version of the header as text; ipc_version returns the library's.
 */
#define UNIXIPC_VERSION "0.1.0"


/**
 * A flag of ipc_cell_init: a store wakes those who wait in ipc_cell_wait, for the price of a
 * system call.
 */
#define IPC_CELL_F_WAITABLE 1

/**
 * A flag of ipc_cell_open: nothing is stored, so that the memory may be mapped read-only.
 */
#define IPC_CELL_F_RDONLY 2

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
 * whole ones. This is so in any case, because it is the faster way too.
 */
#define IPC_FIFO_F_PACKET 8

/**
 * A flag of ipc_fifo_create: a FIFO that exists already will do.
 */
#define IPC_FIFO_F_EXIST_OK 16

/**
 * The longest record, in bytes: PIPE_BUF without the header of four bytes.
 */
#define IPC_FIFO_RECORD_MAX 4092

/**
 * The longest message on a stream, in bytes: 1 GiB.
 */
#define IPC_MSG_MAX 1073741824

/**
 * How many descriptors a message can carry.
 */
#define IPC_MSG_FDS_MAX 253

/**
 * A time-out: wait for ever, but end with EINTR when a signal handler ran. A handler that
 * runs before the call has begun to wait does not end it.
 */
#define IPC_WAIT_INTR -2

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
 * A cell in memory that this process has mapped: where it is, and what was found there when
 * it was opened. The numbers in the memory itself are not looked at again.
 */
struct ipc_cell;

/**
 * Who is at the other end of a socket.
 */
struct ipc_cred {
    /**
     * the process; 0 where it has no number in this process's namespace
     */
    pid_t pid;
    /**
     * its effective user
     */
    uid_t uid;
    /**
     * its effective group
     */
    gid_t gid;
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
 * How ipc_spawn starts a program. All zero bytes are the defaults.
 */
struct ipc_spawn_opts {
    /**
     * the environment, as execve(2) takes it; NULL: the caller's
     */
    char *const *envp;
    /**
     * the working directory; NULL: the caller's. A file or path without a leading slash counts from here.
     */
    const char *cwd;
    /**
     * descriptors that the child gets besides its end of the pair
     */
    const struct ipc_spawn_fd *fds;
    /**
     * how many
     */
    size_t nfds;
    /**
     * the type of the pair, without flags; 0: SOCK_STREAM
     */
    int type;
    /**
     * the number of the child's end of the pair; 0: it is standard input and output.
     * With another number, standard input and output are the caller's unless fds says otherwise.
     */
    int child_fd;
    /**
     * IPC_SPAWN_F_STDERR_NULL, or 0: standard error is the caller's unless fds says otherwise
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
 * How much shared memory a cell takes for values of up to value_size bytes: several times
 * that, since old values stay while they may be read.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns the number of bytes, or 0 if value_size is 0 or larger than there can be memory for.
 * errno is left alone.
 */
size_t ipc_cell_bytes(size_t value_size);

/**
 * Makes a cell: a value of 1 to value_size bytes that processes share, still without a value.
 *
 * mem is aligned to 16 bytes, has mem_size bytes, at least ipc_cell_bytes(value_size), and may
 * have anything in them, but no cell that is still used. It should be memory that no other
 * process can truncate (System V, or a sealed memfd): a truncated mapping is SIGBUS for who
 * touches it. It belongs to the caller, and stays mapped until ipc_cell_close. flags is 0 or
 * IPC_CELL_F_WAITABLE. *ret_cell becomes a handle, which is this process's: another process
 * opens the same memory with ipc_cell_open. A process that is killed before the cell is made
 * leaves none (EPROTO for who opens it).
 *
 * Does not block. May be called from any thread and in the child after fork; not from a
 * signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, flags has an unknown one, or
 *           value_size is 0 or larger than there can be memory for
 *   ENOMEM  no memory is left for the handle, or for a lock in the C library
 *   ENOSPC  mem_size is less than ipc_cell_bytes(value_size)
 */
int ipc_cell_init(void *mem,
                  size_t mem_size,
                  size_t value_size,
                  unsigned int flags,
                  struct ipc_cell **ret_cell);

/**
 * Opens a cell that a process has made with ipc_cell_init.
 *
 * mem is where the same memory is mapped here, aligned to 16 bytes and with mem_size bytes.
 * flags is 0, or IPC_CELL_F_RDONLY for memory that is mapped read-only: then, and before the
 * first ipc_cell_store in any case, nothing is written to it. What is there may be anything,
 * and may change at any time: the sizes are checked once and kept in the handle, and whatever
 * another process writes, ipc_cell_load and ipc_cell_wait stay within mem_size bytes.
 *
 * The memory belongs to the caller, and stays mapped until ipc_cell_close. The handle works
 * in the child after fork, where it is a second one to be closed.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a
 * signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, or flags has an unknown one
 *   ENOMEM  no memory is left for the handle
 *   EPROTO  there is no cell, or not yet, or it is larger than mem_size
 *   ESTALE  it is a cell of another version of the library, with another layout
 */
int ipc_cell_open(const void *mem,
                  size_t mem_size,
                  unsigned int flags,
                  struct ipc_cell **ret_cell);

/**
 * Replaces the value by len bytes, from 1 to ipc_cell_size.
 *
 * Readers see the old value until all of the new one is there, then the new one, and never
 * a part of either; so it is too if this process is killed meanwhile, at whatever instruction.
 * Each store gives the value a version: the first 1, each other one more than the one before.
 * Several may store, one after the other: timeout_ms is how long to wait for the others, in
 * milliseconds; -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a signal handler ran. A
 * writer that dies does not stop the others. A cell made with IPC_CELL_F_WAITABLE wakes those
 * who wait for it, with one system call.
 *
 * Those who store to a cell have to trust all who can write to its memory, because the lock
 * between them is there; those who only load and wait need not.
 *
 * Blocks as timeout_ms says, and only while another writer stores. May be called from any
 * thread, by several at once, and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and nothing stored:
 *   EAGAIN     timeout_ms is 0, and another one is storing
 *   EBADF      the handle is for reading only (IPC_CELL_F_RDONLY)
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     c or value is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is larger than ipc_cell_size
 *   ENOSYS     a filter on system calls forbids the one that wakes those who wait
 *   EPROTO     this is no cell any more: somebody has overwritten it
 *   ESTALE     the lock in the cell is another C library's than this process's
 *   ETIMEDOUT  the time is over, and another one is still storing
 *
 * The algorithm is a row of seqlocks (Lameter, "Effective synchronization on Linux/NUMA
 * systems", 2005) of which the next in turn is written and the last complete one is read.
 */
int ipc_cell_store(struct ipc_cell *c,
                   const void *value,
                   size_t len,
                   int timeout_ms);

/**
 * Copies the current value, all of one version, to a buffer of cap bytes.
 *
 * *ret_version becomes its version; ret_version may be NULL. Nothing is written to the shared
 * memory, and no lock is taken: readers do not disturb each other, and hinder no writer.
 * Behind the value, within cap bytes, there can be traces of another one that writers replaced
 * meanwhile. After EAGAIN or EPROTO the buffer can have anything in it; after another error
 * likewise, if writers were at work. *ret_version is untouched after any error.
 *
 * Does not block, whatever the writers do. May be called from any thread, by several at once,
 * from a signal handler, and in the child after fork.
 *
 * Returns the value's length, or -1 with errno:
 *   EAGAIN    writers replaced the value more often during each of 64 tries than the cell has
 *             slots (at least four): not seen to happen, except with hostile writers
 *   EINVAL    c or value is NULL, or cap is 0
 *   EMSGSIZE  the value is longer than cap
 *   ENODATA   nothing has been stored yet
 *   EPROTO    this is no cell any more: somebody has overwritten it
 */
ssize_t ipc_cell_load(const struct ipc_cell *c,
                      void *value,
                      size_t cap,
                      uint64_t *ret_version);

/**
 * Waits until the value's version is another than seen: what ipc_cell_load gave as
 * *ret_version, or 0 to wait for the first value.
 *
 * It sleeps meanwhile, and may do so where the memory is mapped read-only. The cell has to be
 * made with IPC_CELL_F_WAITABLE. There may have been several stores when it returns.
 * timeout_ms is as for ipc_cell_store.
 *
 * Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the version is still seen
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      c is NULL, or timeout_ms is below -2
 *   EOPNOTSUPP  the cell was made without IPC_CELL_F_WAITABLE
 *   EPROTO      this is no cell any more: somebody has overwritten it
 *   ETIMEDOUT   the time is over, and the version is still seen
 */
int ipc_cell_wait(const struct ipc_cell *c,
                  uint64_t seen,
                  int timeout_ms);

/**
 * The largest value of a cell: the value_size with which it was made.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns the number of bytes, or 0 if c is NULL.
 */
size_t ipc_cell_size(const struct ipc_cell *c);

/**
 * Frees a handle. The cell and its memory stay as they are. NULL is allowed.
 *
 * Does not block. May be called from any thread, once nobody uses the handle any more, and in
 * the child after fork; not from a signal handler. Cannot fail.
 */
void ipc_cell_close(struct ipc_cell *c);

/**
 * Creates a FIFO with exactly this mode, whatever the umask.
 *
 * mode has the permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: a FIFO of that
 * name is then taken as it is, and given the mode. Whoever is to send needs write permission,
 * whoever is to receive read permission, and for IPC_FIFO_F_PERSIST both.
 *
 * Does not block, except for the file system. May be called from any thread and in the child
 * after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        a folder of the path may not be searched, or the last one not written
 *   EDQUOT        the quota of the file system is used up
 *   EEXIST        path exists, and is not a FIFO or EXIST_OK is not set
 *   EINVAL        path is NULL, mode has other bits, or flags an unknown one
 *   ELOOP         too many symbolic links in the path
 *   EMFILE        the process has no descriptor left, and the umask is in the way of the mode
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE        the system has no open file left, likewise
 *   ENOENT        a folder of the path does not exist, or path is empty; or there is no /proc,
 *                 and the umask is in the way of the mode
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a folder
 *   EPERM         the FIFO is somebody else's and has another mode, or the file system has none
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
 * until there is a reader, also one that opens the FIFO with open(2); it sleeps meanwhile. A
 * persistent reader is a writer itself: it does not wait, and reads no end of the session.
 * Only a FIFO is opened, and no symbolic link that leads to one.
 *
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran.
 *
 * The descriptor is the caller's to close, close-on-exec, and non-blocking: it is made to be
 * polled, and has to stay non-blocking for the time-outs of ipc_fifo_send and ipc_fifo_recv.
 *
 * Blocks as timeout_ms says; waiting takes up to three more descriptors. May be called from
 * any thread and in the child after fork; not from a signal handler.
 *
 * Returns the descriptor, or -1 with errno:
 *   EACCES     the permissions do not grant it
 *   EAGAIN     timeout_ms is 0, and the other side is not there
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     path is NULL or not a FIFO, flags are not as above, or timeout_ms is below -2
 *   ELOOP      path is a symbolic link, or has too many in it
 *   EMFILE     the process has no descriptor left
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE     the system has no open file left
 *   ENOENT     path does not exist, or was removed while the call waited
 *   ENOMEM     no memory is left
 *   ENOTDIR    a part of the path is not a folder
 *   ETIMEDOUT  the time is over, and the other side has not come
 */
int ipc_fifo_open(const char *path,
                  unsigned int flags,
                  int timeout_ms);

/**
 * Sends a record: whole, and never mixed with another.
 *
 * fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. Before the record goes
 * a header of four bytes: the letters uf, and the length as two bytes, the lower first.
 * timeout_ms is as for ipc_fifo_open. A reader that is gone is EPIPE, and no SIGPIPE, whatever
 * the program does with that signal.
 *
 * Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno and nothing sent:
 *   EAGAIN     timeout_ms is 0, and the FIFO is full
 *   EBADF      fd is not open for writing
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is over IPC_FIFO_RECORD_MAX
 *   EPIPE      there is no reader any more
 *   ETIMEDOUT  the time is over, and the FIFO is still full
 */
int ipc_fifo_send(int fd,
                  const void *rec,
                  size_t len,
                  int timeout_ms);

/**
 * Receives a record of up to cap bytes.
 *
 * fd is from ipc_fifo_open. A record longer than cap is EMSGSIZE and gone; the next receive
 * gives the next record. Of several readers each gets whole records. timeout_ms is as for
 * ipc_fifo_open.
 *
 * Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns the record's length, 0 at the end of the session (the last writer is gone, and the
 * FIFO is empty; to serve another session, close and open it again), or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no record is there
 *   EBADF      fd is not open for reading
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
 *   EMSGSIZE   the record was longer than cap
 *   EPROTO     what came was not written by ipc_fifo_send; it is gone, and with it records
 *              that were written behind it before it was read
 *   ETIMEDOUT  the time is over
 */
ssize_t ipc_fifo_recv(int fd,
                      void *rec,
                      size_t cap,
                      int timeout_ms);

/**
 * Removes a FIFO's name, if it is a FIFO. Who has it open keeps it.
 *
 * Does not block, except for the file system. May be called from any thread, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        a folder of the path may not be searched, or the last one not written
 *   EINVAL        path is NULL or not a FIFO
 *   ELOOP         path is a symbolic link, or has too many in it
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        path does not exist, or is empty
 *   ENOTDIR       a part of the path is not a folder
 *   EPERM         the folder's sticky bit forbids it
 *   EROFS         the file system is read-only
 */
int ipc_fifo_unlink(const char *path);

/**
 * Sends a message, whole or not at all, and descriptors with it.
 *
 * fd is a local socket (AF_UNIX). On SOCK_SEQPACKET and SOCK_DGRAM the kernel keeps messages apart, and len is limited by the
 * socket's send buffer. On SOCK_STREAM a header of eight bytes goes before each: the letters
 * uipc, and the length as four bytes, the lowest first; the other side receives with
 * ipc_msg_recv, and each end has one sender and one receiver at a time.
 *
 * The nfds descriptors of fds (NULL where nfds is 0) are duplicated into the receiver; the
 * sender's stay open.
 *
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran. On a stream, a message of up to 32 KiB is sent at once or not at all
 * (with a send buffer of the usual size). A longer one that the time-out cuts ends the sending
 * direction: ETIMEDOUT now, EPIPE from then on, and the receiver reads EPROTO.
 *
 * Blocks as timeout_ms says. May be called from any thread (on a stream by one at a time),
 * from a signal handler, and in the child after fork. No SIGPIPE.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the message could not be sent at once; nothing was sent
 *   EBADF       fd or one of fds is not open
 *   EFAULT      buf or fds is not memory of this process
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran; nothing was sent
 *   EINVAL      len is 0, nfds is over IPC_MSG_FDS_MAX, buf or fds is NULL, or timeout_ms is
 *               below -2
 *   EMSGSIZE    the message is too long for the socket, or over IPC_MSG_MAX
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN    the socket is not connected; for SOCK_DGRAM also that the receiver is gone,
 *               from the second send on
 *   ENOTSOCK    fd is not a socket
 *   EOPNOTSUPP  fd is a socket of another type; or it is not local, and there are descriptors
 *   EPIPE       the receiver is gone, or this direction has ended
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
 * A message longer than cap is EMSGSIZE and gone; the next receive gives the next message.
 * timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
 * signal handler ran. On a stream, a time-out inside a message (one longer than 32 KiB, or
 * a peer that stops) ends the receiving direction: ETIMEDOUT now, 0 from then on, and the
 * peer's next send is EPIPE. So is what is not a message: EPROTO. Where long messages and
 * time-outs go together, ipc_recv_full can go on where it stopped.
 *
 * Blocks as timeout_ms says. May be called from any thread (on a stream by one at a time),
 * from a signal handler, and in the child after fork.
 *
 * Returns the message's length, 0 at the end of the session, or -1 with errno. ret_fds and
 * inout_nfds are then as they were; what is in buf is not defined:
 *   EAGAIN      timeout_ms is 0, and no message is there
 *   EBADF       fd is not open
 *   EFAULT      buf is not memory of this process
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      cap is 0, buf is NULL, ret_fds is NULL and inout_nfds asks for descriptors,
 *               timeout_ms is below -2, or fd is a stream that is not connected
 *   EMFILE      the process has no descriptor left for those that came: the message is gone,
 *               and all of its descriptors are closed
 *   EMSGSIZE    the message was longer than cap
 *   ENOMEM      no memory is left
 *   ENOTCONN    the socket is not connected
 *   ENOTSOCK    fd is not a socket
 *   EOPNOTSUPP  fd is a socket of another type
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
 * Makes a pair of connected sockets that no exec inherits.
 *
 * type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, with SOCK_NONBLOCK or'ed in where
 * wanted; both descriptors are close-on-exec, and the caller's to close. SOCK_SEQPACKET keeps
 * messages apart, has a largest one (as much as the socket's send buffer holds), and tells
 * of the other end's closing; SOCK_DGRAM does not tell: whoever waits on it then waits on.
 *
 * After fork both processes have both ends; each closes the one that it does not use.
 * Does not block. May be called from any thread and from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_fd as it was:
 *   EINVAL           type is none of these, or ret_fd is NULL
 *   EMFILE           the process has no descriptor left
 *   ENFILE           the system has no open file left
 *   ENOBUFS, ENOMEM  no memory is left
 */
int ipc_pair_open(int type,
                  int ret_fd[2]);

/**
 * Sends all of a buffer through a stream socket, however many calls that takes.
 *
 * inout_done says how many bytes of buf have been sent already (NULL: none), and is kept
 * up to date, also on failure: the same call again goes on where this one stopped.
 * timeout_ms is in milliseconds for the whole call: -1 waits for ever, 0 not at all, and
 * IPC_WAIT_INTR until a signal handler ran. The descriptor may be blocking or not. A
 * receiver that is gone is EPIPE, and no SIGPIPE. On a socket that keeps messages apart
 * each call to the kernel is a message: ipc_msg_send is for those.
 *
 * Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
 * the child after fork; what several threads send through one socket at once can mix.
 *
 * Returns len, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and not all could be sent at once
 *   EBADF      fd is not open
 *   EFAULT     buf is not memory of this process
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, inout_done says more than len, or timeout_ms is below -2
 *   EMSGSIZE   the socket keeps messages apart, and this is too long for one
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN   the socket is not connected
 *   ENOTSOCK   fd is not a socket
 *   EPIPE      the receiver is gone, or this direction was shut down
 *   ETIMEDOUT  the time is over, and not all has been sent
 */
ssize_t ipc_send_full(int fd,
                      const void *buf,
                      size_t len,
                      size_t *inout_done,
                      int timeout_ms);

/**
 * Receives a whole buffer from a stream socket, however many calls that takes.
 *
 * inout_done says how many bytes of buf have been received already (NULL: none), and is
 * kept up to date, also on failure: the same call again goes on where this one stopped.
 * timeout_ms is as for ipc_send_full. From a socket that keeps messages apart the kernel
 * cuts a message that does not fit: ipc_msg_recv is for those.
 *
 * Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
 * the child after fork; several threads that receive from one socket at once share its bytes.
 *
 * Returns how much of buf is filled: len, or less at the end of the stream (0: the end came
 * first; a len of 0 is 0 too); or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and not all was there
 *   EBADF      fd is not open
 *   EFAULT     buf is not memory of this process
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, inout_done says more than len, timeout_ms is below -2, or the
 *              socket is not connected
 *   ENOMEM     no memory is left
 *   ENOTCONN   the socket is not connected
 *   ENOTSOCK   fd is not a socket
 *   ETIMEDOUT  the time is over, and not all has been received
 */
ssize_t ipc_recv_full(int fd,
                      void *buf,
                      size_t len,
                      size_t *inout_done,
                      int timeout_ms);

/**
 * Tells who is at the other end of a connected local socket.
 *
 * For a pair that is the process that made it, for other sockets the one that connected or
 * listened; it does not change when a descriptor is passed on. The kernel says it, so the
 * peer cannot lie; but its pid may belong to another process by now. cred_size is
 * sizeof(*ret_cred): a shorter structure gets the beginning, in a longer one the rest is zeroed.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns 0, or -1 with errno and ret_cred as it was:
 *   EBADF       fd is not open
 *   EINVAL      ret_cred is NULL, or cred_size is 0
 *   ENOTCONN    there is no peer that the kernel knows
 *   ENOTSOCK    fd is not a socket
 */
int ipc_peer_cred(int fd,
                  struct ipc_cred *ret_cred,
                  size_t cred_size);

/**
 * Starts a program that has the other end of a pair as its standard input and output.
 *
 * file is looked for as execvp(3) does it; argv is what the program gets, argv[0] its name by
 * custom, with a NULL at the end. opts (NULL: the defaults; opts_size is sizeof(*opts)) says
 * more. *ret_fd becomes the caller's end of the pair, which is close-on-exec and blocking.
 * The pid is the caller's to wait for.
 *
 * The child begins as a fresh program does: no signal is blocked, each has its default
 * action, and it has no descriptor but its end, its standard input, output and error
 * (/dev/null where the caller has them closed), and those of opts->fds.
 *
 * Blocks until the program has begun. May be called from any thread of a program with several,
 * and in the child after fork; not from a signal handler.
 *
 * Returns the pid, or -1 with errno and ret_fd as it was; no child is left then:
 *   E2BIG    argv and the environment are too long; or opts is from a newer version of the
 *            library, and asks for what this one does not have
 *   EACCES   the program or a folder of its path may not be used
 *   EAGAIN   RLIMIT_NPROC
 *   EBADF    a descriptor of opts->fds is not open, or a number for the child is too high
 *            for RLIMIT_NOFILE
 *   EINVAL   file, argv, argv[0] or ret_fd is NULL, a flag, type or number in opts is not
 *            one, or two descriptors get the same number
 *   EMFILE   the process has no descriptor left, or none above the child's numbers
 *   ENFILE   the system has no open file left
 *   ENOENT   the program, its interpreter or opts->cwd does not exist
 *   ENOEXEC  the file is not a program (and no shell is tried)
 *   ENOMEM   no memory is left
 *   and what else execve(2) and chdir(2) say
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
