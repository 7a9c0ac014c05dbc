//! The end of a command by a signal. A command that has something to remove or to complete runs in
//! [`until_stopped`]: SIGINT, SIGTERM and SIGHUP then end its waits, and end the process after the
//! command has returned.

use crate::error::{Code, Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;

/// The longest wait of an operation that can be repeated.
const SLICE: Duration = Duration::from_millis(500);

/// The signal that has arrived; 0 for none.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// The handler of the signals, and of SIGALRM after one of them.
extern "C" fn catch(signal: i32) {
    if signal != libc::SIGALRM {
        CAUGHT.store(signal, Ordering::Relaxed);
    }
    // A signal that arrives just before a wait does not end it, and not every wait has a limit. So
    // there is another signal each second until the process ends.
    // SAFETY: alarm takes no pointer, and may be called in a handler.
    unsafe { libc::alarm(1) };
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// A signal has arrived.
    Signal(Signal),
    /// An error.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Runs a command. If a signal has ended it, the signal also ends the process, after `run` has
/// dropped everything.
pub fn until_stopped(run: impl FnOnce() -> std::result::Result<Code, Stop>) -> Result<Code> {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let action = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler stores to an atomic variable, and calls alarm.
    let _ = unsafe { sigaction(Signal::SIGALRM, &action(SigHandler::Handler(catch))) };
    for signal in signals {
        // SAFETY: as above.
        let before = unsafe { sigaction(signal, &action(SigHandler::Handler(catch))) };
        // nohup(1), for instance, has a program ignore a signal.
        if before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            // SAFETY: the disposition was this one before.
            let _ = unsafe { sigaction(signal, &action(SigHandler::SigIgn)) };
        }
    }
    match run() {
        Ok(code) => Ok(code),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Signal(signal)) => {
            // SAFETY: as above.
            let _ = unsafe { sigaction(signal, &action(SigHandler::SigDfl)) };
            let _ = raise(signal);
            Ok(Code::Error) // if the signal is blocked
        }
    }
}

/// Fails if a signal has arrived.
pub fn check() -> std::result::Result<(), Stop> {
    match Signal::try_from(CAUGHT.load(Ordering::Relaxed)) {
        Ok(signal) => Err(Stop::Signal(signal)),
        Err(_) => Ok(()),
    }
}

/// The limit of a wait that [`check`] interrupts.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    end: Option<Instant>,
}

impl Limit {
    /// A limit that begins now; none without a limit.
    pub fn new(time: Option<Duration>) -> Self {
        Self {
            end: time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// The time until the limit, but at most [`SLICE`].
    pub fn slice(&self) -> Duration {
        match self.end {
            None => SLICE,
            Some(end) => end.saturating_duration_since(Instant::now()).min(SLICE),
        }
    }

    /// Whether the limit has passed.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// Repeats an operation that waits, in slices, until it is done, the limit has passed or a signal
    /// has arrived. The operation must be one that can be repeated after a time-out.
    pub fn wait<T>(
        &self,
        what: &dyn std::fmt::Display,
        mut operation: impl FnMut(Deadline) -> unixipc::errno::Result<T>,
    ) -> std::result::Result<T, Stop> {
        loop {
            check()?;
            let deadline = super::interruptible(self.slice())?;
            match operation(deadline) {
                Ok(done) => return Ok(done),
                Err(errno) if errno == Errno::EINTR => {}
                Err(errno) if errno == Errno::ETIMEDOUT && !self.is_over() => {}
                Err(errno) => return Err(Error::with_errno(what, errno).into()),
            }
        }
    }
}
