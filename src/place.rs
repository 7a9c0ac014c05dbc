//! Places in the source: where the library has found the reason for an error. A tracer reads them at
//! the probe `error`; see `doc/probes.md`.

use std::ffi::c_char;

/// A line of a file of the source, or no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// The number of bits of a line. The bits above them have the index of the file in [`FILES`].
const LINE_BITS: u32 = 10;

/// The size of an element of [`NAMES`].
const NAME_SIZE: usize = 32;

/// The files of `src/` that return errors. The first element stands for errors that a system call has
/// returned: strace(1) shows the call.
pub const FILES: [&str; 104] = [
    "system call",
    "cell/layout.rs",
    "cell/lock.rs",
    "cell/mod.rs",
    "cell/protocol.rs",
    "channel/batch.rs",
    "channel/call.rs",
    "channel/connect.rs",
    "channel/control.rs",
    "channel/descriptors.rs",
    "channel/endpoint.rs",
    "channel/handshake.rs",
    "channel/memory.rs",
    "channel/options.rs",
    "channel/pending.rs",
    "channel/publish.rs",
    "channel/recv.rs",
    "channel/send.rs",
    "channel/state.rs",
    "deadline.rs",
    "fd.rs",
    "feed/clients.rs",
    "feed/connect.rs",
    "feed/handshake.rs",
    "feed/options.rs",
    "feed/page.rs",
    "feed/publisher.rs",
    "feed/subscriber.rs",
    "ffi/cell.rs",
    "ffi/channel/open.rs",
    "ffi/channel/options.rs",
    "ffi/cond.rs",
    "ffi/event.rs",
    "ffi/feed/open.rs",
    "ffi/feed/options.rs",
    "ffi/feed/state.rs",
    "ffi/feed/sub_options.rs",
    "ffi/fifo.rs",
    "ffi/mutex.rs",
    "ffi/pair.rs",
    "ffi/pointer.rs",
    "ffi/rwlock.rs",
    "ffi/shm.rs",
    "ffi/shm_open_or_create.rs",
    "ffi/spawn.rs",
    "ffi/spin.rs",
    "fifo/any.rs",
    "fifo/mod.rs",
    "fifo/record.rs",
    "fixed_vec.rs",
    "iovec.rs",
    "lock/cond.rs",
    "lock/event.rs",
    "lock/fair_mutex.rs",
    "lock/home.rs",
    "lock/inheriting.rs",
    "lock/mutex.rs",
    "lock/process.rs",
    "lock/robust_mutex.rs",
    "lock/robust_wait.rs",
    "lock/rw_call.rs",
    "lock/rw_protocol.rs",
    "lock/rwlock.rs",
    "message/control.rs",
    "message/kind.rs",
    "message/mod.rs",
    "message/stream.rs",
    "name_lock.rs",
    "object.rs",
    "pair.rs",
    "peer_pidfd.rs",
    "proc_file.rs",
    "process_lock.rs",
    "process_start.rs",
    "semlock/open.rs",
    "semlock/set.rs",
    "shm/check.rs",
    "shm/create.rs",
    "shm/file.rs",
    "shm/map.rs",
    "shm/mod.rs",
    "shm/name.rs",
    "shm/open.rs",
    "shm/open_or_create.rs",
    "shm/sysv.rs",
    "shm/trailer.rs",
    "shm/users.rs",
    "spawn/descriptors.rs",
    "spawn/mod.rs",
    "spawn/program.rs",
    "sys/futex.rs",
    "sys/memory.rs",
    "sys/packet.rs",
    "sys/pipe.rs",
    "sys/spawn.rs",
    "transport/await_listener.rs",
    "transport/broadcast/reader.rs",
    "transport/doorbell.rs",
    "transport/fd_queue.rs",
    "transport/hello.rs",
    "transport/listen.rs",
    "transport/pipe_ends.rs",
    "transport/ring.rs",
    "transport/ring_memory.rs",
];

/// The elements of [`FILES`], each followed by a NUL at least.
static NAMES: [[u8; NAME_SIZE]; FILES.len()] = {
    let mut names = [[0; NAME_SIZE]; FILES.len()];
    let mut file = 0;
    while file < FILES.len() {
        let name = FILES[file].as_bytes();
        assert!(name.len() < NAME_SIZE);
        let mut at = 0;
        while at < name.len() {
            names[file][at] = name[at];
            at += 1;
        }
        file += 1;
    }
    names
};

impl Place {
    /// The place of a line of one of the [`FILES`], with the path that `file!()` gives. It is computed
    /// by the compiler, which fails for any other file.
    #[must_use]
    pub const fn new(path: &str, line: u32) -> Self {
        assert!(line < 1 << LINE_BITS, "the file has too many lines");
        let mut file = 1;
        while !is_path_of(path.as_bytes(), FILES[file].as_bytes()) {
            file += 1;
            assert!(file < FILES.len(), "add this file to place::FILES");
        }
        Self((file as u32) << LINE_BITS | line)
    }

    /// The place in one word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The place that [`Place::bits`] has returned; no place for 0.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The line; 0 for no place.
    #[must_use]
    pub fn line(self) -> u32 {
        self.0 & ((1 << LINE_BITS) - 1)
    }

    /// The name of the file, below `src/`.
    #[must_use]
    pub fn file(self) -> *const c_char {
        let offset = (self.0 >> LINE_BITS) as usize * NAME_SIZE;
        // Only tracers read it.
        NAMES.as_ptr().cast::<c_char>().wrapping_add(offset)
    }
}

/// Whether `path` is that of the file `name` of `src/`.
const fn is_path_of(path: &[u8], name: &[u8]) -> bool {
    let directory = b"src/";
    let Some(start) = path.len().checked_sub(name.len() + directory.len()) else {
        return false;
    };
    let mut at = 0;
    while at < directory.len() + name.len() {
        let expected = if at < directory.len() {
            directory[at]
        } else {
            name[at - directory.len()]
        };
        if path[start + at] != expected {
            return false;
        }
        at += 1;
    }
    true
}
