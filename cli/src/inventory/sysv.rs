//! System V segments and semaphore sets.

use super::files::{Access, Users};
use super::regions::SCAN_MAX;
use super::snapshot::Snapshot;
use crate::objects::scan::{Budget, scan};
use crate::objects::{Lookup, Object};
use crate::proc::ProcessName;
use crate::proc::memory::Memory;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use unixipc::semlock;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Its key, in hexadecimal.
    pub key: String,
    pub id: i32,
    /// Its size, in bytes.
    pub size: u64,
    #[serde(flatten)]
    pub access: Access,
    /// How many times it is attached.
    pub attached: u64,
    /// The visible processes that have it attached.
    pub processes: Vec<ProcessName>,
    /// The process that made it, and the one that attached or detached it last. 0 for a process of
    /// another PID namespace, and for a segment that no process has attached yet.
    pub creator: i32,
    pub last_user: i32,
    /// The user who made it, who may also remove it.
    #[serde(skip)]
    pub creator_uid: u32,
    /// Whether a process has attached it.
    #[serde(skip)]
    pub was_attached: bool,
    /// Whether it is known to be a region of the library.
    #[serde(skip)]
    pub recognised: bool,
    /// Whether not all of it was searched for objects.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partly_read: bool,
    /// The objects in it, if a process has it attached.
    pub objects: Vec<Object>,
}

/// A semaphore set that is a lock of the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Set {
    /// Its key, in hexadecimal.
    pub key: String,
    pub id: i32,
    #[serde(flatten)]
    pub access: Access,
    /// The number of read locks.
    pub readers: u32,
    /// The process that holds the write lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<i32>,
    /// Whether a writer waits for the readers to leave.
    pub writer_pending: bool,
    /// How many processes wait for the lock.
    pub waiters: u32,
    /// Whether an owner has died, and no later owner has marked the data as consistent.
    pub owner_died: bool,
    /// The process that opened or marked it last. 0 for a process of another PID namespace.
    #[serde(skip)]
    pub last_user: i32,
    /// The user who made it, who may also remove it.
    #[serde(skip)]
    pub creator_uid: u32,
}

/// The segments, of which those that no process has attached are not read: attaching one would change
/// its times.
pub fn segments(snapshot: &Snapshot, users: &mut Users, budget: &mut Budget) -> Vec<Segment> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| segment(line, snapshot, users, budget))
        .collect()
}

/// Parses a line: key, shmid, perms, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime,
/// ctime, and others.
fn segment(
    line: &str,
    snapshot: &Snapshot,
    users: &mut Users,
    budget: &mut Budget,
) -> Option<Segment> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let mode = u32::from_str_radix(fields.get(2)?, 8).ok()?;
    let used = number(11)?.max(number(12)?);
    let changed = used.max(number(13)?);
    let id = i32::try_from(number(1)?).ok()?;
    let mapped = snapshot.segments.get(&id);
    let mut segment = Segment {
        key: hexadecimal(number(0)?),
        id,
        size: number(3)?.try_into().ok()?,
        access: users.access(number(7)?.try_into().ok()?, mode & 0o777, changed),
        attached: number(6)?.try_into().ok()?,
        processes: mapped.map_or_else(Vec::new, |mapped| snapshot.names(mapped.users.keys())),
        creator: number(4)?.try_into().ok()?,
        last_user: number(5)?.try_into().ok()?,
        creator_uid: number(9)?.try_into().ok()?,
        was_attached: used != 0,
        recognised: mapped.is_some_and(|mapped| mapped.by_program),
        partly_read: false,
        objects: Vec::new(),
    };
    read_objects(&mut segment, snapshot, budget);
    segment.recognised |= !segment.objects.is_empty();
    Some(segment)
}

fn read_objects(segment: &mut Segment, snapshot: &Snapshot, budget: &mut Budget) {
    let Some(mapped) = snapshot.segments.get(&segment.id) else {
        return;
    };
    let len = usize::try_from(segment.size)
        .unwrap_or(usize::MAX)
        .min(SCAN_MAX);
    let mut bytes = vec![0; len];
    segment.partly_read = true;
    let memory = mapped.places.iter().find_map(|place| {
        let memory = Memory::open(place).ok()?;
        memory.read_up_to(&mut bytes, 0).ok()?;
        Some(memory)
    });
    let Some(memory) = memory else {
        return;
    };
    let threads = snapshot.threads(mapped.users.keys());
    let processes = segment
        .processes
        .iter()
        .map(|process| (process.pid, process.clone()));
    let lookup = Lookup {
        threads: &threads,
        processes: &processes.collect::<BTreeMap<_, _>>(),
    };
    let (objects, are_all) = scan(&bytes, &lookup, budget);
    segment.objects = objects;
    for object in &mut segment.objects {
        object.read_again(&|bytes, at| memory.read(bytes, at));
    }
    segment.partly_read = !are_all || (SCAN_MAX as u64) < segment.size;
}

/// The semaphore sets of the library that this process may read.
pub fn sets(users: &mut Users) -> Vec<Set> {
    let table = fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| set(line, users))
        .collect()
}

/// Parses a line: key, semid, perms, nsems, uid, gid, cuid, cgid, otime, ctime.
fn set(line: &str, users: &mut Users) -> Option<Set> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let mode = u32::from_str_radix(fields.get(2)?, 8).ok()?;
    let id = i32::try_from(number(1)?).ok()?;
    let state = semlock::inspect(id).ok()??;
    Some(Set {
        key: hexadecimal(number(0)?),
        id,
        access: users.access(
            number(4)?.try_into().ok()?,
            mode,
            number(8)?.max(number(9)?),
        ),
        readers: state.readers,
        writer: state.writer,
        writer_pending: state.writer_pending,
        waiters: state.waiters,
        owner_died: state.owner_died,
        last_user: state.last_user,
        creator_uid: number(6)?.try_into().ok()?,
    })
}

/// A key, as ipcs(1) shows it.
fn hexadecimal(key: i64) -> String {
    format!("{:#010x}", key as u32)
}
