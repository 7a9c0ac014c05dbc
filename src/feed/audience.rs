//! The subscribers of a feed: admitting them, noticing their death, waking them.

use super::clients::{Caller, Clients};
use super::events::{Event, Events, Source};
use super::handshake::{Answer, Applicant, FeedMemory, Refusal, Request, refuse};
use super::poll_timer::PollTimer;
use super::subscription::{Kind, Subscription};
use crate::atomic::Ordering;
use crate::errno::{Errno, Result};
use crate::fixed_vec::FixedVec;
use crate::sys::{self, CancelGuard};
use crate::transport::broadcast::{Publisher, Start};
use crate::transport::event_count::Fences;
use crate::transport::followers::{Sleeper as _, are_all_awake, notify_all, slowest};
use crate::transport::pipe_ends::PeerDoorbell;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The number of clients that are accepted at once.
const ACCEPTED_MAX: usize = 16;

/// The subscribers of a feed, and the clients that want to become subscribers.
pub struct Audience {
    /// The events at the descriptors.
    pub events: Events,
    /// The clients that are not admitted yet.
    pub clients: Clients,
    subscriptions: FixedVec<Subscription>,
    /// The descriptor of the feed's memory, for subscribers.
    memory_fd: OwnedFd,
    fences: Fences,
    /// Whether this process is registered for `membarrier`.
    membarrier: bool,
    lossy_only: bool,
    /// How long a reliable subscriber may hold the publisher up, in nanoseconds; 0 without limit.
    stall_ns: u64,
    timer: PollTimer,
    /// The number of messages that were published when subscribers last held the publisher up.
    held_at: Option<u64>,
    /// Whether the event loop waits for the descriptor, because a publication was refused.
    is_awaited: bool,
    /// Whether wake-ups were consumed since [`Audience::take_woken`].
    is_woken: bool,
    next_id: u32,
}

/// What [`Audience::service`] does with the wake-ups of subscribers and with the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUps {
    /// It consumes them: the caller tries every refused publication again, or waits for them.
    Consume,
    /// It leaves them if an event loop waits for them.
    LeaveAwaited,
}

/// The parts of a feed that an admission needs.
pub struct Feeding<'a> {
    /// The memory of the feed.
    pub memory: &'a FeedMemory,
    /// The publishing side of its ring.
    pub ring: &'a mut Publisher,
}

impl Audience {
    /// No subscribers, and place for `max`.
    pub fn new(
        memory_fd: OwnedFd,
        max: usize,
        membarrier: bool,
        lossy_only: bool,
        stall_ns: u64,
    ) -> Result<Self> {
        Ok(Self {
            events: Events::new()?,
            clients: Clients::new()?,
            subscriptions: FixedVec::new(max)?,
            memory_fd,
            fences: Fences::new(membarrier),
            membarrier,
            lossy_only,
            stall_ns,
            timer: PollTimer::default(),
            held_at: None,
            is_awaited: false,
            is_woken: false,
            next_id: 0,
        })
    }

    /// The subscribers.
    pub fn subscriptions(&mut self) -> &mut [Subscription] {
        &mut self.subscriptions
    }

    /// Whether there are no subscribers.
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// Handles some events: admits clients and forgets dead subscribers. Does not
    /// wait.
    pub fn service(&mut self, feeding: &mut Feeding, wake_ups: WakeUps) -> Result<()> {
        // A publication calls this too. A thread that is cancelled in accept4(2) or sendmsg(2)
        // would leave a descriptor open.
        let _uncancelled = CancelGuard::new();
        let now = sys::coarse_ms();
        self.clients.tidy(now, &self.events);
        let consumes = wake_ups == WakeUps::Consume || !self.is_awaited;
        let mut result = Ok(());
        for event in self.events.take()?.into_iter().flatten() {
            match event.source {
                Source::Listener => result = self.accept(now, feeding),
                Source::Client(id) => self.greet(id, feeding),
                Source::Subscriber(id) if consumes || event.hung_up => self.hear(id, event),
                // The next publication that finds no space checks the limits.
                Source::Timer if consumes => self.timer.clear(),
                Source::Subscriber(_) | Source::Timer => {}
            }
        }
        result
    }

    /// Accepts the clients that wait, but not too many at once.
    fn accept(&mut self, now: u64, feeding: &mut Feeding) -> Result<()> {
        for _ in 0..ACCEPTED_MAX {
            match self.clients.accept(now, &self.events)? {
                Some(id) => self.greet(id, feeding),
                None => break,
            }
        }
        Ok(())
    }

    /// Admits a client if its request has arrived.
    pub fn greet(&mut self, id: u32, feeding: &mut Feeding) {
        if let Some(caller) = self.clients.take(id, &self.events) {
            // A client that cannot be admitted notices that its socket is closed.
            let _ = self.admit(caller, feeding);
        }
    }

    /// Answers a request. `EPROTO` if the client violates the protocol.
    fn admit(&mut self, caller: Caller, feeding: &mut Feeding) -> Result<()> {
        let socket = caller.socket.as_fd();
        let request = match Request::from_bytes(&caller.hello.bytes) {
            Err(error) if error == Errno::ESTALE => {
                return refuse(socket, &caller.hello, Refusal::Version);
            }
            request => request?,
        };
        if self.lossy_only && !request.is_lossy {
            return refuse(socket, &caller.hello, Refusal::LossyOnly);
        }
        self.forget_ended_if_full();
        if self.subscriptions.is_full() {
            return refuse(socket, &caller.hello, Refusal::TooMany);
        }
        let applicant = Applicant::new(caller.hello, request)?;
        let (bell, read_end) = PeerDoorbell::new()?;
        let start = self.start(&request, feeding);
        let geometry = feeding.memory.geometry();
        let answer = Answer {
            membarrier: self.membarrier,
            align: geometry.align(),
            ring_size: geometry.size(),
            start,
        };
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let subscription = Subscription::new(id, applicant, bell, start, caller.cred);
        self.events
            .add(subscription.pipe(), Source::Subscriber(id))?;
        if let Err(error) = answer.send(socket, self.memory_fd.as_fd(), read_end.as_fd()) {
            self.events.remove(subscription.pipe());
            return Err(error);
        }
        if !request.membarrier {
            let asymmetric = &feeding.memory.control().words.published.asymmetric;
            self.fences.forbid_asymmetric(asymmetric);
        }
        let _ = self.subscriptions.push(subscription);
        // The next publication determines the free space again.
        feeding.ring.forget_space();
        Ok(())
    }

    /// Forgets the subscribers that have ended and whose events have not been taken yet, if there is no
    /// place for another one.
    fn forget_ended_if_full(&mut self) {
        if !self.subscriptions.is_full() {
            return;
        }
        let mut index = 0;
        while let Some(each) = self.subscriptions.get(index) {
            if sys::is_hung_up(each.pipe()) == Ok(true) {
                self.forget(index);
            } else {
                index += 1;
            }
        }
    }

    fn forget(&mut self, index: usize) {
        if let Some(dead) = self.subscriptions.swap_remove(index) {
            self.events.remove(dead.pipe());
        }
    }

    fn start(&self, request: &Request, feeding: &Feeding) -> Start {
        let seldom = &feeding.memory.control().words.seldom;
        let demotions = seldom.demotions.load(Ordering::Relaxed);
        if request.from_oldest {
            feeding.ring.start_at_oldest(feeding.memory, demotions)
        } else {
            Start {
                cursor: feeding.ring.tail(),
                sequence: feeding.ring.count(),
                demotions,
            }
        }
    }

    /// Reads the wake-ups of a subscriber, and forgets it if it is dead.
    fn hear(&mut self, id: u32, event: Event) {
        let mut subscriptions = self.subscriptions.iter();
        let Some(index) = subscriptions.position(|subscription| subscription.id == id) else {
            return;
        };
        let is_alive = !event.hung_up
            && self
                .subscriptions
                .get(index)
                .is_some_and(Subscription::read_wake_ups);
        self.is_woken = true;
        if !is_alive {
            self.forget(index);
        }
    }

    /// Whether wake-ups were consumed since the last call.
    pub fn take_woken(&mut self) -> bool {
        mem::take(&mut self.is_woken)
    }

    /// Whether all subscribers are certainly awake after a publication. If not, the caller must call
    /// [`Audience::notify`].
    #[inline(always)]
    pub fn are_all_awake(&self) -> bool {
        are_all_awake(&self.fences, &self.subscriptions)
    }

    /// Wakes the subscribers that sleep, after a publication. Returns whether there were any.
    pub fn notify(&mut self, memory: &FeedMemory) -> bool {
        let asymmetric = &memory.control().words.published.asymmetric;
        notify_all(&mut self.fences, asymmetric, &mut self.subscriptions)
    }

    /// The cursor of the slowest subscriber that the publisher waits for, and its index; the
    /// publisher's `tail` if there is none.
    pub fn slowest(&mut self, tail: u64) -> (u64, Option<usize>) {
        let subscriptions = self.subscriptions.iter_mut().enumerate();
        let reliable = subscriptions.filter(|(_, each)| each.kind == Kind::Reliable);
        slowest(
            tail,
            reliable.map(|(index, each)| (index, each.refresh(tail))),
        )
    }

    /// Records which subscribers leave no space for a record of `need` bytes. Ceases to wait for
    /// those that have done so for too long. Returns after what time to check again; none if no
    /// subscriber has a time limit.
    pub fn check_stalls(&mut self, need: u64, feeding: &Feeding) -> Option<Duration> {
        let now = sys::monotonic_ns();
        let tail = feeding.ring.tail();
        let mut next = None;
        self.end_old_stalls(feeding.ring);
        self.held_at = Some(feeding.ring.count());
        for subscription in self.subscriptions.iter_mut() {
            if subscription.kind != Kind::Reliable {
                continue;
            }
            let head = subscription.refresh(tail);
            let holds = !feeding.ring.is_free(need, head);
            let held = subscription.hold(holds, now);
            if !holds || self.stall_ns == 0 {
                continue;
            }
            match self.stall_ns.saturating_sub(held) {
                0 => {
                    subscription.kind = Kind::Demoted;
                    subscription.hold(false, now);
                    feeding.ring.demote(&feeding.memory.control().words);
                }
                left => next = Some(next.map_or(left, |next: u64| next.min(left))),
            }
        }
        next.map(Duration::from_nanos)
    }

    /// Prepares [`Audience::await_event`].
    pub fn prepare_polling(&mut self) -> Result<()> {
        self.timer.create(&self.events)
    }

    /// Records that a publication was refused, and that an event loop waits for the descriptor. If
    /// no subscriber wakes the publisher, it becomes readable after this time.
    pub fn await_event(&mut self, most: Option<Duration>) {
        self.is_awaited = true;
        if let Some(most) = most {
            self.timer.set(most);
        }
    }

    /// Has the descriptor become readable at once if an event loop waits for it, because this process
    /// has consumed the wake-ups.
    pub fn return_event(&mut self) {
        if self.is_awaited {
            self.timer.set(Duration::ZERO);
        }
    }

    /// Records that the event loop handles the descriptor.
    pub fn end_await(&mut self) {
        self.is_awaited = false;
    }

    /// As [`Audience::end_stalls`], if a message was published since a subscriber held the publisher up.
    pub fn end_old_stalls(&mut self, ring: &Publisher) {
        if self.held_at != Some(ring.count()) {
            self.end_stalls();
        }
    }

    /// Records that no subscriber holds the publisher up any longer.
    pub fn end_stalls(&mut self) {
        if self.held_at.take().is_none() {
            return;
        }
        if !self.is_awaited {
            self.timer.clear();
        }
        for subscription in self.subscriptions.iter_mut() {
            subscription.hold(false, 0);
        }
    }

    /// Wakes all subscribers, whatever they do.
    pub fn wake_all(&self) {
        self.subscriptions.iter().for_each(Subscription::wake);
    }
}
