//! The label of a shared memory: its type, and when and by which process it was made. Only programs that
//! inspect the memory read it, such as unixipc(1).
//!
//! It is in the page of the control words, which the owner of the memory writes anyway:
//!
//! | offset | content |
//! |---|---|
//! | 1024 | [`Header`]: four letters and the version of the label |
//! | 1032 | the process that made the memory, or that used its end of a pair first, as its own PID namespace numbers it |
//! | 1036 | the number of this namespace; 0 if unknown |
//! | 1040 | when the memory was made: nanoseconds since the boot (`CLOCK_BOOTTIME`) |
//! | 1048 | the inode number of the memory of the other side; 0 if unknown, or for the same file |
//! | 1056 | the alignment of messages; 0 if unknown |
//! | 1060 | bit 0: a subscriber is lossy |
//! | 1064 | the inode number of the socket on which a feed listens; 0 if none |
//! | 1072 | the name of a subscriber, 32 bytes, padded with zeros |
//! | 1104 | reserved, to 1152 |
//!
//! A process that has started after the memory was made is another one that has reused the number.

use crate::object::{Header, ObjectType};
use crate::sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The offset of the label in a memory.
///
/// cbindgen:ignore
pub const OFFSET: usize = 1024;

/// The size of a name.
///
/// cbindgen:ignore
pub const NAME_SIZE: usize = 32;

/// A flag of the label: the subscriber is lossy.
///
/// cbindgen:ignore
pub const LOSSY: u32 = 1;

/// The type of a memory.
pub struct Kind {
    /// The name of its memfd.
    pub file_name: &'static CStr,
    object: ObjectType,
}

impl Kind {
    const fn new(file_name: &'static CStr, magic: [u8; 4]) -> Self {
        Self {
            file_name,
            object: ObjectType::new(magic, 1),
        }
    }

    /// The first eight bytes of the label.
    #[must_use]
    pub const fn object(&self) -> ObjectType {
        self.object
    }
}

/// The memory of an end of a channel.
pub static CHANNEL: Kind = Kind::new(c"unixipc-channel", *b"uich");
/// The memory of a feed.
pub static FEED: Kind = Kind::new(c"unixipc-feed", *b"uifd");
/// The memory of a subscriber.
pub static SUBSCRIBER: Kind = Kind::new(c"unixipc-subscriber", *b"uisb");

/// The label, in shared memory.
#[repr(C)]
pub struct Label {
    header: Header,
    process: AtomicU32,
    namespace: AtomicU32,
    created: AtomicU64,
    peer: AtomicU64,
    align: AtomicU32,
    flags: AtomicU32,
    listener: AtomicU64,
    name: [AtomicU64; NAME_SIZE / 8],
    _reserved: [AtomicU64; 6],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Label>() == 128);
    assert!(offset_of!(Label, process) == 8);
    assert!(offset_of!(Label, namespace) == 12);
    assert!(offset_of!(Label, created) == 16);
    assert!(offset_of!(Label, peer) == 24);
    assert!(offset_of!(Label, align) == 32);
    assert!(offset_of!(Label, flags) == 36);
    assert!(offset_of!(Label, listener) == 40);
    assert!(offset_of!(Label, name) == 48);
};

impl Label {
    /// Writes the label of a memory that this process makes.
    pub fn write(&self, kind: &Kind) {
        self.header.begin();
        self.process.store(sys::process_id(), Ordering::Relaxed);
        let namespace = sys::pid_namespace();
        self.namespace.store(namespace, Ordering::Relaxed);
        let now = sys::boot_time().as_nanos() as u64;
        self.created.store(now, Ordering::Relaxed);
        self.header.finish(kind.object);
    }

    /// Writes the label if it has not been written, for an end with this alignment whose peer's
    /// memory is in the same file.
    pub fn write_late(&self, kind: &Kind, align: u64) {
        if self.header.check(kind.object).is_err() {
            self.write(kind);
            self.set_peer(0, align);
        }
    }

    /// Records the memory of the other side, and the alignment of messages.
    pub fn set_peer(&self, inode: u64, align: u64) {
        self.align.store(align as u32, Ordering::Relaxed);
        self.peer.store(inode, Ordering::Relaxed);
    }

    /// Records the socket on which a feed listens.
    pub fn set_listener(&self, inode: u64) {
        self.listener.store(inode, Ordering::Relaxed);
    }

    /// Records the name of a subscriber, and whether it is lossy.
    pub fn set_subscriber(&self, name: &[u8; NAME_SIZE], is_lossy: bool) {
        let flags = if is_lossy { LOSSY } else { 0 };
        self.flags.store(flags, Ordering::Relaxed);
        for (word, chunk) in self.name.iter().zip(name.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }
}
