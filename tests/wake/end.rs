//! An end of a channel, used through the C interface. Each wait has a time limit.

use common::prelude::*;
use libc::{c_int, ssize_t};
use std::ptr;
use std::time::{Duration, Instant};
use unixipc::channel::Channel;
use unixipc::ffi::channel::*;

/// The size of the smallest ring.
pub const RING: u64 = 1 << 16;

/// One end of a channel, which one sending and one receiving thread may share.
pub struct End(*mut Channel);

// SAFETY: one thread sends, one receives.
unsafe impl Sync for End {}

impl End {
    /// Both ends of a channel with the smallest rings.
    pub fn pair(flags: u32) -> [Self; 2] {
        let opts = ipc_channel_opts {
            flags,
            spin_us: 0,
            send_size: RING,
            recv_size: 0,
            recv_size_max: 0,
            message_max: 0,
            message_align: 0,
            reserved: 0,
        };
        let mut ends = [ptr::null_mut(); 2];
        let ret_ends = ends.as_mut_ptr();
        // SAFETY: options of this size, and an array of two.
        let made =
            outcome(|| unsafe { ipc_channel_pair(&opts, size_of_val(&opts), ret_ends) as ssize_t });
        assert_eq!(made, Ok(0));
        ends.map(Self)
    }

    pub fn send(&self, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: an open end, and the slice with its length.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout_ms) as ssize_t })
    }

    pub fn recv(&self, buffer: &mut [u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: an open end, and the slice with its length.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, len, timeout_ms) })
    }

    /// The descriptor to poll.
    pub fn fd(&self) -> c_int {
        // SAFETY: an open end.
        let fd = unsafe { ipc_channel_fd(self.0) };
        assert!(fd >= 0);
        fd
    }

    /// Waits until the descriptor is readable. `event` names the expected event.
    #[track_caller]
    pub fn poll(&self, event: &str) {
        let events = poll(self.fd(), LONG);
        assert_ne!(events, 0, "the descriptor lost a wake-up for {event}");
    }

    /// The number of times that this end has woken the other end.
    pub fn wakes(&self) -> u64 {
        // SAFETY: all zero bytes are a valid value.
        let mut stats: ipc_channel_stats = unsafe { std::mem::zeroed() };
        let size = size_of_val(&stats);
        // SAFETY: an open end, and a structure of this size.
        assert_eq!(unsafe { ipc_channel_stats(self.0, &mut stats, size) }, 0);
        stats.wakes
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: an open end, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

/// Spins for a short time, mostly for a very short one.
pub fn pause(random: &mut Random) {
    let max_ns = [0, 0, 200, 2000, 20_000][random.index(5)];
    if max_ns > 0 {
        let end = Instant::now() + Duration::from_nanos(random.below(max_ns));
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}
