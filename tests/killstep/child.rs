//! Processes: fork, trace, wait with a deadline, and reap.

#[cfg(target_arch = "aarch64")]
use crate::exclusive::traced::{self, Breakpoints};
pub use common::child::state;
use libc::{c_int, c_long, c_void, pid_t};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::{Duration, Instant};

/// The exit status of a survivor whose checks failed.
pub const INCONSISTENT: c_int = 1;
/// The exit status of a process that panicked.
const PANICKED: c_int = 101;

/// How far a traced process runs.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// One instruction, or a sequence of exclusive instructions (see `exclusive`).
    Instruction,
    /// To the next system call, or out of the one in which it is.
    SystemCall,
}

/// The signal that the status of a process gives at a system call (`PTRACE_O_TRACESYSGOOD`).
pub const AT_SYSTEM_CALL: c_int = libc::SIGTRAP | 0x80;

/// A forked process. Dropping this kills and reaps it.
pub struct Child {
    pid: pid_t,
    reaped: Cell<bool>,
    /// Set while it runs through a sequence of exclusive instructions.
    #[cfg(target_arch = "aarch64")]
    breakpoints: Cell<Option<Breakpoints>>,
}

impl Child {
    /// Runs `work` in a new process, which then exits.
    pub fn fork(work: impl FnOnce()) -> Self {
        let parent = pid();
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        assert_ne!(child, -1, "fork: {}", io::Error::last_os_error());
        if child > 0 {
            return Self {
                pid: child,
                reaped: Cell::new(false),
                #[cfg(target_arch = "aarch64")]
                breakpoints: Cell::new(None),
            };
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            die_with(parent);
            reset_sigpipe();
            work();
        }));
        exit(if done.is_ok() { 0 } else { PANICKED });
    }

    /// Waits for the next change of its state. None if the deadline expires first.
    pub fn wait(&self, deadline: Instant) -> Option<c_int> {
        self.wait_unless(deadline, || false)
    }

    /// Like [`Self::wait`], but also returns None once `stop`, which is polled, is true.
    pub fn wait_unless(&self, deadline: Instant, stop: impl Fn() -> bool) -> Option<c_int> {
        loop {
            if let Some(status) = self.wait_once(0) {
                return Some(status);
            }
            // The timer has interrupted the wait.
            if stop() || Instant::now() >= deadline {
                return None;
            }
        }
    }

    fn wait_once(&self, options: c_int) -> Option<c_int> {
        let mut status = 0;
        // SAFETY: one status, ours.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, options) };
        if waited != self.pid {
            return None;
        }
        if !libc::WIFSTOPPED(status) {
            self.reaped.set(true);
            return Some(status);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(breakpoints) = self.breakpoints.take() {
            breakpoints.remove(self.pid);
        }
        Some(status)
    }

    /// Makes it run on. `wait` returns when it stops again.
    pub fn resume(&self, pace: Pace) -> io::Result<()> {
        #[cfg(target_arch = "aarch64")]
        if matches!(pace, Pace::Instruction) && self.set_breakpoints() {
            return ptrace(libc::PTRACE_CONT, self.pid, 0);
        }
        let request = match pace {
            Pace::Instruction => libc::PTRACE_SINGLESTEP,
            Pace::SystemCall => libc::PTRACE_SYSCALL,
        };
        ptrace(request, self.pid, 0)
    }

    /// Sets breakpoints if the next instruction begins a sequence that cannot be single-stepped.
    #[cfg(target_arch = "aarch64")]
    fn set_breakpoints(&self) -> bool {
        let breakpoints = Breakpoints::after_sequence(self.pid);
        let is_set = breakpoints.is_some();
        self.breakpoints.set(breakpoints);
        is_set
    }

    /// Makes the kernel kill it when this process, its tracer, dies, and tell stops at system calls
    /// from other ones.
    pub fn set_options(&self) -> io::Result<()> {
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        ptrace(libc::PTRACE_SETOPTIONS, self.pid, options.into())
    }

    /// Its id.
    pub fn pid(&self) -> pid_t {
        self.pid
    }

    /// Whether it sleeps in a system call.
    pub fn sleeps(&self) -> bool {
        state(self.pid) == Some('S')
    }

    /// Whether it was stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        state(self.pid) == Some('T')
    }

    /// The address of its next instruction.
    #[cfg(target_arch = "x86_64")]
    pub fn instruction(&self) -> c_long {
        let offset = std::mem::offset_of!(libc::user, regs)
            + std::mem::offset_of!(libc::user_regs_struct, rip);
        // SAFETY: reads a word of the stopped child's registers.
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.pid, offset, 0) }
    }

    /// Whether its next instruction is a system call.
    #[cfg(target_arch = "x86_64")]
    pub fn is_at_system_call(&self) -> bool {
        const SYSCALL: c_long = 0x050f;
        let at = self.instruction();
        // SAFETY: reads a word of its memory; an address that is not mapped is an error.
        let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.pid, at, 0) };
        word & 0xffff == SYSCALL
    }

    /// The address of its next instruction.
    #[cfg(target_arch = "aarch64")]
    pub fn instruction(&self) -> c_long {
        traced::instruction_address(self.pid) as c_long
    }

    /// Whether its next instruction is a system call.
    #[cfg(target_arch = "aarch64")]
    pub fn is_at_system_call(&self) -> bool {
        const SVC: u32 = 0xd400_0001;
        traced::read(self.pid, traced::instruction_address(self.pid)) == SVC
    }

    /// Whether its next instruction is a system call. Not implemented for this architecture, so a
    /// sample does not contain the points near system calls, and all points are reached by steps.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn is_at_system_call(&self) -> bool {
        false
    }

    /// Kills it, and waits until it has ended.
    pub fn kill(&self) {
        if self.reaped.get() {
            return;
        }
        // SAFETY: no pointers; the process is ours and not reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        while !self.reaped.get() {
            self.wait_once(0);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ptrace(request: libc::c_uint, pid: pid_t, data: c_long) -> io::Result<()> {
    let address = ptr::null_mut::<c_void>();
    // SAFETY: none of the requests made here uses an address.
    if unsafe { libc::ptrace(request, pid, address, data) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets the parent trace this process.
pub fn be_traced() {
    ptrace(libc::PTRACE_TRACEME, 0, 0).expect("PTRACE_TRACEME");
}

/// Returns why processes cannot be single-stepped here, or None.
pub fn why_no_stepping() -> Option<&'static str> {
    let child = Child::fork(|| {
        be_traced();
        signal(pid(), libc::SIGSTOP);
        exit(0);
    });
    let stopped = |status: Option<c_int>| status.is_some_and(|status| libc::WIFSTOPPED(status));
    let deadline = Instant::now() + Duration::from_secs(60);
    let can_step = stopped(child.wait(deadline))
        && child.resume(Pace::Instruction).is_ok()
        && stopped(child.wait(deadline));
    (!can_step).then_some("ptrace is not allowed")
}

/// The id of this process.
pub fn pid() -> pid_t {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpid() }
}

/// Sends a signal, in as few instructions as possible.
pub fn signal(pid: pid_t, signal: c_int) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// Ends this process without exit handlers and destructors.
pub fn exit(status: c_int) -> ! {
    // SAFETY: takes no pointer, does not return.
    unsafe { libc::_exit(status) }
}

/// Makes the kernel kill this process when `parent` dies.
fn die_with(parent: pid_t) {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes nothing, cannot fail.
    if unsafe { libc::getppid() } != parent {
        exit(PANICKED);
    }
}

/// Restores the default action of SIGPIPE, which Rust's runtime ignores.
fn reset_sigpipe() {
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Makes this process the parent of all processes that a killed child leaves behind.
pub fn adopt_orphans() {
    // SAFETY: no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert_eq!(result, 0, "PR_SET_CHILD_SUBREAPER");
}

/// Waits until this process has no children. Children that are left at the limit are killed, and
/// are an error.
pub fn reap_orphans(limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut left = String::new();
    loop {
        // SAFETY: a null status is allowed.
        match unsafe { libc::waitpid(-1, ptr::null_mut(), libc::__WALL) } {
            -1 if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => break,
            -1 if Instant::now() >= deadline => {
                left = children();
                for child in left.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                    signal(child, libc::SIGKILL);
                }
            }
            _ => {}
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("children are left: {left}"))
    }
}

fn children() -> String {
    let pid = pid();
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
}

/// Interrupts system calls periodically, so that each wait can check its deadline.
pub struct Timer;

impl Timer {
    const PERIOD: libc::timeval = libc::timeval {
        tv_sec: 0,
        tv_usec: 10_000,
    };

    pub fn start() -> Self {
        extern "C" fn nothing(_: c_int) {}
        // SAFETY: all zero bytes are a sigaction: no flags, thus no SA_RESTART.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(c_int) as libc::sighandler_t;
        // SAFETY: the handler does nothing.
        unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) };
        Self::set(Self::PERIOD);
        Self
    }

    fn set(period: libc::timeval) {
        let timer = libc::itimerval {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer is ours; a null pointer for the old timer is allowed.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        Self::set(libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        });
    }
}

/// Reads to the end of the pipe. None if the deadline expires first.
pub fn read_until(pipe: &mut File, deadline: Instant) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 1024];
        match poll_readable(pipe, deadline).then(|| pipe.read(&mut part))? {
            Ok(0) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(len) => bytes.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("read: {error}"),
        }
    }
}

/// Waits until a read does not block. False if the deadline expires first.
pub fn poll_readable(file: &impl AsRawFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        match unsafe { libc::poll(&mut poll, 1, left.as_millis() as c_int) } {
            n if n > 0 => return true,
            _ if left.is_zero() => return false,
            _ => {}
        }
    }
}

/// Zeroed memory of [`PAGE`] bytes that this process and its children share.
pub fn shared_page() -> *mut c_void {
    // SAFETY: a new mapping at an address that the kernel chooses.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED, "mmap");
    page
}

/// The size of the memory that the processes of a scenario share: enough for two of each lock.
pub const PAGE: usize = 8 * 4096;

/// Undoes [`shared_page`].
pub fn unmap_page(page: *mut c_void) {
    // SAFETY: the page is from shared_page, and its owner no longer uses it.
    unsafe { libc::munmap(page, PAGE) };
}
