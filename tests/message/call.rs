//! The functions under test as the tests call them, and what the tests share.

use libc::{c_int, c_void, pid_t, size_t, ssize_t};
use std::fmt::Display;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{env, fs, io, mem, ptr, thread};
use unixipc::ffi::message::{IPC_MSG_FDS_MAX, ipc_msg_recv, ipc_msg_send};
use unixipc::ffi::pair::{ipc_pair_open, ipc_recv_full, ipc_send_full};

/// The types of pairs.
pub const TYPES: [c_int; 3] = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET, libc::SOCK_DGRAM];

/// What a call returned, or the errno that it set.
pub type Outcome = Result<usize, c_int>;

/// What errno is before each call; no call sets it to this.
pub const SENTINEL: c_int = 7777;

pub fn set_errno(errno: c_int) {
    // SAFETY: the address is the calling thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// Makes one call.
#[track_caller]
pub fn outcome(call: impl FnOnce() -> ssize_t) -> Outcome {
    set_errno(SENTINEL);
    let ret = call();
    let errno = io::Error::last_os_error().raw_os_error().unwrap();
    if ret >= 0 {
        return Ok(ret as usize);
    }
    assert_eq!(ret, -1);
    assert_ne!(errno, SENTINEL, "a failure that does not set errno");
    Err(errno)
}

/// Both ends of a pair.
pub type Pair = (OwnedFd, OwnedFd);

#[track_caller]
pub fn pair(kind: c_int) -> Pair {
    let mut fds = [-7; 2];
    // SAFETY: an array of two.
    assert_eq!(
        outcome(|| unsafe { ipc_pair_open(kind, fds.as_mut_ptr()) } as ssize_t),
        Ok(0)
    );
    (own(fds[0]), own(fds[1]))
}

/// A pair whose first end has had its second end closed.
pub fn widowed(kind: c_int) -> OwnedFd {
    pair(kind).0
}

#[track_caller]
pub fn own(fd: c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a new descriptor, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[track_caller]
pub fn send_fds(fd: &OwnedFd, bytes: &[u8], fds: &[c_int], timeout_ms: c_int) -> Outcome {
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    outcome(|| {
        // SAFETY: the slices, with their lengths.
        (unsafe { ipc_msg_send(fd.as_raw_fd(), at, len, fds.as_ptr(), fds.len(), timeout_ms) })
            as ssize_t
    })
}

#[track_caller]
pub fn send(fd: &OwnedFd, bytes: &[u8], timeout_ms: c_int) -> Outcome {
    send_fds(fd, bytes, &[], timeout_ms)
}

#[track_caller]
pub fn recv(fd: &OwnedFd, buf: &mut [u8], timeout_ms: c_int) -> Outcome {
    let (at, cap) = (buf.as_mut_ptr().cast(), buf.len());
    outcome(|| {
        let none = ptr::null_mut();
        // SAFETY: the slice, with its length.
        unsafe { ipc_msg_recv(fd.as_raw_fd(), at, cap, none, ptr::null_mut(), timeout_ms) }
    })
}

/// Receives a message with up to `room` descriptors. A failure must leave the outputs alone.
#[track_caller]
pub fn recv_fds(
    fd: &OwnedFd,
    buf: &mut [u8],
    room: usize,
    timeout_ms: c_int,
) -> Result<(usize, Vec<OwnedFd>), c_int> {
    let mut fds = [-7; 300];
    let mut nfds = room;
    let (at, cap) = (buf.as_mut_ptr().cast(), buf.len());
    let got = outcome(|| {
        let (fds, nfds) = (fds.as_mut_ptr(), &raw mut nfds);
        // SAFETY: the slice with its length, and more room than is asked for.
        unsafe { ipc_msg_recv(fd.as_raw_fd(), at, cap, fds, nfds, timeout_ms) }
    });
    let stored = if got.is_ok() { nfds } else { 0 };
    assert!(nfds <= room);
    assert!(got.is_ok() || nfds == room, "inout_nfds after a failure");
    assert!(fds[stored..].iter().all(|fd| *fd == -7), "ret_fds: {fds:?}");
    let fds = fds[..stored].iter().map(|fd| own(*fd)).collect();
    got.map(|len| (len, fds))
}

#[track_caller]
pub fn send_full(
    fd: &OwnedFd,
    bytes: &[u8],
    done: Option<&mut size_t>,
    timeout_ms: c_int,
) -> Outcome {
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    let done = done.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the slice with its length, and a count or NULL.
    outcome(|| unsafe { ipc_send_full(fd.as_raw_fd(), at, len, done, timeout_ms) })
}

#[track_caller]
pub fn recv_full(
    fd: &OwnedFd,
    buf: &mut [u8],
    done: Option<&mut size_t>,
    timeout_ms: c_int,
) -> Outcome {
    let (at, len) = (buf.as_mut_ptr().cast(), buf.len());
    let done = done.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the slice with its length, and a count or NULL.
    outcome(|| unsafe { ipc_recv_full(fd.as_raw_fd(), at, len, done, timeout_ms) })
}

/// The kernel's own send, for what the library would not send.
#[track_caller]
pub fn raw_send(fd: &OwnedFd, bytes: &[u8], flags: c_int) -> usize {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the slice, with its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    assert!(sent >= 0, "{}", io::Error::last_os_error());
    sent as usize
}

/// The kernel's own receive, without waiting.
pub fn raw_recv(fd: &OwnedFd, buf: &mut [u8]) -> Outcome {
    let (at, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
    // SAFETY: the slice, with its length.
    outcome(|| unsafe { libc::recv(fd.as_raw_fd(), at, len, libc::MSG_DONTWAIT) })
}

/// The header of a message on a stream, as unixipc.h describes it.
pub fn header(len: u32) -> [u8; 8] {
    let [a, b, c, d] = len.to_le_bytes();
    [b'u', b'i', b'p', b'c', a, b, c, d]
}

#[track_caller]
pub fn shut(fd: &OwnedFd, how: c_int) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::shutdown(fd.as_raw_fd(), how) }, 0);
}

/// What a send says where an earlier one has found the receiver gone: the kernel takes a
/// datagram socket's connection away then.
pub fn gone_before(kind: c_int) -> c_int {
    if kind == libc::SOCK_DGRAM {
        libc::ENOTCONN
    } else {
        libc::EPIPE
    }
}

pub fn set_option(fd: &OwnedFd, option: c_int, value: c_int) {
    let (at, len) = ((&raw const value).cast(), size_of::<c_int>() as u32);
    // SAFETY: an int, with its size.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, at, len) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Fills the way from `fd` to its peer with one-byte messages (or bytes), until no more fit.
pub fn fill(fd: &OwnedFd) {
    while send(fd, b"x", 0).is_ok() {}
}

/// Bytes that can be told from others of the same length.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Numbers that only look random: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A count that UNIXIPC_TEST_SCALE multiplies.
pub fn scaled(count: u64) -> u64 {
    let scale = env::var("UNIXIPC_TEST_SCALE").map_or(1.0, |scale| scale.parse().unwrap());
    (count as f64 * scale).ceil() as u64
}

/// How long anything may take here before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(100);

/// Waits, by looking again and again, until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT / 4;
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Names the case in which a panic happened.
pub struct Case<T: Display>(pub T);

impl<T: Display> Drop for Case<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the case: {}", self.0);
        }
    }
}

/// A child made by fork; it is killed if it still runs when dropped.
pub struct Child(pub pid_t);

/// Forks. The child runs `run` and exits; a panic there fails the test.
pub fn fork(run: impl FnOnce()) -> Child {
    // SAFETY: the process has one thread.
    let pid = unsafe { libc::fork() };
    assert_ne!(pid, -1, "{}", io::Error::last_os_error());
    if pid != 0 {
        return Child(pid);
    }
    // SAFETY: no pointers; it ends a child that hangs.
    unsafe { libc::alarm(LIMIT.as_secs() as u32) };
    let done = catch_unwind(AssertUnwindSafe(run));
    // SAFETY: the child must not run the parent's destructors.
    unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
}

impl Child {
    pub fn signal(&self, signal: c_int) {
        // SAFETY: no pointers; the child is not reaped before the handle is gone.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }

    /// Stops the child, and waits until it has stopped.
    #[track_caller]
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let mut status = 0;
        // SAFETY: the status is ours.
        let pid = unsafe { libc::waitpid(self.0, &mut status, libc::WUNTRACED) };
        assert!(pid == self.0 && libc::WIFSTOPPED(status), "{status:#x}");
    }

    /// Waits for the child, which must end well.
    #[track_caller]
    pub fn join(self) {
        let status = self.reap();
        assert_eq!(status, 0, "the wait status of the child");
    }

    /// Waits for the child. Its wait status.
    pub fn reap(self) -> c_int {
        let status = wait_for(self.0);
        mem::forget(self);
        status
    }

    /// Waits until the child sleeps in the kernel.
    #[track_caller]
    pub fn wait_asleep(&self) {
        wait_until("a sleeping child", || is_asleep(self.0));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        wait_for(self.0);
    }
}

fn wait_for(pid: pid_t) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: the status is ours.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            -1 => assert_eq!(
                io::Error::last_os_error().kind(),
                io::ErrorKind::Interrupted
            ),
            done => {
                assert_eq!(done, pid);
                return status;
            }
        }
    }
}

/// Whether a process, or a thread of this one, sleeps and can be interrupted.
pub fn is_asleep(pid: pid_t) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .trim_start()
        .starts_with('S')
}

/// The numbers of the open descriptors.
pub fn open_numbers() -> Vec<c_int> {
    let mut open: Vec<c_int> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // The folder that was read had a number too.
    // SAFETY: no pointers.
    open.retain(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1);
    open.sort_unstable();
    open
}

/// Runs something with room for so many descriptors more than are open.
pub fn with_room_for<T>(room: u64, run: impl FnOnce() -> T) -> T {
    let highest = *open_numbers().last().unwrap();
    let mut gaps = Vec::new();
    loop {
        // SAFETY: no pointers.
        let next = own(unsafe { libc::dup(0) });
        if next.as_raw_fd() > highest {
            break;
        }
        gaps.push(next);
    }
    let old = set_soft_limit(libc::RLIMIT_NOFILE, highest as u64 + 1 + room);
    let done = run();
    set_soft_limit(libc::RLIMIT_NOFILE, old);
    done
}

/// Sets a limit of this process, and gives the old one.
pub fn set_soft_limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limit) }, 0);
    let old = mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    old
}

/// So many descriptors of an open file, each a number of its own.
pub fn descriptors(count: usize) -> Vec<OwnedFd> {
    assert!(count <= IPC_MSG_FDS_MAX + 1);
    let file = tempfile::tempfile().unwrap();
    (0..count)
        .map(|_| file.try_clone().unwrap().into())
        .collect()
}

pub fn raw(fds: &[OwnedFd]) -> Vec<c_int> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}

/// A pipe: the end to read from, and the one to write to.
pub fn pipe() -> (File, File) {
    let mut fds = [-1; 2];
    // SAFETY: an array of two.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (own(fds[0]).into(), own(fds[1]).into())
}
