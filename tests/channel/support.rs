//! The calls in Rust's types.

pub use common::prelude::*;
use libc::{c_int, c_void, mode_t};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{mem, ptr, slice};
use unixipc::channel::Channel;
use unixipc::ffi::channel::*;
use unixipc::pair::Cred;

/// The outcome of a call that succeeds and returns no number.
pub const DONE: Outcome = Ok(0);

pub const INTR: c_int = unixipc::ffi::pair::IPC_WAIT_INTR;

pub const NO_SPIN: ipc_channel_opts = ipc_channel_opts {
    flags: IPC_CHANNEL_F_NO_SPIN,
    ..DEFAULTS
};

pub const DEFAULTS: ipc_channel_opts = ipc_channel_opts {
    flags: 0,
    spin_us: 0,
    send_size: 0,
    recv_size: 0,
    recv_size_max: 0,
    message_max: 0,
};

/// Rings as small as they can be.
pub const SMALL: ipc_channel_opts = ipc_channel_opts {
    send_size: 1,
    ..DEFAULTS
};

/// The size of the smallest ring.
pub const SMALL_RING: usize = 65536;

/// One end of a channel; closed when dropped.
#[derive(Debug)]
pub struct End(pub *mut Channel);

// SAFETY: an end may be used by several threads, as the tests do.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: an end, which nobody uses any more.
        unsafe { ipc_channel_close(self.0) };
    }
}

impl End {
    #[track_caller]
    pub fn send(&self, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        self.send_raw(bytes.as_ptr().cast(), bytes.len(), timeout_ms)
    }

    #[track_caller]
    pub fn send_raw(&self, at: *const c_void, len: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: an end; what the pointer reaches is the test's.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout_ms) } as isize)
    }

    #[track_caller]
    pub fn recv_raw(&self, at: *mut c_void, cap: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: an end; what the pointer reaches is the test's.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, cap, timeout_ms) })
    }

    /// Receives into a buffer that is large enough for the tests' shorter messages; nothing may
    /// be written behind `cap`, nor on failure.
    #[track_caller]
    pub fn recv_cap(&self, cap: usize, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
        let mut room = vec![0xa5; cap + 16];
        let got = self.recv_raw(room.as_mut_ptr().cast(), cap, timeout_ms);
        let len = *got.as_ref().unwrap_or(&0);
        assert!(
            room[len..].iter().all(|byte| *byte == 0xa5),
            "what was not to be written"
        );
        room.truncate(len);
        got.map(|_| room)
    }

    #[track_caller]
    pub fn recv(&self, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
        self.recv_cap(4096, timeout_ms)
    }

    #[track_caller]
    #[allow(clippy::mut_from_ref)] // room in the ring, of which there is one at a time
    pub fn reserve(&self, len: usize, timeout_ms: c_int) -> Result<&mut [u8], c_int> {
        set_errno(SENTINEL);
        // SAFETY: an end.
        let at = unsafe { ipc_channel_reserve(self.0, len, timeout_ms) };
        if at.is_null() {
            return Err(failure());
        }
        assert_eq!(at.addr() % 8, 0, "alignment");
        // SAFETY: the room that was promised, until it is committed.
        Ok(unsafe { slice::from_raw_parts_mut(at.cast(), len) })
    }

    #[track_caller]
    pub fn commit(&self, len: usize) -> Outcome {
        // SAFETY: an end.
        outcome(|| unsafe { ipc_channel_commit(self.0, len) } as isize)
    }

    #[track_caller]
    pub fn cancel(&self) -> Outcome {
        // SAFETY: an end.
        outcome(|| unsafe { ipc_channel_cancel(self.0) } as isize)
    }

    /// The message where it is; empty at the end.
    #[track_caller]
    pub fn peek(&self, timeout_ms: c_int) -> Result<&[u8], c_int> {
        let untouched: *const c_void = ptr::dangling();
        let mut at = untouched;
        // SAFETY: an end, and a place.
        let len = outcome(|| unsafe { ipc_channel_peek(self.0, &mut at, timeout_ms) });
        if !matches!(len, Ok(1..)) {
            assert_eq!(at, untouched, "ret_buf without a message");
            return len.map(|_| &[][..]);
        }
        assert_eq!(at.addr() % 8, 0, "alignment");
        // SAFETY: a message of that length, until it is released.
        Ok(unsafe { slice::from_raw_parts(at.cast(), len.unwrap()) })
    }

    #[track_caller]
    pub fn release(&self) -> Outcome {
        // SAFETY: an end.
        outcome(|| unsafe { ipc_channel_release(self.0) } as isize)
    }

    #[track_caller]
    pub fn shutdown(&self, how: c_int) -> Outcome {
        // SAFETY: an end.
        outcome(|| unsafe { ipc_channel_shutdown(self.0, how) } as isize)
    }

    /// The descriptor, which stays the channel's.
    #[track_caller]
    pub fn fd(&self) -> Result<c_int, c_int> {
        // SAFETY: an end.
        outcome(|| unsafe { ipc_channel_fd(self.0) } as isize).map(|fd| fd as c_int)
    }

    pub fn max(&self) -> usize {
        // SAFETY: an end.
        unsafe { ipc_channel_max(self.0) }
    }

    #[track_caller]
    pub fn cred(&self) -> Cred {
        // SAFETY: all zero bytes are one.
        let mut cred: Cred = unsafe { mem::zeroed() };
        let size = size_of::<Cred>();
        // SAFETY: an end, and a place of that size.
        let got = outcome(|| unsafe { ipc_channel_peer_cred(self.0, &mut cred, size) } as isize);
        assert_eq!(got, DONE);
        cred
    }

    #[track_caller]
    pub fn stats(&self) -> ipc_channel_stats {
        // SAFETY: all zero bytes are such numbers.
        let mut stats: ipc_channel_stats = unsafe { mem::zeroed() };
        let size = size_of::<ipc_channel_stats>();
        // SAFETY: an end, and a place of that size.
        let got = outcome(|| unsafe { ipc_channel_stats(self.0, &mut stats, size) } as isize);
        assert_eq!(got, DONE);
        stats
    }

    /// Sends messages of `len` bytes until there is no room.
    #[track_caller]
    pub fn fill(&self, len: usize) -> u64 {
        let bytes = vec![b'f'; len];
        let mut sent = 0;
        loop {
            match self.send(&bytes, 0) {
                Ok(_) => sent += 1,
                Err(error) => {
                    assert_eq!(error, libc::EAGAIN);
                    return sent;
                }
            }
        }
    }

    /// Receives until nothing is there; how many messages.
    #[track_caller]
    pub fn drain(&self) -> u64 {
        let mut got = 0;
        let mut room = vec![0u8; self.max().max(1 << 20)];
        loop {
            match self.recv_raw(room.as_mut_ptr().cast(), room.len(), 0) {
                Ok(0) | Err(libc::EAGAIN) => return got,
                Ok(_) => got += 1,
                Err(error) => panic!("errno {error}"),
            }
        }
    }
}

/// An end that a call gives, whose place is untouched on failure.
#[track_caller]
pub fn got(call: impl FnOnce(*mut *mut Channel) -> c_int) -> Result<End, c_int> {
    let untouched = ptr::dangling_mut();
    let mut ch = untouched;
    let done = outcome(|| call(&mut ch) as isize);
    assert_eq!(done.is_ok(), ch != untouched, "ret_ch");
    done.map(|_| End(ch))
}

#[track_caller]
pub fn try_pair(opts: *const ipc_channel_opts, size: usize) -> Result<(End, End), c_int> {
    let untouched = ptr::dangling_mut();
    let mut ends = [untouched; 2];
    // SAFETY: options of that size, and an array of two.
    let done = outcome(|| unsafe { ipc_channel_pair(opts, size, ends.as_mut_ptr()) } as isize);
    assert!(ends.iter().all(|end| (*end != untouched) == done.is_ok()));
    done.map(|_| (End(ends[0]), End(ends[1])))
}

#[track_caller]
pub fn pair_with(opts: &ipc_channel_opts) -> (End, End) {
    try_pair(opts, size_of::<ipc_channel_opts>()).unwrap()
}

#[track_caller]
pub fn pair() -> (End, End) {
    try_pair(ptr::null(), 0).unwrap()
}

/// Rings as small as they can be, and whoever waits sleeps at once.
#[track_caller]
pub fn small() -> (End, End) {
    pair_with(&ipc_channel_opts {
        flags: IPC_CHANNEL_F_NO_SPIN,
        ..SMALL
    })
}

const SIZE: usize = size_of::<ipc_channel_opts>();

#[track_caller]
pub fn from_fd_with(sock: c_int, opts: &ipc_channel_opts, timeout_ms: c_int) -> Result<End, c_int> {
    // SAFETY: options of that size, and a place.
    got(|ch| unsafe { ipc_channel_from_fd(sock, opts, SIZE, timeout_ms, ch) })
}

#[track_caller]
pub fn from_fd(sock: &impl AsRawFd, timeout_ms: c_int) -> Result<End, c_int> {
    from_fd_with(sock.as_raw_fd(), &DEFAULTS, timeout_ms)
}

#[track_caller]
pub fn listen_with(path: &str, mode: mode_t, flags: u32) -> Result<OwnedFd, c_int> {
    let path = CString::new(path).unwrap();
    // SAFETY: a string.
    outcome(|| unsafe { ipc_channel_listen(path.as_ptr(), mode, flags) } as isize)
        .map(|fd| own(fd as c_int))
}

#[track_caller]
pub fn listen(path: &str) -> OwnedFd {
    listen_with(path, 0o600, 0).unwrap()
}

#[track_caller]
pub fn accept(listener: &OwnedFd, timeout_ms: c_int) -> Result<End, c_int> {
    let fd = listener.as_raw_fd();
    // SAFETY: no options, and a place.
    got(|ch| unsafe { ipc_channel_accept(fd, ptr::null(), 0, timeout_ms, ch) })
}

#[track_caller]
pub fn connect(path: &str, timeout_ms: c_int) -> Result<End, c_int> {
    let path = CString::new(path).unwrap();
    // SAFETY: a string, no options, and a place.
    got(|ch| unsafe { ipc_channel_connect(path.as_ptr(), ptr::null(), 0, timeout_ms, ch) })
}

#[track_caller]
pub fn is_readable(end: &End) -> bool {
    match poll(end.fd().unwrap(), 0) {
        0 => false,
        libc::POLLIN => true,
        other => panic!("revents {other:#x}"),
    }
}

/// Waits until the thread of this process with this id sleeps.
#[track_caller]
pub fn wait_thread_asleep(tid: u64) {
    wait_asleep(tid as libc::pid_t);
}
