//! Publishing.

use crate::deadline::Deadline;
use crate::errno::{Result, or_errno};
use crate::feed::Feed;
use crate::ffi::pointer::{buffer, handle_mut};
use libc::{c_int, c_void, size_t};
use std::ptr;

/// Publishes one message to all subscribers.
///
/// len is from 1 to message_max of struct ipc_feed_info. The call copies the message into the ring.
/// The first message of a feed has the sequence number 0, the next one 1, and so on. If reliable
/// subscribers have not read the messages that this one would overwrite, the call waits for them as
/// timeout_ms says: in milliseconds, -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. It does not wait for a subscriber that has ended, nor longer
/// than stall_ms for one that stalls.
///
/// While the subscribers are busy, the call makes no system call, except one about every few
/// milliseconds for those that want to be admitted (see ipc_feed_listen). It wakes each subscriber
/// that sleeps.
///
/// Every subscriber receives a message that was published, even if this process dies at once.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the message is then not
/// published. Only one thread may use a feed at once. Fails in the child after fork; not for signal
/// handlers. Does not raise SIGPIPE.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and a reliable subscriber leaves no space
///   EBUSY      a message is reserved (ipc_feed_reserve); or this process has the feed from fork
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     feed or buf is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is greater than message_max of struct ipc_feed_info
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_publish(
    feed: *mut Feed,
    buf: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let publish = || -> Result<c_int> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        // SAFETY: the caller's buffer of len bytes.
        let bytes = unsafe { buffer(buf, len) }?;
        feed.publish(bytes, Deadline::new(timeout_ms)?).map(|()| 0)
    };
    or_errno(publish(), -1)
}

/// Reserves space for one message in the ring, which the caller fills in place.
///
/// len is as for ipc_feed_publish. The caller may read and write the space until ipc_feed_commit
/// publishes it or ipc_feed_cancel releases it. The space is aligned to 8 bytes, or to
/// message_align, and its content is undefined at first. The messages that the space overwrites are
/// lost for lossy subscribers from this call on. If reliable subscribers leave no space, the call
/// waits as ipc_feed_publish does.
///
/// Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
/// handlers the rules of ipc_feed_publish apply.
///
/// Returns the address of the space, or NULL with errno: ipc_feed_publish's errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_reserve(
    feed: *mut Feed,
    len: size_t,
    timeout_ms: c_int,
) -> *mut c_void {
    let reserve = || -> Result<*mut c_void> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        Ok(feed.reserve(len, Deadline::new(timeout_ms)?)?.cast())
    };
    or_errno(reserve(), ptr::null_mut())
}

/// Publishes the reserved message.
///
/// len is from 1 to the length that was reserved; only the first len bytes are published.
///
/// Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
/// ipc_feed_publish apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY   this process has the feed from fork
///   EINVAL  feed is NULL, nothing is reserved, or len is 0 or too large
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_commit(feed: *mut Feed, len: size_t) -> c_int {
    // SAFETY: the caller's feed; no other thread uses it.
    let feed = unsafe { handle_mut(feed) };
    or_errno(feed.and_then(|feed| feed.commit(len)).map(|()| 0), -1)
}

/// Releases the reserved space, and publishes nothing.
///
/// Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
/// ipc_feed_publish apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY   this process has the feed from fork
///   EINVAL  feed is NULL, or nothing is reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_cancel(feed: *mut Feed) -> c_int {
    // SAFETY: the caller's feed; no other thread uses it.
    let feed = unsafe { handle_mut(feed) };
    or_errno(feed.and_then(Feed::cancel).map(|()| 0), -1)
}
