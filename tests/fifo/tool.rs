//! The calls in Rust's types, and what the tests share.

pub use crate::both::Outcome;
use crate::both::c_path;
pub use crate::common::filter::refuse;
pub use crate::common::process::cpu_time;
use libc::{c_int, c_long, c_uint, c_void, mode_t, pid_t};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, ptr, slice, thread};
use unixipc::ffi::fifo::*;

pub const READ: c_uint = IPC_FIFO_F_READ;
pub const WRITE: c_uint = IPC_FIFO_F_WRITE;
pub const PERSIST: c_uint = IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST;
pub const INTR: c_int = unixipc::ffi::pair::IPC_WAIT_INTR;
/// Longer than anything takes that works.
pub const LONG: c_int = 15_000;

pub fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap()
}

fn outcome(ret: i64) -> Outcome {
    if ret == -1 { Err(errno()) } else { Ok(ret) }
}

pub fn create(path: &str, mode: mode_t, flags: c_uint) -> Outcome {
    // SAFETY: a string.
    outcome(unsafe { ipc_fifo_create(c_path(path).as_ptr(), mode, flags) }.into())
}

pub fn unlink(path: &str) -> Outcome {
    // SAFETY: a string.
    outcome(unsafe { ipc_fifo_unlink(c_path(path).as_ptr()) }.into())
}

pub fn open(path: &str, flags: c_uint, timeout_ms: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: a string.
    let fd = unsafe { ipc_fifo_open(c_path(path).as_ptr(), flags, timeout_ms) };
    if fd == -1 {
        return Err(errno());
    }
    // SAFETY: the call just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `open(2)`.
pub fn plain_open(path: &str, flags: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: a string.
    let fd = unsafe { libc::open(c_path(path).as_ptr(), flags | libc::O_CLOEXEC) };
    if fd == -1 {
        return Err(errno());
    }
    // SAFETY: the call just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `write(2)`.
pub fn plain_write(fd: &OwnedFd, bytes: &[u8]) -> Outcome {
    // SAFETY: the bytes are readable.
    outcome(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as i64)
}

pub fn send_raw(fd: RawFd, record: *const c_void, len: usize, timeout_ms: c_int) -> Outcome {
    // SAFETY: what the pointer reaches is the test's.
    outcome(unsafe { ipc_fifo_send(fd, record, len, timeout_ms) }.into())
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
    // SAFETY: what the pointer reaches is the test's.
    outcome(unsafe { ipc_fifo_recv(fd, record, cap, timeout_ms) } as i64)
}

/// Receives a record; nothing may be written behind `cap`.
pub fn recv_cap(fd: &OwnedFd, cap: usize, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
    let mut room = vec![0xa5; cap + 16];
    let len = recv_raw(fd.as_raw_fd(), room.as_mut_ptr().cast(), cap, timeout_ms);
    assert_eq!(room[cap..], [0xa5; 16], "behind the buffer");
    room.truncate(len? as usize);
    Ok(room)
}

pub fn recv(fd: &OwnedFd, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
    recv_cap(fd, IPC_FIFO_RECORD_MAX, timeout_ms)
}

/// Receives a record or a line of text: the bytes, and whether they are text.
pub fn recv_any_cap(fd: &OwnedFd, cap: usize, timeout_ms: c_int) -> Result<(Vec<u8>, bool), c_int> {
    let mut room = vec![0xa5; cap + 16];
    let mut text = -1;
    let at = room.as_mut_ptr().cast();
    // SAFETY: the room has cap bytes and more.
    let len = unsafe { ipc_fifo_recv_any(fd.as_raw_fd(), at, cap, &mut text, timeout_ms) };
    let got = outcome(len as i64);
    assert_eq!(room[cap..], [0xa5; 16], "behind the buffer");
    assert_eq!(text != -1, got.is_ok(), "ret_text after {got:?}");
    room.truncate(got? as usize);
    Ok((room, text == 1))
}

pub fn recv_any(fd: &OwnedFd, timeout_ms: c_int) -> Result<(Vec<u8>, bool), c_int> {
    recv_any_cap(fd, IPC_FIFO_RECORD_MAX, timeout_ms)
}

/// The end of the session.
pub const END: Result<Vec<u8>, c_int> = Ok(Vec::new());

/// A FIFO of the name "f" in the current folder.
pub fn make() -> &'static str {
    assert_eq!(create("f", 0o600, 0), Ok(0));
    "f"
}

/// Both ends of the FIFO "f", which need not exist yet: reader and writer.
pub fn ends() -> (OwnedFd, OwnedFd) {
    assert_eq!(create("f", 0o600, IPC_FIFO_F_EXIST_OK), Ok(0));
    let keeper = open("f", PERSIST, 0).unwrap();
    let writer = open("f", WRITE, 0).unwrap();
    let reader = open("f", READ, 0).unwrap();
    drop(keeper);
    (reader, writer)
}

/// How often and how long the long tests run: UNIXIPC_TEST_SCALE multiplies it.
pub fn scaled(number: usize) -> usize {
    let scale = std::env::var("UNIXIPC_TEST_SCALE").map_or(1.0, |text| text.parse().unwrap());
    (number as f64 * scale).max(1.0) as usize
}

/// What ran, and how long it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

/// Waits until a process sleeps in the system.
pub fn wait_asleep(pid: pid_t) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Behind the name, which is in parentheses, comes the state.
        if stat.rsplit_once(") ").unwrap().1.starts_with('S') {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} does not sleep");
        thread::yield_now();
    }
}

/// The number of open descriptors.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Lets this process open `n` descriptors more, and no further one; the old limit.
pub fn leave_descriptors(n: usize) -> u64 {
    // What is open has the lowest numbers, but for gaps: those are filled first.
    let mut probes = Vec::new();
    for _ in 0..n {
        probes.push(fs::File::open("/dev/null").unwrap());
    }
    let next = fs::File::open("/dev/null").unwrap();
    crate::both::set_soft_limit(libc::RLIMIT_NOFILE, next.as_raw_fd() as u64)
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// How often a handler of [`handle`] ran.
pub fn handled() -> u32 {
    HANDLED.load(Ordering::SeqCst)
}

/// Counts a signal in a handler from now on.
pub fn handle(signal: c_int, flags: c_int) {
    let handler = count as extern "C" fn(c_int) as usize;
    set_action(signal, handler, flags);
}

pub fn set_action(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: all zero bytes are a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is ours; the handler only counts.
    let done = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// The handler that a signal has.
pub fn action(signal: c_int) -> usize {
    // SAFETY: all zero bytes are a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only reads into our struct.
    assert_eq!(
        unsafe { libc::sigaction(signal, ptr::null(), &mut action) },
        0
    );
    action.sa_sigaction
}

/// A signal with a handler, without SA_RESTART, every so many microseconds; 0 ends it.
pub fn storm(microseconds: c_long) {
    if microseconds > 0 {
        handle(libc::SIGALRM, 0);
    }
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is ours.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// Memory that this process and its children share.
pub fn shared<T>(len: usize) -> &'static [T] {
    let bytes = len * size_of::<T>();
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, which stays.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping is as long and zeroed; the tests keep atomics in it.
    unsafe { slice::from_raw_parts(at.cast(), len) }
}

/// Numbers that look random, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A record whose length and content follow from its writer and number.
pub fn record(writer: usize, number: usize) -> Vec<u8> {
    let mut random = Random((writer as u64) << 32 | number as u64);
    let longest = if random.below(16) == 0 {
        IPC_FIFO_RECORD_MAX
    } else {
        200
    };
    let mut bytes = vec![0; 8 + random.below(longest - 7)];
    random.fill(&mut bytes);
    bytes[..4].copy_from_slice(&(writer as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(number as u32).to_le_bytes());
    bytes
}

/// Whose record it is and which; it must be whole.
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
