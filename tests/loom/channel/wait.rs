//! The wait loop: two threads on one end, time-outs, shutdown, the peer's death.

use super::{Channel, Limit, Receiver, SLOTS, Sender};
use crate::check;
use crate::errno::Errno;
use crate::transport::wait::Doorbell;
use loom::thread;

/// Two threads of one end wait: one for space, the other for a message. The peer sends a message
/// and reads everything.
#[test]
fn two_threads_on_one_end() {
    check(2, || {
        let channel = Channel::new(0);
        let mut sender = Sender::with_full_ring(&channel);
        let mut peer = Receiver::new(&channel, 1, 0);
        let mut peer_sender = Sender::new(&channel, 1, 0);
        let peer = thread::spawn(move || {
            peer_sender.send(9, 1, Limit::Never).unwrap();
            peer.receive_all(0..SLOTS as u64);
        });
        let waits_for_space = thread::spawn(move || {
            sender.send(SLOTS as u64 - 1, 1, Limit::Forever).unwrap();
        });
        let mut receiver = Receiver::new(&channel, 0, 0);
        assert_eq!(receiver.receive(Limit::Forever), Ok(Some(9)));
        waits_for_space.join().unwrap();
        peer.join().unwrap();
    });
}

/// A wait whose time-out expires takes no wake-up from the next wait.
#[test]
fn time_out_and_again() {
    check(3, || {
        let channel = Channel::new(0);
        let producer = Sender::new(&channel, 0, 0).spawn(7..8);
        let mut receiver = Receiver::new(&channel, 1, 0);
        let got = match receiver.receive(Limit::Expired) {
            Err(error) if error == Errno::ETIMEDOUT => receiver.receive(Limit::Forever),
            got => got,
        };
        assert_eq!(got, Ok(Some(7)));
        producer.join().unwrap();
    });
}

/// Another thread of the receiver's process shuts down receiving, which ends the wait.
#[test]
fn shut_down_by_another_thread() {
    check(3, || {
        let channel = Channel::new(0);
        let ender = {
            let channel = channel.clone();
            thread::spawn(move || channel.shutdown(1, true, false))
        };
        let mut receiver = Receiver::new(&channel, 1, 0);
        assert_eq!(receiver.receive(Limit::Forever), Ok(None));
        ender.join().unwrap();
    });
}

/// Another thread of the sender's process shuts down sending, which ends the wait for space.
#[test]
fn sending_shut_down_by_another_thread() {
    check(3, || {
        let channel = Channel::new(0);
        let mut sender = Sender::with_full_ring(&channel);
        let ender = {
            let channel = channel.clone();
            thread::spawn(move || channel.shutdown(0, false, true))
        };
        assert_eq!(sender.send(9, 1, Limit::Forever), Err(Errno::EPIPE));
        ender.join().unwrap();
    });
}

/// The peer sends and shuts down sending: the message comes before the end.
#[test]
fn the_last_message_comes_before_the_end() {
    check(3, || {
        let channel = Channel::new(0);
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            sender.send(7, 1, Limit::Forever).unwrap();
            sender.channel.shutdown(0, false, true);
        });
        let mut receiver = Receiver::new(&channel, 1, 0);
        assert_eq!(receiver.receive(Limit::Forever), Ok(Some(7)));
        assert_eq!(receiver.receive(Limit::Forever), Ok(None));
        producer.join().unwrap();
    });
}

/// The peer sends and dies. The message comes before the end, even if another thread of the
/// receiver's process notices the death.
#[test]
fn death_noticed_by_another_thread() {
    check(3, || {
        let channel = Channel::new(0);
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            sender.send(7, 1, Limit::Forever).unwrap();
            sender.channel.ends[1].bell.hang_up();
        });
        let observer = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.ends[1].bell.check_peer();
            })
        };
        let mut receiver = Receiver::new(&channel, 1, 0);
        assert_eq!(receiver.receive(Limit::Forever), Ok(Some(7)));
        assert_eq!(receiver.receive(Limit::Forever), Ok(None));
        producer.join().unwrap();
        observer.join().unwrap();
    });
}

/// The peer dies while both threads of an end wait: both waits end.
#[test]
fn death_ends_both_waits() {
    check(2, || {
        let channel = Channel::new(0);
        let mut sender = Sender::with_full_ring(&channel);
        let peer = {
            let channel = channel.clone();
            thread::spawn(move || channel.ends[0].bell.hang_up())
        };
        let waits_for_space = thread::spawn(move || {
            assert_eq!(sender.send(9, 1, Limit::Forever), Err(Errno::EPIPE));
        });
        let mut receiver = Receiver::new(&channel, 0, 0);
        assert_eq!(receiver.receive(Limit::Forever), Ok(None));
        waits_for_space.join().unwrap();
        peer.join().unwrap();
    });
}
