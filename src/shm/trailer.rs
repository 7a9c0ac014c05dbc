//! The trailer: the end of a region's file, which records the region's attributes. They are a layout
//! tag, and whether the region is transient.
//!
//! A region without a tag that is not transient has no trailer: its file is as long as the region.
//! The file of any other region has one more page after the pages of the region, and the trailer is
//! at the end of that page. A process maps only the region's own pages, so a stray write cannot
//! reach the trailer, and other programs find the caller's bytes at the beginning of the file. (An
//! extended attribute would be an alternative, but tmpfs supports user attributes only since Linux
//! 6.6.)
//!
//! Another process may write any bytes into the file. A trailer is valid only if the file has
//! exactly the length that the size in the trailer implies. So no trailer makes a region larger than
//! its file.

use crate::errno::{Errno, Result, errno};
use crate::sys::{self, memory};
use std::os::fd::BorrowedFd;

const MAGIC: [u8; 16] = *b"unixipc region\r\n";
/// The version of [`Trailer`]. It changes with the layout.
const VERSION: u32 = 1;
/// A flag of the trailer: the region is transient.
const TRANSIENT: u32 = 1;

/// The last bytes of the file. The numbers are in native byte order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Trailer {
    magic: [u8; 16],
    version: u32,
    flags: u32,
    /// The size of the region.
    size: u64,
    layout: u64,
    reserved: [u64; 3],
}

const TRAILER_LEN: usize = 64;
const _: () = assert!(size_of::<Trailer>() == TRAILER_LEN);

/// The offsets of the trailer's members, for the golden file of the layouts.
pub const LAYOUT: [(&str, usize); 6] = [
    ("magic", std::mem::offset_of!(Trailer, magic)),
    ("version", std::mem::offset_of!(Trailer, version)),
    ("flags", std::mem::offset_of!(Trailer, flags)),
    ("size", std::mem::offset_of!(Trailer, size)),
    ("layout", std::mem::offset_of!(Trailer, layout)),
    ("reserved", std::mem::offset_of!(Trailer, reserved)),
];

/// The size of the trailer in bytes.
///
/// cbindgen:ignore
pub const SIZE: usize = TRAILER_LEN;

/// The attributes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The size of the region.
    pub size: usize,
    /// The layout tag; 0 for none.
    pub layout: u64,
    /// Whether the name is removed after the last user has gone.
    pub transient: bool,
}

impl Attributes {
    fn has_trailer(&self) -> bool {
        self.layout != 0 || self.transient
    }

    /// The length of the file. `EFBIG` if no file can have it.
    pub fn file_len(&self) -> Result<usize> {
        if self.has_trailer() {
            len_with_trailer(self.size).ok_or(errno!(EFBIG))
        } else {
            Ok(self.size)
        }
    }

    /// Writes the trailer to a new file, if the region has one.
    pub fn write(&self, fd: BorrowedFd) -> Result<()> {
        if !self.has_trailer() {
            return Ok(());
        }
        let at = self.file_len()? - TRAILER_LEN;
        let trailer = Trailer {
            magic: MAGIC,
            version: VERSION,
            flags: if self.transient { TRANSIENT } else { 0 },
            size: self.size as u64,
            layout: self.layout,
            reserved: [0; 3],
        };
        // SAFETY: the trailer has no padding, and the array has its size.
        let bytes: [u8; TRAILER_LEN] = unsafe { std::mem::transmute(trailer) };
        let mut done = 0;
        while let Some(rest @ [_, ..]) = bytes.get(done..) {
            match memory::write_at(fd, rest, at + done) {
                Ok(0) => return Err(errno!(ENOSPC)),
                Ok(len) => done += len,
                Err(error) if error == Errno::EINTR => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The attributes of a file of `file_len` bytes. `ESTALE` if another version of the library
    /// wrote the trailer.
    pub fn read(fd: BorrowedFd, file_len: usize) -> Result<Self> {
        let without = Self {
            size: file_len,
            layout: 0,
            transient: false,
        };
        // The page size is a power of two.
        let page = sys::page_size();
        if file_len < 2 * page || file_len & page.wrapping_sub(1) != 0 {
            return Ok(without);
        }
        let mut bytes = [0; TRAILER_LEN];
        match read_fully(fd, &mut bytes, file_len - TRAILER_LEN) {
            Ok(true) => {}
            Ok(false) => return Ok(without),
            // The descriptor is not open for reading. mmap(2) will refuse it too.
            Err(error) if error == Errno::EBADF => return Ok(without),
            Err(error) => return Err(error),
        }
        // SAFETY: any bytes are a trailer, and the array has its size.
        let trailer: Trailer = unsafe { std::mem::transmute(bytes) };
        let size = usize::try_from(trailer.size).ok();
        match size.filter(|size| *size > 0 && len_with_trailer(*size) == Some(file_len)) {
            Some(size) if trailer.magic == MAGIC => {
                if trailer.version != VERSION || trailer.flags & !TRANSIENT != 0 {
                    return Err(errno!(ESTALE));
                }
                Ok(Self {
                    size,
                    layout: trailer.layout,
                    transient: trailer.flags & TRANSIENT != 0,
                })
            }
            _ => Ok(without),
        }
    }
}

/// The length of a file with a region of this size and a trailer.
fn len_with_trailer(size: usize) -> Option<usize> {
    let page = sys::page_size();
    size.checked_next_multiple_of(page)?.checked_add(page)
}

/// Fills `bytes` from a file. Returns false if the file ends before.
fn read_fully(fd: BorrowedFd, bytes: &mut [u8], at: usize) -> Result<bool> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(done..) {
        match memory::read_at(fd, rest, at + done) {
            Ok(0) => return Ok(false),
            Ok(len) => done += len,
            Err(error) if error == Errno::EINTR => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
