//! A vector whose capacity is fixed when it is made. Unlike `Vec` it never aborts the process: if no
//! memory is left, making it fails.

use crate::errno::{Result, errno};
use std::alloc::{self, Layout};
use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::slice;

/// A vector with a fixed capacity.
pub struct FixedVec<T> {
    memory: Box<[MaybeUninit<T>]>,
    /// The first `len` elements are initialised.
    len: usize,
}

impl<T> FixedVec<T> {
    /// An empty vector for `capacity` elements. Memory that is not used yet is only reserved.
    pub fn new(capacity: usize) -> Result<Self> {
        const { assert!(mem::size_of::<T>() > 0) };
        let layout = Layout::array::<T>(capacity.max(1)).map_err(|_| errno!(ENOMEM))?;
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc::alloc(layout) };
        if memory.is_null() {
            return Err(errno!(ENOMEM));
        }
        let memory = std::ptr::slice_from_raw_parts_mut(memory.cast(), capacity.max(1));
        Ok(Self {
            // SAFETY: allocated with the layout of this array, and not shared.
            memory: unsafe { Box::from_raw(memory) },
            len: 0,
        })
    }

    /// Whether there is no place for another element.
    pub fn is_full(&self) -> bool {
        self.len == self.memory.len()
    }

    /// Appends an element. `ENOSPC` if there is no place.
    pub fn push(&mut self, value: T) -> Result<()> {
        match self.memory.get_mut(self.len) {
            None => Err(errno!(ENOSPC)),
            Some(place) => {
                place.write(value);
                self.len += 1;
                Ok(())
            }
        }
    }

    /// Removes the element at `index`, and returns it. The last element takes its place. None if
    /// there is no such element.
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        if index > last {
            return None;
        }
        self.len = last;
        let memory = self.memory.get_mut(..=last)?;
        memory.swap(index, last);
        // SAFETY: it was initialised, and is behind the new end.
        Some(unsafe { memory.last()?.assume_init_read() })
    }
}

impl<T> Deref for FixedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for FixedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` elements are initialised.
        unsafe { slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.len) }
    }
}

impl<T> Drop for FixedVec<T> {
    fn drop(&mut self) {
        while self.swap_remove(0).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;
    use std::hint::black_box;
    use std::rc::Rc;

    #[test]
    fn is_a_vector() {
        let shared = Rc::new(());
        let mut vec = FixedVec::new(3).unwrap();
        for number in 0..3 {
            assert!(vec.push((number, shared.clone())).is_ok());
        }
        assert!(vec.is_full());
        assert_eq!(vec.push((3, shared.clone())), Err(Errno::ENOSPC));
        assert_eq!(vec.swap_remove(0).unwrap().0, 0);
        assert_eq!(
            vec.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [2, 1]
        );
        assert!(vec.swap_remove(2).is_none());
        vec[1].0 = 7;
        assert_eq!(vec.swap_remove(1).unwrap().0, 7);
        assert_eq!(Rc::strong_count(&shared), 2);
        drop(vec);
        assert_eq!(Rc::strong_count(&shared), 1);
    }

    #[test]
    fn no_memory() {
        for len in [usize::MAX, 1 << 59] {
            // The optimiser removes an allocation that nobody uses, with its failure.
            let vec = black_box(FixedVec::<u64>::new(len));
            assert_eq!(vec.err(), Some(Errno::ENOMEM));
        }
    }
}
