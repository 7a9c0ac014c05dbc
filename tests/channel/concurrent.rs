//! Two threads wait on one end. A shutdown or an invalid peer ends both waits at once, and no
//! thread takes a wake-up that another thread needs.

use crate::event_loop::{Poller, SOON, TRIGGERS, Trigger, pause};
use crate::peer::{abstract_name, silent_client};
use crate::support::*;
use libc::{EAGAIN, EPIPE, EPROTO, ETIMEDOUT, SHUT_RD, SHUT_RDWR, SHUT_WR, c_int};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The time in which a wait must end after the event that ends it.
const LIMIT: Duration = Duration::from_secs(2);

/// The result of a thread, which must end within [`LIMIT`].
#[track_caller]
fn join_soon<T>(thread: ScopedJoinHandle<T>, since: Instant) -> T {
    let result = thread.join().unwrap();
    let took = since.elapsed();
    assert!(took < LIMIT, "{took:?}");
    result
}

/// Starts a thread that makes a call. If `asleep`, waits until the thread sleeps.
fn spawn_waiter<'a>(
    scope: &'a Scope<'a, '_>,
    asleep: bool,
    call: impl FnOnce() -> Outcome + Send + 'a,
) -> ScopedJoinHandle<'a, Outcome> {
    let (thread, tid) = spawn_call(scope, call);
    if asleep {
        wait_thread_asleep(tid);
    }
    thread
}

/// Two threads wait on an end or are about to wait, in either order. A third thread shuts the end
/// down.
#[apply(isolated)]
fn shutdown_ends_both() {
    let mut random = Random(1);
    for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
        for round in 0..scaled(200) {
            let (polled, asleep) = (round % 2 == 0, round / 2 % 2 == 0);
            let _case = Case(format!("{how}, polled: {polled}, asleep: {asleep}"));
            let (a, b) = full_pair(polled);
            thread::scope(|scope| {
                let receive =
                    || spawn_waiter(scope, asleep, || a.recv(LONG).map(|message| message.len()));
                let send = || spawn_waiter(scope, asleep, || a.send(&[0; 1000], LONG));
                let (receiver, sender) = if round / 4 % 2 == 0 {
                    let receiver = receive();
                    (receiver, send())
                } else {
                    let sender = send();
                    (receive(), sender)
                };
                pause(&mut random, 5000);
                let since = Instant::now();
                assert_eq!(a.shutdown(how), DONE);
                if how != SHUT_WR {
                    assert_eq!(join_soon(receiver, since), Ok(0));
                } else {
                    assert_eq!(b.send(b"message", 0), DONE);
                    assert_eq!(join_soon(receiver, since), Ok(7));
                }
                if how != SHUT_RD {
                    assert_eq!(join_soon(sender, since), Err(EPIPE));
                } else {
                    b.drain();
                    assert_eq!(join_soon(sender, since), DONE);
                }
            });
        }
    }
}

/// Both threads wait for the handshake, because the client has not sent its hello.
#[apply(isolated)]
fn shutdown_ends_both_in_the_handshake() {
    for polled in [false, true] {
        let name = abstract_name();
        let listener = listen(&name);
        let _client = silent_client(&name);
        let a = accept(&listener, LONG).unwrap();
        if polled {
            a.fd().unwrap();
        }
        thread::scope(|scope| {
            let receiver = spawn_waiter(scope, true, || a.recv(LONG).map(|message| message.len()));
            let sender = spawn_waiter(scope, true, || a.send(b"x", LONG));
            let since = Instant::now();
            assert_eq!(a.shutdown(SHUT_RDWR), DONE);
            assert_eq!(join_soon(receiver, since), Ok(0));
            assert_eq!(join_soon(sender, since), Err(EPIPE));
        });
    }
}

/// Writes an invalid length in front of the message that this end would send next.
fn write_invalid_length(end: &End) {
    let at = end.reserve(8, 0).unwrap().as_mut_ptr();
    // SAFETY: the length precedes the message, in the mapped ring.
    unsafe { at.sub(8).cast::<u64>().write_volatile(u64::MAX) };
    assert_eq!(end.cancel(), DONE);
}

/// Writes an invalid head, which is the position up to which this end has received.
fn write_invalid_head(end: &End) {
    const CONTROL: usize = 65536;
    const HEAD: usize = 128;
    let message = end.reserve(8, 0).unwrap().as_mut_ptr().expose_provenance();
    assert_eq!(end.cancel(), DONE);
    let mappings = shared_mappings();
    let ring = mappings
        .iter()
        .find(|mapping| (mapping.begin..mapping.end).contains(&message))
        .unwrap();
    // The control words of the end are before its ring, and both ends of a pair share a file.
    let offset = message - ring.begin + ring.offset;
    let control = message - offset % (CONTROL + SMALL_RING);
    let head = std::ptr::with_exposed_provenance_mut::<u64>(control + HEAD);
    // SAFETY: the control words of the end, which are mapped as long as it is open.
    unsafe { head.write_volatile(1 << 40) };
}

/// The peer violates the protocol, and one of two waiting threads detects it. Both calls fail with
/// EPROTO, and the descriptor is readable.
#[apply(isolated)]
fn invalid_peer_ends_both() {
    for polled in [false, true] {
        for in_length in [false, true] {
            let _case = Case(format!("polled: {polled}, in a length: {in_length}"));
            let (a, b) = full_pair(polled);
            let (receive_ms, send_ms) = if in_length { (20, LONG) } else { (LONG, 20) };
            // The thread with the short time-out reads the peer's memory in each call.
            let repeat = |call: &dyn Fn() -> Outcome| {
                loop {
                    match call() {
                        Err(ETIMEDOUT) => {}
                        result => return result,
                    }
                }
            };
            thread::scope(|scope| {
                let receiver = spawn_waiter(scope, true, || {
                    repeat(&|| a.recv(receive_ms).map(|message| message.len()))
                });
                let sender = spawn_waiter(scope, true, || repeat(&|| a.send(&[0; 1000], send_ms)));
                let since = Instant::now();
                if in_length {
                    write_invalid_length(&b);
                } else {
                    write_invalid_head(&b);
                }
                assert_eq!(join_soon(receiver, since), Err(EPROTO));
                assert_eq!(join_soon(sender, since), Err(EPROTO));
            });
            assert_eq!(a.recv(0), Err(EPROTO));
            assert_eq!(a.send(b"x", 0), Err(EPROTO));
            assert!(!polled || is_readable(&a));
        }
    }
}

/// On each end, one thread is an event loop that receives. The other thread sends, and the call
/// waits for room.
#[apply(isolated)]
fn receiver_polls_sender_waits() {
    for trigger in TRIGGERS {
        exchange(trigger, true);
    }
}

/// On each end, one thread is an event loop that sends and polls for room. The other thread
/// receives, and the call waits for a message.
#[apply(isolated)]
fn sender_polls_receiver_waits() {
    for trigger in TRIGGERS {
        exchange(trigger, false);
    }
}

/// Sends messages in both directions, with random pauses.
fn exchange(trigger: Trigger, receiver_polls: bool) {
    let (a, b) = small();
    let count = scaled(20_000);
    thread::scope(|scope| {
        for (end, seed) in [(&a, 1), (&b, 3)] {
            scope.spawn(move || {
                send_all(end, count, seed, (!receiver_polls).then_some(trigger));
            });
            scope.spawn(move || {
                receive_all(end, count, seed + 1, receiver_polls.then_some(trigger));
            });
        }
    });
}

/// A short pause, and seldom a long one, in which the other threads begin to sleep.
fn long_pause(random: &mut Random) {
    pause(random, 300);
    if random.below(500) == 0 {
        thread::sleep(Duration::from_micros(random.below(300)));
    }
}

/// The time-out of a blocking call, and of poll.
const WAIT: c_int = 2 * SOON;

fn send_all(end: &End, count: u64, seed: u64, polls: Option<Trigger>) {
    let poller = polls.map(|trigger| Poller::new(end, trigger));
    let mut random = Random(seed);
    for number in 0..count {
        let mut message = vec![number as u8; 8 + random.below(2000) as usize];
        message[..8].copy_from_slice(&number.to_le_bytes());
        long_pause(&mut random);
        match &poller {
            None => assert_eq!(end.send(&message, WAIT), DONE, "message {number}"),
            Some(poller) => {
                while let Err(error) = end.send(&message, 0) {
                    assert_eq!(error, EAGAIN);
                    assert!(poller.is_ready(WAIT), "room for message {number}");
                }
            }
        }
    }
}

fn receive_all(end: &End, count: u64, seed: u64, polls: Option<Trigger>) {
    let poller = polls.map(|trigger| Poller::new(end, trigger));
    let mut random = Random(seed);
    let mut number = 0;
    while number < count {
        long_pause(&mut random);
        let timeout_ms = if poller.is_some() { 0 } else { WAIT };
        match (end.recv(timeout_ms), &poller) {
            (Ok(message), _) => {
                assert_eq!(message[..8], number.to_le_bytes());
                number += 1;
            }
            (Err(EAGAIN), Some(poller)) => {
                assert!(poller.is_ready(WAIT), "message {number}");
            }
            (Err(error), _) => panic!("errno {error}, message {number}"),
        }
    }
}
