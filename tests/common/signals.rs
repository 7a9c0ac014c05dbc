//! Signals, signal handlers, and a timer that sends signals.

use crate::call::Outcome;
use crate::child::fork;
use crate::clock::wait_until;
use libc::{c_int, c_long};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use std::{mem, ptr, thread};

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// The number of times that the handler of [`count_signal`] ran.
pub fn handled() -> u64 {
    HANDLED.load(SeqCst)
}

/// Installs a handler that counts a signal.
pub fn count_signal(signal: c_int, flags: c_int) {
    extern "C" fn count(_: c_int) {
        HANDLED.fetch_add(1, SeqCst);
    }
    set_action(signal, count as extern "C" fn(c_int) as usize, flags);
}

/// Counts SIGUSR1 and SIGALRM in a handler.
pub fn count_signals(flags: c_int) {
    count_signal(libc::SIGUSR1, flags);
    count_signal(libc::SIGALRM, flags);
}

/// Sets the handler of a signal.
pub fn set_action(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: all zero bytes are a sigaction.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is ours; its handler is safe to run at any time.
    let done = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// The handler of a signal.
pub fn action(signal: c_int) -> usize {
    // SAFETY: all zero bytes are a sigaction.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: the call only writes to our struct.
    let done = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    assert_eq!(done, 0);
    action.sa_sigaction
}

/// Sends SIGALRM to this process at this interval; 0 stops the timer. Replaces the alarm of a
/// child.
pub fn storm(microseconds: c_long) {
    let every = libc::timeval {
        tv_sec: microseconds / 1_000_000,
        tv_usec: microseconds % 1_000_000,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is ours.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// Checks that a signal handler, with and without SA_RESTART, ends a call that waits with
/// IPC_WAIT_INTR. A handler that runs before the call sleeps does not end the call, so the signal
/// is sent until the child has ended.
pub fn ends_with_signal(call: impl Fn() -> Outcome) {
    for flags in [0, libc::SA_RESTART] {
        count_signals(flags);
        let child = fork(|| assert_eq!(call(), Err(libc::EINTR), "flags {flags:#x}"));
        child.wait_asleep();
        wait_until("the end of the child", || {
            child.signal(libc::SIGUSR1);
            thread::sleep(Duration::from_millis(5));
            child.has_ended()
        });
        child.join();
    }
}
