use crate::support::{child_of, example, signal, succeed, system_v_objects, wait};
use common::isolated::{apply, isolated};
use common::needs;
use std::process::Stdio;

#[apply(isolated)]
fn owners_killed() {
    let shown = succeed(example("lock_crash").args(["--rounds", "50"]));
    for lock in ["ipc_mutex:", "ipc_rwlock:", "ipc_semlock:"] {
        assert!(shown.contains(lock), "{shown}");
    }
    assert_eq!(shown.matches("IPC_OWNER_DIED").count(), 3, "{shown}");
    assert_eq!(shown.matches("50 clerks killed").count(), 3, "{shown}");
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn interrupted() {
    let mut crash = example("lock_crash")
        .args(["--rounds", "1000000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child_of(&crash);
    signal(crash.id(), libc::SIGTERM);
    assert_eq!(wait(&mut crash).code(), Some(128 + libc::SIGTERM));
    assert_eq!(system_v_objects(), 0);
}
