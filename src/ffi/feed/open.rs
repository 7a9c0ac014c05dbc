//! Making a feed, and the ways in which subscribers come to it.

use super::options::{feed_options, ipc_feed_opts};
use crate::errno::{Result, errno, or_errno_of};
use crate::fd::borrow;
use crate::feed::Feed;
use crate::ffi::pointer::{drop_handle, handle_mut, return_handle, string};
use libc::{c_char, c_int, c_uint, mode_t, size_t};

#[cfg(cbindgen)]
/// The publisher of a feed. Only one thread may use it at once.
pub struct ipc_feed;

/// Makes a feed, which carries messages from this process to many subscribers.
///
/// Every subscriber receives every message. The messages pass through a ring in shared memory that
/// only this process can write; a message is copied into it once, whatever the number of
/// subscribers. Subscribers come by a path (ipc_feed_listen), or over a connected socket
/// (ipc_feed_add).
///
/// The publisher waits for a reliable subscriber: a message is not overwritten before the
/// subscriber has read it. It never waits for a lossy one, which is told how many messages it has
/// lost. A subscriber chooses its kind (struct ipc_sub_opts); the option lossy_only refuses
/// reliable ones, and the option stall_ms makes a reliable one that stalls lossy.
///
/// opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. The caller
/// closes the feed with ipc_feed_close. It uses two descriptors, one more with ipc_feed_listen, one
/// more with ipc_feed_fd, and two for each subscriber. All are close-on-exec.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler. Only one thread may use a feed at once. After fork the feed
/// belongs to the parent: in the child every call but ipc_feed_info and ipc_feed_close fails with
/// EBUSY. The child should close its copy: while it has one, subscribers do not notice the death of
/// the parent.
///
/// Returns 0, or -1 with errno and *ret_feed unchanged:
///   E2BIG   opts sets a member that this version does not know
///   EFBIG   the size of the ring exceeds RLIMIT_FSIZE
///   EINVAL  ret_feed is NULL, opts has an unknown flag or an invalid size, number or time,
///           opts_size is smaller than the structure's first version, or the kernel is older than
///           Linux 5.1
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory or address space is left; or, with IPC_FEED_F_LOCK, the memory could not be
///           locked, or would exceed RLIMIT_MEMLOCK
///   ENOSPC  the ring would be larger than all memory and swap space; or, with
///           IPC_FEED_F_PREFAULT, not enough memory is free
///   EPERM   IPC_FEED_F_LOCK, and the process may not lock memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_create(
    opts: *const ipc_feed_opts,
    opts_size: size_t,
    ret_feed: *mut *mut Feed,
) -> c_int {
    let create = || -> Result<c_int> {
        // SAFETY: the caller's options.
        let options = unsafe { feed_options(opts, opts_size) }?;
        // SAFETY: the caller's output parameter.
        unsafe { return_handle(ret_feed, || Feed::new(&options)) }
    };
    or_errno_of(create, -1)
}

/// Listens for subscribers at a path.
///
/// path and mode are as for ipc_channel_listen: every process that may write the path may
/// subscribe, and for "@name" every process on the system may. flags is 0. A feed listens at one
/// path. ipc_feed_close removes the path.
///
/// A subscriber that connects is admitted by ipc_feed_service, by a publication that waits for
/// space, and by other publications: at once if one finds a subscriber asleep or there are none,
/// and otherwise by every 16th, at most once in a few milliseconds. A publisher that publishes
/// nothing and waits in an event loop uses ipc_feed_fd. A client that connects and sends nothing
/// costs one descriptor for about a second.
///
/// Blocks for at most about a second, while another process starts to listen at the same path. Not
/// a cancellation point. For threads, fork and signal handlers the rules of ipc_feed_create apply.
///
/// Returns 0, or -1 with errno: ipc_channel_listen's errors, and
///   EBUSY   the feed listens already; or this process has the feed from fork
///   EINVAL  feed is NULL
///   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_listen(
    feed: *mut Feed,
    path: *const c_char,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    let listen = || -> Result<c_int> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        if flags != 0 {
            return Err(errno!(EINVAL));
        }
        feed.listen(path, mode).map(|()| 0)
    };
    or_errno_of(listen, -1)
}

/// Admits the process at the other end of a connected socket.
///
/// sock is a local socket (AF_UNIX) of type SOCK_STREAM or SOCK_SEQPACKET: from ipc_spawn,
/// ipc_pair_open, socketpair(2) or accept(2). The other process calls ipc_sub_from_fd. The feed
/// keeps a duplicate of the socket until the subscriber has asked for its admission. The caller may
/// close sock at any time, and uses it for nothing else. A subscriber that asks later is admitted
/// as described for ipc_feed_listen.
///
/// Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
/// ipc_feed_create apply.
///
/// Returns 0, or -1 with errno:
///   EAGAIN      64 sockets have been added whose other ends have not asked for an admission
///   EBADF       sock is not open
///   EBUSY       this process has the feed from fork
///   EINVAL      feed is NULL
///   EMFILE      the process has no descriptor left
///   ENOMEM      no memory is left
///   ENOSPC      the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
///   ENOTCONN    sock is not connected
///   ENOTSOCK    sock is not a socket
///   EOPNOTSUPP  sock is not a local socket
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_add(feed: *mut Feed, sock: c_int) -> c_int {
    let add = || -> Result<c_int> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        feed.add(borrow(sock)?).map(|()| 0)
    };
    or_errno_of(add, -1)
}

/// Closes a feed, with its descriptors and its memory, and removes the path at which it listens.
///
/// The subscribers receive all messages that were published, and then the end of the feed. In a
/// child that has the feed from fork, the call only releases the child's copy. The call releases
/// reserved space. NULL does nothing. No other thread may use feed during the call or after it.
///
/// Does not block. Not a cancellation point. May be called in the child after fork; not from a
/// signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_close(feed: *mut Feed) {
    // SAFETY: the caller's feed, which is no longer used.
    unsafe { drop_handle(feed) };
}
