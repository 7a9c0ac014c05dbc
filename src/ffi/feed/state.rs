//! Readiness of a feed, and the facts about it and its subscribers.

use super::options::{IPC_FEED_ID_SIZE, IPC_SUB_NAME_SIZE};
use crate::errno::{Result, errno, or_errno_of};
use crate::feed::{Feed, Kind, Report};
use crate::ffi::pointer::{ExtensibleStruct, copy_struct_to, handle_mut, non_null};
use libc::{c_char, c_int, c_uint, gid_t, pid_t, size_t, ssize_t, uid_t};

/// State of a subscriber: the publisher does not wait for it.
pub const IPC_SUB_S_LOSSY: c_uint = 1;
/// State of a subscriber: it was reliable, and became lossy because it stalled for stall_ms.
pub const IPC_SUB_S_STALLED: c_uint = 2;
/// State of a subscriber: it sleeps until the next message.
pub const IPC_SUB_S_ASLEEP: c_uint = 4;
/// State of a subscriber: the last publication waits for it, or was refused because of it.
pub const IPC_SUB_S_HOLDS: c_uint = 8;

/// A subscriber of a feed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_feed_subscriber {
    /// the process that connected, as in struct ipc_cred
    pub pid: pid_t,
    /// its user
    pub uid: uid_t,
    /// its group
    pub gid: gid_t,
    /// IPC_SUB_S_LOSSY, IPC_SUB_S_STALLED, IPC_SUB_S_ASLEEP and IPC_SUB_S_HOLDS, or'ed
    pub state: c_uint,
    /// the number of messages that it has not received yet
    pub lag_messages: u64,
    /// the number of bytes of the ring that these occupy
    pub lag_bytes: u64,
    /// the number of messages that it has lost
    pub lost: u64,
    /// its name; empty if it has none. It may contain any bytes
    pub name: [c_char; IPC_SUB_NAME_SIZE],
}

// SAFETY: numbers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_feed_subscriber {
    const FIRST_SIZE: usize = 72;
}
const _: () = assert!(size_of::<ipc_feed_subscriber>() == ipc_feed_subscriber::FIRST_SIZE);

impl From<Report> for ipc_feed_subscriber {
    fn from(report: Report) -> Self {
        let state = |is_set, state| if is_set { state } else { 0 };
        Self {
            pid: report.cred.pid,
            uid: report.cred.uid,
            gid: report.cred.gid,
            state: state(report.kind != Kind::Reliable, IPC_SUB_S_LOSSY)
                | state(report.kind == Kind::Demoted, IPC_SUB_S_STALLED)
                | state(report.is_asleep, IPC_SUB_S_ASLEEP)
                | state(report.holds, IPC_SUB_S_HOLDS),
            lag_messages: report.lag.0,
            lag_bytes: report.lag.1,
            lost: report.lost,
            name: report.name.map(|byte| byte as c_char),
        }
    }
}

/// The facts about a feed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_feed_info {
    /// random bytes that identify the feed
    pub feed_id: [u8; IPC_FEED_ID_SIZE],
    /// the number of messages that were published: the sequence number of the next one
    pub published: u64,
    /// the length of the longest message that can be published
    pub message_max: u64,
}

// SAFETY: numbers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_feed_info {
    const FIRST_SIZE: usize = 32;
}
const _: () = assert!(size_of::<ipc_feed_info>() == ipc_feed_info::FIRST_SIZE);

/// Admits the subscribers that wait, and forgets those that have ended.
///
/// It handles up to 16 events, so that its time is bounded; the descriptor of ipc_feed_fd stays
/// readable if there are more. Publications call it too, see ipc_feed_listen.
///
/// Does not block. Not a cancellation point. For threads, fork and signal handlers the rules of
/// ipc_feed_create apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY   this process has the feed from fork
///   EINVAL  feed is NULL
///   EMFILE  a subscriber waits to be accepted, and the process has no descriptor left. It stays in
///           the queue; a call or publication after 10 ms tries again
///   ENFILE  as EMFILE, and the system has no open file left
///   ENOMEM  as EMFILE, and no memory is left
///   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches), and a
///           subscriber was refused
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_service(feed: *mut Feed) -> c_int {
    // SAFETY: the caller's feed; no other thread uses it.
    let feed = unsafe { handle_mut(feed) };
    or_errno_of(|| feed?.service().map(|()| 0), -1)
}

/// Returns the descriptor of a feed, for poll, epoll and similar calls.
///
/// It becomes readable (POLLIN, and no other event):
/// - when a subscriber waits to be admitted, or has ended;
/// - after a publication or reservation that failed with EAGAIN, when the reliable subscribers have
///   read half of the ring, or one of them has held the publisher up for stall_ms.
///
/// Spurious readiness is possible. When it is readable, call ipc_feed_service, and then retry the
/// publication that failed with EAGAIN. It does not become readable when the process has
/// descriptors again after EMFILE: wait for some time, and then do the same.
///
/// The descriptor belongs to the feed, which closes it. Do not read from it or write to it. Each
/// call returns the same descriptor.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_feed_create apply.
///
/// Returns the descriptor, or -1 with errno:
///   EBUSY   this process has the feed from fork
///   EINVAL  feed is NULL
///   EMFILE  the process has no descriptor left for a timer
///   ENFILE  as EMFILE, and the system has no open file left
///   ENOMEM  as EMFILE, and no memory is left
///   ENOSPC  as EMFILE, and the user has too many epoll watches
///           (/proc/sys/fs/epoll/max_user_watches)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_fd(feed: *mut Feed) -> c_int {
    // SAFETY: the caller's feed; no other thread uses it.
    let feed = unsafe { handle_mut(feed) };
    or_errno_of(|| feed?.fd(), -1)
}

/// Reports the subscribers of a feed, with their lag.
///
/// ret is an array of count elements of size bytes each (sizeof(*ret)); NULL if count is 0. The
/// call writes the first count subscribers, in any order, and returns the number of all: if it is
/// greater than count, the array was too small. Lag, state and lost of a subscriber come from
/// memory that only the subscriber writes. The call limits them to possible values, but a hostile
/// subscriber can report wrong ones.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_feed_create apply.
///
/// Returns the number of subscribers, or -1 with errno:
///   EBUSY   this process has the feed from fork
///   EINVAL  feed is NULL; or count is not 0, and ret is NULL or size is smaller than the
///           structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_subscribers(
    feed: *mut Feed,
    ret: *mut ipc_feed_subscriber,
    count: size_t,
    size: size_t,
) -> ssize_t {
    let report = || -> Result<ssize_t> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        if count != 0 && (ret.is_null() || size < ipc_feed_subscriber::FIRST_SIZE) {
            return Err(errno!(EINVAL));
        }
        let mut written = 0;
        let total = feed.subscribers(|report| {
            if written < count {
                let at = ret.wrapping_byte_add(written * size);
                // SAFETY: an element of the caller's array.
                let _ = unsafe { copy_struct_to(at, size, &report.into()) };
                written += 1;
            }
        })?;
        Ok(total as ssize_t)
    };
    or_errno_of(report, -1)
}

/// Gets the facts about a feed.
///
/// size is sizeof(*ret_info).
///
/// Does not block. For threads and signal handlers the rules of ipc_feed_create apply; may be
/// called in the child after fork.
///
/// Returns 0, or -1 with errno and ret_info unchanged:
///   EINVAL  feed or ret_info is NULL, or size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_feed_info(
    feed: *mut Feed,
    ret_info: *mut ipc_feed_info,
    size: size_t,
) -> c_int {
    let report = || -> Result<c_int> {
        // SAFETY: the caller's feed; no other thread uses it.
        let feed = unsafe { handle_mut(feed) }?;
        let info = ipc_feed_info {
            feed_id: feed.id(),
            published: feed.count(),
            message_max: feed.max() as u64,
        };
        non_null(ret_info)?;
        // SAFETY: the caller's structure of size bytes.
        unsafe { copy_struct_to(ret_info, size, &info) }?;
        Ok(0)
    };
    or_errno_of(report, -1)
}
