//! The semaphore set of a lock, and the calls that change it.

use super::operations::Lists;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::lock::LockStatus;
use crate::sys;
use libc::{c_int, sembuf, timespec};
use nix::sys::time::TimeSpec;
use probe::probe;
use std::ptr;

/// The value of `RECOVERY` that a list of operations is for.
#[derive(Clone, Copy)]
enum RecoveryState {
    Zero,
    One,
    Two,
}

impl RecoveryState {
    /// The value to try next.
    fn next(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Two,
            Self::Two => Self::Zero,
        }
    }

    fn status(self) -> LockStatus {
        match self {
            Self::Zero => LockStatus::Clean,
            Self::One | Self::Two => LockStatus::OwnerDied,
        }
    }
}

/// A semaphore set, for one call.
pub struct Set {
    id: c_int,
    /// Whether an earlier system call of this call has found it.
    was_found: bool,
}

impl Set {
    pub fn new(id: c_int) -> Self {
        Self {
            id,
            was_found: false,
        }
    }

    /// Performs a list of operations in one system call, which waits for at most `time`.
    pub fn operate(&mut self, list: &[sembuf], time: Option<timespec>) -> Result<()> {
        let operations = list.as_ptr().cast_mut();
        let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the kernel only reads the operations, of which there are `len`, and the time.
        let done = unsafe { sys::semtimedop(self.id, operations, list.len(), time) };
        match done {
            // There is no such set: it was removed between two system calls.
            Err(error) if error == Errno::EINVAL && self.was_found => Err(errno!(EIDRM)),
            // The set has no such semaphore.
            Err(error) if error == Errno::EFBIG => Err(errno!(EPROTO)),
            other => {
                self.was_found = true;
                other.map(drop)
            }
        }
    }

    /// Acquires the lock without waiting. None if it is not free and the caller may wait.
    pub fn try_acquire(
        &mut self,
        lists: &Lists,
        wait: &mut Deadline,
    ) -> Result<Option<LockStatus>> {
        let mut state = RecoveryState::Zero;
        loop {
            match self.operate(lists[state as usize], None) {
                Err(error) if error == Errno::EAGAIN => {}
                done => return done.map(|()| Some(self.acquired(state))),
            }
            match (wait.remaining(), state.next()) {
                (Ok(_), _) => return Ok(None),
                (Err(error), RecoveryState::Zero) => return Err(error),
                // The lock may be free with another recovery state.
                (Err(_), next) => state = next,
            }
        }
    }

    /// Waits for the lock and acquires it, whatever its recovery state is.
    pub fn acquire(&mut self, lists: &Lists, wait: &mut Deadline) -> Result<LockStatus> {
        let mut state = RecoveryState::Zero;
        probe!(unixipc, semlock_wait, self.id);
        loop {
            let time = wait.remaining()?.map(|left| *TimeSpec::from(left).as_ref());
            match self.operate(lists[state as usize], time) {
                Ok(()) => return Ok(self.acquired(state)),
                // Either the recovery state is another one, or the time-out expired. In the second
                // case remaining() fails.
                Err(error) if error == Errno::EAGAIN => state = state.next(),
                Err(error) if error == Errno::EINTR => wait.interrupted()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The status of the lock, which has been acquired.
    fn acquired(&self, state: RecoveryState) -> LockStatus {
        let status = state.status();
        if status == LockStatus::OwnerDied {
            probe!(unixipc, semlock_owner_died, self.id);
        }
        status
    }

    /// Performs a list of operations that fails unless the process owns the lock; `EPERM` then.
    pub fn release(&mut self, list: &[sembuf]) -> Result<()> {
        match self.operate(list, None) {
            Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::ERANGE]) => Err(errno!(EPERM)),
            other => other,
        }
    }
}
