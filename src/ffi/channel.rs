//! Layer 4: channels.

use super::pointer::{
    ExtensibleStruct, buffer, buffer_room, copy_struct_from, copy_struct_to, drop_handle, handle,
    handle_room, non_null, out_ptr, string,
};
use crate::channel::{self, Channel, Options, Spin, Stats};
use crate::errno::{Errno, Result, or_errno, or_errno_of};
use crate::fd::borrow;
use crate::pair::Cred;
use crate::wait::Wait;
use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::time::Duration;

/// A flag of ipc_channel_opts: all memory of the rings is there before the channel is used.
pub const IPC_CHANNEL_F_PREFAULT: u32 = 1;
/// A flag of ipc_channel_opts: all memory of the rings stays in memory (mlock(2)).
pub const IPC_CHANNEL_F_LOCK: u32 = 2;

/// A flag of ipc_channel_opts: a call that has to wait sleeps at once.
pub const IPC_CHANNEL_F_NO_SPIN: u32 = 4;

/// Options of a channel. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_channel_opts {
    /// IPC_CHANNEL_F_PREFAULT, IPC_CHANNEL_F_LOCK, IPC_CHANNEL_F_NO_SPIN
    pub flags: u32,
    /// how long a call that has to wait looks for what it waits for before it sleeps, in
    /// microseconds, at most 1000000; 0 for the default: some 10 microseconds, if the other
    /// side runs on another processor and this has been of use lately
    pub spin_us: u32,
    /// the size of the ring of what this side sends, in bytes; 0 for 256 KiB. It is rounded up
    /// to a power of two of 64 KiB or more
    pub send_size: u64,
    /// for ipc_channel_pair: the size of the ring of what the second end sends, 0 for the same;
    /// elsewhere the peer says it, and this is 0
    pub recv_size: u64,
    /// the largest ring that is taken from a peer, 0 for 1 GiB: it is memory that this process
    /// maps, and that may count as its own
    pub recv_size_max: u64,
    /// a message of this length, at most 4294967294, can be sent, whatever send_size is; 0 for no
    /// wish
    pub message_max: u64,
}

/// What has happened on an end of a channel since it was made.
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
    /// how often a call on this end has slept
    pub sleeps: u64,
    /// how often this end has woken the other one
    pub wakes: u64,
    /// how often a message did not find room at once
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
            0 if !no_spin => Spin::Adaptive,
            time => Spin::For(Duration::from_micros(time.into())),
        },
        populate: opts.flags & IPC_CHANNEL_F_PREFAULT != 0,
        lock: opts.flags & IPC_CHANNEL_F_LOCK != 0,
    })
}

/// Gives out the channel that `make` makes. The room for it comes first: nothing fails once it
/// is made.
///
/// # Safety
///
/// `ret_ch` is NULL or a place for the handle, `opts` as for [`copy_struct_from`].
unsafe fn give_out(
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    ret_ch: *mut *mut Channel,
    make: impl FnOnce(&Options) -> Result<Channel>,
) -> c_int {
    let give = || -> Result<c_int> {
        // SAFETY: the caller's promise.
        let options = unsafe { understand(opts, opts_size) }?;
        // SAFETY: the caller's promise.
        let ret_ch = unsafe { out_ptr(ret_ch) }?;
        let room = handle_room()?;
        let channel = Box::write(room, make(&options)?);
        ret_ch.write(Box::into_raw(channel));
        Ok(0)
    };
    or_errno_of(give, -1)
}

/// Makes both ends of a channel, for a process and the child that it forks.
///
/// A channel carries messages in both directions, each whole. They go through shared memory: a
/// ring for each direction, which only its sender can write. After fork each process closes
/// the end that it does not use, as with socketpair(2); so each notices the other's end.
///
/// opts (of opts_size bytes, see ipc_channel_opts) may be NULL for the defaults. The ends are
/// the caller's to close, with ipc_channel_close. An end takes three descriptors,
/// close-on-exec, and two more once ipc_channel_fd has been called.
///
/// Does not block. May be called from any thread and in the child after fork; not from a
/// signal handler. Of an end, one thread at a time may send and one receive.
///
/// Returns 0, or -1 with errno:
///   E2BIG   opts has something that this version does not know
///   EFBIG   the process may not make such large files (RLIMIT_FSIZE)
///   EINVAL  ret_ch is NULL, opts has an unknown flag or a size or time that cannot be,
///           opts_size is smaller than the structure's first version, or the kernel is older
///           than Linux 5.1
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could be
///           locked, or more would be than RLIMIT_MEMLOCK allows
///   ENOSPC  the ring would be larger than all memory and swap space; or, with
///           IPC_CHANNEL_F_PREFAULT, there is not so much memory free
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

/// Makes the end of a channel over a connected socket, of which the other side does the same.
///
/// sock is a local socket (AF_UNIX), of SOCK_STREAM or SOCK_SEQPACKET: one of ipc_spawn, of
/// ipc_pair_open, of socketpair(2), or an accepted one. It carries one message of 64 bytes each
/// way, and is not used any more then; it stays the caller's to close, at any time.
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran. opts is as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until the other side has called this too. After a failure the
/// socket is of no use for another attempt. May be called from any thread and in the child
/// after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EAGAIN      timeout_ms is 0, and the other side has not said anything yet
///   EBADF       sock is not open
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      recv_size is not 0, or timeout_ms is below -2
///   ENOBUFS     no memory is left for what is sent over the socket
///   ENOTCONN    sock is not connected
///   ENOTSOCK    sock is not a socket
///   EOPNOTSUPP  sock is not a local socket
///   EPIPE       the other side is gone
///   EPROTO      the other side does not speak this protocol, or its memory could be taken away
///               from under this process, or its ring is larger than recv_size_max
///   ESTALE      the other side speaks another version
///   ETIMEDOUT   the time is over
///   ETOOMANYREFS  this user has too many descriptors on their way (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_from_fd(
    sock: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let make =
        |options: &Options| Channel::from_socket(borrow(sock)?, options, Wait::new(timeout_ms)?);
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, make) }
}

/// Listens for channels at a path.
///
/// path is a path in the file system, or "@name" for a name that is in none (abstract, see
/// unix(7)). The path gets exactly this mode before anybody can connect: whoever may write it
/// may connect. mode is not used for "@name", which anybody on the system may connect to. A
/// path that a listener left behind when it died is replaced; that of a living one never.
///
/// The descriptor is the caller's to poll (it is readable when ipc_channel_accept has
/// something) and to close; it is close-on-exec and non-blocking. The path stays when it is
/// closed: unlink(2) removes it. flags is 0.
///
/// Blocks while another process is listening anew in the same folder, which it locks for that
/// (flock(2)). May be called from any thread and in the child after fork; not from a signal
/// handler.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES      the folder may not be read or written
///   EADDRINUSE  somebody listens there, or path is no socket
///   EDQUOT      the quota of the file system is used up
///   EINVAL      path is NULL or "@", mode has more than permissions, or flags is not 0
///   ELOOP       too many symbolic links in the path
///   EMFILE      the process has no descriptor left
///   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
///   ENFILE      the system has no open file left
///   ENOENT      the folder does not exist, or path is empty
///   ENOLCK      the system has no memory for locks
///   ENOMEM      no memory is left
///   ENOSPC      the file system is full
///   ENOTDIR     a part of the path is not a folder
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

/// Takes a connection, as the end of a channel.
///
/// listen_fd is of ipc_channel_listen, or any other local socket that listens. It does not wait
/// for what the other side has to say at the beginning: the first call on the channel does,
/// under its own time-out, and tells what is wrong with it. So a client that connects and says
/// nothing costs nobody anything but the descriptors.
///
/// timeout_ms is as for ipc_channel_from_fd, and opts as for ipc_channel_pair, with recv_size 0.
///
/// Blocks as timeout_ms says, until somebody connects. May be called from any thread, by
/// several at once, and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EAGAIN      timeout_ms is 0, and nobody has connected
///   EBADF       listen_fd is not open
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      listen_fd does not listen, recv_size is not 0, or timeout_ms is below -2
///   ENOBUFS     no memory is left for what is sent to who connected
///   ENOTSOCK    listen_fd is not a socket
///   EOPNOTSUPP  listen_fd is not a local socket
///   EPIPE       who connected is gone already
///   ETIMEDOUT   the time is over
///   ETOOMANYREFS  this user has too many descriptors on their way (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_accept(
    listen_fd: c_int,
    opts: *const ipc_channel_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_ch: *mut *mut Channel,
) -> c_int {
    let make =
        |options: &Options| channel::accept(borrow(listen_fd)?, options, Wait::new(timeout_ms)?);
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, make) }
}

/// Connects to a listener, as the end of a channel.
///
/// path is as for ipc_channel_listen; opts as for ipc_channel_pair, with recv_size 0.
/// timeout_ms is as for ipc_channel_from_fd, and is for all of it: a place in the listener's
/// queue, and its acceptance.
///
/// Blocks as timeout_ms says, until the listener has called ipc_channel_accept. May be called
/// from any thread and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_channel_pair's errors, and
///   EACCES        the path may not be written, or a folder of it not be searched
///   EAGAIN        timeout_ms is 0, and the listener has not accepted yet
///   ECONNREFUSED  nobody listens at the path, or not with SOCK_SEQPACKET
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        path is NULL or "@", recv_size is not 0, or timeout_ms is below -2
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  path is longer than a socket's may be (107 bytes)
///   ENOBUFS       no memory is left for what is sent to the listener
///   ENOENT        the path does not exist, or is empty
///   ENOTDIR       a part of the path is not a folder
///   EPIPE         the listener is gone
///   EPROTO        the listener does not speak this protocol, or has sent what cannot be relied
///                 on, or its ring is larger than recv_size_max
///   ESTALE        the listener speaks another version
///   ETIMEDOUT     the time is over
///   ETOOMANYREFS  this user has too many descriptors on their way (see ipc_msg_send)
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
    let make = |options: &Options| channel::connect(path?, options, Wait::new(timeout_ms)?);
    // SAFETY: the caller's structure and place.
    unsafe { give_out(opts, opts_size, ret_ch, make) }
}

/// Sends a message, whole or not at all.
///
/// len is from 1 to ipc_channel_max. The message is copied into the ring; if there is no room
/// the call waits for it, as timeout_ms says: in milliseconds, -1 for ever, 0 not at all,
/// IPC_WAIT_INTR until a signal handler ran. It makes no system call unless it waits, the other
/// side has to be woken, or that has received nothing of 64 messages.
///
/// A message that has been sent is received even if this process dies at once. Whether the
/// other side is there is noticed when it has to be woken, when there is no room, and else
/// within 128 messages: those sent meanwhile to somebody who is gone are lost.
///
/// Blocks as timeout_ms says. One thread at a time may send. May be called in the child after
/// fork, not from a signal handler. No SIGPIPE.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and there is no room
///   EBUSY      something is reserved (ipc_channel_reserve)
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is over ipc_channel_max
///   EPIPE      the other side is gone or receives nothing any more, and has not received this
///              message; or this side has ended the sending
///   EPROTO     the other side has broken the rules: the channel is of no use any more
///   ETIMEDOUT  the time is over
/// and, on an accepted channel, until a call has done its part of the handshake:
///   EAGAIN     timeout_ms is 0, and who connected has not said anything yet
///   EMFILE     the process has no descriptor left for what comes with the handshake
///   ENFILE     the system has no open file left
///   ENOMEM     no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, not all could
///              be locked, or more would be than RLIMIT_MEMLOCK allows
///   EPERM      IPC_CHANNEL_F_LOCK, and the process may lock no memory
///   EPROTO     who connected does not speak this protocol, or has sent what cannot be relied on
///   ESTALE     who connected speaks another version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_send(
    ch: *mut Channel,
    buf: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let send = || -> Result<c_int> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        // SAFETY: the caller's buffer of len bytes.
        let bytes = unsafe { buffer(buf, len) }?;
        ch.send(bytes, Wait::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(send(), -1)
}

/// Receives a message.
///
/// The message is copied into buf, which has room for cap bytes. One that is longer is
/// EMSGSIZE and stays: a larger buffer, or ipc_channel_peek, gets it. All that was sent before
/// the other side ended is received before the end. timeout_ms is as for ipc_channel_send.
///
/// Blocks as timeout_ms says. One thread at a time may receive. May be called in the child
/// after fork, not from a signal handler.
///
/// Returns the message's length, 0 at the end of the session, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is there
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, cap is 0, or timeout_ms is below -2
///   EMSGSIZE   the message is longer than cap
///   EPROTO     the other side has broken the rules: the channel is of no use any more
///   ETIMEDOUT  the time is over
/// and, on an accepted channel, those of the handshake, which ipc_channel_send lists:
///   EMFILE, ENFILE, ENOMEM, EPERM, ESTALE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_recv(
    ch: *mut Channel,
    buf: *mut c_void,
    cap: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let room = unsafe { buffer_room(buf, cap) }?;
        Ok(ch.recv(room, Wait::new(timeout_ms)?)? as ssize_t)
    };
    or_errno(recv(), -1)
}

/// Reserves room for a message in the ring, to be filled in place.
///
/// len is from 1 to ipc_channel_max. The room is the caller's, to read and to write, until
/// ipc_channel_commit sends it or ipc_channel_cancel gives it back; it is aligned to 8 bytes,
/// and what is in it before is not defined. Waits for room as ipc_channel_send does.
///
/// Blocks as timeout_ms says. As for threads, fork and signals, it is a sending call.
///
/// Returns the room, or NULL with errno: ipc_channel_send's errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_reserve(
    ch: *mut Channel,
    len: size_t,
    timeout_ms: c_int,
) -> *mut c_void {
    let reserve = || -> Result<*mut c_void> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        Ok(ch.reserve(len, Wait::new(timeout_ms)?)?.cast())
    };
    or_errno(reserve(), ptr::null_mut())
}

/// Sends the first len bytes of what was reserved.
///
/// The rest is given back. Does not block. As for threads, fork and signals, it is a sending
/// call.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, nothing is reserved, len is 0, or more than was reserved
///   EPIPE   the other side is gone or receives nothing any more, and has not received this
///           message; or this side has ended the sending. Nothing is reserved then
///   EPROTO  the other side has broken the rules; nothing is reserved then
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_commit(ch: *mut Channel, len: size_t) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.and_then(|ch| ch.commit(len)).map(|()| 0), -1)
}

/// Gives back what was reserved.
///
/// Does not block. As for threads, fork and signals, it is a sending call.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or nothing is reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_cancel(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.and_then(|ch| ch.cancel()).map(|()| 0), -1)
}

/// Shows the next message where it is.
///
/// The message stays until ipc_channel_release or ipc_channel_recv takes it; until then it can
/// be read at *ret_buf, which is aligned to 8 bytes. Its length is fixed, but its bytes are
/// the other side's: a hostile one can change them while they are looked at, so what has to be
/// checked is copied first. timeout_ms is as for ipc_channel_send.
///
/// Blocks as timeout_ms says. As for threads, fork and signals, it is a receiving call.
///
/// Returns the message's length, 0 at the end of the session, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is there
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or ret_buf is NULL, or timeout_ms is below -2
///   EPROTO     the other side has broken the rules: the channel is of no use any more
///   ETIMEDOUT  the time is over
/// and, on an accepted channel, those of the handshake, which ipc_channel_send lists:
///   EMFILE, ENFILE, ENOMEM, EPERM, ESTALE
/// *ret_buf is set only with a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peek(
    ch: *mut Channel,
    ret_buf: *mut *const c_void,
    timeout_ms: c_int,
) -> ssize_t {
    let peek = || -> Result<ssize_t> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        // SAFETY: the caller's place.
        let ret_buf = unsafe { out_ptr(ret_buf) }?;
        let Some((at, len)) = ch.peek(Wait::new(timeout_ms)?)? else {
            return Ok(0);
        };
        ret_buf.write(at.cast());
        Ok(len as ssize_t)
    };
    or_errno(peek(), -1)
}

/// Takes away the message that ipc_channel_peek has shown.
///
/// Does not block. As for threads, fork and signals, it is a receiving call.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or nothing has been shown
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_release(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.and_then(|ch| ch.release()).map(|()| 0), -1)
}

/// Ends one direction or both, for good, and for all processes that have this end.
///
/// how is SHUT_WR: the other side receives what has been sent, and then the end; SHUT_RD: its
/// sending is EPIPE from then on, and this side receives what is there, and then the end; or
/// SHUT_RDWR. Calls that wait on this end, in other threads of this process, end too. What
/// another thread sends at the same moment, or the other side before it has noticed, may still
/// come after the end. What was reserved before SHUT_WR is not sent any more.
///
/// Does not block. May be called from any thread at any time and in the child after fork; not
/// from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or how is something else
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_shutdown(ch: *mut Channel, how: c_int) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno_of(|| ch?.shutdown(how).map(|()| 0), -1)
}

/// The descriptor of the channel for poll, epoll and their like.
///
/// It is readable (POLLIN, nothing else) when there is something to receive, when the other
/// side is gone or has ended the sending, after a send or a reservation that was EAGAIN when
/// there is room, and on an accepted channel when the handshake can go on. It stays readable
/// until a receive finds nothing (EAGAIN): so receive until then, and if a send is waiting for
/// room, try it first. The other side has to wake this one from the first call on; a program that
/// only waits in the calls themselves, or polls them, does without.
///
/// The descriptor is the channel's: it is closed with it, and nothing is to be read from it or
/// written to it. Each call gives the same one.
///
/// Does not block. May be called from any thread and in the child after fork (whose descriptor
/// is its parent's if that had one, as with epoll_create(2)); not from a signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EINVAL  ch is NULL
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory is left
///   ENOSPC  the user has too many of them (/proc/sys/fs/epoll/max_user_watches)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_fd(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno_of(|| ch?.fd(), -1)
}

/// The longest message that this end can send, in bytes.
///
/// It has room whenever the ring is empty. Does not block. May be called from any thread, from a
/// signal handler, and in the child after fork.
///
/// Returns it, or 0 with errno:
///   EINVAL  ch is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_max(ch: *const Channel) -> size_t {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.map(Channel::max), 0)
}

/// Says who is at the other end.
///
/// It is who connected or listened, or made the socket (see ipc_peer_cred); for a channel of
/// ipc_channel_pair who made that. *ret_cred gets cred_size bytes of it.
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

/// Says what has happened on this end since it was made.
///
/// *ret_stats gets stats_size bytes of it. The numbers are of this process: a child after fork
/// goes on from its parent's.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch or ret_stats is NULL, or stats_size is smaller than the structure's first
///           version
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
/// The other side receives what has been sent, and then the end, once no process has this end
/// any more: in a child that has it from fork it goes on. What was reserved is given back, and
/// what peek has shown is not to be looked at any more. NULL does nothing. No other thread may
/// use ch any more.
///
/// Does not block. May be called in the child after fork; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_close(ch: *mut Channel) {
    // SAFETY: from `give_out` or ipc_channel_pair, and the caller gives it up.
    unsafe { drop_handle(ch) };
}
