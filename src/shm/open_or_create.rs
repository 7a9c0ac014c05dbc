//! Opening a region by its name, or creating it. If several processes try at the same time, one of
//! them creates the region and the others open it.
//!
//! The caller's `init` runs between [`OpenOrCreate::begin`] and [`NewRegion::finish`], while no
//! function of this module is on the stack. So an exception can leave `init`.

use super::create::{CreateOptions, create};
use super::file::FileId;
use super::name::Name;
use super::open::{Lookup, Opened, look_up};
use super::{MapOptions, Shm};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::name_lock::NameLock;
use crate::sys::CancelGuard;
use libc::c_void;
use std::ffi::CStr;

/// A request to open or create a region.
pub struct OpenOrCreate {
    name: Name,
    size: usize,
    options: CreateOptions,
    /// Whether to replace a region of another size or layout.
    replace_stale: bool,
    wait: Deadline,
}

/// The outcome of [`OpenOrCreate::begin`].
#[allow(clippy::large_enum_variant)] // moved once; an allocation could fail
pub enum Begun {
    /// The region existed.
    Opened(Shm),
    /// This process creates the region.
    New(NewRegion),
}

/// A region without a name, which the caller initialises. While it exists, the process holds the
/// name lock, and the thread cannot be cancelled.
pub struct NewRegion {
    shm: Shm,
    /// The region that it replaces.
    stale: Option<FileId>,
    request: OpenOrCreate,
    // Dropped in this order, after the region.
    _lock: NameLock,
    _uncancelled: CancelGuard,
}

/// The existing region with the name, as the request sees it.
enum Existing {
    Usable(Opened),
    /// A region of another size or layout.
    Stale(FileId),
    /// A transient region without users.
    Dead(FileId),
    None,
}

impl OpenOrCreate {
    /// Checks the arguments. `wait` limits the time that the call waits for other processes.
    pub fn new(
        name: &CStr,
        size: usize,
        options: CreateOptions,
        replace_stale: bool,
        wait: Deadline,
    ) -> Result<Self> {
        let options = CreateOptions {
            publish: true,
            ..options
        };
        let name = Name::for_new_region(name)?;
        options.check(size)?;
        Ok(Self {
            name,
            size,
            options,
            replace_stale,
            wait,
        })
    }

    /// Opens the region if the name has a usable one. Otherwise waits until no other process is
    /// creating it, and creates it.
    pub fn begin(mut self) -> Result<Begun> {
        let uncancelled = CancelGuard::new();
        let mut opened = self.usable()?;
        let mut lock = None;
        if opened.is_none() {
            let path = self.name.clone();
            // Starts the time-out, which all waits of the call share.
            self.wait.remaining()?;
            // The wait also checks for the region, which can appear while a lock file of another
            // user stays.
            lock = NameLock::acquire_unless(path.path(), self.wait, &mut || {
                opened = self.usable()?;
                Ok(opened.is_some())
            })?;
        }
        let Some(lock) = lock else {
            return self.map(opened.ok_or(errno!(EAGAIN))?);
        };
        // The previous owner of the lock has now published its region.
        let mut stale = None;
        match self.existing()? {
            Existing::Usable(opened) => return self.map(opened),
            Existing::Stale(file) if self.replace_stale => stale = Some(file),
            Existing::Stale(_) => return Err(errno!(ESTALE)),
            Existing::Dead(file) => self.name.unlink_if(file)?,
            Existing::None => {}
        }
        Ok(Begun::New(NewRegion {
            shm: create(self.size, self.options)?,
            stale,
            request: self,
            _lock: lock,
            _uncancelled: uncancelled,
        }))
    }

    fn map(&self, opened: Opened) -> Result<Begun> {
        let map: MapOptions = self.options.map;
        Ok(Begun::Opened(opened.map_named(map, &self.name)?))
    }

    /// The existing region, if it is usable. `ESTALE` if it is stale and must not be replaced.
    fn usable(&mut self) -> Result<Option<Opened>> {
        match self.existing()? {
            Existing::Usable(opened) => Ok(Some(opened)),
            Existing::Stale(_) if !self.replace_stale => Err(errno!(ESTALE)),
            _ => Ok(None),
        }
    }

    fn existing(&mut self) -> Result<Existing> {
        Ok(match look_up(&self.name, false, &mut self.wait) {
            Ok(Lookup::Living(opened)) => {
                let has = opened.attributes;
                let is_other_layout = self.options.layout != 0 && self.options.layout != has.layout;
                if has.size < self.size || is_other_layout {
                    Existing::Stale(opened.file.id())
                } else {
                    Existing::Usable(opened)
                }
            }
            Ok(Lookup::Dead(file)) => Existing::Dead(file),
            Ok(Lookup::Unknown(file)) => Existing::Stale(file),
            Err(error) if error == Errno::ENOENT => Existing::None,
            Err(error) => return Err(error),
        })
    }
}

impl NewRegion {
    /// The address of the memory.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        self.shm.address()
    }

    /// The size of the memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shm.size()
    }

    /// Publishes the region after `init` has returned. If a program that does not use the name lock
    /// has given the name to another region, opens that region.
    pub fn finish(mut self) -> Result<Shm> {
        if let Some(file) = self.stale {
            self.request.name.unlink_if(file)?;
        }
        loop {
            match self.shm.link(&self.request.name) {
                Err(error) if error == Errno::EEXIST => {}
                linked => return linked.map(|()| self.shm),
            }
            match self.request.existing()? {
                Existing::Usable(opened) => {
                    return opened.map_named(self.request.options.map, &self.request.name);
                }
                Existing::Stale(file) if self.request.replace_stale => {
                    self.request.name.unlink_if(file)?;
                }
                Existing::Stale(_) => return Err(errno!(ESTALE)),
                Existing::Dead(file) => self.request.name.unlink_if(file)?,
                Existing::None => {}
            }
        }
    }
}
