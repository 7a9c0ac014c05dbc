//! System V segments and semaphore sets.
//!
//! The kernel counts who has a segment attached, but it has no operation that removes a segment only if
//! the count is 0. A process that attaches the segment between the last check and the removal keeps
//! its memory, but the key is free for another segment. So these objects are removed only on request.

use super::{Args, Outcome};
use crate::inventory::files::Users;
use crate::inventory::regions::SCAN_MAX;
use crate::inventory::snapshot::Snapshot;
use crate::inventory::sysv::{self, Segment, Set};
use crate::objects::Lookup;
use crate::objects::scan::scan;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr;
use unixipc::errno::{Errno, Result};
use unixipc::{semlock, sys};

/// Removes the segments and the sets without users.
pub fn collect(args: &Args) -> Vec<Outcome> {
    let mut users = Users::default();
    let mut outcomes = Vec::new();
    for segment in sysv::segments(&Snapshot::default(), &mut users) {
        let (name, access) = (segment.key.as_bytes(), &segment.access);
        if args.selects(name, access) && is_abandoned(&segment) {
            let removed = remove_segment(args, &segment);
            outcomes.extend(Outcome::new("segment", name, access, removed));
        }
    }
    for set in sysv::sets(&mut users) {
        let (name, access) = (set.key.as_bytes(), &set.access);
        if args.selects(name, access) && is_free(&set) {
            let removed = match args.dry_run {
                true => Ok(true),
                false => semlock::remove_free(set.id),
            };
            outcomes.extend(Outcome::new("set", name, access, removed));
        }
    }
    outcomes
}

/// Whether no process has a segment attached, and its users have ended.
fn is_abandoned(segment: &Segment) -> bool {
    let has_ended = |pid| pid == 0 || !sys::is_process(pid as u32);
    segment.attached == 0 && has_ended(segment.creator) && has_ended(segment.last_user)
}

fn is_free(set: &Set) -> bool {
    let is_used = set.readers > 0 || set.writer.is_some() || set.writer_pending || set.waiters > 0;
    !is_used && (set.last_user == 0 || !sys::is_process(set.last_user as u32))
}

/// Removes a segment that only this process has attached, if it has objects of the library, or if the
/// pattern is its key.
fn remove_segment(args: &Args, segment: &Segment) -> Result<bool> {
    let id = segment.id;
    // SAFETY: without SHM_REMAP it replaces no mapping.
    let address = match unsafe { sys::shmat(id, ptr::null(), libc::SHM_RDONLY) } {
        // Another user's.
        Err(errno) if errno == Errno::EACCES => return Ok(false),
        attached => attached?,
    };
    let removed = remove_attached(args, segment, address.cast());
    // SAFETY: the mapping is no longer used.
    let _ = unsafe { sys::shmdt(address) };
    removed
}

fn remove_attached(args: &Args, segment: &Segment, address: *const u8) -> Result<bool> {
    if !args.names(segment.key.as_bytes()) && !has_objects(segment, address) {
        return Ok(false);
    }
    let mut status = MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: IPC_STAT writes the structure, which has the right size.
    unsafe { sys::shmctl(segment.id, libc::IPC_STAT, status.as_mut_ptr()) }?;
    // SAFETY: any bytes, including zeros, are such a structure.
    if unsafe { status.assume_init() }.shm_nattch != 1 {
        return Ok(false);
    }
    if !args.dry_run {
        // SAFETY: IPC_RMID does not access the structure.
        unsafe { sys::shmctl(segment.id, libc::IPC_RMID, ptr::null_mut()) }?;
    }
    Ok(true)
}

fn has_objects(segment: &Segment, address: *const u8) -> bool {
    let len = usize::try_from(segment.size)
        .unwrap_or(usize::MAX)
        .min(SCAN_MAX);
    let mut bytes = vec![0; len];
    // SAFETY: the segment has this size, and is attached. Another process may write to it at the same time;
    // the bytes of the copy are only compared with headers.
    unsafe { ptr::copy_nonoverlapping(address, bytes.as_mut_ptr(), len) };
    let (threads, processes) = (Default::default(), BTreeMap::new());
    let lookup = Lookup {
        threads: &threads,
        processes: &processes,
    };
    let mut found = Vec::new();
    scan(&bytes, 0, &lookup, &mut found);
    !found.is_empty()
}
