//! Regions: the files in /dev/shm, and memory without a name that processes map.

use super::files::{Access, Users};
use super::snapshot::{MappedRegion, Snapshot};
use crate::objects::scan::{Budget, has_object, scan};
use crate::objects::{Lookup, Object, Read};
use crate::output::Name;
use crate::proc::ProcessName;
use crate::proc::maps::FileId;
use crate::proc::memory::{Memory, read_up_to};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use unixipc::shm::trailer::Attributes;
use unixipc::shm::unused::{Usage, usage};

/// The directory of the names.
pub const DIRECTORY: &str = "/dev/shm";
/// How much of a region is searched for objects.
pub const SCAN_MAX: usize = 16 << 20;

/// A region, or another file in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Its name. None for a region without a name, or whose name was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its size, in bytes.
    pub size: u64,
    #[serde(flatten)]
    pub access: Option<Access>,
    /// The processes that map it.
    pub processes: Vec<ProcessName>,
    /// Whether a process has it mapped or open. None if a process may be invisible.
    pub alive: Option<bool>,
    /// Whether its last user removes the name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// The layout tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<u64>,
    /// Whether it is known to be a region of the library.
    #[serde(skip)]
    pub recognised: bool,
    /// Whether not all of it was searched for objects, or nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partly_read: bool,
    /// The objects in it.
    pub objects: Vec<Object>,
    #[serde(skip)]
    pub file: FileId,
}

/// The regions with a name, and those without one that a visible process maps.
pub fn find(
    snapshot: &Snapshot,
    users: &mut Users,
    budget: &mut Budget,
) -> io::Result<Vec<Region>> {
    let mut regions: Vec<Region> = Vec::new();
    let mut named = HashMap::new();
    for entry in fs::read_dir(DIRECTORY)?.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let name = entry.file_name();
        if metadata.is_file() && !is_lock_file(name.as_bytes()) {
            let (file, path) = (id_of(&metadata), entry.path());
            let (mut region, pids) = of_file(&path, name.as_bytes(), &metadata, snapshot, users);
            // A file can have several names. It is read once.
            match named.get(&file).and_then(|index| regions.get(*index)) {
                Some(other) => region.copy_content(other, budget),
                None => {
                    named.insert(file, regions.len());
                    read(&path, &mut region, &pids, snapshot, budget);
                }
            }
            regions.push(region);
        }
    }
    let unnamed = snapshot
        .regions
        .iter()
        .filter(|(file, _)| !named.contains_key(file));
    regions.extend(unnamed.map(|(file, mapped)| of_mapping(*file, mapped, snapshot, budget)));
    Ok(regions)
}

/// Whether a file is that of a name lock.
pub fn is_lock_file(name: &[u8]) -> bool {
    name.len() > 6 && name.starts_with(b".") && name.ends_with(b".lock")
}

/// The identity of a file.
pub fn id_of(metadata: &Metadata) -> FileId {
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// A file with a name, before it is read, and the processes that use it.
fn of_file(
    path: &Path,
    name: &[u8],
    metadata: &Metadata,
    snapshot: &Snapshot,
    users: &mut Users,
) -> (Region, BTreeSet<i32>) {
    let file = id_of(metadata);
    let mapped = snapshot.regions.get(&file);
    let opened = snapshot.open_files.get(path.as_os_str().as_bytes());
    let mut pids: BTreeSet<i32> = mapped
        .iter()
        .flat_map(|mapped| mapped.users.keys())
        .copied()
        .collect();
    pids.extend(opened.into_iter().flatten());
    let region = Region {
        name: Some(Name([b"/", name].concat())),
        size: metadata.len(),
        access: Some(users.of(metadata)),
        processes: snapshot.names(&pids),
        alive: match pids.is_empty() {
            false => Some(true),
            true => snapshot.is_complete().then_some(false),
        },
        transient: false,
        layout: None,
        recognised: mapped.is_some_and(|mapped| mapped.by_program),
        partly_read: true,
        objects: Vec::new(),
        file,
    };
    (region, pids)
}

impl Region {
    /// Asks the kernel whether a process uses it, if none is visible: it can be one of another PID
    /// namespace.
    pub fn find_use(&mut self) {
        let name = self.name.as_ref().filter(|_| self.alive != Some(true));
        let Some(name) = name.and_then(|name| CString::new(&name.0[..]).ok()) else {
            return;
        };
        let file = unixipc::shm::FileId::new(self.file.device, self.file.inode);
        match usage(&name, file) {
            Ok(Usage::Used) => self.alive = Some(true),
            Ok(Usage::Unused) => self.alive = Some(false),
            Ok(Usage::Gone) | Err(_) => {}
        }
    }

    /// Copies the content that was read of the same file under another name.
    fn copy_content(&mut self, other: &Self, budget: &mut Budget) {
        (self.size, self.transient, self.layout) = (other.size, other.transient, other.layout);
        self.recognised |= other.recognised;
        self.partly_read = other.partly_read;
        match budget.take(&other.objects) {
            true => self.objects.clone_from(&other.objects),
            false => self.partly_read = true,
        }
    }
}

/// Opens a file without waiting, whatever it is.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn has_id(opened: &File, file: FileId) -> bool {
    opened
        .metadata()
        .is_ok_and(|metadata| id_of(&metadata) == file)
}

/// Reads the file of a region, if this process may.
fn read(
    path: &Path,
    region: &mut Region,
    pids: &BTreeSet<i32>,
    snapshot: &Snapshot,
    budget: &mut Budget,
) {
    let opened = open(path).ok();
    let Some(opened) = opened.filter(|opened| has_id(opened, region.file)) else {
        return;
    };
    let attributes = usize::try_from(region.size)
        .ok()
        .and_then(|len| Attributes::read(opened.as_fd(), len).ok());
    if let Some(attributes) = attributes {
        region.size = attributes.size as u64;
        region.transient = attributes.transient;
        region.layout = (attributes.layout != 0).then_some(attributes.layout);
        region.recognised |= region.transient || region.layout.is_some();
    }
    let len = usize::try_from(region.size)
        .unwrap_or(usize::MAX)
        .min(SCAN_MAX);
    region.partly_read = (len as u64) < region.size;
    let mut bytes = vec![0; len];
    // The file may be shorter by now.
    let len = read_up_to(&opened, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(len);
    let read = |bytes: &mut [u8], at| opened.read_exact_at(bytes, at);
    find_objects(&bytes, &read, region, pids, snapshot, budget);
}

fn find_objects(
    bytes: &[u8],
    read: &Read,
    region: &mut Region,
    pids: &BTreeSet<i32>,
    snapshot: &Snapshot,
    budget: &mut Budget,
) {
    // The threads are needed only if there is an object, and few regions have one.
    if !has_object(bytes) {
        return;
    }
    region.recognised = true;
    let threads = snapshot.threads(pids);
    let processes = snapshot.names(pids);
    let processes = processes.into_iter().map(|process| (process.pid, process));
    let lookup = Lookup {
        threads: &threads,
        processes: &processes.collect(),
    };
    let (objects, are_all) = scan(bytes, &lookup, budget);
    region.objects = objects;
    for object in &mut region.objects {
        object.read_again(read);
    }
    region.partly_read |= !are_all;
}

/// A region without a name.
fn of_mapping(
    file: FileId,
    mapped: &MappedRegion,
    snapshot: &Snapshot,
    budget: &mut Budget,
) -> Region {
    let pids: BTreeSet<i32> = mapped.users.keys().copied().collect();
    let mut region = Region {
        name: None,
        size: mapped.mapping.len,
        access: None,
        processes: snapshot.names(&pids),
        alive: Some(true),
        transient: false,
        layout: None,
        recognised: mapped.by_program,
        partly_read: true,
        objects: Vec::new(),
        file,
    };
    for place in &mapped.places {
        let Ok(memory) = Memory::open(place) else {
            continue;
        };
        let len = usize::try_from(region.size)
            .unwrap_or(usize::MAX)
            .min(SCAN_MAX);
        let mut bytes = vec![0; len];
        if let Ok(len) = memory.read_up_to(&mut bytes, 0) {
            bytes.truncate(len);
            region.partly_read = (SCAN_MAX as u64) < region.size;
            let read = |bytes: &mut [u8], at| memory.read(bytes, at);
            find_objects(&bytes, &read, &mut region, &pids, snapshot, budget);
            break;
        }
    }
    region
}
