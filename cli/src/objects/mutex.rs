//! A mutex (`src/lock/mutex.rs`).

use super::{Holder, Lookup, field};
use crate::proc::memory::Words;
use serde::Serialize;
use unixipc::lock::mutex::Mutex as Layout;
use unixipc::lock::robust_mutex::RobustMutex;
use unixipc::sys;

pub const HEADER: u64 = Layout::TYPE.word();

const SIZE: usize = size_of::<Layout>();
const ROBUST: usize = field(&Layout::LAYOUT, 3);
const ORIGIN: usize = field(&Layout::LAYOUT, 4);
const INHERITS: usize = field(&Layout::LAYOUT, 5);
const HELD_SINCE: usize = field(&Layout::LAYOUT, 7);
/// The PID namespace in the origin.
const NAMESPACE: usize = 4;
/// The futex word in the C library's mutex.
const FUTEX: usize = if cfg!(target_env = "musl") { 4 } else { 0 };
/// The bit of the owner word that records the death of an owner.
const DIED: u64 = 1;

/// The state of a mutex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mutex {
    /// The thread that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// For how many milliseconds that thread has held it, or longer; only known if others wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u32>,
    /// Whether threads wait for it.
    pub waiters: bool,
    /// Whether an owner has died, and no later owner has marked the data as consistent.
    pub owner_died: bool,
    /// Whether it has priority inheritance.
    pub inherits: bool,
}

/// The state of a robust mutex.
pub struct Robust {
    pub holder: Option<Holder>,
    pub held_ms: Option<u32>,
    pub waiters: bool,
    pub owner_died: bool,
}

/// Decodes the robust mutex at an offset; `held_since` is the time that its waiters have recorded.
pub fn robust(
    words: Words<'_>,
    at: usize,
    held_since: u32,
    namespace: u32,
    lookup: &Lookup,
) -> Robust {
    let futex = words.u32(at + FUTEX);
    let owner = words.u64(at + field(&RobustMutex::LAYOUT, 1) - field(&RobustMutex::LAYOUT, 0));
    let holder = lookup.holder(namespace, futex & libc::FUTEX_TID_MASK);
    let waiters = futex & libc::FUTEX_WAITERS != 0;
    Robust {
        held_ms: (holder.is_some() && waiters).then(|| time_since(held_since)),
        holder,
        waiters,
        owner_died: futex & libc::FUTEX_OWNER_DIED != 0 || owner & DIED != 0,
    }
}

/// The milliseconds since a time of the library, of which only the low 32 bits are known. 0 for a
/// time that has not come yet.
fn time_since(time: u32) -> u32 {
    let passed = (sys::coarse_ms() as u32).wrapping_sub(time);
    if passed > i32::MAX as u32 { 0 } else { passed }
}

/// Decodes a mutex.
pub fn decode(words: Words<'_>, lookup: &Lookup) -> Option<(Mutex, usize)> {
    let inherits = match words.u32(INHERITS) {
        value @ (0 | 1) if words.0.len() >= SIZE => value == 1,
        _ => return None,
    };
    let namespace = words.u32(ORIGIN + NAMESPACE);
    let Robust {
        holder,
        held_ms,
        waiters,
        owner_died,
    } = robust(words, ROBUST, words.u32(HELD_SINCE), namespace, lookup);
    let mutex = Mutex {
        holder,
        held_ms,
        waiters,
        owner_died,
        inherits,
    };
    Some((mutex, SIZE))
}
