//! The beginning of an object in shared memory, by which each process that meets it knows
//! whether it is one, and whether it is laid out as this library lays it out.

use crate::errno::{Errno, Result};
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// The C library whose types are inside: its layout of a mutex is its own.
#[cfg(target_env = "gnu")]
const C_LIBRARY: u8 = 1;
#[cfg(target_env = "musl")]
const C_LIBRARY: u8 = 2;
#[cfg(not(any(target_env = "gnu", target_env = "musl")))]
const C_LIBRARY: u8 = 255;

/// The type of an object: the same for all objects of one type that one build of the library makes.
#[derive(Clone, Copy)]
pub struct ObjectType {
    magic: u32,
    layout: u32,
}

impl ObjectType {
    /// An object with nothing of the C library inside. `magic` is four letters; `version`
    /// changes with its layout.
    #[must_use]
    pub const fn new(magic: [u8; 4], version: u16) -> Self {
        Self {
            magic: u32::from_le_bytes(magic),
            layout: version as u32,
        }
    }

    /// An object with types of the C library inside.
    #[must_use]
    pub const fn with_c_types(magic: [u8; 4], version: u16) -> Self {
        let word_size = usize::BITS / 8;
        Self {
            magic: u32::from_le_bytes(magic),
            layout: version as u32 | (C_LIBRARY as u32) << 16 | word_size << 24,
        }
    }
}

/// The first eight bytes of an object.
#[repr(C)]
pub struct Header {
    magic: AtomicU32,
    /// The version of the layout (16 bits), the C library (8), the size of its words (8);
    /// the latter two are 0 without types of the C library inside.
    layout: AtomicU32,
}

impl Header {
    /// To be called before anything else of the object is written: from here on it is none.
    pub fn begin(&self) {
        self.magic.store(0, Ordering::Relaxed);
        // A reader that sees any later store, and reads the magic after a fence of its own, finds
        // none: a process that is killed from here on leaves no object.
        fence(Ordering::Release);
    }

    /// To be called when all of the object is written: from here on it is one.
    pub fn finish(&self, kind: ObjectType) {
        self.layout.store(kind.layout, Ordering::Relaxed);
        // Pairs with the load in `check`: a reader that sees the magic sees all of the object.
        self.magic.store(kind.magic, Ordering::Release);
    }

    /// `EPROTO` if this is not such an object, `ESTALE` if it is one of another layout.
    #[inline]
    pub fn check(&self, kind: ObjectType) -> Result<()> {
        // Pairs with the store in `finish`.
        if self.magic.load(Ordering::Acquire) != kind.magic {
            return Err(Errno::EPROTO);
        }
        if self.layout.load(Ordering::Relaxed) != kind.layout {
            return Err(Errno::ESTALE);
        }
        Ok(())
    }
}
