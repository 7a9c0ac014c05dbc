//! semctl, always called through the variadic prototype.

use crate::both::{Calls, Outcome, Pages, both, both_around, same};
use crate::call;
use crate::sem::{SEMVMX, Semun, Set};
use crate::shmctl::{all_commands, struct_pointers};
use common::prelude::*;
use libc::*;
use std::ptr;

/// The forms in which C programs pass the fourth argument.
#[derive(Clone, Copy)]
pub enum Fourth {
    None,
    Int(c_int),
    Pointer(*mut c_void),
    UnionVal(c_int),
    UnionPointer(*mut c_void),
}

pub fn control(calls: &Calls, id: c_int, num: c_int, cmd: c_int, fourth: Fourth) -> Outcome {
    match fourth {
        Fourth::None => call!(calls.semctl(id, num, cmd)),
        Fourth::Int(val) => call!(calls.semctl(id, num, cmd, val)),
        Fourth::Pointer(pointer) => call!(calls.semctl(id, num, cmd, pointer)),
        Fourth::UnionVal(val) => call!(calls.semctl(id, num, cmd, Semun { val })),
        Fourth::UnionPointer(pointer) => {
            let buf = pointer.cast();
            call!(calls.semctl(id, num, cmd, Semun { buf }))
        }
    }
}

/// All commands that do not change the set, on one set: the bytes that they write must be the same.
#[apply(isolated)]
fn every_command() {
    let pages = Pages::new();
    let set = Set::new(&[7, 0, 32767]);
    let removed = Set::removed();
    let pointers = struct_pointers::<semid_ds>(&pages);
    let gives_struct = [IPC_STAT, IPC_INFO, SEM_STAT, SEM_INFO, SEM_STAT_ANY];
    let gives_number = [GETVAL, GETPID, GETNCNT, GETZCNT];
    for cmd in all_commands() {
        if [IPC_SET, IPC_RMID, SETVAL, SETALL].contains(&cmd) {
            continue;
        }
        for id in [set.id, removed, -1, i32::MIN, i32::MAX] {
            for num in [0, 2, 3, -1, i32::MIN, i32::MAX] {
                for &(name, pointer) in &pointers {
                    let what = format!("id {id}, number {num}, command {cmd:#x}, {name}");
                    let fourth = Fourth::Pointer(pointer.cast());
                    let (outcome, _) = both_around(&what, |calls| {
                        pages.last::<u8>(0);
                        (control(calls, id, num, cmd, fourth), pages.bytes())
                    });
                    let exists = id == set.id;
                    let good = ["enough", "unaligned", "exactly enough"].contains(&name);
                    let all = cmd == GETALL;
                    if gives_number.contains(&cmd) {
                        let there = exists && (0..3).contains(&num);
                        assert_eq!(outcome.is_ok(), there, "{what}: {outcome:?}");
                    } else if !gives_struct.contains(&cmd) && !all {
                        assert_eq!(outcome, Err(EINVAL), "{what}");
                    } else if exists && good {
                        assert!(outcome.is_ok(), "{what}: {outcome:?}");
                    } else if exists && !["one byte short", "eight bytes"].contains(&name) {
                        assert_eq!(outcome, Err(EFAULT), "{what}");
                    }
                }
            }
        }
    }
}

#[apply(isolated)]
fn forms_of_the_fourth_argument() {
    let pages = Pages::new();
    // Commands without the argument ignore it.
    let anything = [
        Fourth::None,
        Fourth::Int(-1),
        Fourth::Pointer(ptr::null_mut()),
        Fourth::Pointer(ptr::without_provenance_mut(usize::MAX)),
        Fourth::UnionVal(99),
        Fourth::UnionPointer(pages.inaccessible()),
    ];
    for (form, fourth) in anything.into_iter().enumerate() {
        let run = |calls: &Calls| {
            let set = Set::new(&[3, 4]);
            let got = [GETVAL, GETNCNT, GETZCNT].map(|cmd| control(calls, set.id, 1, cmd, fourth));
            let pid = control(calls, set.id, 1, GETPID, fourth);
            let unknown = [-1, 4, 99].map(|cmd| control(calls, set.id, 1, cmd, fourth));
            let removed = control(calls, set.id, 1, IPC_RMID, fourth);
            (got, pid, unknown, removed, set.state())
        };
        let pid = i64::from(std::process::id());
        assert_eq!(
            both(form, run),
            (
                [Ok(4), Ok(0), Ok(0)],
                Ok(pid),
                [Err(EINVAL); 3],
                Ok(0),
                None
            )
        );
    }
    // Commands that take a number.
    for (form, fourth) in [Fourth::Int(21), Fourth::UnionVal(21)]
        .into_iter()
        .enumerate()
    {
        let got = both(form, |calls| {
            let set = Set::new(&[3, 4]);
            (control(calls, set.id, 1, SETVAL, fourth), set.values())
        });
        assert_eq!(got, (Ok(0), vec![3, 21]));
    }
    // Commands that take a pointer.
    let forms: [fn(*mut c_void) -> Fourth; 2] = [Fourth::Pointer, Fourth::UnionPointer];
    for (form, fourth) in forms.into_iter().enumerate() {
        let got = both(form, |calls| {
            let set = Set::new(&[3, 4]);
            let mut values = [0u16; 2];
            let got = control(calls, set.id, 0, GETALL, fourth(values.as_mut_ptr().cast()));
            let new = [5u16, 6];
            let put = control(
                calls,
                set.id,
                0,
                SETALL,
                fourth(new.as_ptr().cast_mut().cast()),
            );
            let at = pages.last::<semid_ds>(size_of::<semid_ds>());
            let stat = control(calls, set.id, 0, IPC_STAT, fourth(at.cast()));
            // SAFETY: IPC_STAT filled it in, and all bytes are valid.
            let mut ds = unsafe { at.read_unaligned() };
            let len = ds.sem_nsems;
            ds.sem_perm.mode = 0o644;
            let set_mode = control(calls, set.id, 0, IPC_SET, fourth((&raw mut ds).cast()));
            let mode = set.state().unwrap().owned.mode;
            (
                got,
                values,
                put,
                set.values(),
                (stat, len),
                (set_mode, mode),
            )
        });
        let expected = (Ok(0), [3, 4], Ok(0), vec![5, 6], (Ok(0), 2), (Ok(0), 0o644));
        assert_eq!(got, expected);
    }
}

#[apply(isolated)]
fn set_value() {
    for (num, value, expected) in [
        (0, 0, Ok(0)),
        (0, 1, Ok(0)),
        (1, SEMVMX, Ok(0)),
        (1, SEMVMX + 1, Err(ERANGE)),
        (1, -1, Err(ERANGE)),
        (1, i32::MIN, Err(ERANGE)),
        (1, i32::MAX, Err(ERANGE)),
        (1, 1 << 16, Err(ERANGE)),
        (2, 1, Err(EINVAL)),
        (-1, 1, Err(EINVAL)),
        (i32::MIN, 1, Err(EINVAL)),
        (i32::MAX, 1, Err(EINVAL)),
    ] {
        for fourth in [Fourth::Int(value), Fourth::UnionVal(value)] {
            let what = format!("number {num}, value {value}");
            let (outcome, values) = both(&what, |calls| {
                let set = Set::new(&[5, 6]);
                (control(calls, set.id, num, SETVAL, fourth), set.values())
            });
            assert_eq!(outcome, expected, "{what}");
            let mut after = [5, 6];
            if outcome.is_ok() {
                after[num as usize] = value as u16;
            }
            assert_eq!(values, after, "{what}");
        }
    }
    for id in [Set::removed(), -1, i32::MIN, i32::MAX] {
        for (num, value) in [(0, 1), (0, -1), (-1, 1)] {
            same(format!("{id}, {num}, {value}"), |calls| {
                control(calls, id, num, SETVAL, Fourth::Int(value))
            });
        }
    }
}

#[apply(isolated)]
fn set_all() {
    let pages = Pages::new();
    let run = |calls: &Calls, num: c_int, array: *mut u16| {
        let set = Set::new(&[5, 6, 7]);
        let outcome = control(calls, set.id, num, SETALL, Fourth::Pointer(array.cast()));
        (outcome, set.values())
    };
    for (values, expected) in [
        ([0, 0, 0], Ok(0)),
        ([1, 2, 3], Ok(0)),
        ([1, 2, 32767], Ok(0)),
        ([1, 2, 32768], Err(ERANGE)),
        ([65535, 2, 3], Err(ERANGE)),
    ] {
        for num in [0, 2, 3, -1, i32::MAX] {
            let array = pages.put_last::<u16>(&values);
            let (outcome, after) = both(format!("{values:?}"), |calls| run(calls, num, array));
            assert_eq!(outcome, expected, "{values:?}");
            assert_eq!(after, if expected.is_ok() { values } else { [5, 6, 7] });
        }
    }
    let mut bad = pages.invalid_pointers();
    bad.push(("one byte short", pages.last(5)));
    for (name, array) in bad {
        let got = both(name, |calls| run(calls, 0, array));
        assert_eq!(got, (Err(EFAULT), vec![5, 6, 7]), "{name}");
    }
    for id in [Set::removed(), -1, i32::MIN, i32::MAX] {
        for (name, array) in struct_pointers::<c_void>(&pages) {
            same(format!("{id}, {name}"), |calls| {
                control(calls, id, 0, SETALL, Fourth::Pointer(array))
            });
        }
    }
}

/// GETALL writes one value for each semaphore, below and above the number that the kernel keeps on
/// its stack.
#[apply(isolated)]
fn array_lengths() {
    let pages = Pages::new();
    for len in [1usize, 2, 255, 256, 257, 1000] {
        let values: Vec<u16> = (0..len).map(|i| i as u16 * 31 % 32768).collect();
        let set = Set::new(&values);
        for (bytes, expected) in [(2 * len, Ok(0)), (2 * len - 1, Err(EFAULT))] {
            let (outcome, page) = both(format!("{bytes} of {len}"), |calls| {
                let array = Fourth::Pointer(pages.last(bytes));
                (control(calls, set.id, 0, GETALL, array), pages.bytes())
            });
            assert_eq!(outcome, expected, "{bytes} of {len}");
            let (before, array) = page.split_at(page.len() - bytes);
            assert!(before.iter().all(|&byte| byte == 0xaa));
            if expected.is_ok() {
                assert_eq!(
                    array,
                    values
                        .iter()
                        .flat_map(|v| v.to_ne_bytes())
                        .collect::<Vec<_>>()
                );
            }
        }
    }
}

#[apply(isolated)]
fn set() {
    let pages = Pages::new();
    // SAFETY: no arguments.
    let (uid, gid) = unsafe { (getuid(), getgid()) };
    let run = |calls: &Calls, fourth| {
        let set = Set::new(&[1, 2]);
        let outcome = control(calls, set.id, 0, IPC_SET, fourth);
        (outcome, set.state())
    };
    let wanted = |uid, gid, mode: u32| {
        // SAFETY: all bytes zero is a value of this struct.
        let mut ds: semid_ds = unsafe { std::mem::zeroed() };
        ds.sem_perm.uid = uid;
        ds.sem_perm.gid = gid;
        ds.sem_perm.mode = mode as _;
        ds.sem_nsems = 99; // the caller cannot change it
        Fourth::Pointer(pages.put_last(&[ds]).cast())
    };
    let unchanged = both("nothing", |_| Set::new(&[1, 2]).state());
    for mode in (0..=0o777).chain([0o1000, 0o4755, 0o177_777]) {
        let fourth = wanted(uid, gid, mode);
        let (outcome, is) = both(format!("mode {mode:o}"), |calls| run(calls, fourth));
        assert_eq!(outcome, Ok(0));
        if let Some(is) = is {
            assert_eq!((is.len, is.owned.mode), (2, mode & 0o777));
        }
    }
    for (uid, gid, expected) in [
        (NOBODY, NOBODY, None),
        (0, 0, None),
        (uid_t::MAX, gid, Some(Err(EINVAL))),
        (uid, gid_t::MAX, Some(Err(EINVAL))),
    ] {
        let fourth = wanted(uid, gid, 0o600);
        let (outcome, is) = both(format!("{uid}:{gid}"), |calls| run(calls, fourth));
        assert!(expected.is_none_or(|expected| expected == outcome));
        match outcome {
            Ok(_) => assert!(is.is_none_or(|is| is.owned.owner == (uid, gid))),
            Err(_) => assert_eq!(is, unchanged),
        }
    }
    let mut bad = pages.invalid_pointers();
    bad.push(("eight bytes", pages.last(8)));
    for (name, buf) in bad {
        let (outcome, is) = both(name, |calls| run(calls, Fourth::Pointer(buf)));
        assert_eq!(outcome, Err(EFAULT), "{name}");
        assert_eq!(is, unchanged, "{name}");
    }
    for id in [Set::removed(), -1, i32::MIN, i32::MAX] {
        for (name, buf) in struct_pointers::<c_void>(&pages) {
            same(format!("{id}, {name}"), |calls| {
                control(calls, id, 0, IPC_SET, Fourth::Pointer(buf))
            });
        }
    }
}

#[apply(isolated)]
fn remove() {
    for num in [0, 5, -1, i32::MAX] {
        let (first, left, second) = both(num, |calls| {
            let set = Set::new(&[1]);
            let first = control(calls, set.id, num, IPC_RMID, Fourth::None);
            (
                first,
                set.state(),
                control(calls, set.id, num, IPC_RMID, Fourth::None),
            )
        });
        assert_eq!((first, left), (Ok(0), None), "{num}");
        assert!([Err(EINVAL), Err(EIDRM)].contains(&second), "{num}");
    }
    for id in [Set::removed(), -1, i32::MIN, i32::MAX] {
        same(id, |calls| control(calls, id, 0, IPC_RMID, Fourth::None));
    }
}
