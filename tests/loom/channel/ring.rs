//! Messages through the ring, and the event counts, in one direction.

use super::processor::{compiler_fence, run_on};
use super::{Channel, Limit, Receiver, Sender};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::check;
use crate::transport::event_count::{ENDED, Notifier, PeerState, cancel_wait, prepare_wait};
use crate::transport::ring::{ALIGN, record_size};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// Messages of one word and of two go round the ring, which is full again and again. Both sides
/// sleep.
fn round_the_ring(cursor: u64, preemptions: usize) {
    const WORDS: [u64; 4] = [2, 1, 2, 1];
    assert_eq!(record_size(4), ALIGN);
    assert_eq!(record_size(12), 2 * ALIGN);
    check(preemptions, move || {
        let channel = Channel::new(cursor);
        let mut sender = Sender::new(&channel, 0, cursor);
        let producer = thread::spawn(move || {
            for (number, words) in WORDS.iter().enumerate() {
                sender.send(number as u64, *words, Limit::Forever).unwrap();
            }
        });
        let mut receiver = Receiver::new(&channel, 1, cursor);
        for number in 0..WORDS.len() as u64 {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(number)));
        }
        producer.join().unwrap();
        channel.ends.iter().for_each(|end| end.bell.check_counts(0));
    });
}

#[test]
fn cursors_wrap() {
    round_the_ring(0_u64.wrapping_sub(2 * ALIGN), 2);
}

#[test]
fn cursors_leave_32_bits() {
    round_the_ring((1 << 32) - ALIGN, 2);
}

/// One end sends twice, and the other sleeps before each message. The receiver's event count is at
/// `word`, and `sleeps_before` sleeps have begun.
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
        let mut receiver = Receiver::new(&channel, 1, 0);
        for number in 0..2 {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(number)));
        }
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(sleeps_before);
    });
}

#[test]
fn no_wake_up_is_lost() {
    two_messages(0, 0, false);
}

#[test]
fn no_wake_up_is_lost_beside_an_event_loop() {
    two_messages(0, 0, true);
}

/// As at the beginning of each channel.
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

/// A sleep that was cancelled: the next one has another number.
#[test]
fn cancelled() {
    check(3, || {
        let channel = Channel::new(0);
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            for number in 0..2 {
                sender.send(number, 1, Limit::Forever).unwrap();
            }
        });
        let words = channel.view(1, 0).message_words();
        for _ in 0..2 {
            channel.ends[1].bell.count_sleep();
            prepare_wait(words.event_count, words.peer_asymmetric, || true);
            channel.turn.anybody();
            cancel_wait(words.event_count);
        }
        let mut receiver = Receiver::new(&channel, 1, 0);
        for number in 0..2 {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(number)));
        }
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(0);
    });
}

/// Another thread ends receiving while the receiver announces and cancels a sleep.
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
        channel.turn.anybody();
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
        let mut sender = Sender::new(&channel, 0, 0);
        let producer = thread::spawn(move || {
            for number in 0..2 {
                sender.send(number, 1, Limit::Forever).unwrap();
            }
        });
        let mut receiver = Receiver::new(&channel, 1, 0);
        for number in 0..2 {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(number)));
        }
        producer.join().unwrap();
        forked.join().unwrap();
    });
}

/// The number of publications without a sleeper after which a notifier switches to asymmetric, less
/// one.
const STREAK: u32 = 64;

/// A notifier that may skip fences publishes `before` times while the peer is awake, and then
/// `count` times while the peer waits for each message.
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
        let mut receiver = Receiver::new(&channel, 1, 0);
        for number in 0..count {
            assert_eq!(receiver.receive(Limit::Forever), Ok(Some(number)));
        }
        producer.join().unwrap();
        channel.ends[1].bell.check_counts(0);
    });
}

#[test]
fn switches_to_asymmetric() {
    asymmetric(STREAK, 2, 3);
}

#[test]
fn is_asymmetric_and_switches_back() {
    asymmetric(STREAK + 1, 3, 2);
}

/// That loom finds a missing barrier.
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
