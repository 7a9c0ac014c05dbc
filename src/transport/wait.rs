//! The wait loop: announce the wait, check the condition, sleep, and check again.
//!
//! It exists once. It knows neither what it waits for ([`Condition`]) nor how a thread sleeps and
//! is woken ([`Doorbell`]); `tests/loom` runs it with a doorbell of its own.

use super::event_count::{cancel_wait, prepare_wait};
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result};

/// Which of the two threads that may use an end at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The thread that receives.
    Receiver = 0,
    /// The thread that sends.
    Sender = 1,
}

/// How the threads of one end sleep and are woken.
pub trait Doorbell {
    /// The time limit of a call.
    type Deadline;

    /// A number for [`Doorbell::sleep`]: a wake-up that another thread takes from now on ends that
    /// sleep.
    fn epoch(&self) -> u32;

    /// Sleeps until the peer or a thread of this process notifies. Spurious wake-ups are possible.
    /// Fails when the deadline has expired or a signal ends the wait. If `woken_by_peer` is false
    /// the peer may fail to see the announcement, so the sleep is short.
    fn sleep(
        &self,
        role: Role,
        deadline: &mut Self::Deadline,
        epoch: u32,
        woken_by_peer: bool,
    ) -> Result<()>;

    /// Whether the peer is known to be dead. Everything that it wrote before is visible then.
    fn is_peer_gone(&self) -> bool;

    /// Asks the kernel whether the peer is dead.
    fn check_peer(&self) -> bool;

    /// Whether the end has a descriptor for event loops.
    fn is_polled(&self) -> bool;

    /// Makes the descriptor for event loops readable.
    fn set_readable(&self);

    /// Makes the descriptor for event loops not readable. Takes the queued wake-ups; sleeping
    /// threads of this process are notified of them.
    fn drain(&self);

    /// Has every processor on which the peer runs execute a full barrier. Returns false if the
    /// kernel refuses. True also if the peer does not need it.
    fn barrier(&self) -> bool;
}

/// The two words by which a side announces that it waits for something.
#[derive(Clone, Copy)]
pub struct EventWords<'a> {
    /// This side's event count.
    pub asleep: &'a AtomicU32,
    /// Whether the peer publishes without fences.
    pub unfenced: &'a AtomicU32,
}

impl EventWords<'_> {
    /// Announces a wait; see [`prepare_wait`].
    pub fn announce(&self, bell: &impl Doorbell) -> bool {
        prepare_wait(self.asleep, self.unfenced, || bell.barrier())
    }
}

/// The result of checking a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The condition holds.
    Ready,
    /// It will never hold again.
    Ended,
    /// It may hold later.
    Pending,
}

/// Something that a call waits for.
pub trait Condition {
    /// Whether it is ready: the cheapest check, for spinning. It may miss that the condition has
    /// ended.
    fn poll(&mut self) -> Result<bool>;

    /// Checks it. An error ends the wait.
    fn check(&mut self) -> Result<Progress>;

    /// Announces what an event loop waits for on this end. Called if an event loop has begun to
    /// poll the end during the wait.
    fn arm(&self);
}

/// Waits until `condition` is ready or has ended. Never returns [`Progress::Pending`].
pub fn wait<B: Doorbell>(
    bell: &B,
    role: Role,
    words: EventWords,
    condition: &mut dyn Condition,
    deadline: &mut B::Deadline,
) -> Result<Progress> {
    let mut expired = None;
    let result = loop {
        let epoch = bell.epoch();
        let woken_by_peer = words.announce(bell);
        match condition.check() {
            Ok(Progress::Pending) => {}
            done => break done,
        }
        // The condition was checked once more after the time-out.
        if let Some(error) = expired {
            break expire(bell, condition, error);
        }
        expired = bell.sleep(role, deadline, epoch, woken_by_peer).err();
    };
    finish(bell, words, condition);
    result
}

/// The end of the session takes precedence over an expired deadline.
#[cold]
fn expire(bell: &impl Doorbell, condition: &mut dyn Condition, error: Errno) -> Result<Progress> {
    if bell.check_peer() {
        match condition.check()? {
            Progress::Pending => {}
            done => return Ok(done),
        }
    }
    Err(error)
}

/// Cancels the announcement, unless an event loop needs it.
fn finish(bell: &impl Doorbell, words: EventWords, condition: &dyn Condition) {
    if bell.is_polled() {
        return;
    }
    cancel_wait(words.asleep);
    // Pairs with the fence in `readiness::arm`. Either this thread sees that the end is polled, or
    // the announcement of `arm` comes after the cancellation.
    fence(Ordering::SeqCst);
    if bell.is_polled() {
        condition.arm();
    }
}
