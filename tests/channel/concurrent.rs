//! Threads that wait on one end: a shutdown or an invalid peer ends their waits at once, and no
//! wake-up of one of them is lost to another one.

use crate::event_loop::{Poller, SOON, TRIGGERS, Trigger, pause};
use crate::support::*;
use libc::{EAGAIN, EPIPE, EPROTO, ETIMEDOUT, SHUT_RD, SHUT_RDWR, SHUT_WR, c_int};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The time in which a wait must end that something has ended.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The result of a thread, which must end at once.
#[track_caller]
fn ended<T>(thread: ScopedJoinHandle<T>, since: Instant) -> T {
    let result = thread.join().unwrap();
    let took = since.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    result
}

/// A thread that makes a call on an end. The caller waits until it sleeps, if `asleep`.
fn waiting<'a>(
    scope: &'a thread::Scope<'a, '_>,
    asleep: bool,
    call: impl FnOnce() -> Outcome + Send + 'a,
) -> ScopedJoinHandle<'a, Outcome> {
    let tid: &Counters = Box::leak(Box::new(Counters::new()));
    let thread = scope.spawn(move || {
        tid.set(0, thread_id());
        call()
    });
    tid.wait_for(0, 1);
    if asleep {
        wait_thread_asleep(tid.get(0));
    }
    thread
}

/// Two threads of the process wait on an end, in either order, or are about to; a third one shuts
/// it down.
#[apply(isolated)]
fn shutdown_ends_both() {
    let mut random = Random(1);
    for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
        for round in 0..scaled(200) {
            let (polled, asleep) = (round % 2 == 0, round / 2 % 2 == 0);
            let _case = Case(format!("{how}, polled: {polled}, asleep: {asleep}"));
            let (a, b) = small();
            if polled {
                a.fd().unwrap();
            }
            a.fill(1000);
            thread::scope(|scope| {
                let receive = || waiting(scope, asleep, || a.recv(LONG).map(|got| got.len()));
                let send = || waiting(scope, asleep, || a.send(&[0; 1000], LONG));
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
                    assert_eq!(ended(receiver, since), Ok(0));
                } else {
                    assert_eq!(b.send(b"message", 0), DONE);
                    assert_eq!(ended(receiver, since), Ok(7));
                }
                if how != SHUT_RD {
                    assert_eq!(ended(sender, since), Err(EPIPE));
                } else {
                    b.drain();
                    assert_eq!(ended(sender, since), DONE);
                }
            });
        }
    }
}

/// The same while both wait for the handshake, which a silent client does not complete.
#[apply(isolated)]
fn shutdown_ends_both_in_the_handshake() {
    for polled in [false, true] {
        let name = format!("@unixipc-test-concurrent-{}", std::process::id());
        let listener = listen(&name);
        let _client = silent_client(&name);
        let a = accept(&listener, LONG).unwrap();
        if polled {
            a.fd().unwrap();
        }
        thread::scope(|scope| {
            let receiver = waiting(scope, true, || a.recv(LONG).map(|got| got.len()));
            let sender = waiting(scope, true, || a.send(b"x", LONG));
            let since = Instant::now();
            assert_eq!(a.shutdown(SHUT_RDWR), DONE);
            assert_eq!(ended(receiver, since), Ok(0));
            assert_eq!(ended(sender, since), Err(EPIPE));
        });
    }
}

/// A socket that is connected to a listener, and says nothing.
fn silent_client(name: &str) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{UnixAddr, connect};
    use std::os::fd::AsRawFd;
    let client = local_socket(libc::SOCK_SEQPACKET);
    let address = UnixAddr::new_abstract(&name.as_bytes()[1..]).unwrap();
    connect(client.as_raw_fd(), &address).unwrap();
    client
}

/// The mapping that has an address: where it begins, its offset in the file, and the file.
struct Mapped {
    begin: usize,
    end: usize,
    offset: usize,
    inode: String,
}

/// The writable shared mappings of this process.
fn shared_mappings() -> Vec<Mapped> {
    let hex = |digits: &str| usize::from_str_radix(digits, 16).unwrap();
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1] == "rw-s")
        .map(|fields| {
            let (begin, end) = fields[0].split_once('-').unwrap();
            Mapped {
                begin: hex(begin),
                end: hex(end),
                offset: hex(fields[2]),
                inode: fields[4].to_string(),
            }
        })
        .collect()
}

/// Overwrites the length of the message that this end would send next, as an invalid peer does.
fn lie_about_a_message(end: &End) {
    let at = end.reserve(8, 0).unwrap().as_mut_ptr();
    // SAFETY: the length precedes the message, in the same line of the ring.
    unsafe { at.sub(8).cast::<u64>().write_volatile(u64::MAX) };
    assert_eq!(end.cancel(), DONE);
}

/// Overwrites the position up to which this end has received, as an invalid peer does.
fn lie_about_room(end: &End) {
    const HEAD: usize = 128;
    let message = end.reserve(8, 0).unwrap().as_mut_ptr().expose_provenance();
    assert_eq!(end.cancel(), DONE);
    let all = shared_mappings();
    let ring = all.iter().find(|it| (it.begin..it.end).contains(&message));
    let inode = &ring.unwrap().inode;
    let control = all.iter().find(|it| it.inode == *inode && it.offset == 0);
    let head = std::ptr::with_exposed_provenance_mut::<u64>(control.unwrap().begin + HEAD);
    // SAFETY: the control words of the end, which are mapped as long as it is open.
    unsafe { head.write_volatile(1 << 40) };
}

/// The peer breaks the protocol, and one of two waiting threads finds it: both end with EPROTO,
/// and the descriptor is readable.
#[apply(isolated)]
fn invalid_peer_ends_both() {
    for polled in [false, true] {
        for in_messages in [false, true] {
            let _case = Case(format!("polled: {polled}, in messages: {in_messages}"));
            let (a, b) = small();
            if polled {
                a.fd().unwrap();
            }
            a.fill(1000);
            let (receive_ms, send_ms) = if in_messages { (20, LONG) } else { (LONG, 20) };
            // The thread with the short time-out looks at the peer's memory in each call.
            let again = |call: &dyn Fn() -> Outcome| {
                loop {
                    match call() {
                        Err(ETIMEDOUT) => {}
                        result => return result,
                    }
                }
            };
            thread::scope(|scope| {
                let receiver = waiting(scope, true, || {
                    again(&|| a.recv(receive_ms).map(|got| got.len()))
                });
                let sender = waiting(scope, true, || again(&|| a.send(&[0; 1000], send_ms)));
                let since = Instant::now();
                if in_messages {
                    lie_about_a_message(&b);
                } else {
                    lie_about_room(&b);
                }
                assert_eq!(ended(receiver, since), Err(EPROTO));
                assert_eq!(ended(sender, since), Err(EPROTO));
            });
            assert_eq!(a.recv(0), Err(EPROTO));
            assert_eq!(a.send(b"x", 0), Err(EPROTO));
            assert!(!polled || is_readable(&a));
        }
    }
}

/// One thread of each end is an event loop that receives; the other one sends, and waits for room
/// in the call.
#[apply(isolated)]
fn receiver_polls_sender_waits() {
    for trigger in TRIGGERS {
        exchange(trigger, true);
    }
}

/// One thread of each end is an event loop that sends, and polls for room; the other one receives,
/// and waits for a message in the call.
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

/// A pause that is long at times: the other threads come to sleep.
fn long_pause(random: &mut Random) {
    pause(random, 300);
    if random.below(500) == 0 {
        thread::sleep(Duration::from_micros(random.below(300)));
    }
}

/// The time-out of a call that waits, and of a poll.
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
