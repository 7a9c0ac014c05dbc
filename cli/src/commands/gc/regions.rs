//! Names of regions, and lock files in their directory.

use super::{Args, Outcome, may_remove, paths};
use crate::error::{Context, Result};
use crate::inventory::files::Users;
use crate::inventory::regions::{self, DIRECTORY, Region};
use crate::inventory::snapshot::Snapshot;
use crate::objects::scan::Budget;
use std::ffi::CString;
use std::path::Path;
use unixipc::errno::{Errno, Result as LibraryResult};
use unixipc::shm::FileId;
use unixipc::shm::unused::{Usage, remove_unused, usage};

/// Removes the names of regions that no process has open or mapped.
pub fn collect(args: &Args) -> Result<Vec<Outcome>> {
    // The processes are not needed: the kernel knows whether a file is used.
    let nobody = Snapshot::default();
    let found = regions::find(&nobody, &mut Users::default(), &mut Budget::none());
    let found = found.context(DIRECTORY)?;
    let mut outcomes: Vec<Outcome> = found
        .iter()
        .filter_map(|region| collect_one(args, region))
        .collect();
    outcomes.extend(paths::lock_files(args, Path::new(DIRECTORY))?);
    Ok(outcomes)
}

fn collect_one(args: &Args, region: &Region) -> Option<Outcome> {
    let (name, access) = (&region.name.as_ref()?.0, region.access.as_ref()?);
    let is_known = region.recognised || args.names(name);
    if !may_remove(access.uid) || !is_known || !args.selects(name, access) {
        return None;
    }
    let removed = CString::new(&name[..]).map_err(|_| Errno::EINVAL);
    let removed = removed.and_then(|name| remove(args, &name, region));
    Outcome::new("region", name, access, removed)
}

fn remove(args: &Args, name: &CString, region: &Region) -> LibraryResult<bool> {
    let file = FileId::new(region.file.device, region.file.inode);
    let found = match args.dry_run {
        true => usage(name, file)?,
        false => remove_unused(name, file)?,
    };
    Ok(found == Usage::Unused)
}
