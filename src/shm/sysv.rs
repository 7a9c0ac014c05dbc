//! Regions that are System V segments.

use super::{Memory, Shm};
use crate::errno::{Errno, Result};
use crate::sys;
use libc::{c_int, c_void, key_t, shmid_ds};
use std::mem::MaybeUninit;
use std::ptr;

/// What only shmat(2) takes, and what would put the segment over something else or make it
/// executable.
const REFUSED: c_int = libc::SHM_RND | libc::SHM_REMAP | libc::SHM_EXEC;

/// An attached segment; detached when dropped.
pub struct Segment {
    address: *mut c_void,
    size: usize,
}

impl Segment {
    pub fn address(&self) -> *mut c_void {
        self.address
    }

    pub fn size(&self) -> usize {
        self.size
    }

    fn attach(id: c_int, flags: c_int) -> Result<Self> {
        // SAFETY: without SHM_REMAP it replaces no mapping.
        let address = unsafe { sys::shmat(id, ptr::null(), flags) }?;
        let mut segment = Self { address, size: 0 };
        let mut ds = MaybeUninit::<shmid_ds>::zeroed();
        // SAFETY: IPC_STAT writes the structure, for which there is room.
        unsafe { sys::shmctl(id, libc::IPC_STAT, ds.as_mut_ptr()) }?;
        // SAFETY: zeros are such a structure too.
        segment.size = unsafe { ds.assume_init() }.shm_segsz;
        Ok(segment)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the attachment is ours; who has its address was told until when it is there.
        let _ = unsafe { sys::shmdt(self.address) };
    }
}

/// Opens a region by its System V key, or makes it, as `flags` say.
pub fn attach(key: key_t, size: usize, flags: c_int) -> Result<Shm> {
    // One without a key would have to be removed by its identifier, which nobody knows.
    if key == libc::IPC_PRIVATE || flags & REFUSED != 0 {
        return Err(Errno::EINVAL);
    }
    // The same bit is SHM_NORESERVE for shmget.
    let read_only = flags & libc::SHM_RDONLY;
    let mut before = None;
    loop {
        let id = sys::shmget(key, size, flags & !libc::SHM_RDONLY)?;
        match Segment::attach(id, read_only) {
            // Removed in between: the key has another one by now, or none.
            Err(Errno::EIDRM | Errno::EINVAL) if before != Some(id) => before = Some(id),
            done => return Ok(Shm(Memory::Segment(done?))),
        }
    }
}
