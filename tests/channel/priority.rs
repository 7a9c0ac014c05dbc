//! Waiting beside a thread that does not run, and on a processor that other threads keep busy.

use crate::event_loop::{SOON, StopOnDrop};
use crate::support::*;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use unixipc::ffi::channel::ipc_channel_opts;

/// Gives the calling thread the policy SCHED_IDLE: it runs only when its processor is idle.
fn run_when_idle() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: a structure of ours.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) };
    assert_eq!(done, 0);
}

/// Whether the handler of SIGUSR2 must not return.
static HELD: AtomicBool = AtomicBool::new(false);
/// The number of threads in that handler.
static IN_HANDLER: AtomicU64 = AtomicU64::new(0);

/// Holds each thread that receives SIGUSR2 in its signal handler until the value is dropped.
struct Held;

impl Held {
    fn new() -> Self {
        extern "C" fn hold(_: libc::c_int) {
            IN_HANDLER.fetch_add(1, SeqCst);
            while HELD.load(SeqCst) {
                // SAFETY: no pointers.
                unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            }
            IN_HANDLER.fetch_sub(1, SeqCst);
        }
        // The handler makes only async-signal-safe calls.
        set_action(
            libc::SIGUSR2,
            hold as extern "C" fn(libc::c_int) as usize,
            0,
        );
        HELD.store(true, SeqCst);
        Self
    }

    /// Stops a thread in the handler.
    fn stop(&self, tid: u64) {
        // SAFETY: no pointers; a thread of this process, which has not ended.
        let done = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR2) };
        assert_eq!(done, 0);
        wait_until("a thread in its handler", || IN_HANDLER.load(SeqCst) == 1);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.store(false, SeqCst);
    }
}

/// Two threads wait on one end, and a signal handler stops the thread that began first. The other
/// thread is woken nevertheless: its wake-up does not depend on the first thread.
#[apply(isolated)]
fn beside_a_stopped_thread() {
    for polled in [false, true] {
        for receiver_stops in [true, false] {
            let _case = Case(format!(
                "polled: {polled}, the receiver stops: {receiver_stops}"
            ));
            let (a, b) = full_pair(polled);
            let call = |receives: bool| {
                let timeout_ms = if receives == receiver_stops {
                    LONG
                } else {
                    SOON
                };
                if receives {
                    a.recv(timeout_ms).map(|message| message.len())
                } else {
                    a.send(&[0; 1000], timeout_ms)
                }
            };
            let wake = |receiver: bool| {
                if receiver {
                    assert_eq!(b.send(b"message", 0), DONE);
                } else {
                    assert!(b.drain() > 0);
                }
            };
            let results = thread::scope(|scope| {
                let [first, second] = [receiver_stops, !receiver_stops].map(|receives| {
                    let (thread, tid) = spawn_sleeper(scope, move || call(receives));
                    (thread, tid, receives)
                });
                let held = Held::new();
                held.stop(first.1);
                let since = Instant::now();
                wake(second.2);
                let second = second.0.join().unwrap();
                let took = since.elapsed();
                assert!(took < Duration::from_millis(SOON as u64 / 2), "{took:?}");
                drop(held);
                wake(first.2);
                (first.0.join().unwrap(), second)
            });
            let [first, second] = if receiver_stops { [7, 0] } else { [0, 7] };
            assert_eq!(results, (Ok(first), Ok(second)));
        }
    }
}

/// Shuts an end down when dropped, so that a failed test ends its helper threads.
struct ShutdownOnDrop<'a>(&'a End);

impl Drop for ShutdownOnDrop<'_> {
    fn drop(&mut self) {
        assert_eq!(self.0.shutdown(libc::SHUT_RDWR), DONE);
    }
}

/// Two threads wait on one end: one for a message, with SCHED_IDLE, and one for room, with the
/// normal policy. Other threads keep their processor busy. The thread that waits for room is woken
/// as fast as if it waited alone. If its wake-up depended on the other thread, it would wait until
/// the scheduler runs that thread.
#[apply(isolated)]
fn no_priority_inversion() {
    for polled in [false, true] {
        let _case = Case(format!("polled: {polled}"));
        let alone = median_delay(polled, false);
        let with_receiver = median_delay(polled, true);
        println!("polled: {polled}: median delay {with_receiver:?}, without a receiver {alone:?}");
        let limit = 3 * alone.max(Duration::from_millis(5));
        assert!(
            with_receiver < limit,
            "{with_receiver:?}; without a receiver {alone:?}"
        );
    }
}

/// The number of threads that keep the processor busy. With one thread, SCHED_IDLE has little
/// effect.
const BUSY: usize = 3;

/// The median time from the moment at which the peer frees room to the return of the send that
/// waits for it, with or without a thread that receives on the same end.
fn median_delay(polled: bool, with_receiver: bool) -> Duration {
    const ROUNDS: usize = 21;
    let all = processors();
    let (cpu, other_cpu) = (all[0], *all.last().unwrap());
    let (a, b) = small();
    if polled {
        a.fd().unwrap();
    }
    let (stop, is_busy) = (AtomicBool::new(false), AtomicBool::new(false));
    let iterations = [const { AtomicU64::new(0) }; BUSY];
    let tids = Counters::new();
    let returned = AtomicU64::new(0);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        // Slots of `tids`: the receiver's id, the sender's id, the last round in which the ring was
        // full, and the last round that may begin.
        if with_receiver {
            scope.spawn(|| {
                stay_on(cpu);
                run_when_idle();
                tids.set(0, thread_id());
                assert_eq!(a.recv(-1), Ok(vec![]));
            });
        }
        scope.spawn(|| {
            stay_on(cpu);
            tids.set(1, thread_id());
            for round in 1..=ROUNDS as u64 {
                tids.wait_for(3, round);
                a.fill(1000);
                tids.set(2, round);
                assert_eq!(a.send(&[0; 1000], LONG), DONE);
                returned.store(now(), SeqCst);
            }
        });
        // These threads are busy while a delay is measured. In between the receiver can sleep
        // again.
        for iterations in &iterations {
            let (stop, is_busy) = (&stop, &is_busy);
            scope.spawn(move || {
                stay_on(cpu);
                while !stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                    while is_busy.load(SeqCst) && !stop.load(SeqCst) {
                        iterations.fetch_add(1, SeqCst);
                        spin_loop();
                    }
                }
            });
        }
        let (_stop, _shutdown) = (StopOnDrop(&stop), ShutdownOnDrop(&a));
        stay_on(other_cpu);
        let receiver_sleeps = || {
            if with_receiver {
                tids.wait_for(0, 1);
                wait_thread_asleep(tids.get(0));
            }
        };
        for round in 1..=ROUNDS as u64 {
            // The receiver sleeps first in each round.
            receiver_sleeps();
            tids.set(3, round);
            tids.wait_for(2, round);
            wait_thread_asleep(tids.get(1));
            receiver_sleeps();
            returned.store(0, SeqCst);
            let before: Vec<u64> = iterations.iter().map(|count| count.load(SeqCst)).collect();
            is_busy.store(true, SeqCst);
            wait_until("a busy processor", || {
                let mut pairs = before.iter().zip(&iterations);
                pairs.all(|(before, count)| count.load(SeqCst) > before + 10_000)
            });
            let freed_at = now();
            b.drain();
            wait_until("the end of a send", || returned.load(SeqCst) != 0);
            is_busy.store(false, SeqCst);
            delays.push(returned.load(SeqCst).saturating_sub(freed_at));
        }
    });
    delays.sort_unstable();
    Duration::from_nanos(delays[ROUNDS / 2])
}

/// The processor time of a round trip, while both sides run on one processor.
fn round_trip_on_one_processor(opts: &ipc_channel_opts) -> Duration {
    const ROUNDS: u64 = 100;
    let (a, b) = pair_with(opts);
    let shared = Counters::new();
    let child = fork(|| {
        close_copy(&a);
        let before = cpu_time();
        for _ in 0..ROUNDS {
            let message = b.recv(LONG).unwrap();
            assert_eq!(b.send(&message, LONG), DONE);
        }
        shared.set(0, (cpu_time() - before).as_nanos() as u64);
    });
    drop(b);
    let before = cpu_time();
    for round in 0..ROUNDS {
        assert_eq!(a.send(&round.to_le_bytes(), LONG), DONE);
        assert_eq!(a.recv(LONG).unwrap(), round.to_le_bytes());
    }
    let used = cpu_time() - before;
    child.join();
    (used + Duration::from_nanos(shared.get(0))) / ROUNDS as u32
}

/// Both sides run on one processor. Whatever spin time the options allow, a call does not spin
/// while the peer needs that processor, or each message would cost the spin time.
#[apply(isolated)]
fn no_spinning_on_one_processor() {
    stay_on(processors()[0]);
    let spinning = ipc_channel_opts {
        spin_us: 20_000,
        ..SMALL
    };
    let without = round_trip_on_one_processor(&NO_SPIN);
    let with = round_trip_on_one_processor(&spinning);
    println!("{with:?} of processor time for a round trip, {without:?} without spinning");
    assert!(with < 3 * without + Duration::from_micros(200));
}
