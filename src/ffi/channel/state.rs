//! Readiness, shutdown, and the facts about an end.

use crate::channel::{Channel, Stats};
use crate::errno::{Result, or_errno, or_errno_of};
use crate::ffi::pointer::{ExtensibleStruct, copy_struct_to, drop_handle, handle, non_null};
use crate::pair::Cred;
use libc::{c_int, size_t};
use std::os::fd::IntoRawFd;

/// Counters of an end of a channel, from its creation on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_channel_stats {
    /// messages sent
    pub sent_messages: u64,
    /// bytes in the messages sent
    pub sent_bytes: u64,
    /// messages received
    pub received_messages: u64,
    /// bytes in the messages received
    pub received_bytes: u64,
    /// number of times that a call on this end slept
    pub sleeps: u64,
    /// number of times that this end woke its peer
    pub wakes: u64,
    /// number of sends and reservations that found the ring full, or the socket full of descriptors
    pub full: u64,
}

// SAFETY: numbers of one size: no padding, and all bytes are valid.
unsafe impl ExtensibleStruct for ipc_channel_stats {
    const FIRST_SIZE: usize = 56;
}
const _: () = assert!(size_of::<ipc_channel_stats>() == ipc_channel_stats::FIRST_SIZE);

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

/// Returns the descriptor of an end, for poll, epoll and similar calls.
///
/// It becomes readable (POLLIN, and no other event):
/// - for a message;
/// - for the end of the session, until a receive has reported it;
/// - for the death of the peer, and then it stays readable;
/// - after a send or reservation that failed with EAGAIN, when half of the ring is free;
/// - on an accepted channel, when the handshake can continue.
///
/// Spurious readiness is possible.
///
/// The descriptor stays readable until a receive fails with EAGAIN. When it is readable, first
/// retry a send that failed with EAGAIN, then receive. With level-triggered polling the caller may
/// stop after any number of messages, because the descriptor stays readable. With edge-triggered
/// polling it must receive until EAGAIN or the end of the session.
///
/// A send that failed with EAGAIN requests a signal when there is free space. The request ends only
/// after that signal: when the same thread sends a message of at least that length without waiting
/// (timeout_ms 0), or when its receives fail with EAGAIN twice. Calls of other threads, and sends
/// that wait, do not end it. Use the descriptor from one event loop only.
///
/// After the first call the peer must wake this side for each message that this side waits for. A
/// program that waits in the channel functions themselves, or polls them, does not need the
/// descriptor.
///
/// The descriptor belongs to the channel, which closes it. Do not read from it or write to it. Each
/// call returns the same descriptor.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. If the parent had the descriptor before the fork, the child shares it, as with
/// epoll_create(2).
///
/// Returns the descriptor, or -1 with errno:
///   EBUSY   this process was forked while another thread completed the handshake
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

/// Ends one or both directions, permanently and for all processes that have this end.
///
/// how is one of:
/// - SHUT_WR: the peer receives all messages that were sent, and then the end.
/// - SHUT_RD: the sends of the peer fail with EPIPE from then on; this side receives the messages
///   that are in the ring, and then the end.
/// - SHUT_RDWR: both.
///
/// Calls that wait on this end in other threads of this process end too. A message that another
/// thread sends at the same moment, or that the peer sends before it has noticed, may still arrive
/// after the end. A message that was reserved before SHUT_WR cannot be sent.
///
/// If the handshake is not complete, the call records the shutdown, and the peer learns of it when
/// the handshake completes.
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

/// Closes this process's handle of an end, with its descriptors and its memory.
///
/// When no process has this end open, the peer receives all messages that were sent, and then the
/// end. A child that has the end from fork keeps it open. The call releases reserved space; a
/// message that ipc_channel_peek has returned must not be read after it. NULL does nothing. No
/// other thread may use ch during the call or after it.
///
/// Does not block. Not a cancellation point. May be called in the child after fork; not from a
/// signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_close(ch: *mut Channel) {
    // SAFETY: the caller's channel, which is no longer used.
    unsafe { drop_handle(ch) };
}

/// Gets the credentials of the peer.
///
/// They are those of the process that connected, listened, or made the socket (see ipc_peer_cred);
/// for ipc_channel_pair, of the process that made the channel. cred_size is sizeof(*ret_cred), as
/// for ipc_peer_cred.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno and ret_cred unchanged:
///   EINVAL  ch or ret_cred is NULL, or cred_size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peer_cred(
    ch: *const Channel,
    ret_cred: *mut Cred,
    cred_size: size_t,
) -> c_int {
    let report = || -> Result<c_int> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        non_null(ret_cred)?;
        // SAFETY: the caller's structure of cred_size bytes.
        unsafe { copy_struct_to(ret_cred, cred_size, &ch.cred()) }?;
        Ok(0)
    };
    or_errno(report(), -1)
}

/// Opens a pidfd of the peer.
///
/// It refers to the process whose ID ipc_channel_peer_cred returns, and is as for ipc_peer_pidfd:
/// close-on-exec, readable when the process has ended, and closed by the caller. A channel keeps no
/// descriptor of its peer. So the call opens the process ID, and reads from /proc whether that
/// process had started when this end was made. If not, the ID is used again: ESRCH.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork. Not a cancellation point.
///
/// Returns the descriptor, or -1 with errno:
///   EINVAL      ch is NULL
///   EMFILE      the process has no descriptor left
///   ENFILE      the system has no open file left
///   ENOMEM      no memory is left
///   ENOSYS      the kernel is older than Linux 5.3, or a filter refuses pidfd_open(2)
///   EOPNOTSUPP  /proc does not show the process
///   ESRCH       the process has ended, or is in another PID namespace
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peer_pidfd(ch: *const Channel) -> c_int {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno_of(|| Ok(ch?.peer_pidfd()?.into_raw_fd()), -1)
}

/// Gets the counters of an end.
///
/// stats_size is sizeof(*ret_stats); a shorter structure, from an older version, gets the first
/// members, and in a longer one the rest becomes zero. The counters cover the calls of this
/// process: the child of a fork continues with the numbers of its parent.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno and ret_stats unchanged:
///   EINVAL  ch or ret_stats is NULL, or stats_size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_stats(
    ch: *const Channel,
    ret_stats: *mut ipc_channel_stats,
    stats_size: size_t,
) -> c_int {
    let report = || -> Result<c_int> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        non_null(ret_stats)?;
        // SAFETY: the caller's structure of stats_size bytes.
        unsafe { copy_struct_to(ret_stats, stats_size, &ch.stats().into()) }?;
        Ok(0)
    };
    or_errno(report(), -1)
}
