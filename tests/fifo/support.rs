//! The C calls with Rust types.

pub use common::filter::refuse;
pub use common::prelude::*;
use libc::{c_int, c_uint, c_void, mode_t};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use unixipc::ffi::fifo::*;

pub const READ: c_uint = IPC_FIFO_F_READ;
pub const WRITE: c_uint = IPC_FIFO_F_WRITE;
pub const PERSIST: c_uint = IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST;
pub const INTR: c_int = unixipc::ffi::pair::IPC_WAIT_INTR;

pub fn create(path: &str, mode: mode_t, flags: c_uint) -> Outcome {
    // SAFETY: a string.
    outcome(|| unsafe { ipc_fifo_create(c_path(path).as_ptr(), mode, flags) } as isize)
}

pub fn unlink(path: &str) -> Outcome {
    // SAFETY: a string.
    outcome(|| unsafe { ipc_fifo_unlink(c_path(path).as_ptr()) } as isize)
}

pub fn open(path: &str, flags: c_uint, timeout_ms: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: a string.
    let fd = unsafe { ipc_fifo_open(c_path(path).as_ptr(), flags, timeout_ms) };
    if fd == -1 { Err(errno()) } else { Ok(own(fd)) }
}

/// `write(2)`.
pub fn plain_write(fd: &OwnedFd, bytes: &[u8]) -> Outcome {
    // SAFETY: the bytes are readable.
    outcome(|| unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as isize)
}

pub fn send_raw(fd: RawFd, record: *const c_void, len: usize, timeout_ms: c_int) -> Outcome {
    // SAFETY: the pointer and the length are the test's choice.
    outcome(|| unsafe { ipc_fifo_send(fd, record, len, timeout_ms) } as isize)
}

pub fn send(fd: &OwnedFd, record: &[u8], timeout_ms: c_int) -> Outcome {
    send_raw(
        fd.as_raw_fd(),
        record.as_ptr().cast(),
        record.len(),
        timeout_ms,
    )
}

pub fn recv_raw(fd: RawFd, record: *mut c_void, cap: usize, timeout_ms: c_int) -> Outcome {
    // SAFETY: the pointer and the length are the test's choice.
    outcome(|| unsafe { ipc_fifo_recv(fd, record, cap, timeout_ms) } as isize)
}

/// Receives a record; the call must not write beyond `cap`.
pub fn recv_cap(fd: &OwnedFd, cap: usize, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
    let mut buffer = vec![0xa5; cap + 16];
    let len = recv_raw(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), cap, timeout_ms);
    assert_eq!(buffer[cap..], [0xa5; 16], "bytes beyond cap were written");
    buffer.truncate(len?);
    Ok(buffer)
}

pub fn recv(fd: &OwnedFd, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
    recv_cap(fd, IPC_FIFO_RECORD_MAX, timeout_ms)
}

/// Receives a record or a line of text: the bytes, and whether they are text.
pub fn recv_any_cap(fd: &OwnedFd, cap: usize, timeout_ms: c_int) -> Result<(Vec<u8>, bool), c_int> {
    let mut buffer = vec![0xa5; cap + 16];
    let mut text = -1;
    let at = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer is longer than cap.
    let len = unsafe { ipc_fifo_recv_any(fd.as_raw_fd(), at, cap, &mut text, timeout_ms) };
    let got = if len >= 0 {
        Ok(len as usize)
    } else {
        Err(errno())
    };
    assert_eq!(buffer[cap..], [0xa5; 16], "bytes beyond cap were written");
    assert_eq!(text != -1, got.is_ok(), "ret_text after {got:?}");
    buffer.truncate(got?);
    Ok((buffer, text == 1))
}

pub fn recv_any(fd: &OwnedFd, timeout_ms: c_int) -> Result<(Vec<u8>, bool), c_int> {
    recv_any_cap(fd, IPC_FIFO_RECORD_MAX, timeout_ms)
}

/// The end of the session.
pub const END: Result<Vec<u8>, c_int> = Ok(Vec::new());

/// Creates a FIFO of the name "f" in the current directory.
pub fn make() -> &'static str {
    assert_eq!(create("f", 0o600, 0), Ok(0));
    "f"
}

/// Both ends of the FIFO "f", which it creates if necessary: reader and writer.
pub fn ends() -> (OwnedFd, OwnedFd) {
    assert_eq!(create("f", 0o600, IPC_FIFO_F_EXIST_OK), Ok(0));
    let keeper = open("f", PERSIST, 0).unwrap();
    let writer = open("f", WRITE, 0).unwrap();
    let reader = open("f", READ, 0).unwrap();
    drop(keeper);
    (reader, writer)
}

/// A record whose length and content are a function of its writer and number.
pub fn record(writer: usize, number: usize) -> Vec<u8> {
    let mut random = Random((writer as u64) << 32 | number as u64);
    let longest = if random.index(16) == 0 {
        IPC_FIFO_RECORD_MAX
    } else {
        200
    };
    let mut bytes = vec![0; 8 + random.index(longest - 7)];
    random.fill(&mut bytes);
    bytes[..4].copy_from_slice(&(writer as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(number as u32).to_le_bytes());
    bytes
}

/// The writer and the number of a record, which must be whole.
#[track_caller]
pub fn check_record(bytes: &[u8]) -> (usize, usize) {
    assert!(bytes.len() >= 8, "a record of {} bytes", bytes.len());
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (writer, number) = (number(0), number(4));
    assert_eq!(
        bytes,
        record(writer, number),
        "writer {writer}, record {number}"
    );
    (writer, number)
}

/// Sets the blocking mode of an open file description, and keeps its packet mode.
pub fn set_nonblocking(fd: &OwnedFd, nonblocking: bool) {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    let set = if nonblocking {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, set) },
        0
    );
}
