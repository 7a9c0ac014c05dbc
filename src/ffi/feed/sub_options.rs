//! The options of a subscriber.

use super::options::IPC_FEED_ID_SIZE;
use crate::errno::{Result, errno};
use crate::feed::{Begin, NAME_SIZE, SubscriberOptions};
use crate::ffi::pointer::{ExtensibleStruct, copy_struct_from, optional_string};
use crate::ffi::spin::spin_policy;
use crate::transport::spin::ADAPTIVE_SPIN;
use libc::{c_char, c_uint, size_t};

/// Flag of struct ipc_sub_opts: the publisher does not wait for this subscriber, which may lose
/// messages.
pub const IPC_SUB_F_LOSSY: c_uint = 1;
/// Flag of struct ipc_sub_opts: begin with the oldest message that is left in the ring. The
/// publisher may give up to an eighth of the ring up early. Without this flag and
/// IPC_SUB_F_FROM_SEQ, begin with the next message that is published.
pub const IPC_SUB_F_OLDEST: c_uint = 2;
/// Flag of struct ipc_sub_opts: begin with the message that has the sequence number seq.
pub const IPC_SUB_F_FROM_SEQ: c_uint = 4;
/// Flag of struct ipc_sub_opts: a blocking call sleeps at once, without spinning.
pub const IPC_SUB_F_NO_SPIN: c_uint = 8;
/// Flag of struct ipc_sub_opts, for ipc_sub_connect only: if no process listens at the path, wait
/// for one.
pub const IPC_SUB_F_WAIT: c_uint = 16;

/// Options of a subscriber. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_sub_opts {
    /// IPC_SUB_F_LOSSY, IPC_SUB_F_OLDEST, IPC_SUB_F_FROM_SEQ, IPC_SUB_F_NO_SPIN and, for
    /// ipc_sub_connect, IPC_SUB_F_WAIT, or'ed. IPC_SUB_F_OLDEST and IPC_SUB_F_FROM_SEQ exclude each
    /// other
    pub flags: c_uint,
    /// how long a blocking call spins before it sleeps, in microseconds, at most 1000000. 0: about
    /// 10 microseconds while spinning succeeds
    pub spin_us: c_uint,
    /// with IPC_SUB_F_FROM_SEQ, the sequence number of the first message to receive; otherwise 0
    pub seq: u64,
    /// the largest ring to accept, in bytes; 0: 16 MiB. This process maps the ring
    pub size_max: u64,
    /// a name that ipc_feed_subscribers shows, of at most 31 bytes; NULL: none
    pub name: *const c_char,
    /// the identity of the feed (struct ipc_sub_info), if the subscriber continues to read one that
    /// it has read before. Another feed is then refused with ESTALE. Zeros: any feed
    pub feed_id: [u8; IPC_FEED_ID_SIZE],
}

// SAFETY: numbers and a pointer: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_sub_opts {
    const FIRST_SIZE: usize = 48;
}
const _: () = assert!(size_of::<ipc_sub_opts>() == ipc_sub_opts::FIRST_SIZE);

/// Checks and converts the options of a subscriber. `may_wait` if they may contain the flag
/// `IPC_SUB_F_WAIT`.
///
/// # Safety
///
/// As for [`copy_struct_from`], and the name is NULL or a string.
pub(super) unsafe fn sub_options(
    opts: *const ipc_sub_opts,
    size: size_t,
    may_wait: bool,
) -> Result<SubscriberOptions> {
    let mut flags = IPC_SUB_F_LOSSY | IPC_SUB_F_OLDEST | IPC_SUB_F_FROM_SEQ | IPC_SUB_F_NO_SPIN;
    if may_wait {
        flags |= IPC_SUB_F_WAIT;
    }
    // SAFETY: the caller's promise.
    let opts = unsafe { copy_struct_from(opts, size) }?;
    let has = |flag| opts.flags & flag != 0;
    let begin = match (has(IPC_SUB_F_OLDEST), has(IPC_SUB_F_FROM_SEQ)) {
        (false, false) => Begin::Newest,
        (true, false) => Begin::Oldest,
        (false, true) => Begin::Sequence(opts.seq),
        (true, true) => return Err(errno!(EINVAL)),
    };
    if opts.flags & !flags != 0 || (opts.seq != 0 && !has(IPC_SUB_F_FROM_SEQ)) {
        return Err(errno!(EINVAL));
    }
    let mut name = [0; NAME_SIZE];
    // SAFETY: the caller's promise.
    if let Some(given) = unsafe { optional_string(opts.name) } {
        let given = given.to_bytes_with_nul();
        let target = name.get_mut(..given.len()).ok_or(errno!(ENAMETOOLONG))?;
        target.copy_from_slice(given);
    }
    Ok(SubscriberOptions {
        is_lossy: has(IPC_SUB_F_LOSSY),
        begin,
        feed_id: opts.feed_id,
        name,
        size_max: opts.size_max,
        spin: spin_policy(opts.spin_us, has(IPC_SUB_F_NO_SPIN), ADAPTIVE_SPIN)?,
        wait: has(IPC_SUB_F_WAIT),
    })
}
