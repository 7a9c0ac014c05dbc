//! A mutex in shared memory that outlives its owner, on top of [`Robust`].
//!
//! That an owner died stays noted in the object until somebody says that what the mutex guards
//! is consistent again: it is told to each owner in turn, and the mutex never becomes unusable.

use crate::errno::{Errno, Result};
use crate::lock::Held;
use crate::object::{Header, Kind};
use crate::robust::Robust;
use crate::wait::Wait;
use libc::pid_t;
use std::mem::offset_of;

const KIND: Kind = Kind::with_c_types(*b"uimx", 1);

/// The mutex as it lies in shared memory.
#[repr(C)]
pub struct Mutex {
    header: Header,
    robust: Robust,
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
        self.header.finish(KIND);
        Ok(())
    }

    /// Locks it.
    #[inline]
    pub fn lock(&self, mut wait: Wait) -> Result<Held> {
        self.header.check(KIND)?;
        self.robust.lock(&mut wait)?;
        Ok(self.held())
    }

    fn held(&self) -> Held {
        if self.robust.died() {
            Held::OwnerDied
        } else {
            Held::Clean
        }
    }

    /// Unlocks it. `EPERM` if this thread does not hold it.
    #[inline]
    pub fn unlock(&self) -> Result<()> {
        self.header.check(KIND)?;
        self.robust.unlock()
    }

    /// What it guards is consistent. `EPERM` if this thread does not hold it.
    pub fn consistent(&self) -> Result<()> {
        self.check_mine()?;
        self.robust.forget_death();
        Ok(())
    }

    /// `EPERM` if this thread does not hold it.
    pub fn check_mine(&self) -> Result<()> {
        self.header.check(KIND)?;
        if self.robust.is_mine() {
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
        self.header.check(KIND)?;
        Ok(self.robust.owner())
    }
}
