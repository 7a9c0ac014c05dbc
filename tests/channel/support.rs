//! Typed wrappers of the channel functions, and set-up that several tests share.

pub use common::connection::SOCKET_TYPES;
pub use common::prelude::*;
use libc::{c_int, c_void, iovec, mode_t};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{mem, ptr, slice};
use unixipc::channel::Channel;
use unixipc::ffi::channel::*;
use unixipc::pair::Cred;

/// The outcome of a successful call that returns 0.
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
    message_align: 0,
    reserved: 0,
};

/// The smallest rings.
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
        // SAFETY: an open end, and this is its last use.
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
        // SAFETY: an open end; the caller passes a buffer of this length.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout_ms) } as isize)
    }

    #[track_caller]
    pub fn recv_raw(&self, at: *mut c_void, cap: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: an open end; the caller passes a buffer of this length.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, cap, timeout_ms) })
    }

    /// Sends one message that consists of these parts.
    #[track_caller]
    pub fn sendv(&self, parts: &[&[u8]], timeout_ms: c_int) -> Outcome {
        let parts: Vec<_> = parts.iter().map(|part| iovec_of(part)).collect();
        let (at, count) = (parts.as_ptr(), parts.len() as c_int);
        // SAFETY: an open end, and an array of readable buffers.
        outcome(|| unsafe { ipc_channel_sendv(self.0, at, count, timeout_ms) })
    }

    #[track_caller]
    pub fn send_many<T: AsRef<[u8]>>(&self, messages: &[T], timeout_ms: c_int) -> Outcome {
        let parts: Vec<_> = messages
            .iter()
            .map(|part| iovec_of(part.as_ref()))
            .collect();
        // SAFETY: an open end, and an array of readable buffers.
        outcome(|| unsafe {
            ipc_channel_send_many(self.0, parts.as_ptr(), parts.len(), timeout_ms)
        })
    }

    /// Receives up to `caps.len()` messages into buffers of these sizes. Checks that the call
    /// changes nothing else.
    #[track_caller]
    pub fn recv_many(&self, caps: &[usize], timeout_ms: c_int) -> Result<Vec<Vec<u8>>, c_int> {
        const UNTOUCHED: u8 = 0xa5;
        let mut buffers: Vec<_> = caps.iter().map(|cap| vec![UNTOUCHED; cap + 16]).collect();
        let mut targets: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len() - 16,
            })
            .collect();
        let (at, count) = (targets.as_mut_ptr(), targets.len());
        // SAFETY: an open end, and an array of writable buffers.
        let received = outcome(|| unsafe { ipc_channel_recv_many(self.0, at, count, timeout_ms) });
        let count = *received.as_ref().unwrap_or(&0);
        for (number, (buffer, target)) in buffers.iter_mut().zip(&targets).enumerate() {
            let len = if number < count {
                target.iov_len
            } else {
                assert_eq!(target.iov_len, caps[number], "an unused buffer");
                0
            };
            assert!(buffer[len..].iter().all(|byte| *byte == UNTOUCHED));
            buffer.truncate(len);
        }
        buffers.truncate(count);
        received.map(|_| buffers)
    }

    /// Receives into a buffer of `cap` bytes. Checks that the call writes the message only, and
    /// nothing on failure.
    #[track_caller]
    pub fn recv_cap(&self, cap: usize, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
        const UNTOUCHED: u8 = 0xa5;
        let mut buffer = vec![UNTOUCHED; cap + 16];
        let received = self.recv_raw(buffer.as_mut_ptr().cast(), cap, timeout_ms);
        let len = *received.as_ref().unwrap_or(&0);
        // Comparing the bytes with their neighbours is fast even without optimisation.
        let rest = &buffer[len..];
        assert!(
            rest[0] == UNTOUCHED && rest[1..] == rest[..rest.len() - 1],
            "bytes behind the message were written"
        );
        buffer.truncate(len);
        received.map(|_| buffer)
    }

    /// Receives a message of up to 4096 bytes.
    #[track_caller]
    pub fn recv(&self, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
        self.recv_cap(4096, timeout_ms)
    }

    #[track_caller]
    #[allow(clippy::mut_from_ref)] // an end has at most one reservation
    pub fn reserve(&self, len: usize, timeout_ms: c_int) -> Result<&mut [u8], c_int> {
        set_errno(SENTINEL);
        // SAFETY: an open end.
        let at = unsafe { ipc_channel_reserve(self.0, len, timeout_ms) };
        if at.is_null() {
            return Err(failure());
        }
        assert_eq!(at.addr() % 8, 0, "alignment");
        // SAFETY: the library has reserved this memory until it is committed or cancelled.
        Ok(unsafe { slice::from_raw_parts_mut(at.cast(), len) })
    }

    #[track_caller]
    pub fn commit(&self, len: usize) -> Outcome {
        // SAFETY: an open end.
        outcome(|| unsafe { ipc_channel_commit(self.0, len) } as isize)
    }

    #[track_caller]
    pub fn cancel(&self) -> Outcome {
        // SAFETY: an open end.
        outcome(|| unsafe { ipc_channel_cancel(self.0) } as isize)
    }

    /// The next message, in the ring. An empty slice means the end of the messages.
    #[track_caller]
    pub fn peek(&self, timeout_ms: c_int) -> Result<&[u8], c_int> {
        let untouched: *const c_void = ptr::dangling();
        let mut at = untouched;
        // SAFETY: an open end, and an out pointer.
        let len = outcome(|| unsafe { ipc_channel_peek(self.0, &mut at, timeout_ms) });
        if !matches!(len, Ok(1..)) {
            assert_eq!(at, untouched, "ret_buf must be unchanged");
            return len.map(|_| &[][..]);
        }
        assert_eq!(at.addr() % 8, 0, "alignment");
        // SAFETY: a message of that length, until it is released.
        Ok(unsafe { slice::from_raw_parts(at.cast(), len.unwrap()) })
    }

    #[track_caller]
    pub fn release(&self) -> Outcome {
        // SAFETY: an open end.
        outcome(|| unsafe { ipc_channel_release(self.0) } as isize)
    }

    #[track_caller]
    pub fn shutdown(&self, how: c_int) -> Outcome {
        // SAFETY: an open end.
        outcome(|| unsafe { ipc_channel_shutdown(self.0, how) } as isize)
    }

    /// The descriptor, which the channel owns.
    #[track_caller]
    pub fn fd(&self) -> Result<c_int, c_int> {
        // SAFETY: an open end.
        outcome(|| unsafe { ipc_channel_fd(self.0) } as isize).map(|fd| fd as c_int)
    }

    pub fn max(&self) -> usize {
        // SAFETY: an open end.
        unsafe { ipc_channel_max(self.0) }
    }

    #[track_caller]
    pub fn cred(&self) -> Cred {
        // SAFETY: all zero bytes are a valid value.
        let mut cred: Cred = unsafe { mem::zeroed() };
        let size = size_of::<Cred>();
        // SAFETY: an open end, and a structure of this size.
        let done = outcome(|| unsafe { ipc_channel_peer_cred(self.0, &mut cred, size) } as isize);
        assert_eq!(done, DONE);
        cred
    }

    #[track_caller]
    pub fn stats(&self) -> ipc_channel_stats {
        // SAFETY: all zero bytes are a valid value.
        let mut stats: ipc_channel_stats = unsafe { mem::zeroed() };
        let size = size_of::<ipc_channel_stats>();
        // SAFETY: an open end, and a structure of this size.
        let done = outcome(|| unsafe { ipc_channel_stats(self.0, &mut stats, size) } as isize);
        assert_eq!(done, DONE);
        stats
    }

    /// Sends messages of `len` bytes until the ring is full. Returns their number.
    #[track_caller]
    pub fn fill(&self, len: usize) -> u64 {
        self.fill_with(&vec![b'f'; len])
    }

    /// Sends a message again and again until the ring is full. Returns the number of messages.
    #[track_caller]
    pub fn fill_with(&self, message: &[u8]) -> u64 {
        let mut sent = 0;
        loop {
            match self.send(message, 0) {
                Ok(_) => sent += 1,
                Err(error) => {
                    assert_eq!(error, libc::EAGAIN);
                    return sent;
                }
            }
        }
    }

    /// Receives until the ring is empty. Returns the number of messages.
    #[track_caller]
    pub fn drain(&self) -> u64 {
        let mut received = 0;
        let mut buffer = vec![0u8; self.max().max(1 << 20)];
        loop {
            match self.recv_raw(buffer.as_mut_ptr().cast(), buffer.len(), 0) {
                Ok(0) | Err(libc::EAGAIN) => return received,
                Ok(_) => received += 1,
                Err(error) => panic!("errno {error}"),
            }
        }
    }
}

/// A buffer that is only read.
pub fn iovec_of(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// An end, and a child that alone has the other end.
pub fn spawn_peer(opts: &ipc_channel_opts, run: impl FnOnce(&End)) -> (End, Child) {
    let (a, b) = pair_with(opts);
    let child = fork(|| {
        close_copy(&a);
        run(&b);
    });
    (a, child)
}

/// The end that a call stores in its out pointer, which must be unchanged on failure.
#[track_caller]
pub fn end_from(call: impl FnOnce(*mut *mut Channel) -> c_int) -> Result<End, c_int> {
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
    // SAFETY: options of this size, and an array of two.
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

/// A pair with the smallest rings, whose calls sleep without spinning.
#[track_caller]
pub fn small() -> (End, End) {
    pair_with(&ipc_channel_opts {
        flags: IPC_CHANNEL_F_NO_SPIN,
        ..SMALL
    })
}

/// A pair of [`small`] in which the ring of the first end is full. If `polled`, that end has a
/// descriptor.
#[track_caller]
pub fn full_pair(polled: bool) -> (End, End) {
    let (a, b) = small();
    if polled {
        a.fd().unwrap();
    }
    a.fill(1000);
    (a, b)
}

/// Closes the copy of an end that this process has inherited by fork. The owner must not be
/// dropped.
pub fn close_copy(end: &End) {
    // SAFETY: an open end, and this is its last use in this process.
    unsafe { ipc_channel_close(end.0) };
}

const SIZE: usize = size_of::<ipc_channel_opts>();

#[track_caller]
pub fn from_fd_with(sock: c_int, opts: &ipc_channel_opts, timeout_ms: c_int) -> Result<End, c_int> {
    // SAFETY: options of this size, and an out pointer.
    end_from(|ch| unsafe { ipc_channel_from_fd(sock, opts, SIZE, timeout_ms, ch) })
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
    // SAFETY: no options, and an out pointer.
    end_from(|ch| unsafe { ipc_channel_accept(fd, ptr::null(), 0, timeout_ms, ch) })
}

#[track_caller]
pub fn connect(path: &str, timeout_ms: c_int) -> Result<End, c_int> {
    connect_with(path, &DEFAULTS, timeout_ms)
}

#[track_caller]
pub fn connect_with(path: &str, opts: &ipc_channel_opts, timeout_ms: c_int) -> Result<End, c_int> {
    let path = CString::new(path).unwrap();
    // SAFETY: a string, options of this size, and an out pointer.
    end_from(|ch| unsafe { ipc_channel_connect(path.as_ptr(), opts, SIZE, timeout_ms, ch) })
}

/// Whether poll(2) reports the end's descriptor as readable.
#[track_caller]
pub fn is_readable(end: &End) -> bool {
    match poll(end.fd().unwrap(), 0) {
        0 => false,
        libc::POLLIN => true,
        other => panic!("revents {other:#x}"),
    }
}
