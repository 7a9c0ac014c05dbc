//! Threads of a test, and what they wait for.

use crate::child::{thread_id, wait_asleep};
use std::mem;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

/// Waits until a thread of this process sleeps.
#[track_caller]
pub fn wait_thread_asleep(tid: u64) {
    wait_asleep(tid as libc::pid_t);
}

/// The number of times that the calling thread has slept.
pub fn voluntary_switches() -> i64 {
    // SAFETY: all zero bytes are an rusage.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the struct is ours.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_nvcsw
}

/// Starts a thread that makes a call. Returns the thread and its id.
pub fn spawn_call<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    call: impl FnOnce() -> T + Send + 'scope,
) -> (ScopedJoinHandle<'scope, T>, u64) {
    let (sender, receiver) = mpsc::channel();
    let thread = scope.spawn(move || {
        sender.send(thread_id()).unwrap();
        call()
    });
    (thread, receiver.recv().unwrap())
}

/// Starts a thread that makes a blocking call, and waits until the thread sleeps in it. Returns the
/// thread and its id.
#[track_caller]
pub fn spawn_sleeper<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    call: impl FnOnce() -> T + Send + 'scope,
) -> (ScopedJoinHandle<'scope, T>, u64) {
    let (thread, tid) = spawn_call(scope, call);
    wait_thread_asleep(tid);
    (thread, tid)
}

/// Sleeps until this process is killed.
pub fn sleep_forever() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// Kills this process, as another process can at any time.
pub fn kill_this_process() {
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}
