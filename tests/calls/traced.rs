//! Compares the system calls of each function with those of the C library's function, using strace.
//! A filter that accepts one then accepts the other.

use crate::both::{Calls, IPC, LIBC};
use crate::call;
use common::prelude::*;
use common::strace::{MARKER, marker, name, trace};
use libc::{AF_UNIX, IPC_CREAT, IPC_PRIVATE, IPC_RMID, SETVAL, SOCK_STREAM, sembuf, timespec};
use std::ptr;

/// Makes each call once, and runs `between` before each call and after the last one.
fn all(calls: &Calls, between: impl Fn()) {
    let step = |outcome: Result<i64, i32>| {
        between();
        outcome.unwrap()
    };
    let mut pair = [-1; 2];
    let mut operation = sembuf {
        sem_num: 0,
        sem_op: 1,
        sem_flg: 0,
    };
    let second = timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    between();
    step(call!(calls.mkfifo(c"fifo".as_ptr(), 0o600)));
    step(call!(calls.ftok(c"fifo".as_ptr(), 1)));
    step(call!(calls.socketpair(
        AF_UNIX,
        SOCK_STREAM,
        0,
        pair.as_mut_ptr()
    )));
    let segment = step(call!(calls.shmget(IPC_PRIVATE, 1, IPC_CREAT | 0o600))) as i32;
    let address = step(call!(calls.shmat(segment, ptr::null(), 0)));
    step(call!(
        calls.shmdt(ptr::with_exposed_provenance(address as usize))
    ));
    step(call!(calls.shmctl(segment, IPC_RMID, ptr::null_mut())));
    let set = step(call!(calls.semget(IPC_PRIVATE, 1, IPC_CREAT | 0o600))) as i32;
    step(call!(calls.semctl(set, 0, SETVAL, 1)));
    step(call!(calls.semop(set, &mut operation, 1)));
    step(call!(calls.semtimedop(set, &mut operation, 1, &second)));
    step(call!(calls.semtimedop(set, &mut operation, 1, ptr::null())));
    step(call!(calls.semctl(set, 0, IPC_RMID)));
}

/// The names of the system calls between the markers, one element for each function.
fn system_calls(calls: &Calls) -> Vec<Vec<String>> {
    let _folder = WorkingDirectory::new();
    let trace = trace(|| all(calls, marker));
    let mut phases: Vec<Vec<String>> = trace
        .split(MARKER)
        .map(|phase| phase.lines().filter_map(name).map(String::from).collect())
        .collect();
    // The calls before the first marker and after the last are the process's own.
    phases.pop();
    phases.remove(0);
    phases
}

#[apply(isolated)]
#[needs(needs::strace)]
fn same_as_libc() {
    let expected = system_calls(&LIBC);
    assert_eq!(expected.len(), 13, "{expected:?}");
    assert!(
        expected.iter().all(|phase| phase.len() == 1),
        "{expected:?}"
    );
    assert_eq!(system_calls(&IPC), expected);
}
