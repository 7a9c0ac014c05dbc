//! FIFOs, and sockets that listen.

use super::files::{Access, Users};
use super::snapshot::Snapshot;
use super::walk::Found;
use crate::output::Name;
use crate::proc::ProcessName;
use crate::proc::sockets::Listener as ListeningSocket;
use nix::sys::stat::SFlag;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use unixipc::transport::listen;

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

/// A FIFO. None if it is another file.
pub fn fifo(found: &Found, snapshot: &Snapshot, users: &mut Users) -> Option<Fifo> {
    if !found.is(SFlag::S_IFIFO) {
        return None;
    }
    // /proc shows absolute paths without symbolic links.
    let shown = fs::canonicalize(&found.path).ok()?;
    let pids = snapshot.open_files.get(shown.as_os_str().as_bytes());
    let pids: BTreeSet<i32> = pids.into_iter().flatten().copied().collect();
    Some(Fifo {
        path: Name(found.path.as_os_str().as_bytes().to_vec()),
        access: users.of_status(&found.status),
        alive: match pids.is_empty() {
            false => Some(true),
            true => snapshot.is_complete().then_some(false),
        },
        processes: snapshot.names(&pids),
    })
}

/// The socket at a path. None if it is another file.
pub fn listener(
    found: &Found,
    sockets: &HashMap<u64, ListeningSocket>,
    snapshot: &Snapshot,
    users: &mut Users,
) -> Option<Listener> {
    if !found.is(SFlag::S_IFSOCK) {
        return None;
    }
    let bytes = found.path.as_os_str().as_bytes();
    let numbers = sockets.iter().filter(|(_, socket)| socket.address == bytes);
    let pids = numbers
        .filter_map(|(number, _)| snapshot.sockets.get(number))
        .flatten();
    let is_stale = listen::remove_stale(found.directory, found.name, true);
    Some(Listener {
        address: Name(bytes.to_vec()),
        access: Some(users.of_status(&found.status)),
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
