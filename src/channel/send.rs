//! Sending: reserve space, write the message, publish it, wake the receiver.

use super::endpoint::{Channel, Link};
use super::state::{SpaceCondition, View, load_cursor};
use crate::atomic::Ordering;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno, preserve_errno_on_success};
use crate::iovec::Source;
use crate::shared_copy;
use crate::sys;
use crate::transport::doorbell::Doorbell;
use crate::transport::event_count::Notifier;
use crate::transport::liveness::Liveness;
use crate::transport::readiness::Interest;
use crate::transport::ring::{ALIGN_MIN, Geometry, Producer};
use crate::transport::ring_memory::prefetch_write;
use crate::transport::spin::{SpinPolicy, Spinner};
use crate::transport::wait::{Condition, Doorbell as _, Progress, Role};
use probe::probe;
use std::ptr::{self, NonNull};

/// The private state of the thread that sends.
pub struct Sender {
    pub(super) ring: Producer,
    pub(super) notifier: Notifier,
    /// The reasons to take the slow path, as bits; 0 for the fast path.
    slow_reasons: u32,
    /// The length that `reserve` has reserved.
    reserved: usize,
    spinner: Spinner,
    liveness: Liveness,
    /// The number of messages with descriptors, for their tokens.
    pub(super) tokens: u8,
}

/// A reason for the slow path: the handshake has not ended.
const NOT_LINKED: u32 = 1;
/// A reason for the slow path: `reserve` has reserved space.
const RESERVED: u32 = 2;
/// A reason for the slow path: an event loop waits for space.
const INTEREST: u32 = 4;

impl Sender {
    /// Makes the state before the handshake has ended.
    pub fn new(ring_size: u64, spin: SpinPolicy) -> Self {
        Self {
            ring: Producer::new(Geometry::new(ring_size, ALIGN_MIN), 0),
            notifier: Notifier::new(false),
            slow_reasons: NOT_LINKED,
            reserved: 0,
            spinner: Spinner::new(spin),
            liveness: Liveness::default(),
            tokens: 0,
        }
    }

    /// Whether no call of this process has found the connection.
    pub fn is_unused(&self) -> bool {
        self.slow_reasons & NOT_LINKED != 0
    }
}

/// The sending half of an end, for one call.
pub struct SendHalf<'a> {
    pub(super) channel: &'a Channel,
    pub(super) state: &'a mut Sender,
}

/// Space in the ring for one message.
pub(super) type Space = NonNull<u8>;

impl<'a> SendHalf<'a> {
    /// The same half, for a method that consumes it.
    pub(super) fn reborrow(&mut self) -> SendHalf<'_> {
        SendHalf {
            channel: self.channel,
            state: self.state,
        }
    }

    /// Sends a message.
    #[inline]
    pub fn send(mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let len = bytes.len();
        match self.try_reserve(len) {
            Some((link, space)) if len <= shared_copy::SHORT => {
                // Computed before the copy, which the compiler assumes to change everything.
                let batch = self.state.ring.batch_of(len as u32);
                let (length, next) = self.length_fields(link, &batch);
                // SAFETY: `try_reserve` has reserved `len` bytes there, aligned to 8.
                unsafe { shared_copy::short_to_shared(bytes, space) };
                prefetch_write(ptr::from_ref(next).cast());
                probe!(unixipc, channel_send, ptr::from_ref(self.channel), len);
                self.publish_batch(link, batch, (length, next), 1, len)
            }
            _ => self.send_any(bytes, deadline),
        }
    }

    #[inline(never)]
    pub(super) fn send_any(mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let (link, space) = self.reserve_space(bytes.len(), deadline)?;
        // SAFETY: `reserve_space` has reserved `bytes.len()` bytes there, aligned to 8.
        unsafe { shared_copy::to_shared(bytes, space) };
        self.publish_any(link, bytes.len())
    }

    /// Sends a message that consists of several parts. Returns its length.
    pub fn send_parts(&mut self, parts: &[Source], deadline: Deadline) -> Result<usize> {
        let mut len = 0usize;
        for part in parts {
            len = len.saturating_add(part.bytes()?.len());
        }
        let (link, space) = self.reserve_space(len, deadline)?;
        let mut at = space;
        for part in parts {
            let bytes = part.bytes()?;
            // SAFETY: the parts together have `len` bytes, and these are reserved.
            unsafe { shared_copy::to_shared(bytes, at) };
            // SAFETY: as above.
            at = unsafe { at.add(bytes.len()) };
        }
        self.publish_any(link, len)?;
        Ok(len)
    }

    /// Reserves space for a message of `len` bytes, which the caller writes before `commit`.
    pub fn reserve(&mut self, len: usize, deadline: Deadline) -> Result<*mut u8> {
        let (_, space) = self.reserve_space(len, deadline)?;
        self.state.reserved = len;
        self.state.slow_reasons |= RESERVED;
        Ok(space.as_ptr())
    }

    /// Sends the first `len` bytes of the reserved space.
    pub fn commit(&mut self, len: usize) -> Result<()> {
        if len == 0 || len > self.state.reserved {
            return Err(errno!(EINVAL));
        }
        self.cancel()?;
        let link = self.channel.link().ok_or(errno!(EINVAL))?;
        self.check_sole_sender(link)?;
        if self.is_ended(link) {
            self.channel.local.check_poisoned()?;
            return Err(errno!(EPIPE));
        }
        self.publish_any(link, len)
    }

    /// Cancels the reservation.
    pub fn cancel(&mut self) -> Result<()> {
        if self.state.reserved == 0 {
            return Err(errno!(EINVAL));
        }
        self.state.reserved = 0;
        self.state.slow_reasons &= !RESERVED;
        Ok(())
    }

    /// The fast path: reserves space if that needs no waiting and there is no reason for the slow
    /// path.
    #[inline(always)]
    pub(super) fn try_reserve(&self, len: usize) -> Option<(&'a Link, Space)> {
        let state = &*self.state;
        if state.slow_reasons != 0 {
            return None;
        }
        // SAFETY: without `NOT_LINKED`, an earlier call on this half has got the link.
        let link = unsafe { self.channel.link_unchecked() };
        let is_free = len != 0
            && state.ring.has_space(state.ring.record_size(len))
            && !self.is_ended(link)
            && self.is_sole_sender(link);
        is_free.then(|| (link, link.memory.message(state.ring.position())))
    }

    #[inline(always)]
    pub(super) fn reserve_space(
        &mut self,
        len: usize,
        deadline: Deadline,
    ) -> Result<(&'a Link, Space)> {
        let fits = len <= self.channel.max();
        match fits.then(|| self.try_reserve(len)).flatten() {
            Some(reserved) => Ok(reserved),
            None => self.reserve_slow(len, deadline),
        }
    }

    #[cold]
    fn reserve_slow(&mut self, len: usize, deadline: Deadline) -> Result<(&'a Link, Space)> {
        if len == 0 {
            return Err(errno!(EINVAL));
        }
        if len > self.channel.max() {
            return Err(errno!(EMSGSIZE));
        }
        self.reserve_record(len, deadline, &mut |_| Ok(true))
    }

    /// Waits for the space of a record that is as large as that of an unmarked message of `size`
    /// bytes, and for `also`: it is called when the space is free, until it returns true.
    pub(super) fn reserve_record(
        &mut self,
        size: usize,
        mut deadline: Deadline,
        also: &mut dyn FnMut(&Link) -> Result<bool>,
    ) -> Result<(&'a Link, Space)> {
        if self.state.reserved != 0 {
            return Err(errno!(EBUSY));
        }
        let link = self.link(&mut deadline)?;
        self.check_sole_sender(link)?;
        let need = self.state.ring.record_size(size);
        preserve_errno_on_success(|| {
            self.wait_for_space(link, need, &mut || also(link), &mut deadline)
        })?;
        Ok((link, link.memory.message(self.state.ring.position())))
    }

    /// The connection. Completes the handshake if it has not ended.
    pub(super) fn link(&mut self, deadline: &mut Deadline) -> Result<&'a Link> {
        if self.state.slow_reasons & NOT_LINKED == 0 {
            return self.channel.link().ok_or(errno!(EPROTO));
        }
        let interest = &self.channel.local.interest;
        let link = match self.channel.link() {
            Some(link) => link,
            None => {
                // Before the attempt, so that the thread that ends the handshake sees the interest.
                interest.refuse_until_handshake(sys::thread_token());
                self.channel.link_slow(Role::Sender, deadline)?
            }
        };
        let tail = &link.memory.control().tail;
        tail.acquire(std::process::id(), sys::is_process)?;
        link.memory.write_label();
        interest.clear();
        self.state.ring = Producer::new(link.memory.geometry(), 0);
        // So the first message tells the sender whether the receiver is alive.
        self.state.notifier = Notifier::waking_first(link.membarrier);
        self.state.slow_reasons &= !NOT_LINKED;
        Ok(link)
    }

    /// Whether the peer is known to be dead, or this side has ended sending.
    #[inline(always)]
    fn is_ended(&self, link: &Link) -> bool {
        let ended = &link.memory.control().ended;
        self.channel.bell.seems_gone() || ended.sending.load(Ordering::Relaxed) != 0
    }

    /// Whether no other process has sent on this end since this one did.
    #[inline(always)]
    fn is_sole_sender(&self, link: &Link) -> bool {
        load_cursor(&link.memory.control().tail.at) == self.state.ring.tail()
    }

    fn check_sole_sender(&self, link: &Link) -> Result<()> {
        self.is_sole_sender(link).then_some(()).ok_or(errno!(EBUSY))
    }

    /// Waits until `need` bytes are free and `also` returns true.
    fn wait_for_space(
        &mut self,
        link: &'a Link,
        need: u64,
        also: &mut dyn FnMut() -> Result<bool>,
        deadline: &mut Deadline,
    ) -> Result<()> {
        let end = self.channel.view(link);
        let result = self.wait_for_space_in(link, end, need, also, deadline);
        let interest = &end.local.interest;
        match result {
            Ok(()) if deadline.is_never() => end.send_retried(need),
            Err(error) if error.is_one_of(&[Errno::EPIPE, Errno::EPROTO]) => interest.clear(),
            _ => {}
        }
        // A sender on the fast path would not acknowledge a signal.
        self.state.slow_reasons &= !INTEREST;
        if end.bell.is_polled() && interest.get() != Interest::None {
            self.state.slow_reasons |= INTEREST;
        }
        // Another process may have sent during the wait.
        self.check_sole_sender(link)?;
        result.map_err(|error| self.channel.poison(error))
    }

    fn wait_for_space_in(
        &mut self,
        link: &Link,
        end: View<Doorbell>,
        need: u64,
        also: &mut dyn FnMut() -> Result<bool>,
        deadline: &mut Deadline,
    ) -> Result<()> {
        let head = load_cursor(&end.theirs.head.at);
        let mut condition = SpaceCondition {
            end,
            ring: &mut self.state.ring,
            need,
            also,
        };
        if condition.check()? == Progress::Ready {
            return Ok(());
        }
        self.channel.sent.0.full.add(1);
        if deadline.is_never() {
            end.send_refused(head, need);
            if !end.bell.is_polled() && self.state.liveness.is_due() {
                end.bell.check_peer();
            }
            return match condition.check()? {
                Progress::Pending => Err(errno!(EAGAIN)),
                _ => Ok(()),
            };
        }
        let spinner = &mut self.state.spinner;
        if spinner.spin(link.cpus(), end.bell, &mut condition, deadline)? == Progress::Pending {
            let words = end.space_words();
            self.channel
                .wait(Role::Sender, words, &mut condition, deadline)?;
        }
        Ok(())
    }
}
