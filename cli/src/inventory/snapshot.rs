//! All processes, and the memory that they share, at one time.

use super::memories::{self, Memory, MemoryId};
use crate::proc::devices::Devices;
use crate::proc::maps::{FileId, Mapping, Maps};
use crate::proc::memory::Place;
use crate::proc::threads::Threads;
use crate::proc::{self, Process, ProcessName, fds};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

/// A file in memory that processes map as a region.
#[derive(Clone, Debug)]
pub struct MappedRegion {
    pub mapping: Mapping,
    /// The processes that map it, and whether each maps it writable.
    pub users: BTreeMap<i32, bool>,
    /// Whether one of them maps libunixipc.
    pub by_program: bool,
    /// Where the processes map its beginning.
    pub places: Vec<Place>,
}

/// The processes and the memory that they share.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub processes: BTreeMap<i32, Process>,
    /// How many processes this one may not inspect.
    pub unseen: usize,
    pub memories: BTreeMap<MemoryId, Memory>,
    pub regions: BTreeMap<FileId, MappedRegion>,
    /// The processes that have a System V segment attached, by its number.
    pub segments: BTreeMap<i32, MappedRegion>,
    /// The processes that have a socket, by its number.
    pub sockets: HashMap<u64, Vec<i32>>,
    /// The processes that have a file open, by its path.
    pub open_files: HashMap<Vec<u8>, Vec<i32>>,
    /// The processes that use the library.
    pub programs: BTreeSet<i32>,
}

impl Snapshot {
    /// Inspects all processes. With `with_fds`, also their descriptors.
    pub fn take(with_fds: bool) -> io::Result<Self> {
        let mut this = Self::default();
        let devices = Devices::find();
        for pid in proc::pids()? {
            if let Some(process) = Process::read(pid) {
                this.add(process, &devices, with_fds);
            }
        }
        if proc::hides_processes() {
            this.unseen += 1;
        }
        Ok(this)
    }

    /// Whether all processes could be inspected.
    pub fn is_complete(&self) -> bool {
        self.unseen == 0
    }

    /// Whether a process uses a memory that it has mapped writable. None if none does, but its
    /// process may be invisible.
    pub fn is_owned(&self, memory: &Memory) -> Option<bool> {
        let owners = &mut memory.owners.iter();
        if owners.any(|pid| self.processes.contains_key(pid)) {
            return Some(true);
        }
        let label = memory.label();
        let shows_all = label.is_none_or(|label| self.shows_namespace(label.namespace));
        (self.is_complete() && shows_all).then_some(false)
    }

    /// Whether all processes of a PID namespace are visible: it is that of this process, or one below.
    fn shows_namespace(&self, namespace: u32) -> bool {
        let mut processes = self.processes.values();
        namespace == unixipc::sys::pid_namespace()
            || namespace != 0 && processes.any(|process| process.namespace == namespace)
    }

    /// The memories in a file.
    pub fn memories_of(&self, file: FileId) -> impl Iterator<Item = &Memory> {
        let at = |offset| MemoryId { file, offset };
        self.memories
            .range(at(0)..=at(u64::MAX))
            .map(|(_, memory)| memory)
    }

    /// The processes with these numbers, for the output.
    pub fn names<'a>(&self, pids: impl IntoIterator<Item = &'a i32>) -> Vec<ProcessName> {
        let processes = pids.into_iter().filter_map(|pid| self.processes.get(pid));
        processes.map(Process::to_name).collect()
    }

    /// The threads of processes.
    pub fn threads<'a>(&self, pids: impl IntoIterator<Item = &'a i32>) -> Threads {
        let mut threads = Threads::default();
        for process in pids.into_iter().filter_map(|pid| self.processes.get(pid)) {
            threads.add(process);
        }
        threads
    }

    fn add(&mut self, process: Process, devices: &Devices, with_fds: bool) {
        let pid = process.pid;
        match Maps::read(pid, devices) {
            Ok(maps) => self.add_maps(pid, maps),
            Err(error) if is_refused(&error) => self.unseen += 1,
            Err(_) => {}
        }
        if with_fds {
            self.add_fds(pid);
        }
        self.processes.insert(pid, process);
    }

    fn add_maps(&mut self, pid: i32, maps: Maps) {
        if maps.has_library {
            self.programs.insert(pid);
        }
        for (id, kind, ring_size, mapping) in memories::find(&maps.mappings) {
            self.programs.insert(pid);
            let found = self.memories.entry(id).or_insert_with(|| Memory {
                id,
                kind,
                owners: Vec::new(),
                readers: Vec::new(),
                ring_size,
                words: None,
                place: None,
            });
            let users = match mapping.writable {
                true => &mut found.owners,
                false => &mut found.readers,
            };
            if !users.contains(&pid) {
                users.push(pid);
            }
            if found.words.is_none() {
                let place = Place::new(pid, mapping);
                found.words = memories::read_words(&place);
                found.place = Some(place);
            }
        }
        for mapping in maps.mappings {
            self.add_mapping(pid, mapping, maps.has_library);
        }
    }

    fn add_mapping(&mut self, pid: i32, mapping: Mapping, has_library: bool) {
        let path = &mapping.path[..];
        let (writable, offset) = (mapping.writable, mapping.offset);
        let place = Place::new(pid, &mapping);
        let new = |mapping| MappedRegion {
            mapping,
            users: BTreeMap::new(),
            by_program: false,
            places: Vec::new(),
        };
        let region = if path.starts_with(b"/SYSV") {
            // The kernel shows the number of the segment as the inode number.
            let Ok(id) = i32::try_from(mapping.file.inode) else {
                return;
            };
            self.segments.entry(id).or_insert_with(|| new(mapping))
        } else if path.starts_with(b"/dev/shm/") || path == b"/memfd:unixipc-region" {
            self.regions
                .entry(mapping.file)
                .or_insert_with(|| new(mapping))
        } else {
            return;
        };
        *region.users.entry(pid).or_default() |= writable;
        region.by_program |= has_library || region.mapping.path.starts_with(b"/memfd:");
        // One place a process is enough.
        let is_new = region.places.last().is_none_or(|last| last.pid != pid);
        if offset == 0 && is_new {
            region.places.push(place);
        }
    }

    fn add_fds(&mut self, pid: i32) {
        for target in fds::targets(pid).unwrap_or_default() {
            let users = match fds::socket(&target) {
                Some(number) => self.sockets.entry(number).or_default(),
                None if target.starts_with(b"/") => self.open_files.entry(target).or_default(),
                None => continue,
            };
            if users.last() != Some(&pid) {
                users.push(pid);
            }
        }
    }
}

/// Whether an error means that this process may not inspect the other one.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}
