//! ipc_channel_fd in poll and epoll.

use crate::support::*;
use libc::{EAGAIN, POLLIN};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};
use unixipc::ffi::channel::*;

#[apply(isolated)]
fn one_descriptor() {
    let (a, b) = pair();
    let fd = a.fd().unwrap();
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
    assert_eq!(a.fd(), Ok(fd));
    assert_ne!(b.fd(), Ok(fd));
    let before = open_numbers();
    // Several threads ask for the first time.
    for _ in 0..20 {
        let (c, _d) = pair();
        let fds = thread::scope(|scope| {
            let asked = [0; 4].map(|_| scope.spawn(|| c.fd().unwrap()));
            asked.map(|thread| thread.join().unwrap())
        });
        assert!(fds.iter().all(|fd| *fd == fds[0]));
    }
    assert_eq!(open_numbers(), before);
    assert_eq!(a.fd(), Ok(fd));
}

#[apply(isolated)]
fn readable_or_not() {
    for opts in [DEFAULTS, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        assert!(!is_readable(&a) && !is_readable(&b), "nothing is there");
        for _ in 0..100 {
            assert_eq!(a.send(b"one", 0), DONE);
            assert_eq!(a.send(b"two", 0), DONE);
            assert!(is_readable(&b) && !is_readable(&a));
            // Until a receive finds nothing.
            assert_eq!(b.recv(0).unwrap(), b"one");
            assert!(is_readable(&b));
            assert_eq!(b.peek(0).unwrap(), b"two");
            assert!(is_readable(&b));
            assert_eq!(b.release(), DONE);
            assert!(is_readable(&b));
            assert_eq!(b.recv(0), Err(EAGAIN));
            assert!(!is_readable(&b));
            assert_eq!(b.recv(0), Err(EAGAIN), "again");
            assert!(!is_readable(&b));
        }
        // A message that is too long for the buffer stays, and so it does.
        assert_eq!(a.send(b"long", 0), DONE);
        assert_eq!(b.recv_cap(1, 0), Err(libc::EMSGSIZE));
        assert!(is_readable(&b));
        // The end of the messages makes it readable until a receive has returned 0.
        assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
        assert!(is_readable(&b));
        assert_eq!(b.recv(0).unwrap(), b"long");
        assert!(is_readable(&b));
        for _ in 0..10 {
            assert_eq!(b.recv(0), Ok(vec![]));
            assert!(!is_readable(&b), "the end was received");
        }
        // It goes on sending, and learns of room and of the peer's death.
        b.fill(1000);
        assert!(!is_readable(&b));
        a.drain();
        assert!(is_readable(&b), "room");
        assert_eq!(b.send(&[0; 1000], 0), DONE);
        assert!(!is_readable(&b));
        drop(a);
        for _ in 0..10 {
            assert!(is_readable(&b), "its death remains visible");
            assert_eq!(b.recv(0), Ok(vec![]));
        }
        assert_eq!(b.send(b"x", 0), Err(libc::EPIPE));
        assert!(is_readable(&b), "its death remains visible");
    }
}

/// Messages that were sent before the first call of ipc_channel_fd make the descriptor readable,
/// and messages that are sent after receives of all kinds.
#[apply(isolated)]
fn asked_for_late() {
    type Before = fn(&End, &End);
    let befores: [(&str, Before, bool); 7] = [
        ("a message", |a, _| assert_eq!(a.send(b"x", 0), DONE), true),
        (
            "a message after a look",
            |a, b| {
                b.recv(0).unwrap_err();
                a.send(b"x", 0).unwrap();
            },
            true,
        ),
        (
            "a message after a sleep",
            |a, b| {
                b.recv(1).unwrap_err();
                a.send(b"x", 0).unwrap();
            },
            true,
        ),
        (
            "many messages, all received, and a look",
            |a, b| {
                for _ in 0..500 {
                    a.send(b"x", 0).unwrap();
                    b.recv(0).unwrap();
                }
                // A receive that finds nothing drains the doorbell.
                b.fd().unwrap();
                b.recv(0).unwrap_err();
            },
            false,
        ),
        (
            "many messages, all but one received",
            |a, b| {
                a.send(b"x", 0).unwrap();
                for _ in 0..500 {
                    a.send(b"x", 0).unwrap();
                    b.recv(0).unwrap();
                }
            },
            true,
        ),
        (
            "the end",
            |a, _| assert_eq!(a.shutdown(libc::SHUT_WR), DONE),
            true,
        ),
        ("nothing", |_, _| (), false),
    ];
    for (what, before, readable) in befores {
        let _case = Case(what);
        let (a, b) = small();
        before(&a, &b);
        let fd = b.fd().unwrap();
        assert_eq!(poll(fd, 0), if readable { POLLIN } else { 0 });
        while b.recv(0).is_ok_and(|got| !got.is_empty()) {}
        // And from now on.
        if what != "the end" {
            assert_eq!(poll(fd, 0), 0);
            assert_eq!(a.send(b"x", 0), DONE);
            assert_eq!(poll(fd, 0), POLLIN);
            b.recv(0).unwrap();
        }
        drop(a);
        assert_eq!(poll(fd, 0), POLLIN);
    }
}

/// Without the descriptor a receive that does not wait causes no wake-ups.
#[apply(isolated)]
fn no_wake_ups_before_the_first_call() {
    let (a, b) = small();
    for _ in 0..100 {
        assert_eq!(b.recv(0), Err(EAGAIN));
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
    let wakes = a.stats().wakes;
    assert!(wakes <= 1, "{wakes}: the first message may be one");
    b.fd().unwrap();
    for _ in 0..100 {
        assert_eq!(b.recv(0), Err(EAGAIN));
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(a.send(b"y", 0), DONE);
        b.recv(0).unwrap();
        b.recv(0).unwrap();
    }
    assert_eq!(
        a.stats().wakes - wakes,
        100,
        "one for each time of being empty"
    );
}

/// The descriptor reports room after a send that was EAGAIN, and not before.
#[apply(isolated)]
fn room() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000); // its last send is EAGAIN
    assert_eq!(poll(fd, 0), 0);
    assert_eq!(a.send(b"x", 0), DONE, "a short one has room");
    a.fill(1);
    assert_eq!(poll(fd, 0), 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| poll(fd, LONG));
        b.drain();
        assert_eq!(waiter.join().unwrap(), POLLIN);
    });
    assert_eq!(a.send(&[0; 1000], 0), DONE, "what was refused");
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0, "a receive that finds nothing ends it");
    // Without such a send it does not report room.
    for _ in 0..100 {
        assert_eq!(a.send(b"x", 0), DONE);
        b.recv(0).unwrap();
        assert_eq!(poll(fd, 0), 0);
    }
    // It also reports the peer's death after such a send.
    a.fill(1000);
    drop(b);
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(b"x", 0), Err(libc::EPIPE));
}

/// A send was EAGAIN, and then the descriptor is made.
#[apply(isolated)]
fn room_asked_for_late() {
    type Refused = fn(&End);
    let refusals: [(&str, Refused); 3] = [
        ("send", |a| assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN))),
        ("a send with a time", |a| {
            assert_eq!(a.send(&[0; 1000], 1), Err(libc::ETIMEDOUT));
        }),
        ("reserve", |a| {
            assert_eq!(a.reserve(1000, 0).unwrap_err(), EAGAIN);
        }),
    ];
    for (what, refused) in refusals {
        for is_free in [false, true] {
            let _case = Case(format!("{what}, room before the question: {is_free}"));
            let (a, b) = small();
            a.fill(1000);
            a.fill(1);
            refused(&a);
            if is_free {
                b.drain();
            }
            let fd = a.fd().unwrap();
            if !is_free {
                assert_eq!(poll(fd, 0), 0);
                b.drain();
            }
            assert_eq!(poll(fd, 0), POLLIN);
            assert_eq!(a.send(&[0; 1000], 0), DONE);
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0);
        }
    }
    // The refused send has succeeded before.
    let (a, b) = small();
    a.fill(1000);
    b.drain();
    assert_eq!(a.send(&[0; 1000], 0), DONE);
    assert_eq!(poll(a.fd().unwrap(), 0), 0);
}

/// The refused message is longer than the free room, although half of the ring is free.
#[apply(isolated)]
fn room_for_a_long_one() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    let long = [0; SMALL_RING * 3 / 4];
    for _ in 0..10 {
        for _ in 0..3 {
            assert_eq!(a.send(&[0; SMALL_RING / 8], 0), DONE);
        }
        assert_eq!(a.send(&long, 0), Err(EAGAIN));
        for _ in 0..10 {
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0, "spuriously readable");
        }
        // The room suffices after two of three messages; the descriptor reports each.
        for enough in [false, true] {
            b.recv_cap(SMALL_RING, 0).unwrap();
            assert_eq!(poll(fd, 0), POLLIN);
            assert_eq!(a.send(&long, 0).is_ok(), enough);
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0, "spuriously readable");
        }
        b.drain();
        assert_eq!(poll(fd, 0), 0, "nobody waits for room");
    }
}

/// The descriptor is made while another thread waits in a call, whose time-out then expires.
#[apply(isolated)]
fn asked_for_meanwhile() {
    for sends in [false, true] {
        let (a, b) = small();
        if sends {
            a.fill(1000);
        }
        let tid = Counters::new();
        let fd = thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                tid.set(0, thread_id());
                if sends {
                    a.send(&[0; 1000], 300)
                } else {
                    a.recv(300).map(|got| got.len())
                }
            });
            tid.wait_for(0, 1);
            wait_thread_asleep(tid.get(0));
            let fd = a.fd().unwrap();
            assert_eq!(waiter.join().unwrap(), Err(libc::ETIMEDOUT));
            fd
        });
        assert_eq!(poll(fd, 0), 0);
        if sends {
            b.drain();
        } else {
            assert_eq!(b.send(b"x", 0), DONE);
        }
        assert_eq!(poll(fd, 0), POLLIN, "sends: {sends}");
    }
}

/// A wake-up for room wakes a thread that waits for a message. Another thread, whose send was
/// refused, finds the descriptor readable nevertheless.
#[apply(isolated)]
fn room_beside_a_blocking_receive() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    let tid = Counters::new();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            tid.set(0, thread_id());
            a.recv(LONG).unwrap()
        });
        tid.wait_for(0, 1);
        wait_thread_asleep(tid.get(0));
        for round in 0..20 {
            a.fill(1000);
            assert_eq!(poll(fd, 0), 0, "round {round}: spuriously readable");
            b.drain();
            // The receiver has taken the wake-up, and sleeps again.
            let slept = round + 2;
            wait_until("another sleep", || a.stats().sleeps >= slept);
            wait_thread_asleep(tid.get(0));
            assert_eq!(poll(fd, 0), POLLIN, "round {round}");
            assert_eq!(a.send(&[0; 1000], 0), DONE);
        }
        assert_eq!(b.send(b"x", 0), DONE);
        assert_eq!(receiver.join().unwrap(), b"x");
    });
}

/// A send was refused, and then the other side ends its receiving: the descriptor reports it.
#[apply(isolated)]
fn nobody_receives_any_more() {
    for receives_first in [false, true] {
        let (a, b) = small();
        let fd = a.fd().unwrap();
        a.fill(1000);
        assert_eq!(b.shutdown(libc::SHUT_RD), DONE);
        if receives_first {
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
        assert_eq!(poll(fd, 0), POLLIN, "{receives_first}");
        assert_eq!(a.send(&[0; 1000], 0), Err(libc::EPIPE));
        assert_eq!(a.recv(0), Err(EAGAIN));
        assert_eq!(poll(fd, 0), 0, "it is known now");
    }
}

/// A send was refused, and a shorter one was not: the longer one still waits for room.
#[apply(isolated)]
fn room_for_a_long_one_beside_short_ones() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    let filled = a.fill(1000);
    a.fill(1);
    assert_eq!(a.send(&[0; 20_000], 0), Err(EAGAIN));
    b.recv(0).unwrap();
    assert_eq!(a.send(&[0; 500], 0), DONE);
    for _ in 1..filled {
        b.recv(0).unwrap();
    }
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(&[0; 20_000], 0), DONE);
}

/// Another thread receives with a time-out: it does not end the readiness for room.
#[apply(isolated)]
fn room_beside_a_receive_with_a_time() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000);
    b.drain();
    for _ in 0..3 {
        assert_eq!(a.recv(1), Err(libc::ETIMEDOUT));
        assert_eq!(poll(fd, 0), POLLIN);
    }
    assert_eq!(a.send(&[0; 1000], 0), DONE);
}

/// A refused send causes no edge, although there is a message to receive, or the other side has
/// ended its sending.
#[apply(isolated)]
fn no_edge_of_a_refused_send() {
    for ended in [false, true] {
        let (a, b) = small();
        let epoll = new_epoll();
        add(
            &epoll,
            a.fd().unwrap(),
            EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            1,
        );
        if ended {
            assert_eq!(b.shutdown(libc::SHUT_WR), DONE);
            assert_eq!(a.recv(0), Ok(vec![]));
        } else {
            assert_eq!(b.send(b"left there", 0), DONE);
        }
        a.fill(1000);
        while !ready(&epoll, 0).is_empty() {
            assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN));
            assert_eq!(ready(&epoll, 0), [0; 0], "ended: {ended}");
        }
    }
}

/// A shutdown of this side's receiving makes the descriptor readable, also one that is made
/// afterwards, until a receive has returned 0. A shutdown of its sending does so after a refused
/// send.
#[apply(isolated)]
fn asked_for_at_the_end() {
    for how in [libc::SHUT_RD, libc::SHUT_RDWR] {
        let (a, _b) = small();
        assert_eq!(a.shutdown(how), DONE);
        let fd = a.fd().unwrap();
        assert_eq!(poll(fd, 0), POLLIN);
        for _ in 0..3 {
            assert_eq!(a.recv(0), Ok(vec![]));
            assert_eq!(poll(fd, 0), 0, "the end was received");
        }
    }
    // A receive has returned 0 before the descriptor is made.
    let (a, _b) = small();
    assert_eq!(a.shutdown(libc::SHUT_RD), DONE);
    assert_eq!(a.recv(0), Ok(vec![]));
    assert_eq!(poll(a.fd().unwrap(), 0), 0);
    let (a, _b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000);
    assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(b"x", 0), Err(libc::EPIPE));
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0);
}

/// A slow reader of a ring that is not full does not wake the writer's event loop.
#[apply(isolated)]
fn no_busy_loop() {
    let (a, b) = small();
    let (fd, count) = (a.fd().unwrap(), 100);
    for _ in 0..300 {
        assert_eq!(a.send(&[0; 100], 0), DONE);
    }
    assert_eq!(a.recv(0), Err(EAGAIN));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                b.recv(0).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(poll(fd, 150), 0, "spuriously readable");
    });
    assert_eq!(b.stats().wakes, 0);
    // Full: the writer is woken once for a whole half of the ring.
    let filled = a.fill(100);
    let wakings = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..200 + filled + 400 {
                b.recv(LONG).unwrap();
            }
        });
        let (mut wakings, mut sent) = (0, 0);
        while sent < 400 {
            assert_eq!(poll(fd, LONG), POLLIN);
            wakings += 1;
            while sent < 400 && a.send(&[0; 100], 0) == DONE {
                sent += 1;
            }
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
        reader.join().unwrap();
        wakings
    });
    println!("{wakings} wake-ups of the writer for 400 messages after a full ring");
    assert!(wakings <= 8, "{wakings}");
}

fn add(epoll: &Epoll, fd: i32, flags: EpollFlags, data: u64) {
    // SAFETY: open as long as its channel.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    epoll.add(fd, EpollEvent::new(flags, data)).unwrap();
}

fn new_epoll() -> Epoll {
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap()
}

/// The data of the ready descriptors.
#[track_caller]
fn ready(epoll: &Epoll, timeout_ms: i32) -> Vec<u64> {
    let mut events = [EpollEvent::empty(); 64];
    let timeout = nix::sys::epoll::EpollTimeout::try_from(timeout_ms).unwrap();
    let count = epoll.wait(&mut events, timeout).unwrap();
    let mut data: Vec<u64> = events[..count]
        .iter()
        .inspect(|event| assert_eq!(event.events(), EpollFlags::EPOLLIN))
        .map(EpollEvent::data)
        .collect();
    data.sort_unstable();
    data
}

/// Level- and edge-triggered, beside a pipe and another channel.
#[apply(isolated)]
fn mixed_with_others() {
    for flags in [
        EpollFlags::EPOLLIN,
        EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
    ] {
        let edge = flags.contains(EpollFlags::EPOLLET);
        let epoll = new_epoll();
        let (one, one_peer) = small();
        let (two, two_peer) = small();
        let (read, mut write) = pipe();
        add(&epoll, one.fd().unwrap(), flags, 1);
        add(&epoll, two.fd().unwrap(), flags, 2);
        add(&epoll, read.as_raw_fd(), flags, 3);
        assert_eq!(ready(&epoll, 20), [0; 0]);
        for _ in 0..100 {
            assert_eq!(one_peer.send(b"1", 0), DONE);
            assert_eq!(ready(&epoll, 0), [1]);
            assert_eq!(ready(&epoll, 0), if edge { vec![] } else { vec![1] });
            assert_eq!(two_peer.send(b"2", 0), DONE);
            write.write_all(b"3").unwrap();
            assert_eq!(
                ready(&epoll, 0),
                if edge { vec![2, 3] } else { vec![1, 2, 3] }
            );
            std::io::Read::read_exact(&mut &read, &mut [0]).unwrap();
            for end in [&one, &two] {
                assert_eq!(end.recv(0).unwrap().len(), 1);
                assert_eq!(end.recv(0), Err(EAGAIN));
            }
            assert_eq!(ready(&epoll, 0), [0; 0]);
        }
        drop(two_peer);
        assert_eq!(ready(&epoll, LONG), [2]);
        assert_eq!(two.recv(0), Ok(vec![]));
        drop(one_peer);
        assert!(ready(&epoll, LONG).contains(&1));
        assert_eq!(one.recv(0), Ok(vec![]));
        // A channel that is closed leaves epoll by itself.
        drop((one, two));
        assert_eq!(ready(&epoll, 0), [0; 0]);
    }
}

/// Two processes exchange messages through epoll alone: no wake-up is lost, of messages and of
/// room, however the one's pauses fall on the other's.
#[apply(isolated)]
fn nothing_is_lost() {
    for flags in [
        EpollFlags::EPOLLIN,
        EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
    ] {
        let (a, b) = small();
        let count = scaled(20_000);
        let child = fork(|| {
            // SAFETY: inherited, and not used here.
            unsafe { ipc_channel_close(a.0) };
            converse(&b, flags, count, 1);
        });
        drop(b);
        converse(&a, flags, count, 2);
        child.join();
        assert_eq!(a.recv(LONG), Ok(vec![]));
    }
}

/// Sends `count` messages and receives as many, as an event loop does it.
fn converse(end: &End, flags: EpollFlags, count: u64, seed: u64) {
    let epoll = new_epoll();
    add(&epoll, end.fd().unwrap(), flags, 0);
    let mut random = Random(seed);
    let (mut sent, mut received) = (0, 0);
    while received < count || sent < count {
        // It sends some messages, as far as there is room, and then receives all.
        let at_once = random.below(200);
        for _ in 0..at_once {
            let len = 8 + (sent as usize * 31) % 1000;
            let mut message = vec![sent as u8; len];
            message[..8].copy_from_slice(&sent.to_le_bytes());
            if sent == count || end.send(&message, 0).is_err() {
                break;
            }
            sent += 1;
        }
        loop {
            match end.recv(0) {
                Ok(message) if message.is_empty() => {
                    assert_eq!((sent, received), (count, count), "the end");
                    break;
                }
                Ok(message) => {
                    assert_eq!(message[..8], u64::to_le_bytes(received));
                    assert_eq!(message.len(), 8 + (received as usize * 31) % 1000);
                    received += 1;
                }
                Err(error) => {
                    assert_eq!(error, EAGAIN);
                    break;
                }
            }
        }
        if random.below(50) == 0 {
            thread::sleep(Duration::from_micros(random.below(300)));
        }
        let waits_for_room = sent < count && !has_room(end);
        if (sent == count || waits_for_room) && (received < count || sent < count) {
            assert!(
                !ready(&epoll, LONG).is_empty(),
                "{sent} sent, {received} received"
            );
        }
    }
}

/// Whether there is room for the longest message of `converse`; if not, the descriptor will report
/// it.
fn has_room(end: &End) -> bool {
    end.reserve(1008, 0).is_ok() && end.cancel().is_ok()
}

/// One thread waits in a call while another one polls the descriptor: both notice a message.
#[apply(isolated)]
fn beside_a_blocking_call() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    for _ in 0..200 {
        thread::scope(|scope| {
            let receiver = scope.spawn(|| a.recv(LONG).unwrap());
            if b.stats().sent_messages % 2 == 0 {
                thread::sleep(Duration::from_micros(100));
            }
            assert_eq!(b.send(b"x", 0), DONE);
            assert_eq!(receiver.join().unwrap(), b"x");
        });
        while a.recv(0).is_ok() {}
        assert_eq!(poll(fd, 0), 0);
    }
}

/// A send that waits does not take the readiness for a message: neither from its own thread,
/// afterwards, nor from another one that polls during the wait.
#[apply(isolated)]
fn beside_a_blocking_send() {
    for message_first in [true, false] {
        for polls_meanwhile in [true, false] {
            let (a, b) = small();
            let fd = a.fd().unwrap();
            a.fill(1000);
            assert_eq!(a.recv(0), Err(EAGAIN));
            let tid = Counters::new();
            thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    tid.set(0, thread_id());
                    a.send(&[0; 1000], LONG)
                });
                tid.wait_for(0, 1);
                wait_thread_asleep(tid.get(0));
                if message_first {
                    assert_eq!(b.send(b"message", 0), DONE);
                    // The sender has noticed that the wake-up was not for it.
                    thread::sleep(Duration::from_millis(5));
                    wait_thread_asleep(tid.get(0));
                }
                if polls_meanwhile && message_first {
                    assert_eq!(poll(fd, LONG), POLLIN);
                    assert_eq!(a.recv(0).unwrap(), b"message");
                    assert_eq!(a.recv(0), Err(EAGAIN));
                    assert_eq!(b.send(b"message", 0), DONE);
                }
                b.drain();
                if !message_first {
                    assert_eq!(b.send(b"message", 0), DONE);
                }
                assert_eq!(sender.join().unwrap(), DONE);
            });
            assert_eq!(poll(fd, LONG), POLLIN);
            assert_eq!(a.recv(0).unwrap(), b"message");
            assert_eq!(a.recv(0), Err(EAGAIN));
            // The send of `fill` was refused: the descriptor shows room for it once or twice.
            let wakings = (0..3).take_while(|_| {
                let is_readable = poll(fd, 0) == POLLIN;
                assert_eq!(a.recv(0), Err(EAGAIN));
                is_readable
            });
            assert!(wakings.count() <= 2);
            assert_eq!(poll(fd, 0), 0);
        }
    }
}

/// One thread sends, and waits for room; another one receives without waiting, and polls if it
/// finds nothing, or tries again at once: then it finds a wake-up before the sender does.
#[apply(isolated)]
fn one_polls_one_blocks() {
    for polls in [true, false] {
        let (a, b) = small();
        let count = scaled(20_000);
        thread::scope(|scope| {
            for end in [&a, &b] {
                scope.spawn(move || {
                    for number in 0..count {
                        let mut message = [number as u8; 700];
                        message[..8].copy_from_slice(&number.to_le_bytes());
                        assert_eq!(end.send(&message, LONG), DONE, "message {number}");
                    }
                });
                scope.spawn(move || {
                    let fd = end.fd().unwrap();
                    let mut number = 0;
                    while number < count {
                        match end.recv(0) {
                            Ok(message) => {
                                assert_eq!(message[..8], number.to_le_bytes());
                                number += 1;
                            }
                            Err(error) => {
                                assert_eq!(error, EAGAIN);
                                if polls {
                                    assert_eq!(poll(fd, LONG), POLLIN, "message {number}");
                                }
                            }
                        }
                    }
                });
            }
        });
    }
}

/// The same with nothing to receive: all wake-ups are for the sender.
#[apply(isolated)]
fn one_looks_one_blocks() {
    let (a, b) = small();
    a.fd().unwrap();
    let count = scaled(20_000);
    let done = Counters::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while done.get(0) == 0 {
                assert_eq!(a.recv(0), Err(EAGAIN));
            }
        });
        scope.spawn(|| {
            for number in 0..count {
                assert_eq!(a.send(&[1; 3000], 5000), DONE, "message {number}");
            }
            done.set(0, 1);
        });
        for _ in 0..count {
            assert_eq!(b.recv(LONG).unwrap().len(), 3000);
        }
    });
}

/// How many channels the server of the next test has.
const MANY: usize = 1000;

/// Why the next test cannot run, if it cannot.
fn too_few_descriptors() -> Option<&'static str> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (limit.rlim_max < 6 * MANY as u64).then_some("RLIMIT_NOFILE is too low")
}

/// A thousand clients of one server, idle and busy.
#[apply(isolated)]
#[needs(too_few_descriptors)]
fn a_thousand_channels() {
    set_soft_limit(libc::RLIMIT_NOFILE, 6 * MANY as u64);
    let name = format!("@unixipc-test-thousand-{}", std::process::id());
    let listener = listen(&name);
    let shared = Counters::new();
    let clients = fork(|| {
        let ends: Vec<End> = (0..MANY).map(|_| connect(&name, LONG).unwrap()).collect();
        shared.set(0, 1);
        shared.wait_for(1, 1); // the server has been idle
        let mut random = Random(4);
        for round in 0..5u64 {
            for _ in 0..MANY {
                let end = &ends[random.below(MANY as u64) as usize];
                assert_eq!(end.send(&round.to_le_bytes(), LONG), DONE);
                assert_eq!(end.recv(LONG).unwrap(), round.to_le_bytes());
            }
            for end in &ends {
                assert_eq!(end.send(b"all", LONG), DONE);
            }
            for end in &ends {
                assert_eq!(end.recv(LONG).unwrap(), b"all");
            }
        }
        shared.set(2, 1);
    });
    let epoll = new_epoll();
    epoll
        .add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, MANY as u64))
        .unwrap();
    let mut ends: Vec<Option<End>> = Vec::new();
    let start = Instant::now();
    while ends.len() < MANY {
        for which in ready(&epoll, LONG) {
            if which == MANY as u64 {
                let end = accept(&listener, 0).unwrap();
                add(
                    &epoll,
                    end.fd().unwrap(),
                    EpollFlags::EPOLLIN,
                    ends.len() as u64,
                );
                ends.push(Some(end));
            } else {
                serve(&mut ends[which as usize]);
            }
        }
    }
    println!("{MANY} channels after {:?}", start.elapsed());
    shared.wait_for(0, 1);
    // The ends of the handshakes make them readable once.
    loop {
        let which = ready(&epoll, 50);
        if which.is_empty() {
            break;
        }
        which
            .iter()
            .for_each(|which| serve(&mut ends[*which as usize]));
    }
    // Idle: nothing happens, and no processor time is used.
    let before = cpu_time();
    assert_eq!(ready(&epoll, 300), [0; 0]);
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(5), "{used:?} of 300 ms idle");
    shared.set(1, 1);
    let start = Instant::now();
    let (mut wakings, mut left) = (0u64, MANY);
    while left > 0 {
        let which = ready(&epoll, LONG);
        assert!(!which.is_empty());
        wakings += which.len() as u64;
        for which in which {
            let end = &mut ends[which as usize];
            serve(end);
            left -= usize::from(end.is_none());
        }
    }
    let messages = 10 * MANY as u64;
    println!(
        "{messages} messages echoed in {:?}, {wakings} events",
        start.elapsed()
    );
    assert_eq!(shared.get(2), 1);
    assert!(wakings <= messages + 2 * MANY as u64, "{wakings}");
    clients.join();
}

/// Echoes what has come; closes it at the end.
fn serve(end: &mut Option<End>) {
    let Some(channel) = end else { return };
    loop {
        match channel.recv(0) {
            Ok(message) if message.is_empty() => {
                *end = None;
                return;
            }
            Ok(message) => assert_eq!(channel.send(&message, 0), DONE),
            Err(error) => {
                assert_eq!(error, EAGAIN);
                return;
            }
        }
    }
}
