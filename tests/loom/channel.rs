//! The channel: the lengths and cursors of its ring, and who sleeps and is woken.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::ring::{ALIGN, Consumer, Producer, record_size};
use crate::sleep::{self, ENDED, Other, Publisher};
use crate::{Turn, check};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::cell::RefCell;

/// The smallest ring that takes a message of two words.
const SLOTS: usize = 4;
const SIZE: u64 = SLOTS as u64 * ALIGN;

/// A direction: what the producer writes, what the consumer writes, and two sleeps.
struct Channel {
    tail: AtomicU64,
    tail_unfenced: AtomicU32,
    head: AtomicU64,
    head_unfenced: AtomicU32,
    /// The consumer's sleep, while there is no message.
    no_message: AtomicU32,
    /// The producer's, while there is no room.
    no_room: AtomicU32,
    /// The words of the messages, and where a length is if a record begins there. Within a
    /// record a message lies over it.
    ring: [UnsafeCell<u64>; SLOTS],
    lengths: [AtomicU32; SLOTS],
    bell_of_consumer: Bell,
    bell_of_producer: Bell,
    /// The producer's.
    processor: Processor,
    turn: Turn,
}

impl Channel {
    /// In which both cursors are here, and both words.
    fn new(cursor: u64, word: u32) -> Arc<Self> {
        Self::polled(cursor, word, false)
    }

    /// The same, whose consumer may poll.
    fn polled(cursor: u64, word: u32, is_polled: bool) -> Arc<Self> {
        Arc::new(Self {
            tail: AtomicU64::new(cursor),
            tail_unfenced: AtomicU32::new(0),
            head: AtomicU64::new(cursor),
            head_unfenced: AtomicU32::new(0),
            no_message: AtomicU32::new(word),
            no_room: AtomicU32::new(word),
            ring: [(); SLOTS].map(|()| UnsafeCell::new(0)),
            lengths: [(); SLOTS].map(|()| AtomicU32::new(0)),
            bell_of_consumer: Bell::new(is_polled),
            bell_of_producer: Bell::new(false),
            processor: Processor::new(),
            turn: Turn::new(),
        })
    }

    fn at(&self, position: u64, word: u64) -> &UnsafeCell<u64> {
        &self.ring[(position / ALIGN + word) as usize % SLOTS]
    }

    fn length(&self, position: u64, word: u64) -> &AtomicU32 {
        &self.lengths[(position / ALIGN + word) as usize % SLOTS]
    }
}

/// What wakes: rung before it is waited for, it has been rung all the same.
struct Bell {
    rung: Mutex<bool>,
    sleepers: Condvar,
    is_polled: bool,
    /// How often anybody rang, and said that it sleeps.
    counts: [AtomicU32; 2],
}

impl Bell {
    fn new(is_polled: bool) -> Self {
        Self {
            rung: Mutex::new(false),
            sleepers: Condvar::new(),
            is_polled,
            counts: [(); 2].map(|()| AtomicU32::new(0)),
        }
    }

    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.sleepers.notify_all();
        self.counts[0].fetch_add(1, Ordering::Relaxed);
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.sleepers.wait(rung).unwrap();
        }
        *rung = false;
    }

    /// None rings twice for one sleep. `before` sleeps began before the model.
    fn check(&self, before: u32) {
        let [rings, sleeps] = [0, 1].map(|at: usize| self.counts[at].load(Ordering::Relaxed));
        assert!(
            rings <= sleeps + before,
            "{rings} rings for {sleeps} sleeps"
        );
    }
}

/// Waits until `look` finds something, as a channel does; one that is polled forgets first what
/// has rung before.
fn wait(
    word: &AtomicU32,
    unfenced: &AtomicU32,
    barrier: impl Fn(),
    bell: &Bell,
    turn: &Turn,
    mut look: impl FnMut() -> bool,
) {
    while !look() {
        if bell.is_polled {
            *bell.rung.lock().unwrap() = false;
        }
        turn.anybody();
        bell.counts[1].fetch_add(1, Ordering::Relaxed);
        let safe = sleep::announce(word, unfenced, || {
            barrier();
            true
        });
        assert!(safe);
        turn.anybody();
        if look() {
            sleep::withdraw(word);
            return;
        }
        bell.sleep();
    }
}

/// The longest message whose record takes so many words.
fn length_of(words: u64) -> u32 {
    (words * ALIGN - 4) as u32
}

/// The producing side.
struct Sender {
    channel: Arc<Channel>,
    ring: Producer,
    publisher: Publisher,
}

impl Sender {
    fn new(channel: &Arc<Channel>, cursor: u64) -> Self {
        Self {
            channel: channel.clone(),
            ring: Producer::new(SIZE, cursor),
            publisher: Publisher::new(false),
        }
    }

    /// Waits for room by looking, or by sleeping.
    fn wait_for_room(&mut self, need: u64, sleeps: bool) {
        let channel = &*self.channel;
        let ring = &mut self.ring;
        if ring.has_room(need) {
            return;
        }
        if sleeps {
            wait(
                &channel.no_room,
                &channel.head_unfenced,
                || unreachable!("the consumer is fenced"),
                &channel.bell_of_producer,
                &channel.turn,
                || ring.look(need, &channel.head).unwrap(),
            );
        } else {
            while !ring.look(need, &channel.head).unwrap() {
                compiler_fence(Ordering::SeqCst);
                thread::yield_now();
            }
        }
    }

    /// Sends a message of so many words, each of which is `number`.
    fn send(&mut self, number: u64, words: u64, sleeps: bool) -> Other {
        self.wait_for_room(words * ALIGN, sleeps);
        let channel = &*self.channel;
        for word in 0..words {
            // SAFETY: loom panics if anybody else uses it now.
            channel
                .at(self.ring.position(), word)
                .with_mut(|at| unsafe { *at = number });
            if word > 0 {
                let anything = channel.length(self.ring.position(), word);
                anything.store(u32::MAX, Ordering::Relaxed);
            }
        }
        channel.turn.anybody();
        self.ring.publish(
            length_of(words),
            channel.length(self.ring.position(), 0),
            channel.length(self.ring.position_behind(words * ALIGN), 0),
            &channel.tail,
        );
        channel.turn.anybody();
        let (asleep, unfenced) = (&channel.no_message, &channel.tail_unfenced);
        let other = self.publisher.published(asleep, unfenced, || true);
        if other == Other::Asleep {
            channel.bell_of_consumer.ring();
        }
        other
    }
}

/// The consuming side.
struct Receiver {
    channel: Arc<Channel>,
    ring: Consumer,
    publisher: Publisher,
}

impl Receiver {
    fn new(channel: &Arc<Channel>, cursor: u64) -> Self {
        Self {
            channel: channel.clone(),
            ring: Consumer::new(SIZE, cursor),
            publisher: Publisher::new(false),
        }
    }

    fn wait_for_message(&mut self, sleeps: bool) {
        let channel = &*self.channel;
        let ring = &mut self.ring;
        let length = channel.length(ring.position(), 0);
        if sleeps {
            wait(
                &channel.no_message,
                &channel.tail_unfenced,
                || channel.processor.barrier(),
                &channel.bell_of_consumer,
                &channel.turn,
                || ring.look(length).unwrap(),
            );
        } else {
            while !ring.look(length).unwrap() {
                thread::yield_now();
            }
        }
    }

    /// Receives the message of so many words `number`.
    fn receive(&mut self, number: u64, words: u64, sleeps: bool) {
        self.wait_for_message(sleeps);
        let channel = &*self.channel;
        assert_eq!(self.ring.seen(), length_of(words));
        for word in 0..words {
            // SAFETY: loom panics if anybody writes it now.
            let found = channel
                .at(self.ring.position(), word)
                .with(|at| unsafe { *at });
            assert_eq!(found, number);
        }
        channel.turn.anybody();
        self.ring.release(length_of(words), &channel.head);
        channel.turn.anybody();
        let (asleep, unfenced) = (&channel.no_room, &channel.head_unfenced);
        let ring = &self.ring;
        let worth_waking = || ring.is_half_free(&channel.tail);
        if self.publisher.published(asleep, unfenced, worth_waking) == Other::Asleep {
            channel.bell_of_producer.ring();
        }
    }
}

/// Messages of one word and of two go round the ring, which is full again and again.
fn round_the_ring(cursor: u64, sleeps: bool, preemptions: usize) {
    const WORDS: [u64; 4] = [2, 1, 2, 1];
    assert_eq!(record_size(4), ALIGN);
    assert_eq!(record_size(12), 2 * ALIGN);
    check(preemptions, move || {
        let channel = Channel::new(cursor, 0);
        let producer = {
            let mut sender = Sender::new(&channel, cursor);
            thread::spawn(move || {
                for (number, words) in WORDS.iter().enumerate() {
                    sender.send(number as u64, *words, sleeps);
                }
            })
        };
        let mut receiver = Receiver::new(&channel, cursor);
        for (number, words) in WORDS.iter().enumerate() {
            receiver.receive(number as u64, *words, sleeps);
        }
        producer.join().unwrap();
        channel.bell_of_consumer.check(0);
        channel.bell_of_producer.check(0);
    });
}

#[test]
fn ring_where_cursors_wrap() {
    round_the_ring(0_u64.wrapping_sub(2 * ALIGN), false, 3);
}

#[test]
fn ring_where_cursors_leave_32_bits() {
    round_the_ring((1 << 32) - ALIGN, false, 3);
}

#[test]
fn ring_where_both_sides_sleep() {
    round_the_ring(0_u64.wrapping_sub(ALIGN), true, 2);
}

/// One sends twice, and one sleeps before each message.
fn two_messages(word: u32, sleeps_before: u32, is_polled: bool) {
    check(4, move || {
        let channel = Channel::polled(0, word, is_polled);
        let producer = {
            let mut sender = Sender::new(&channel, 0);
            thread::spawn(move || {
                for number in 0..2 {
                    assert_ne!(sender.send(number, 1, false), Other::Ended);
                }
            })
        };
        let mut receiver = Receiver::new(&channel, 0);
        for number in 0..2 {
            receiver.receive(number, 1, true);
        }
        producer.join().unwrap();
        channel.bell_of_consumer.check(sleeps_before);
    });
}

#[test]
fn no_wake_up_is_lost() {
    two_messages(0, 0, false);
}

#[test]
fn no_wake_up_of_who_polls_is_lost() {
    two_messages(0, 0, true);
}

/// As at the beginning of each channel.
#[test]
fn asleep_from_the_beginning() {
    two_messages(1, 1, false);
}

/// The word that counts the sleeps begins anew, and never says that all is over.
#[test]
fn sleeps_where_their_word_wraps() {
    for word in [ENDED - 6, ENDED - 4, ENDED - 2] {
        two_messages(word, 0, false);
    }
}

/// A sleep that was over by itself: the next one is another one.
#[test]
fn withdrawn() {
    check(4, || {
        let channel = Channel::new(0, 0);
        let producer = {
            let mut sender = Sender::new(&channel, 0);
            thread::spawn(move || {
                for number in 0..2 {
                    sender.send(number, 1, false);
                }
            })
        };
        for _ in 0..2 {
            // Its time is over at once.
            channel.bell_of_consumer.counts[1].fetch_add(1, Ordering::Relaxed);
            sleep::announce(&channel.no_message, &channel.tail_unfenced, || true);
            channel.turn.anybody();
            sleep::withdraw(&channel.no_message);
        }
        let mut receiver = Receiver::new(&channel, 0);
        for number in 0..2 {
            receiver.receive(number, 1, true);
        }
        producer.join().unwrap();
        channel.bell_of_consumer.check(0);
    });
}

/// Another thread of the receiver's says that nothing will be received any more, while the
/// receiver comes to sleeping and leaves it: it stays said.
#[test]
fn ended() {
    check(4, || {
        let channel = Channel::new(0, 0);
        let ender = {
            let channel = channel.clone();
            // A swap, for loom has a store come between the halves of a read-modify-write.
            thread::spawn(move || channel.no_message.swap(ENDED, Ordering::Relaxed))
        };
        sleep::announce(&channel.no_message, &channel.tail_unfenced, || true);
        channel.turn.anybody();
        sleep::withdraw(&channel.no_message);
        ender.join().unwrap();
        sleep::announce(&channel.no_message, &channel.tail_unfenced, || true);
        assert_eq!(Sender::new(&channel, 0).send(0, 1, false), Other::Ended);
    });
}

/// A relative closes the end that it has from fork, and says that it sleeps, while the owner
/// receives.
#[test]
fn closed_by_a_relative() {
    check(2, || {
        let channel = Channel::new(0, 0);
        let relative = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.bell_of_consumer.counts[1].fetch_add(1, Ordering::Relaxed);
                sleep::announce(&channel.no_message, &channel.tail_unfenced, || true);
            })
        };
        let producer = {
            let mut sender = Sender::new(&channel, 0);
            thread::spawn(move || {
                for number in 0..2 {
                    sender.send(number, 1, false);
                }
            })
        };
        let mut receiver = Receiver::new(&channel, 0);
        for number in 0..2 {
            receiver.receive(number, 1, true);
        }
        producer.join().unwrap();
        relative.join().unwrap();
    });
}

/// A processor on which another one can have a barrier executed (membarrier): at one of the
/// points where it looks whether it shall, between any two accesses of the publisher that the
/// protocol leaves in their order, or when it runs no more. A request and its answer order
/// no more than the barrier does.
struct Processor {
    state: Mutex<Barrier>,
    answered: Condvar,
}

struct Barrier {
    is_wanted: bool,
    is_idle: bool,
}

impl Processor {
    fn new() -> Self {
        Self {
            state: Mutex::new(Barrier {
                is_wanted: false,
                is_idle: false,
            }),
            answered: Condvar::new(),
        }
    }

    fn interruption(&self) {
        let mut state = self.state.lock().unwrap();
        if state.is_wanted {
            fence(Ordering::SeqCst);
            state.is_wanted = false;
            self.answered.notify_all();
        }
    }

    fn become_idle(&self) {
        let mut state = self.state.lock().unwrap();
        fence(Ordering::SeqCst);
        state.is_idle = true;
        self.answered.notify_all();
    }

    fn barrier(&self) {
        fence(Ordering::SeqCst);
        let mut state = self.state.lock().unwrap();
        state.is_wanted = true;
        while state.is_wanted && !state.is_idle {
            state = self.answered.wait(state).unwrap();
        }
        drop(state);
        fence(Ordering::SeqCst);
    }
}

loom::thread_local! {
    /// Where this thread runs, if barriers are executed there.
    static PROCESSOR: RefCell<Option<Arc<Channel>>> = RefCell::new(None);
}

/// Where the publisher has a compiler fence, nothing orders what the processor does; but
/// it may be interrupted there.
pub fn compiler_fence(_: Ordering) {
    PROCESSOR.with(|channel| {
        if let Some(channel) = &*channel.borrow() {
            channel.processor.interruption();
        }
    });
}

/// How many publications without a sleeper make a publisher go over, and one less.
const STREAK: u32 = 64;

/// A publisher that may go over to unfenced publishes `before` messages, to nobody; then
/// `count` while another one waits for each.
fn unfenced(before: u32, count: u64, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::new(0, 0);
        let mut sender = Sender::new(&channel, 0);
        sender.publisher = Publisher::new(true);
        for _ in 0..before {
            let (asleep, unfenced) = (&channel.no_message, &channel.tail_unfenced);
            let other = sender.publisher.published(asleep, unfenced, || true);
            assert_eq!(other, Other::Awake);
        }
        let producer = thread::spawn(move || {
            PROCESSOR.with(|channel| channel.replace(Some(sender.channel.clone())));
            for number in 0..count {
                compiler_fence(Ordering::SeqCst);
                sender.send(number, 1, false);
            }
            PROCESSOR.with(|channel| channel.replace(None));
            sender.channel.processor.become_idle();
        });
        let mut receiver = Receiver::new(&channel, 0);
        for number in 0..count {
            receiver.receive(number, 1, true);
        }
        producer.join().unwrap();
        channel.bell_of_consumer.check(0);
    });
}

#[test]
fn goes_over_to_unfenced() {
    unfenced(STREAK, 2, 3);
}

#[test]
fn is_unfenced_and_comes_back() {
    unfenced(STREAK + 1, 3, 3);
}

/// That loom sees what has to be seen: nobody executes a barrier.
#[test]
#[should_panic(expected = "deadlock")]
fn without_a_barrier_a_wake_up_is_lost() {
    check(3, || {
        let (word, tail) = (AtomicU32::new(0), AtomicU64::new(0));
        let shared = Arc::new((word, tail, Bell::new(false)));
        let publisher = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(1, Ordering::Release);
                if shared.0.load(Ordering::Relaxed) == 1 {
                    shared.2.ring();
                }
            })
        };
        shared.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if shared.1.load(Ordering::Acquire) == 0 {
            shared.2.sleep();
        }
        publisher.join().unwrap();
    });
}
