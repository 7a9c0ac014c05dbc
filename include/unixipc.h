/*
 * unixipc: local IPC for C and C++ programs on Linux.
 *
 *     cc prog.c $(pkg-config --cflags --libs unixipc)
 *
 * unixipc(7) is the overview; each function has a manual page in section 3.
 *
 * Generated from the source of the library: changes made here are lost.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef UNIXIPC_H
#define UNIXIPC_H

#if !defined(__linux__) || !defined(__LP64__)
#error "unixipc supports Linux on 64-bit (LP64) systems only"
#endif

/* Types and constants of the parameters: size_t, SOCK_STREAM, IPC_CREAT, SHM_RDONLY and others. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/uio.h>
#include <time.h>

struct timespec; /* in strict C99, <time.h> does not declare it */

/* The alignment of objects in shared memory, in a form that C99 and C++11 accept. */
#define UNIXIPC_ALIGNED(n) __attribute__((__aligned__(n)))

/*
 * A function and a structure may have the same name, like stat. g++ -Wshadow warns that the
 * function hides the constructor.
 */
#if defined(__cplusplus) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#define UNIXIPC_SHADOW
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version -------------------------------------------------------------------------------------- */

/**
 * The version of this header as text; ipc_version returns that of the library.
 */
#define UNIXIPC_VERSION "0.1.0"

/**
 * The version of this header: incremented for incompatible changes.
 */
#define UNIXIPC_VERSION_MAJOR 0

/**
 * The version of this header: incremented for additions.
 */
#define UNIXIPC_VERSION_MINOR 1

/**
 * The version of this header: incremented for corrections.
 */
#define UNIXIPC_VERSION_PATCH 0

/**
 * The version of this header as one number, for `#if`: 10203 is 1.2.3.
 */
#define UNIXIPC_VERSION_NUMBER \
    (((UNIXIPC_VERSION_MAJOR * 10000) + (UNIXIPC_VERSION_MINOR * 100)) + UNIXIPC_VERSION_PATCH)

/**
 * Returns the version of the library that the program runs with, such as "0.1.0".
 *
 * UNIXIPC_VERSION is the version of the header that the program was compiled with. The two differ
 * if another version of the shared library was installed since then.
 *
 * The string is constant; do not free it. Does not block. May be called from any thread, from a
 * signal handler, and in the child after fork. Cannot fail.
 */
const char *ipc_version(void);

/* Time-outs, and return values of locks -------------------------------------------------------- */

/**
 * A time-out: wait without limit, but fail with EINTR after a signal handler has run. A handler
 * that runs before the call starts to wait does not end the call. Nor does a handler that runs
 * between two waits of one call; the lock functions wait in several steps.
 */
#define IPC_WAIT_INTR (-2)

/**
 * Returned by a lock function that acquired the lock, if the last owner died while it held the
 * lock, or released it without marking the data as consistent.
 */
#define IPC_OWNER_DIED 1


/* ==============================================================================================
 * Layer 1: the system's own calls, unchanged
 * ============================================================================================== */

/* Socket pairs, FIFOs and keys ----------------------------------------------------------------- */

/**
 * Creates a pair of connected sockets: socketpair(2).
 *
 * domain is AF_UNIX; type is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, optionally with
 * SOCK_CLOEXEC and SOCK_NONBLOCK or'ed in; protocol is 0. The caller closes both descriptors.
 * After fork both processes have both descriptors.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno; even then the kernel may have written to sv:
 *   EAFNOSUPPORT     the system does not support this domain
 *   EFAULT           sv is not writable memory of this process
 *   EINVAL           type is not a socket type, or has an unknown flag
 *   EMFILE           the process has no descriptor left (RLIMIT_NOFILE)
 *   ENFILE           the system has no open file left
 *   ENOBUFS, ENOMEM  no memory is left
 *   EOPNOTSUPP       this domain does not support pairs
 *   EPROTONOSUPPORT  the domain does not support this protocol
 *   ESOCKTNOSUPPORT  the domain does not support this type
 */
int ipc_socketpair(int domain, int type, int protocol, int sv[2]);

/**
 * Creates a FIFO: mkfifo(3).
 *
 * Its permissions are mode without the bits of the umask. The name stays until a process unlinks
 * it.
 *
 * Does not block, except for the file system. May be called from any thread, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to search a directory of the path, or to write the last one
 *   EDQUOT        the quota of the file system is exhausted
 *   EEXIST        path exists already, as a file of any type or a dangling symbolic link
 *   EFAULT        path is not memory of this process
 *   EINVAL        mode has the bits of another file type
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        a directory of the path does not exist, or path is empty
 *   ENOMEM        the kernel has no memory left
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         the file system does not support FIFOs
 *   EROFS         the file system is read-only
 */
int ipc_mkfifo(const char *path, mode_t mode);

/**
 * Derives a key for ipc_shmget and ipc_semget from an existing file: ftok(3).
 *
 * The same file and the same lowest eight bits of proj_id give the same key as the C library's
 * ftok. The key contains only some bits of the inode and device numbers of the file, so two files
 * can have the same key. A file that was removed and created again has another key.
 *
 * Does not block, except for the file system. May be called from any thread, from a signal
 * handler, and in the child after fork.
 *
 * Returns the key, or -1 with errno:
 *   EACCES        no permission to search a directory of the path
 *   EFAULT        path is not memory of this process
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        path does not exist, or is empty
 *   ENOMEM        the kernel has no memory left
 *   ENOTDIR       a part of the path is not a directory
 */
key_t ipc_ftok(const char *path, int proj_id);

/* System V shared memory ----------------------------------------------------------------------- */

/**
 * Gets the shared memory segment of a key, or creates it: shmget(2).
 *
 * With the key IPC_PRIVATE, each call creates a segment without a key. size is in bytes; the
 * memory consists of whole pages. For an existing segment, size must not exceed the size of the
 * segment. shmflg combines IPC_CREAT, IPC_EXCL, SHM_HUGETLB, SHM_NORESERVE and the nine permission
 * bits; the umask does not apply. A new segment contains zeros. A segment stays until a process
 * removes it with ipc_shmctl(IPC_RMID), even if all processes that use it end.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the identifier, which can be 0, or -1 with errno:
 *   EACCES  the permissions of the segment do not allow the access that shmflg requests
 *   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
 *   EINVAL  for a new segment, size is 0 or exceeds SHMMAX; for an existing one, size exceeds its
 *           size; or SHM_HUGETLB is set, and the system does not support the page size
 *   ENFILE  the system has no open file left
 *   ENOENT  the key has no segment, and IPC_CREAT is not set
 *   ENOMEM  the kernel has no memory left
 *   ENOSPC  SHMMNI segments exist, or the total would exceed SHMALL pages
 *   EPERM   SHM_HUGETLB is set, and the process lacks the privilege
 */
int ipc_shmget(key_t key, size_t size, int shmflg);

/**
 * Attaches a shared memory segment to the memory of this process: shmat(2).
 *
 * With shmaddr NULL the system chooses the address. shmflg combines SHM_RDONLY (a write then
 * raises SIGSEGV), SHM_RND, SHM_EXEC and SHM_REMAP. The segment stays attached until ipc_shmdt,
 * exec, or the end of the process; a child made by fork has it attached too.
 *
 * Does not block. May be called from any thread and in the child after fork.
 *
 * Returns the address, or (void *)-1 with errno:
 *   EACCES  the permissions of the segment do not allow the access
 *   EAGAIN  mlockall(MCL_FUTURE) is in effect, and the segment would exceed RLIMIT_MEMLOCK
 *   EIDRM   the segment was removed during the call
 *   EINVAL  shmid is not a segment; shmaddr is not aligned (without SHM_RND) or already in use; or
 *           SHM_REMAP is set and shmaddr is NULL
 *   ENFILE  the system has no open file left
 *   ENOMEM  no address space or memory is left, or shmaddr is beyond the address space
 */
void *ipc_shmat(int shmid, const void *shmaddr, int shmflg);

/**
 * Detaches the segment that ipc_shmat attached at shmaddr: shmdt(2).
 *
 * The segment itself stays, unless it was removed and this was the last process that had it
 * attached.
 *
 * Does not block. May be called from any thread and in the child after fork. No thread may use
 * the memory after that.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  no segment is attached at shmaddr
 */
int ipc_shmdt(const void *shmaddr);

/**
 * Reads, changes, locks or removes a shared memory segment: shmctl(2).
 *
 * cmd is IPC_STAT or IPC_SET (with buf); IPC_RMID, SHM_LOCK or SHM_UNLOCK (buf is ignored); or one
 * of the commands that only Linux has: IPC_INFO (buf is a struct shminfo *), SHM_INFO (a struct
 * shm_info *), SHM_STAT and SHM_STAT_ANY (shmid is an index into the kernel's table). After
 * IPC_RMID the segment disappears when the last process has detached it.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0; for IPC_INFO and SHM_INFO the highest index in use; for SHM_STAT and SHM_STAT_ANY the
 * identifier; or -1 with errno:
 *   EACCES     IPC_STAT or SHM_STAT: no read permission
 *   EFAULT     buf is not memory of this process
 *   EIDRM      the segment was removed during the call
 *   EINVAL     shmid is not a segment, cmd is unknown, or IPC_SET gives an invalid owner
 *   ENOMEM     SHM_LOCK: the segment exceeds RLIMIT_MEMLOCK
 *   EOVERFLOW  IPC_STAT: an ID does not fit its member
 *   EPERM      IPC_SET, IPC_RMID, SHM_LOCK or SHM_UNLOCK: the process is neither the owner, the
 *              creator nor root; or SHM_LOCK with an RLIMIT_MEMLOCK of 0
 */
int ipc_shmctl(int shmid, int cmd, struct shmid_ds *buf);

/* System V semaphores -------------------------------------------------------------------------- */

/**
 * Gets the semaphore set of a key, or creates it: semget(2).
 *
 * With the key IPC_PRIVATE, each call creates a set without a key. nsems is the number of
 * semaphores of a new set; for an existing set it may be smaller, or 0. semflg combines IPC_CREAT,
 * IPC_EXCL and the nine permission bits (read and alter); the umask does not apply. On Linux the
 * semaphores of a new set are 0. A set stays until a process removes it with ipc_semctl(IPC_RMID),
 * even if all processes that use it end.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the identifier, which can be 0, or -1 with errno:
 *   EACCES  the permissions of the set do not allow the access that semflg requests
 *   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a set
 *   EINVAL  nsems is negative or exceeds SEMMSL, is 0 for a new set, or exceeds the number of
 *           semaphores of an existing set
 *   ENOENT  the key has no set, and IPC_CREAT is not set
 *   ENOMEM  the kernel has no memory left
 *   ENOSPC  SEMMNI sets or SEMMNS semaphores exist
 */
int ipc_semget(key_t key, int nsems, int semflg);

/**
 * Performs operations on a semaphore set, all together or none: semop(2).
 *
 * Each of the nsops operations adds sem_op to semaphore sem_num; if sem_op is 0, it waits for the
 * semaphore to be 0. The call waits until all operations can be performed at once. sem_flg
 * combines IPC_NOWAIT (fail with EAGAIN instead of waiting) and SEM_UNDO (the kernel reverts the
 * operation when the process ends, also when it is killed).
 *
 * Blocks. A signal handler ends the wait with EINTR, even with SA_RESTART, and so does a stop of
 * the process that is followed by SIGCONT. The kernel uses only the low 32 bits of nsops. May be
 * called from any thread, from a signal handler, and in the child after fork; the child does not
 * inherit the operations to revert.
 *
 * Returns 0, or -1 with errno and the semaphores unchanged:
 *   E2BIG   nsops exceeds SEMOPM
 *   EACCES  the permissions of the set do not allow it
 *   EAGAIN  the call would have to wait, and IPC_NOWAIT is set
 *   EFAULT  sops is not memory of this process
 *   EFBIG   the set has no semaphore with the number sem_num
 *   EIDRM   the set was removed during the call
 *   EINTR   a signal handler ran, or the process was stopped, during the wait
 *   EINVAL  semid is not a set, or nsops is 0
 *   ENOMEM  no memory is left to record an operation with SEM_UNDO
 *   ENOSPC  the system has no undo structure left
 *   ERANGE  a value would exceed SEMVMX, or a value to revert would exceed SEMAEM
 */
int ipc_semop(int semid, struct sembuf *sops, size_t nsops);

/**
 * Does the same as ipc_semop, with a limit to the wait: semtimedop(2).
 *
 * timeout is relative; NULL means no limit. The call does not change it.
 *
 * Blocks until the time-out expires at most. All else is as for ipc_semop.
 *
 * Returns 0, or -1 with errno and the semaphores unchanged: ipc_semop's errors, and
 *   EAGAIN  the time-out expired
 *   EFAULT  timeout is not memory of this process
 *   EINVAL  timeout is negative, or its tv_nsec is 1000000000 or more
 */
int ipc_semtimedop(int semid, struct sembuf *sops, size_t nsops, const struct timespec *timeout);

/**
 * Reads, changes or removes a semaphore set or one of its semaphores: semctl(2).
 *
 * cmd is IPC_RMID, GETPID, GETNCNT, GETZCNT, GETVAL (these take three arguments), SETVAL,
 * GETALL, SETALL, IPC_STAT, IPC_SET, or one of the commands that only Linux has: IPC_INFO,
 * SEM_INFO, SEM_STAT, SEM_STAT_ANY. The fourth argument, if there is one, is a union semun,
 * which the caller defines, as for the system's semctl.
 *
 * SETVAL and SETALL erase what SEM_UNDO has recorded for all processes.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the requested number for GETVAL, GETPID, GETNCNT and GETZCNT; the highest index in
 * use for IPC_INFO and SEM_INFO; the identifier for SEM_STAT and SEM_STAT_ANY; 0 for the
 * others; or -1 with errno:
 *   EACCES  the permissions of the set do not allow it
 *   EFAULT  the fourth argument points to memory that is not this process's
 *   EIDRM   the set was removed during the call
 *   EINVAL  semid is not a set, semnum is not one of its semaphores, cmd is unknown, or
 *           IPC_SET gives an invalid owner
 *   ENOMEM  GETALL or SETALL: the kernel has no memory left
 *   EPERM   IPC_SET or IPC_RMID: the process is neither the owner, the creator nor root
 *   ERANGE  SETVAL or SETALL: a value is negative or exceeds SEMVMX
 */
int ipc_semctl(int semid, int semnum, int cmd, ...);


/* ==============================================================================================
 * Layer 2: sockets, child processes, FIFOs and System V semaphores, made safe
 * ============================================================================================== */

/* Socket pairs --------------------------------------------------------------------------------- */

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
 * Makes a pair of connected local sockets that are close-on-exec.
 *
 * type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, optionally with SOCK_NONBLOCK or'ed in. The
 * caller closes both descriptors. SOCK_SEQPACKET preserves message boundaries, limits the length
 * of a message to the send buffer of the socket, and reports that the peer has closed. SOCK_DGRAM
 * does not report that: the receiver continues to wait.
 *
 * After fork both processes have both ends; each process closes the end that it does not use.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno and ret_fd unchanged:
 *   EINVAL           type is not one of these, or ret_fd is NULL
 *   EMFILE           the process has no descriptor left
 *   ENFILE           the system has no open file left
 *   ENOBUFS, ENOMEM  no memory is left
 */
int ipc_pair_open(int type, int ret_fd[2]);

/**
 * Sends a whole buffer through a stream socket, with as many system calls as necessary.
 *
 * *inout_done is the number of bytes of buf that have been sent already; NULL means 0. The call
 * updates it, also on failure, so that the caller can repeat the call to continue. timeout_ms is
 * in milliseconds and limits the whole call: -1 waits without limit, 0 does not wait,
 * IPC_WAIT_INTR waits until a signal handler has run. The descriptor may be blocking or
 * non-blocking. If the receiver has closed its end, the call fails with EPIPE and does not raise
 * SIGPIPE. On a message-oriented socket each system call would send a message: use ipc_msg_send
 * there.
 *
 * Blocks as timeout_ms says. A cancellation point, as send(2) is. May be called from any thread,
 * from a signal handler, and in the child after fork. If several threads send through one socket
 * at the same time, their data can mix.
 *
 * Returns len, or -1 with errno:
 *   EAGAIN           timeout_ms is 0, and not all bytes could be sent at once
 *   EBADF            fd is not open
 *   EFAULT           buf is not memory of this process
 *   EINTR            timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL           buf is NULL, *inout_done exceeds len, or timeout_ms is below -2
 *   EMSGSIZE         the socket is message-oriented, and len is too long for a message
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN         the socket is not connected
 *   ENOTSOCK         fd is not a socket
 *   EPIPE            the receiver has closed its end, or this direction was shut down
 *   ETIMEDOUT        the time-out expired before all bytes were sent
 */
ssize_t ipc_send_full(int fd, const void *buf, size_t len, size_t *inout_done, int timeout_ms);

/**
 * Receives a whole buffer from a stream socket, with as many system calls as necessary.
 *
 * *inout_done is the number of bytes of buf that have been received already; NULL means 0. The
 * call updates it, also on failure, so that the caller can repeat the call to continue. timeout_ms
 * is as for ipc_send_full. On a message-oriented socket the kernel truncates a message that does
 * not fit: use ipc_msg_recv there.
 *
 * Blocks as timeout_ms says. A cancellation point, as recv(2) is. May be called from any thread,
 * from a signal handler, and in the child after fork. If several threads receive from one socket
 * at the same time, each gets a part of the bytes.
 *
 * Returns the number of bytes in buf: len, or less at the end of the stream (0 if the stream ended
 * before the first byte, or if len is 0); or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and not all bytes could be received at once
 *   EBADF      fd is not open
 *   EFAULT     buf is not memory of this process
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, *inout_done exceeds len, timeout_ms is below -2, or the socket is not
 *              connected
 *   ENOMEM     no memory is left
 *   ENOTCONN   the socket is not connected
 *   ENOTSOCK   fd is not a socket
 *   ETIMEDOUT  the time-out expired before all bytes were received
 */
ssize_t ipc_recv_full(int fd, void *buf, size_t len, size_t *inout_done, int timeout_ms);

/**
 * Gets the credentials of the peer of a connected local socket.
 *
 * For a pair, they are those of the process that made it; for other sockets, of the process that
 * connected or listened. They do not change when a descriptor is passed to another process. The
 * kernel records them, so the peer cannot forge them; but the pid may belong to another process by
 * now. If the process or user has no ID in the namespaces of the caller, pid is 0 or uid is 65534.
 * Do not use these values as an identity: kill(0, sig) signals the caller's own process group, and
 * all such users share the uid 65534.
 *
 * cred_size is sizeof(*ret_cred). A shorter structure, from an older version, gets the first
 * members; in a longer one the rest becomes zero.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno and ret_cred unchanged:
 *   EBADF     fd is not open
 *   EINVAL    ret_cred is NULL, or cred_size is smaller than the structure's first version
 *   ENOTCONN  the kernel has recorded no peer
 *   ENOTSOCK  fd is not a socket
 */
int ipc_peer_cred(int fd, struct ipc_cred *ret_cred, size_t cred_size);

/**
 * Opens a pidfd of the peer of a connected local socket.
 *
 * It refers to the process whose ID ipc_peer_cred returns, and to no other one, even if that ID is
 * used again. It becomes readable when the process ends (poll(2)), and is for pidfd_send_signal(2)
 * and waitid(2). It is close-on-exec; the caller closes it.
 *
 * The kernel knows the process since Linux 6.5, also if the process is in another PID namespace.
 * Before, the call opens the recorded ID, and fails with ESRCH if the peer has closed its end. If
 * the process has passed its end to another one and has ended, another process may have its ID.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork. Not a cancellation point.
 *
 * Returns the descriptor, or -1 with errno:
 *   EBADF     fd is not open
 *   EMFILE    the process has no descriptor left
 *   ENFILE    the system has no open file left
 *   ENOMEM    no memory is left
 *   ENOSYS    the kernel is older than Linux 5.3, or a filter refuses pidfd_open(2)
 *   ENOTCONN  the kernel has recorded no peer
 *   ENOTSOCK  fd is not a socket
 *   ESRCH     the process has ended; or the kernel is older than Linux 6.5, and the peer has closed
 *             its end or is in another PID namespace
 */
int ipc_peer_pidfd(int fd);

/* Messages over sockets ------------------------------------------------------------------------ */

/**
 * The length of the longest message on a stream, in bytes: 1 GiB.
 */
#define IPC_MSG_MAX 1073741824

/**
 * The largest number of descriptors that one message can carry.
 */
#define IPC_MSG_FDS_MAX 253

/**
 * Sends one message, completely or not at all, and descriptors with it.
 *
 * fd is a connected socket: a local one (AF_UNIX), or a TCP or UDP socket. On SOCK_SEQPACKET and
 * SOCK_DGRAM the kernel preserves message boundaries. There len is limited by the send buffer of
 * the socket, and over UDP also by the length of a datagram (65507 bytes over IPv4). UDP can lose
 * messages. On SOCK_STREAM, including TCP, the call sends a header of eight bytes before each
 * message: the letters uipc, and the length as four bytes in little-endian order. The other side
 * receives with ipc_msg_recv. On a stream, two threads must not send on the same end concurrently,
 * nor receive on it.
 *
 * The receiver gets duplicates of the nfds descriptors in fds (NULL if nfds is 0); the descriptors
 * of the sender stay open.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. On a local stream with a send buffer of the default size, a
 * message of up to 32 KiB is sent at once or not at all. If the time-out expires in the middle of
 * a longer message, the sending direction ends: this call fails with ETIMEDOUT, later ones fail
 * with EPIPE, and the receiver gets EPROTO. TCP accepts as many bytes as the send buffer has space
 * for, so a time-out can interrupt a message of any length. Over TCP, use a time-out long enough
 * for the whole message, and 0 only if the send buffer has space for all of it.
 *
 * Blocks as timeout_ms says. A cancellation point, as sendmsg(2) is; on a stream only until a part
 * of the message has been sent. May be called from any thread (on a stream not by two
 * concurrently), from a signal handler, and in the child after fork. Does not raise SIGPIPE.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN           timeout_ms is 0, and the message could not be sent at once; nothing was sent
 *   EBADF            fd or one of fds is not open
 *   EFAULT           buf or fds is not memory of this process
 *   EINTR            timeout_ms is IPC_WAIT_INTR, and a signal handler ran; nothing was sent
 *   EINVAL           len is 0, nfds exceeds IPC_MSG_FDS_MAX, buf or fds is NULL, or timeout_ms is
 *                    below -2
 *   EMSGSIZE         the message is too long for the socket, or exceeds IPC_MSG_MAX
 *   ENOBUFS, ENOMEM  no memory is left
 *   ENOTCONN         the socket is not connected and is not a TCP socket; for SOCK_DGRAM also: the
 *                    receiver has closed, from the second send on; before Linux 6.2, this is
 *                    possible for SOCK_SEQPACKET too, if the receiver closed during the first one
 *   ENOTSOCK         fd is not a socket
 *   EOPNOTSUPP       fd is a socket of another type; or it is not local, and nfds is not 0
 *   EPERM            the receiver of a SOCK_DGRAM socket is connected to another socket
 *   EPIPE            the receiver has closed, or this direction has ended; or a TCP socket is not
 *                    connected; or an earlier message over UDP was refused, and this one was not
 *                    sent
 *   ETIMEDOUT        the time-out expired; on a stream a part of the message may have been sent
 *   ETOOMANYREFS     too many descriptors are in flight
 */
int ipc_msg_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds, int timeout_ms);

/**
 * Sends one message that consists of several parts, completely or not at all, and descriptors with
 * it.
 *
 * iov is an array of iovcnt buffers, from 1 to 1024; the message is their content in order. A
 * buffer may be empty, but the message is not. The kernel reads the buffers: the call copies
 * nothing. The receiver gets one message. fd, fds, nfds and timeout_ms are as for ipc_msg_send.
 *
 * On SOCK_STREAM the header of the message counts as one of the 1024 buffers that the kernel
 * accepts at once. A time-out can therefore interrupt a message of 1024 buffers that are not
 * empty, whatever its length.
 *
 * Blocks as timeout_ms says. A cancellation point, as sendmsg(2) is; on a stream only until a part
 * of the message has been sent. May be called from any thread (on a stream not by two
 * concurrently), from a signal handler, and in the child after fork. Does not raise SIGPIPE.
 *
 * Returns the length of the message, or -1 with errno: ipc_msg_send's errors, and
 *   EFAULT    a buffer is not memory of this process
 *   EINVAL    iov is NULL, iovcnt is not from 1 to 1024, a buffer that is not empty is NULL, or all
 *             buffers are empty
 *   EMSGSIZE  the buffers together are too long for the socket, or exceed IPC_MSG_MAX
 */
ssize_t ipc_msg_sendv(int fd,
                      const struct iovec *iov,
                      int iovcnt,
                      const int *fds,
                      size_t nfds,
                      int timeout_ms);

/**
 * Receives one message of up to cap bytes, and the descriptors that come with it.
 *
 * On entry *inout_nfds is the number of elements of ret_fds; on success it is the number of
 * descriptors that were stored. The caller closes them; they are close-on-exec. Descriptors that
 * do not fit are closed. If inout_nfds is NULL, all descriptors are closed.
 *
 * If the message is longer than cap, the call fails with EMSGSIZE and discards the message; the
 * next receive returns the next message. An empty packet, which ipc_msg_send never sends, is
 * discarded: it is neither a message nor the end of the session. On SOCK_DGRAM a session has no
 * end, unless shutdown(2) has ended this direction on this side.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. On a stream, a time-out can expire in the middle of a message,
 * if the message is longer than 32 KiB or the peer stops. The receiving direction then ends: this
 * call fails with ETIMEDOUT, later ones return 0, and the next send of the peer fails with EPIPE.
 * The direction ends too if the data is not a message; the error is then EPROTO. To receive long
 * messages under a time-out, use ipc_recv_full, which can continue. Over TCP a message of any
 * length can arrive in parts, so do not use a timeout_ms of 0. When the receiving direction of a
 * TCP connection ends in this way, the connection is reset: the other direction has ended too, and
 * the next receive may fail with ENOTCONN instead of returning 0.
 *
 * Blocks as timeout_ms says. A cancellation point, as recvmsg(2) is; on a stream only until a part
 * of the message has been received. May be called from any thread (on a stream not by two
 * concurrently), from a signal handler, and in the child after fork.
 *
 * Returns the length of the message; 0 at the end of the session; or -1 with errno, and ret_fds
 * and inout_nfds unchanged, while the content of buf is undefined:
 *   EAGAIN        timeout_ms is 0, and no message is available
 *   EBADF         fd is not open
 *   ECONNREFUSED  over UDP: an earlier message was refused; nothing was received
 *   EFAULT        buf is not memory of this process
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        cap is 0, buf is NULL, ret_fds is NULL and *inout_nfds is not 0, timeout_ms is
 *                 below -2, or fd is a stream that is not connected
 *   EMFILE        the process has too few descriptors left for those in the message, or a security
 *                 module refuses one; the message is lost, and all of its descriptors are closed
 *   EMSGSIZE      the message was longer than cap
 *   ENOMEM        no memory is left
 *   ENOTCONN      the socket is not connected, or no longer
 *   ENOTSOCK      fd is not a socket
 *   EOPNOTSUPP    before Linux 5.15: fd is a socket of another type (netlink, raw); later kernels
 *                 do not report it, and the call treats such a socket as one that preserves
 *                 message boundaries
 *   EPROTO        the peer closed in the middle of a message, or sent data that is not a message
 *   ETIMEDOUT     the time-out expired
 */
ssize_t ipc_msg_recv(int fd,
                     void *buf,
                     size_t cap,
                     int *ret_fds,
                     size_t *inout_nfds,
                     int timeout_ms);

/* Child processes ------------------------------------------------------------------------------ */

/**
 * Flag of struct ipc_spawn_opts: the standard error of the child is /dev/null.
 */
#define IPC_SPAWN_F_STDERR_NULL 1

/**
 * Flag of struct ipc_spawn_opts: no program that the child executes, or one of its descendants,
 * gets privileges from a set-user-ID bit, a set-group-ID bit or file capabilities (no_new_privs,
 * see prctl(2)).
 */
#define IPC_SPAWN_F_NO_NEW_PRIVS 2

/**
 * Flag of struct ipc_spawn_opts: two pipes instead of the socket pair; see ret_out_fd.
 */
#define IPC_SPAWN_F_PIPES 4

/**
 * A descriptor for a started program, in addition to its end of the pair.
 */
struct ipc_spawn_fd {
    /**
     * the number in this process
     */
    int fd;
    /**
     * the number in the child
     */
    int child_fd;
};

/**
 * A resource limit of a started program.
 */
struct ipc_spawn_limit {
    /**
     * the resource, such as RLIMIT_AS (setrlimit(2))
     */
    int resource;
    /**
     * the soft limit; RLIM_INFINITY: none
     */
    uint64_t soft;
    /**
     * the hard limit; RLIM_INFINITY: none
     */
    uint64_t hard;
};

/**
 * The user of a child, with all its groups.
 */
struct ipc_spawn_user {
    /**
     * the real, effective and saved user ID
     */
    uid_t uid;
    /**
     * the real, effective and saved group ID
     */
    gid_t gid;
    /**
     * the supplementary groups
     */
    const gid_t *groups;
    /**
     * the number of elements of groups; 0: the child has none
     */
    size_t ngroups;
};

/**
 * Options of ipc_spawn. All zeros are the defaults.
 */
struct ipc_spawn_opts {
    /**
     * the environment, as for execve(2); NULL: the environment of the caller
     */
    char *const *envp;
    /**
     * the working directory; NULL: that of the caller. If file is a relative path, it is relative
     * to this directory
     */
    const char *cwd;
    /**
     * further descriptors for the child, in addition to its end of the pair
     */
    const struct ipc_spawn_fd *fds;
    /**
     * the number of elements of fds
     */
    size_t nfds;
    /**
     * resource limits of the child
     */
    const struct ipc_spawn_limit *limits;
    /**
     * the number of elements of limits
     */
    size_t nlimits;
    /**
     * the user and groups of the child; NULL: those of the caller
     */
    const struct ipc_spawn_user *user;
    /**
     * if not NULL, *ret_pidfd becomes a pidfd of the child, which the caller closes
     */
    int *ret_pidfd;
    /**
     * with IPC_SPAWN_F_PIPES, *ret_out_fd becomes the read end of the pipe from the standard
     * output of the child, and *ret_fd the write end of the pipe to its standard input; else NULL
     */
    int *ret_out_fd;
    /**
     * the type of the pair, without flags; 0: SOCK_STREAM
     */
    int type;
    /**
     * the number of the child's end of the pair; 0: it is both standard input and output. With
     * another number, standard input and output are those of the caller unless fds contains 0 or 1
     */
    int child_fd;
    /**
     * IPC_SPAWN_F_..., or 0: standard error is that of the caller unless fds contains 2
     */
    unsigned int flags;
    /**
     * the signal that the child gets when the thread that called ipc_spawn ends; 0: none
     */
    int pdeathsig;
};

/**
 * Starts a program that has one end of a socket pair as its standard input and output.
 *
 * The call searches for file as execvp(3) does. argv is an array of arguments that ends with NULL;
 * by convention argv[0] is the name of the program. opts points to options of opts_size bytes
 * (sizeof(*opts)); NULL means the defaults. *ret_fd becomes the caller's end of the pair, which is
 * close-on-exec and blocking; the caller closes it. The caller waits for the child with
 * waitpid(2).
 *
 * The child starts with no signal blocked and with the default action for each signal. Its
 * descriptors are its end of the pair; standard input, output and error (/dev/null if the caller
 * has them closed or close-on-exec); and those of opts->fds.
 *
 * A socket cannot be opened by name, so an open of /dev/stdin or /dev/stdout in the child fails
 * with ENXIO. For a program that opens these names, set IPC_SPAWN_F_PIPES. A write(2) to *ret_fd
 * then raises SIGPIPE when the child has closed its end.
 *
 * The options are applied in this order: descriptors, limits, user, cwd, IPC_SPAWN_F_NO_NEW_PRIVS,
 * pdeathsig. So limits can be raised with the privileges of the caller, and the program and cwd
 * must be accessible to opts->user. The kernel cancels pdeathsig if the program is set-user-ID,
 * set-group-ID or has capabilities.
 *
 * Blocks until the child has executed the program. May be called from any thread of a
 * multithreaded program and in the child after fork; not from a signal handler. Not a cancellation
 * point.
 *
 * Returns the pid, or -1 with errno, the output parameters unchanged and no child left:
 *   E2BIG    argv and the environment are too long; or opts is from a newer version of the library
 *            and sets an option that this version does not have
 *   EACCES   the permissions of the program, or of a directory in its path, do not allow it
 *   EAGAIN   the number of processes would exceed RLIMIT_NPROC
 *   EBADF    a descriptor of opts->fds is not open, or a number for the child exceeds
 *            RLIMIT_NOFILE
 *   EINVAL   file, argv, argv[0] or ret_fd is NULL; a flag, type, number, limit, signal or user in
 *            opts is not valid; two descriptors get the same number; only one of IPC_SPAWN_F_PIPES
 *            and ret_out_fd is set, or type or child_fd is set with them; or opts_size is smaller
 *            than the structure's first version
 *   EMFILE   the process has no descriptor left, or none above the numbers for the child
 *   ENFILE   the system has no open file left
 *   ENOENT   the program, its interpreter or opts->cwd does not exist
 *   ENOEXEC  the file is not a program; the call does not try a shell
 *   ENOMEM   no memory is left
 *   ENOSYS   ret_pidfd is set, and the kernel is older than Linux 5.2
 *   EPERM    the caller may not raise a limit, or not change the user or the groups
 * and the other errors of execve(2) and chdir(2)
 */
pid_t ipc_spawn(const char *file,
                char *const argv[],
                const struct ipc_spawn_opts *opts,
                size_t opts_size,
                int *ret_fd);

/* FIFOs ---------------------------------------------------------------------------------------- */

/**
 * Flag of ipc_fifo_open: open for receiving.
 */
#define IPC_FIFO_F_READ 1

/**
 * Flag of ipc_fifo_open: open for sending.
 */
#define IPC_FIFO_F_WRITE 2

/**
 * Flag of ipc_fifo_open, with IPC_FIFO_F_READ: the session does not end when the last writer
 * closes the FIFO.
 */
#define IPC_FIFO_F_PERSIST 4

/**
 * Flag of ipc_fifo_open: each record is a packet of the pipe, so that several readers get whole
 * records. The call accepts this flag, but records are packets without it too.
 */
#define IPC_FIFO_F_PACKET 8

/**
 * Flag of ipc_fifo_create: use an existing FIFO.
 */
#define IPC_FIFO_F_EXIST_OK 16

/**
 * The length of the longest record, in bytes: PIPE_BUF without the trailer of four bytes.
 */
#define IPC_FIFO_RECORD_MAX 4092

/**
 * Creates a FIFO with exactly this mode, regardless of the umask.
 *
 * mode consists of permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: if a FIFO of that
 * name exists, the call sets its mode. A sender needs write permission, a receiver read
 * permission, and a receiver with IPC_FIFO_F_PERSIST both. A receiver that also has write
 * permission loses no record when it stops waiting (see ipc_fifo_open).
 *
 * Does not block, except for the file system. Not a cancellation point. May be called from any
 * thread and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to search a directory of the path, or to write the last one
 *   EDQUOT        the quota of the file system is exhausted
 *   EEXIST        path exists, and is not a FIFO or IPC_FIFO_F_EXIST_OK is not set
 *   EINVAL        path is NULL, mode has other bits, or flags has an unknown flag
 *   ELOOP         too many symbolic links in the path
 *   EMFILE        the umask removes bits of mode, and the process has no descriptor left to set
 *                 them
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE        the same, and the system has no open file left
 *   ENOENT        a directory of the path does not exist, or path is empty; or the umask removes
 *                 bits of mode, and there is no /proc
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         another user owns the FIFO and it has another mode, or the file system does not
 *                 support FIFOs
 *   EROFS         the file system is read-only
 */
int ipc_fifo_create(const char *path, mode_t mode, unsigned int flags);

/**
 * Opens a FIFO for receiving or sending, and waits for the other side.
 *
 * flags is IPC_FIFO_F_READ or IPC_FIFO_F_WRITE, optionally with IPC_FIFO_F_PERSIST and
 * IPC_FIFO_F_PACKET or'ed in. A reader waits until there is a writer, and a writer until there is
 * a reader; the other side may also use open(2). A persistent reader is a writer itself: it does
 * not wait, and its session does not end when the last writer closes the FIFO. The call opens only
 * a FIFO, and not a symbolic link to a FIFO. If the name is removed and created again during the
 * wait, the call continues with the new FIFO.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. A handler that runs before the call begins does not end it.
 *
 * A waiting reader is visible to every writer, and returns at once when a writer sends something
 * or closes the FIFO. A writer that has only opened the FIFO is found by polling: every 0.4 ms for
 * the first 100 ms, then at intervals of 1/64 of the time waited, but at most 20 ms. A waiting
 * writer polls for a reader in the same way.
 *
 * A reader that fails with EAGAIN, ETIMEDOUT or EINTR has discarded no record for which
 * ipc_fifo_send returned 0: if there is such a record, the call succeeds instead. This needs write
 * permission for the FIFO, and /proc; without them a record that is sent in the last microseconds
 * of the wait can be lost. close(2) discards the content of the FIFO, so a reader that serves one
 * session after another should open the next session before it closes the descriptor of the
 * previous one.
 *
 * The caller closes the descriptor. It is close-on-exec, and non-blocking so that it can be
 * polled. ipc_fifo_send and ipc_fifo_recv are fastest if it stays non-blocking.
 *
 * Blocks as timeout_ms says. While it waits, the call uses up to two further descriptors and is a
 * cancellation point: a cancelled call leaves no descriptor open, and is no longer visible to the
 * other side. A call that does not need to wait is not a cancellation point. A signal handler must
 * not leave the call by siglongjmp(3), which would leave descriptors open. May be called from any
 * thread and in the child after fork; not from a signal handler.
 *
 * Returns the descriptor, or -1 with errno:
 *   EACCES        the permissions do not allow it
 *   EAGAIN        timeout_ms is 0, and no process has the other side open
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        path is NULL or not a FIFO, flags is not as above, or timeout_ms is below -2
 *   ELOOP         path is a symbolic link, or too many symbolic links in the path
 *   EMFILE        the process has too few descriptors left: a reader needs three, a writer one
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENFILE        the system has no open file left
 *   ENOENT        path does not exist, or was removed during the wait
 *   ENOMEM        no memory is left
 *   ENOTDIR       a part of the path is not a directory
 *   ETIMEDOUT     the time-out expired before the other side was opened
 */
int ipc_fifo_open(const char *path, unsigned int flags, int timeout_ms);

/**
 * Sends one record, as a whole and never mixed with another record.
 *
 * fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. The call writes a trailer of
 * four bytes after the record: 0x00, 0xf5, and the length as two bytes in little-endian order.
 * timeout_ms is as for ipc_fifo_open, and also applies to a blocking descriptor. When the last
 * reader has closed the FIFO, the call fails with EPIPE and does not raise SIGPIPE.
 *
 * If several senders wait for space with timeout_ms -1, each received record wakes one sender, in
 * the order in which they arrived. If they wait with a time-out or IPC_WAIT_INTR, it wakes all of
 * them.
 *
 * Blocks as timeout_ms says. A cancellation point, as write(2) is; a call that is cancelled while
 * it waits has sent nothing. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno and nothing sent:
 *   EAGAIN     timeout_ms is 0, and the FIFO is full
 *   EBADF      fd is not open for writing
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
 *   EMFILE     timeout_ms is not -1, fd is blocking, and the process has fewer than two
 *              descriptors left
 *   EMSGSIZE   len exceeds IPC_FIFO_RECORD_MAX
 *   ENFILE     timeout_ms is not -1, fd is blocking, and the system has no open file left
 *   ENOMEM     timeout_ms is not -1, fd is blocking, and no memory is left
 *   EPIPE      the last reader has closed the FIFO
 *   ETIMEDOUT  the time-out expired, and the FIFO is still full
 */
int ipc_fifo_send(int fd, const void *rec, size_t len, int timeout_ms);

/**
 * Receives one record of up to cap bytes.
 *
 * fd is from ipc_fifo_open. If the record is longer than cap, the call fails with EMSGSIZE and
 * discards the record; the next receive returns the next record. If there are several readers,
 * each gets whole records. timeout_ms is as for ipc_fifo_open, and also applies to a blocking
 * descriptor.
 *
 * Blocks as timeout_ms says. A cancellation point, as read(2) is; a call that is cancelled while
 * it waits has received nothing. May be called from any thread, by several at once, from a signal
 * handler, and in the child after fork.
 *
 * Returns the length of the record; 0 at the end of the session (the last writer has closed the
 * FIFO, and it is empty; a writer that opens it later begins another session); or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no record is available
 *   EBADF      fd is not open for reading
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
 *   EMFILE     timeout_ms is not -1, fd is blocking, and the process has fewer than two
 *              descriptors left
 *   EMSGSIZE   the record was longer than cap
 *   ENFILE     timeout_ms is not -1, fd is blocking, and the system has no open file left
 *   ENOMEM     timeout_ms is not -1, fd is blocking, and no memory is left
 *   EPROTO     the FIFO contained bytes that ipc_fifo_send did not write. They are discarded, with
 *              any records that were written after them before the read; ipc_fifo_recv_any
 *              receives both
 *   ETIMEDOUT  the time-out expired
 */
ssize_t ipc_fifo_recv(int fd, void *rec, size_t cap, int timeout_ms);

/**
 * Receives one record, or a line of text that a program wrote without this library.
 *
 * For example, a shell script can use echo to send lines to a FIFO on which other programs send
 * records. *ret_text becomes 1 for text, and 0 for a record or the end of the session; ret_text
 * may be NULL. A line of text includes its newline. Text that is longer than cap is received in
 * pieces, and so is a line that has not been written completely yet, or that is longer than a page
 * of memory. Everything is received in the order in which it was written, and text damages no
 * record. Text must not contain a zero byte: other bytes that contain one can look like a record.
 *
 * fd is from ipc_fifo_open. If a record is longer than cap, the call fails with EMSGSIZE and
 * discards the record; the next receive continues after it. timeout_ms is as for ipc_fifo_open.
 * Only one thread, in all processes together, may be receiving from the FIFO.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits; a cancelled call has received
 * nothing. Each call creates a pipe and closes it, so ipc_fifo_recv is faster. May be called from
 * any thread, from a signal handler, and in the child after fork.
 *
 * Returns the length; 0 at the end of the session; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no record or text is available
 *   EBADF      fd is not open for reading
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     buf is NULL, cap is 0, timeout_ms is below -2, or fd is not a pipe
 *   EMFILE     the process has fewer than two descriptors left
 *   EMSGSIZE   the record was longer than cap
 *   ENFILE     the system has no open file left
 *   ENOMEM     no memory is left
 *   ENOSYS     a system call filter refuses tee(2)
 *   EPROTO     another receiver took bytes at the same time; some are lost
 *   ETIMEDOUT  the time-out expired
 */
ssize_t ipc_fifo_recv_any(int fd, void *buf, size_t cap, int *ret_text, int timeout_ms);

/**
 * Removes the name of a FIFO, and of no other type of file. Processes that have it open keep it.
 *
 * Does not block, except for the file system. Not a cancellation point. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to search a directory of the path, or to write the last one
 *   EINVAL        path is NULL or not a FIFO
 *   ELOOP         path is a symbolic link, or too many symbolic links in the path
 *   ENAMETOOLONG  the path or a part of it is too long
 *   ENOENT        path does not exist, or is empty
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         the sticky bit of the directory forbids it
 *   EROFS         the file system is read-only
 */
int ipc_fifo_unlink(const char *path);

/* Reader-writer lock in a System V semaphore set ----------------------------------------------- */

/**
 * Gets the reader-writer lock of a key, or creates it.
 *
 * key is from ipc_ftok, or a number that the programs agree on, or IPC_PRIVATE, with which each
 * call creates a new lock. mode_flags is as for ipc_semget. With IPC_CREAT the call creates the
 * lock if it does not exist; with IPC_CREAT and IPC_EXCL it fails if the lock exists. The
 * permission bits are those of a new lock, or the access that the caller requests to an existing
 * one. A process that locks needs alter permission (0200), also for reading.
 *
 * The lock is a set of five semaphores. One of them marks the set as a lock, so that the semaphore
 * set of another program is not mistaken for one. Processes may start in any order and die at any
 * instruction: if a process dies between creating the set and marking it, the next open marks it.
 * The lock exists until a process removes it (ipc_semlock_remove, ipcrm(1)) or the system
 * restarts. The identifier is valid in every process, and does not need to be closed.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns the identifier, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
 *   EACCES  the lock exists, and its permissions do not allow the access that mode_flags requests
 *   EEXIST  the lock exists, and IPC_CREAT and IPC_EXCL are set
 *   EINVAL  mode_flags has other bits, or the system does not allow a set of five semaphores
 *   ENOENT  the lock does not exist, and IPC_CREAT is not set
 *   ENOMEM  no memory is left
 *   ENOSPC  the system allows no further set or semaphore
 *   EPROTO  the semaphore set of the key is not such a lock
 */
int ipc_semlock_open(key_t key, int mode_flags);

/**
 * Acquires the lock for reading. Several processes can hold it for reading at the same time.
 *
 * The call waits while a process holds the lock for writing, or a writer waits for the present
 * readers to leave. Readers and writers acquire the lock in the order in which they arrive, so
 * neither can starve the other. There is one exception: if a writer has died while it held the
 * lock, a reader can acquire the lock after writers that arrived later, until a writer has called
 * ipc_semlock_consistent.
 *
 * The lock belongs to the process: any of its threads may release it. It is not released when a
 * thread ends, but when the process ends, also by SIGKILL. A child made by fork does not hold the
 * lock. Each successful call needs its own ipc_semlock_rdunlock. A process that holds the lock for
 * reading and locks again deadlocks if a writer has arrived in between.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run.
 *
 * Blocks as timeout_ms says. Not a cancellation point. May be called from any thread, by several
 * at once, from a signal handler, and in the child after fork.
 *
 * Returns 0; or IPC_OWNER_DIED, which means that the lock is held, but a writer died while it held
 * the lock, and no process has called ipc_semlock_consistent since; or -1 with errno:
 *   E2BIG      the system allows fewer than seven operations in one call (SEMOPM)
 *   EACCES     the permissions of the lock do not allow it (0200)
 *   EAGAIN     timeout_ms is 0, and the lock cannot be acquired at once
 *   EIDRM      the lock was removed during the call
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
 *              and continued
 *   EINVAL     the lock does not exist, or no longer, or timeout_ms is below -2
 *   ENOMEM     no memory is left
 *   EPROTO     id is a set of fewer than four semaphores
 *   ERANGE     32767 read locks are held
 *   ETIMEDOUT  the time-out expired
 */
int ipc_semlock_rdlock(int id, int timeout_ms);

/**
 * Releases a lock that ipc_semlock_rdlock acquired.
 *
 * The caller must make sure that the process holds a read lock. While other processes hold one,
 * the call cannot detect the mistake: it releases a lock of another process, and the kernel
 * restores that lock when the calling process ends. Nor does the call check that id is a lock: in
 * any other set it decrements the first semaphore.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES  the permissions of the lock do not allow it
 *   EIDRM   the lock was removed during the call
 *   EINVAL  the lock does not exist, or no longer
 *   ENOMEM  no memory is left; only if the process does not hold the lock
 *   EPERM   no process holds the lock for reading
 */
int ipc_semlock_rdunlock(int id);

/**
 * Acquires the lock for writing. No other process can hold it at the same time.
 *
 * The call waits while other processes hold the lock. Readers and writers acquire it in the order
 * in which they arrive: a reader that arrives later waits for this writer. The lock belongs to the
 * process, as for ipc_semlock_rdlock. A process that already holds the lock, for reading or
 * writing, deadlocks. timeout_ms is as for ipc_semlock_rdlock; readers no longer wait for a writer
 * whose time-out has expired.
 *
 * If a writer dies while it holds the lock, the lock is marked. From then on each call that
 * acquires the lock, also for reading, returns IPC_OWNER_DIED. A writer that gets IPC_OWNER_DIED
 * repairs the data that the lock guards and calls ipc_semlock_consistent.
 *
 * Blocks as timeout_ms says. Not a cancellation point. May be called from any thread, by several
 * at once, from a signal handler, and in the child after fork.
 *
 * Returns 0; or IPC_OWNER_DIED, which means that the lock is held, but a writer died while it held
 * the lock, and the data that the lock guards can be half changed; or -1 with errno:
 *   E2BIG      the system allows fewer than seven operations in one call (SEMOPM)
 *   EACCES     the permissions of the lock do not allow it (0200)
 *   EAGAIN     timeout_ms is 0, and the lock cannot be acquired at once
 *   EIDRM      the lock was removed during the call
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
 *              and continued
 *   EINVAL     the lock does not exist, or no longer, or timeout_ms is below -2
 *   ENOMEM     no memory is left
 *   EPROTO     id is a set of fewer than four semaphores
 *   ETIMEDOUT  the time-out expired
 */
int ipc_semlock_wrlock(int id, int timeout_ms);

/**
 * Releases a lock that ipc_semlock_wrlock acquired.
 *
 * Any thread of the process may call it; another process cannot release the lock. If
 * ipc_semlock_wrlock returned IPC_OWNER_DIED and ipc_semlock_consistent was not called, the next
 * call that acquires the lock returns IPC_OWNER_DIED again.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
 *   EACCES  the permissions of the lock do not allow it
 *   EIDRM   the lock was removed during the call
 *   EINVAL  the lock does not exist, or no longer
 *   ENOMEM  no memory is left; only if the process does not hold the lock
 *   EPERM   the process does not hold the lock for writing
 *   EPROTO  id is a set of fewer than four semaphores
 */
int ipc_semlock_wrunlock(int id);

/**
 * Marks the data that the lock guards as consistent, after IPC_OWNER_DIED.
 *
 * The process must hold the lock for writing. Later calls that acquire the lock return 0. If the
 * data was consistent already, the call does nothing.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
 *   EACCES  the permissions of the lock do not allow it
 *   EIDRM   the lock was removed during the call
 *   EINVAL  the lock does not exist, or no longer
 *   ENOMEM  no memory is left; only if the process does not hold the lock
 *   EPERM   the process does not hold the lock for writing
 *   EPROTO  id is a set of fewer than four semaphores
 */
int ipc_semlock_consistent(int id);

/**
 * Removes a lock, even while processes hold it or wait for it.
 *
 * Calls that wait for the lock fail with EIDRM; later calls fail with EINVAL or EIDRM. If the key
 * is opened again, that is a new lock.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  the lock does not exist, or no longer
 *   EPERM   the process is neither the owner of the lock, its creator nor root
 */
int ipc_semlock_remove(int id);


/* ==============================================================================================
 * Layer 3: shared memory, and objects in it
 * ============================================================================================== */

/* Regions -------------------------------------------------------------------------------------- */

/**
 * Flag of struct ipc_shm_opts: ipc_shm_publish can give the region a name.
 */
#define IPC_SHM_F_PUBLISH 1

/**
 * Flag of struct ipc_shm_opts: no other process can ever map the region for writing.
 */
#define IPC_SHM_F_SOLE_WRITER 2

/**
 * Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: request transparent huge pages,
 * if the system has them for shared memory.
 */
#define IPC_SHM_F_HUGE 4

/**
 * Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: allocate and map all pages at
 * once, so that the first access to a page causes no page fault.
 */
#define IPC_SHM_F_PREFAULT 8

/**
 * Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: lock the region in memory, so
 * that it is not swapped out (mlock(2)).
 */
#define IPC_SHM_F_LOCK 16

/**
 * Flag of ipc_shm_open and ipc_shm_from_fd: map the memory for reading only.
 */
#define IPC_SHM_F_RDONLY 32

/**
 * Flag of ipc_shm_from_fd: trust every process that can write the file not to truncate it.
 */
#define IPC_SHM_F_TRUST 64

/**
 * Flag of struct ipc_shm_opts: the name of the region is removed with its last user.
 */
#define IPC_SHM_F_TRANSIENT 128

/**
 * Flag of struct ipc_shm_opts, for ipc_shm_open_or_create: replace a region of another size or
 * layout.
 */
#define IPC_SHM_F_REPLACE_STALE 256

/**
 * A handle of a region of shared memory in this process. Its address and size never change.
 */
struct ipc_shm;

/**
 * Options of a new region. All zeros are the defaults.
 */
struct ipc_shm_opts {
    /**
     * IPC_SHM_F_PUBLISH, _SOLE_WRITER, _TRANSIENT, _HUGE, _PREFAULT, _LOCK and _REPLACE_STALE,
     * or'ed
     */
    unsigned int flags;
    /**
     * the permissions, bits of 0666; the umask does not apply; 0: 0600
     */
    mode_t mode;
    /**
     * how long ipc_shm_open_or_create waits for other processes, in milliseconds. 0 (the default
     * here) and -1: no limit; IPC_WAIT_INTR: until a signal handler has run
     */
    int timeout_ms;
    /**
     * must be 0
     */
    unsigned int reserved;
    /**
     * identifies the layout of the memory, for example by a version number; 0: not recorded or
     * checked
     */
    uint64_t layout;
};

/**
 * Makes a region of shared memory of size bytes, all zero, without a name.
 *
 * opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. By default
 * the region is a sealed memfd: its size never changes, so no process can take the memory away
 * from the others. Other processes get it by fork, or by its descriptor, with ipc_msg_send and
 * ipc_shm_from_fd. With IPC_SHM_F_SOLE_WRITER the kernel allows no further mapping for writing,
 * whichever process has the descriptor: only this process, and its children by fork, can write.
 * With IPC_SHM_F_PUBLISH the region is a file on the tmpfs in /dev/shm, and has no name until
 * ipc_shm_publish. Such a file cannot be sealed, so the two flags exclude each other.
 *
 * With IPC_SHM_F_TRANSIENT, which requires PUBLISH, the name exists only while the region has
 * users. A user is a process that has a handle of the region, other than with RDONLY. A region
 * without users cannot be opened with this library, and the next process that makes one of the
 * same name replaces it.
 *
 * If layout is not 0, it is recorded with the region: ipc_shm_layout returns it, and
 * ipc_shm_open_or_create compares it. The file then has one further page after the region; with
 * TRANSIENT it also has this page.
 *
 * The call allocates all of the memory. A region without a name disappears with the last process
 * that has it.
 *
 * The caller closes the handle with ipc_shm_close. After fork the child has its own copy of the
 * handle, which works, and which the child closes.
 *
 * Does not block, but a large region takes time. Not a cancellation point. May be called from any
 * thread, and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   E2BIG       opts is from a newer version of the library and sets an option that this version
 *               does not have
 *   EACCES      PUBLISH: no permission to write /dev/shm
 *   EAGAIN      LOCK: not all of the region could be locked
 *   EDQUOT      PUBLISH: the quota of /dev/shm is exhausted
 *   EFBIG       size exceeds RLIMIT_FSIZE, or the maximum size of a file
 *   EINVAL      ret_shm is NULL, size is 0, a flag, the mode or timeout_ms is not as above,
 *               opts_size is smaller than the structure's first version, SOLE_WRITER is combined
 *               with PUBLISH, TRANSIENT is set without PUBLISH, or the kernel does not support
 *               SOLE_WRITER (before Linux 5.1)
 *   EMFILE      the process has no descriptor left
 *   ENFILE      the system has no open file left
 *   ENOENT      PUBLISH: there is no /dev/shm
 *   ENOLCK      TRANSIENT: the system has no memory for locks
 *   ENOMEM      no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the
 *               region would exceed RLIMIT_MEMLOCK
 *   ENOSPC      not enough memory: /dev/shm or the memory of the machine is too small
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
 * From then on ipc_shm_open and shm_open(3) find the region. A name consists of a slash and 1 to
 * 255 bytes other than a slash, and is not "/." or "/.."; the file is /dev/shm/name. Names that
 * begin with "/." and end with ".lock" are reserved. The name stays until ipc_shm_unlink, even if
 * all processes that use it end; the name of a transient region is removed with its last user. A
 * region can have several names.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EACCES        no permission to write /dev/shm
 *   EBADF         the descriptor of the region was closed
 *   EDQUOT        the quota of /dev/shm is exhausted
 *   EEXIST        the name exists
 *   EINVAL        shm or name is NULL, the region was not made with PUBLISH, or the name is not
 *                 valid
 *   ENAMETOOLONG  the name is too long
 *   ENOENT        every name that the region had was removed; or there is no /dev/shm or, before
 *                 Linux 6.10, no /proc
 *   ENOMEM        no memory is left
 *   ENOSPC        /dev/shm has no space for a name
 *   EPERM         the process has changed its user, and the region belongs to the former one; or
 *                 the name belongs to a transient region of another user, which has no users
 *   EROFS         /dev/shm is read-only
 *   EXDEV         another file system was mounted at /dev/shm after the region was made
 */
int ipc_shm_publish(struct ipc_shm *shm, const char *name);

/**
 * Opens a region by its name.
 *
 * The name is as for ipc_shm_publish. flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT and _LOCK,
 * or'ed. A region from this library becomes visible only when it is complete; one from shm_open(3)
 * can be visible earlier. The file must be a regular file on a tmpfs, and not a symbolic link.
 *
 * With IPC_SHM_F_RDONLY the descriptor is also open for reading only. A process that has
 * permission to write the file can open it again for writing: the flag restrains only other users.
 *
 * A process that may write a named region may also truncate it. An access to the removed part then
 * raises SIGBUS. Use a named region only between processes that trust each other.
 *
 * The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout. It
 * opens a transient region only while it has users; the caller becomes one, unless it uses RDONLY.
 *
 * The handle is as for ipc_shm_create. Does not block, but waits for at most 1 second if another
 * process is stopped while it opens the same transient region, or has a lease on the file. Not a
 * cancellation point. May be called from any thread, and in the child after fork; not from a signal
 * handler.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES        the permissions do not allow it
 *   EAGAIN        LOCK: not all of the region could be locked
 *   EBUSY         the region is transient, and a process that may read it keeps it locked, or a
 *                 process that opens it is stopped; or a process keeps a lease on the file
 *   EINVAL        name or ret_shm is NULL, the name is not valid or not that of a regular file, or
 *                 flags has an unknown bit
 *   ELOOP         it is the name of a symbolic link
 *   EMFILE        the process has no descriptor left
 *   ENAMETOOLONG  the name is too long
 *   ENFILE        the system has no open file left
 *   ENOENT        there is no region of this name, or it is a transient one without users
 *   ENOLCK        the region is transient, and the system has no memory for locks
 *   ENOMEM        no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the
 *                 region would exceed RLIMIT_MEMLOCK; or LOCK: a page cannot be allocated
 *   ENOSPC        PREFAULT: the memory is not allocated, and /dev/shm is full
 *   EOPNOTSUPP    /dev/shm is not a tmpfs
 *   EPERM         LOCK: the process may not lock memory
 *   EPROTO        the file is empty, because another program has made it without a size; or
 *                 PREFAULT: it was truncated during the call
 *   EROFS         /dev/shm is read-only, and RDONLY is not set
 *   ESTALE        another version of the library has made the region
 */
int ipc_shm_open(const char *name, unsigned int flags, struct ipc_shm **ret_shm);

/**
 * Opens a region by its descriptor, for example one that a peer has passed.
 *
 * flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT, _LOCK and _TRUST, or'ed. The file must be a
 * memfd that is sealed against shrinking, as ipc_shm_create makes it, and not on hugetlbfs: no
 * process can take such memory away. With PREFAULT or LOCK all of it must be allocated, as
 * ipc_shm_create does; otherwise a peer could make this process allocate as much memory as the
 * file is long. With IPC_SHM_F_TRUST the call accepts any regular file that is not empty and can
 * be mapped; after a truncation, an access to the removed part raises SIGBUS. A descriptor that is
 * open for reading only, and a region with a sole writer, require IPC_SHM_F_RDONLY.
 *
 * The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout.
 *
 * The call duplicates fd; the caller still closes its own. The handle is as for ipc_shm_create.
 * Does not block. Not a cancellation point. May be called from any thread, and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES  fd is not open for reading, or it is not open for writing and RDONLY is not set
 *   EAGAIN  LOCK: not all of the region could be locked
 *   EBADF   fd is not open, or was opened with O_PATH
 *   EINVAL  ret_shm is NULL, or flags has an unknown bit
 *   EIO     TRUST and PREFAULT: reading the file failed
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENODEV  TRUST: this file cannot be mapped
 *   ENOMEM  no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the region
 *           would exceed RLIMIT_MEMLOCK
 *   ENOSPC  TRUST and PREFAULT: the memory is not allocated, and the file system is full
 *   EPERM   the region is sealed against writing and RDONLY is not set; or LOCK: the process may
 *           not lock memory
 *   EPROTO  the file is not a memfd sealed against shrinking; it is empty; PREFAULT or LOCK: it is
 *           not completely allocated; TRUST: it is not a regular file, or was truncated during the
 *           call
 *   ESTALE  another version of the library has made the region
 */
int ipc_shm_from_fd(int fd, unsigned int flags, struct ipc_shm **ret_shm);

/**
 * Opens a region that is a System V segment, by its key, or creates it.
 *
 * shmflg is as for ipc_shmget: permission bits, IPC_CREAT, IPC_EXCL, SHM_HUGETLB. SHM_RDONLY
 * attaches the segment for reading only; SHM_NORESERVE is the same bit, so it is not available
 * here. A new segment contains zeros, and other processes see it before its creator has filled it
 * in. Its size never changes, so no process can take the memory away. size may be smaller than
 * that of an existing segment, or 0; ipc_shm_size returns the actual size.
 *
 * The segment stays until a process removes it: ipc_shmctl with IPC_RMID, or ipcrm(1). IPC_PRIVATE
 * is not valid: ipc_shm_create makes memory without a key.
 *
 * If the call creates a segment and then fails, it removes the segment, unless another process has
 * already attached it.
 *
 * The handle is as for ipc_shm_create; ipc_shm_close detaches the segment. Does not block. Not a
 * cancellation point. May be called from any thread, and in the child after fork; not from a
 * signal handler.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged:
 *   EACCES  the permissions of the segment do not allow it
 *   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
 *   EINVAL  ret_shm is NULL, key is IPC_PRIVATE, shmflg has SHM_RND, SHM_REMAP or SHM_EXEC, or
 *           size is 0 or exceeds SHMMAX for a new segment
 *   ENFILE  the system has no open file left
 *   ENOENT  the key has no segment, and IPC_CREAT is not set
 *   ENOMEM  no memory or address space is left, or too few huge pages; or, with
 *           mlockall(MCL_FUTURE), the segment would exceed RLIMIT_MEMLOCK
 *   ENOSPC  SHMMNI segments exist, or the total would exceed SHMALL pages
 *   EPERM   SHM_HUGETLB is set, and the process lacks the privilege
 *   ESTALE  the key has a segment of fewer than size bytes
 */
int ipc_shm_attach(key_t key, size_t size, int shmflg, struct ipc_shm **ret_shm);

/**
 * Returns the address of a region in this process. It is aligned to a page.
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the address; or NULL, with errno EINVAL, if shm is NULL.
 */
void *ipc_shm_addr(const struct ipc_shm *shm);

/**
 * Returns the size of a region in bytes, as its creator requested it.
 *
 * May be called from any thread, from a signal handler, and in the child after fork.
 *
 * Returns the size; or 0, with errno EINVAL, if shm is NULL.
 */
size_t ipc_shm_size(const struct ipc_shm *shm);

/**
 * Returns the descriptor of a region, for example to pass it to another process with ipc_msg_send.
 *
 * The descriptor is close-on-exec and belongs to the handle: ipc_shm_close closes it. If the file
 * has lost its last name, for example because systemd-logind has removed it (RemoveIPC), fstat(2)
 * reports 0 links (st_nlink).
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
 * Checks whether a process that opens the name of a region now gets this region.
 *
 * The name is the one by which the region was opened, or the first one that it was given; for a
 * region from ipc_shm_attach it is the key. The result is 0 after ipc_shm_unlink, after the region
 * was replaced (IPC_SHM_F_REPLACE_STALE), and after systemd-logind has removed the name
 * (RemoveIPC). The result can be outdated when the call returns.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 1 or 0, or -1 with errno:
 *   EACCES      no permission to search /dev/shm; or the permissions of the segment do not allow
 *               it
 *   EBADF       a read-only handle of a transient region: its descriptor was closed
 *   EINVAL      shm is NULL
 *   EOPNOTSUPP  the region has no name: it was not published, or is from ipc_shm_from_fd
 */
int ipc_shm_is_current(const struct ipc_shm *shm);

/**
 * Removes the name of a region. Processes that have the region open keep it.
 *
 * The name is as for ipc_shm_publish. Does not block. Not a cancellation point. May be called from
 * any thread, from a signal handler, and in the child after fork.
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
 * Unmaps a region and closes its descriptor. NULL does nothing.
 *
 * The address becomes invalid in this process; other processes keep the region. A name stays, and
 * so does a System V segment; the last user of a transient region removes its name. Before the
 * call, unlock all locks in the region that this process holds.
 *
 * A program may have closed the descriptor itself, for example a daemon that closes all
 * descriptors. If the number now refers to another file, the call does not close that file. It
 * compares the device and inode numbers.
 *
 * Does not block. Not a cancellation point. May be called from any thread, and in the child after
 * fork, where it closes the child's copy; not from a signal handler.
 */
void ipc_shm_close(struct ipc_shm *shm);

/**
 * Opens a region by its name, or, if there is none, makes, initialises and publishes it.
 *
 * The call is for programs that start in any order. Of all processes that call it at the same
 * time, one makes the region and runs its init; the others wait, and then open the published
 * region. No other process sees the memory before init has returned. If the first process
 * dies, even inside init, the next process makes a new region and runs its own init. Before
 * that, it waits until every child that was forked during the first init has ended or executed
 * a program.
 *
 * init receives the address and size of the memory, which is all zeros, and arg. It returns 0,
 * or another value to make the call fail. init may end with a C++ exception or with
 * pthread_exit(3): the region is then removed and its name unlocked. It must not end with
 * longjmp(3): the name would stay locked until the process ends. init must not open or create
 * the same name; another name is allowed. If init is NULL, the memory stays all zeros.
 *
 * opts is as for ipc_shm_create. PUBLISH is implied, SOLE_WRITER is not possible; the mode and
 * TRANSIENT apply to a new region. opts->timeout_ms limits the time that the call waits for
 * other processes: 0 is the default and means no limit, and so does -1; with IPC_WAIT_INTR a
 * signal handler ends the wait.
 *
 * The call opens an existing region if it has at least size bytes and the same layout tag;
 * ipc_shm_size returns its size. If opts->layout is 0, every layout tag is accepted. Any other
 * region is stale: the call fails with ESTALE. With IPC_SHM_F_REPLACE_STALE it makes a new
 * region instead and gives it the name: exactly one process does so, and the others open the
 * new region. The processes that have the old region open keep it; ipc_shm_is_current returns
 * 0 for it. A transient region without users is replaced without this flag.
 *
 * To open an existing region, the call takes no lock. To make one, it locks the file
 * .NAME.lock in /dev/shm, whose mode is 0600. Only this call and ipc_shm_publish respect the
 * lock. If another program publishes the name in the meantime, the call opens that region and
 * discards its own.
 *
 * Blocks while another process makes the region of this name. Not a cancellation point: the
 * cancellation of the thread is deferred until the call returns, also while init runs. May be
 * called from any thread, and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_shm unchanged; ipc_shm_create's and ipc_shm_open's
 * errors, and:
 *   EACCES     timeout_ms has expired, and the lock file of another user still exists
 *   ECANCELED  init has not returned 0
 *   EEXIST     the path of the lock file is not a regular file
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     timeout_ms is below -2, or the name begins with "/." and ends with ".lock"
 *   ENOENT     there is no /dev/shm or, before Linux 6.10, no /proc
 *   ENOLCK     the system has no memory for locks
 *   EPERM      a region of another user must be replaced, and the sticky bit of the directory
 *              forbids it
 *   ESTALE     the region exists and has fewer than size bytes or another layout tag
 *   ETIMEDOUT  timeout_ms has expired
 */
int ipc_shm_open_or_create(const char *name,
                           size_t size,
                           int (*init)(void *addr, size_t size, void *arg),
                           void *arg,
                           const struct ipc_shm_opts *opts,
                           size_t opts_size,
                           struct ipc_shm **ret_shm);

/* Mutex ---------------------------------------------------------------------------------------- */

/**
 * Flag of ipc_mutex_init: while a thread of higher priority waits for the mutex, the owner runs
 * with that priority.
 */
#define IPC_MUTEX_F_PRIO_INHERIT 1

/**
 * A mutex in shared memory, made by ipc_mutex_init. It occupies two cache lines. Only the library
 * accesses the content.
 */
struct UNIXIPC_ALIGNED(16) ipc_mutex {
    uint64_t reserved[16];
};

/**
 * Makes an unlocked mutex. The memory may contain anything before.
 *
 * m is in memory that all users of the mutex share, and is aligned to 16 bytes. Each user maps the
 * memory from the beginning of a page, at any address. flags is 0 or IPC_MUTEX_F_PRIO_INHERIT, for
 * real-time programs. The mutex lives as long as the memory, and is not destroyed. Call this
 * function once, before any other use; it does not detect a mutex that is in use. If the process
 * is killed in the call, the memory contains no mutex, and other calls fail with EPROTO; call it
 * again.
 *
 * The mutex is the C library's robust, process-shared mutex: the kernel releases it when its owner
 * dies. All users must run in the PID namespace of the process that calls ipc_mutex_init, use the
 * same C library, and trust each other: a process that can write the memory can crash the users.
 * For processes in several PID namespaces, or that do not trust each other, use ipc_semlock_open.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      m is NULL or not aligned to 16, or flags has an unknown flag
 *   ENOMEM      no memory is left
 *   EOPNOTSUPP  the system does not support priority inheritance
 */
int ipc_mutex_init(struct ipc_mutex *m, unsigned int flags);

/**
 * Locks a mutex.
 *
 * If the owner died, the call locks the mutex and returns IPC_OWNER_DIED: the data that it guards
 * can be half changed. Each subsequent owner gets IPC_OWNER_DIED until one calls
 * ipc_mutex_consistent. The mutex belongs to the calling thread until ipc_mutex_unlock. If the
 * thread ends or executes a program before, that counts as its death.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. A handler that runs before the call sleeps, or between two of
 * its sleeps (every 100 ms), does not end it. Waiting threads acquire the mutex in no particular
 * order, but a thread that has waited for a millisecond takes precedence over threads that arrive
 * later.
 *
 * Blocks as timeout_ms says. Not a cancellation point. May be called from any thread and in the
 * child after fork (which does not hold the locks of its parent); not from a signal handler. A
 * signal handler may leave the call by siglongjmp(3) while it sleeps.
 *
 * Returns 0 or IPC_OWNER_DIED with the mutex held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and another thread holds it
 *   EDEADLK     this thread already holds it
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      m is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  timeout_ms is IPC_WAIT_INTR, the mutex has IPC_MUTEX_F_PRIO_INHERIT, and the call
 *               would have to wait; or the process was made by a direct clone(2), and not by fork
 *   EPROTO      m is not a mutex made by ipc_mutex_init
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired, and another thread still holds it
 *   EXDEV       it was made in another PID namespace
 *
 * The precedence of threads that have waited long is the starvation mode of Go's sync.Mutex
 * (2016); the check whether the owner still exists is this library's own.
 */
int ipc_mutex_lock(struct ipc_mutex *m, int timeout_ms);

/**
 * Marks the data that a mutex guards as consistent.
 *
 * The owner calls it after IPC_OWNER_DIED. At other times it changes nothing, and succeeds.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      m is NULL or not aligned to 16
 *   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
 *   EPERM       this thread does not hold it
 *   EPROTO      m is not a mutex made by ipc_mutex_init
 *   ESTALE      it was made by another version of the library, or with another C library
 */
int ipc_mutex_consistent(struct ipc_mutex *m);

/**
 * Unlocks a mutex.
 *
 * If ipc_mutex_lock returned IPC_OWNER_DIED and ipc_mutex_consistent was not called, the next
 * owner gets IPC_OWNER_DIED too.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_mutex_consistent's errors, for the same reasons.
 */
int ipc_mutex_unlock(struct ipc_mutex *m);

/**
 * Returns the thread that holds a mutex.
 *
 * Unless that is the calling thread, the owner can change at any time. After the death of the
 * owner the result is 0 until another thread locks the mutex. If the kernel did not notice the
 * death (see ipc_mutex_init(3)), the result is 0 only after a waiting thread has noticed it.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns the ID of the thread, as gettid(2) does, or 0 if the mutex is unlocked; or
 * -1 with errno:
 *   EINVAL  m is NULL or not aligned to 16
 *   EPROTO  m is not a mutex made by ipc_mutex_init
 *   ESTALE  it was made by another version of the library, or with another C library
 */
pid_t ipc_mutex_owner(const struct ipc_mutex *m);

/* Reader-writer lock --------------------------------------------------------------------------- */

/**
 * The largest number of threads that can hold an ipc_rwlock for reading at once; further threads
 * wait for one of them.
 */
#define IPC_RWLOCK_READERS_MAX 128

/**
 * A reader-writer lock in shared memory, made by ipc_rwlock_init. It occupies 131 cache lines.
 * Only the library accesses the content.
 */
struct UNIXIPC_ALIGNED(16) ipc_rwlock {
    uint64_t reserved[1048];
};

/**
 * Makes an unlocked reader-writer lock. The memory may contain anything before.
 *
 * All is as for ipc_mutex_init; flags is 0. Readers on different processors write to no common
 * cache line. A writer locks one mutex, and checks each slot that a reader has ever used.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  l is NULL or not aligned to 16, or flags is not 0
 *   ENOMEM  no memory is left
 */
int ipc_rwlock_init(struct ipc_rwlock *l, unsigned int flags);

/**
 * Locks for reading. Up to IPC_RWLOCK_READERS_MAX threads can hold the lock for reading at once,
 * while no thread holds it for writing.
 *
 * IPC_OWNER_DIED means that a writer died while it held the lock, and the data that the lock
 * guards can be half changed. Each reader and writer gets it until a writer calls
 * ipc_rwlock_consistent. The death of a reader is not reported. A reader that arrives while a
 * writer waits for other readers acquires the lock after that writer. If the writer makes no
 * progress for half a second, because it is stopped, the reader goes first. A reader that arrives
 * when a writer unlocks may acquire the lock before the next writer. A thread may lock for reading
 * more than once, and must unlock as often. If it would have to wait for a writer that waits for
 * its own first lock, the call fails with EDEADLK.
 *
 * The lock belongs to the calling thread until ipc_rwlock_rdunlock. timeout_ms is as for
 * ipc_mutex_lock.
 *
 * Blocks as timeout_ms says. Not a cancellation point. May be called from any thread and in the
 * child after fork (which does not hold the locks of its parent); not from a signal handler. If a
 * signal handler leaves the call by siglongjmp(3), call ipc_rwlock_wrunlock, because the thread
 * may hold a part of the lock.
 *
 * Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the call would have to wait
 *   EDEADLK     this thread holds it for writing; or it holds it for reading, and would wait for a
 *               thread that can wait for this thread
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
 *   EPROTO      l is not a lock made by ipc_rwlock_init
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired
 *   EXDEV       it was made in another PID namespace
 */
int ipc_rwlock_rdlock(struct ipc_rwlock *l, int timeout_ms);

/**
 * Unlocks after reading.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL      l is NULL or not aligned to 16
 *   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
 *   EPERM       this thread does not hold it for reading
 *   EPROTO      l is not a lock made by ipc_rwlock_init
 *   ESTALE      it was made by another version of the library, or with another C library
 */
int ipc_rwlock_rdunlock(struct ipc_rwlock *l);

/**
 * Locks for writing. No other thread can hold the lock at the same time.
 *
 * All else is as for ipc_rwlock_rdlock. A writer waits for the writers that arrived before it and
 * then for the present readers, but not for readers that arrive later. When the time-out of a
 * writer expires, these readers can acquire the lock.
 *
 * If a signal handler leaves the call by siglongjmp(3), call ipc_rwlock_wrunlock, or
 * ipc_rwlock_wrlock again.
 *
 * Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and another thread holds it
 *   EDEADLK     this thread already holds it, for reading or writing
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
 *   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
 *   EPROTO      l is not a lock made by ipc_rwlock_init
 *   ESTALE      it was made by another version of the library, or with another C library
 *   ETIMEDOUT   the time-out expired, and another thread still holds it
 *   EXDEV       it was made in another PID namespace
 */
int ipc_rwlock_wrlock(struct ipc_rwlock *l, int timeout_ms);

/**
 * Unlocks after writing.
 *
 * If ipc_rwlock_wrlock returned IPC_OWNER_DIED and ipc_rwlock_consistent was not called, the next
 * owners get IPC_OWNER_DIED too. If a signal handler has left an earlier call by siglongjmp(3),
 * this call releases what that call held.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_rwlock_rdunlock's errors, for the same reasons; EPERM means
 * that this thread does not hold it for writing.
 */
int ipc_rwlock_wrunlock(struct ipc_rwlock *l);

/**
 * Marks the data that a reader-writer lock guards as consistent.
 *
 * The thread that holds the lock for writing calls it after IPC_OWNER_DIED. At other times it
 * changes nothing, and succeeds.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_rwlock_rdunlock's errors, for the same reasons; EPERM means
 * that this thread does not hold it for writing.
 */
int ipc_rwlock_consistent(struct ipc_rwlock *l);

/* Condition ------------------------------------------------------------------------------------ */

/**
 * A condition in shared memory, made by ipc_cond_init. It occupies one cache line. Only the
 * library accesses the content.
 */
struct UNIXIPC_ALIGNED(16) ipc_cond {
    uint64_t reserved[8];
};

/**
 * Makes a condition. The memory may contain anything before.
 *
 * c is in memory that all users of the condition share, and is aligned to 16 bytes. flags is 0.
 * The condition lives as long as the memory, and is not destroyed. Call this function once, before
 * any other use. ipc_cond_broadcast is cheaper if the condition and its mutex are in the same page
 * of 4096 bytes.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  c is NULL or not aligned to 16, or flags is not 0
 */
int ipc_cond_init(struct ipc_cond *c, unsigned int flags);

/**
 * Waits for a change of the data that a mutex guards.
 *
 * The calling thread holds m. The call unlocks m, and locks it again before it returns, however
 * long that takes. After 0, IPC_OWNER_DIED, EAGAIN, EINTR and ETIMEDOUT the thread holds m; after
 * the other errors m is as it was before. The call can return 0 without a signal: check the data
 * again, and wait again if necessary. A signal that comes after m was unlocked is not missed
 * (except if exactly 2^32 signals come before the thread runs again). All threads that wait for a
 * condition use the same mutex.
 *
 * timeout_ms is as for ipc_mutex_lock; with 0 the call unlocks m and locks it again.
 * IPC_OWNER_DIED means the same as for ipc_mutex_lock, and takes precedence over an expired
 * time-out. It is also returned if m was already marked and the caller has not called
 * ipc_mutex_consistent. An owner that dies signals no thread: a thread that gets IPC_OWNER_DIED
 * must signal in its place.
 *
 * Blocks as timeout_ms says, and then for m. A cancellation point: the cancellation acts within
 * 100 ms once m is unlocked, and the thread then holds m. May be called from any thread and in the
 * child after fork; not from a signal handler.
 *
 * Returns 0 or IPC_OWNER_DIED, or -1 with errno:
 *   EAGAIN     timeout_ms is 0
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     c or m is NULL or not aligned to 16, or timeout_ms is below -2
 *   EPERM      this thread does not hold m
 *   EPROTO     c is not a condition made by ipc_cond_init, or m is not a mutex
 *   ESTALE     c or m was made by another version of the library, or m with another C library
 *   ETIMEDOUT  the time-out expired
 */
int ipc_cond_wait(struct ipc_cond *c, struct ipc_mutex *m, int timeout_ms);

/**
 * Wakes at least one thread that waits for a condition.
 *
 * Call it after the change, with or without the mutex. A waiting thread is sure to see the change
 * only if it was made with the mutex held. Use ipc_cond_broadcast if one change lets several
 * threads continue. If the thread that was woken is killed before it has locked the mutex, the
 * other waiting threads return within 100 ms in its place.
 *
 * Does not block; makes no system call if no thread waits. If the process is killed in the call,
 * it has woken one thread or none. Not a cancellation point. May be called from any thread, from a
 * signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  c is NULL or not aligned to 16
 *   EPROTO  c is not a condition made by ipc_cond_init
 *   ESTALE  it was made by another version of the library
 */
int ipc_cond_signal(struct ipc_cond *c);

/**
 * Wakes all threads that wait for a condition.
 *
 * All else is as for ipc_cond_signal. If the condition and the mutex are in the same page of 4096
 * bytes, the call wakes one thread. Each unlock of the mutex then wakes the next one, so that the
 * threads do not compete for a locked mutex. If the process is killed in the call, it may have
 * woken none; the waiting threads then return within 100 ms.
 *
 * Returns 0, or -1 with errno: ipc_cond_signal's errors, for the same reasons.
 */
int ipc_cond_broadcast(struct ipc_cond *c);

/* Event ---------------------------------------------------------------------------------------- */

/**
 * Flag of ipc_event_init: a wait that finds the event set clears it, so each set releases one
 * waiting thread.
 */
#define IPC_EVENT_F_AUTO_RESET 1

/**
 * Flag of ipc_event_init: the event is set initially.
 */
#define IPC_EVENT_F_SET 2

/**
 * An event in shared memory, made by ipc_event_init. It occupies one cache line. Only the library
 * accesses the content.
 */
struct UNIXIPC_ALIGNED(16) ipc_event {
    uint64_t reserved[8];
};

/**
 * Makes an event. The memory may contain anything before.
 *
 * An event is a flag that threads of all processes set, clear and wait for. e is in memory that
 * they share and can write, and is aligned to 16 bytes. flags is 0 or a combination of
 * IPC_EVENT_F_AUTO_RESET and IPC_EVENT_F_SET. Without IPC_EVENT_F_AUTO_RESET, the event stays set
 * until ipc_event_clear, and each set releases all waiting threads. With it, a set releases one
 * thread, which clears the event. The event lives as long as the memory, and is not destroyed.
 * Call this function once, before any other process uses the event.
 *
 * Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
 * and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  e is NULL or not aligned to 16, or flags has an unknown flag
 */
int ipc_event_init(struct ipc_event *e, unsigned int flags);

/**
 * Sets an event.
 *
 * With manual reset the call releases all waiting threads, even if the event is cleared before
 * they run. With automatic reset it releases one thread: one that waits now, or the next one to
 * wait. Setting an event that is already set has no effect. Everything that the calling thread
 * wrote before is visible to the threads that the call releases.
 *
 * Does not block. Not a cancellation point. The call makes a system call only if a thread waits,
 * or if a thread stopped waiting without having been woken: it was killed or cancelled, or its
 * time-out expired. If the process is killed in the call, it has set the event and woken a waiting
 * thread, or neither; or it has set the event, and threads that began to wait during the call see
 * it up to 100 ms late. May be called from any thread, from a signal handler, and in the child
 * after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  e is NULL or not aligned to 16
 *   EPROTO  e is not an event made by ipc_event_init
 *   ESTALE  it was made by another version of the library
 */
int ipc_event_set(struct ipc_event *e);

/**
 * Clears an event. If the event was set, the calling thread sees everything that was written
 * before it was set.
 *
 * Does not block, and makes no system call. Not a cancellation point. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  e is NULL or not aligned to 16
 *   EPROTO  e is not an event made by ipc_event_init
 *   ESTALE  it was made by another version of the library
 */
int ipc_event_clear(struct ipc_event *e);

/**
 * Waits until an event is set. With automatic reset, the call clears the event.
 *
 * If the event is set, the call returns at once. timeout_ms is in milliseconds: -1 waits without
 * limit, 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run. Everything that was
 * written before the event was set is visible to the calling thread. With manual reset the call
 * also returns if the event was set and cleared again while it waited.
 *
 * A process that is killed while it waits consumes no set: with automatic reset the waiting thread
 * itself clears the event, just before the call returns. If the thread is killed or cancelled
 * between its wake-up and that moment, the event stays set. Another waiting thread sees it at most
 * 100 ms later, because each waiting thread checks the event that often.
 *
 * Blocks as timeout_ms says. A cancellation point unless timeout_ms is 0. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and the event is not set
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     e is NULL or not aligned to 16, or timeout_ms is below -2
 *   EPROTO     e is not an event made by ipc_event_init
 *   ESTALE     it was made by another version of the library
 *   ETIMEDOUT  the time-out expired
 */
int ipc_event_wait(struct ipc_event *e, int timeout_ms);

/**
 * Checks whether an event is set, and does not clear it. The result can be outdated when the call
 * returns.
 *
 * Does not block, and makes no system call. Not a cancellation point. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns 1 if it is set, 0 if not, or -1 with errno:
 *   EINVAL  e is NULL or not aligned to 16
 *   EPROTO  e is not an event made by ipc_event_init
 *   ESTALE  it was made by another version of the library
 */
int ipc_event_is_set(const struct ipc_event *e);

/* Cell ----------------------------------------------------------------------------------------- */

/**
 * Flag of ipc_cell_init: processes that can write to the memory may wait with ipc_cell_wait. A
 * store makes a system call only if a thread waits.
 */
#define IPC_CELL_F_WAITABLE 1

/**
 * Flag of ipc_cell_open: the handle does not store, so the memory may be mapped read-only.
 */
#define IPC_CELL_F_RDONLY 2

/**
 * Flag of ipc_cell_init and ipc_cell_open: no other handle stores while this one exists. Its
 * stores need no lock.
 */
#define IPC_CELL_F_SOLE_WRITER 4

/**
 * Flag of ipc_cell_init: handles with IPC_CELL_F_RDONLY may wait too. They cannot announce
 * themselves, so each store makes a system call. Includes IPC_CELL_F_WAITABLE.
 */
#define IPC_CELL_F_WAITABLE_RDONLY 8

/**
 * A handle of a cell in this process. The memory of the cell belongs to the caller.
 */
struct ipc_cell;

/**
 * Returns the size of the shared memory that a cell needs for values of up to value_size bytes. It
 * is several times value_size, because old values stay while readers may copy them.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the number of bytes, or 0 if value_size is 0 or too large for any memory. Does not
 * change errno.
 */
size_t ipc_cell_memory_size(size_t value_size);

/**
 * Makes a cell: a value of 1 to value_size bytes that processes share. A new cell has no value.
 *
 * mem is aligned to 16 bytes and has mem_size bytes, at least ipc_cell_memory_size(value_size). It
 * may contain anything except a cell that is still used. No other process should be able to
 * truncate the memory (use System V shared memory, or a sealed memfd): an access to a truncated
 * mapping raises SIGBUS. The memory belongs to the caller, and stays mapped until ipc_cell_close.
 * flags is 0 or a combination of IPC_CELL_F_WAITABLE, IPC_CELL_F_WAITABLE_RDONLY and
 * IPC_CELL_F_SOLE_WRITER (see ipc_cell_open). *ret_cell becomes a handle for this process; another
 * process opens the same memory with ipc_cell_open. If the process is killed during the call, the
 * memory contains no cell, and ipc_cell_open fails with EPROTO.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_cell unchanged:
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, flags has an unknown flag, or value_size
 *           is 0 or too large for any memory
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
 * and ipc_cell_wait write. The memory may contain anything, and may change at any time: the call
 * checks the sizes once and keeps them in the handle. Whatever another process writes,
 * ipc_cell_load and ipc_cell_wait stay within mem_size bytes.
 *
 * With IPC_CELL_F_SOLE_WRITER the calling thread becomes the only writer of the cell, until it
 * closes the handle or ends, or its process dies. It holds the lock between the writers all that
 * time, so its stores need no lock, and are several times as fast while others read. Stores by
 * other handles wait until then. Only this thread may store with the handle, and only this thread
 * closes it.
 *
 * The memory belongs to the caller, and stays mapped until ipc_cell_close (for a sole writer:
 * until its own thread has closed the handle, or ends). After fork the child has its own copy of
 * the handle, which works, and which the child closes. The parent stays the sole writer: a store
 * with its handle in the child fails with EPERM.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_cell unchanged:
 *   EBUSY   flags is IPC_CELL_F_SOLE_WRITER, and the cell has a sole writer, or a store is in
 *           progress
 *   EINVAL  mem or ret_cell is NULL, mem is not aligned, or flags has an unknown flag, or both
 *           IPC_CELL_F_RDONLY and IPC_CELL_F_SOLE_WRITER
 *   ENOMEM  no memory for the handle
 *   EPROTO  the memory contains no complete cell, or one that is larger than mem_size
 *   ESTALE  another version of the library has made the cell with another layout; or, with
 *           IPC_CELL_F_SOLE_WRITER, its lock is that of another C library
 */
int ipc_cell_open(const void *mem, size_t mem_size, unsigned int flags, struct ipc_cell **ret_cell);

/**
 * Replaces the value by len bytes, from 1 to ipc_cell_value_size.
 *
 * A reader gets the old value until the new one is complete, then the new one, and never a part of
 * either, even if this process is killed at any instruction of the call. Each store gives the
 * value a version: 1 for the first value, incremented by 1 for each further one. Several threads
 * and processes may store, one after the other. timeout_ms is the time to wait for other writers,
 * in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits until a signal
 * handler has run. A writer that dies does not stop the others. A sole writer
 * (IPC_CELL_F_SOLE_WRITER) never waits.
 *
 * In a cell made with IPC_CELL_F_WAITABLE the store wakes the waiting threads, and makes a system
 * call only if there are any, or if one was killed while it waited. If a process is killed between
 * the publication and the wake-up, the waiting threads see the value up to 100 ms late. In a cell
 * made with IPC_CELL_F_WAITABLE_RDONLY each store makes one system call, which publishes and
 * wakes. If a system call filter refuses that call, the store makes two calls, and the delay can
 * be a second.
 *
 * A process that stores must trust all processes that can write to the memory, because the lock
 * between the writers is in it. A process that only loads and waits does not need to.
 *
 * Blocks as timeout_ms says, and only while another writer stores. Not a cancellation point. May
 * be called from any thread, by several at once, and in the child after fork; with the handle of a
 * sole writer only from its thread; not from a signal handler.
 *
 * Returns 0, or -1 with errno and nothing stored:
 *   EAGAIN     timeout_ms is 0, and another thread is storing
 *   EBADF      the handle is for reading only (IPC_CELL_F_RDONLY)
 *   EDEADLK    this thread is the sole writer with another handle
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     c or value is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is greater than ipc_cell_value_size
 *   EPERM      the handle is that of a sole writer, which is another thread, or the parent of this
 *              process
 *   EPROTO     another process has overwritten the cell
 *   ESTALE     the lock in the cell is that of another C library
 *   ETIMEDOUT  the time-out expired, and another thread is still storing
 *
 * The algorithm is a row of seqlocks (Lameter, "Effective synchronization on Linux/NUMA systems",
 * 2005): the writer fills the next slot, and readers copy the last complete one.
 */
int ipc_cell_store(struct ipc_cell *c, const void *value, size_t len, int timeout_ms);

/**
 * Copies the current value, all bytes from the same store, to a buffer of cap bytes.
 *
 * *ret_version becomes its version; ret_version may be NULL. The call writes nothing to the shared
 * memory and takes no lock: readers do not disturb each other, and delay no writer. After the
 * value, within cap bytes, the buffer can contain parts of a value that writers have replaced
 * during the call. After EAGAIN or EPROTO the buffer can contain anything; after another error
 * too, if writers stored during the call. *ret_version is unchanged after any error.
 *
 * Does not block, whatever the writers do. Not a cancellation point. May be called from any
 * thread, by several at once, from a signal handler, and in the child after fork.
 *
 * Returns the length of the value, or -1 with errno:
 *   EAGAIN    during each of 64 attempts, writers replaced the value more often than the cell has
 *             slots (at least four). This was observed only with hostile writers
 *   EINVAL    c or value is NULL, or cap is 0
 *   EMSGSIZE  the value is longer than cap
 *   ENODATA   the cell has no value yet
 *   EPROTO    another process has overwritten the cell
 */
ssize_t ipc_cell_load(const struct ipc_cell *c, void *value, size_t cap, uint64_t *ret_version);

/**
 * Waits until the version of the value differs from seen: a version from ipc_cell_load, or 0 to
 * wait for the first value.
 *
 * The thread sleeps during the wait. Several values may have been stored when the call returns.
 * timeout_ms is as for ipc_cell_store. The cell must have been made with IPC_CELL_F_WAITABLE or
 * IPC_CELL_F_WAITABLE_RDONLY. With the former the call announces the waiting thread in the memory,
 * so the handle must not have IPC_CELL_F_RDONLY; with the latter it writes nothing.
 *
 * The call checks the version itself every 100 ms (IPC_CELL_F_WAITABLE_RDONLY: every second),
 * because a process that can read the memory can intercept its wake-up, and a writer can be killed
 * just before it wakes the waiting threads. This interval is the longest delay. If a process is
 * killed while it waits, the next store makes one unnecessary system call.
 *
 * Blocks as timeout_ms says. A cancellation point unless timeout_ms is 0. May be called from any
 * thread, by several at once, from a signal handler, and in the child after fork.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      timeout_ms is 0, and the version is still seen
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      c is NULL, or timeout_ms is below -2
 *   EOPNOTSUPP  the cell was made without a flag that allows this handle to wait. A handle with
 *               IPC_CELL_F_RDONLY cannot announce itself to stores, and needs
 *               IPC_CELL_F_WAITABLE_RDONLY
 *   EPROTO      another process has overwritten the cell
 *   ETIMEDOUT   the time-out expired, and the version is still seen
 */
int ipc_cell_wait(const struct ipc_cell *c, uint64_t seen, int timeout_ms);

/**
 * Returns the size of the largest value of a cell: the value_size with which it was made.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns the number of bytes, or 0 if c is NULL.
 */
size_t ipc_cell_value_size(const struct ipc_cell *c);

/**
 * Frees a handle. The cell and its memory stay unchanged. NULL does nothing.
 *
 * The thread that opened a handle with IPC_CELL_F_SOLE_WRITER closes it, and is no longer the sole
 * writer then. If another thread closes it, the handle is freed, and the first thread stays the
 * sole writer until it ends. The memory must stay mapped until then, because it is linked into the
 * list of locks that the thread holds.
 *
 * Does not block. Not a cancellation point. May be called from any thread, once no thread uses the
 * handle, and in the child after fork; not from a signal handler. Cannot fail.
 */
void ipc_cell_close(struct ipc_cell *c);


/* ==============================================================================================
 * Layer 4: channels and feeds
 * ============================================================================================== */

/* Channels: options and opening ---------------------------------------------------------------- */

/**
 * Flag of struct ipc_channel_opts: allocate and map all memory of the ring that this side sends
 * through before the channel is used.
 */
#define IPC_CHANNEL_F_PREFAULT 1

/**
 * Flag of struct ipc_channel_opts: lock the ring that this side sends through in memory
 * (mlock(2)).
 */
#define IPC_CHANNEL_F_LOCK 2

/**
 * Flag of struct ipc_channel_opts: a blocking call sleeps at once, without spinning.
 */
#define IPC_CHANNEL_F_NO_SPIN 4

/**
 * Flag of struct ipc_channel_opts, for ipc_channel_connect only: if no process listens at the path,
 * wait for one.
 */
#define IPC_CHANNEL_F_WAIT 8

/**
 * Flag of struct ipc_channel_opts: messages can carry descriptors (ipc_channel_send_fds). Both
 * sides must set it. Each end then keeps its socket, which is one descriptor more.
 */
#define IPC_CHANNEL_F_FDS 16

/**
 * One end of a channel. One thread may send on it while another one receives.
 */
struct ipc_channel;

/**
 * Options of a channel. All zeros are the defaults.
 */
struct ipc_channel_opts {
    /**
     * IPC_CHANNEL_F_PREFAULT, IPC_CHANNEL_F_LOCK, IPC_CHANNEL_F_NO_SPIN, IPC_CHANNEL_F_FDS and,
     * for ipc_channel_connect, IPC_CHANNEL_F_WAIT, or'ed
     */
    unsigned int flags;
    /**
     * how long a blocking call spins before it sleeps, in microseconds, at most 1000000. 0: about
     * 10 microseconds while spinning succeeds. A call does not spin if both sides run on the same
     * processor
     */
    unsigned int spin_us;
    /**
     * the size of the ring that this side sends through, in bytes, rounded up to a power of two of
     * at least 64 KiB; 0: 256 KiB
     */
    uint64_t send_size;
    /**
     * for ipc_channel_pair, the size of the ring that the second end sends through; 0: as
     * send_size. For the other functions it must be 0, because the peer chooses the size
     */
    uint64_t recv_size;
    /**
     * the largest ring to accept from a peer, in bytes; 0: 16 MiB. This process maps the ring, and
     * the memory may be charged to it
     */
    uint64_t recv_size_max;
    /**
     * the length of a message that must be possible to send, whatever send_size is, in bytes; 0:
     * no such requirement. At most 2147483647. With IPC_CHANNEL_F_FDS such a message can carry
     * descriptors, and the limit is 2147483631
     */
    uint64_t message_max;
    /**
     * the alignment of reserved and received messages in the rings of both sides, in bytes:
     * 8, 16, 32 or 64; 0: 8. If the sides ask for different ones, both get the larger one. A larger
     * alignment makes short messages occupy more of the ring
     */
    unsigned int message_align;
    /**
     * must be 0
     */
    unsigned int reserved;
};

/**
 * Makes both ends of a channel, for a process and a child that it forks.
 *
 * A channel carries messages in both directions and preserves their boundaries. The messages pass
 * through shared memory: each direction has a ring that only its sender can write. After fork each
 * process closes the end that it does not use, as with socketpair(2). Only then does each process
 * notice when the other end is closed.
 *
 * opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. ret_ch is an
 * array of two; the caller closes both ends with ipc_channel_close. An end uses two descriptors,
 * with IPC_CHANNEL_F_FDS three, and two more after ipc_channel_fd. In a process with several
 * threads it uses one more when a receiving thread first sleeps in a call, and one more when a
 * sending thread does. All are close-on-exec.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler. Two threads must not send on the same end concurrently, nor
 * receive on it.
 *
 * If two processes have the same end after fork, the first one to send on it owns the sending
 * direction, and the first one to receive on it owns the receiving direction. The calls of the
 * other process then fail with EBUSY, and no message is lost. If the direction was used before the
 * fork and both processes use it at the same moment, this is not detected reliably. Two processes
 * that own one direction each must not wait in calls at the same time: the peer wakes only one.
 *
 * Returns 0, or -1 with errno and ret_ch unchanged:
 *   E2BIG   opts sets a member that this version does not know
 *   EFBIG   the size of the ring exceeds RLIMIT_FSIZE
 *   EINVAL  ret_ch is NULL, opts has an unknown flag or an invalid size or time, opts_size is
 *           smaller than the structure's first version, or the kernel is older than Linux 5.1
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, the memory could not
 *           be locked, or would exceed RLIMIT_MEMLOCK
 *   ENOSPC  the ring would be larger than all memory and swap space; or, with
 *           IPC_CHANNEL_F_PREFAULT, not enough memory is free
 *   EPERM   IPC_CHANNEL_F_LOCK, and the process may not lock memory
 */
int ipc_channel_pair(const struct ipc_channel_opts *opts,
                     size_t opts_size,
                     struct ipc_channel **ret_ch);

/**
 * Makes the end of a channel over a connected socket. The peer makes its end with the same call.
 *
 * sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
 * ipc_pair_open, socketpair(2) or accept(2). Each side sends one message of 64 bytes over it;
 * after that the channel does not use the socket. The caller may close it at any time. If both
 * sides have set IPC_CHANNEL_F_FDS, the channel keeps a duplicate of the socket for the
 * descriptors of the messages, and the caller may only close it.
 *
 * timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. opts is as for ipc_channel_pair, with recv_size 0.
 *
 * Blocks as timeout_ms says, until the peer has also called this function. Not a cancellation
 * point: use a time-out. If the call fails after it has sent its part of the handshake (EAGAIN,
 * EINTR, ETIMEDOUT and others), it shuts the socket down for both sides (shutdown(2)). The socket
 * cannot be used again, and the peer notices: it gets EPIPE, or the end of the session at once.
 * May be called from any thread and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_channel_pair's errors, and
 *   EAGAIN        timeout_ms is 0, and the peer has not sent its handshake yet
 *   EBADF         sock is not open
 *   EBUSY         another process that has the socket has received the peer's handshake
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        recv_size is not 0, or timeout_ms is below -2
 *   ENOBUFS       no memory is left for the handshake
 *   ENOTCONN      sock is not connected
 *   ENOTSOCK      sock is not a socket
 *   EOPNOTSUPP    sock is not a local socket
 *   EPIPE         the peer has closed the socket or died, or accepts no descriptors
 *                 (SO_PASSRIGHTS)
 *   EPROTO        the peer does not use this protocol, its memory does not have the required
 *                 seals, or its ring is larger than recv_size_max; or the socket is full of other
 *                 data
 *   ESTALE        the peer uses another version of the protocol
 *   ETIMEDOUT     the time-out expired
 *   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
 */
int ipc_channel_from_fd(int sock,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);

/**
 * Listens for channels at a path.
 *
 * path is a path in the file system, or "@name" for an abstract name that is in no file system
 * (unix(7)). The path gets exactly this mode before a client can connect: every process that may
 * write it may connect. For "@name" the mode is ignored, and every process on the system may
 * connect. If a listener that has ended left the path behind, the call replaces it; it never
 * replaces the path of a running listener.
 *
 * flags is 0. The caller can poll the descriptor, which is readable when a client waits to be
 * accepted, and closes it. It is close-on-exec and non-blocking. The path stays after the close:
 * remove it with unlink(2), before close(2). In the other order, unlink can remove the path of
 * another listener that has replaced this one in between.
 *
 * For a path NAME the call creates a lock file .NAME.lock in the same directory, and removes it
 * again. If the process is killed in between, the empty file stays, and the next listener takes it
 * over.
 *
 * Blocks for at most about a second, while another process starts to listen at the same path. Not
 * a cancellation point. May be called from any thread and in the child after fork; not from a
 * signal handler.
 *
 * Returns the descriptor, or -1 with errno:
 *   EACCES        no permission to search or write the directory, or the lock file belongs to
 *                 another user
 *   EADDRINUSE    a process listens at the path, or has been starting to for a second; or path is
 *                 not a socket
 *   EDQUOT        the quota of the file system is exhausted
 *   EEXIST        the path of the lock file is not a regular file
 *   EINVAL        path is NULL or "@", mode has other bits than permissions, or flags is not 0
 *   ELOOP         too many symbolic links in the path
 *   EMFILE        the process has no descriptor left
 *   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes)
 *   ENFILE        the system has no open file left
 *   ENOENT        the directory does not exist, or path is empty
 *   ENOLCK        the system has no memory for locks
 *   ENOMEM        no memory is left
 *   ENOSPC        the file system is full
 *   ENOTDIR       a part of the path is not a directory
 *   EPERM         the file system does not support sockets
 *   EROFS         the file system is read-only
 */
int ipc_channel_listen(const char *path, mode_t mode, unsigned int flags);

/**
 * Accepts a client as the end of a channel.
 *
 * listen_fd is from ipc_channel_listen, or any other local socket that listens. A client sends its
 * handshake immediately after it has connected. The call waits for the handshake for up to 1 ms
 * and within timeout_ms (with 0 it only yields the processor once), and then completes it. If the
 * handshake arrives later, the first call on the channel that needs the peer completes it, under
 * its own time-out, and reports its errors. A silent client costs the server one descriptor, and
 * delays this call by at most 1 ms.
 *
 * A client that has died already is accepted like any other, and the first call on the channel
 * reports its death: a receive returns 0, a send fails with EPIPE. If the call fails, the client
 * stays in the queue of the listener.
 *
 * No system call accepts with a time-out, so the call sets O_NONBLOCK on the open file description
 * of listen_fd, permanently and for all processes that share it.
 *
 * timeout_ms is as for ipc_channel_from_fd, and opts as for ipc_channel_pair, with recv_size 0.
 *
 * Blocks as timeout_ms says, until a client connects. A cancellation point while it waits for a
 * client: no client is lost. May be called from any thread, by several at once, and in the child
 * after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_ch unchanged:
 *   E2BIG       opts sets a member that this version does not know
 *   EAGAIN      timeout_ms is 0, and no client has connected
 *   EBADF       listen_fd is not open
 *   EFBIG       the size of the ring exceeds RLIMIT_FSIZE
 *   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL      ret_ch is NULL, listen_fd does not listen, opts has an unknown flag or an invalid
 *               size or time, recv_size is not 0, opts_size is smaller than the structure's first
 *               version, or timeout_ms is below -2
 *   EMFILE      the process has fewer than the five descriptors left that the handshake needs
 *   ENFILE      the system has no open file left
 *   ENOMEM      no memory is left
 *   ENOSPC      the ring would be larger than all memory and swap space
 *   ENOTSOCK    listen_fd is not a socket
 *   EOPNOTSUPP  listen_fd is not a local socket, or is a non-blocking one of type SOCK_DGRAM
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
 * path is as for ipc_channel_listen, and opts as for ipc_channel_pair, with recv_size 0.
 * timeout_ms is as for ipc_channel_from_fd. It limits the whole call: the wait for a listener, the
 * wait until the listener's queue has space, and the handshake.
 *
 * If no process listens at the path, the call fails. With the flag IPC_CHANNEL_F_WAIT in opts it
 * waits until a process listens, within timeout_ms: while the path or its directory does not exist
 * (ENOENT), while no process listens (ECONNREFUSED), and after the listener has closed the
 * connection or died (EPIPE). The call notices a new path at once (inotify(7)). It tries again
 * after pauses of up to 100 ms for "@name" and for a directory that it cannot watch, and of up to
 * 1 s if the path leads to another directory by a symbolic link. EACCES ends the wait after 100
 * ms, because a listener can set the mode after it has created the path; all other errors end it
 * at once. With timeout_ms 0 the flag has no effect. The flag uses one more descriptor during the
 * wait.
 *
 * Blocks as timeout_ms says, until the handshake is complete: the listener has called
 * ipc_channel_accept and, if that did not complete the handshake, a function that uses its
 * channel. Not a cancellation point: use a time-out. May be called from any thread and in the
 * child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_channel_pair's errors, and
 *   EACCES        no permission to write the path, or to search a directory of it
 *   EAGAIN        timeout_ms is 0, and the listener's queue is full, or the handshake is not
 *                 complete
 *   ECONNREFUSED  no process listens at the path, or it listens with another type than
 *                 SOCK_SEQPACKET
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        path is NULL or "@", recv_size is not 0, or timeout_ms is below -2
 *   ELOOP         too many symbolic links in the path
 *   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes)
 *   ENOBUFS       no memory is left for the handshake
 *   ENOENT        the path does not exist, or is empty
 *   ENOTDIR       a part of the path is not a directory
 *   EPIPE         the listener has closed the connection or died, or accepts no descriptors
 *                 (SO_PASSRIGHTS)
 *   EPROTO        the listener does not use this protocol, its memory does not have the required
 *                 seals, or its ring is larger than recv_size_max
 *   ESTALE        the listener uses another version of the protocol
 *   ETIMEDOUT     the time-out expired
 *   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
 */
int ipc_channel_connect(const char *path,
                        const struct ipc_channel_opts *opts,
                        size_t opts_size,
                        int timeout_ms,
                        struct ipc_channel **ret_ch);

/* Channels: sending ---------------------------------------------------------------------------- */

/**
 * Sends one message, completely or not at all.
 *
 * len is from 1 to ipc_channel_max. The call copies the message into the ring. If the ring is
 * full, the call waits as timeout_ms says: in milliseconds, -1 waits without limit, 0 does not
 * wait, IPC_WAIT_INTR waits until a signal handler has run.
 *
 * The call makes a system call only to wait, to wake the peer, and to check that the peer is
 * alive. It checks this after 64 messages of which the peer has received none. If ipc_channel_fd
 * was not called, a call with timeout_ms 0 that finds the ring full checks it too, at most once in
 * 20 microseconds.
 *
 * The peer receives every message that was sent, even if this process dies at once. A send detects
 * that the peer has gone when it has to wake the peer, when the ring is full, and otherwise within
 * 128 messages. The messages that were sent in the meantime are lost.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
 * Two threads must not send on the same end concurrently. May be called in the child after fork;
 * not from a signal handler. Does not raise SIGPIPE.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and the ring is full
 *   EBUSY      a message is reserved (ipc_channel_reserve); or another process has this end from
 *              fork, and has sent on it: nothing was sent
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or buf is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is greater than ipc_channel_max
 *   EPIPE      the peer has gone or has ended receiving, and has not received this message; or
 *              this side has ended sending
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, until a call has completed the handshake:
 *   EAGAIN        timeout_ms is 0, and the client has not sent its handshake
 *   EBUSY         another process that has this end from fork has received the client's handshake;
 *                 or this process was forked while another thread completed the handshake
 *   EFBIG         the size of the ring exceeds RLIMIT_FSIZE
 *   EINVAL        the kernel is older than Linux 5.1
 *   EMFILE        the process has no descriptor left
 *   ENFILE        the system has no open file left
 *   ENOBUFS       no memory is left for the handshake
 *   ENOMEM        no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, the memory
 *                 could not be locked, or would exceed RLIMIT_MEMLOCK
 *   ENOSPC        the ring would be larger than all memory and swap space; with
 *                 IPC_CHANNEL_F_PREFAULT, not enough memory is free; or, after ipc_channel_fd, the
 *                 user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 *   EPERM         IPC_CHANNEL_F_LOCK, and the process may not lock memory
 *   EPIPE         the client has closed the connection or died, or accepts no descriptors
 *                 (SO_PASSRIGHTS)
 *   EPROTO        the client does not use this protocol, its memory does not have the required
 *                 seals, or its ring is larger than recv_size_max
 *   ESTALE        the client uses another version of the protocol
 *   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
 * After EBUSY, EPIPE, EPROTO and ESTALE the handshake has failed permanently. After the other
 * errors it is still pending, and the call can be repeated, except if the kernel refused an epoll
 * watch (ENOSPC, ENOMEM): then it has failed permanently too.
 */
int ipc_channel_send(struct ipc_channel *ch, const void *buf, size_t len, int timeout_ms);

/**
 * Sends one message that consists of several parts, completely or not at all.
 *
 * iov is an array of iovcnt buffers, from 1 to 1024; the message is their content in order. A
 * buffer may be empty, but the message is not: its length is from 1 to ipc_channel_max. The call
 * copies the parts into the ring and waits as ipc_channel_send does.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
 * Two threads must not send on the same end concurrently. May be called in the child after fork;
 * not from a signal handler. Does not raise SIGPIPE.
 *
 * Returns the length of the message, or -1 with errno: ipc_channel_send's errors, and
 *   EINVAL    iov is NULL, iovcnt is not from 1 to 1024, or a buffer that is not empty is NULL
 *   EMSGSIZE  the buffers together are longer than ipc_channel_max
 */
ssize_t ipc_channel_sendv(struct ipc_channel *ch,
                          const struct iovec *iov,
                          int iovcnt,
                          int timeout_ms);

/**
 * Sends several messages at once.
 *
 * msgs is an array of count buffers; each is one message of 1 to ipc_channel_max bytes. The call
 * waits, as timeout_ms says, until the first message fits into the ring. It sends further messages
 * with the first one as long as they fit without waiting, and ends before a message that is not
 * valid. So it may send fewer than count: call it again with the others.
 *
 * The receiver gets the messages one by one, or several at once by ipc_channel_recv_many. They
 * become visible together: if this process is killed during the call, the peer receives either
 * none of the messages or all that the call would have reported.
 *
 * The call costs less than a send for each message: it publishes the messages and checks whether
 * the peer sleeps only once.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: nothing is then sent. Two
 * threads must not send on the same end concurrently. May be called in the child after fork; not
 * from a signal handler. Does not raise SIGPIPE.
 *
 * Returns the number of messages that were sent, at least 1; or -1 with errno: ipc_channel_send's
 * errors for the first message, and
 *   EINVAL  msgs is NULL, count is 0, or the first buffer is NULL or empty
 */
ssize_t ipc_channel_send_many(struct ipc_channel *ch,
                              const struct iovec *msgs,
                              size_t count,
                              int timeout_ms);

/**
 * Reserves space for one message in the ring, which the caller fills in place.
 *
 * len is from 1 to ipc_channel_max. The caller may read and write the space until
 * ipc_channel_commit sends it or ipc_channel_cancel releases it. The space is aligned to 8 bytes,
 * and its content is undefined at first. If the ring is full, the call waits as ipc_channel_send
 * does.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
 * handlers the rules of ipc_channel_send apply.
 *
 * Returns the address of the space, or NULL with errno: ipc_channel_send's errors.
 */
void *ipc_channel_reserve(struct ipc_channel *ch, size_t len, int timeout_ms);

/**
 * Sends the first len bytes of the reserved space as one message, and releases the rest.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_channel_send apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   another process has this end from fork, and has sent on it. The space is no longer
 *           reserved
 *   EINVAL  ch is NULL, no space is reserved, or len is 0 or greater than the reserved length
 *   EPIPE   the peer has gone or has ended receiving, and has not received this message; or this
 *           side has ended sending. The space is no longer reserved
 *   EPROTO  the peer has violated the protocol. The space is no longer reserved
 */
int ipc_channel_commit(struct ipc_channel *ch, size_t len);

/**
 * Releases the reserved space without sending.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_channel_send apply.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch is NULL, or no space is reserved
 */
int ipc_channel_cancel(struct ipc_channel *ch);

/**
 * Returns the length of the longest message that this end can send, in bytes.
 *
 * An empty ring always has space for such a message. Does not block. May be called from any
 * thread, from a signal handler, and in the child after fork.
 *
 * Returns the length, or 0 with errno:
 *   EINVAL  ch is NULL
 */
size_t ipc_channel_max(const struct ipc_channel *ch);

/* Channels: receiving -------------------------------------------------------------------------- */

/**
 * Receives one message.
 *
 * The call copies the message into buf, a buffer of cap bytes. If the message is longer, the call
 * fails with EMSGSIZE and the message stays in the ring: receive it with a larger buffer, or read
 * it with ipc_channel_peek. Descriptors that come with the message are closed: receive them with
 * ipc_channel_recv_fds. The call returns all messages that the peer sent before it ended, and
 * then reports the end. timeout_ms is as for ipc_channel_send.
 *
 * A call that waits notices at once that the peer has gone. A call with timeout_ms 0 that finds no
 * message checks this at most once in 20 microseconds; after ipc_channel_fd, each time.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Two threads
 * must not receive on the same end concurrently. May be called in the child after fork; not from a
 * signal handler.
 *
 * Returns the length of the message; 0 at the end of the session; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no message is available
 *   EBUSY      another process has this end from fork, and has received on it: nothing was
 *              received
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or buf is NULL, cap is 0, or timeout_ms is below -2
 *   EMSGSIZE   the message is longer than cap
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, the errors of the handshake that ipc_channel_send lists (EPIPE is
 * the end of the session here):
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
 *   ETOOMANYREFS
 */
ssize_t ipc_channel_recv(struct ipc_channel *ch, void *buf, size_t cap, int timeout_ms);

/**
 * Receives several messages at once.
 *
 * inout_msgs is an array of count buffers; each receives one message, and its iov_len becomes the
 * length of that message. The call waits, as timeout_ms says, for the first message. It receives
 * further messages with the first one as long as there are any, and ends before a message that is
 * longer than its buffer, and before and after one with descriptors, which it closes. So it may
 * receive fewer than count. The other buffers are unchanged.
 *
 * The call costs less than a receive for each message: it releases the messages and checks whether
 * the peer sleeps only once.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: no message is then received. Two
 * threads must not receive on the same end concurrently. May be called in the child after fork;
 * not from a signal handler.
 *
 * Returns the number of messages that were received, 0 at the end of the session, or
 * -1 with errno: ipc_channel_recv's errors for the first message, and
 *   EINVAL    inout_msgs is NULL, count is 0, or the first buffer is NULL or empty
 *   EMSGSIZE  the first message is longer than its buffer; it stays queued
 */
ssize_t ipc_channel_recv_many(struct ipc_channel *ch,
                              struct iovec *inout_msgs,
                              size_t count,
                              int timeout_ms);

/**
 * Returns the next message in the ring without receiving it.
 *
 * The message stays in the ring until ipc_channel_release or ipc_channel_recv takes it. Until then
 * it can be read at *ret_buf, which is aligned to 8 bytes. Its length is fixed, but a hostile peer
 * can change its bytes at any time: copy them before you check them. Receive its descriptors with
 * ipc_channel_recv_fds; the other two calls close them. timeout_ms is as for
 * ipc_channel_send.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
 * handlers the rules of ipc_channel_recv apply.
 *
 * Returns the length of the message; 0 at the end of the session; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no message is available
 *   EBUSY      another process has this end from fork, and has received on it
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or ret_buf is NULL, or timeout_ms is below -2
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, the errors of the handshake, as for ipc_channel_recv:
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
 *   ETOOMANYREFS
 * *ret_buf changes only if there is a message.
 */
ssize_t ipc_channel_peek(struct ipc_channel *ch, const void **ret_buf, int timeout_ms);

/**
 * Takes the message that ipc_channel_peek has returned out of the ring.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_channel_recv apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   another process has this end from fork, and has received on it. The message is no
 *           longer available
 *   EINVAL  ch is NULL, or ipc_channel_peek has not returned a message
 *   EPROTO  the descriptors of the message are missing: the peer has violated the protocol
 */
int ipc_channel_release(struct ipc_channel *ch);

/* Channels: descriptors ------------------------------------------------------------------------ */

/**
 * Sends one message with descriptors, completely or not at all.
 *
 * Both sides have made their ends with IPC_CHANNEL_F_FDS. The receiver gets the message in order
 * with all others, and duplicates of the nfds descriptors in fds, if it receives with
 * ipc_channel_recv_fds. The descriptors of the sender stay open. With nfds 0, when fds may be
 * NULL, the call is ipc_channel_send.
 *
 * len is from 1 to 16 less than ipc_channel_max. The descriptors travel over the socket of the
 * channel, whose queue usually has space for 278 messages with descriptors. The call waits for
 * space in the ring and in this queue as timeout_ms says: in milliseconds, -1 waits without limit,
 * 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run. It makes one system call
 * more than ipc_channel_send.
 *
 * The peer receives the message with its descriptors even if this process dies at once. The kernel
 * closes the descriptors of a message that the peer does not receive, at the latest when all
 * processes have closed the peer's end.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
 * Two threads must not send on the same end concurrently. May be called in the child after fork;
 * not from a signal handler. Does not raise SIGPIPE.
 *
 * Returns 0, or -1 with errno: ipc_channel_send's errors, and
 *   EAGAIN           timeout_ms is 0, and the ring or the queue of the socket is full
 *   EBADF            one of fds is not open
 *   EINVAL           nfds exceeds IPC_MSG_FDS_MAX, or fds is NULL and nfds is not 0
 *   EMSGSIZE         len + 16 is greater than ipc_channel_max
 *   ENOBUFS, ENOMEM  no memory is left
 *   EOPNOTSUPP       this side or the peer has made its end without IPC_CHANNEL_F_FDS
 *   EPIPE            the peer accepts no descriptors (SO_PASSRIGHTS)
 *   ETOOMANYREFS     too many descriptors of this user are in flight (see ipc_msg_send)
 */
int ipc_channel_send_fds(struct ipc_channel *ch,
                         const void *buf,
                         size_t len,
                         const int *fds,
                         size_t nfds,
                         int timeout_ms);

/**
 * Receives one message, and the descriptors that come with it.
 *
 * The call receives any message of the channel, as ipc_channel_recv does, whether descriptors come
 * with it or not. On entry *inout_nfds is the number of elements of ret_fds; on success it is the
 * number of descriptors that were stored, 0 at the end of the session. The caller closes them;
 * they are close-on-exec. Descriptors that do not fit are closed. If inout_nfds is NULL, all
 * descriptors are closed; ipc_channel_recv closes them too. After ipc_channel_peek the call
 * receives the message that ipc_channel_peek has returned; ipc_channel_release closes its
 * descriptors.
 *
 * If the call fails, the message stays in the ring, and its descriptors stay with it. If a process
 * is killed while it receives a message with descriptors, the message and its descriptors are
 * lost, or a related process that has the same end receives both.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Two threads
 * must not receive on the same end concurrently. May be called in the child after fork; not from a
 * signal handler.
 *
 * Returns the length of the message; 0 at the end of the session; or -1 with errno, and ret_fds
 * and inout_nfds unchanged: ipc_channel_recv's errors, and
 *   EBUSY   another process has this end from fork, and has received the descriptors
 *   EINVAL  ret_fds is NULL, and *inout_nfds is not 0
 *   EMFILE  the process has too few descriptors left for those of the message, or a security
 *           module refuses one
 *   ENOMEM  no memory is left
 *   EPROTO  the descriptors of the message are missing
 */
ssize_t ipc_channel_recv_fds(struct ipc_channel *ch,
                             void *buf,
                             size_t cap,
                             int *ret_fds,
                             size_t *inout_nfds,
                             int timeout_ms);

/* Channels: calls ------------------------------------------------------------------------------ */

/**
 * The number of bytes that a request or a reply occupies in the ring in addition to its own: the
 * longest has ipc_channel_max - IPC_CHANNEL_CALL_OVERHEAD bytes.
 */
#define IPC_CHANNEL_CALL_OVERHEAD 24

/**
 * Sends a request to the peer, and waits for the reply to it.
 *
 * The peer receives the request with ipc_channel_next_call and answers it with ipc_channel_reply.
 * req has len bytes, at least 1 and at most ipc_channel_max - IPC_CHANNEL_CALL_OVERHEAD. ret_rep is
 * a buffer of cap bytes for the reply, which may be empty; it may be NULL if cap is 0.
 *
 * timeout_ms, as for ipc_channel_send, limits the whole call: sending and waiting for the reply.
 * With 0 no reply can arrive, so the call sends nothing and fails; with EPIPE if the peer is known
 * to have gone, otherwise with EAGAIN. A server skips a request whose call has timed out before the
 * server received it.
 *
 * A call that fails after it has sent its request ends: the server may still execute the request,
 * but a later call discards the reply to it. The channel can be used for further calls. That the
 * request was not sent is certain after EAGAIN, EBUSY, EINVAL and EMSGSIZE for the request.
 *
 * One side calls and the other serves. Before it sends, and while it waits, the call discards late
 * replies. It leaves any other message of the peer, and each with descriptors, in the ring, and
 * fails with EBADMSG: receive the message with ipc_channel_recv, or with ipc_channel_next_call if
 * it is a request.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the request may have been sent.
 * A call uses both directions of the end: no other thread may send, receive or call on it
 * concurrently. Threads that call at the same time need a channel each. May be called in the child
 * after fork, if the parent no longer uses the end; not from a signal handler. Does not raise
 * SIGPIPE.
 *
 * Returns the length of the reply, which may be 0; or -1 with errno and ret_rep unchanged:
 *   EAGAIN     timeout_ms is 0: nothing was sent
 *   EBADMSG    the next message of the peer is not a reply; it stays in the ring
 *   EBUSY      a message is reserved (ipc_channel_reserve), or ipc_channel_peek has returned a
 *              message that was not released; or another process has this end from fork, and has
 *              used it
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch or req is NULL, len is 0, ret_rep is NULL and cap is not 0, or timeout_ms is
 *              below -2
 *   EMSGSIZE   the request is too long; or the reply is longer than cap, and was discarded
 *   EPIPE      the peer has gone or has ended sending or receiving, and has not replied; or this
 *              side has ended sending or receiving
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, the errors of the handshake that ipc_channel_send lists:
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPIPE, EPROTO
 *   ESTALE, ETOOMANYREFS
 */
ssize_t ipc_channel_call(struct ipc_channel *ch,
                         const void *req,
                         size_t len,
                         void *ret_rep,
                         size_t cap,
                         int timeout_ms);

/**
 * Receives the next request that the peer has sent with ipc_channel_call.
 *
 * The call copies the request into ret_buf, a buffer of cap bytes, and stores the id of the call in
 * *ret_id, for ipc_channel_reply. The id is not 0. If the request is longer than cap, it stays in
 * the ring, and the call fails with EMSGSIZE. A server may hold several requests and reply in any
 * order. It need not reply to each.
 *
 * The call discards requests whose caller has given up because its time-out expired, and replies,
 * which are late. It reads the time-out as a time of CLOCK_MONOTONIC. If the peer lives in another
 * time namespace (time_namespaces(7)) with another offset of that clock, the peer must call
 * without a time-out.
 *
 * The peer may also send ordinary messages. The call leaves such a message, and each with
 * descriptors, in the ring, and fails with EBADMSG. Receive it with ipc_channel_recv.
 *
 * timeout_ms is as for ipc_channel_send. With 0 the call fits into an event loop, as
 * ipc_channel_recv does: see ipc_channel_fd.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: no request is lost. For threads,
 * fork and signal handlers the rules of ipc_channel_recv apply. Another thread may reply at the
 * same time.
 *
 * Returns the length of the request, at least 1; 0 at the end of the session; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no request is available
 *   EBADMSG    the next message is not a request; it stays in the ring
 *   EBUSY      another process has this end from fork, and has received on it: nothing was
 *              received
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     ch, ret_buf or ret_id is NULL, cap is 0, or timeout_ms is below -2
 *   EMSGSIZE   the request is longer than cap
 *   EPROTO     the peer has violated the protocol: the channel can only be closed
 *   ETIMEDOUT  the time-out expired
 * and, on an accepted channel, the errors of the handshake, as for ipc_channel_recv:
 *   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
 *   ETOOMANYREFS
 * ret_buf and *ret_id change only if there is a request.
 */
ssize_t ipc_channel_next_call(struct ipc_channel *ch,
                              void *ret_buf,
                              size_t cap,
                              uint64_t *ret_id,
                              int timeout_ms);

/**
 * Sends the reply to a request.
 *
 * id is the one that ipc_channel_next_call has stored. buf has len bytes, at most ipc_channel_max -
 * IPC_CHANNEL_CALL_OVERHEAD. len may be 0, and buf may be NULL then. If the caller no longer waits
 * for this reply, or if there was no such call, the caller discards it: the library does not check
 * the id. timeout_ms is as for ipc_channel_send. A server that must not wait for a caller that
 * never receives passes a time-out.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the reply is then not sent. For
 * threads, fork and signal handlers the rules of ipc_channel_send apply. Does not raise SIGPIPE.
 *
 * Returns 0, or -1 with errno: ipc_channel_send's errors, except for:
 *   EINVAL    ch is NULL, buf is NULL and len is not 0, id is 0, or timeout_ms is below -2
 *   EMSGSIZE  the reply is too long
 */
int ipc_channel_reply(struct ipc_channel *ch,
                      uint64_t id,
                      const void *buf,
                      size_t len,
                      int timeout_ms);

/* Readiness, state and closing ----------------------------------------------------------------- */

/**
 * Counters of an end of a channel, from its creation on.
 */
struct ipc_channel_stats {
    /**
     * messages sent
     */
    uint64_t sent_messages;
    /**
     * bytes in the messages sent
     */
    uint64_t sent_bytes;
    /**
     * messages received
     */
    uint64_t received_messages;
    /**
     * bytes in the messages received
     */
    uint64_t received_bytes;
    /**
     * number of times that a call on this end slept
     */
    uint64_t sleeps;
    /**
     * number of times that this end woke its peer
     */
    uint64_t wakes;
    /**
     * number of sends and reservations that found the ring full, or the socket full of descriptors
     */
    uint64_t full;
};

/**
 * Returns the descriptor of an end, for poll, epoll and similar calls.
 *
 * It becomes readable (POLLIN, and no other event):
 * - for a message;
 * - for the end of the session, until a receive has reported it;
 * - for the death of the peer, and then it stays readable;
 * - after a send or reservation that failed with EAGAIN, when half of the ring is free;
 * - on an accepted channel, when the handshake can continue.
 *
 * Spurious readiness is possible.
 *
 * The descriptor stays readable until a receive fails with EAGAIN. When it is readable, first
 * retry a send that failed with EAGAIN, then receive. With level-triggered polling the caller may
 * stop after any number of messages, because the descriptor stays readable. With edge-triggered
 * polling it must receive until EAGAIN or the end of the session.
 *
 * A send that failed with EAGAIN requests a signal when there is free space. The request ends only
 * after that signal: when the same thread sends a message of at least that length without waiting
 * (timeout_ms 0), or when its receives fail with EAGAIN twice. Calls of other threads, and sends
 * that wait, do not end it. Use the descriptor from one event loop only.
 *
 * After the first call the peer must wake this side for each message that this side waits for. A
 * program that waits in the channel functions themselves, or polls them, does not need the
 * descriptor.
 *
 * The descriptor belongs to the channel, which closes it. Do not read from it or write to it. Each
 * call returns the same descriptor.
 *
 * Does not block. May be called from any thread and in the child after fork; not from a signal
 * handler. If the parent had the descriptor before the fork, the child shares it, as with
 * epoll_create(2).
 *
 * Returns the descriptor, or -1 with errno:
 *   EBUSY   this process was forked while another thread completed the handshake
 *   EINVAL  ch is NULL
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory is left
 *   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 */
int ipc_channel_fd(struct ipc_channel *ch);

/**
 * Ends one or both directions, permanently and for all processes that have this end.
 *
 * how is one of:
 * - SHUT_WR: the peer receives all messages that were sent, and then the end.
 * - SHUT_RD: the sends of the peer fail with EPIPE from then on; this side receives the messages
 *   that are in the ring, and then the end.
 * - SHUT_RDWR: both.
 *
 * Calls that wait on this end in other threads of this process end too. A message that another
 * thread sends at the same moment, or that the peer sends before it has noticed, may still arrive
 * after the end. A message that was reserved before SHUT_WR cannot be sent.
 *
 * If the handshake is not complete, the call records the shutdown, and the peer learns of it when
 * the handshake completes.
 *
 * Does not block. May be called from any thread at any time and in the child after fork; not from
 * a signal handler.
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  ch is NULL, or how is another value
 */
int ipc_channel_shutdown(struct ipc_channel *ch, int how);

/**
 * Closes this process's handle of an end, with its descriptors and its memory.
 *
 * When no process has this end open, the peer receives all messages that were sent, and then the
 * end. A child that has the end from fork keeps it open. The call releases reserved space; a
 * message that ipc_channel_peek has returned must not be read after it. NULL does nothing. No
 * other thread may use ch during the call or after it.
 *
 * Does not block. Not a cancellation point. May be called in the child after fork; not from a
 * signal handler.
 */
void ipc_channel_close(struct ipc_channel *ch);

/**
 * Gets the credentials of the peer.
 *
 * They are those of the process that connected, listened, or made the socket (see ipc_peer_cred);
 * for ipc_channel_pair, of the process that made the channel. cred_size is sizeof(*ret_cred), as
 * for ipc_peer_cred.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno and ret_cred unchanged:
 *   EINVAL  ch or ret_cred is NULL, or cred_size is smaller than the structure's first version
 */
int ipc_channel_peer_cred(const struct ipc_channel *ch,
                          struct ipc_cred *ret_cred,
                          size_t cred_size);

/**
 * Opens a pidfd of the peer.
 *
 * It refers to the process whose ID ipc_channel_peer_cred returns, and is as for ipc_peer_pidfd:
 * close-on-exec, readable when the process has ended, and closed by the caller. A channel keeps no
 * descriptor of its peer. So the call opens the process ID, and reads from /proc whether that
 * process had started when this end was made. If not, the ID is used again: ESRCH.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork. Not a cancellation point.
 *
 * Returns the descriptor, or -1 with errno:
 *   EINVAL      ch is NULL
 *   EMFILE      the process has no descriptor left
 *   ENFILE      the system has no open file left
 *   ENOMEM      no memory is left
 *   ENOSYS      the kernel is older than Linux 5.3, or a filter refuses pidfd_open(2)
 *   EOPNOTSUPP  /proc does not show the process
 *   ESRCH       the process has ended, or is in another PID namespace
 */
int ipc_channel_peer_pidfd(const struct ipc_channel *ch);

/**
 * Gets the counters of an end.
 *
 * stats_size is sizeof(*ret_stats); a shorter structure, from an older version, gets the first
 * members, and in a longer one the rest becomes zero. The counters cover the calls of this
 * process: the child of a fork continues with the numbers of its parent.
 *
 * Does not block. May be called from any thread, from a signal handler, and in the child after
 * fork.
 *
 * Returns 0, or -1 with errno and ret_stats unchanged:
 *   EINVAL  ch or ret_stats is NULL, or stats_size is smaller than the structure's first version
 */
int ipc_channel_stats(const struct ipc_channel *ch,
                      struct ipc_channel_stats *ret_stats,
                      size_t stats_size);

/* Feeds: options and opening ------------------------------------------------------------------- */

/**
 * Flag of struct ipc_feed_opts: allocate and map all memory of the ring before the feed is used.
 */
#define IPC_FEED_F_PREFAULT 1

/**
 * Flag of struct ipc_feed_opts: lock the ring in memory (mlock(2)).
 */
#define IPC_FEED_F_LOCK 2

/**
 * Flag of struct ipc_feed_opts: a publication that waits for space sleeps at once, without
 * spinning.
 */
#define IPC_FEED_F_NO_SPIN 4

/**
 * The size of the name of a subscriber, with its terminating null byte.
 */
#define IPC_SUB_NAME_SIZE 32

/**
 * The size of the identity of a feed.
 */
#define IPC_FEED_ID_SIZE 16

/**
 * The publisher of a feed. Only one thread may use it at once.
 */
struct ipc_feed;

/**
 * Options of a feed. All zeros are the defaults.
 */
struct ipc_feed_opts {
    /**
     * IPC_FEED_F_PREFAULT, IPC_FEED_F_LOCK and IPC_FEED_F_NO_SPIN, or'ed
     */
    unsigned int flags;
    /**
     * how long a publication that waits for space spins before it sleeps, in microseconds, at most
     * 1000000. 0: about 100 microseconds while spinning succeeds
     */
    unsigned int spin_us;
    /**
     * the size of the ring in bytes, rounded up to a power of two of at least 64 KiB and at most
     * 16 GiB; 0: 256 KiB
     */
    uint64_t size;
    /**
     * the length of a message that must be possible to publish, whatever size is, in bytes; 0: no
     * such requirement. At most 2147483647
     */
    uint64_t message_max;
    /**
     * the alignment of reserved and received messages in bytes: 8, 16, 32 or 64; 0: 8
     */
    unsigned int message_align;
    /**
     * the number of subscribers that the feed may have, at most 65536; 0: 64. Each needs two
     * descriptors of the publisher
     */
    unsigned int subscribers_max;
    /**
     * how long a reliable subscriber may hold a publication up, in milliseconds. Then it becomes
     * lossy. 0: without limit
     */
    int stall_ms;
    /**
     * 1: only lossy subscribers are admitted; 0: reliable ones too
     */
    unsigned int lossy_only;
};

/**
 * Makes a feed, which carries messages from this process to many subscribers.
 *
 * Every subscriber receives every message. The messages pass through a ring in shared memory that
 * only this process can write; a message is copied into it once, whatever the number of
 * subscribers. Subscribers come by a path (ipc_feed_listen), or over a connected socket
 * (ipc_feed_add).
 *
 * The publisher waits for a reliable subscriber: a message is not overwritten before the
 * subscriber has read it. It never waits for a lossy one, which is told how many messages it has
 * lost. A subscriber chooses its kind (struct ipc_sub_opts); the option lossy_only refuses
 * reliable ones, and the option stall_ms makes a reliable one that stalls lossy.
 *
 * opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. The caller
 * closes the feed with ipc_feed_close. It uses two descriptors, one more with ipc_feed_listen, one
 * more with ipc_feed_fd, and two for each subscriber. All are close-on-exec.
 *
 * Does not block. Not a cancellation point. May be called from any thread and in the child after
 * fork; not from a signal handler. Only one thread may use a feed at once. After fork the feed
 * belongs to the parent: in the child every call but ipc_feed_info and ipc_feed_close fails with
 * EBUSY. The child should close its copy: while it has one, subscribers do not notice the death of
 * the parent.
 *
 * Returns 0, or -1 with errno and *ret_feed unchanged:
 *   E2BIG   opts sets a member that this version does not know
 *   EFBIG   the size of the ring exceeds RLIMIT_FSIZE
 *   EINVAL  ret_feed is NULL, opts has an unknown flag or an invalid size, number or time,
 *           opts_size is smaller than the structure's first version, or the kernel is older than
 *           Linux 5.1
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory or address space is left; or, with IPC_FEED_F_LOCK, the memory could not be
 *           locked, or would exceed RLIMIT_MEMLOCK
 *   ENOSPC  the ring would be larger than all memory and swap space; or, with
 *           IPC_FEED_F_PREFAULT, not enough memory is free
 *   EPERM   IPC_FEED_F_LOCK, and the process may not lock memory
 */
int ipc_feed_create(const struct ipc_feed_opts *opts, size_t opts_size, struct ipc_feed **ret_feed);

/**
 * Listens for subscribers at a path.
 *
 * path and mode are as for ipc_channel_listen: every process that may write the path may
 * subscribe, and for "@name" every process on the system may. flags is 0. A feed listens at one
 * path. ipc_feed_close removes the path.
 *
 * A subscriber that connects is admitted by ipc_feed_service, by a publication that waits for
 * space, and by other publications: at once if one finds a subscriber asleep or there are none,
 * and otherwise by every 16th, at most once in a few milliseconds. A publisher that publishes
 * nothing and waits in an event loop uses ipc_feed_fd. A client that connects and sends nothing
 * costs one descriptor for about a second.
 *
 * Blocks for at most about a second, while another process starts to listen at the same path. Not
 * a cancellation point. For threads, fork and signal handlers the rules of ipc_feed_create apply.
 *
 * Returns 0, or -1 with errno: ipc_channel_listen's errors, and
 *   EBUSY   the feed listens already; or this process has the feed from fork
 *   EINVAL  feed is NULL
 *   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 */
int ipc_feed_listen(struct ipc_feed *feed, const char *path, mode_t mode, unsigned int flags);

/**
 * Admits the process at the other end of a connected socket.
 *
 * sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
 * ipc_pair_open, socketpair(2) or accept(2). The other process calls ipc_sub_from_fd. The feed
 * keeps a duplicate of the socket until the subscriber has asked for its admission. The caller may
 * close sock at any time, and uses it for nothing else. A subscriber that asks later is admitted
 * as described for ipc_feed_listen.
 *
 * Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
 * ipc_feed_create apply.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN      64 sockets have been added whose other ends have not asked for an admission
 *   EBADF       sock is not open
 *   EBUSY       this process has the feed from fork
 *   EINVAL      feed is NULL
 *   EMFILE      the process has no descriptor left
 *   ENOMEM      no memory is left
 *   ENOSPC      the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 *   ENOTCONN    sock is not connected
 *   ENOTSOCK    sock is not a socket
 *   EOPNOTSUPP  sock is not a local socket
 */
int ipc_feed_add(struct ipc_feed *feed, int sock);

/**
 * Closes a feed, with its descriptors and its memory, and removes the path at which it listens.
 *
 * The subscribers receive all messages that were published, and then the end of the feed. In a
 * child that has the feed from fork, the call only releases the child's copy. The call releases
 * reserved space. NULL does nothing. No other thread may use feed during the call or after it.
 *
 * Does not block. Not a cancellation point. May be called in the child after fork; not from a
 * signal handler.
 */
void ipc_feed_close(struct ipc_feed *feed);

/* Feeds: publishing ---------------------------------------------------------------------------- */

/**
 * Publishes one message to all subscribers.
 *
 * len is from 1 to message_max of struct ipc_feed_info. The call copies the message into the ring.
 * The first message of a feed has the sequence number 0, the next one 1, and so on. If reliable
 * subscribers have not read the messages that this one would overwrite, the call waits for them as
 * timeout_ms says: in milliseconds, -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
 * until a signal handler has run. It does not wait for a subscriber that has ended, nor longer
 * than stall_ms for one that stalls.
 *
 * While the subscribers are busy, the call makes no system call, except one about every few
 * milliseconds for those that want to be admitted (see ipc_feed_listen). It wakes each subscriber
 * that sleeps.
 *
 * Every subscriber receives a message that was published, even if this process dies at once.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: the message is then not
 * published. Only one thread may use a feed at once. Fails in the child after fork; not for signal
 * handlers. Does not raise SIGPIPE.
 *
 * Returns 0, or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and a reliable subscriber leaves no space
 *   EBUSY      a message is reserved (ipc_feed_reserve); or this process has the feed from fork
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     feed or buf is NULL, len is 0, or timeout_ms is below -2
 *   EMSGSIZE   len is greater than message_max of struct ipc_feed_info
 *   ETIMEDOUT  the time-out expired
 */
int ipc_feed_publish(struct ipc_feed *feed, const void *buf, size_t len, int timeout_ms);

/**
 * Reserves space for one message in the ring, which the caller fills in place.
 *
 * len is as for ipc_feed_publish. The caller may read and write the space until ipc_feed_commit
 * publishes it or ipc_feed_cancel releases it. The space is aligned to 8 bytes, or to
 * message_align, and its content is undefined at first. The messages that the space overwrites are
 * lost for lossy subscribers from this call on. If reliable subscribers leave no space, the call
 * waits as ipc_feed_publish does.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
 * handlers the rules of ipc_feed_publish apply.
 *
 * Returns the address of the space, or NULL with errno: ipc_feed_publish's errors.
 */
void *ipc_feed_reserve(struct ipc_feed *feed, size_t len, int timeout_ms);

/**
 * Publishes the reserved message.
 *
 * len is from 1 to the length that was reserved; only the first len bytes are published.
 *
 * Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
 * ipc_feed_publish apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   this process has the feed from fork
 *   EINVAL  feed is NULL, nothing is reserved, or len is 0 or too large
 */
int ipc_feed_commit(struct ipc_feed *feed, size_t len);

/**
 * Releases the reserved space, and publishes nothing.
 *
 * Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
 * ipc_feed_publish apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   this process has the feed from fork
 *   EINVAL  feed is NULL, or nothing is reserved
 */
int ipc_feed_cancel(struct ipc_feed *feed);

/* Feeds: subscribers and state ----------------------------------------------------------------- */

/**
 * State of a subscriber: the publisher does not wait for it.
 */
#define IPC_SUB_S_LOSSY 1

/**
 * State of a subscriber: it was reliable, and became lossy because it stalled for stall_ms.
 */
#define IPC_SUB_S_STALLED 2

/**
 * State of a subscriber: it sleeps until the next message.
 */
#define IPC_SUB_S_ASLEEP 4

/**
 * State of a subscriber: the last publication waits for it, or was refused because of it.
 */
#define IPC_SUB_S_HOLDS 8

/**
 * A subscriber of a feed.
 */
struct ipc_feed_subscriber {
    /**
     * the process that connected, as in struct ipc_cred
     */
    pid_t pid;
    /**
     * its user
     */
    uid_t uid;
    /**
     * its group
     */
    gid_t gid;
    /**
     * IPC_SUB_S_LOSSY, IPC_SUB_S_STALLED, IPC_SUB_S_ASLEEP and IPC_SUB_S_HOLDS, or'ed
     */
    unsigned int state;
    /**
     * the number of messages that it has not received yet
     */
    uint64_t lag_messages;
    /**
     * the number of bytes of the ring that these occupy
     */
    uint64_t lag_bytes;
    /**
     * the number of messages that it has lost
     */
    uint64_t lost;
    /**
     * its name; empty if it has none. It may contain any bytes
     */
    char name[IPC_SUB_NAME_SIZE];
};

/**
 * The facts about a feed.
 */
struct ipc_feed_info {
    /**
     * random bytes that identify the feed
     */
    uint8_t feed_id[IPC_FEED_ID_SIZE];
    /**
     * the number of messages that were published: the sequence number of the next one
     */
    uint64_t published;
    /**
     * the length of the longest message that can be published
     */
    uint64_t message_max;
};

/**
 * Admits the subscribers that wait, and forgets those that have ended.
 *
 * It handles up to 16 events, so that its time is bounded; the descriptor of ipc_feed_fd stays
 * readable if there are more. Publications call it too, see ipc_feed_listen.
 *
 * Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
 * ipc_feed_create apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY   this process has the feed from fork
 *   EINVAL  feed is NULL
 *   EMFILE  a subscriber waits to be accepted, and the process has no descriptor left. It stays in
 *           the queue; a call or publication after 10 ms tries again
 *   ENFILE  as EMFILE, and the system has no open file left
 *   ENOMEM  as EMFILE, and no memory is left
 *   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches), and a
 *           subscriber was refused
 */
int ipc_feed_service(struct ipc_feed *feed);

/**
 * Returns the descriptor of a feed, for poll, epoll and similar calls.
 *
 * It becomes readable (POLLIN, and no other event):
 * - when a subscriber waits to be admitted, or has ended;
 * - after a publication or reservation that failed with EAGAIN, when the reliable subscribers have
 *   read half of the ring, or one of them has held the publisher up for stall_ms.
 *
 * Spurious readiness is possible. When it is readable, call ipc_feed_service, and then retry the
 * publication that failed with EAGAIN. It does not become readable when the process has
 * descriptors again after EMFILE: wait for some time, and then do the same.
 *
 * The descriptor belongs to the feed, which closes it. Do not read from it or write to it. Each
 * call returns the same descriptor.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_feed_create apply.
 *
 * Returns the descriptor, or -1 with errno:
 *   EBUSY   this process has the feed from fork
 *   EINVAL  feed is NULL
 *   EMFILE  the process has no descriptor left for a timer
 *   ENFILE  as EMFILE, and the system has no open file left
 *   ENOMEM  as EMFILE, and no memory is left
 *   ENOSPC  as EMFILE, and the user has too many epoll watches
 *           (/proc/sys/fs/epoll/max_user_watches)
 */
int ipc_feed_fd(struct ipc_feed *feed);

/**
 * Reports the subscribers of a feed, with their lag.
 *
 * ret is an array of count elements of size bytes each (sizeof(*ret)); NULL if count is 0. The
 * call writes the first count subscribers, in any order, and returns the number of all: if it is
 * greater than count, the array was too small. Lag, state and lost of a subscriber come from
 * memory that only the subscriber writes. The call limits them to possible values, but a hostile
 * subscriber can report wrong ones.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_feed_create apply.
 *
 * Returns the number of subscribers, or -1 with errno:
 *   EBUSY   this process has the feed from fork
 *   EINVAL  feed is NULL; or count is not 0, and ret is NULL or size is smaller than the
 *           structure's first version
 */
ssize_t ipc_feed_subscribers(struct ipc_feed *feed,
                             struct ipc_feed_subscriber *ret,
                             size_t count,
                             size_t size);

/**
 * Gets the facts about a feed.
 *
 * size is sizeof(*ret_info).
 *
 * Does not block. For threads and signal handlers the rules of ipc_feed_create apply; may be
 * called in the child after fork.
 *
 * Returns 0, or -1 with errno and ret_info unchanged:
 *   EINVAL  feed or ret_info is NULL, or size is smaller than the structure's first version
 */
int ipc_feed_info(struct ipc_feed *feed, struct ipc_feed_info *ret_info, size_t size);

/* Feeds: subscribing --------------------------------------------------------------------------- */

/**
 * Flag of struct ipc_sub_opts: the publisher does not wait for this subscriber, which may lose
 * messages.
 */
#define IPC_SUB_F_LOSSY 1

/**
 * Flag of struct ipc_sub_opts: begin with the oldest message that is left in the ring. The
 * publisher may give up to an eighth of the ring up early. Without this flag and
 * IPC_SUB_F_FROM_SEQ, begin with the next message that is published.
 */
#define IPC_SUB_F_OLDEST 2

/**
 * Flag of struct ipc_sub_opts: begin with the message that has the sequence number seq.
 */
#define IPC_SUB_F_FROM_SEQ 4

/**
 * Flag of struct ipc_sub_opts: a blocking call sleeps at once, without spinning.
 */
#define IPC_SUB_F_NO_SPIN 8

/**
 * Flag of struct ipc_sub_opts, for ipc_sub_connect only: if no process listens at the path, wait
 * for one.
 */
#define IPC_SUB_F_WAIT 16

/**
 * A subscriber of a feed. Only one thread may use it at once.
 */
struct ipc_sub;

/**
 * Options of a subscriber. All zeros are the defaults.
 */
struct ipc_sub_opts {
    /**
     * IPC_SUB_F_LOSSY, IPC_SUB_F_OLDEST, IPC_SUB_F_FROM_SEQ, IPC_SUB_F_NO_SPIN and, for
     * ipc_sub_connect, IPC_SUB_F_WAIT, or'ed. IPC_SUB_F_OLDEST and IPC_SUB_F_FROM_SEQ exclude each
     * other
     */
    unsigned int flags;
    /**
     * how long a blocking call spins before it sleeps, in microseconds, at most 1000000. 0: about
     * 10 microseconds while spinning succeeds
     */
    unsigned int spin_us;
    /**
     * with IPC_SUB_F_FROM_SEQ, the sequence number of the first message to receive; otherwise 0
     */
    uint64_t seq;
    /**
     * the largest ring to accept, in bytes; 0: 16 MiB. This process maps the ring
     */
    uint64_t size_max;
    /**
     * a name that ipc_feed_subscribers shows, of at most 31 bytes; NULL: none
     */
    const char *name;
    /**
     * the identity of the feed (struct ipc_sub_info), if the subscriber continues to read one that
     * it has read before. Another feed is then refused with ESTALE. Zeros: any feed
     */
    uint8_t feed_id[IPC_FEED_ID_SIZE];
};

/**
 * Subscribes to the feed that listens at a path.
 *
 * path is as for ipc_feed_listen. opts points to options of opts_size bytes (sizeof(*opts)); NULL
 * means the defaults: a reliable subscriber that begins with the next message.
 *
 * The call returns when the publisher has admitted the subscriber, or when its time-out ends. A
 * publisher that publishes nothing and does not call ipc_feed_service admits no subscriber: use a
 * time-out. timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR
 * waits until a signal handler has run. It limits the whole call: with IPC_SUB_F_WAIT the wait for
 * a listener, as for ipc_channel_connect, the wait for a place in the listener's queue, and the
 * wait for the admission.
 *
 * With IPC_SUB_F_FROM_SEQ a subscriber continues where it ended before: seq is the sequence number
 * after that of its last message, and feed_id is that of the feed. If the publisher has
 * overwritten that message, the first receive fails with EOVERFLOW, which says where to go on.
 *
 * The caller closes the subscriber with ipc_sub_close. It uses two descriptors, and two more after
 * ipc_sub_fd. In a process with several threads it uses one more when a call first sleeps. All are
 * close-on-exec.
 *
 * Blocks as timeout_ms says. Not a cancellation point: use a time-out. May be called from any
 * thread and in the child after fork; not from a signal handler. Only one thread may use a
 * subscriber at once.
 *
 * Returns 0, or -1 with errno and *ret_sub unchanged:
 *   E2BIG         opts sets a member that this version does not know
 *   EACCES        no permission to search the directory or to write the path
 *   EAGAIN        timeout_ms is 0, and the publisher has not admitted the subscriber yet
 *   ECONNREFUSED  no process listens at the path, or the socket there is not a feed's
 *   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL        ret_sub or path is NULL, path is "@", opts has an unknown flag or an invalid
 *                 time, both IPC_SUB_F_OLDEST and IPC_SUB_F_FROM_SEQ are set, seq is set without
 *                 IPC_SUB_F_FROM_SEQ, opts_size is smaller than the structure's first version,
 *                 timeout_ms is below -2, or the kernel is older than Linux 5.1
 *   ELOOP         too many symbolic links in the path
 *   EMFILE        the process has no descriptor left
 *   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes), or the name is
 *                 longer than 31 bytes
 *   ENFILE        the system has no open file left
 *   ENOBUFS       no memory is left for the handshake
 *   ENOENT        the path does not exist, or is empty
 *   ENOMEM        no memory or address space is left
 *   ENOSPC        the system has no memory left
 *   ENOTDIR       a part of the path is not a directory
 *   EOPNOTSUPP    the feed admits only lossy subscribers
 *   EPIPE         the publisher has ended, or has no descriptor or memory left for a subscriber, or
 *                 has dropped it among many clients that send nothing: connect again
 *   EPROTO        the listener does not use this protocol, its memory does not have the required
 *                 seals, or its ring is larger than size_max
 *   ESTALE        the feed is not that of feed_id, or has not published as many messages as seq
 *                 says; or the publisher uses another version of the protocol
 *   ETIMEDOUT     the time-out expired
 *   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
 *   EUSERS        the feed has as many subscribers as it may have
 */
int ipc_sub_connect(const char *path,
                    const struct ipc_sub_opts *opts,
                    size_t opts_size,
                    int timeout_ms,
                    struct ipc_sub **ret_sub);

/**
 * Subscribes to a feed over a connected socket, whose other end the publisher has passed to
 * ipc_feed_add, or will pass to it.
 *
 * sock is as for ipc_feed_add; the caller may close it after the call. opts and timeout_ms are as
 * for ipc_sub_connect, without IPC_SUB_F_WAIT.
 *
 * Blocks as timeout_ms says, until the publisher has admitted the subscriber; so the thread that
 * publishes cannot call it. Not a cancellation point: use a time-out. If the call fails after it
 * has sent its request (EAGAIN, EINTR, ETIMEDOUT and others), it shuts the socket down for both
 * sides (shutdown(2)), because the publisher may have admitted the subscriber. May be called from
 * any thread and in the child after fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno: ipc_sub_connect's errors without those of a path, and
 *   EBADF       sock is not open
 *   EBUSY       another process that has the socket has received the publisher's answer
 *   ENOTCONN    sock is not connected
 *   ENOTSOCK    sock is not a socket
 *   EOPNOTSUPP  sock is not a local socket, or the feed admits only lossy subscribers
 */
int ipc_sub_from_fd(int sock,
                    const struct ipc_sub_opts *opts,
                    size_t opts_size,
                    int timeout_ms,
                    struct ipc_sub **ret_sub);

/**
 * Closes a subscriber, with its descriptors and its memory.
 *
 * The publisher no longer waits for it. A child that has the subscriber from fork keeps it open. A
 * message that ipc_sub_peek has returned must not be read after the call. NULL does nothing. No
 * other thread may use sub during the call or after it.
 *
 * Does not block. Not a cancellation point. May be called in the child after fork; not from a
 * signal handler.
 */
void ipc_sub_close(struct ipc_sub *sub);

/* Feeds: receiving ----------------------------------------------------------------------------- */

/**
 * The facts about a subscriber and its feed.
 */
struct ipc_sub_info {
    /**
     * random bytes that identify the feed
     */
    uint8_t feed_id[IPC_FEED_ID_SIZE];
    /**
     * the sequence number of the next message to receive
     */
    uint64_t next_seq;
    /**
     * the number of messages that the feed has published
     */
    uint64_t published;
    /**
     * the number of messages that this subscriber has lost
     */
    uint64_t lost;
    /**
     * the process that listened, or made the socket, as in struct ipc_cred
     */
    struct ipc_cred publisher;
    /**
     * 0
     */
    uint32_t reserved;
};

/**
 * Receives one message.
 *
 * The call copies the message into buf, a buffer of cap bytes, and its sequence number into
 * *ret_seq; ret_seq may be NULL. If the message is longer, the call fails with EMSGSIZE and the
 * message stays: receive it with a larger buffer. timeout_ms is in milliseconds: -1 waits without
 * limit, 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run.
 *
 * Sequence numbers have no gaps. If the publisher has overwritten the next message, the call
 * fails with EOVERFLOW, *ret_seq is the sequence number of the message that the next call receives,
 * and all messages before it are lost. Only a lossy subscriber is overtaken, and a reliable one
 * that has stalled for the publisher's stall_ms: it is lossy from then on. If it is overtaken twice
 * within a short time, it goes on with a message up to three eighths of the ring after the oldest
 * one, so that it is not overtaken again at once. A message that is being overwritten is never
 * received.
 *
 * The call returns all messages that were published before the publisher ended, and then reports
 * the end. A call with timeout_ms 0 that finds no message checks whether the publisher is alive at
 * most once in 20 microseconds; after ipc_sub_fd, each time.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Only one
 * thread may use a subscriber at once. May be called in the child after fork; not from a signal
 * handler.
 *
 * Returns the length of the message; 0 at the end of the feed; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no message is available
 *   EBUSY      another process has this subscriber from fork, and has received with it: nothing
 *              was received
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     sub or buf is NULL, cap is 0, or timeout_ms is below -2
 *   EMSGSIZE   the message is longer than cap
 *   EOVERFLOW  messages were lost; *ret_seq says where to go on
 *   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
 *   ETIMEDOUT  the time-out expired
 */
ssize_t ipc_sub_recv(struct ipc_sub *sub, void *buf, size_t cap, uint64_t *ret_seq, int timeout_ms);

/**
 * Returns the next message in the ring without copying it.
 *
 * The message can be read at *ret_buf, which is aligned to 8 bytes or to the feed's message_align,
 * until ipc_sub_release or ipc_sub_recv. *ret_seq becomes its sequence number; ret_seq may be
 * NULL. Its length is fixed, but the publisher can change its bytes: a hostile one at any time, so
 * copy them before you check them; and an honest one overwrites a message that a lossy subscriber
 * reads. Then ipc_sub_release fails with EOVERFLOW, and the bytes that were read must be
 * discarded. timeout_ms is as for ipc_sub_recv.
 *
 * Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
 * handlers the rules of ipc_sub_recv apply.
 *
 * Returns the length of the message; 0 at the end of the feed; or -1 with errno:
 *   EAGAIN     timeout_ms is 0, and no message is available
 *   EBUSY      another process has this subscriber from fork, and has received with it
 *   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
 *   EINVAL     sub or ret_buf is NULL, or timeout_ms is below -2
 *   EOVERFLOW  messages were lost; *ret_seq says where to go on
 *   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
 *   ETIMEDOUT  the time-out expired
 * *ret_buf changes only if there is a message.
 */
ssize_t ipc_sub_peek(struct ipc_sub *sub, const void **ret_buf, uint64_t *ret_seq, int timeout_ms);

/**
 * Goes to the message after the one that ipc_sub_peek has returned.
 *
 * Does not block. For threads, fork and signal handlers the rules of ipc_sub_recv apply.
 *
 * Returns 0, or -1 with errno:
 *   EBUSY      another process has this subscriber from fork, and has received with it
 *   EINVAL     sub is NULL, or ipc_sub_peek has not returned a message
 *   EOVERFLOW  the publisher has overwritten the message, so the bytes at *ret_buf are not
 *              valid. The message and those up to the next one are lost; the next ipc_sub_recv or
 *              ipc_sub_peek returns the sequence number of that one
 *   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
 */
int ipc_sub_release(struct ipc_sub *sub);

/**
 * Returns the descriptor of a subscriber, for poll, epoll and similar calls.
 *
 * It becomes readable (POLLIN, and no other event):
 * - for a message, or when messages were lost;
 * - for the end of the feed, until a receive has reported it;
 * - for the death of the publisher, and then it stays readable.
 *
 * Spurious readiness is possible. It stays readable until a receive fails with EAGAIN. With
 * edge-triggered polling the caller must receive until EAGAIN or the end of the feed.
 *
 * After the first call the publisher must wake this subscriber for each message that it waits for.
 * A program that waits in the functions themselves, or polls them, does not need the descriptor.
 *
 * The descriptor belongs to the subscriber, which closes it. Do not read from it or write to it.
 * Each call returns the same descriptor.
 *
 * Does not block. Only one thread may use a subscriber at once. May be called in the child after
 * fork; not from a signal handler. If the parent had the descriptor before the fork, the child
 * shares it, as with epoll_create(2).
 *
 * Returns the descriptor, or -1 with errno:
 *   EINVAL  sub is NULL
 *   EMFILE  the process has no descriptor left
 *   ENFILE  the system has no open file left
 *   ENOMEM  no memory is left
 *   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
 */
int ipc_sub_fd(struct ipc_sub *sub);

/**
 * Gets the facts about a subscriber and its feed.
 *
 * size is sizeof(*ret_info). A subscriber that wants to continue after its process has ended
 * stores feed_id and next_seq; see ipc_sub_connect.
 *
 * Does not block. Only one thread may use a subscriber at once. May be called in the child after
 * fork; not from a signal handler.
 *
 * Returns 0, or -1 with errno and ret_info unchanged:
 *   EINVAL  sub or ret_info is NULL, or size is smaller than the structure's first version
 */
int ipc_sub_info(struct ipc_sub *sub, struct ipc_sub_info *ret_info, size_t size);

#ifdef __cplusplus
}
#endif

#ifdef UNIXIPC_SHADOW
#pragma GCC diagnostic pop
#undef UNIXIPC_SHADOW
#endif

#endif /* UNIXIPC_H */
