//! The beginning of an object in shared memory, by which each process that meets it knows
//! whether it is one, and whether it is laid out as this library lays it out.

use crate::errno::{Errno, Result};
use std::sync::atomic::{AtomicU64, Ordering, fence};

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
    magic: [u8; 4],
    layout: u32,
}

impl ObjectType {
    /// An object with nothing of the C library inside. `magic` is four letters; `version`
    /// changes with its layout.
    #[must_use]
    pub const fn new(magic: [u8; 4], version: u16) -> Self {
        Self {
            magic,
            layout: version as u32,
        }
    }

    /// An object with types of the C library inside.
    #[must_use]
    pub const fn with_c_types(magic: [u8; 4], version: u16) -> Self {
        let word_size = usize::BITS / 8;
        Self {
            magic,
            layout: version as u32 | (C_LIBRARY as u32) << 16 | word_size << 24,
        }
    }

    /// The header of such an object.
    const fn word(self) -> u64 {
        let [a, b, c, d] = self.magic;
        let [e, f, g, h] = self.layout.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The first eight bytes of an object, in one word, so that a call compares them at once: the
/// magic (4 bytes), and the layout: its version (16 bits), the C library (8), the size of its
/// words (8); the latter two are 0 without types of the C library inside.
#[repr(C)]
pub struct Header {
    word: AtomicU64,
}

impl Header {
    /// To be called before anything else of the object is written: from here on it is none.
    pub fn begin(&self) {
        self.word.store(0, Ordering::Relaxed);
        // A reader that sees any later store, and reads the header after a fence of its own, finds
        // none: a process that is killed from here on leaves no object.
        fence(Ordering::Release);
    }

    /// To be called when all of the object is written: from here on it is one.
    pub fn finish(&self, kind: ObjectType) {
        // Pairs with the load in `check`: a reader that sees the header sees all of the object.
        self.word.store(kind.word(), Ordering::Release);
    }

    /// `EPROTO` if this is not such an object, `ESTALE` if it is one of another layout.
    #[inline]
    pub fn check(&self, kind: ObjectType) -> Result<()> {
        // Pairs with the store in `finish`.
        let word = self.word.load(Ordering::Acquire);
        if word == kind.word() {
            return Ok(());
        }
        Err(error_of(word, kind))
    }
}

#[cold]
fn error_of(word: u64, kind: ObjectType) -> Errno {
    if word.to_ne_bytes().starts_with(&kind.magic) {
        Errno::ESTALE
    } else {
        Errno::EPROTO
    }
}
