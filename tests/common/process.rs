//! Calls of a C interface, children and limits, for the tests that run in a process of their
//! own ([`super::isolated`]).

use libc::{c_int, pid_t, ssize_t};
use std::fmt::Display;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{env, fs, io, mem, thread};

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

#[track_caller]
pub fn own(fd: c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a new descriptor, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
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

    /// Whether the child has ended; it is not reaped.
    pub fn has_ended(&self) -> bool {
        // SAFETY: all zero bytes are a siginfo.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the info is ours.
        let done = unsafe { libc::waitid(libc::P_PID, self.0 as u32, &mut info, options) };
        assert_eq!(done, 0);
        // SAFETY: filled in by waitid, or zero.
        unsafe { info.si_pid() != 0 }
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

/// A pipe: the end to read from, and the one to write to.
pub fn pipe() -> (File, File) {
    let mut fds = [-1; 2];
    // SAFETY: an array of two.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (own(fds[0]).into(), own(fds[1]).into())
}

/// The processor time that this process has used.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
