//! The options of a feed.

use crate::errno::{Result, errno};
use crate::feed::{FeedOptions, NAME_SIZE, PUBLISHER_SPIN};
use crate::ffi::pointer::{ExtensibleStruct, copy_struct_from};
use crate::ffi::spin::spin_policy;
use crate::transport::ring_memory::Pages;
use libc::{c_int, c_uint, size_t};

/// Flag of struct ipc_feed_opts: allocate and map all memory of the ring before the feed is used.
pub const IPC_FEED_F_PREFAULT: c_uint = 1;
/// Flag of struct ipc_feed_opts: lock the ring in memory (mlock(2)).
pub const IPC_FEED_F_LOCK: c_uint = 2;
/// Flag of struct ipc_feed_opts: a publication that waits for space sleeps at once, without
/// spinning.
pub const IPC_FEED_F_NO_SPIN: c_uint = 4;

/// The size of the name of a subscriber, with its terminating null byte.
pub const IPC_SUB_NAME_SIZE: size_t = 32;
const _: () = assert!(IPC_SUB_NAME_SIZE == NAME_SIZE);

/// The size of the identity of a feed.
pub const IPC_FEED_ID_SIZE: size_t = 16;

/// Options of a feed. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_feed_opts {
    /// IPC_FEED_F_PREFAULT, IPC_FEED_F_LOCK and IPC_FEED_F_NO_SPIN, or'ed
    pub flags: c_uint,
    /// how long a publication that waits for space spins before it sleeps, in microseconds, at most
    /// 1000000. 0: about 100 microseconds while spinning succeeds
    pub spin_us: c_uint,
    /// the size of the ring in bytes, rounded up to a power of two of at least 64 KiB and at most
    /// 16 GiB; 0: 256 KiB
    pub size: u64,
    /// the length of a message that must be possible to publish, whatever size is, in bytes; 0: no
    /// such requirement. At most 2147483647
    pub message_max: u64,
    /// the alignment of reserved and received messages in bytes: 8, 16, 32 or 64; 0: 8
    pub message_align: c_uint,
    /// the number of subscribers that the feed may have, at most 65536; 0: 64. Each needs two
    /// descriptors of the publisher
    pub subscribers_max: c_uint,
    /// how long a reliable subscriber may hold a publication up, in milliseconds. Then it becomes
    /// lossy. 0: without limit
    pub stall_ms: c_int,
    /// 1: only lossy subscribers are admitted; 0: reliable ones too
    pub lossy_only: c_uint,
}

// SAFETY: numbers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_feed_opts {
    const FIRST_SIZE: usize = 40;
}
const _: () = assert!(size_of::<ipc_feed_opts>() == ipc_feed_opts::FIRST_SIZE);

/// Checks and converts the options of a feed.
///
/// # Safety
///
/// As for [`copy_struct_from`].
pub(super) unsafe fn feed_options(opts: *const ipc_feed_opts, size: size_t) -> Result<FeedOptions> {
    const FLAGS: c_uint = IPC_FEED_F_PREFAULT | IPC_FEED_F_LOCK | IPC_FEED_F_NO_SPIN;
    // SAFETY: the caller's promise.
    let opts = unsafe { copy_struct_from(opts, size) }?;
    if opts.flags & !FLAGS != 0 || opts.lossy_only > 1 {
        return Err(errno!(EINVAL));
    }
    let stall_ms = u64::try_from(opts.stall_ms).map_err(|_| errno!(EINVAL))?;
    Ok(FeedOptions {
        size: opts.size,
        message_max: opts.message_max,
        message_align: opts.message_align,
        subscribers_max: opts.subscribers_max,
        stall_ms,
        spin: spin_policy(
            opts.spin_us,
            opts.flags & IPC_FEED_F_NO_SPIN != 0,
            PUBLISHER_SPIN,
        )?,
        lossy_only: opts.lossy_only != 0,
        pages: Pages {
            populate: opts.flags & IPC_FEED_F_PREFAULT != 0,
            lock: opts.flags & IPC_FEED_F_LOCK != 0,
        },
    })
}
