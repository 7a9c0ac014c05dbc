//! An end of a channel, with the C interface. Its waits have a limit.

use common::prelude::*;
use libc::{c_int, ssize_t};
use std::ptr;
use std::time::{Duration, Instant};
use unixipc::channel::Channel;
use unixipc::ffi::channel::*;

/// The smallest ring.
pub const RING: u64 = 1 << 16;

/// One end of a channel. Several threads may use it as the interface says.
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
        };
        let mut ends = [ptr::null_mut(); 2];
        let place = ends.as_mut_ptr();
        // SAFETY: options of this size, and room for two.
        let made =
            outcome(|| unsafe { ipc_channel_pair(&opts, size_of_val(&opts), place) as ssize_t });
        assert_eq!(made, Ok(0));
        ends.map(Self)
    }

    pub fn send(&self, bytes: &[u8], timeout: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: an open end, and the slice with its length.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout) as ssize_t })
    }

    pub fn recv(&self, room: &mut [u8], timeout: c_int) -> Outcome {
        let (at, len) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: an open end, and the slice with its length.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, len, timeout) })
    }

    /// The descriptor to poll.
    pub fn fd(&self) -> c_int {
        // SAFETY: an open end.
        let fd = unsafe { ipc_channel_fd(self.0) };
        assert!(fd >= 0);
        fd
    }

    /// Waits at the descriptor.
    #[track_caller]
    pub fn poll(&self, why: &str) {
        let mut poll = libc::pollfd {
            fd: self.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        let ready = unsafe { libc::poll(&mut poll, 1, LONG) };
        assert_eq!(ready, 1, "a lost wake-up at the descriptor: {why}");
    }

    /// The number of times that this end has woken the other.
    pub fn wakes(&self) -> u64 {
        // SAFETY: all zeros are such a structure.
        let mut stats: ipc_channel_stats = unsafe { std::mem::zeroed() };
        let size = size_of_val(&stats);
        // SAFETY: an open end, and a structure of this size.
        assert_eq!(unsafe { ipc_channel_stats(self.0, &mut stats, size) }, 0);
        stats.wakes
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: open, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

/// Spins for a short time, mostly for a very short one.
pub fn pause(random: &mut Random) {
    let most = [0, 0, 200, 2000, 20_000][random.below(5) as usize];
    if most > 0 {
        let end = Instant::now() + Duration::from_nanos(random.below(most));
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}
