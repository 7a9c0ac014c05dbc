//! Time: bounded waits, and measured durations.

use std::thread;
use std::time::{Duration, Instant};

/// The time after which a process of a test counts as hanging.
pub const LIMIT: Duration = Duration::from_secs(100);

/// A time-out, in milliseconds, that expires only if the library fails.
pub const LONG: i32 = 60_000;

/// Polls a condition until it holds. Panics after a quarter of [`LIMIT`]; `what` names the
/// condition in the message.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT / 4;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Whether a test of random events goes on: until `time` has passed and enough has happened. A slow
/// machine takes longer; after half of [`LIMIT`] the test ends with what has happened.
pub fn goes_on(began: Instant, time: Duration, has_enough: impl FnOnce() -> bool) -> bool {
    let elapsed = began.elapsed();
    elapsed < time || (elapsed < LIMIT / 2 && !has_enough())
}

/// Checks that a wait since `start` took its time-out, and at most 5 seconds more on a busy machine.
#[track_caller]
pub fn assert_waited(start: Instant, timeout: Duration) {
    let took = start.elapsed();
    assert!(
        took >= timeout && took < timeout + Duration::from_secs(5),
        "{took:?} for {timeout:?}"
    );
}

/// Runs a closure. Returns its result and the elapsed time.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

/// Runs a closure. Returns its result and the elapsed milliseconds.
pub fn timed_ms<T>(run: impl FnOnce() -> T) -> (T, u128) {
    let (result, took) = timed(run);
    (result, took.as_millis())
}

/// The monotonic clock in nanoseconds. All processes read the same clock.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC).as_nanos() as u64
}

/// The processor time that this process has used.
pub fn cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is ours.
    assert_eq!(unsafe { libc::clock_gettime(id, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
