//! A value that is set once. Unlike `std::sync::OnceLock` it never waits: in the child of a fork
//! that another thread made during [`InitOnce::set`], the value is missing.

use crate::atomic::{AtomicU32, Ordering};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const SET: u32 = 2;

/// A value that is set once, and read by several threads.
pub struct InitOnce<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one thread, before the others can read it.
unsafe impl<T: Send + Sync> Sync for InitOnce<T> {}

impl<T> InitOnce<T> {
    /// No value.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it has been set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Pairs with the store in `set`.
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: nothing writes the value any longer.
        let value = unsafe { &*self.value.get() };
        // SAFETY: it has been set.
        Some(unsafe { value.assume_init_ref() })
    }

    /// Sets the value. Returns it if another call has set it, or is about to.
    pub fn set(&self, value: T) -> Result<(), T> {
        let relaxed = Ordering::Relaxed;
        if self
            .state
            .compare_exchange(EMPTY, BUSY, relaxed, relaxed)
            .is_err()
        {
            return Err(value);
        }
        // SAFETY: only this thread has changed the state to BUSY.
        unsafe { &mut *self.value.get() }.write(value);
        // Pairs with the load in `get`.
        self.state.store(SET, Ordering::Release);
        Ok(())
    }
}

impl<T> Default for InitOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for InitOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: it has been set, and is not used again.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}
