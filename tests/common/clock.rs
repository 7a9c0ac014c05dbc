//! Time: bounded waits, and measured durations.

use std::thread;
use std::time::{Duration, Instant};

/// The time limit of a test. UNIXIPC_TEST_LIMIT sets another one in seconds, for long runs by hand and
/// for slow machines.
pub fn test_limit() -> Duration {
    let seconds = std::env::var("UNIXIPC_TEST_LIMIT").map_or(300, |limit| {
        limit.parse().expect("UNIXIPC_TEST_LIMIT is a number")
    });
    Duration::from_secs(seconds)
}

/// The time after which a process of a test counts as hanging.
pub fn child_limit() -> Duration {
    test_limit() / 3
}

/// The longest time that a test of random events goes on.
const EVENTS_MAX: Duration = Duration::from_secs(50);
/// The first pause between two checks of a condition, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(5)];

/// A time-out, in milliseconds, that expires only if the library fails.
pub const LONG: i32 = 60_000;

/// Polls a condition until it holds. Panics after a quarter of [`child_limit`]; `what` names the
/// condition in the message. The pauses grow, so that many waiting processes do not use all
/// processors.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let [first, longest] = PAUSES;
    let (start, limit) = (Instant::now(), child_limit() / 4);
    while !condition() {
        let elapsed = start.elapsed();
        assert!(elapsed < limit, "timed out waiting for {what}");
        thread::sleep((elapsed / 8).clamp(first, longest));
    }
}

/// Whether a test of random events goes on: until `time` has passed and enough has happened. A slow
/// machine takes longer; after [`EVENTS_MAX`] the test ends with fewer events.
pub fn goes_on(began: Instant, time: Duration, has_enough: impl FnOnce() -> bool) -> bool {
    let elapsed = began.elapsed();
    elapsed < time || (elapsed < EVENTS_MAX && !has_enough())
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
