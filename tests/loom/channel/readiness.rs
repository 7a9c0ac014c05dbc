//! The descriptor for event loops: it becomes readable for every event of its sources.

use super::{Channel, Limit, MESSAGES, Receiver, Sender};
use crate::check;
use crate::errno::Errno;
use loom::sync::Arc;
use loom::thread;

/// An end that an event loop polls, and whose ring is full.
fn full_and_polled(thread: u64) -> (Arc<Channel>, Sender) {
    let channel = Channel::new(0);
    channel.begin_polling(0, thread);
    let mut sender = Sender::with_full_ring(&channel);
    sender.thread = thread;
    (channel, sender)
}

/// A thread of the peer reads all messages of the first end.
fn reader(channel: &Arc<Channel>) -> thread::JoinHandle<()> {
    let mut receiver = Receiver::new(channel, 1, 0);
    thread::spawn(move || {
        for number in MESSAGES {
            assert_eq!(receiver.receive(Limit::Never), Ok(Some(number)));
        }
    })
}

/// An event loop receives until it finds nothing, and polls.
#[test]
fn message() {
    check(2, || {
        let channel = Channel::new(0);
        channel.begin_polling(1, 1);
        let producer = Sender::new(&channel, 0, 0).spawn(0..2);
        let mut receiver = Receiver::new(&channel, 1, 0);
        for number in 0..2 {
            loop {
                match receiver.receive(Limit::Never) {
                    Err(error) if error == Errno::EAGAIN => channel.ends[1].bell.poll(),
                    got => break assert_eq!(got, Ok(Some(number))),
                }
            }
        }
        producer.join().unwrap();
    });
}

/// A send is refused, and then a receive finds nothing: space is signalled.
#[test]
fn space_after_a_refused_send() {
    check(2, || {
        let (channel, mut sender) = full_and_polled(1);
        let peer = reader(&channel);
        let mut receiver = Receiver::new(&channel, 0, 0);
        receiver.thread = 1;
        while sender.send(9, 1, Limit::Never) == Err(Errno::EAGAIN) {
            assert_eq!(receiver.receive(Limit::Never), Err(Errno::EAGAIN));
            channel.ends[0].bell.poll();
        }
        peer.join().unwrap();
    });
}

/// A send is refused, and then a send waits, with success or until its time-out expires: space is
/// signalled after the peer has read everything.
#[test]
fn space_after_a_send_that_waits() {
    check(2, || {
        let (channel, mut sender) = full_and_polled(1);
        let refused = sender.send(9, 1, Limit::Never) == Err(Errno::EAGAIN);
        assert!(refused);
        let peer = reader(&channel);
        let _ = sender.send(9, 1, Limit::Expired);
        peer.join().unwrap();
        assert!(channel.ends[0].bell.is_readable());
    });
}

/// A thread whose send was refused polls, while another thread of the process receives and finds
/// nothing. Space is signalled to the first thread.
#[test]
fn space_while_another_thread_receives() {
    check(2, || {
        let (channel, mut sender) = full_and_polled(1);
        let peer = reader(&channel);
        let mut receiver = Receiver::new(&channel, 0, 0);
        let receiving = thread::spawn(move || {
            assert_eq!(receiver.receive(Limit::Never), Err(Errno::EAGAIN));
        });
        while sender.send(9, 1, Limit::Never) == Err(Errno::EAGAIN) {
            channel.ends[0].bell.poll();
        }
        receiving.join().unwrap();
        peer.join().unwrap();
    });
}

/// The peer shuts down receiving at any point of a refused send and a receive that finds nothing.
#[test]
fn end_of_receiving_is_signalled() {
    check(2, || {
        let (channel, mut sender) = full_and_polled(1);
        let peer = {
            let channel = channel.clone();
            thread::spawn(move || channel.shutdown(1, true, false))
        };
        let mut receiver = Receiver::new(&channel, 0, 0);
        receiver.thread = 1;
        while sender.send(9, 1, Limit::Never) == Err(Errno::EAGAIN) {
            assert_eq!(receiver.receive(Limit::Never), Err(Errno::EAGAIN));
            channel.ends[0].bell.poll();
        }
        assert_eq!(sender.send(9, 1, Limit::Never), Err(Errno::EPIPE));
        peer.join().unwrap();
    });
}

/// An event loop begins to poll while another thread waits in a receive, which gets one message.
/// The next message is signalled.
#[test]
fn polling_begins_during_a_wait() {
    check(2, || {
        let channel = Channel::new(0);
        let producer = Sender::new(&channel, 0, 0).spawn(0..2);
        let mut receiver = Receiver::new(&channel, 1, 0);
        let receiving = thread::spawn(move || {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(0)));
        });
        channel.begin_polling(1, 3);
        receiving.join().unwrap();
        channel.ends[1].bell.poll();
        producer.join().unwrap();
    });
}

/// An event loop begins to poll while the time-out of a waiting receive expires.
#[test]
fn polling_begins_at_a_time_out() {
    check(2, || {
        let channel = Channel::new(0);
        let mut receiver = Receiver::new(&channel, 1, 0);
        let receiving = thread::spawn(move || {
            let _ = receiver.receive(Limit::Expired);
            receiver
        });
        channel.begin_polling(1, 3);
        let mut receiver = receiving.join().unwrap();
        let mut sender = Sender::new(&channel, 0, 0);
        sender.send(7, 1, Limit::Never).unwrap();
        assert!(channel.ends[1].bell.is_readable());
        assert_eq!(receiver.receive(Limit::Never), Ok(Some(7)));
    });
}

/// After a receive has reported the end, the descriptor is readable for space only.
#[test]
fn received_end_is_not_signalled() {
    check(2, || {
        let (channel, mut sender) = full_and_polled(1);
        channel.shutdown(1, false, true);
        let mut receiver = Receiver::new(&channel, 0, 0);
        receiver.thread = 1;
        assert_eq!(receiver.receive(Limit::Never), Ok(None));
        assert_eq!(sender.send(9, 1, Limit::Never), Err(Errno::EAGAIN));
        assert_eq!(receiver.receive(Limit::Never), Ok(None));
        assert!(!channel.ends[0].bell.is_readable());
        let peer = reader(&channel);
        while sender.send(9, 1, Limit::Never) == Err(Errno::EAGAIN) {
            channel.ends[0].bell.poll();
        }
        peer.join().unwrap();
    });
}
