//! Child processes made by fork.

use crate::clock::{child_limit, wait_until};
use crate::descriptors::pipe;
use libc::{c_int, pid_t};
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, mem};

/// A child; dropping it kills it.
pub struct Child(pub pid_t);

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Exit(c_int),
    Signal(c_int),
}

/// Forks. The child runs `run` and exits; a panic there fails the test, and an alarm ends a child
/// that hangs.
pub fn fork(run: impl FnOnce()) -> Child {
    // SAFETY: the process has one thread.
    let pid = unsafe { libc::fork() };
    assert_ne!(pid, -1, "{}", io::Error::last_os_error());
    if pid != 0 {
        return Child(pid);
    }
    set_alarm(child_limit().as_secs() as u32);
    let done = catch_unwind(AssertUnwindSafe(run));
    // SAFETY: the child must not run the parent's destructors.
    unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
}

/// Ends this process by SIGALRM after a number of seconds; 0 cancels it.
pub fn set_alarm(seconds: u32) {
    // SAFETY: no pointers.
    unsafe { libc::alarm(seconds) };
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
        self.wait_stopped();
    }

    /// Waits until a signal has stopped the child.
    #[track_caller]
    pub fn wait_stopped(&self) {
        wait_stopped(self.0);
    }

    /// Waits for the child, which must exit with 0.
    #[track_caller]
    pub fn join(self) {
        assert_eq!(self.end(), End::Exit(0), "the exit of the child");
    }

    /// Waits for the end of the child. Returns its wait status.
    pub fn reap(self) -> c_int {
        let status = wait_for(self.0, 0);
        mem::forget(self);
        status
    }

    /// Waits for the end of the child. Returns how it ended.
    pub fn end(self) -> End {
        let status = self.reap();
        if libc::WIFSIGNALED(status) {
            End::Signal(libc::WTERMSIG(status))
        } else {
            End::Exit(libc::WEXITSTATUS(status))
        }
    }

    /// Whether the child has ended. Does not reap it.
    pub fn has_ended(&self) -> bool {
        // SAFETY: all zero bytes are a siginfo.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the struct is ours.
        let done = unsafe { libc::waitid(libc::P_PID, self.0 as u32, &mut info, options) };
        assert_eq!(done, 0);
        // SAFETY: waitid has filled in the struct, or it is zero.
        unsafe { info.si_pid() != 0 }
    }

    /// Waits until the child sleeps in the kernel, and sends it a signal until it ends: it may have
    /// slept elsewhere before the call that the signal interrupts.
    #[track_caller]
    pub fn interrupt(&self, signal: c_int) {
        self.wait_asleep();
        wait_until("the end of an interrupted call", || {
            self.signal(signal);
            self.has_ended()
        });
    }

    /// Waits until the child sleeps in the kernel.
    #[track_caller]
    pub fn wait_asleep(&self) {
        wait_asleep(self.0);
    }
}

/// Waits until a signal has stopped a child: it may still run when `kill(2)` has returned.
#[track_caller]
pub fn wait_stopped(pid: pid_t) {
    let status = wait_for(pid, libc::WUNTRACED);
    assert!(libc::WIFSTOPPED(status), "{status:#x}");
}

/// Kills a child, and waits until it has ended.
#[track_caller]
pub fn kill(child: Child) {
    child.signal(libc::SIGKILL);
    assert_eq!(child.end(), End::Signal(libc::SIGKILL));
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        wait_for(self.0, 0);
    }
}

fn wait_for(pid: pid_t, options: c_int) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: the status is ours.
        match unsafe { libc::waitpid(pid, &mut status, options) } {
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

/// Whether a process, or a thread of this process, is in interruptible sleep.
pub fn is_asleep(pid: pid_t) -> bool {
    state(pid).expect("a process") == 'S'
}

/// Whether a process, or a thread of this process, is in interruptible sleep or has ended.
pub fn is_asleep_or_ended(pid: pid_t) -> bool {
    state(pid).is_none_or(|state| ['S', 'Z', 'X'].contains(&state))
}

/// The state of a process, or of a thread of this process, in /proc/pid/stat. None if there is none.
pub fn state(pid: pid_t) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // It follows the name, which is in parentheses.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process, or a thread of this process, sleeps in the kernel.
#[track_caller]
pub fn wait_asleep(pid: pid_t) {
    wait_until("a sleeping process", || is_asleep(pid));
}

/// The calling thread's id.
pub fn thread_id() -> u64 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u64 }
}

/// A child that reports the outcome of a call.
pub struct Reporter<T> {
    child: Child,
    report: UnixStream,
    value: PhantomData<T>,
}

/// Forks. The child runs `run`, reports its outcome, and exits.
pub fn fork_reporter<T>(run: impl FnOnce() -> Result<T, c_int>) -> Reporter<T>
where
    T: TryInto<i64, Error: Debug>,
{
    let (report, mut child_report) = UnixStream::pair().unwrap();
    let child = fork(|| {
        let (tag, value) = match run() {
            Ok(value) => (0i64, value.try_into().unwrap()),
            Err(errno) => (1, errno.into()),
        };
        let bytes = [tag.to_ne_bytes(), value.to_ne_bytes()].concat();
        child_report.write_all(&bytes).unwrap();
    });
    Reporter {
        child,
        report,
        value: PhantomData,
    }
}

impl<T> Reporter<T> {
    /// Waits for the child, which must exit with 0. Returns the outcome that it reported.
    #[track_caller]
    pub fn outcome(mut self) -> Result<T, c_int>
    where
        T: TryFrom<i64, Error: Debug>,
    {
        let mut bytes = Vec::new();
        self.report.read_to_end(&mut bytes).unwrap();
        self.child.join();
        let (tag, value) = bytes.split_at(8);
        let value = i64::from_ne_bytes(value.try_into().unwrap());
        match i64::from_ne_bytes(tag.try_into().unwrap()) {
            0 => Ok(value.try_into().unwrap()),
            _ => Err(value as c_int),
        }
    }

    /// Waits for the end of the child.
    pub fn end(self) -> End {
        self.child.end()
    }
}

impl<T> Deref for Reporter<T> {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

/// Lets many children begin at the same moment. None of them needs the processor before that.
pub struct StartSignal {
    reader: File,
    writer: File,
}

impl StartSignal {
    #[allow(clippy::new_without_default, reason = "it makes a pipe")]
    pub fn new() -> Self {
        let (reader, writer) = pipe();
        Self { reader, writer }
    }

    /// Waits in a child.
    pub fn wait(&self) {
        (&self.reader).read_exact(&mut [0]).unwrap();
    }

    /// Starts this number of children.
    pub fn give(&self, count: usize) {
        (&self.writer).write_all(&vec![0; count]).unwrap();
    }
}

/// A child that does its first step, and continues when the parent tells it to.
pub struct PausedChild {
    pub child: Child,
    line: UnixStream,
}

impl PausedChild {
    /// Starts the child; returns when `first` has returned.
    #[track_caller]
    pub fn start(first: impl FnOnce(), then: impl FnOnce()) -> Self {
        let (mut line, mut child_line) = UnixStream::pair().unwrap();
        let child = fork(|| {
            first();
            child_line.write_all(b".").unwrap();
            child_line.read_exact(&mut [0]).unwrap();
            then();
        });
        drop(child_line);
        line.read_exact(&mut [0])
            .expect("the first step of the child");
        Self { child, line }
    }

    /// Lets the child continue, and waits for it; it must exit with 0.
    #[track_caller]
    pub fn finish(mut self) {
        self.line.write_all(b".").unwrap();
        self.child.join();
    }
}
