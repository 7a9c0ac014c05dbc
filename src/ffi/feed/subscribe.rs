//! Subscribing to a feed.

use super::sub_options::{ipc_sub_opts, sub_options};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno_of};
use crate::fd::borrow;
use crate::feed::{self, Subscriber};
use crate::ffi::pointer::{drop_handle, return_handle, string};
use libc::{c_char, c_int, size_t};

#[cfg(cbindgen)]
/// A subscriber of a feed. Only one thread may use it at once.
pub struct ipc_sub;

/// Subscribes to the feed that listens at a path.
///
/// path is as for ipc_feed_listen. opts points to options of opts_size bytes (sizeof(*opts)); NULL
/// means the defaults: a reliable subscriber that begins with the next message.
///
/// The call returns when the publisher has admitted the subscriber, or when its time-out ends. A
/// publisher that publishes nothing and does not call ipc_feed_service admits no subscriber: use a
/// time-out. timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR
/// waits until a signal handler has run. It limits the whole call: with IPC_SUB_F_WAIT the wait for
/// a listener, as for ipc_channel_connect, the wait for a place in the listener's queue, and the
/// wait for the admission.
///
/// With IPC_SUB_F_FROM_SEQ a subscriber continues where it ended before: seq is the sequence number
/// after that of its last message, and feed_id is that of the feed. If the publisher has
/// overwritten that message, the first receive fails with EOVERFLOW, which says where to go on.
///
/// The caller closes the subscriber with ipc_sub_close. It uses two descriptors, and two more after
/// ipc_sub_fd. In a process with several threads it uses one more when a call first sleeps. All are
/// close-on-exec.
///
/// Blocks as timeout_ms says. Not a cancellation point: use a time-out. May be called from any
/// thread and in the child after fork; not from a signal handler. Only one thread may use a
/// subscriber at once.
///
/// Returns 0, or -1 with errno and *ret_sub unchanged:
///   E2BIG         opts sets a member that this version does not know
///   EACCES        no permission to search the directory or to write the path
///   EAGAIN        timeout_ms is 0, and the publisher has not admitted the subscriber yet
///   ECONNREFUSED  no process listens at the path, or the socket there is not a feed's
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        ret_sub or path is NULL, path is "@", opts has an unknown flag or an invalid
///                 time, both IPC_SUB_F_OLDEST and IPC_SUB_F_FROM_SEQ are set, seq is set without
///                 IPC_SUB_F_FROM_SEQ, opts_size is smaller than the structure's first version,
///                 timeout_ms is below -2, or the kernel is older than Linux 5.1
///   ELOOP         too many symbolic links in the path
///   EMFILE        the process has no descriptor left
///   ENAMETOOLONG  path is longer than the path of a socket can be (107 bytes), or the name is
///                 longer than 31 bytes
///   ENFILE        the system has no open file left
///   ENOBUFS       no memory is left for the handshake
///   ENOENT        the path does not exist, or is empty
///   ENOMEM        no memory or address space is left
///   ENOSPC        the system has no memory left
///   ENOTDIR       a part of the path is not a directory
///   EOPNOTSUPP    the feed admits only lossy subscribers
///   EPIPE         the publisher has ended, or has no descriptor or memory left for a subscriber, or
///                 has dropped it among many clients that send nothing: connect again
///   EPROTO        the listener does not use this protocol, its memory does not have the required
///                 seals, or its ring is larger than size_max
///   ESTALE        the feed is not that of feed_id, or has not published as many messages as seq
///                 says; or the publisher uses another version of the protocol
///   ETIMEDOUT     the time-out expired
///   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
///   EUSERS        the feed has as many subscribers as it may have
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_connect(
    path: *const c_char,
    opts: *const ipc_sub_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_sub: *mut *mut Subscriber,
) -> c_int {
    let connect = || -> Result<c_int> {
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        // SAFETY: the caller's options.
        let options = unsafe { sub_options(opts, opts_size, true) }?;
        let mut deadline = Deadline::new(timeout_ms)?;
        // SAFETY: the caller's output parameter.
        unsafe { return_handle(ret_sub, || feed::connect(path, &options, &mut deadline)) }
    };
    or_errno_of(connect, -1)
}

/// Subscribes to a feed over a connected socket, whose other end the publisher has passed to
/// ipc_feed_add, or will pass to it.
///
/// sock is as for ipc_feed_add; the caller may close it after the call. opts and timeout_ms are as
/// for ipc_sub_connect, without IPC_SUB_F_WAIT.
///
/// Blocks as timeout_ms says, until the publisher has admitted the subscriber; so the thread that
/// publishes cannot call it. Not a cancellation point: use a time-out. If the call fails after it
/// has sent its request (EAGAIN, EINTR, ETIMEDOUT and others), it shuts the socket down for both
/// sides (shutdown(2)), because the publisher may have admitted the subscriber. May be called from
/// any thread and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_sub_connect's errors without those of a path, and
///   EBADF       sock is not open
///   EBUSY       another process that has the socket has received the publisher's answer
///   ENOTCONN    sock is not connected
///   ENOTSOCK    sock is not a socket
///   EOPNOTSUPP  sock is not a local socket, or the feed admits only lossy subscribers
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_from_fd(
    sock: c_int,
    opts: *const ipc_sub_opts,
    opts_size: size_t,
    timeout_ms: c_int,
    ret_sub: *mut *mut Subscriber,
) -> c_int {
    let subscribe = || -> Result<c_int> {
        // SAFETY: the caller's options.
        let options = unsafe { sub_options(opts, opts_size, false) }?;
        let mut deadline = Deadline::new(timeout_ms)?;
        let socket = borrow(sock)?;
        let open = || feed::from_socket(socket, &options, &mut deadline);
        // SAFETY: the caller's output parameter.
        unsafe { return_handle(ret_sub, open) }
    };
    or_errno_of(subscribe, -1)
}

/// Closes a subscriber, with its descriptors and its memory.
///
/// The publisher no longer waits for it. A child that has the subscriber from fork keeps it open. A
/// message that ipc_sub_peek has returned must not be read after the call. NULL does nothing. No
/// other thread may use sub during the call or after it.
///
/// Does not block. Not a cancellation point. May be called in the child after fork; not from a
/// signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_close(sub: *mut Subscriber) {
    // SAFETY: the caller's subscriber, which is no longer used.
    unsafe { drop_handle(sub) };
}
