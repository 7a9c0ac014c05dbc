//! Making the ends of a channel.

use super::options::{COMMON_FLAGS, IPC_CHANNEL_F_WAIT, ipc_channel_opts, options};
use crate::channel::{self, Channel, Options};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno_of};
use crate::fd::borrow;
use crate::ffi::pointer::{handle_memory, into_handle, out_ptr, string};
use crate::transport::listen::listen;
use libc::{c_char, c_int, c_uint, mode_t, size_t};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;

#[cfg(cbindgen)]
/// One end of a channel. One thread may send on it while another one receives.
pub struct ipc_channel;

/// The peer of a new channel end.
enum Peer<'a> {
    /// The process at the other end of a connected socket.
    Socket(c_int),
    /// The next client of a listener.
    Client(c_int),
    /// The listener at a path.
    Listener(Result<&'a CStr>),
}

impl Peer<'_> {
    /// The flags that the options may contain.
    fn flags(&self) -> c_uint {
        match self {
            Self::Socket(_) | Self::Client(_) => COMMON_FLAGS,
            Self::Listener(_) => COMMON_FLAGS | IPC_CHANNEL_F_WAIT,
        }
    }

    /// Makes the end. None if no client waits at the listener; `has_waited` after a call of `wait`.
    fn open(
        &self,
        options: &Options,
        has_waited: bool,
        wait: &mut Deadline,
    ) -> Result<Option<Channel>> {
        match self {
            Self::Socket(sock) => channel::from_socket(borrow(*sock)?, options, wait).map(Some),
            Self::Client(fd) => channel::accept(borrow(*fd)?, options, has_waited, wait),
            Self::Listener(path) => channel::connect((*path)?, options, wait).map(Some),
        }
    }

    /// Waits for a client.
    fn wait(&self, deadline: &mut Deadline) -> Result<()> {
        match self {
            Self::Client(fd) => channel::wait_for_client(borrow(*fd)?, deadline),
            Self::Socket(_) | Self::Listener(_) => Ok(()),
        }
    }
}

/// Makes an end and returns its handle to the caller. It allocates the handle first, so that
/// nothing can fail after the end was made.
///
/// # Safety
///
/// `ret_ch` is NULL or writable; `opts` is as for [`options`].
unsafe fn return_end(
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    ret_ch: *mut *mut Channel,
    timeout_ms: c_int,
    peer: Peer,
) -> c_int {
    let open = || -> Result<c_int> {
        // SAFETY: the caller's promise.
        let options = unsafe { options(opts, opts_size, peer.flags()) }?;
        // SAFETY: the caller's promise.
        let ret_ch = unsafe { out_ptr(ret_ch) }?;
        let mut deadline = Deadline::new(timeout_ms)?;
        let mut has_waited = false;
        loop {
            let memory = handle_memory()?;
            if let Some(channel) = peer.open(&options, has_waited, &mut deadline)? {
                ret_ch.write(into_handle(memory, channel));
                return Ok(0);
            }
            // Freed before the wait, because a cancelled thread runs no `Drop`.
            drop(memory);
            peer.wait(&mut deadline)?;
            has_waited = true;
        }
    };
    or_errno_of(open, -1)
}

/// Makes both ends of a channel, for a process and a child that it forks.
///
/// A channel carries messages in both directions and preserves their boundaries. The messages pass
/// through shared memory: each direction has a ring that only its sender can write. After fork each
/// process closes the end that it does not use, as with socketpair(2). Only then does each process
/// notice when the other end is closed.
///
/// opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. ret_ch is an
/// array of two; the caller closes both ends with ipc_channel_close. An end uses two descriptors,
/// with IPC_CHANNEL_F_FDS three, and two more after ipc_channel_fd. In a process with several
/// threads it uses one more when a receiving thread first sleeps in a call, and one more when a
/// sending thread does. All are close-on-exec.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler. Two threads must not send on the same end concurrently, nor
/// receive on it.
///
/// If two processes have the same end after fork, the first one to send on it owns the sending
/// direction, and the first one to receive on it owns the receiving direction. The calls of the
/// other process then fail with EBUSY, and no message is lost. If the direction was used before the
/// fork and both processes use it at the same moment, this is not detected reliably. Two processes
/// that own one direction each must not wait in calls at the same time: the peer wakes only one.
///
/// Returns 0, or -1 with errno and ret_ch unchanged:
///   E2BIG   opts sets a member that this version does not know
///   EFBIG   the size of the ring exceeds RLIMIT_FSIZE
///   EINVAL  ret_ch is NULL, opts has an unknown flag or an invalid size or time, opts_size is
///           smaller than the structure's first version, or the kernel is older than Linux 5.1
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, the memory could not
///           be locked, or would exceed RLIMIT_MEMLOCK
///   ENOSPC  the ring would be larger than all memory and swap space; or, with
///           IPC_CHANNEL_F_PREFAULT, not enough memory is free
///   EPERM   IPC_CHANNEL_F_LOCK, and the process may not lock memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_pair(
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let open = || -> Result<c_int> {
        // SAFETY: the caller's options.
        let options = unsafe { options(opts, opts_size, COMMON_FLAGS) }?;
        // SAFETY: the caller's array of two.
        let ret_ch = unsafe { out_ptr(ret_ch.cast::<[MaybeUninit<*mut Channel>; 2]>()) }?;
        let (a_memory, b_memory) = (handle_memory()?, handle_memory()?);
        let [a, b] = Channel::pair(&options)?;
        let ends = [into_handle(a_memory, a), into_handle(b_memory, b)];
        ret_ch.write(ends.map(MaybeUninit::new));
        Ok(0)
    };
    or_errno_of(open, -1)
}

/// Makes the end of a channel over a connected socket. The peer makes its end with the same call.
///
/// sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
/// ipc_pair_open, socketpair(2) or accept(2). Each side sends one message of 64 bytes over it;
/// after that the channel does not use the socket. The caller may close it at any time. If both
/// sides have set IPC_CHANNEL_F_FDS, the channel keeps a duplicate of the socket for the
/// descriptors of the messages, and the caller may only close it.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. opts is as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until the peer has also called this function. Not a cancellation
/// point: use a time-out. If the call fails after it has sent its part of the handshake (EAGAIN,
/// EINTR, ETIMEDOUT and others), it shuts the socket down for both sides (shutdown(2)). The socket
/// cannot be used again, and the peer notices: it gets EPIPE, or the end of the session at once.
/// May be called from any thread and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EAGAIN        timeout_ms is 0, and the peer has not sent its handshake yet
///   EBADF         sock is not open
///   EBUSY         another process that has the socket has received the peer's handshake
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        recv_size is not 0, or timeout_ms is below -2
///   ENOBUFS       no memory is left for the handshake
///   ENOTCONN      sock is not connected
///   ENOTSOCK      sock is not a socket
///   EOPNOTSUPP    sock is not a local socket
///   EPIPE         the peer has closed the socket or died, or accepts no descriptors
///                 (SO_PASSRIGHTS)
///   EPROTO        the peer does not use this protocol, its memory does not have the required
///                 seals, or its ring is larger than recv_size_max; or the socket is full of other
///                 data
///   ESTALE        the peer uses another version of the protocol
///   ETIMEDOUT     the time-out expired
///   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_from_fd(
    sock: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    // SAFETY: the caller's options and output parameter.
    unsafe { return_end(opts, opts_size, ret_ch, timeout_ms, Peer::Socket(sock)) }
}

/// Listens for channels at a path.
///
/// path is a path in the file system, or "@name" for an abstract name that is in no file system
/// (unix(7)). The path gets exactly this mode before a client can connect: every process that may
/// write it may connect. For "@name" the mode is ignored, and every process on the system may
/// connect. If a listener that has ended left the path behind, the call replaces it; it never
/// replaces the path of a running listener.
///
/// flags is 0. The caller can poll the descriptor, which is readable when a client waits to be
/// accepted, and closes it. It is close-on-exec and non-blocking. The path stays after the close:
/// remove it with unlink(2), before close(2). In the other order, unlink can remove the path of
/// another listener that has replaced this one in between.
///
/// For a path NAME the call creates a lock file .NAME.lock in the same directory, and removes it
/// again. If the process is killed in between, the empty file stays, and the next listener takes it
/// over.
///
/// Blocks for at most about a second, while another process starts to listen at the same path. Not
/// a cancellation point. May be called from any thread and in the child after fork; not from a
/// signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES        no permission to search or write the directory, or the lock file belongs to
///                 another user
///   EADDRINUSE    a process listens at the path, or has been starting to for a second; or path is
///                 not a socket
///   EDQUOT        the quota of the file system is exhausted
///   EEXIST        the path of the lock file is not a regular file
///   EINVAL        path is NULL or "@", mode has other bits than permissions, or flags is not 0
///   ELOOP         too many symbolic links in the path
///   EMFILE        the process has no descriptor left
///   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes)
///   ENFILE        the system has no open file left
///   ENOENT        the directory does not exist, or path is empty
///   ENOLCK        the system has no memory for locks
///   ENOMEM        no memory is left
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a directory
///   EPERM         the file system does not support sockets
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_listen(
    path: *const c_char,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    let open = || -> Result<c_int> {
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        if flags != 0 {
            return Err(errno!(EINVAL));
        }
        Ok(listen(path, mode)?.into_raw_fd())
    };
    or_errno_of(open, -1)
}

/// Accepts a client as the end of a channel.
///
/// listen_fd is from ipc_channel_listen, or any other local socket that listens. A client sends its
/// handshake immediately after it has connected. The call waits for the handshake for up to 1 ms
/// and within timeout_ms (with 0 it only yields the processor once), and then completes it. If the
/// handshake arrives later, the first call on the channel that needs the peer completes it, under
/// its own time-out, and reports its errors. A silent client costs the server one descriptor, and
/// delays this call by at most 1 ms.
///
/// A client that has died already is accepted like any other, and the first call on the channel
/// reports its death: a receive returns 0, a send fails with EPIPE. If the call fails, the client
/// stays in the queue of the listener.
///
/// No system call accepts with a time-out, so the call sets O_NONBLOCK on the open file description
/// of listen_fd, permanently and for all processes that share it.
///
/// timeout_ms is as for ipc_channel_from_fd, and opts as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until a client connects. A cancellation point while it waits for a
/// client: no client is lost. May be called from any thread, by several at once, and in the child
/// after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_ch unchanged:
///   E2BIG       opts sets a member that this version does not know
///   EAGAIN      timeout_ms is 0, and no client has connected
///   EBADF       listen_fd is not open
///   EFBIG       the size of the ring exceeds RLIMIT_FSIZE
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      ret_ch is NULL, listen_fd does not listen, opts has an unknown flag or an invalid
///               size or time, recv_size is not 0, opts_size is smaller than the structure's first
///               version, or timeout_ms is below -2
///   EMFILE      the process has fewer than the five descriptors left that the handshake needs
///   ENFILE      the system has no open file left
///   ENOMEM      no memory is left
///   ENOSPC      the ring would be larger than all memory and swap space
///   ENOTSOCK    listen_fd is not a socket
///   EOPNOTSUPP  listen_fd is not a local socket, or is a non-blocking one of type SOCK_DGRAM
///   ETIMEDOUT   the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_accept(
    listen_fd: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let client = Peer::Client(listen_fd);
    // SAFETY: the caller's options and output parameter.
    unsafe { return_end(opts, opts_size, ret_ch, timeout_ms, client) }
}

/// Connects to a listener, as the end of a channel.
///
/// path is as for ipc_channel_listen, and opts as for ipc_channel_pair, with recv_size 0.
/// timeout_ms is as for ipc_channel_from_fd. It limits the whole call: the wait for a listener, the
/// wait until the listener's queue has space, and the handshake.
///
/// If no process listens at the path, the call fails. With the flag IPC_CHANNEL_F_WAIT in opts it
/// waits until a process listens, within timeout_ms: while the path or its directory does not exist
/// (ENOENT), while no process listens (ECONNREFUSED), and after the listener has closed the
/// connection or died (EPIPE). The call notices a new path at once (inotify(7)). It tries again
/// after pauses of up to 100 ms for "@name" and for a directory that it cannot watch, and of up to
/// 1 s if the path leads to another directory by a symbolic link. EACCES ends the wait after 100
/// ms, because a listener can set the mode after it has created the path; all other errors end it
/// at once. With timeout_ms 0 the flag has no effect. The flag uses one more descriptor during the
/// wait.
///
/// Blocks as timeout_ms says, until the handshake is complete: the listener has called
/// ipc_channel_accept and, if that did not complete the handshake, a function that uses its
/// channel. Not a cancellation point: use a time-out. May be called from any thread and in the
/// child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EACCES        no permission to write the path, or to search a directory of it
///   EAGAIN        timeout_ms is 0, and the listener's queue is full, or the handshake is not
///                 complete
///   ECONNREFUSED  no process listens at the path, or it listens with another type than
///                 SOCK_SEQPACKET
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        path is NULL or "@", recv_size is not 0, or timeout_ms is below -2
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes)
///   ENOBUFS       no memory is left for the handshake
///   ENOENT        the path does not exist, or is empty
///   ENOTDIR       a part of the path is not a directory
///   EPIPE         the listener has closed the connection or died, or accepts no descriptors
///                 (SO_PASSRIGHTS)
///   EPROTO        the listener does not use this protocol, its memory does not have the required
///                 seals, or its ring is larger than recv_size_max
///   ESTALE        the listener uses another version of the protocol
///   ETIMEDOUT     the time-out expired
///   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_connect(
    path: *const c_char,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    // SAFETY: the caller's string.
    let path = unsafe { string(path) };
    let listener = Peer::Listener(path);
    // SAFETY: the caller's options and output parameter.
    unsafe { return_end(opts, opts_size, ret_ch, timeout_ms, listener) }
}
