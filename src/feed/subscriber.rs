//! A subscriber: the object behind a handle of the C interface. Only one thread may use it at once.

use super::handshake::FeedMemory;
use super::next::{NextCondition, View};
use super::page::Page;
use crate::atomic::Ordering;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno, preserve_errno, preserve_errno_on_success};
use crate::pair::Cred;
use crate::shared_copy;
use crate::sys::CancelGuard;
use crate::transport::broadcast::{Next, Reader, Words};
use crate::transport::doorbell::Doorbell;
use crate::transport::event_count::{Fences, PeerState, Watch};
use crate::transport::liveness::Liveness;
use crate::transport::pipe_ends::PeerDoorbell;
use crate::transport::spin::{Cpus, Spinner};
use crate::transport::wait::{Condition as _, Doorbell as _, Progress, Role, wait};
use libc::c_int;
use probe::probe;
use std::mem::MaybeUninit;
use std::ptr;

/// A subscriber of a feed.
pub struct Subscriber {
    pub(super) reader: Reader,
    pub(super) memory: FeedMemory,
    pub(super) page: Page,
    pub(super) bell: Doorbell,
    /// The doorbell of the publisher.
    pub(super) publisher_bell: PeerDoorbell,
    /// The fences before the check whether the publisher waits for space.
    pub(super) fences: Fences,
    pub(super) watch: Watch,
    pub(super) spinner: Spinner,
    pub(super) liveness: Liveness,
    /// Whether the publisher never waits for this subscriber.
    pub(super) is_lossy: bool,
    /// The number of lost messages that no call has reported yet.
    pub(super) gap: u64,
    /// The length of the message that `peek` has returned; 0 if there is none.
    pub(super) peeked: usize,
    /// Whether a receive has reported the end of the feed.
    pub(super) end_received: bool,
    /// Whether the publisher has violated the protocol.
    pub(super) is_poisoned: bool,
    pub(super) cred: Cred,
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length; 0 at the end of the feed.
    pub len: usize,
    /// Its sequence number.
    pub sequence: u64,
}

impl Subscriber {
    #[inline]
    fn words(&self) -> &Words {
        &self.memory.control().words
    }

    /// The fast path of [`Subscriber::recv`]: receives a short message that is there. None if the
    /// caller must call `recv`.
    #[inline(always)]
    pub fn try_recv(&mut self, buffer: &mut [MaybeUninit<u8>]) -> Option<Received> {
        let len = self.reader.try_peek(&self.memory)? as usize;
        if len > shared_copy::SHORT || self.gap != 0 || !self.is_sole() {
            return None;
        }
        let at = self.memory.message(self.reader.position());
        // SAFETY: `try_peek` has checked that the message is within the ring; it is aligned to 8.
        unsafe { shared_copy::short_from_shared(at, buffer.get_mut(..len)?) };
        (!self.reader.is_overtaken(self.words())).then(|| self.take(len))
    }

    /// Receives a message.
    pub fn recv(&mut self, buffer: &mut [MaybeUninit<u8>], deadline: Deadline) -> Result<Received> {
        if buffer.is_empty() {
            return Err(errno!(EINVAL));
        }
        let Some(len) = self.next(deadline)? else {
            return Ok(self.end());
        };
        let buffer = buffer.get_mut(..len).ok_or(errno!(EMSGSIZE))?;
        let at = self.memory.message(self.reader.position());
        // SAFETY: `next` has checked that the message is within the ring; it is aligned to 8.
        unsafe { shared_copy::from_shared(at, buffer) };
        if self.reader.is_overtaken(self.words()) {
            return Err(self.overtaken());
        }
        Ok(self.take(len))
    }

    /// Returns the address, the length and the sequence number of the next message; none at the end
    /// of the feed.
    pub fn peek(&mut self, deadline: Deadline) -> Result<Option<(*const u8, Received)>> {
        let Some(len) = self.next(deadline)? else {
            return Ok(None);
        };
        self.peeked = len;
        let at = self.memory.message(self.reader.position());
        let sequence = self.reader.sequence();
        Ok(Some((at.as_ptr().cast_const(), Received { len, sequence })))
    }

    /// Consumes the message that `peek` has returned. `EOVERFLOW` if the publisher has overwritten
    /// it since then.
    pub fn release(&mut self) -> Result<()> {
        if self.peeked == 0 {
            return Err(errno!(EINVAL));
        }
        let len = self.peeked;
        self.peeked = 0;
        if !self.is_sole() {
            return Err(errno!(EBUSY));
        }
        if self.reader.is_overtaken(self.words()) {
            return Err(self.overtaken());
        }
        self.take(len);
        Ok(())
    }

    /// Whether no other process has received with this subscriber since this one did.
    #[inline]
    fn is_sole(&self) -> bool {
        let head = &self.page.control().progress.head;
        head.load(Ordering::Relaxed) == self.reader.head()
    }

    /// Goes to the message after the next one, which has `len` bytes, and wakes the publisher if it
    /// waits for space.
    #[inline(always)]
    fn take(&mut self, len: usize) -> Received {
        let sequence = self.reader.sequence();
        probe!(unixipc, feed_receive, ptr::from_ref(self), len, sequence);
        self.peeked = 0;
        let progress = &self.page.control().progress;
        self.reader.take(len, &progress.head);
        progress
            .sequence
            .store(self.reader.sequence(), Ordering::Relaxed);
        // The publisher does not wait for a lossy subscriber.
        let needs_nothing = self.is_lossy
            || (self.fences.are_free() && self.watch.is_awake(&self.memory.control().space.word));
        if !needs_nothing {
            self.notify();
        }
        Received { len, sequence }
    }

    /// Wakes the publisher if it waits for space and at least half of the ring is free. If it were
    /// woken for each message, it would sleep again after each.
    #[cold]
    #[inline(never)]
    pub(super) fn notify(&mut self) {
        self.fences.after_publication();
        let control = self.memory.control();
        let (words, reader) = (&control.words, &self.reader);
        let (state, _) = self
            .watch
            .state(&control.space.word, || reader.is_half_free(words));
        if state == PeerState::Asleep {
            self.wake_publisher();
        }
    }

    #[cold]
    fn wake_publisher(&mut self) {
        // An error is ignored: the message has been received even if the publisher is dead.
        probe!(unixipc, subscriber_wake, ptr::from_ref(self));
        preserve_errno(|| {
            if self.publisher_bell.notify().is_err() {
                self.bell.set_gone();
            }
        });
    }

    fn end(&mut self) -> Received {
        Received {
            len: 0,
            sequence: self.reader.sequence(),
        }
    }

    /// Waits for the next message, and returns its length; none at the end of the feed.
    fn next(&mut self, mut deadline: Deadline) -> Result<Option<usize>> {
        if self.is_poisoned {
            return Err(errno!(EPROTO));
        }
        if !self.is_sole() {
            return Err(errno!(EBUSY));
        }
        if self.gap != 0 {
            self.gap = 0;
            return Err(errno!(EOVERFLOW));
        }
        let words = &self.memory.control().words;
        let found = self.reader.poll(&self.memory, words);
        let found = match found {
            Ok(Next::Nothing) => {
                let waited = preserve_errno_on_success(|| self.wait(&mut deadline));
                // Another process may have received during the wait.
                if !self.is_sole() {
                    return Err(errno!(EBUSY));
                }
                waited
            }
            found => found,
        };
        match found.map_err(|error| self.poison(error))? {
            Next::Message(len) => Ok(Some(len)),
            Next::Overtaken => Err(self.overtaken()),
            Next::Nothing => Ok(None),
        }
    }

    /// Goes to a message that is left, after the next one was overwritten. Returns the error that
    /// the call reports.
    #[cold]
    fn overtaken(&mut self) -> Errno {
        self.peeked = 0;
        let (control, progress) = (self.memory.control(), &self.page.control().progress);
        let resumed = self
            .reader
            .resume(&self.memory, &control.words, &progress.head);
        match resumed {
            Ok(lost) => {
                self.count_lost(lost);
                let next = self.reader.sequence();
                probe!(unixipc, feed_overrun, ptr::from_ref(self), lost, next);
                errno!(EOVERFLOW)
            }
            Err(error) => self.poison(error),
        }
    }

    /// Counts lost messages, and publishes the sequence number of the next message.
    pub(super) fn count_lost(&self, lost: u64) {
        let progress = &self.page.control().progress;
        let sum = progress.lost.load(Ordering::Relaxed).wrapping_add(lost);
        progress.lost.store(sum, Ordering::Relaxed);
        progress
            .sequence
            .store(self.reader.sequence(), Ordering::Relaxed);
    }

    /// Treats the publisher as dead if `error` is `EPROTO`. Returns `error`.
    #[cold]
    fn poison(&mut self, error: Errno) -> Errno {
        if error == Errno::EPROTO && !self.is_poisoned {
            self.is_poisoned = true;
            self.reader.poison();
            self.bell.set_gone();
            self.bell.notify_self();
        }
        error
    }

    /// Waits for a message or the end of the feed. Returns [`Next::Nothing`] at the end.
    fn wait(&mut self, deadline: &mut Deadline) -> Result<Next> {
        let subscriber = ptr::from_ref(self);
        let end = View {
            memory: &self.memory,
            mine: self.page.control(),
            bell: &self.bell,
            end_received: self.end_received,
            has_gap: false,
        };
        let cpus = Cpus {
            mine: &end.mine.receiver.cpu,
            theirs: &self.memory.control().space.cpu,
        };
        let mut condition = NextCondition {
            end,
            reader: &mut self.reader,
            found: Next::Nothing,
        };
        let progress = if deadline.is_never() {
            if end.bell.is_polled() {
                end.rearm(condition.reader);
            } else if self.liveness.is_due() {
                end.bell.check_peer();
            }
            match condition.check()? {
                Progress::Pending => return Err(errno!(EAGAIN)),
                progress => progress,
            }
        } else {
            let spun = self
                .spinner
                .spin(cpus, end.bell, &mut condition, deadline)?;
            match spun {
                Progress::Pending => {
                    let words = end.words();
                    probe!(unixipc, subscriber_sleep, subscriber);
                    let waited = wait(end.bell, Role::Receiver, words, &mut condition, deadline);
                    probe!(unixipc, subscriber_awake, subscriber);
                    waited?
                }
                done => done,
            }
        };
        let found = condition.found;
        if progress == Progress::Ended && !self.end_received {
            self.end_received = true;
            // The end is no longer a reason for the descriptor to be readable, but the publisher's
            // death still is.
            if end.bell.is_polled() && !end.bell.is_peer_gone() {
                let end = View {
                    end_received: true,
                    ..end
                };
                end.rearm(&self.reader);
            }
        }
        Ok(found)
    }

    /// The descriptor for event loops.
    pub fn fd(&mut self) -> Result<c_int> {
        let _uncancelled = CancelGuard::new();
        let (fd, is_new) = self.bell.epoll(None)?;
        if is_new {
            let end = View {
                memory: &self.memory,
                mine: self.page.control(),
                bell: &self.bell,
                end_received: self.end_received,
                has_gap: self.gap != 0,
            };
            end.arm(&self.reader);
        }
        Ok(fd)
    }

    /// Whether the feed has ended: no message will follow those in the ring. Asks the kernel whether
    /// the publisher is alive.
    pub fn has_ended(&self) -> bool {
        let ended = &self.memory.control().words.seldom.ended;
        self.bell.check_peer() || ended.load(Ordering::Acquire) != 0
    }

    /// The sequence number of the next message.
    pub fn sequence(&self) -> u64 {
        self.reader.sequence()
    }

    /// The number of messages that were lost.
    pub fn lost(&self) -> u64 {
        self.page.control().progress.lost.load(Ordering::Relaxed)
    }

    /// The number of messages that the feed has published.
    pub fn published(&self) -> u64 {
        self.words().published.count.load(Ordering::Relaxed)
    }

    /// The identity of the feed.
    pub fn feed_id(&self) -> [u8; 16] {
        self.memory.id()
    }

    /// The credentials of the publisher.
    pub fn cred(&self) -> Cred {
        self.cred
    }
}
