//! The memory that another process shares. The other process can change it at any time, so a caller
//! reads each part once, and checks the bytes.
//!
//! The file that is mapped is read if the kernel permits it, and otherwise the memory of the process
//! (/proc/PID/mem), which allocates the pages that it reads.

use super::maps::{FileId, Mapping};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// A mapping of a process.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub pid: i32,
    start: u64,
    len: u64,
    offset: u64,
    file: FileId,
}

impl Place {
    /// The mapping of this process.
    pub fn new(pid: i32, mapping: &Mapping) -> Self {
        Self {
            pid,
            start: mapping.start,
            len: mapping.len,
            offset: mapping.offset,
            file: mapping.file,
        }
    }
}

/// The memory at a place, and where it begins in the file.
pub struct Memory(File, u64);

impl Memory {
    /// Opens the memory. It needs the permission to trace the process (ptrace(2)).
    pub fn open(place: &Place) -> io::Result<Self> {
        if let Ok(file) = open_file(place) {
            return Ok(Self(file, place.offset));
        }
        let memory = File::open(format!("/proc/{}/mem", place.pid))?;
        Ok(Self(memory, place.start))
    }

    /// Fills `bytes` with the memory at an offset.
    pub fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match self.read_up_to(bytes, at)? {
            len if len == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Fills `bytes` as far as possible. Returns how many were read. Fails if there are none.
    pub fn read_up_to(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        read_up_to(&self.0, bytes, self.1.checked_add(at).ok_or_else(end)?)
    }
}

/// Fills `bytes` with a part of a file as far as possible. Returns how many were read. Fails if there
/// are none because of an error.
pub fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(done..) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Opens the file that is mapped at a place. `EPERM` for users other than root.
fn open_file(place: &Place) -> io::Result<File> {
    let (start, end) = (place.start, place.start.saturating_add(place.len));
    let link = format!("/proc/{}/map_files/{start:x}-{end:x}", place.pid);
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(link)?;
    // The process may have mapped another file since then, whose open could wait for a process.
    if id_of(&found)? != place.file {
        return Err(io::ErrorKind::NotFound.into());
    }
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// The identity of a file, as the kernel knows it: fstat(2) could wait for a file system.
fn id_of(file: &File) -> io::Result<FileId> {
    let mut status = [0; 256];
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an empty path, and the kernel writes the structure, which has 256 bytes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_INO,
            status.as_mut_ptr(),
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // `stx_ino`, `stx_dev_major` and `stx_dev_minor`.
    let status = Words(&status);
    Ok(FileId {
        device: libc::makedev(status.u32(136), status.u32(140)),
        inode: status.u64(32),
    })
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
