//! Messages through the ring, and the event counts, in one direction.

use super::processor::{compiler_fence, run_on};
use super::{Channel, GEOMETRY, Limit, Receiver, Sender};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::check;
use crate::transport::event_count::{ENDED, Notifier, PeerState, cancel_wait, prepare_wait};
use crate::transport::ring::ALIGN_MIN as ALIGN;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// Messages of one word and of two words wrap around the ring, which becomes full repeatedly. Both
/// sides sleep.
fn wrap_around(cursor: u64, preemptions: usize) {
    const WORDS: [u64; 4] = [2, 1, 2, 1];
    assert_eq!(GEOMETRY.record_size(4), ALIGN);
    assert_eq!(GEOMETRY.record_size(12), 2 * ALIGN);
    check(preemptions, move || {
        let channel = Channel::new(cursor);
        let mut sender = Sender::new(&channel, 0, cursor);
        let producer = thread::spawn(move || {
            for (number, words) in WORDS.iter().enumerate() {
                sender.send(number as u64, *words, Limit::Forever).unwrap();
            }
        });
        Receiver::new(&channel, 1, cursor).receive_all(0..WORDS.len() as u64);
        producer.join().unwrap();
        channel.ends.iter().for_each(|end| end.bell.check_counts(0));
    });
}

#[test]
fn cursors_wrap() {
    wrap_around(0_u64.wrapping_sub(2 * ALIGN), 2);
}

#[test]
fn cursors_leave_32_bits() {
    wrap_around((1 << 32) - ALIGN, 2);
}

/// Batches of up to three messages wrap around a ring that holds three. Both sides sleep. A receiver
/// finds a batch completely or not at all.
#[test]
fn batches() {
    check(2, || {
        let channel = Channel::new(0);
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            let mut next = 0;
            while next < 5 {
                let end = (next + 2).min(5);
                next += sender.send_many(next..end, Limit::Forever).unwrap();
            }
        });
        let mut receiver = Receiver::new(&channel, 1, 0);
        let mut received = Vec::new();
        while received.len() < 5 {
            let batch = receiver.receive_many(Limit::Forever).unwrap();
            // The first batch has two messages.
            assert!(!received.is_empty() || batch.len() >= 2);
            received.extend(batch);
        }
        assert_eq!(received, [0, 1, 2, 3, 4]);
        producer.join().unwrap();
        channel.ends.iter().for_each(|end| end.bell.check_counts(0));
    });
}

/// One end sends two messages, and the other end may sleep before each. The receiver's event count
/// begins with `word`, and `sleeps_before` sleeps have begun before the model.
fn two_messages(word: u32, sleeps_before: u32, is_polled: bool) {
    check(3, move || {
        let channel = Channel::new(0);
        let end = &channel.ends[1];
        end.control.receiver.word.store(word, Ordering::Relaxed);
        if is_polled {
            end.bell.begin_polling();
        }
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            for number in 0..2 {
                let state = sender.send(number, 1, Limit::Forever).unwrap();
                assert_ne!(state, PeerState::Ended);
            }
        });
        Receiver::new(&channel, 1, 0).receive_all(0..2);
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(sleeps_before);
    });
}

#[test]
fn no_wake_up_is_lost() {
    two_messages(0, 0, false);
}

#[test]
fn no_wake_up_is_lost_with_an_event_loop() {
    two_messages(0, 0, true);
}

/// The initial state of a channel: the receiver counts as asleep.
#[test]
fn asleep_from_the_beginning() {
    two_messages(1, 1, false);
}

/// The event count wraps, and never equals [`ENDED`].
#[test]
fn event_count_wraps() {
    for word in [ENDED - 6, ENDED - 4, ENDED - 2] {
        two_messages(word, 0, false);
    }
}

/// Sleeps are announced and cancelled: the next sleep has another number.
#[test]
fn cancelled_sleeps() {
    check(3, || {
        let channel = Channel::new(0);
        let producer = Sender::new(&channel, 0, 0).spawn(0..2);
        let words = channel.view(1, 0).message_words();
        for _ in 0..2 {
            channel.ends[1].bell.count_sleep();
            prepare_wait(words.event_count, words.peer_asymmetric, || true);
            channel.switch_point.visit();
            cancel_wait(words.event_count);
        }
        Receiver::new(&channel, 1, 0).receive_all(0..2);
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(0);
    });
}

/// Another thread shuts down receiving while the receiver announces and cancels a sleep.
#[test]
fn ended_by_another_thread() {
    check(3, || {
        let channel = Channel::new(0);
        let ender = {
            let channel = channel.clone();
            thread::spawn(move || channel.shutdown(1, true, false))
        };
        let words = channel.view(1, 0).message_words();
        prepare_wait(words.event_count, words.peer_asymmetric, || true);
        channel.switch_point.visit();
        cancel_wait(words.event_count);
        ender.join().unwrap();
        prepare_wait(words.event_count, words.peer_asymmetric, || true);
        let mut sender = Sender::new(&channel, 0, 0);
        assert_eq!(sender.send(0, 1, Limit::Forever), Ok(PeerState::Ended));
    });
}

/// A forked process closes the end that it shares, and so announces a sleep, while the owner
/// receives.
#[test]
fn closed_by_a_forked_process() {
    check(2, || {
        let channel = Channel::new(0);
        let forked = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.ends[1].bell.count_sleep();
                let words = channel.view(1, 0).message_words();
                prepare_wait(words.event_count, words.peer_asymmetric, || true);
            })
        };
        let producer = Sender::new(&channel, 0, 0).spawn(0..2);
        Receiver::new(&channel, 1, 0).receive_all(0..2);
        producer.join().unwrap();
        forked.join().unwrap();
    });
}

/// `AWAKE_LIMIT` of `event_count`.
const AWAKE_LIMIT: u32 = 64;

/// A notifier that may use the asymmetric fence notifies `before` times while the peer is awake. It
/// then sends `count` messages, for each of which the peer waits.
fn asymmetric(before: u32, count: u64, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::new(0);
        let mut sender = Sender::new(&channel, 0, 0);
        sender.notifier = Notifier::new(true);
        let (event_count, asymmetric) = (
            &channel.ends[1].control.receiver.word,
            &channel.ends[0].control.tail.asymmetric,
        );
        for _ in 0..before {
            let state = sender.notifier.notify(event_count, asymmetric, || true);
            assert_eq!(state, PeerState::Awake);
        }
        let processor = channel.processors[0].clone();
        let producer = thread::spawn(move || {
            run_on(&processor, || {
                for number in 0..count {
                    compiler_fence(Ordering::SeqCst);
                    sender.send(number, 1, Limit::Forever).unwrap();
                }
            });
        });
        Receiver::new(&channel, 1, 0).receive_all(0..count);
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(0);
    });
}

#[test]
fn switches_to_asymmetric() {
    asymmetric(AWAKE_LIMIT, 2, 3);
}

#[test]
fn is_asymmetric_and_switches_back() {
    asymmetric(AWAKE_LIMIT + 1, 3, 2);
}

/// loom finds a deliberate fault: the notifier executes no barrier.
#[test]
#[should_panic(expected = "deadlock")]
fn without_a_barrier_a_wake_up_is_lost() {
    check(3, || {
        let rung = (Mutex::new(false), Condvar::new());
        let shared = Arc::new((AtomicU32::new(0), AtomicU64::new(0), rung));
        let notifier = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(1, Ordering::Release);
                if shared.0.load(Ordering::Relaxed) == 1 {
                    *shared.2.0.lock().unwrap() = true;
                    shared.2.1.notify_all();
                }
            })
        };
        shared.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if shared.1.load(Ordering::Acquire) == 0 {
            let mut rung = shared.2.0.lock().unwrap();
            while !*rung {
                rung = shared.2.1.wait(rung).unwrap();
            }
        }
        notifier.join().unwrap();
    });
}
