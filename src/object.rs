//! The header of an object in shared memory. By it each process recognises an object, and checks
//! that it has the layout of this library.

use crate::errno::{Errno, Result, errno};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Identifies the C library, because each one has its own layout of a mutex.
#[cfg(target_env = "gnu")]
const C_LIBRARY: u8 = 1;
#[cfg(target_env = "musl")]
const C_LIBRARY: u8 = 2;
#[cfg(not(any(target_env = "gnu", target_env = "musl")))]
const C_LIBRARY: u8 = 255;

/// The type of an object: equal for all objects of one type that a build of the library makes.
#[derive(Clone, Copy)]
pub struct ObjectType {
    magic: [u8; 4],
    layout: u32,
}

impl ObjectType {
    /// An object without types of the C library. `magic` is four letters; `version` changes with
    /// the layout.
    #[must_use]
    pub const fn new(magic: [u8; 4], version: u16) -> Self {
        Self {
            magic,
            layout: version as u32,
        }
    }

    /// An object that contains types of the C library.
    #[must_use]
    pub const fn with_c_types(magic: [u8; 4], version: u16) -> Self {
        let word_size = usize::BITS / 8;
        Self {
            magic,
            layout: version as u32 | (C_LIBRARY as u32) << 16 | word_size << 24,
        }
    }

    /// The header of such an object, its first eight bytes.
    #[must_use]
    pub const fn word(self) -> u64 {
        let [a, b, c, d] = self.magic;
        let [e, f, g, h] = self.layout.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The first eight bytes of an object, in one word so that one comparison checks them: the magic (4
/// bytes), the version of the layout (16 bits), the C library (8 bits), and the size of its words
/// (8 bits). The last two are 0 in an object without types of the C library.
#[repr(C)]
pub struct Header {
    word: AtomicU64,
}

impl Header {
    /// Invalidates the object. Call it before any other part of the object is written.
    pub fn begin(&self) {
        self.word.store(0, Ordering::Relaxed);
        // A reader that sees any later store, and reads the header after an acquire fence, finds 0.
        // So a process that is killed from here on leaves no object.
        fence(Ordering::Release);
    }

    /// Makes the object valid. Call it when all of the object has been written.
    pub fn finish(&self, kind: ObjectType) {
        // Pairs with the load in `check`: a reader that sees the header sees all of the object.
        self.word.store(kind.word(), Ordering::Release);
    }

    /// Checks the type. Fails with `EPROTO` if this is not such an object, and with `ESTALE` if it
    /// has another layout.
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
        errno!(ESTALE)
    } else {
        errno!(EPROTO)
    }
}
