//! Event loops with epoll(7): several descriptors, two processes, and many channels.

use crate::peer::abstract_name;
use crate::support::*;
use common::epoll::{add, new_epoll, ready};
use libc::EAGAIN;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// One epoll instance watches two channels and a pipe, level-triggered and edge-triggered.
#[apply(isolated)]
fn two_channels_and_a_pipe() {
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
        // epoll forgets a channel that is closed.
        drop((one, two));
        assert_eq!(ready(&epoll, 0), [0; 0]);
    }
}

/// Two event loops in two processes exchange messages with random pauses. No wake-up for messages
/// or for room is lost.
#[apply(isolated)]
fn two_event_loops() {
    for flags in [
        EpollFlags::EPOLLIN,
        EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
    ] {
        let (a, b) = small();
        let count = scaled(20_000);
        let child = fork(|| {
            close_copy(&a);
            run_event_loop(&b, flags, count, 1);
        });
        drop(b);
        run_event_loop(&a, flags, count, 2);
        child.join();
        assert_eq!(a.recv(LONG), Ok(vec![]));
    }
}

/// Sends `count` messages and receives the same number, in an event loop.
fn run_event_loop(end: &End, flags: EpollFlags, count: u64, seed: u64) {
    let epoll = new_epoll();
    add(&epoll, end.fd().unwrap(), flags, 0);
    let mut random = Random(seed);
    let (mut sent, mut received) = (0, 0);
    while received < count || sent < count {
        // Send a burst while there is room, and then receive all messages.
        let burst = random.below(200);
        for _ in 0..burst {
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

/// Whether there is room for the longest message of [`run_event_loop`]. If not, the descriptor will
/// report room later.
fn has_room(end: &End) -> bool {
    end.reserve(1008, 0).is_ok() && end.cancel().is_ok()
}

/// The number of clients of one server.
const MANY: usize = 1000;

/// Why a process cannot have this many channels, or None.
fn too_few_descriptors() -> Option<&'static str> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (limit.rlim_max < 6 * MANY as u64).then_some("RLIMIT_NOFILE is too low")
}

/// A server with a thousand clients, which are idle and then busy.
#[apply(isolated)]
#[needs(too_few_descriptors)]
fn a_thousand_channels() {
    set_soft_limit(libc::RLIMIT_NOFILE, 6 * MANY as u64);
    let name = abstract_name();
    let listener = listen(&name);
    let shared = Counters::new();
    let clients = fork(|| {
        let ends: Vec<End> = (0..MANY).map(|_| connect(&name, LONG).unwrap()).collect();
        shared.set(0, 1);
        shared.wait_for(1, 1); // the server has measured the idle time
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
        for index in ready(&epoll, LONG) {
            if index == MANY as u64 {
                let end = accept(&listener, 0).unwrap();
                add(
                    &epoll,
                    end.fd().unwrap(),
                    EpollFlags::EPOLLIN,
                    ends.len() as u64,
                );
                ends.push(Some(end));
            } else {
                serve(&mut ends[index as usize]);
            }
        }
    }
    println!("{MANY} channels after {:?}", start.elapsed());
    // A handshake that was not complete when the end was accepted makes the descriptor readable, and
    // needs the server.
    wait_until("the clients to connect", || {
        for index in ready(&epoll, 0) {
            serve(&mut ends[index as usize]);
        }
        shared.get(0) == 1
    });
    // Completing a handshake makes the descriptor readable once.
    loop {
        let ready = ready(&epoll, 50);
        if ready.is_empty() {
            break;
        }
        for index in ready {
            serve(&mut ends[index as usize]);
        }
    }
    // While all clients are idle, no descriptor is ready, and the server uses no processor time.
    let before = cpu_time();
    assert_eq!(ready(&epoll, 300), [0; 0]);
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(30), "{used:?} of 300 ms idle");
    shared.set(1, 1);
    let start = Instant::now();
    let (mut events, mut left) = (0u64, MANY);
    while left > 0 {
        let ready = ready(&epoll, LONG);
        assert!(!ready.is_empty());
        events += ready.len() as u64;
        for index in ready {
            let end = &mut ends[index as usize];
            serve(end);
            left -= usize::from(end.is_none());
        }
    }
    let messages = 10 * MANY as u64;
    println!(
        "{messages} messages echoed in {:?}, {events} events",
        start.elapsed()
    );
    assert_eq!(shared.get(2), 1);
    assert!(events <= messages + 2 * MANY as u64, "{events}");
    clients.join();
}

/// Sends each received message back. Closes the channel when the client has closed.
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
