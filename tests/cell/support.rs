//! The C calls with Rust types, memory for the cells, and values that show whether they are whole.

pub use common::prelude::*;
use libc::{c_int, c_uint, c_void, size_t};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use unixipc::cell::Cell as Raw;
use unixipc::ffi::cell::*;

pub const WAITABLE: c_uint = IPC_CELL_F_WAITABLE;
/// Handles that only read may wait too.
pub const WAITABLE_RDONLY: c_uint = IPC_CELL_F_WAITABLE_RDONLY;
pub const RDONLY: c_uint = IPC_CELL_F_RDONLY;
pub const SOLE: c_uint = IPC_CELL_F_SOLE_WRITER;
pub const INTR: c_int = unixipc::ffi::pair::IPC_WAIT_INTR;

/// A handle; dropping it closes it.
pub struct Cell(pub *mut Raw);

impl Drop for Cell {
    fn drop(&mut self) {
        // SAFETY: the handle is open.
        unsafe { ipc_cell_close(self.0) };
    }
}

/// Shared memory between two inaccessible pages. It ends where the second one begins, so that an
/// overrun faults.
pub struct Memory {
    mapping: *mut c_void,
    mapped: usize,
    pub at: *mut u8,
    pub size: usize,
}

// SAFETY: several threads may use the mapping, and only the library accesses the cell.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory, all zero.
    pub fn new(size: usize) -> Self {
        Self::of(&memfd(size), size, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// The first bytes of a file.
    pub fn of(file: &File, size: usize, protection: c_int) -> Self {
        let page = page_size();
        let inner = size.next_multiple_of(page);
        let mapped = inner + 2 * page;
        let anywhere = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping; the kernel chooses the address.
        let mapping =
            unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, anywhere, -1, 0) };
        assert_ne!(mapping, libc::MAP_FAILED);
        // SAFETY: within the mapping.
        let start = unsafe { mapping.add(page) };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: replaces pages of the mapping that is ours.
        let got = unsafe { libc::mmap(start, inner, protection, flags, file.as_raw_fd(), 0) };
        assert_eq!(got, start);
        Self {
            mapping,
            mapped,
            at: start.cast(),
            size,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: this many bytes are mapped, and no process writes to them now.
        unsafe { std::slice::from_raw_parts(self.at, self.size) }.to_vec()
    }

    pub fn fill(&self, mut byte: impl FnMut(usize) -> u8) {
        for i in 0..self.size {
            // SAFETY: within the memory.
            unsafe { self.at.add(i).write_volatile(byte(i)) };
        }
    }

    /// Overwrites a number at an offset of the layout.
    pub fn poke<T>(&self, offset: usize, value: T) {
        assert!(offset + size_of::<T>() <= self.size);
        // SAFETY: within the memory.
        unsafe { self.at.add(offset).cast::<T>().write_volatile(value) };
    }

    pub fn peek<T: Copy>(&self, offset: usize) -> T {
        assert!(offset + size_of::<T>() <= self.size);
        // SAFETY: within the memory; T is a number.
        unsafe { self.at.add(offset).cast::<T>().read_volatile() }
    }

    pub fn init(&self, value_size: usize, flags: c_uint) -> Result<Cell, c_int> {
        init_raw(self.at.cast(), self.size, value_size, flags)
    }

    pub fn open(&self, flags: c_uint) -> Result<Cell, c_int> {
        open_raw(self.at.cast(), self.size, flags)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no longer used.
        unsafe { libc::munmap(self.mapping, self.mapped) };
    }
}

/// Offsets of the fields that tests overwrite.
pub mod layout {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 4;
    pub const FLAGS: usize = 8;
    pub const SLOTS: usize = 12;
    pub const VALUE_SIZE: usize = 16;
    pub const STRIDE: usize = 24;
    pub const PUBLISHED: usize = 64;
    pub const WAITERS: usize = 68;
    pub const LOCK: usize = 128;
    pub const FIRST_SLOT: usize = 256;
}

/// Memory with a cell in it, and a handle.
pub fn new_cell(value_size: usize, flags: c_uint) -> (Memory, Cell) {
    let memory = Memory::new(ipc_cell_memory_size(value_size));
    let cell = memory.init(value_size, flags).unwrap();
    (memory, cell)
}

/// The value of a handle before a call; no call returns it.
fn no_handle() -> *mut Raw {
    ptr::without_provenance_mut(0xdead0)
}

fn handle(call: impl FnOnce(*mut *mut Raw) -> c_int) -> Result<Cell, c_int> {
    let mut cell = no_handle();
    match outcome(|| call(&mut cell) as isize) {
        Ok(ret) => {
            assert!(ret == 0 && cell != no_handle());
            Ok(Cell(cell))
        }
        Err(errno) => {
            assert_eq!(cell, no_handle(), "an output was changed");
            Err(errno)
        }
    }
}

pub fn init_raw(
    at: *mut c_void,
    size: usize,
    value_size: usize,
    flags: c_uint,
) -> Result<Cell, c_int> {
    // SAFETY: memory of the test's.
    handle(|cell| unsafe { ipc_cell_init(at, size, value_size, flags, cell) })
}

pub fn open_raw(at: *const c_void, size: usize, flags: c_uint) -> Result<Cell, c_int> {
    // SAFETY: memory of the test's.
    handle(|cell| unsafe { ipc_cell_open(at, size, flags, cell) })
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a cell of {}", self.size())
    }
}

impl Cell {
    pub fn size(&self) -> usize {
        // SAFETY: an open handle.
        unsafe { ipc_cell_value_size(self.0) }
    }

    #[track_caller]
    pub fn store(&self, value: &[u8], timeout_ms: c_int) -> Outcome {
        self.store_raw(value.as_ptr().cast(), value.len(), timeout_ms)
    }

    #[track_caller]
    pub fn store_raw(&self, value: *const c_void, len: size_t, timeout_ms: c_int) -> Outcome {
        // SAFETY: an open handle; the pointer and the length are the test's choice.
        outcome(|| unsafe { ipc_cell_store(self.0, value, len, timeout_ms) } as isize)
    }

    /// Loads into a buffer; the call must not write beyond `cap`, nor set the version on failure.
    #[track_caller]
    pub fn load_cap(&self, cap: usize) -> Result<(Vec<u8>, u64), c_int> {
        let mut buffer = vec![0xa5; cap + 16];
        let mut version = u64::MAX;
        // SAFETY: an open handle, and a buffer longer than cap.
        let len = outcome(|| unsafe {
            ipc_cell_load(self.0, buffer.as_mut_ptr().cast(), cap, &mut version)
        });
        assert_eq!(buffer[cap..], [0xa5; 16], "bytes beyond cap were written");
        match len {
            Ok(len) => {
                assert!(len <= cap);
                buffer.truncate(len);
                Ok((buffer, version))
            }
            Err(errno) => {
                assert_eq!(version, u64::MAX, "an output was changed");
                Err(errno)
            }
        }
    }

    #[track_caller]
    pub fn load(&self) -> Result<(Vec<u8>, u64), c_int> {
        self.load_cap(self.size())
    }

    #[track_caller]
    pub fn wait(&self, seen: u64, timeout_ms: c_int) -> Outcome {
        // SAFETY: an open handle.
        outcome(|| unsafe { ipc_cell_wait(self.0, seen, timeout_ms) } as isize)
    }

    #[track_caller]
    pub fn version(&self) -> u64 {
        self.load().unwrap().1
    }
}

/// A value that is a function of a number and a length. It contains both if it is long enough.
pub fn fill_value(value: &mut [u8], number: u64) {
    let len = value.len() as u64;
    for (i, part) in value.chunks_mut(8).enumerate() {
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (i as u64 * 0x0101) ^ len << 48;
        let word = if i == 0 { number } else { word };
        part.copy_from_slice(&word.to_le_bytes()[..part.len()]);
    }
}

/// The number of a value of at least eight bytes, which must be whole.
#[track_caller]
pub fn check_value(value: &[u8], scratch: &mut Vec<u8>) -> u64 {
    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
    scratch.resize(value.len(), 0);
    fill_value(scratch, number);
    assert!(value == &scratch[..], "a torn value, number {number}");
    number
}
