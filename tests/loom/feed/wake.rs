//! Sleeping and waking: subscribers that wait for a message, and a publisher that waits for space.

use super::shipped::next::{NextCondition, View};
use super::shipped::space::{Events, SpaceBell, SpaceCondition, Subscribers};
use super::{FULL, Feed, Received, Receiver, Sender};
use crate::atomic::{AtomicU32, Ordering};
use crate::channel::compiler_fence;
use crate::channel::doorbell::{Limit, ModelDoorbell};
use crate::channel::processor::{Processor, run_on};
use crate::check;
use crate::errno::Result;
use crate::transport::broadcast::Next;
use crate::transport::event_count::{Fences, PeerState, Watch};
use crate::transport::followers::{Sleeper, are_all_awake, notify_all};
use crate::transport::wait::{Condition as _, Doorbell, EventWords, Progress, Role, wait};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::cell::Cell;
use std::time::Duration;

/// A feed, and how its sides sleep.
struct Party {
    feed: Arc<Feed>,
    /// The doorbells of the subscribers.
    bells: Vec<ModelDoorbell>,
    /// The doorbell of the publisher.
    space: ModelDoorbell,
    /// 1: some subscriber uses the asymmetric fence.
    asymmetric: AtomicU32,
    /// The processor of the publisher, and those of the subscribers.
    processors: Vec<Arc<Processor>>,
}

impl Party {
    /// A feed with a subscriber for each element, which is true if the subscriber uses the asymmetric
    /// fence.
    fn new(asymmetric: &[bool]) -> Arc<Self> {
        let processors: Vec<_> = (0..=asymmetric.len()).map(|_| Processor::new()).collect();
        let (publisher, subscribers) = processors.split_first().unwrap();
        let registered = subscribers.iter().zip(asymmetric);
        let registered: Vec<_> = registered
            .filter_map(|(processor, asymmetric)| asymmetric.then(|| processor.clone()))
            .collect();
        Arc::new(Self {
            feed: Feed::new(asymmetric.len()),
            bells: subscribers
                .iter()
                .map(|_| ModelDoorbell::new(std::slice::from_ref(publisher)))
                .collect(),
            space: ModelDoorbell::new(&registered),
            asymmetric: AtomicU32::new((!registered.is_empty()).into()),
            processors,
        })
    }
}

/// A subscriber, as the publisher sees it.
struct Member {
    party: Arc<Party>,
    index: usize,
    watch: Watch,
}

impl Sleeper for Member {
    fn is_awake(&self) -> bool {
        let word = &self.party.feed.subscribers[self.index].receiver.word;
        self.watch.is_awake(word)
    }

    fn event_count(&mut self) -> (&AtomicU32, &mut Watch) {
        let word = &self.party.feed.subscribers[self.index].receiver.word;
        (word, &mut self.watch)
    }

    fn wake(&self) {
        self.party.bells[self.index].notify();
    }
}

/// A publisher that sleeps.
struct WakingSender {
    party: Arc<Party>,
    sender: Sender,
    fences: Fences,
    members: Vec<Member>,
}

/// The model of `Awaited`: the subscribers that a publisher waits for.
struct Awaited<'a> {
    sender: &'a mut Sender,
    bell: &'a ModelDoorbell,
    is_woken: bool,
}

impl Subscribers for Awaited<'_> {
    fn service(&mut self) {
        self.is_woken |= self.bell.take_wake_ups();
    }

    fn find_space(&mut self, need: u64) -> bool {
        self.sender.find_space(need)
    }

    fn check_stalls(&mut self, _need: u64) -> Option<Duration> {
        None
    }

    fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.is_woken)
    }
}

/// The model of `FeedEvents`: a sleep leaves the wake-ups, which the next check consumes.
impl Events for &ModelDoorbell {
    type Deadline = Limit;

    fn sleep(&self, _: &mut Limit, most: Option<Duration>) -> Result<()> {
        // The announcement reaches the subscribers, so no sleep is short.
        assert!(matches!(most, None | Some(Duration::ZERO)));
        if most.is_none() {
            self.count_sleep();
            self.wait_for_wake_up();
        }
        Ok(())
    }

    fn barrier(&self) -> bool {
        Doorbell::barrier(*self)
    }
}

impl WakingSender {
    fn new(party: &Arc<Party>, fences: Fences) -> Self {
        Self {
            party: party.clone(),
            sender: Sender::new(&party.feed),
            fences,
            members: Vec::new(),
        }
    }

    fn admit(&mut self, fences: Fences) -> WakingReceiver {
        let index = self.members.len();
        self.members.push(Member {
            party: self.party.clone(),
            index,
            watch: Watch::new(),
        });
        WakingReceiver {
            party: self.party.clone(),
            receiver: self.sender.admit(true),
            fences,
            watch: Watch::new(),
        }
    }

    /// The model of `Feed::publish`.
    fn publish(&mut self) {
        if !self.sender.try_reserve() {
            self.wait_for_space(1);
        }
        self.publish_reserved();
    }

    /// The model of `Feed::wait_for_space`: for the space of this number of messages.
    fn wait_for_space(&mut self, messages: u64) {
        let words = EventWords {
            event_count: &self.party.feed.memory.control().space.word,
            peer_asymmetric: &self.party.asymmetric,
        };
        let (bell, check_again) = (&self.party.space, &Cell::new(None));
        let need = self.sender.size_of(messages);
        let sender = &mut self.sender;
        let mut condition = SpaceCondition {
            subscribers: Awaited {
                sender,
                bell,
                is_woken: false,
            },
            need,
            check_again,
        };
        let bell = SpaceBell {
            events: bell,
            check_again,
        };
        let limit = &mut Limit::Forever;
        wait(&bell, Role::Sender, words, &mut condition, limit).unwrap();
    }

    /// The model of `Feed::publish_reserved`.
    fn publish_reserved(&mut self) {
        self.sender.publish();
        self.party.feed.memory.switch();
        self.notify();
    }

    /// The model of `Feed::after_publish`.
    fn notify(&mut self) -> bool {
        let words = &self.party.feed.memory.control().words;
        let asymmetric = &words.published.asymmetric;
        !are_all_awake(&self.fences, &self.members)
            && notify_all(&mut self.fences, asymmetric, &mut self.members)
    }

    /// Publishes this number of messages in a new thread, on the publisher's processor.
    fn spawn(mut self, count: u64) -> JoinHandle<()> {
        let processor = self.party.processors[0].clone();
        thread::spawn(move || {
            run_on(&processor, || {
                for _ in 0..count {
                    compiler_fence(Ordering::SeqCst);
                    self.publish();
                }
            });
        })
    }

    /// The model of the drop of `Feed`.
    fn close(self) {
        let seldom = &self.party.feed.memory.control().words.seldom;
        seldom.ended.store(1, Ordering::Release);
        self.party.bells.iter().for_each(ModelDoorbell::notify);
    }
}

/// A subscriber that sleeps.
struct WakingReceiver {
    party: Arc<Party>,
    receiver: Receiver,
    fences: Fences,
    watch: Watch,
}

impl WakingReceiver {
    /// The model of `Subscriber::wait`.
    fn wait(&mut self) -> Progress {
        let index = self.receiver.index;
        let bell = &self.party.bells[index];
        let end = View {
            memory: &self.party.feed.memory,
            mine: &self.party.feed.subscribers[index],
            bell,
            end_received: false,
            has_gap: false,
        };
        let mut condition = NextCondition {
            end,
            reader: &mut self.receiver.reader,
            found: Next::Nothing,
        };
        match condition.check().unwrap() {
            Progress::Pending => {}
            progress => return progress,
        }
        let words = end.words();
        let limit = &mut Limit::Forever;
        wait(bell, Role::Receiver, words, &mut condition, limit).unwrap()
    }

    /// Waits for a message and receives it. Returns false at the end of the feed.
    fn receive(&mut self) -> bool {
        if self.receiver.receive() == Received::Nothing {
            if self.wait() == Progress::Ended {
                return false;
            }
            assert_eq!(self.receiver.receive_any(), Received::Message);
        }
        self.notify();
        true
    }

    /// The model of `Subscriber::notify`.
    fn notify(&mut self) {
        self.party.feed.memory.switch();
        self.fences.after_publication();
        let control = self.party.feed.memory.control();
        let reader = &self.receiver.reader;
        let worth_waking = || reader.is_half_free(&control.words);
        let (state, _) = self.watch.state(&control.space.word, worth_waking);
        if state == PeerState::Asleep {
            self.party.space.notify();
        }
    }

    /// Receives this number of messages on the subscriber's processor.
    fn receive_all(&mut self, count: u64) {
        let processor = self.party.processors[1 + self.receiver.index].clone();
        run_on(&processor, || {
            for _ in 0..count {
                compiler_fence(Ordering::SeqCst);
                assert!(self.receive());
            }
        });
    }

    fn spawn(mut self, count: u64) -> JoinHandle<()> {
        thread::spawn(move || self.receive_all(count))
    }
}

/// The publisher publishes `count` messages. Two subscribers may sleep before each. Before that, the
/// publisher notifies `before` times while both are awake.
fn two_sleepers(fences: fn() -> Fences, before: u32, count: u64, preemptions: usize) {
    check(preemptions, move || {
        let party = Party::new(&[false; 2]);
        let mut sender = WakingSender::new(&party, fences());
        let mut first = sender.admit(Fences::fixed(false));
        let second = sender.admit(Fences::fixed(false));
        for _ in 0..before {
            assert!(!sender.notify());
        }
        let sender = sender.spawn(count);
        let second = second.spawn(count);
        first.receive_all(count);
        sender.join().unwrap();
        second.join().unwrap();
        party.bells.iter().for_each(|bell| bell.check_counts(0));
    });
}

/// `AWAKE_LIMIT` of `event_count`.
const AWAKE_LIMIT: u32 = 64;

#[test]
fn symmetric() {
    two_sleepers(|| Fences::new(false), 0, 1, 2);
}

#[test]
fn switches_to_asymmetric() {
    two_sleepers(|| Fences::new(true), AWAKE_LIMIT, 2, 1);
}

#[test]
fn is_asymmetric_and_switches_back() {
    two_sleepers(|| Fences::new(true), AWAKE_LIMIT + 1, 2, 1);
}

#[test]
fn is_asymmetric() {
    two_sleepers(|| Fences::new(true), AWAKE_LIMIT + 1, 1, 2);
}

/// A publisher that uses the asymmetric fence admits a subscriber that cannot use it, and publishes
/// nothing after that.
#[test]
fn forbids_asymmetric() {
    check(3, || {
        let party = Party::new(&[false]);
        let mut sender = WakingSender::new(&party, Fences::new(true));
        let mut receiver = sender.admit(Fences::fixed(false));
        for _ in 0..=AWAKE_LIMIT {
            assert!(!sender.notify());
        }
        let processor = party.processors[0].clone();
        let publisher = thread::spawn(move || {
            run_on(&processor, || {
                compiler_fence(Ordering::SeqCst);
                sender.publish();
                let words = &sender.party.feed.memory.control().words;
                sender.fences.forbid_asymmetric(&words.published.asymmetric);
            });
        });
        receiver.receive_all(1);
        publisher.join().unwrap();
        party.bells[0].check_counts(0);
    });
}

/// The ring is full. The publisher waits for space until each subscriber has read half of it.
fn waits_for_space(asymmetric: &'static [bool], preemptions: usize) {
    check(preemptions, move || {
        let party = Party::new(asymmetric);
        let mut sender = WakingSender::new(&party, Fences::new(false));
        let receivers: Vec<_> = asymmetric
            .iter()
            .map(|asymmetric| sender.admit(Fences::fixed(*asymmetric)))
            .collect();
        for _ in 0..FULL {
            sender.publish();
        }
        let readers: Vec<_> = receivers
            .into_iter()
            .map(|receiver| receiver.spawn(FULL))
            .collect();
        sender.publish();
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn waits_for_one_with_full_fences() {
    waits_for_space(&[false], 3);
}

#[test]
fn waits_for_one_with_the_asymmetric_fence() {
    waits_for_space(&[true], 3);
}

#[test]
fn waits_for_two() {
    waits_for_space(&[false, false], 1);
}

#[test]
fn waits_for_two_with_different_fences() {
    waits_for_space(&[false, true], 1);
}

/// The ring is full, and the publisher needs all of it. The subscriber wakes it when half is free, and
/// must wake it again.
#[test]
fn waits_for_the_whole_ring() {
    for asymmetric in [&[false], &[true]] {
        check(3, move || {
            let party = Party::new(asymmetric);
            let mut sender = WakingSender::new(&party, Fences::new(false));
            let receiver = sender.admit(Fences::fixed(asymmetric[0]));
            for _ in 0..FULL {
                sender.publish();
            }
            let reader = receiver.spawn(FULL);
            sender.wait_for_space(FULL);
            sender.publish_reserved();
            reader.join().unwrap();
        });
    }
}

/// Both sides sleep.
#[test]
fn both_sleep() {
    check(2, || {
        let party = Party::new(&[false]);
        let mut sender = WakingSender::new(&party, Fences::new(false));
        let mut receiver = sender.admit(Fences::fixed(false));
        sender.publish();
        sender.publish();
        let sender = sender.spawn(2);
        receiver.receive_all(4);
        sender.join().unwrap();
    });
}

/// The publisher publishes a message and closes the feed, or dies. The message comes before the end.
fn last_message(end: fn(WakingSender)) {
    check(3, move || {
        let party = Party::new(&[false]);
        let mut sender = WakingSender::new(&party, Fences::new(false));
        let mut receiver = sender.admit(Fences::fixed(false));
        let publisher = thread::spawn(move || {
            sender.publish();
            end(sender);
        });
        assert!(receiver.receive());
        assert!(!receiver.receive());
        publisher.join().unwrap();
    });
}

#[test]
fn the_last_message_comes_before_the_end() {
    last_message(WakingSender::close);
}

#[test]
fn the_last_message_comes_before_the_death() {
    last_message(|sender| sender.party.bells[0].hang_up());
}
