//! Layer 4: channels.

use super::pointer::{
    ExtensibleStruct, buffer, buffer_room, copy_struct_from, copy_struct_to, drop_handle, handle,
    handle_room, non_null, out_ptr, string,
};
use crate::channel::{self, Channel, Options, RecvHalf, SendHalf, Stats};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno, or_errno_of};
use crate::fd::borrow;
use crate::pair::Cred;
use crate::transport::spin::SpinPolicy;
use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::time::Duration;

/// A flag of ipc_channel_opts: all memory of the ring that this side sends through is allocated and
/// mapped before the channel is used.
pub const IPC_CHANNEL_F_PREFAULT: u32 = 1;
/// A flag of ipc_channel_opts: the ring that this side sends through stays in memory (mlock(2)).
pub const IPC_CHANNEL_F_LOCK: u32 = 2;

/// A flag of ipc_channel_opts: a blocking call sleeps at once, without spinning.
pub const IPC_CHANNEL_F_NO_SPIN: u32 = 4;

/// Options of a channel. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_channel_opts {
    /// IPC_CHANNEL_F_PREFAULT, IPC_CHANNEL_F_LOCK, IPC_CHANNEL_F_NO_SPIN
    pub flags: u32,
    /// how long a blocking call spins before it sleeps, in microseconds, at most 1000000; 0 for
    /// the default: about 10 microseconds, if the last spins have succeeded. A call does not spin
    /// if both sides run on the same processor
    pub spin_us: u32,
    /// the size of the ring that this side sends through, in bytes; 0 for 256 KiB. It is rounded
    /// up to a power of two of 64 KiB or more
    pub send_size: u64,
    /// for ipc_channel_pair: the size of the ring that the second end sends through, 0 for the
    /// same; otherwise the peer chooses it, and this is 0
    pub recv_size: u64,
    /// the largest ring that is accepted from a peer, 0 for 16 MiB: this process maps it, and its
    /// memory may count as this process's own
    pub recv_size_max: u64,
    /// a message of this length, at most 4294967294, can be sent, whatever send_size is; 0 for no
    /// such requirement
    pub message_max: u64,
}

/// Counters of an end of a channel since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_channel_stats {
    /// messages sent
    pub sent_messages: u64,
    /// their bytes
    pub sent_bytes: u64,
    /// messages received
    pub received_messages: u64,
    /// their bytes
    pub received_bytes: u64,
    /// number of sleeps in calls on this end
    pub sleeps: u64,
    /// number of times that this end has woken its peer
    pub wakes: u64,
    /// number of sends and reservations that found the ring full
    pub full: u64,
}

// SAFETY: numbers only, and the sizes below leave no padding.
unsafe impl ExtensibleStruct for ipc_channel_opts {
    const FIRST_SIZE: usize = 40;
}

// SAFETY: numbers of one size.
unsafe impl ExtensibleStruct for ipc_channel_stats {
    const FIRST_SIZE: usize = 56;
}

const _: () = {
    assert!(size_of::<ipc_channel_opts>() == ipc_channel_opts::FIRST_SIZE);
    assert!(size_of::<ipc_channel_stats>() == ipc_channel_stats::FIRST_SIZE);
};

/// cbindgen:ignore
const SPIN_MAX: u32 = 1_000_000;

/// # Safety
///
/// As [`copy_struct_from`].
#[inline(never)] // four calls share it
unsafe fn understand(opts: *const ipc_channel_opts, size: size_t) -> Result<Options> {
    // SAFETY: the caller's promise; numbers only, so all zero bytes are such a structure.
    let opts = unsafe { copy_struct_from(opts, size) }?;
    const FLAGS: u32 = IPC_CHANNEL_F_PREFAULT | IPC_CHANNEL_F_LOCK | IPC_CHANNEL_F_NO_SPIN;
    let no_spin = opts.flags & IPC_CHANNEL_F_NO_SPIN != 0;
    if opts.flags & !FLAGS != 0 || opts.spin_us > SPIN_MAX || (no_spin && opts.spin_us != 0) {
        return Err(Errno::EINVAL);
    }
    Ok(Options {
        send_size: opts.send_size,
        recv_size: opts.recv_size,
        recv_size_max: opts.recv_size_max,
        message_max: opts.message_max,
        spin: match opts.spin_us {
            0 if !no_spin => SpinPolicy::Adaptive,
            time => SpinPolicy::For(Duration::from_micros(time.into())),
        },
        populate: opts.flags & IPC_CHANNEL_F_PREFAULT != 0,
        lock: opts.flags & IPC_CHANNEL_F_LOCK != 0,
    })
}

/// The sending half of a channel.
///
/// # Safety
///
/// `ch` is NULL or a channel, and no other thread uses its sending half: the C interface allows one
/// thread at a time to send.
#[inline(always)]
unsafe fn sender<'a>(ch: *mut Channel) -> Result<SendHalf<'a>> {
    // SAFETY: the caller's promise.
    let ch = unsafe { handle(ch) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { ch.send_half() })
}

/// The receiving half of a channel.
///
/// # Safety
///
/// As [`sender`], of receiving.
#[inline(always)]
unsafe fn receiver<'a>(ch: *mut Channel) -> Result<RecvHalf<'a>> {
    // SAFETY: the caller's promise.
    let ch = unsafe { handle(ch) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { ch.recv_half() })
}

/// The source of a channel.
enum Origin<'a> {
    Socket(c_int),
    Listener(c_int),
    Path(Result<&'a CStr>),
}

impl Origin<'_> {
    /// None if no client waits at the listener.
    fn make(&self, options: &Options, wait: &mut Deadline) -> Result<Option<Channel>> {
        match self {
            Self::Socket(sock) => channel::from_socket(borrow(*sock)?, options, wait).map(Some),
            Self::Listener(fd) => channel::accept(borrow(*fd)?, options, wait),
            Self::Path(path) => channel::connect((*path)?, options, wait).map(Some),
        }
    }

    /// Waits for a client.
    fn wait(&self, deadline: &mut Deadline) -> Result<()> {
        match self {
            Self::Listener(fd) => channel::wait_for_client(borrow(*fd)?, deadline),
            _ => Ok(()),
        }
    }
}

/// Makes a channel and gives it out. The room for it comes first: nothing fails once it
/// is made.
///
/// # Safety
///
/// `ret_ch` is NULL or a place for the handle, `opts` as for [`copy_struct_from`].
unsafe fn give_out(
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    ret_ch: *mut *mut Channel,
    timeout_ms: c_int,
    origin: Origin,
) -> c_int {
    let give = || -> Result<c_int> {
        // SAFETY: the caller's promise.
        let options = unsafe { understand(opts, opts_size) }?;
        // SAFETY: the caller's promise.
        let ret_ch = unsafe { out_ptr(ret_ch) }?;
        let mut deadline = Deadline::new(timeout_ms)?;
        loop {
            let room = handle_room()?;
            if let Some(channel) = origin.make(&options, &mut deadline)? {
                ret_ch.write(Box::into_raw(Box::write(room, channel)));
                return Ok(0);
            }
            // A thread that is cancelled while it waits leaves no memory behind.
            drop(room);
            origin.wait(&mut deadline)?;
        }
    };
    or_errno_of(give, -1)
}

/// Makes both ends of a channel, for a process and the child that it forks.
///
/// A channel carries messages in both directions and preserves their boundaries. They go through
/// shared memory: each direction has a ring, which only its sender can write. After fork each
/// process closes the end that it does not use, as with socketpair(2). Only then does each process
/// notice that the other end has closed.
///
/// opts (of opts_size bytes, see ipc_channel_opts) may be NULL for the defaults. The caller closes
/// the ends with ipc_channel_close. An end takes two descriptors, close-on-exec, and two more after
/// ipc_channel_fd. In a process with several threads an end takes another one when a receiving
/// thread first sleeps in a call, and another one when a sending thread does.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Only one thread may send on an end at the same time, and only one may receive.
///
/// If two processes have the same end after fork, the first one that sends on it owns the sending
/// direction, and the first one that receives owns the receiving direction. The calls of the other
/// process then fail with EBUSY, and no message is lost. If the direction was used before the fork,
/// and both processes use it at the very same moment, this is not detected reliably.
/// Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   E2BIG   opts sets a member that this version does not know
///   EFBIG   the process may not make a file as large as the ring (RLIMIT_FSIZE)
///   EINVAL  ret_ch is NULL, opts has an unknown flag or an invalid size or time, opts_size is
///           smaller than the structure's first version, or the kernel is older than Linux 5.1
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could be
///           locked, or more would be locked than RLIMIT_MEMLOCK allows
///   ENOSPC  the ring would be larger than all memory and swap space; or, with
///           IPC_CHANNEL_F_PREFAULT, not enough memory is free
///   EPERM   IPC_CHANNEL_F_LOCK, and the process may lock no memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_pair(
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let open = || -> Result<c_int> {
        // SAFETY: the caller's structure.
        let options = unsafe { understand(opts, opts_size) }?;
        // SAFETY: the caller's array of two.
        let ret_ch = unsafe { out_ptr(ret_ch.cast::<[MaybeUninit<*mut Channel>; 2]>()) }?;
        let (a_room, b_room) = (handle_room()?, handle_room()?);
        let [a, b] = Channel::pair(&options)?;
        let ends = [Box::write(a_room, a), Box::write(b_room, b)];
        ret_ch.write(ends.map(|end| MaybeUninit::new(Box::into_raw(end))));
        Ok(0)
    };
    or_errno_of(open, -1)
}

/// Makes the end of a channel over a connected socket. The peer makes its end with the same call.
///
/// sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
/// ipc_pair_open or socketpair(2), or an accepted one. It carries one message of 64 bytes each way,
/// and the channel does not use it after that. The caller may close it at any time.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. opts is as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until the peer has called this too. If the call fails after it has
/// sent its part of the handshake (EAGAIN, EINTR, ETIMEDOUT and others), it shuts the socket down
/// for both sides (shutdown(2)). The socket is useless then, and the peer notices: EPIPE, or the
/// end of the session at once. May be called from any thread and in the child after fork; not from
/// a signal handler.
/// Not a cancellation point: use a time-out.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EAGAIN      timeout_ms is 0, and the peer has not sent its handshake yet
///   EBADF       sock is not open
///   EBUSY       another process that has the socket has received the peer's handshake
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      recv_size is not 0, or timeout_ms is below -2
///   ENOBUFS     no memory is left for the handshake
///   ENOTCONN    sock is not connected
///   ENOTSOCK    sock is not a socket
///   EOPNOTSUPP  sock is not a local socket
///   EPIPE       the peer has closed the socket or died, or accepts no descriptors (SO_PASSRIGHTS)
///   EPROTO      the peer does not speak this protocol, its memory is not sealed as it must be, or
///               its ring is larger than recv_size_max; or the socket is full of other data
///   ESTALE      the peer speaks another version of the protocol
///   ETIMEDOUT   the time-out expired
///   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_from_fd(
    sock: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, timeout_ms, Origin::Socket(sock)) }
}

/// Listens for channels at a path.
///
/// path is a path in the file system, or "@name" for a name that is in none (abstract, see
/// unix(7)). The path gets exactly this mode before a client can connect: a process that may
/// write it may connect. mode is not used for "@name", which every process on the system may
/// connect to. A path that a dead listener left behind is replaced; that of a living one never.
///
/// The descriptor is the caller's to poll (it is readable when a client waits to be accepted)
/// and to close; it is close-on-exec and non-blocking. The path stays when it is
/// closed: unlink(2) removes it. Call unlink first and close(2) after it; in the other order
/// unlink can remove the path of another listener that has replaced this one. flags is 0.
///
/// For a path NAME the call creates a lock file .NAME.lock in the same directory, and removes
/// it. A process that is killed in between leaves this empty file behind; the next listener takes
/// it over.
///
/// Blocks for about a second at most, while another process is starting to listen at the same
/// path. May be called from any thread and in the child after fork; not from a signal handler.
/// Not a cancellation point.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES      the directory may not be searched or written, or the lock file belongs to
///               another user
///   EADDRINUSE  a process listens there, or has been starting to for a second; or path is not
///               a socket
///   EDQUOT      the quota of the file system is used up
///   EEXIST      the name of the lock file is taken by something else than a regular file
///   EINVAL      path is NULL or "@", mode has more than permissions, or flags is not 0
///   ELOOP       too many symbolic links in the path
///   EMFILE      the process has no descriptor left
///   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
///   ENFILE      the system has no open file left
///   ENOENT      the directory does not exist, or path is empty
///   ENOLCK      the system has no memory for locks
///   ENOMEM      no memory is left
///   ENOSPC      the file system is full
///   ENOTDIR     a part of the path is not a directory
///   EPERM       the file system has no sockets
///   EROFS       the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_listen(
    path: *const c_char,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    let listen = || -> Result<c_int> {
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(channel::listen(path, mode)?.into_raw_fd())
    };
    or_errno_of(listen, -1)
}

/// Accepts a client, as the end of a channel.
///
/// listen_fd is from ipc_channel_listen, or any other local socket that listens. The client speaks
/// first: it sends its handshake immediately after it has connected. The call waits for it, for up
/// to 1 ms and within timeout_ms (with 0 it only yields the processor once), and then completes the
/// handshake. If the handshake comes later, the first call that needs the peer completes it, under
/// its own time-out, and reports its errors. A silent client costs the server one descriptor, and
/// delays the call by at most 1 ms.
///
/// A client that has died already is accepted like any other: the first call reports it (a receive
/// returns 0, a send fails with EPIPE). A call that fails leaves the client in the listener's
/// queue.
///
/// The call sets O_NONBLOCK on the open file description of listen_fd, for good and for all
/// processes that share it: no system call accepts with a time-out.
///
/// timeout_ms is as for ipc_channel_from_fd, and opts as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until a client connects. May be called from any thread, by several at
/// once, and in the child after fork; not from a signal handler.
/// A cancellation point while it waits for a client: no client is lost.
///
/// Returns 0, or -1 with errno:
///   E2BIG       opts sets a member that this version does not know
///   EAGAIN      timeout_ms is 0, and no client has connected
///   EBADF       listen_fd is not open
///   EFBIG       the process may not make a file as large as the ring (RLIMIT_FSIZE)
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      ret_ch is NULL, listen_fd does not listen, opts has an unknown flag or an invalid
///               size or time, recv_size is not 0, opts_size is smaller than the structure's first
///               version, or timeout_ms is below -2
///   EMFILE      the process does not have the five descriptors left that the handshake needs
///   ENFILE      the system has no open file left
///   ENOMEM      no memory is left
///   ENOSPC      the ring would be larger than all memory and swap space
///   ENOTSOCK    listen_fd is not a socket
///   EOPNOTSUPP  listen_fd is not a local socket, or is a nonblocking one of type SOCK_DGRAM
///   ETIMEDOUT   the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_accept(
    listen_fd: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let origin = Origin::Listener(listen_fd);
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, timeout_ms, origin) }
}

/// Connects to a listener, as the end of a channel.
///
/// path is as for ipc_channel_listen; opts as for ipc_channel_pair, with recv_size 0. timeout_ms is
/// as for ipc_channel_from_fd. It limits the whole call: the wait for a place in the listener's
/// queue, and for the handshake.
///
/// Blocks as timeout_ms says, until the handshake has ended: the listener has called
/// ipc_channel_accept and, if that did not complete the handshake, a call on its channel. May be
/// called from any thread and in the child after fork; not from a signal handler.
/// Not a cancellation point: use a time-out.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EACCES        the path may not be written, or a directory of it may not be searched
///   EAGAIN        timeout_ms is 0, and the listener's queue is full, or the handshake has not
///                 ended
///   ECONNREFUSED  no process listens at the path, or not with SOCK_SEQPACKET
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        path is NULL or "@", recv_size is not 0, or timeout_ms is below -2
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
///   ENOBUFS       no memory is left for the handshake
///   ENOENT        the path does not exist, or is empty
///   ENOTDIR       a part of the path is not a directory
///   EPIPE         the listener has closed the connection or died, or accepts no descriptors
///                 (SO_PASSRIGHTS)
///   EPROTO        the listener does not speak this protocol, its memory is not sealed as it must
///                 be, or its ring is larger than recv_size_max
///   ESTALE        the listener speaks another version of the protocol
///   ETIMEDOUT     the time-out expired
///   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
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
    let origin = Origin::Path(path);
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, timeout_ms, origin) }
}

/// Sends a message, whole or not at all.
///
/// len is from 1 to ipc_channel_max. The call copies the message into the ring. If there is no room
/// it waits as timeout_ms says: in milliseconds, -1 waits without limit, 0 does not wait,
/// IPC_WAIT_INTR waits until a signal handler has run.
///
/// The call makes a system call only to wait, to wake the peer, and to ask the kernel whether the
/// peer lives. It asks after 64 messages of which the peer has received none. Before
/// ipc_channel_fd, a call with timeout_ms 0 that finds no room asks too, at most once in 20
/// microseconds.
///
/// A message that was sent is received even if this process dies at once. A send notices that the
/// peer has gone when it has to wake the peer, when there is no room, and otherwise within 128
/// messages. The messages that were sent until then are lost.
///
/// Blocks as timeout_ms says. Only one thread may send at the same time. May be called in the child
/// after fork, not from a signal handler. No SIGPIPE.
/// A cancellation point while it waits: the message is then not sent.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and there is no room
///   EBUSY      room is reserved (ipc_channel_reserve); or another process has this end from fork,
///              and has sent on it: nothing was sent
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is greater than ipc_channel_max
///   EPIPE      the peer has gone or has ended receiving, and has not received this message; or
///              this side has ended sending
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, until a call has completed the handshake:
///   EAGAIN     timeout_ms is 0, and the client has not sent its handshake
///   EBUSY      another process that has this end from fork has received the client's handshake; or
///              this is the child of a fork that was made while another thread completed the
///              handshake
///   EFBIG      the process may not make a file as large as the ring (RLIMIT_FSIZE)
///   EINVAL     the kernel is older than Linux 5.1
///   EMFILE     the process has no descriptor left
///   ENFILE     the system has no open file left
///   ENOBUFS    no memory is left for the handshake
///   ENOMEM     no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could be
///              locked, or more would be locked than RLIMIT_MEMLOCK allows
///   ENOSPC     the ring would be larger than all memory and swap space; with
///              IPC_CHANNEL_F_PREFAULT, not enough memory is free; or, after ipc_channel_fd, the
///              user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
///   EPERM      IPC_CHANNEL_F_LOCK, and the process may lock no memory
///   EPIPE      the client has closed the connection or died, or accepts no descriptors
///              (SO_PASSRIGHTS)
///   EPROTO     the client does not speak this protocol, its memory is not sealed as it must be, or
///              its ring is larger than recv_size_max
///   ESTALE     the client speaks another version of the protocol
///   ETOOMANYREFS  this user has too many descriptors in flight (see ipc_msg_send)
/// After EBUSY, EPIPE, EPROTO and ESTALE the handshake has failed for good. After the others it is
/// still pending, and the call can be repeated; but if the kernel refused an epoll watch (ENOSPC,
/// ENOMEM), it has failed for good too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_send(
    ch: *mut Channel,
    buf: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let send = || -> Result<c_int> {
        // SAFETY: the caller's channel, and the only thread that sends.
        let mut ch = unsafe { sender(ch) }?;
        // SAFETY: the caller's buffer of len bytes.
        let bytes = unsafe { buffer(buf, len) }?;
        ch.send(bytes, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(send(), -1)
}

/// Receives a message.
///
/// The call copies the message into buf, which has room for cap bytes. If the message is longer,
/// the call fails with EMSGSIZE and the message stays in the ring: receive it with a larger buffer,
/// or with ipc_channel_peek. All messages that the peer sent before it ended are received before
/// the end. timeout_ms is as for ipc_channel_send.
///
/// A call that waits notices at once that the peer has gone. One with timeout_ms 0 that finds no
/// message asks the kernel at most once in 20 microseconds; after ipc_channel_fd, each time.
///
/// Blocks as timeout_ms says. Only one thread may receive at the same time. May be called in the
/// child after fork, not from a signal handler.
/// A cancellation point while it waits: no message is lost.
///
/// Returns the message's length, 0 at the end of the session, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and there is no message
///   EBUSY      another process has this end from fork, and has received on it: nothing was
///              received
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, cap is 0, or timeout_ms is below -2
///   EMSGSIZE   the message is longer than cap
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, those of the handshake, which ipc_channel_send lists (EPIPE is the
/// end of the session here):
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
///   ETOOMANYREFS
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_recv(
    ch: *mut Channel,
    buf: *mut c_void,
    cap: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's channel, and the only thread that receives.
        let mut ch = unsafe { receiver(ch) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let room = unsafe { buffer_room(buf, cap) }?;
        Ok(ch.recv(room, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno(recv(), -1)
}

/// Reserves room for a message in the ring, which the caller fills in place.
///
/// len is from 1 to ipc_channel_max. The caller may read and write the room until
/// ipc_channel_commit sends it or ipc_channel_cancel gives it back. It is aligned to 8 bytes, and
/// its content is undefined at first. Waits for room as ipc_channel_send does.
///
/// Blocks as timeout_ms says. With regard to threads, fork and signals it is a sending call.
/// A cancellation point while it waits.
///
/// Returns the room, or NULL with errno: ipc_channel_send's errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_reserve(
    ch: *mut Channel,
    len: size_t,
    timeout_ms: c_int,
) -> *mut c_void {
    let reserve = || -> Result<*mut c_void> {
        // SAFETY: the caller's channel, and the only thread that sends.
        let mut ch = unsafe { sender(ch) }?;
        Ok(ch.reserve(len, Deadline::new(timeout_ms)?)?.cast())
    };
    or_errno(reserve(), ptr::null_mut())
}

/// Sends the first len bytes of the reserved room.
///
/// The rest is given back. Does not block. With regard to threads, fork and signals it is a sending
/// call.
///
/// Returns 0, or -1 with errno:
///   EBUSY   another process has this end from fork, and has sent on it. Nothing is reserved then
///   EINVAL  ch is NULL, no room is reserved, or len is 0 or greater than the reserved length
///   EPIPE   the peer has gone or has ended receiving, and has not received this message; or this
///           side has ended sending. Nothing is reserved then
///   EPROTO  the peer has violated the protocol. Nothing is reserved then
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_commit(ch: *mut Channel, len: size_t) -> c_int {
    // SAFETY: the caller's channel, and the only thread that sends.
    let ch = unsafe { sender(ch) };
    or_errno(ch.and_then(|mut ch| ch.commit(len)).map(|()| 0), -1)
}

/// Gives the reserved room back.
///
/// Does not block. With regard to threads, fork and signals it is a sending call.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or no room is reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_cancel(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel, and the only thread that sends.
    let ch = unsafe { sender(ch) };
    or_errno(ch.and_then(|mut ch| ch.cancel()).map(|()| 0), -1)
}

/// Shows the next message in the ring.
///
/// The message stays until ipc_channel_release or ipc_channel_recv takes it. Until then it can be
/// read at *ret_buf, which is aligned to 8 bytes. Its length is fixed, but a hostile peer can
/// change its bytes at any time. So a program that must check them copies them first. timeout_ms is
/// as for ipc_channel_send.
///
/// Blocks as timeout_ms says. With regard to threads, fork and signals it is a receiving call.
/// A cancellation point while it waits.
///
/// Returns the message's length, 0 at the end of the session, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and there is no message
///   EBUSY      another process has this end from fork, and has received on it
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or ret_buf is NULL, or timeout_ms is below -2
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, those of the handshake, as for ipc_channel_recv:
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
///   ETOOMANYREFS
/// *ret_buf is set only with a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peek(
    ch: *mut Channel,
    ret_buf: *mut *const c_void,
    timeout_ms: c_int,
) -> ssize_t {
    let peek = || -> Result<ssize_t> {
        // SAFETY: the caller's channel, and the only thread that receives.
        let mut ch = unsafe { receiver(ch) }?;
        // SAFETY: the caller's place.
        let ret_buf = unsafe { out_ptr(ret_buf) }?;
        let Some((at, len)) = ch.peek(Deadline::new(timeout_ms)?)? else {
            return Ok(0);
        };
        ret_buf.write(at.cast());
        Ok(len as ssize_t)
    };
    or_errno(peek(), -1)
}

/// Takes the message that ipc_channel_peek has shown.
///
/// Does not block. With regard to threads, fork and signals it is a receiving call.
///
/// Returns 0, or -1 with errno:
///   EBUSY   another process has this end from fork, and has received on it. No message is shown
///           then
///   EINVAL  ch is NULL, or no message is shown
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_release(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel, and the only thread that receives.
    let ch = unsafe { receiver(ch) };
    or_errno(ch.and_then(|mut ch| ch.release()).map(|()| 0), -1)
}

/// Ends one direction or both, for good, and for all processes that have this end.
///
/// how is SHUT_WR: the peer receives all messages that were sent, and then the end; SHUT_RD:
/// sending fails for the peer with EPIPE from then on, and this side receives the messages that are
/// in the ring, and then the end; or SHUT_RDWR. Calls that wait on this end in other threads of
/// this process end too. A message that another thread sends at the same moment, or that the peer
/// sends before it has noticed, may still arrive after the end. Room that was reserved before
/// SHUT_WR cannot be sent.
///
/// If the handshake has not ended, the call notes the shutdown, and the peer learns of it when the
/// handshake ends.
///
/// Does not block. May be called from any thread at any time and in the child after fork; not from
/// a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or how is another value
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_shutdown(ch: *mut Channel, how: c_int) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno_of(|| ch?.shutdown(how).map(|()| 0), -1)
}

/// Returns the channel's descriptor for poll, epoll and similar calls.
///
/// It becomes readable (POLLIN, no other event) for a message; for the end of the session, until a
/// receive has reported it; for the peer's death, and then it stays readable; after a send or a
/// reservation that failed with EAGAIN, when half of the ring is free; and on an accepted channel
/// when the handshake can continue. Spurious readiness is possible.
///
/// It stays readable until a receive fails with EAGAIN. When it is readable, first retry a send
/// that was refused, then receive. A level-triggered loop may stop after a number of messages,
/// since the descriptor stays readable. An edge-triggered loop must receive until EAGAIN or the
/// end.
///
/// The interest in room ends only after it was signalled: when the thread whose send was refused
/// sends a message of at least that length without waiting (timeout_ms 0), or when its receives
/// fail with EAGAIN twice. Calls of other threads, and sends that wait, do not end it. Use the
/// descriptor from one event loop only.
///
/// From the first call on, the peer must wake this side for each message that it waits for. A
/// program that only waits in the calls themselves, or polls them, does not need the descriptor.
///
/// The descriptor belongs to the channel, which closes it. Do not read from it or write to it. Each
/// call returns the same one.
///
/// Does not block. May be called from any thread and in the child after fork (which shares its
/// parent's descriptor if the parent had one, as with epoll_create(2)); not from a signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EBUSY   this is the child of a fork that was made while another thread completed the handshake
///   EINVAL  ch is NULL
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory is left
///   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_fd(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno_of(|| ch?.fd(), -1)
}

/// Returns the length of the longest message that this end can send, in bytes.
///
/// It has room whenever the ring is empty. Does not block. May be called from any thread, from a
/// signal handler, and in the child after fork.
///
/// Returns the length, or 0 with errno:
///   EINVAL  ch is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_max(ch: *const Channel) -> size_t {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.map(Channel::max), 0)
}

/// Reports the credentials of the peer.
///
/// They are those of the process that connected, listened, or made the socket (see ipc_peer_cred);
/// for ipc_channel_pair, of the process that made the channel. *ret_cred receives cred_size bytes
/// of them.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch or ret_cred is NULL, or cred_size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peer_cred(
    ch: *const Channel,
    ret_cred: *mut Cred,
    cred_size: size_t,
) -> c_int {
    let tell = || -> Result<c_int> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        non_null(ret_cred)?;
        // SAFETY: the caller's structure of cred_size bytes; it has no padding.
        unsafe { copy_struct_to(ret_cred, cred_size, &ch.cred()) }?;
        Ok(0)
    };
    or_errno(tell(), -1)
}

/// Reports the counters of this end.
///
/// *ret_stats receives stats_size bytes of them. They count the calls of this process: the child of
/// a fork starts with its parent's numbers.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch or ret_stats is NULL, or stats_size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_stats(
    ch: *const Channel,
    ret_stats: *mut ipc_channel_stats,
    stats_size: size_t,
) -> c_int {
    let tell = || -> Result<c_int> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        non_null(ret_stats)?;
        // SAFETY: the caller's structure of stats_size bytes; it has no padding.
        unsafe { copy_struct_to(ret_stats, stats_size, &ch.stats().into()) }?;
        Ok(0)
    };
    or_errno(tell(), -1)
}

impl From<Stats> for ipc_channel_stats {
    fn from(stats: Stats) -> Self {
        Self {
            sent_messages: stats.sent.0,
            sent_bytes: stats.sent.1,
            received_messages: stats.received.0,
            received_bytes: stats.received.1,
            sleeps: stats.sleeps,
            wakes: stats.wakes,
            full: stats.full,
        }
    }
}

/// Closes this process's handle of an end, with its descriptors and its memory.
///
/// The peer receives all messages that were sent, and then the end, once no process has this end:
/// it continues in a child that has it from fork. Reserved room is given back, and a message that
/// ipc_channel_peek has shown must not be read after this. NULL does nothing. No other thread may
/// use ch during the call or after it.
///
/// Does not block. May be called in the child after fork; not from a signal handler.
/// Not a cancellation point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_close(ch: *mut Channel) {
    // SAFETY: from `give_out` or ipc_channel_pair, and the caller gives it up.
    unsafe { drop_handle(ch) };
}
