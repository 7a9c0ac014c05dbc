//! The objects of the library in shared memory, as their bytes show them. Another process may have
//! written any bytes: each number is read once, from a copy, and limited to possible values.

mod cell;
mod event;
mod mutex;
mod rwlock;
pub mod scan;

use crate::proc::ProcessName;
use crate::proc::memory::Words;
use crate::proc::threads::Threads;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// A thread that a lock records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its number in the PID namespace of the lock.
    pub thread: i32,
    /// Its process; none if it is not visible, or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
}

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum State {
    Mutex(mutex::Mutex),
    Rwlock(rwlock::Rwlock),
    Cond(event::Cond),
    Event(event::Event),
    Cell(cell::Cell),
}

/// Fills bytes with the content of a region at an offset.
pub type Read<'a> = dyn Fn(&mut [u8], u64) -> io::Result<()> + 'a;

impl Object {
    /// Reads the parts again that have changed during the first read.
    pub fn read_again(&mut self, read: &Read) {
        if let State::Cell(cell) = &mut self.state {
            cell.read_again(read, self.offset);
        }
    }
}

impl State {
    /// The lock; none if it is another object.
    pub fn lock(&self) -> Option<Lock<'_>> {
        match self {
            Self::Mutex(mutex) => Some(Lock {
                kind: "mutex",
                holder: mutex.holder.as_ref(),
                held_ms: mutex.held_ms,
                waiters: mutex.waiters,
                owner_died: mutex.owner_died,
            }),
            Self::Rwlock(lock) => Some(Lock {
                kind: "rwlock",
                holder: lock.writer.as_ref(),
                held_ms: lock.held_ms,
                waiters: lock.waiters,
                owner_died: lock.owner_died,
            }),
            Self::Cond(_) | Self::Event(_) | Self::Cell(_) => None,
        }
    }

    /// How many threads it records.
    fn holders(&self) -> usize {
        match self {
            Self::Mutex(mutex) => mutex.holder.iter().count(),
            Self::Rwlock(lock) => {
                let writers = lock.writer.iter().chain(&lock.pending);
                lock.readers.len() + writers.count()
            }
            Self::Cell(cell) => cell.writer.iter().count(),
            Self::Cond(_) | Self::Event(_) => 0,
        }
    }
}

/// The common state of a mutex and a reader-writer lock. The holder is the owner or the writer.
pub struct Lock<'a> {
    pub kind: &'static str,
    pub holder: Option<&'a Holder>,
    pub held_ms: Option<u32>,
    pub waiters: bool,
    pub owner_died: bool,
}

/// An object in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its offset in the region.
    pub offset: u64,
    #[serde(flatten)]
    pub state: State,
}

/// How the threads in a lock are found.
pub struct Lookup<'a> {
    /// The threads of the processes that use the region.
    pub threads: &'a Threads,
    pub processes: &'a BTreeMap<i32, ProcessName>,
}

impl Lookup<'_> {
    /// The thread with this number in a PID namespace; none for 0.
    fn holder(&self, namespace: u32, thread: u32) -> Option<Holder> {
        let thread = i32::try_from(thread).ok().filter(|thread| *thread > 0)?;
        let pid = self.threads.process(namespace, thread);
        Some(Holder {
            thread,
            process: pid.and_then(|pid| self.processes.get(&pid).cloned()),
        })
    }
}

/// The offset of a field in one of the library's tables of offsets.
const fn field(layout: &[(&str, usize)], index: usize) -> usize {
    layout[index].1
}

/// The state of an object that begins with `words`, and its size. None if it has no such header, or
/// cannot be one. `offset` is its offset in the region.
pub fn decode(words: Words<'_>, offset: u64, lookup: &Lookup) -> Option<(Object, usize)> {
    let header = words.u64(0);
    let (state, size) = if header == mutex::HEADER {
        let (state, size) = mutex::decode(words, lookup)?;
        (State::Mutex(state), size)
    } else if header == rwlock::HEADER {
        let (state, size) = rwlock::decode(words, offset, lookup)?;
        (State::Rwlock(state), size)
    } else if header == event::COND_HEADER {
        let (state, size) = event::decode_cond(words)?;
        (State::Cond(state), size)
    } else if header == event::EVENT_HEADER {
        let (state, size) = event::decode_event(words)?;
        (State::Event(state), size)
    } else if header == cell::HEADER {
        let (state, size) = cell::decode(words, lookup)?;
        (State::Cell(state), size)
    } else {
        return None;
    };
    Some((Object { offset, state }, size))
}
