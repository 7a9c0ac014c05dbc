//! A value that is set once. Unlike `std::sync::OnceLock` it never waits. If a thread forks while
//! another one is in [`InitOnce::set`], the child has no value, and cannot set one.

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

    /// Returns the value, if it has been set.
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

    /// Returns the value, which is known to be set.
    ///
    /// # Safety
    ///
    /// [`InitOnce::get`] has returned it to this thread, or to one that this thread has synchronised with.
    #[inline(always)]
    pub unsafe fn get_unchecked(&self) -> &T {
        // SAFETY: nothing writes the value any longer.
        let value = unsafe { &*self.value.get() };
        // SAFETY: it has been set.
        unsafe { value.assume_init_ref() }
    }

    /// Sets the value. Returns `value` as an error if another call has set one, or is setting one.
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
