//! Control data of a message: the descriptors that go with it (`SCM_RIGHTS`; unix(7), cmsg(3)).

use crate::errno::{Result, errno};
use crate::fd::own;
use crate::sys::CancelGuard;
use libc::{c_int, cmsghdr, msghdr};
use std::mem::{self, MaybeUninit};
use std::os::fd::{IntoRawFd, OwnedFd};

/// The largest number of descriptors that the kernel passes at once (`SCM_MAX_FD`).
///
/// cbindgen:ignore
pub const FDS_MAX: usize = 253;

/// Enough bytes for `FDS_MAX` descriptors and for the other data that a receiver may have enabled:
/// credentials, a pidfd, a security label.
const BYTES: usize = 2048;

/// A buffer for control data, with the alignment of its headers.
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

/// The descriptors to send with a message.
pub struct SendControl {
    buffer: Buffer,
    len: usize,
}

impl SendControl {
    /// Prepares from 1 to [`FDS_MAX`] descriptors. `EINVAL` for another number.
    pub fn new(fds: &[c_int]) -> Result<Self> {
        if !(1..=FDS_MAX).contains(&fds.len()) {
            return Err(errno!(EINVAL));
        }
        let payload = mem::size_of_val(fds);
        // SAFETY: CMSG_SPACE only computes.
        let len = unsafe { libc::CMSG_SPACE(payload as u32) } as usize;
        let mut control = Self {
            buffer: Buffer::new(),
            len,
        };
        // The kernel reads the padding too.
        let used = control.buffer.bytes.get_mut(..len).ok_or(errno!(EINVAL))?;
        used.fill(MaybeUninit::new(0));
        let mut header = super::empty_header();
        control.attach(&mut header);
        // SAFETY: the buffer is aligned and holds at least one header.
        let cmsg = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: CMSG_LEN only computes.
        let len = unsafe { libc::CMSG_LEN(payload as u32) };
        // SAFETY: as for CMSG_FIRSTHDR; the zeros are a header, and nothing else refers to them.
        let first = unsafe { &mut *cmsg };
        // In some C libraries the header has further fields, which stay 0.
        first.cmsg_len = len as _;
        first.cmsg_level = libc::SOL_SOCKET;
        first.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: CMSG_DATA only computes.
        let data = unsafe { libc::CMSG_DATA(cmsg) };
        // SAFETY: CMSG_SPACE includes all of `fds` there.
        unsafe { data.copy_from_nonoverlapping(fds.as_ptr().cast(), payload) };
        Ok(control)
    }

    /// Makes the header refer to the descriptors.
    pub fn attach(&mut self, header: &mut msghdr) {
        header.msg_control = self.buffer.bytes.as_mut_ptr().cast();
        header.msg_controllen = self.len as _;
    }
}

/// A buffer for the descriptors that come with a message. Drop closes those that were not taken.
pub struct RecvControl {
    buffer: Buffer,
    len: usize,
}

impl RecvControl {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self {
            buffer: Buffer::new(),
            len: 0,
        }
    }

    /// Makes the header refer to the buffer.
    pub fn attach(&mut self, header: &mut msghdr) {
        self.attach_part(header, BYTES);
    }

    /// Makes the header refer to the first `len` bytes of the buffer. The kernel opens only the
    /// descriptors that fit into it.
    pub fn attach_part(&mut self, header: &mut msghdr, len: usize) {
        header.msg_control = self.buffer.bytes.as_mut_ptr().cast();
        header.msg_controllen = len.min(BYTES) as _;
    }

    /// Records how many bytes the kernel wrote.
    pub fn received(&mut self, header: &msghdr) {
        self.len = header.msg_controllen as _;
    }

    /// Stores as many descriptors as `fds` has elements, and closes the others. Fails with
    /// `EMFILE`, and stores none, if the kernel could not open all of them in this process.
    pub fn store(&mut self, fds: &mut [MaybeUninit<c_int>], msg_flags: c_int) -> Result<usize> {
        if msg_flags & libc::MSG_CTRUNC != 0 {
            return Err(errno!(EMFILE)); // drop closes those that it opened
        }
        let mut stored = 0;
        self.take(|fd| {
            if let Some(element) = fds.get_mut(stored) {
                element.write(fd.into_raw_fd());
                stored += 1;
            }
        });
        Ok(stored)
    }

    /// The number of descriptors that were received.
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.visit(|cmsg_type, _| count += usize::from(cmsg_type == libc::SCM_RIGHTS));
        count
    }

    /// Closes the descriptors that were received.
    pub fn close(&mut self) {
        self.take(drop);
    }

    /// Calls `each` with every descriptor that was received.
    fn take(&mut self, mut each: impl FnMut(OwnedFd)) {
        // close(2) is a cancellation point.
        let _uncancelled = CancelGuard::new();
        self.visit(|cmsg_type, fd| {
            // SAFETY: the kernel opened it for this message, and nothing else owns it: `len` is set
            // to 0 below.
            let Ok(fd) = (unsafe { own(fd) }) else {
                return; // SCM_PIDFD of a process that has exited
            };
            if cmsg_type == libc::SCM_RIGHTS {
                each(fd);
            }
        });
        self.len = 0;
    }

    /// Calls `each` with the type and the number of every descriptor that was received. The kernel
    /// wrote the data, so it is well formed.
    fn visit(&self, mut each: impl FnMut(c_int, c_int)) {
        let mut header = super::empty_header();
        header.msg_control = self.buffer.bytes.as_ptr().cast_mut().cast();
        header.msg_controllen = self.len as _;
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
                    each(found.cmsg_type, fd);
                }
            }
            // SAFETY: header and cmsg refer to the same control data.
            cmsg = unsafe { libc::CMSG_NXTHDR(&header, cmsg) };
        }
    }
}

/// Whether the control data contains descriptors: `SCM_RIGHTS`, or `SCM_PIDFD`, which a receiver
/// gets that has set `SO_PASSPIDFD`.
fn is_descriptor(cmsg_type: c_int) -> bool {
    const SCM_PIDFD: c_int = 4;
    cmsg_type == libc::SCM_RIGHTS || cmsg_type == SCM_PIDFD
}

impl Drop for RecvControl {
    fn drop(&mut self) {
        self.close();
    }
}
