//! Sockets of dead listeners, and lock files.

use super::{Args, Outcome, may_remove};
use crate::error::{Context, Result};
use crate::inventory::files::Users;
use crate::inventory::{paths, regions};
use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use unixipc::errno::Errno;
use unixipc::name_lock;
use unixipc::transport::listen;

/// Removes the sockets of dead listeners below a directory, and the lock files in it.
pub fn collect(args: &Args, directory: &Path) -> Result<Vec<Outcome>> {
    // An error for the directory itself; those below it may belong to other users.
    fs::read_dir(directory).context(directory.display())?;
    let (found, _) = paths::below(directory);
    let sockets = found.iter().filter_map(|path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let remove = |path: &CString| listen::remove_stale(path, args.dry_run);
        metadata.file_type().is_socket().then(|| {
            attempt(
                args,
                "listener",
                path,
                path.as_os_str().as_bytes(),
                &metadata,
                remove,
            )
        })?
    });
    let mut outcomes: Vec<Outcome> = sockets.collect();
    outcomes.extend(lock_files(args, directory)?);
    Ok(outcomes)
}

/// Removes the lock files in a directory that no process has locked. Killed processes leave them.
pub fn lock_files(args: &Args, directory: &Path) -> Result<Vec<Outcome>> {
    let entries = fs::read_dir(directory).context(directory.display())?;
    let files = entries.flatten().filter_map(|entry| {
        let (name, metadata) = (entry.file_name(), entry.metadata().ok()?);
        let is_lock = regions::is_lock_file(name.as_bytes())
            && metadata.is_file()
            && metadata.len() == 0
            && metadata.mode() & 0o777 == 0o600;
        if !is_lock {
            return None;
        }
        let remove = |path: &CString| name_lock::remove_stale(path, args.dry_run);
        let path = entry.path();
        attempt(
            args,
            "lock file",
            &path,
            path.as_os_str().as_bytes(),
            &metadata,
            remove,
        )
    });
    Ok(files.collect())
}

fn attempt(
    args: &Args,
    kind: &'static str,
    path: &Path,
    name: &[u8],
    metadata: &Metadata,
    remove: impl FnOnce(&CString) -> unixipc::errno::Result<bool>,
) -> Option<Outcome> {
    let access = Users::default().of(metadata);
    if !may_remove(access.uid) || !args.selects(name, &access) {
        return None;
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
    Outcome::new(kind, name, &access, path.and_then(|path| remove(&path)))
}
