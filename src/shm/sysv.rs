//! Regions that are System V segments.

use super::Shm;
use crate::errno::{Errno, Result, errno};
use crate::sys::{self, CancelGuard};
use libc::{c_int, c_void, key_t, shmid_ds};
use std::mem::MaybeUninit;
use std::ptr;

/// The flags that are refused: `SHM_REMAP` would replace a mapping, `SHM_EXEC` would make memory
/// executable, and `SHM_RND` has no effect without an address.
const REFUSED: c_int = libc::SHM_RND | libc::SHM_REMAP | libc::SHM_EXEC;

/// An attached segment. Dropping it detaches the segment.
pub struct Segment {
    address: *mut c_void,
    size: usize,
    key: key_t,
    id: c_int,
}

impl Segment {
    pub fn address(&self) -> *mut c_void {
        self.address
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the key still identifies this segment.
    pub fn is_current(&self) -> Result<bool> {
        match sys::shmget(self.key, 0, 0) {
            Ok(id) => Ok(id == self.id),
            Err(error) if error == Errno::ENOENT => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn attach(key: key_t, id: c_int, flags: c_int) -> Result<Self> {
        // SAFETY: without SHM_REMAP it replaces no mapping.
        let address =
            unsafe { sys::shmat(id, ptr::null(), flags) }.map_err(|error| match error.code() {
                // mlockall(MCL_FUTURE) would lock more than RLIMIT_MEMLOCK.
                libc::EAGAIN => errno!(ENOMEM),
                _ => error,
            })?;
        let mut segment = Self {
            address,
            size: 0,
            key,
            id,
        };
        segment.size = status(id)?.shm_segsz;
        Ok(segment)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: this handle owns the attachment, and its users do not access the memory any longer.
        let _ = unsafe { sys::shmdt(self.address) };
    }
}

/// Opens a region by its System V key, or creates it, depending on `flags`.
pub fn attach(key: key_t, size: usize, flags: c_int) -> Result<Shm> {
    // A segment without a key could only be removed by its identifier, which the caller never gets.
    if key == libc::IPC_PRIVATE || flags & REFUSED != 0 {
        return Err(errno!(EINVAL));
    }
    let _uncancelled = CancelGuard::new();
    // For shmget(2) the bit of SHM_RDONLY means SHM_NORESERVE.
    let read_only = flags & libc::SHM_RDONLY;
    let mut before = None;
    loop {
        let (id, is_new) = get(key, size, flags & !libc::SHM_RDONLY)?;
        match Segment::attach(key, id, read_only) {
            // The segment was removed in between. The key now has another segment, or none.
            Err(error) if error.is_one_of(&[Errno::EIDRM, Errno::EINVAL]) && before != Some(id) => {
                before = Some(id);
            }
            Err(error) => {
                if is_new {
                    remove_unused(id);
                }
                return Err(error);
            }
            Ok(segment) => return Ok(Shm::from_segment(segment)),
        }
    }
}

/// Gets the segment of a key, or creates it. Returns the identifier, and whether the segment is new.
/// `ESTALE` if an existing segment is too small.
fn get(key: key_t, size: usize, flags: c_int) -> Result<(c_int, bool)> {
    let creates = flags & libc::IPC_CREAT != 0;
    let exclusive = flags & libc::IPC_EXCL != 0;
    loop {
        if !(creates && exclusive) {
            match sys::shmget(key, size, flags & !libc::IPC_CREAT) {
                Err(error) if error == Errno::ENOENT && creates => {}
                Err(error)
                    if error == Errno::EINVAL && size > 0 && sys::shmget(key, 0, 0).is_ok() =>
                {
                    return Err(errno!(ESTALE));
                }
                got => return got.map(|id| (id, false)),
            }
        }
        match sys::shmget(key, size, flags | libc::IPC_EXCL) {
            // Another process has created it in between.
            Err(error) if error == Errno::EEXIST && !exclusive => {}
            made => return made.map(|id| (id, true)),
        }
    }
}

/// Removes a new segment that this process could not attach, unless another process has found and
/// attached it.
fn remove_unused(id: c_int) {
    if status(id).is_ok_and(|status| status.shm_nattch == 0) {
        // SAFETY: IPC_RMID does not access the structure.
        let _ = unsafe { sys::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
    }
}

fn status(id: c_int) -> Result<shmid_ds> {
    let mut status = MaybeUninit::<shmid_ds>::zeroed();
    // SAFETY: IPC_STAT writes the structure, which has the right size.
    unsafe { sys::shmctl(id, libc::IPC_STAT, status.as_mut_ptr()) }?;
    // SAFETY: any bytes, including zeros, are such a structure.
    Ok(unsafe { status.assume_init() })
}
