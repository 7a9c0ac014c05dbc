//! Descriptors beside a message: `SCM_RIGHTS` (unix(7), cmsg(3)).

use crate::errno::{Errno, Result};
use crate::fd::own;
use crate::sys::CancelGuard;
use libc::{c_int, cmsghdr, msghdr};
use std::mem::{self, MaybeUninit};
use std::os::fd::{IntoRawFd, OwnedFd};

/// How many descriptors the kernel passes at once (`SCM_MAX_FD`).
///
/// cbindgen:ignore
pub const FDS_MAX: usize = 253;

/// Room for `FDS_MAX` descriptors, and for what else a receiver may have switched on:
/// credentials, a pidfd, a security label.
const BYTES: usize = 2048;

/// Control data: aligned as its headers are.
#[repr(C)]
struct Buffer {
    align: [cmsghdr; 0],
    bytes: [MaybeUninit<u8>; BYTES],
}

impl Buffer {
    const fn new() -> Self {
        Self {
            align: [],
            bytes: [MaybeUninit::uninit(); BYTES],
        }
    }
}

/// The descriptors that go with a message.
pub struct SendControl {
    buffer: Buffer,
    len: usize,
}

impl SendControl {
    /// At most [`FDS_MAX`] descriptors, and at least one.
    pub fn new(fds: &[c_int]) -> Self {
        assert!((1..=FDS_MAX).contains(&fds.len()));
        let payload = mem::size_of_val(fds);
        // SAFETY: CMSG_SPACE only computes.
        let len = unsafe { libc::CMSG_SPACE(payload as u32) } as usize;
        let mut control = Self {
            buffer: Buffer::new(),
            len,
        };
        // The padding goes to the kernel too.
        control.buffer.bytes[..len].fill(MaybeUninit::new(0));
        let mut header = super::empty_header();
        control.attach(&mut header);
        // SAFETY: the buffer is aligned and holds at least one header.
        let cmsg = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: CMSG_LEN only computes.
        let len = unsafe { libc::CMSG_LEN(payload as u32) };
        // SAFETY: as for CMSG_FIRSTHDR; nobody else has the buffer.
        unsafe {
            cmsg.write(cmsghdr {
                cmsg_len: len as _,
                cmsg_level: libc::SOL_SOCKET,
                cmsg_type: libc::SCM_RIGHTS,
            })
        };
        // SAFETY: CMSG_DATA only computes.
        let data = unsafe { libc::CMSG_DATA(cmsg) };
        // SAFETY: CMSG_SPACE made room for all of `fds` there.
        unsafe { data.copy_from_nonoverlapping(fds.as_ptr().cast(), payload) };
        control
    }

    /// Lets the header point to the descriptors.
    pub fn attach(&mut self, header: &mut msghdr) {
        header.msg_control = self.buffer.bytes.as_mut_ptr().cast();
        header.msg_controllen = self.len as _;
    }
}

/// Room for the descriptors that come with a message. Those that nobody takes are closed.
pub struct RecvControl {
    buffer: Buffer,
    len: usize,
}

impl RecvControl {
    pub const fn new() -> Self {
        Self {
            buffer: Buffer::new(),
            len: 0,
        }
    }

    /// Lets the header point to the room.
    pub fn attach(&mut self, header: &mut msghdr) {
        header.msg_control = self.buffer.bytes.as_mut_ptr().cast();
        header.msg_controllen = BYTES as _;
    }

    /// Notes how much the kernel wrote.
    pub fn received(&mut self, header: &msghdr) {
        self.len = header.msg_controllen as _;
    }

    /// Stores descriptors where there is room, and closes the others. `EMFILE` where the
    /// kernel could not open all in this process; then none is stored.
    pub fn store(&mut self, room: &mut [MaybeUninit<c_int>], msg_flags: c_int) -> Result<usize> {
        if msg_flags & libc::MSG_CTRUNC != 0 {
            return Err(Errno::EMFILE); // drop closes those that it could
        }
        let mut stored = 0;
        self.take(|fd| {
            if let Some(place) = room.get_mut(stored) {
                place.write(fd.into_raw_fd());
                stored += 1;
            }
        });
        Ok(stored)
    }

    /// Closes what has come.
    pub fn close(&mut self) {
        self.take(drop);
    }

    /// Takes out each descriptor that was received. The kernel wrote the data, so it is well formed.
    fn take(&mut self, mut each: impl FnMut(OwnedFd)) {
        // close(2) is a cancellation point.
        let _uncancelled = CancelGuard::new();
        let mut header = super::empty_header();
        header.msg_control = self.buffer.bytes.as_mut_ptr().cast();
        header.msg_controllen = mem::take(&mut self.len) as _;
        // SAFETY: the kernel wrote `msg_controllen` bytes of control data.
        let mut cmsg = unsafe { libc::CMSG_FIRSTHDR(&header) };
        while !cmsg.is_null() {
            // SAFETY: the CMSG_ macros return a header within the data.
            let found = unsafe { cmsg.read_unaligned() };
            if found.cmsg_level == libc::SOL_SOCKET && is_descriptor(found.cmsg_type) {
                // SAFETY: CMSG_LEN only computes.
                let overhead = unsafe { libc::CMSG_LEN(0) } as usize;
                let count = (found.cmsg_len as usize - overhead) / mem::size_of::<c_int>();
                // SAFETY: CMSG_DATA only computes.
                let data = unsafe { libc::CMSG_DATA(cmsg) }.cast::<c_int>();
                for i in 0..count {
                    // SAFETY: within the data of this header.
                    let at = unsafe { data.add(i) };
                    // SAFETY: as above; the data need not be aligned.
                    let fd = unsafe { at.read_unaligned() };
                    // SAFETY: the kernel opened it for this message, and nothing else owns it.
                    let Ok(fd) = (unsafe { own(fd) }) else {
                        continue; // SCM_PIDFD of a process that is gone
                    };
                    if found.cmsg_type == libc::SCM_RIGHTS {
                        each(fd);
                    }
                }
            }
            // SAFETY: header and cmsg are of the same control data.
            cmsg = unsafe { libc::CMSG_NXTHDR(&header, cmsg) };
        }
    }
}

/// `SCM_PIDFD` too is a descriptor, which comes to whoever has set `SO_PASSPIDFD`.
fn is_descriptor(cmsg_type: c_int) -> bool {
    const SCM_PIDFD: c_int = 4;
    cmsg_type == libc::SCM_RIGHTS || cmsg_type == SCM_PIDFD
}

impl Drop for RecvControl {
    fn drop(&mut self) {
        self.close();
    }
}
