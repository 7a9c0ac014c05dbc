//! Sockets of dead listeners, and lock files.

use super::{Args, Outcome, may_remove};
use crate::error::{Context, Result};
use crate::inventory::files::Users;
use crate::inventory::regions;
use crate::inventory::walk::{self, Found};
use nix::sys::stat::SFlag;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use unixipc::name_lock;
use unixipc::transport::listen;

/// Removes a name in a directory, or only checks whether it would. Returns whether it did.
type Remove = fn(BorrowedFd, &CStr, bool) -> unixipc::errno::Result<bool>;

/// Removes the sockets of dead listeners below a directory, and the lock files in it.
pub fn collect(args: &Args, directory: &Path) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    // An error for the directory itself; those below it may belong to other users.
    let walked = walk::below(directory, &mut |found| {
        if found.is(SFlag::S_IFSOCK) {
            outcomes.extend(attempt(args, "listener", found, listen::remove_stale));
        }
    });
    walked.context(directory.display())?;
    outcomes.extend(lock_files(args, directory)?);
    Ok(outcomes)
}

/// Removes the lock files in a directory that no process has open. Killed processes leave them.
pub fn lock_files(args: &Args, directory: &Path) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let read = walk::files(directory, &mut |found| {
        let is_lock = regions::is_lock_file(found.name.to_bytes())
            && found.status.st_size == 0
            && found.status.st_mode & 0o777 == 0o600;
        if is_lock {
            outcomes.extend(attempt(args, "lock file", found, name_lock::remove_stale));
        }
    });
    read.context(directory.display())?;
    Ok(outcomes)
}

fn attempt(args: &Args, kind: &'static str, found: &Found, remove: Remove) -> Option<Outcome> {
    let access = Users::default().of_status(&found.status);
    let name = found.path.as_os_str().as_bytes();
    if !may_remove(access.uid) || !args.selects(name, &access) {
        return None;
    }
    let removed = remove(found.directory, found.name, args.dry_run);
    Outcome::new(kind, name, &access, removed)
}
