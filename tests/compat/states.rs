//! The objects in shared memory, each in the states in which a version is frozen.

use crate::call;
use crate::support::*;
use libc::{EAGAIN, EDEADLK, EPERM, c_void};
use std::ptr;
use unixipc::ffi::cell::*;
use unixipc::ffi::cond::*;
use unixipc::ffi::event::*;
use unixipc::ffi::mutex::*;
use unixipc::ffi::rwlock::*;

/// The size of a cell's values.
const VALUE: usize = 100;
const OWNER_DIED: Outcome = Ok(unixipc::ffi::lock::IPC_OWNER_DIED as usize);

/// An object in some state.
pub struct State {
    pub name: &'static str,
    pub size: fn() -> usize,
    /// The offsets of the words by which a lock finds its boot and its PID namespace.
    pub home: &'static [usize],
    /// The bytes that this version does not use: the first one, and the one after the last.
    pub reserved: &'static [(usize, usize)],
    /// Makes the object.
    pub make: fn(*mut c_void),
    /// Releases the object after its bytes were copied. If it does something, the bytes contain the
    /// number of a thread.
    pub release: Option<fn(*mut c_void)>,
    /// Uses the object. Returns the outcome of each call.
    pub calls: fn(*mut c_void) -> Vec<Outcome>,
    /// The outcomes, unless the layout has another version.
    pub expected: &'static [Outcome],
}

const MUTEX_HOME: &[usize] = &[8, 64, 68];
const RWLOCK_HOME: &[usize] = &[64 + 4, 64 + 24, 64 + 28];
const CELL_HOME: &[usize] = &[128 + 8, 128 + 64, 128 + 68];

const MUTEX_RESERVED: &[(usize, usize)] = &[(92, 128)];
const RWLOCK_RESERVED: &[(usize, usize)] = &[(8, 64), (64 + 44, 128)];
const CELL_RESERVED: &[(usize, usize)] = &[(32, 64), (72, 128), (128 + 88, 256)];

pub const STATES: [State; 10] = [
    State {
        name: "mutex",
        size: size_of::<ipc_mutex>,
        home: MUTEX_HOME,
        reserved: MUTEX_RESERVED,
        make: |at| done(call!(ipc_mutex_init(at.cast(), 0))),
        release: None,
        calls: use_mutex,
        expected: &[Ok(0), Ok(1), Err(EDEADLK), Ok(0), Ok(0), Err(EPERM)],
    },
    State {
        name: "mutex-inherits",
        size: size_of::<ipc_mutex>,
        home: MUTEX_HOME,
        reserved: MUTEX_RESERVED,
        make: |at| done(call!(ipc_mutex_init(at.cast(), IPC_MUTEX_F_PRIO_INHERIT))),
        release: None,
        calls: use_mutex,
        expected: &[Ok(0), Ok(1), Err(EDEADLK), Ok(0), Ok(0), Err(EPERM)],
    },
    // Its owner was running when the machine stopped, and the object is in a file.
    State {
        name: "mutex-held",
        size: size_of::<ipc_mutex>,
        home: MUTEX_HOME,
        reserved: MUTEX_RESERVED,
        make: |at| {
            done(call!(ipc_mutex_init(at.cast(), 0)));
            done(call!(ipc_mutex_lock(at.cast(), 0)));
        },
        release: Some(|at| done(call!(ipc_mutex_unlock(at.cast())))),
        calls: use_mutex,
        expected: &[OWNER_DIED, Ok(1), Err(EDEADLK), Ok(0), Ok(0), Err(EPERM)],
    },
    State {
        name: "rwlock",
        size: size_of::<ipc_rwlock>,
        home: RWLOCK_HOME,
        reserved: RWLOCK_RESERVED,
        make: |at| done(call!(ipc_rwlock_init(at.cast(), 0))),
        release: None,
        calls: use_rwlock,
        expected: &[Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Err(EPERM)],
    },
    State {
        name: "rwlock-read",
        size: size_of::<ipc_rwlock>,
        home: RWLOCK_HOME,
        reserved: RWLOCK_RESERVED,
        make: |at| {
            done(call!(ipc_rwlock_init(at.cast(), 0)));
            done(call!(ipc_rwlock_rdlock(at.cast(), 0)));
        },
        release: Some(|at| done(call!(ipc_rwlock_rdunlock(at.cast())))),
        calls: use_rwlock,
        expected: &[Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Err(EPERM)],
    },
    State {
        name: "rwlock-written",
        size: size_of::<ipc_rwlock>,
        home: RWLOCK_HOME,
        reserved: RWLOCK_RESERVED,
        make: |at| {
            done(call!(ipc_rwlock_init(at.cast(), 0)));
            done(call!(ipc_rwlock_wrlock(at.cast(), 0)));
        },
        release: Some(|at| done(call!(ipc_rwlock_wrunlock(at.cast())))),
        calls: use_rwlock,
        expected: &[OWNER_DIED, Ok(0), OWNER_DIED, Ok(0), Ok(0), Err(EPERM)],
    },
    State {
        name: "cond",
        size: size_of::<ipc_cond>,
        home: &[],
        reserved: &[(28, 64)],
        make: |at| done(call!(ipc_cond_init(at.cast(), 0))),
        release: None,
        calls: |at| {
            vec![
                call!(ipc_cond_signal(at.cast())),
                call!(ipc_cond_broadcast(at.cast())),
            ]
        },
        expected: &[Ok(0); 2],
    },
    State {
        name: "event",
        size: size_of::<ipc_event>,
        home: &[],
        reserved: &[(20, 64)],
        make: |at| done(call!(ipc_event_init(at.cast(), IPC_EVENT_F_SET))),
        release: None,
        calls: use_event,
        expected: &[Ok(1), Ok(0), Ok(0), Ok(0), Err(EAGAIN), Ok(0), Ok(1)],
    },
    State {
        name: "event-auto-reset",
        size: size_of::<ipc_event>,
        home: &[],
        reserved: &[(20, 64)],
        make: |at| {
            done(call!(ipc_event_init(
                at.cast(),
                IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET
            )))
        },
        release: None,
        calls: use_event,
        expected: &[Ok(1), Ok(0), Err(EAGAIN), Ok(0), Err(EAGAIN), Ok(0), Ok(1)],
    },
    State {
        name: "cell",
        size: cell_size,
        home: CELL_HOME,
        reserved: CELL_RESERVED,
        make: make_cell,
        release: None,
        calls: use_cell,
        expected: &[
            Ok(0),
            Ok(VALUE),
            Ok(VALUE),
            Ok(3),
            Ok(0),
            Ok(10),
            Ok(4),
            Ok(0),
        ],
    },
];

#[track_caller]
fn done(outcome: Outcome) {
    assert_eq!(outcome, Ok(0));
}

fn use_mutex(at: *mut c_void) -> Vec<Outcome> {
    let at = at.cast();
    vec![
        call!(ipc_mutex_lock(at, LONG)),
        call!(ipc_mutex_owner(at)).map(|owner| usize::from(owner as u64 == thread_id())),
        call!(ipc_mutex_lock(at, 0)),
        call!(ipc_mutex_consistent(at)),
        call!(ipc_mutex_unlock(at)),
        call!(ipc_mutex_unlock(at)),
    ]
}

fn use_rwlock(at: *mut c_void) -> Vec<Outcome> {
    let at = at.cast();
    vec![
        call!(ipc_rwlock_rdlock(at, LONG)),
        call!(ipc_rwlock_rdunlock(at)),
        call!(ipc_rwlock_wrlock(at, LONG)),
        call!(ipc_rwlock_consistent(at)),
        call!(ipc_rwlock_wrunlock(at)),
        call!(ipc_rwlock_wrunlock(at)),
    ]
}

fn use_event(at: *mut c_void) -> Vec<Outcome> {
    let at = at.cast();
    vec![
        call!(ipc_event_is_set(at)),
        call!(ipc_event_wait(at, 0)),
        call!(ipc_event_wait(at, 0)),
        call!(ipc_event_clear(at)),
        call!(ipc_event_wait(at, 0)),
        call!(ipc_event_set(at)),
        call!(ipc_event_is_set(at)),
    ]
}

fn cell_size() -> usize {
    ipc_cell_memory_size(VALUE)
}

/// A cell with three values; the last one is `pattern(VALUE, 3)`.
fn make_cell(at: *mut c_void) {
    let mut cell = ptr::null_mut();
    done(call!(ipc_cell_init(
        at,
        cell_size(),
        VALUE,
        IPC_CELL_F_WAITABLE,
        &mut cell
    )));
    for seed in 1..=3 {
        let value = pattern(VALUE, seed);
        done(call!(ipc_cell_store(cell, value.as_ptr().cast(), VALUE, 0)));
    }
    // SAFETY: an open cell, and this is its last use.
    unsafe { ipc_cell_close(cell) };
}

fn use_cell(at: *mut c_void) -> Vec<Outcome> {
    let mut cell = ptr::null_mut();
    let opened = call!(ipc_cell_open(at, cell_size(), 0, &mut cell));
    if opened.is_err() {
        return vec![opened];
    }
    let (mut value, mut version) = ([0u8; VALUE], 0);
    let to = value.as_mut_ptr().cast::<c_void>();
    // SAFETY: an open cell.
    let size = Ok(unsafe { ipc_cell_value_size(cell) });
    let outcomes = {
        let loaded = call!(ipc_cell_load(cell, to, VALUE, &mut version));
        assert_eq!(value[..], pattern(VALUE, 3)[..]);
        let loaded_version = Ok(version as usize);
        let stored = call!(ipc_cell_store(cell, to, 10, LONG));
        let again = call!(ipc_cell_load(cell, to, VALUE, &mut version));
        let waited = call!(ipc_cell_wait(cell, 3, LONG));
        let version = Ok(version as usize);
        vec![
            opened,
            size,
            loaded,
            loaded_version,
            stored,
            again,
            version,
            waited,
        ]
    };
    // SAFETY: an open cell, and this is its last use.
    unsafe { ipc_cell_close(cell) };
    outcomes
}
