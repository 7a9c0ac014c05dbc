//! FIFOs, and sockets that listen.

use super::files::{Access, Users};
use super::snapshot::Snapshot;
use crate::output::Name;
use crate::proc::ProcessName;
use crate::proc::sockets::Listener as ListeningSocket;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use unixipc::transport::listen;

/// The largest number of directories that are read.
const DIRECTORIES_MAX: usize = 10_000;

/// A FIFO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fifo {
    pub path: Name,
    #[serde(flatten)]
    pub access: Access,
    /// The processes that have it open.
    pub processes: Vec<ProcessName>,
    /// Whether a process has it open. None if a process may be invisible.
    pub alive: Option<bool>,
}

/// A socket that listens, or the path of one that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its path, or `@` and its abstract name.
    pub address: Name,
    #[serde(flatten)]
    pub access: Option<Access>,
    pub processes: Vec<ProcessName>,
    /// Whether a socket is bound to the path. None if this process may not find out.
    pub alive: Option<bool>,
}

/// The FIFOs and sockets below a directory. Symbolic links are not followed. Also returns how many
/// directories could not be read.
pub fn below(directory: &Path) -> (Vec<PathBuf>, usize) {
    let mut found = Vec::new();
    let mut unread = 0;
    let mut directories = vec![directory.to_path_buf()];
    let mut count = 0;
    while let Some(directory) = directories.pop() {
        count += 1;
        let entries = match fs::read_dir(&directory) {
            Ok(entries) if count <= DIRECTORIES_MAX => entries,
            _ => {
                unread += 1;
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_fifo() || kind.is_socket() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    (found, unread)
}

/// The FIFO at a path. None if it is another file.
pub fn fifo(path: &Path, snapshot: &Snapshot, users: &mut Users) -> Option<Fifo> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.file_type().is_fifo() {
        return None;
    }
    // /proc shows absolute paths without symbolic links.
    let shown = fs::canonicalize(path).ok()?;
    let pids = snapshot.open_files.get(shown.as_os_str().as_bytes());
    let pids: BTreeSet<i32> = pids.into_iter().flatten().copied().collect();
    Some(Fifo {
        path: Name(path.as_os_str().as_bytes().to_vec()),
        access: users.of(&metadata),
        alive: match pids.is_empty() {
            false => Some(true),
            true => snapshot.is_complete().then_some(false),
        },
        processes: snapshot.names(&pids),
    })
}

/// The socket at a path. None if it is another file.
pub fn listener(
    path: &Path,
    sockets: &HashMap<u64, ListeningSocket>,
    snapshot: &Snapshot,
    users: &mut Users,
) -> Option<Listener> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.file_type().is_socket() {
        return None;
    }
    let bytes = path.as_os_str().as_bytes();
    let numbers = sockets.iter().filter(|(_, socket)| socket.address == bytes);
    let pids = numbers
        .filter_map(|(number, _)| snapshot.sockets.get(number))
        .flatten();
    let c_path = CString::new(bytes).ok()?;
    let is_stale = listen::remove_stale(&c_path, true);
    Some(Listener {
        address: Name(bytes.to_vec()),
        access: Some(users.of(&metadata)),
        processes: snapshot.names(pids),
        alive: is_stale.ok().map(|is_stale| !is_stale),
    })
}

/// The listeners of the processes that use the library.
pub fn listeners(sockets: &HashMap<u64, ListeningSocket>, snapshot: &Snapshot) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = sockets
        .iter()
        .filter_map(|(number, socket)| {
            let pids = snapshot.sockets.get(number)?;
            let is_of_program = pids.iter().any(|pid| snapshot.programs.contains(pid));
            is_of_program.then(|| Listener {
                address: Name(socket.address.clone()),
                access: None,
                processes: snapshot.names(pids),
                alive: Some(true),
            })
        })
        .collect();
    listeners.sort_by(|a, b| a.address.cmp(&b.address));
    listeners
}
