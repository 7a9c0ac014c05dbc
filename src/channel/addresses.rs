//! The addresses of the records in a ring, for loops over many records.

use super::memory::EndMemory;
use crate::atomic::AtomicU32;
use crate::transport::ring::LENGTH;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The addresses of the records in a ring. In contrast to a reference to [`EndMemory`], a loop can
/// keep it in a register while it copies messages.
#[derive(Clone, Copy)]
pub struct Addresses<'a> {
    /// The message at position 0.
    first: NonNull<u8>,
    memory: PhantomData<&'a EndMemory>,
}

impl<'a> Addresses<'a> {
    /// The records of the ring in this memory.
    #[inline(always)]
    pub fn of(memory: &'a EndMemory) -> Self {
        Self {
            first: memory.message(0),
            memory: PhantomData,
        }
    }

    /// As [`EndMemory::message`].
    #[inline(always)]
    pub fn message(self, position: u64) -> NonNull<u8> {
        // SAFETY: a position is within the ring, which is mapped.
        unsafe { self.first.add(position as usize) }
    }

    /// As [`EndMemory::length`].
    #[inline(always)]
    pub fn length(self, position: u64) -> &'a AtomicU32 {
        // SAFETY: the length field precedes its message.
        let length = unsafe { self.message(position).sub(LENGTH as usize) };
        // SAFETY: within the mapping, which lives as long as the memory, and aligned to four. It is
        // an atomic, for which any bytes are valid.
        unsafe { length.cast().as_ref() }
    }
}
