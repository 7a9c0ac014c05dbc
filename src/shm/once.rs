//! Opening a region by its name, or making it: once, however many try at a time.

use super::claim::Claim;
use super::create::{Creation, create};
use super::name::Name;
use super::open::open_name;
use super::{Shm, Usage};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use libc::c_void;
use std::ffi::CStr;
use std::time::Duration;

/// How long it takes to look again while another process makes the region: the first time, and
/// at most. Its death tells nobody.
const PAUSE: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// Opens the region if the name has one of at least `size` bytes; else makes it, has `init` fill
/// it in, and publishes it. While one process does that, others wait for it, or for its end.
pub fn open_or_create(
    name: &CStr,
    size: usize,
    init: impl Fn(*mut c_void, usize) -> Result<()>,
    creation: Creation,
) -> Result<Shm> {
    let name = Name::new(name)?;
    let creation = Creation {
        publish: true,
        ..creation
    };
    creation.check(size)?;
    if let Some(shm) = existing(&name, size, creation.usage)? {
        return Ok(shm);
    }
    let claim = Claim::new(&name)?;
    let mut pause = PAUSE;
    loop {
        let is_ours = claim.take()?;
        // Whoever had the claim before has published by now.
        if let Some(shm) = existing(&name, size, creation.usage)? {
            return Ok(shm);
        }
        if !is_ours {
            // Not thread::sleep, which panics if a system call filter refuses its call.
            Deadline::forever().any(&mut [], Some(pause))?;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
            continue;
        }
        let shm = create(size, creation)?;
        init(shm.address(), size)?;
        match shm.link(&name) {
            // By somebody who makes no claims.
            Err(Errno::EEXIST) => {}
            done => return done.map(|()| shm),
        }
    }
}

fn existing(name: &Name, size: usize, usage: Usage) -> Result<Option<Shm>> {
    match open_name(name, usage) {
        Ok(shm) if shm.size() >= size => Ok(Some(shm)),
        Ok(_) => Err(Errno::EINVAL),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
