//! The channel: two ends in one model. The rings, event counts, conditions, wait loop and readiness
//! are the shipped code. The doorbell is a model of the kernel's part.

pub mod doorbell;
pub mod processor;
mod readiness;
mod ring;
mod wait;

pub use processor::compiler_fence;

use crate::SwitchPoint;
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result};
use crate::shipped::control::Control;
use crate::shipped::state::{Local, MessageCondition, PeerRing, SpaceCondition, View};
use crate::transport::event_count::{ENDED, Notifier, PeerState};
use crate::transport::ring::{ALIGN_MIN as ALIGN, Batch, Consumer, Geometry, Producer};
use crate::transport::wait::{Condition, Doorbell, Progress, Role, wait};
use doorbell::{Limit, ModelDoorbell};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use processor::Processor;
use std::ops::Range;

/// The number of slots of the smallest ring that holds a message of two words. A slot is a word.
const SLOTS: usize = 4;
const SIZE: u64 = SLOTS as u64 * ALIGN;
const GEOMETRY: Geometry = Geometry::new(SIZE, ALIGN);
/// The values of messages of one word that fill the ring.
const MESSAGES: Range<u64> = 0..SLOTS as u64 - 1;

/// The state of one end.
struct End {
    control: Control,
    local: Local,
    bell: ModelDoorbell,
    /// The words of the messages that it sends.
    ring: [UnsafeCell<u64>; SLOTS],
    /// The length field in each slot, if a record begins there. In other slots of a record the
    /// message overwrites it.
    lengths: [AtomicU32; SLOTS],
}

/// Both ends of a channel.
struct Channel {
    ends: [End; 2],
    /// The processors of the senders.
    processors: [Arc<Processor>; 2],
    switch_point: SwitchPoint,
}

/// The length of the longest message whose record has this number of words.
fn length_of(words: u64) -> u32 {
    (words * ALIGN - 4) as u32
}

impl End {
    fn new(cursor: u64, peer_processor: &Arc<Processor>) -> Self {
        let control = Control::default();
        control.tail.at.store(cursor, Ordering::Relaxed);
        control.head.at.store(cursor, Ordering::Relaxed);
        Self {
            control,
            local: Local::new(),
            bell: ModelDoorbell::new(std::slice::from_ref(peer_processor)),
            ring: [(); SLOTS].map(|()| UnsafeCell::new(0)),
            lengths: [(); SLOTS].map(|()| AtomicU32::new(0)),
        }
    }

    fn slot(&self, position: u64, word: u64) -> usize {
        (position / ALIGN + word) as usize % SLOTS
    }
}

impl PeerRing for End {
    fn length_at(&self, cursor: u64) -> &AtomicU32 {
        &self.lengths[self.slot(cursor, 0)]
    }
}

impl Channel {
    /// A channel whose cursors are all at `cursor`.
    fn new(cursor: u64) -> Arc<Self> {
        let processors = [Processor::new(), Processor::new()];
        Arc::new(Self {
            ends: [1, 0].map(|peer: usize| End::new(cursor, &processors[peer])),
            processors,
            switch_point: SwitchPoint::new(),
        })
    }

    fn view(&self, end: usize, thread: u64) -> View<'_, ModelDoorbell> {
        View {
            mine: &self.ends[end].control,
            theirs: &self.ends[1 - end].control,
            local: &self.ends[end].local,
            bell: &self.ends[end].bell,
            peer_ring: &self.ends[1 - end],
            ring_size: SIZE,
            thread,
        }
    }

    /// The model of `Channel::shutdown`, by any thread of `end`.
    fn shutdown(&self, end: usize, reading: bool, writing: bool) {
        let control = &self.ends[end].control;
        if writing {
            control.ended.sending.store(1, Ordering::Release);
        }
        if reading {
            control.ended.receiving.store(1, Ordering::Relaxed);
            // A swap, because loom lets a store come between the halves of a read-modify-write.
            control.receiver.word.swap(ENDED, Ordering::Relaxed);
        }
        self.ends[1 - end].bell.notify();
        fence(Ordering::SeqCst);
        self.ends[end].bell.notify_self();
    }

    /// An event loop requests the descriptor of `end` for the first time.
    fn begin_polling(&self, end: usize, thread: u64) {
        self.ends[end].bell.begin_polling();
        self.view(end, thread).arm();
    }
}

/// The sending half of an end.
struct Sender {
    channel: Arc<Channel>,
    end: usize,
    thread: u64,
    ring: Producer,
    notifier: Notifier,
}

impl Sender {
    fn new(channel: &Arc<Channel>, end: usize, cursor: u64) -> Self {
        Self {
            channel: channel.clone(),
            end,
            thread: 1,
            ring: Producer::new(GEOMETRY, cursor),
            notifier: Notifier::new(false),
        }
    }

    /// A sender of the first end, whose ring it has filled.
    fn with_full_ring(channel: &Arc<Channel>) -> Self {
        let mut sender = Self::new(channel, 0, 0);
        for number in MESSAGES {
            sender.send(number, 1, Limit::Never).unwrap();
        }
        sender
    }

    /// Sends messages of one word with these values in a new thread.
    fn spawn(mut self, numbers: Range<u64>) -> JoinHandle<()> {
        thread::spawn(move || {
            for number in numbers {
                self.send(number, 1, Limit::Forever).unwrap();
            }
        })
    }

    /// The model of `SendHalf::wait_for_space`.
    fn wait_for_space(&mut self, need: u64, limit: &mut Limit) -> Result<()> {
        let end = self.channel.view(self.end, self.thread);
        let head = end.theirs.head.at.load(Ordering::Relaxed);
        let ring = &mut self.ring;
        let also = &mut || Ok(true);
        let mut condition = SpaceCondition {
            end,
            ring,
            need,
            also,
        };
        if condition.check()? == Progress::Ready {
            if limit.is_never() {
                end.send_retried(need);
            }
            return Ok(());
        }
        if limit.is_never() {
            end.send_refused(head, need);
            return match condition.check()? {
                Progress::Pending => Err(Errno::EAGAIN),
                _ => {
                    end.send_retried(need);
                    Ok(())
                }
            };
        }
        let words = end.space_words();
        wait(end.bell, Role::Sender, words, &mut condition, limit).map(drop)
    }

    /// Sends a message of `words` words, each with the value `number`.
    fn send(&mut self, number: u64, words: u64, mut limit: Limit) -> Result<PeerState> {
        if !self.ring.has_space(words * ALIGN) {
            self.wait_for_space(words * ALIGN, &mut limit)?;
        }
        Ok(self.publish(number, words))
    }

    /// Writes a message at a position of the ring.
    fn write(&self, position: u64, number: u64, words: u64) {
        let mine = &self.channel.ends[self.end];
        for word in 0..words {
            let slot = mine.slot(position, word);
            // SAFETY: loom panics if another thread accesses it now.
            mine.ring[slot].with_mut(|at| unsafe { *at = number });
            if word > 0 {
                mine.lengths[slot].store(u32::MAX, Ordering::Relaxed); // bytes of the message
            }
        }
        self.channel.switch_point.visit();
    }

    fn publish(&mut self, number: u64, words: u64) -> PeerState {
        let position = self.ring.position();
        self.write(position, number, words);
        let batch = self.ring.batch_of(length_of(words));
        self.publish_batch(batch);
        self.notify()
    }

    /// The model of `SendHalf::send_many`, for messages of one word. Returns how many were sent.
    fn send_many(&mut self, numbers: Range<u64>, mut limit: Limit) -> Result<u64> {
        if !self.ring.has_space(ALIGN) {
            self.wait_for_space(ALIGN, &mut limit)?;
        }
        let first = numbers.start;
        self.write(self.ring.position(), first, 1);
        let mut batch = self.ring.batch_of(length_of(1));
        let mut records = self.ring.free_after(batch);
        let mut count = 1;
        for number in first + 1..numbers.end {
            assert!(records.set_len(length_of(1) as usize));
            let position = records.position();
            if !records.advance() {
                break;
            }
            self.write(position, number, 1);
            let mine = &self.channel.ends[self.end];
            let length = &mine.lengths[mine.slot(position, 0)];
            length.store(length_of(1), Ordering::Relaxed);
            count += 1;
        }
        batch.extend_to(records);
        self.publish_batch(batch);
        self.notify();
        Ok(count)
    }

    /// The model of `SendHalf::publish_batch`.
    fn publish_batch(&mut self, batch: Batch) {
        let mine = &self.channel.ends[self.end];
        let length = |position| &mine.lengths[mine.slot(position, 0)];
        let (first, next) = (self.ring.position(), self.ring.batch_end(&batch));
        let tail = &mine.control.tail.at;
        self.ring
            .publish_batch(batch, length(first), length(next), tail);
    }

    /// Wakes the receiver if it sleeps.
    fn notify(&mut self) -> PeerState {
        let (mine, peer) = (
            &self.channel.ends[self.end],
            &self.channel.ends[1 - self.end],
        );
        self.channel.switch_point.visit();
        let (event_count, asymmetric) =
            (&peer.control.receiver.word, &mine.control.tail.asymmetric);
        let state = self.notifier.notify(event_count, asymmetric, || true);
        if state == PeerState::Asleep {
            peer.bell.notify();
        }
        state
    }
}

/// The receiving half of an end.
struct Receiver {
    channel: Arc<Channel>,
    end: usize,
    thread: u64,
    ring: Consumer,
    notifier: Notifier,
}

impl Receiver {
    fn new(channel: &Arc<Channel>, end: usize, cursor: u64) -> Self {
        Self {
            channel: channel.clone(),
            end,
            thread: 2,
            ring: Consumer::new(GEOMETRY, cursor),
            notifier: Notifier::new(false),
        }
    }

    /// Receives messages with these values, and waits for each.
    fn receive_all(&mut self, numbers: Range<u64>) {
        for number in numbers {
            assert_eq!(self.receive(Limit::Forever), Ok(Some(number)));
        }
    }

    /// The model of `RecvHalf::next_slow`.
    fn next(&mut self, limit: &mut Limit) -> Result<Progress> {
        let end = self.channel.view(self.end, self.thread);
        let theirs = &self.channel.ends[1 - self.end];
        let length = &theirs.lengths[theirs.slot(self.ring.position(), 0)];
        let ring = &mut self.ring;
        let mut condition = MessageCondition { end, ring, length };
        let mut progress = condition.check()?;
        if progress == Progress::Pending && limit.is_never() {
            let is_polled = end.bell.is_polled();
            if is_polled {
                end.recv_found_nothing();
            }
            progress = condition.check()?;
            if progress == Progress::Pending {
                if is_polled {
                    end.recv_will_poll();
                }
                return Err(Errno::EAGAIN);
            }
        } else if progress == Progress::Pending {
            let words = end.message_words();
            let bell = end.bell;
            progress = wait(bell, Role::Receiver, words, &mut condition, limit)?;
        }
        if progress == Progress::Ended {
            end.end_received();
        }
        Ok(progress)
    }

    /// Receives a message, whose words must be equal. Returns their value; none at the end of the
    /// session.
    fn receive(&mut self, mut limit: Limit) -> Result<Option<u64>> {
        if self.next(&mut limit)? == Progress::Ended {
            return Ok(None);
        }
        let len = self.ring.peek_len();
        let number = self.read(self.ring.position(), len);
        self.ring.skip(len);
        self.release_skipped();
        Ok(number)
    }

    /// The model of `RecvHalf::recv_many`, for messages of one word. Returns the values.
    fn receive_many(&mut self, mut limit: Limit) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        if self.next(&mut limit)? == Progress::Ended {
            return Ok(numbers);
        }
        let len = self.ring.peek_len();
        numbers.extend(self.read(self.ring.position(), len));
        let mut records = self.ring.records_after(len);
        loop {
            let theirs = &self.channel.ends[1 - self.end];
            let position = records.position();
            let length = &theirs.lengths[theirs.slot(position, 0)];
            let Some(len) = records.load_len(length) else {
                break;
            };
            // The producer overwrites nothing that has not been released.
            assert!(records.advance());
            numbers.extend(self.read(position, len as u32));
        }
        self.ring.skip_to(records);
        self.release_skipped();
        Ok(numbers)
    }

    /// The value of the message at a position, whose words must be equal.
    fn read(&self, position: u64, len: u32) -> Option<u64> {
        let theirs = &self.channel.ends[1 - self.end];
        let words = (u64::from(len) + 4) / ALIGN;
        let mut number = None;
        for word in 0..words {
            let slot = theirs.slot(position, word);
            // SAFETY: loom panics if another thread writes it now.
            let found = theirs.ring[slot].with(|at| unsafe { *at });
            assert_eq!(*number.get_or_insert(found), found);
        }
        self.channel.switch_point.visit();
        number
    }

    /// Publishes that the skipped messages have been read, and wakes the sender if it sleeps.
    fn release_skipped(&mut self) {
        let (mine, theirs) = (
            &self.channel.ends[self.end],
            &self.channel.ends[1 - self.end],
        );
        self.ring.release_skipped(&mine.control.head.at);
        self.channel.switch_point.visit();
        let (event_count, asymmetric) =
            (&theirs.control.sender.word, &mine.control.head.asymmetric);
        let ring = &self.ring;
        let worth_waking = || ring.is_half_free(&theirs.control.tail.at);
        if self.notifier.notify(event_count, asymmetric, worth_waking) == PeerState::Asleep {
            theirs.bell.notify();
        }
    }
}
