//! The access of an unprivileged user to root's objects, and to the user's own objects with
//! restrictive modes.

use crate::both::{Calls, Outcome, both};
use crate::call;
use crate::sem::{self, Set, ops};
use crate::semctl::{Fourth, control};
use crate::shm::{self, Segment};
use crate::shmctl::{SHM_INFO, SHM_STAT, SHM_STAT_ANY};
use common::prelude::*;
use libc::*;
use std::{mem, ptr};

/// The permission that a call needs, and its errno without it.
#[derive(Clone, Copy)]
enum Needs {
    Bits(c_int),
    Nothing,
    /// The caller must be the owner, the creator or root.
    Owner,
}

impl Needs {
    fn expected(self, mode: c_int) -> Outcome {
        match self {
            Self::Bits(bits) if mode & bits == bits => Ok(0),
            Self::Bits(_) => Err(EACCES),
            Self::Nothing => Ok(0),
            Self::Owner => Err(EPERM),
        }
    }
}

const READ: Needs = Needs::Bits(4);
const WRITE: Needs = Needs::Bits(2);
const BOTH: Needs = Needs::Bits(6);

/// The modes of root's objects.
const MODES: [c_int; 8] = [0, 0o600, 0o660, 0o644, 0o666, 0o602, 0o770, 0o777];

/// A call on one of root's objects, by its id and key; buf is large enough for any struct.
type Try = fn(&Calls, c_int, key_t, *mut c_void) -> Outcome;

/// Makes the call as the unprivileged user; ids and addresses are not compared.
fn try_as_nobody(calls: &Calls, attempt: Try, id: c_int, key: key_t) -> Outcome {
    let child = fork_reporter(|| {
        become_nobody().unwrap();
        let mut buffer = [0u64; 64];
        attempt(calls, id, key, buffer.as_mut_ptr().cast()).map(|_| 0)
    });
    child.outcome()
}

#[apply(isolated)]
#[needs(needs::root)]
fn segments() {
    let key = fresh_key();
    let tries: [(&str, Needs, Try); 18] = [
        ("get, asking nothing", Needs::Nothing, |c, _, key, _| {
            call!(c.shmget(key, 0, 0))
        }),
        ("get, to read", READ, |c, _, key, _| {
            call!(c.shmget(key, 0, 0o400))
        }),
        ("get, to write", WRITE, |c, _, key, _| {
            call!(c.shmget(key, 0, 0o200))
        }),
        ("get, for others", BOTH, |c, _, key, _| {
            call!(c.shmget(key, 0, 0o006))
        }),
        ("get or create", BOTH, |c, _, key, _| {
            call!(c.shmget(key, 1, IPC_CREAT | 0o600))
        }),
        ("attach to read", READ, |c, id, _, _| {
            call!(c.shmat(id, ptr::null(), SHM_RDONLY))
        }),
        ("attach", BOTH, |c, id, _, _| {
            call!(c.shmat(id, ptr::null(), 0))
        }),
        ("attach to execute", Needs::Bits(7), |c, id, _, _| {
            call!(c.shmat(id, ptr::null(), SHM_EXEC))
        }),
        ("IPC_STAT", READ, |c, id, _, buf| {
            call!(c.shmctl(id, IPC_STAT, buf.cast()))
        }),
        ("SHM_STAT", READ, |c, id, _, buf| {
            call!(c.shmctl(id, SHM_STAT, buf.cast()))
        }),
        ("SHM_STAT_ANY", Needs::Nothing, |c, id, _, buf| {
            call!(c.shmctl(id, SHM_STAT_ANY, buf.cast()))
        }),
        ("IPC_INFO", Needs::Nothing, |c, id, _, buf| {
            call!(c.shmctl(id, IPC_INFO, buf.cast()))
        }),
        ("SHM_INFO", Needs::Nothing, |c, id, _, buf| {
            call!(c.shmctl(id, SHM_INFO, buf.cast()))
        }),
        ("IPC_SET", Needs::Owner, |c, id, _, buf| {
            call!(c.shmctl(id, IPC_SET, buf.cast()))
        }),
        ("IPC_RMID", Needs::Owner, |c, id, _, buf| {
            call!(c.shmctl(id, IPC_RMID, buf.cast()))
        }),
        ("IPC_STAT to nowhere", READ, |c, id, _, _| {
            // The kernel checks the permission before the address.
            call!(c.shmctl(id, IPC_STAT, ptr::null_mut())).or_else(efault_is_success)
        }),
        ("SHM_LOCK", Needs::Owner, |c, id, _, _| {
            call!(c.shmctl(id, SHM_LOCK, ptr::null_mut()))
        }),
        ("SHM_UNLOCK", Needs::Owner, |c, id, _, _| {
            call!(c.shmctl(id, SHM_UNLOCK, ptr::null_mut()))
        }),
    ];
    for mode in MODES {
        for (name, needs, attempt) in tries {
            let what = format!("{name}, mode {mode:o}");
            let (outcome, is) = both(&what, |calls| {
                let segment = Segment::with_key(key, 1, mode);
                let outcome = try_as_nobody(calls, attempt, segment.id, key);
                (outcome, shm::state(segment.id))
            });
            assert_eq!(outcome, needs.expected(mode), "{what}");
            let is = is.expect("still there");
            assert_eq!(
                (is.owned.mode, is.owned.owner, is.attached),
                (mode as u32, (0, 0), 0),
                "{what}"
            );
        }
    }
}

fn efault_is_success(errno: c_int) -> Outcome {
    if errno == EFAULT { Ok(0) } else { Err(errno) }
}

/// semop with one operation that does not have to wait.
fn operate(calls: &Calls, id: c_int, change: i16) -> Outcome {
    let mut list = ops(&[(0, change, IPC_NOWAIT)]);
    call!(calls.semop(id, list.as_mut_ptr(), 1))
}

#[apply(isolated)]
#[needs(needs::root)]
fn sets() {
    let key = fresh_key();
    let tries: [(&str, Needs, Try); 23] = [
        ("get, asking nothing", Needs::Nothing, |c, _, key, _| {
            call!(c.semget(key, 0, 0))
        }),
        ("get, to read", READ, |c, _, key, _| {
            call!(c.semget(key, 0, 0o400))
        }),
        ("get, to alter", WRITE, |c, _, key, _| {
            call!(c.semget(key, 0, 0o200))
        }),
        ("get or create", BOTH, |c, _, key, _| {
            call!(c.semget(key, 1, IPC_CREAT | 0o600))
        }),
        ("raise", WRITE, |c, id, _, _| operate(c, id, 1)),
        ("lower", WRITE, |c, id, _, _| {
            operate(c, id, -1).or_else(eagain_is_success)
        }),
        ("wait for zero", READ, |c, id, _, _| operate(c, id, 0)),
        ("timed", WRITE, |c, id, _, _| {
            let mut list = ops(&[(0, 1, 0)]);
            let long = timespec {
                tv_sec: 9,
                tv_nsec: 0,
            };
            call!(c.semtimedop(id, list.as_mut_ptr(), 1, &long))
        }),
        ("GETVAL", READ, |c, id, _, _| {
            control(c, id, 0, GETVAL, Fourth::None)
        }),
        ("GETPID", READ, |c, id, _, _| {
            control(c, id, 0, GETPID, Fourth::None)
        }),
        ("GETNCNT", READ, |c, id, _, _| {
            control(c, id, 0, GETNCNT, Fourth::None)
        }),
        ("GETZCNT", READ, |c, id, _, _| {
            control(c, id, 0, GETZCNT, Fourth::None)
        }),
        ("GETALL", READ, |c, id, _, buf| {
            control(c, id, 0, GETALL, Fourth::Pointer(buf))
        }),
        ("GETALL to nowhere", READ, |c, id, _, _| {
            control(c, id, 0, GETALL, Fourth::Pointer(ptr::null_mut())).or_else(efault_is_success)
        }),
        ("SETVAL", WRITE, |c, id, _, _| {
            control(c, id, 0, SETVAL, Fourth::Int(1))
        }),
        ("SETALL", WRITE, |c, id, _, buf| {
            control(c, id, 0, SETALL, Fourth::Pointer(buf))
        }),
        ("IPC_STAT", READ, |c, id, _, buf| {
            control(c, id, 0, IPC_STAT, Fourth::Pointer(buf))
        }),
        ("SEM_STAT", READ, |c, id, _, buf| {
            control(c, id, 0, SEM_STAT, Fourth::Pointer(buf))
        }),
        ("SEM_STAT_ANY", Needs::Nothing, |c, id, _, buf| {
            control(c, id, 0, SEM_STAT_ANY, Fourth::Pointer(buf))
        }),
        ("IPC_INFO", Needs::Nothing, |c, id, _, buf| {
            control(c, id, 0, IPC_INFO, Fourth::Pointer(buf))
        }),
        ("SEM_INFO", Needs::Nothing, |c, id, _, buf| {
            control(c, id, 0, SEM_INFO, Fourth::Pointer(buf))
        }),
        ("IPC_SET", Needs::Owner, |c, id, _, buf| {
            control(c, id, 0, IPC_SET, Fourth::Pointer(buf))
        }),
        ("IPC_RMID", Needs::Owner, |c, id, _, _| {
            control(c, id, 0, IPC_RMID, Fourth::None)
        }),
    ];
    for mode in MODES {
        for (name, needs, attempt) in tries {
            let what = format!("{name}, mode {mode:o}");
            let (outcome, is, values) = both(&what, |calls| {
                let set = Set::with_key(key, 1, mode);
                let outcome = try_as_nobody(calls, attempt, set.id, key);
                (outcome, sem::state(set.id), set.values())
            });
            assert_eq!(outcome, needs.expected(mode), "{what}");
            let is = is.expect("still there");
            assert_eq!(
                (is.owned.mode, is.owned.owner),
                (mode as u32, (0, 0)),
                "{what}"
            );
            let raised = outcome.is_ok() && ["raise", "timed", "SETVAL"].contains(&name);
            assert_eq!(values, [u16::from(raised)], "{what}");
        }
    }
}

fn eagain_is_success(errno: c_int) -> Outcome {
    if errno == EAGAIN { Ok(0) } else { Err(errno) }
}

/// The mode's owner bits restrict the owner too, but the owner can always change them.
#[apply(isolated)]
#[needs(needs::root)]
fn own_objects() {
    as_nobody(|| {
        for mode in [0, 0o400, 0o200, 0o600, 0o066] {
            let grants = mode >> 6;
            let key = fresh_key();
            let got = both(format!("segment, mode {mode:o}"), |calls| {
                let id = call!(calls.shmget(key, 1, IPC_CREAT | IPC_EXCL | mode)).unwrap() as c_int;
                let get = call!(calls.shmget(key, 0, 0o600)).map(|_| 0);
                let read = call!(calls.shmat(id, ptr::null(), SHM_RDONLY)).map(|_| 0);
                let write = call!(calls.shmat(id, ptr::null(), 0)).map(|_| 0);
                // SAFETY: all bytes zero is a value of this struct.
                let mut ds: shmid_ds = unsafe { mem::zeroed() };
                let stat = call!(calls.shmctl(id, IPC_STAT, &mut ds));
                // SAFETY: no arguments.
                (ds.shm_perm.uid, ds.shm_perm.gid) = unsafe { (getuid(), getgid()) };
                ds.shm_perm.mode = 0o600;
                let set = call!(calls.shmctl(id, IPC_SET, &mut ds));
                let state = shm::state(id);
                let removed = call!(calls.shmctl(id, IPC_RMID, ptr::null_mut()));
                (
                    get,
                    read,
                    write,
                    stat,
                    set,
                    state.map(|is| is.owned.mode & 0o777),
                    removed,
                )
            });
            let [read_write, read] = [BOTH, READ].map(|needs| needs.expected(grants));
            assert_eq!(
                got,
                (
                    read_write,
                    read,
                    read_write,
                    read,
                    Ok(0),
                    Some(0o600),
                    Ok(0)
                ),
                "mode {mode:o}"
            );

            let got = both(format!("set, mode {mode:o}"), |calls| {
                let id = call!(calls.semget(key, 1, IPC_CREAT | IPC_EXCL | mode)).unwrap() as c_int;
                let get = call!(calls.semget(key, 0, 0o600)).map(|_| 0);
                let zero = operate(calls, id, 0);
                let raise = operate(calls, id, 1);
                let value = control(calls, id, 0, GETVAL, Fourth::None).map(|_| 0);
                let put = control(calls, id, 0, SETVAL, Fourth::Int(1));
                let removed = control(calls, id, 0, IPC_RMID, Fourth::None);
                (get, zero, raise, value, put, removed)
            });
            let write = WRITE.expected(grants);
            assert_eq!(
                got,
                (read_write, read, write, read, write, Ok(0)),
                "mode {mode:o}"
            );
        }
        // Huge pages need a privilege, or memory that the process may lock.
        set_soft_limit(RLIMIT_MEMLOCK, 0);
        let flags = IPC_CREAT | SHM_HUGETLB | 0o600;
        let got = both("SHM_HUGETLB", |calls| {
            call!(calls.shmget(IPC_PRIVATE, 1 << 21, flags))
        });
        if std::fs::exists("/sys/kernel/mm/hugepages").unwrap() {
            assert_eq!(got, Err(EPERM));
        }
    });
}

/// A user whom root made the owner has the rights of the owner.
#[apply(isolated)]
#[needs(needs::root)]
fn owner_changed() {
    let got = both("segment", |calls| {
        let segment = Segment::new(1, 0o600);
        // SAFETY: all bytes zero is a value of this struct.
        let mut ds: shmid_ds = unsafe { mem::zeroed() };
        (ds.shm_perm.uid, ds.shm_perm.gid, ds.shm_perm.mode) = (NOBODY, NOBODY, 0o400);
        let set = call!(calls.shmctl(segment.id, IPC_SET, &mut ds));
        let owned = shm::state(segment.id).map(|is| (is.owned.owner, is.owned.creator));
        let remove: Try = |c, id, _, _| call!(c.shmctl(id, IPC_RMID, ptr::null_mut()));
        (set, owned, try_as_nobody(calls, remove, segment.id, 0))
    });
    let owned = Some(((NOBODY, NOBODY), (0, 0)));
    assert_eq!(got, (Ok(0), owned, Ok(0)));

    let got = both("set", |calls| {
        let set = Set::new(&[0]);
        // SAFETY: all bytes zero is a value of this struct.
        let mut ds: semid_ds = unsafe { mem::zeroed() };
        (ds.sem_perm.uid, ds.sem_perm.gid, ds.sem_perm.mode) = (NOBODY, NOBODY, 0o400);
        let given = Fourth::Pointer((&raw mut ds).cast());
        let given = control(calls, set.id, 0, IPC_SET, given);
        let owned = sem::state(set.id).map(|is| (is.owned.owner, is.owned.creator));
        let remove: Try = |c, id, _, _| control(c, id, 0, IPC_RMID, Fourth::None);
        (given, owned, try_as_nobody(calls, remove, set.id, 0))
    });
    assert_eq!(got, (Ok(0), owned, Ok(0)));
}
