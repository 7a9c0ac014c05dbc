//! `unixipc gc --sysv`.

use crate::gc::removed;
use crate::support::*;
use serde_json::Value;
use std::fs;
use std::ptr;
use unixipc::ffi::mutex::ipc_mutex_init;
use unixipc::ffi::semlock::*;
use unixipc::ffi::shm::*;

/// Makes a segment with a mutex, which stays attached, and a lock, both with this key.
fn make(key: libc::key_t, mode: i32) {
    let mut shm = ptr::null_mut();
    // SAFETY: a key and a size, and a place for the handle.
    let done = unsafe { ipc_shm_attach(key, 4096, libc::IPC_CREAT | mode, &mut shm) };
    assert_eq!(done, 0);
    let region = Region(shm);
    // SAFETY: the object has its place in the segment.
    assert_eq!(unsafe { ipc_mutex_init(region.at(0), 0) }, 0);
    let id = ipc_semlock_open(key, libc::IPC_CREAT | mode);
    assert_eq!(ipc_semlock_rdlock(id, 0), 0);
    std::mem::forget(region);
}

/// A new segment of another program, which no process has attached.
fn foreign_segment(size: usize) {
    // SAFETY: no pointers.
    let id = unsafe { libc::shmget(fresh_key(), size, libc::IPC_CREAT | 0o606) };
    assert_ne!(id, -1);
}

/// A column of the only segment.
fn column(name: &str) -> u64 {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let mut lines = table.lines().map(str::split_ascii_whitespace);
    let mut header = lines.next().unwrap();
    let index = header.position(|field| field == name).unwrap();
    lines.next().unwrap().nth(index).unwrap().parse().unwrap()
}

#[apply(isolated)]
#[needs(needs::root)]
fn unused() {
    in_container(|| {
        let key = fresh_key();
        let user = program(|| make(key, 0o600));
        assert!(removed(&["--sysv"]).is_empty());
        kill(user);
        assert!(removed(&[]).is_empty());
        let name = format!("{key:#010x}");
        assert_eq!(removed(&["--sysv", "-n"]), [&name[..], &name]);
        assert_eq!(removed(&["--sysv"]), [&name[..], &name]);
        assert!(objects("segment", &["--all"]).is_empty() && objects("set", &[]).is_empty());
    });
}

/// A segment without an object of the library belongs to another program.
#[apply(isolated)]
#[needs(needs::root)]
fn segments_of_others() {
    in_container(|| {
        foreign_segment(4096);
        let creator: Value = objects("segment", &["--all"])[0]["creator"].clone();
        assert_eq!(creator, std::process::id());
        assert!(removed(&["--sysv"]).is_empty());
    });
    in_container(|| {
        fork(|| foreign_segment(1 << 20)).join();
        // A dry run does not attach it, and so does not know.
        let shown = run(tool(&["gc", "--older-than", "0", "--sysv", "-n"]), 0);
        assert!(shown.contains("if it has an object"), "{shown}");
        assert_eq!(column("atime"), 0);
        assert!(removed(&["--sysv"]).is_empty());
        // Its pages still do not exist.
        assert_eq!(column("rss"), 0);
        let key = objects("segment", &["--all"])[0]["key"].clone();
        assert_eq!(removed(&["--sysv", key.as_str().unwrap()]).len(), 1);
    });
}

/// The objects of another user stay, and are no error.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    in_container(|| {
        let key = fresh_key();
        fork(|| make(key, 0o666)).join();
        for arguments in [&["-n", "--sysv"][..], &["--sysv"]] {
            let arguments = [&["gc", "--older-than", "0"], arguments].concat();
            assert_eq!(run(tool_as_nobody(&arguments), 0), "");
        }
        // Nothing has happened to the lock.
        let id = ipc_semlock_open(key, 0o600);
        assert_eq!(ipc_semlock_wrlock(id, 0), 0);
    });
}

/// The users of an object may be processes of another PID namespace, which have no number here.
#[apply(isolated)]
#[needs(needs::root)]
fn other_pid_namespaces() {
    in_container(|| {
        let key = fresh_key();
        fork(|| make(key, 0o600)).join();
        in_pid_namespace(|| {
            assert!(removed(&["--sysv", "-n"]).is_empty());
            assert!(removed(&["--sysv"]).is_empty());
        });
        let name = format!("{key:#010x}");
        assert_eq!(removed(&["--sysv"]), [&name[..], &name]);
    });
}
