//! System V segments and semaphore sets.
//!
//! The kernel counts who has a segment attached, but it has no operation that removes a segment only if
//! the count is 0. A process that attaches the segment between the last check and the removal keeps
//! its memory, but the key is free for another segment. So these objects are removed only on request.

use super::{Args, Outcome, may_remove};
use crate::inventory::files::Users;
use crate::inventory::regions::SCAN_MAX;
use crate::inventory::snapshot::Snapshot;
use crate::inventory::sysv::{self, Segment, Set};
use crate::objects::scan::{Budget, has_object};
use std::mem::MaybeUninit;
use std::ptr;
use unixipc::errno::{Errno, Result};
use unixipc::{semlock, sys};

/// Removes the segments and the sets without users.
pub fn collect(args: &Args) -> Vec<Outcome> {
    let mut users = Users::default();
    let mut outcomes = Vec::new();
    for segment in sysv::segments(&Snapshot::default(), &mut users, &mut Budget::none()) {
        let (name, access) = (segment.key.as_bytes(), &segment.access);
        let is_permitted = may_remove(access.uid) || may_remove(segment.creator_uid);
        if is_permitted && args.selects(name, access) && is_abandoned(&segment) {
            let is_named = args.names(name);
            let removed = match args.dry_run {
                true => Ok(true),
                false => remove_segment(&segment, is_named),
            };
            let outcome = Outcome::new("segment", name, access, removed);
            outcomes.extend(outcome.map(|outcome| Outcome {
                unread: args.dry_run && !is_named,
                ..outcome
            }));
        }
    }
    for set in sysv::sets(&mut users) {
        let (name, access) = (set.key.as_bytes(), &set.access);
        let is_permitted = may_remove(access.uid) || may_remove(set.creator_uid);
        if is_permitted && args.selects(name, access) && is_free(&set) {
            let removed = match args.dry_run {
                true => Ok(true),
                false => semlock::remove_free(set.id),
            };
            outcomes.extend(Outcome::new("set", name, access, removed));
        }
    }
    outcomes
}

/// Whether a process has ended. The kernel shows 0 for a process of another PID namespace, which may
/// live.
fn has_ended(pid: i32) -> bool {
    pid != 0 && !sys::is_process(pid as u32)
}

/// Whether no process has a segment attached, and its users have ended.
fn is_abandoned(segment: &Segment) -> bool {
    segment.attached == 0
        && has_ended(segment.creator)
        && (!segment.was_attached || has_ended(segment.last_user))
}

fn is_free(set: &Set) -> bool {
    let is_used = set.readers > 0 || set.writer.is_some() || set.writer_pending || set.waiters > 0;
    !is_used && has_ended(set.last_user)
}

/// Removes a segment that no process has attached, if it has objects of the library, or if the pattern
/// is its key.
fn remove_segment(segment: &Segment, is_named: bool) -> Result<bool> {
    if is_named {
        return remove_unless_attached(segment, 0);
    }
    // SAFETY: without SHM_REMAP it replaces no mapping.
    let address = match unsafe { sys::shmat(segment.id, ptr::null(), libc::SHM_RDONLY) } {
        // Not even its owner may read it.
        Err(errno) if errno == Errno::EACCES => return Ok(false),
        attached => attached?,
    };
    let removed = match has_objects(segment, address.cast()) {
        true => remove_unless_attached(segment, 1),
        false => Ok(false),
    };
    // SAFETY: the mapping is no longer used.
    let _ = unsafe { sys::shmdt(address) };
    removed
}

/// Removes a segment that this process has attached this many times, and no other process.
fn remove_unless_attached(segment: &Segment, own: u64) -> Result<bool> {
    let mut status = MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: IPC_STAT writes the structure, which has the right size.
    unsafe { sys::shmctl(segment.id, libc::IPC_STAT, status.as_mut_ptr()) }?;
    // SAFETY: any bytes, including zeros, are such a structure.
    if unsafe { status.assume_init() }.shm_nattch != own {
        return Ok(false);
    }
    // SAFETY: IPC_RMID does not access the structure.
    unsafe { sys::shmctl(segment.id, libc::IPC_RMID, ptr::null_mut()) }?;
    Ok(true)
}

/// Whether an attached segment has objects of the library.
fn has_objects(segment: &Segment, address: *const u8) -> bool {
    let len = usize::try_from(segment.size)
        .unwrap_or(usize::MAX)
        .min(SCAN_MAX);
    let mut bytes = vec![0; len];
    let page = sys::page_size();
    let mut resident = vec![0; len.div_ceil(page)];
    // SAFETY: mincore writes a byte for each page of the segment.
    let _ = unsafe { libc::mincore(address.cast_mut().cast(), len, resident.as_mut_ptr()) };
    let pages = bytes.chunks_mut(page).zip(resident).enumerate();
    // A read of a page that does not exist would allocate it.
    for (number, (to, _)) in pages.filter(|(_, (_, state))| state & 1 != 0) {
        let from = address.wrapping_add(number * page);
        // SAFETY: the segment has this size, and is attached. Another process may write to it at the
        // same time; the bytes of the copy are only compared with headers.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
    }
    has_object(&bytes)
}
