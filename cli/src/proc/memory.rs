//! The memory of another process, read through /proc/PID/mem. The other process can change it at any
//! time, so a caller reads each part once, and checks what it has read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The memory of a process.
pub struct Memory(File);

impl Memory {
    /// Opens the memory. It needs the permission to trace the process (ptrace(2)).
    pub fn open(pid: i32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/mem")).map(Self)
    }

    /// Fills `bytes` with the memory at an address.
    pub fn read(&self, bytes: &mut [u8], address: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, address)
    }
}

/// Bytes that another process has written, with its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(pub &'a [u8]);

impl Words<'_> {
    /// The number of 32 bits at an offset; 0 behind the end.
    pub fn u32(self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_le_bytes)
    }

    /// The number of 64 bits at an offset; 0 behind the end.
    pub fn u64(self, at: usize) -> u64 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u64::from_le_bytes)
    }
}
