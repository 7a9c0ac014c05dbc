//! shmctl.

use crate::both::{Calls, Outcome, Owned, Pages, both, both_around, same};
use crate::call;
use crate::shm::Segment;
use common::prelude::*;
use libc::*;
use std::{mem, ptr};

// Commands of Linux that the libc crate lacks.
pub const SHM_STAT: c_int = 13;
pub const SHM_INFO: c_int = 14;
pub const SHM_STAT_ANY: c_int = 15;

/// All commands of shmctl and semctl, the numbers between and around them, and the flag by which
/// old ABIs select the new structs.
pub fn all_commands() -> Vec<c_int> {
    let plain = (-3..=40).chain([0xff, 0x1ff, 0x200, i32::MIN, i32::MAX]);
    let commands: Vec<_> = plain.collect();
    let flagged: Vec<_> = (0..=20).map(|cmd| cmd | 0x100).collect();
    [commands, flagged].concat()
}

/// Pointers to a struct that a command reads or writes: valid, invalid, and partly valid.
pub fn struct_pointers<T>(pages: &Pages) -> Vec<(&'static str, *mut T)> {
    let mut pointers = pages.invalid_pointers();
    pointers.push(("a read-only page", pages.read_only()));
    pointers.push(("enough", pages.last(512)));
    pointers.push(("exactly enough", pages.last(size_of::<T>())));
    pointers.push(("unaligned", pages.last(size_of::<T>() + 1)));
    pointers.push(("one byte short", pages.last(size_of::<T>() - 1)));
    pointers.push(("eight bytes", pages.last(8)));
    pointers
}

/// All commands except IPC_SET and IPC_RMID, on one segment: the bytes that they write must be the
/// same.
#[apply(isolated)]
fn every_command() {
    let pages = Pages::new();
    let segment = Segment::new(12345, 0o640);
    let removed = Segment::removed();
    let pointers = struct_pointers::<shmid_ds>(&pages);
    let run = |calls: &Calls, id: c_int, cmd: c_int, buf: *mut shmid_ds| {
        pages.last::<u8>(0);
        let outcome = call!(calls.shmctl(id, cmd, buf));
        let written = pages.bytes();
        let mode = segment.state().unwrap().owned.mode;
        // SAFETY: SHM_UNLOCK reads no struct.
        unsafe { shmctl(segment.id, SHM_UNLOCK, ptr::null_mut()) };
        (outcome, written, mode)
    };
    for cmd in all_commands() {
        if cmd == IPC_SET || cmd == IPC_RMID {
            continue;
        }
        for id in [segment.id, removed, -1, i32::MIN, i32::MAX] {
            for &(name, buf) in &pointers {
                let what = format!("id {id}, command {cmd:#x}, {name}");
                let (outcome, written, _) = both_around(&what, |calls| run(calls, id, cmd, buf));
                check(&what, id == segment.id, cmd, name, outcome);
                // The command writes a whole struct, with this segment's size.
                if outcome.is_ok() && [IPC_STAT, SHM_STAT, SHM_STAT_ANY].contains(&cmd) {
                    let size = 12345usize.to_ne_bytes();
                    assert!(written.windows(8).any(|bytes| bytes == size), "{what}");
                }
            }
        }
    }
}

/// Checks the part of an outcome that the test knows beforehand.
fn check(what: &str, exists: bool, cmd: c_int, pointer: &str, outcome: Outcome) {
    let takes_struct = [IPC_STAT, IPC_INFO, SHM_STAT, SHM_INFO, SHM_STAT_ANY].contains(&cmd);
    let good = ["enough", "unaligned"].contains(&pointer);
    let takes_none = [SHM_LOCK, SHM_UNLOCK].contains(&cmd);
    if !takes_struct && !takes_none {
        assert_eq!(outcome, Err(EINVAL), "{what}");
    } else if !exists {
        assert!(![Err(EFAULT), Ok(-1)].contains(&outcome) || cmd == IPC_INFO || cmd == SHM_INFO);
    } else if takes_none || good {
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
    } else if pointer != "exactly enough" && pointer != "one byte short" {
        assert_eq!(outcome, Err(EFAULT), "{what}");
    }
}

fn owner(uid: uid_t, gid: gid_t, mode: u16) -> shmid_ds {
    // SAFETY: all bytes zero is a value of this struct.
    let mut ds: shmid_ds = unsafe { mem::zeroed() };
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = mode as _;
    ds.shm_perm.__key = 99; // the caller cannot change this and the next field
    ds.shm_segsz = 99;
    ds
}

#[apply(isolated)]
fn set() {
    let pages = Pages::new();
    // SAFETY: no arguments.
    let (uid, gid) = unsafe { (getuid(), getgid()) };
    let run = |calls: &Calls, buf: *mut shmid_ds| {
        let segment = Segment::new(1, 0o640);
        let outcome = call!(calls.shmctl(segment.id, IPC_SET, buf));
        (outcome, segment.state())
    };
    let unchanged = both("nothing", |_| Segment::new(1, 0o640).state());
    for mode in (0..=0o777).chain([0o1000, 0o4755, 0o177_777]) {
        let buf = pages.put_last(&[owner(uid, gid, mode as u16)]);
        let (outcome, is) = both(format!("mode {mode:o}"), |calls| run(calls, buf));
        assert_eq!(outcome, Ok(0));
        // Without read permission the owner cannot query the state.
        if let Some(is) = is {
            let Owned {
                key, mode: is_mode, ..
            } = is.owned;
            assert_eq!((key, is.size, is_mode), (IPC_PRIVATE, 1, mode & 0o777));
        }
    }
    for (uid, gid, expected) in [
        (NOBODY, NOBODY, None),
        (0, 0, None),
        (1234, 0, None),
        (uid_t::MAX, gid, Some(Err(EINVAL))),
        (uid, gid_t::MAX, Some(Err(EINVAL))),
    ] {
        let buf = pages.put_last(&[owner(uid, gid, 0o600)]);
        let (outcome, is) = both(format!("{uid}:{gid}"), |calls| run(calls, buf));
        assert!(expected.is_none_or(|expected| expected == outcome));
        match outcome {
            Ok(_) => assert!(is.is_none_or(|is| is.owned.owner == (uid, gid))),
            Err(_) => assert_eq!(is, unchanged),
        }
    }
    let mut bad = pages.invalid_pointers();
    bad.push(("eight bytes", pages.last(8)));
    for (name, buf) in bad {
        let got = both(name, |calls| run(calls, buf));
        assert_eq!(got.0, Err(EFAULT), "{name}");
        assert_eq!(got.1, unchanged, "{name}");
    }
    let removed = Segment::removed();
    for id in [removed, -1, i32::MIN, i32::MAX] {
        for (name, buf) in struct_pointers(&pages) {
            same(format!("{id}, {name}"), |calls| {
                call!(calls.shmctl(id, IPC_SET, buf))
            });
        }
    }
}

#[apply(isolated)]
fn remove() {
    let pages = Pages::new();
    for (name, buf) in struct_pointers::<shmid_ds>(&pages) {
        let (first, left, second) = both(name, |calls| {
            let segment = Segment::new(1, 0o600);
            let first = call!(calls.shmctl(segment.id, IPC_RMID, buf));
            let left = segment.state();
            (first, left, call!(calls.shmctl(segment.id, IPC_RMID, buf)))
        });
        assert_eq!((first, left), (Ok(0), None), "{name}");
        assert!([Err(EINVAL), Err(EIDRM)].contains(&second), "{name}");
    }
    for id in [Segment::removed(), -1, i32::MIN, i32::MAX] {
        same(id, |calls| {
            call!(calls.shmctl(id, IPC_RMID, ptr::null_mut()))
        });
    }
    let got = both("while it is attached", |calls| {
        let segment = Segment::new(1, 0o600);
        // SAFETY: the kernel chooses the address.
        let at = unsafe { shmat(segment.id, ptr::null(), 0) };
        let first = call!(calls.shmctl(segment.id, IPC_RMID, ptr::null_mut()));
        let marked = segment.state();
        let second = call!(calls.shmctl(segment.id, IPC_RMID, ptr::null_mut()));
        // SAFETY: nothing uses the mapping now.
        assert_eq!(unsafe { shmdt(at) }, 0);
        (
            first,
            marked.map(|is| (is.owned.mode, is.attached)),
            second,
            segment.state(),
        )
    });
    assert_eq!((got.0, got.1, got.3), (Ok(0), Some((0o1600, 1)), None));
}

#[apply(isolated)]
fn lock() {
    for (cmd, mode) in [(SHM_LOCK, 0o2600), (SHM_UNLOCK, 0o600)] {
        let got = both(cmd, |calls| {
            let segment = Segment::new(1, 0o600);
            let outcome = call!(calls.shmctl(segment.id, cmd, ptr::null_mut()));
            (outcome, segment.state().map(|is| is.owned.mode))
        });
        assert_eq!(got, (Ok(0), Some(mode)));
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn lock_limits() {
    let child = fork_reporter(|| {
        become_nobody().unwrap();
        for (limit, size, expected) in [
            (0, 1, Err(EPERM)),
            (1 << 14, 1 << 20, Err(ENOMEM)),
            (1 << 20, 1 << 14, Ok(0)),
        ] {
            let got = both(limit, |calls| {
                let segment = Segment::new(size, 0o600);
                let old = set_soft_limit(RLIMIT_MEMLOCK, limit);
                let outcome = call!(calls.shmctl(segment.id, SHM_LOCK, ptr::null_mut()));
                set_soft_limit(RLIMIT_MEMLOCK, old);
                outcome
            });
            assert_eq!(got, expected, "limit {limit}");
        }
        Ok(0)
    });
    assert_eq!(child.outcome(), Ok(0));
}
