//! A mutex in shared memory that outlives its owner, on top of [`RobustMutex`].
//!
//! That an owner died stays noted in the object until somebody says that what the mutex guards
//! is consistent again: it is told to each owner in turn, and the mutex never becomes unusable.

use super::LockStatus;
use super::robust_mutex::RobustMutex;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::object::{Header, ObjectType};
use libc::pid_t;
use std::mem::offset_of;

const OBJECT_TYPE: ObjectType = ObjectType::with_c_types(*b"uimx", 1);

/// The mutex as it lies in shared memory.
#[repr(C)]
pub struct Mutex {
    header: Header,
    robust: RobustMutex,
}

impl Mutex {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 2] = [
        ("header", offset_of!(Self, header)),
        ("robust", offset_of!(Self, robust)),
    ];

    /// Makes a mutex that is free out of whatever was there.
    pub fn init(&self) -> Result<()> {
        self.header.begin();
        self.robust.init()?;
        self.header.finish(OBJECT_TYPE);
        Ok(())
    }

    /// Locks it.
    #[inline]
    pub fn lock(&self, mut wait: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        self.robust.lock(&mut wait)?;
        Ok(self.held())
    }

    fn held(&self) -> LockStatus {
        if self.robust.died() {
            LockStatus::OwnerDied
        } else {
            LockStatus::Clean
        }
    }

    /// Unlocks it. `EPERM` if this thread does not hold it.
    #[inline]
    pub fn unlock(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        self.robust.unlock()
    }

    /// What it guards is consistent. `EPERM` if this thread does not hold it.
    pub fn consistent(&self) -> Result<()> {
        self.check_mine()?;
        self.robust.mark_consistent();
        Ok(())
    }

    /// `EPERM` if this thread does not hold it.
    pub fn check_mine(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        if self.robust.held_by_current_thread() {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Whether the thread with this id holds it, where that it is a mutex is known.
    #[inline]
    pub fn is_held_by(&self, thread: pid_t) -> bool {
        self.robust.owner() == thread
    }

    /// The id of the thread that holds it, or 0.
    pub fn owner(&self) -> Result<pid_t> {
        self.header.check(OBJECT_TYPE)?;
        Ok(self.robust.owner())
    }
}
