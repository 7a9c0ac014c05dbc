//! The options of a channel.

use crate::channel::Options;
use crate::errno::{Result, errno};
use crate::ffi::pointer::{ExtensibleStruct, copy_struct_from};
use crate::ffi::spin::spin_policy;
use crate::transport::spin::ADAPTIVE_SPIN;
use libc::{c_uint, size_t};

/// Flag of struct ipc_channel_opts: allocate and map all memory of the ring that this side sends
/// through before the channel is used.
pub const IPC_CHANNEL_F_PREFAULT: c_uint = 1;
/// Flag of struct ipc_channel_opts: lock the ring that this side sends through in memory
/// (mlock(2)).
pub const IPC_CHANNEL_F_LOCK: c_uint = 2;
/// Flag of struct ipc_channel_opts: a blocking call sleeps at once, without spinning.
pub const IPC_CHANNEL_F_NO_SPIN: c_uint = 4;
/// Flag of struct ipc_channel_opts, for ipc_channel_connect only: if no process listens at the path,
/// wait for one.
pub const IPC_CHANNEL_F_WAIT: c_uint = 8;
/// Flag of struct ipc_channel_opts: messages can carry descriptors (ipc_channel_send_fds). Both
/// sides must set it. Each end then keeps its socket, which is one descriptor more.
pub const IPC_CHANNEL_F_FDS: c_uint = 16;

/// Options of a channel. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_channel_opts {
    /// IPC_CHANNEL_F_PREFAULT, IPC_CHANNEL_F_LOCK, IPC_CHANNEL_F_NO_SPIN, IPC_CHANNEL_F_FDS and,
    /// for ipc_channel_connect, IPC_CHANNEL_F_WAIT, or'ed
    pub flags: c_uint,
    /// how long a blocking call spins before it sleeps, in microseconds, at most 1000000. 0: about
    /// 10 microseconds while spinning succeeds. A call does not spin if both sides run on the same
    /// processor
    pub spin_us: c_uint,
    /// the size of the ring that this side sends through, in bytes, rounded up to a power of two of
    /// at least 64 KiB; 0: 256 KiB
    pub send_size: u64,
    /// for ipc_channel_pair, the size of the ring that the second end sends through; 0: as
    /// send_size. For the other functions it must be 0, because the peer chooses the size
    pub recv_size: u64,
    /// the largest ring to accept from a peer, in bytes; 0: 16 MiB. This process maps the ring, and
    /// the memory may be charged to it
    pub recv_size_max: u64,
    /// the length of a message that must be possible to send, whatever send_size is, in bytes; 0:
    /// no such requirement. At most 2147483647. With IPC_CHANNEL_F_FDS such a message can carry
    /// descriptors, and the limit is 2147483631
    pub message_max: u64,
    /// the alignment of reserved and received messages in the rings of both sides, in bytes:
    /// 8, 16, 32 or 64; 0: 8. If the sides ask for different ones, both get the larger one. A larger
    /// alignment makes short messages occupy more of the ring
    pub message_align: c_uint,
    /// must be 0
    pub reserved: c_uint,
}

// SAFETY: numbers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_channel_opts {
    const FIRST_SIZE: usize = 48;
}
const _: () = assert!(size_of::<ipc_channel_opts>() == ipc_channel_opts::FIRST_SIZE);

/// The flags that every function accepts.
///
/// cbindgen:ignore
pub(super) const COMMON_FLAGS: c_uint =
    IPC_CHANNEL_F_PREFAULT | IPC_CHANNEL_F_LOCK | IPC_CHANNEL_F_NO_SPIN | IPC_CHANNEL_F_FDS;

/// Checks and converts the options of a caller. Any other flag than `flags` is `EINVAL`.
///
/// # Safety
///
/// As for [`copy_struct_from`].
#[inline(never)] // four functions call it
pub(super) unsafe fn options(
    opts: *const ipc_channel_opts,
    size: size_t,
    flags: c_uint,
) -> Result<Options> {
    // SAFETY: the caller's promise.
    let opts = unsafe { copy_struct_from(opts, size) }?;
    let no_spin = opts.flags & IPC_CHANNEL_F_NO_SPIN != 0;
    if opts.flags & !flags != 0 || opts.reserved != 0 {
        return Err(errno!(EINVAL));
    }
    Ok(Options {
        send_size: opts.send_size,
        recv_size: opts.recv_size,
        recv_size_max: opts.recv_size_max,
        message_max: opts.message_max,
        message_align: opts.message_align,
        spin: spin_policy(opts.spin_us, no_spin, ADAPTIVE_SPIN)?,
        populate: opts.flags & IPC_CHANNEL_F_PREFAULT != 0,
        lock: opts.flags & IPC_CHANNEL_F_LOCK != 0,
        fds: opts.flags & IPC_CHANNEL_F_FDS != 0,
        wait: opts.flags & IPC_CHANNEL_F_WAIT != 0,
    })
}
