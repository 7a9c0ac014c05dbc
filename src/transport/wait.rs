//! The wait loop: announce the wait, check the condition, sleep, and check again.
//!
//! All blocking calls share this loop. It depends neither on what a call waits for ([`Condition`])
//! nor on how a thread sleeps and is woken ([`Doorbell`]). `tests/loom` runs it with a model of the
//! doorbell.

use super::event_count::{cancel_wait, prepare_wait};
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result};

/// The role of a thread. One thread of each role may use an end at the same time.
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

    /// The current epoch, for [`Doorbell::sleep`]: if another thread consumes a wake-up after this
    /// call, the sleep ends.
    fn epoch(&self) -> u32;

    /// Sleeps until the peer or a thread of this process notifies. Spurious wake-ups are possible.
    /// Fails if the deadline has expired or a signal handler ends the wait. If `woken_by_peer` is
    /// false, the peer may miss the announcement, so the sleep is short.
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

    /// Makes the descriptor for event loops not readable until the next wake-up.
    fn drain(&self);

    /// Has every processor on which the peer runs execute a full barrier. Returns true also if no
    /// barrier is needed, and false if the kernel refuses to issue one.
    fn barrier(&self) -> bool;
}

/// The two words of an announcement.
#[derive(Clone, Copy)]
pub struct EventWords<'a> {
    /// This side's event count.
    pub event_count: &'a AtomicU32,
    /// 1 while the peer uses the asymmetric fence.
    pub peer_asymmetric: &'a AtomicU32,
}

impl EventWords<'_> {
    /// Announces a wait. Returns false if the peer may miss the announcement; see [`prepare_wait`].
    pub fn announce(&self, bell: &impl Doorbell) -> bool {
        prepare_wait(self.event_count, self.peer_asymmetric, || bell.barrier())
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

/// A condition that a call waits for.
pub trait Condition {
    /// Whether the condition holds: the cheapest check, for spinning. It may miss that the
    /// condition has ended.
    fn poll(&mut self) -> Result<bool>;

    /// Checks the condition completely. An error ends the wait.
    fn check(&mut self) -> Result<Progress>;

    /// Arms the descriptor for event loops. The wait loop calls it if an event loop has begun to
    /// poll the end during the wait.
    fn arm(&self);
}

/// Waits until `condition` holds or has ended. Never returns [`Progress::Pending`].
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
        // The condition has been checked again after the time-out.
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
    cancel_wait(words.event_count);
    // Pairs with the full fence in `readiness::arm`: either this thread sees that the end is
    // polled, or `arm` announces after this cancellation.
    fence(Ordering::SeqCst);
    if bell.is_polled() {
        condition.arm();
    }
}
