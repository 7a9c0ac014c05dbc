//! Messages through the broadcast ring. No side sleeps.

use super::{FULL, Feed, Received, Receiver, SMALL, Sender};
use crate::check;
use loom::thread;

/// A publisher publishes `more` messages in a new thread, `demote` says for whom it ceases to wait
/// before. Each of the receivers makes this number of attempts at the same time.
fn run(mut sender: Sender, more: usize, receivers: Vec<(Receiver, usize)>, receive: Receive) {
    let publisher = thread::spawn(move || {
        sender.publish_some(more);
        sender
    });
    let mut receivers = receivers.into_iter();
    let (mut first, attempts) = receivers.next().unwrap();
    let others: Vec<_> = receivers
        .map(|(mut receiver, attempts)| {
            thread::spawn(move || {
                (0..attempts).for_each(|_| drop(receive(&mut receiver)));
                receiver
            })
        })
        .collect();
    (0..attempts).for_each(|_| drop(receive(&mut first)));
    let published = publisher.join().unwrap().ring.count();
    first.drain(published);
    for other in others {
        other.join().unwrap().drain(published);
    }
}

type Receive = fn(&mut Receiver) -> Received;

/// A reliable subscriber receives each message once, in order, and with its bytes. The ring becomes
/// full and wraps around.
#[test]
fn reliable() {
    for receive in [Receiver::receive as Receive, Receiver::receive_any] {
        check(3, move || {
            let mut sender = Sender::new(&Feed::new(1));
            let receiver = sender.admit(true);
            sender.publish_some(2);
            run(sender, 3, vec![(receiver, 3)], receive);
        });
    }
}

/// The publisher waits for the slower one of two.
#[test]
fn two_reliable() {
    check(2, || {
        let mut sender = Sender::new(&Feed::new(2));
        let receivers = vec![(sender.admit(true), 2), (sender.admit(true), 1)];
        sender.publish_some(2);
        run(sender, 2, receivers, Receiver::receive);
    });
}

/// A lossy subscriber, whose ring is full, is overtaken or not.
#[test]
fn lossy() {
    for receive in [Receiver::receive as Receive, Receiver::receive_any] {
        check(3, move || {
            let mut sender = Sender::new(&Feed::new(1));
            let receiver = sender.admit(false);
            sender.publish_some(FULL as usize);
            run(sender, 2, vec![(receiver, 2)], receive);
        });
    }
}

/// A message fills the ring. So an overtaken subscriber goes on at a message that the publisher has
/// published during that time.
#[test]
fn lossy_in_a_small_ring() {
    check(3, || {
        let mut sender = Sender::new(&Feed::with_slots(SMALL, 1));
        let receiver = sender.admit(false);
        sender.publish_some(1);
        run(sender, 2, vec![(receiver, 1)], Receiver::receive_any);
    });
}

/// As above, at a mark.
#[test]
fn lossy_at_a_mark_in_a_small_ring() {
    check(3, || {
        let mut sender = Sender::new(&Feed::with_slots(SMALL, 1));
        let mut receiver = sender.admit(false);
        sender.publish_some(2);
        assert_eq!(receiver.receive(), Received::Lost);
        run(sender, 2, vec![(receiver, 1)], Receiver::receive_any);
    });
}

/// A lossy subscriber that was overtaken is overtaken again at once. It goes on at a mark.
#[test]
fn lossy_at_a_mark() {
    check(3, || {
        let mut sender = Sender::new(&Feed::new(1));
        let mut receiver = sender.admit(false);
        sender.publish_some(FULL as usize + 1);
        assert_eq!(receiver.receive(), Received::Lost);
        run(sender, 2, vec![(receiver, 2)], Receiver::receive);
    });
}

/// A lossy subscriber does not hold the publisher up, and a reliable one does.
#[test]
fn lossy_and_reliable() {
    check(2, || {
        let mut sender = Sender::new(&Feed::new(2));
        let lossy = sender.admit(false);
        let mut reliable = sender.admit(true);
        sender.publish_some(FULL as usize);
        assert_eq!(reliable.receive(), Received::Message);
        run(
            sender,
            2,
            vec![(lossy, 1), (reliable, 1)],
            Receiver::receive,
        );
    });
}

/// The publisher ceases to wait for a reliable subscriber, and overwrites the message that this one
/// reads.
#[test]
fn demoted() {
    for receive in [Receiver::receive as Receive, Receiver::receive_any] {
        check(3, move || {
            let mut sender = Sender::new(&Feed::new(1));
            let mut receiver = sender.admit(true);
            sender.publish_some(FULL as usize);
            // From now on the publisher may write a message while the subscriber reads it.
            receiver.is_reliable = false;
            let publisher = thread::spawn(move || {
                for _ in 0..2 {
                    if !sender.try_reserve() {
                        sender.demote(0);
                    }
                    sender.publish_some(1);
                }
                sender.ring.count()
            });
            (0..2).for_each(|_| drop(receive(&mut receiver)));
            let published = publisher.join().unwrap();
            receiver.drain(published);
            assert_eq!(published, FULL + 2);
        });
    }
}

/// A subscriber goes to a sequence number while the publisher overwrites messages before it.
#[test]
fn seek() {
    check(3, || {
        let mut sender = Sender::new(&Feed::new(1));
        let mut receiver = sender.admit(false);
        sender.publish_some(FULL as usize);
        let publisher = thread::spawn(move || {
            sender.publish_some(2);
            sender.ring.count()
        });
        let feed = receiver.feed.clone();
        let (words, head) = (
            &feed.memory.control().words,
            &feed.subscribers[0].progress.head,
        );
        let is_left = receiver.reader.seek(2, &feed.memory, words, head).unwrap();
        assert_eq!(is_left, receiver.reader.sequence() == 2);
        receiver.lost = receiver.reader.sequence();
        let published = publisher.join().unwrap();
        receiver.drain(published);
    });
}
