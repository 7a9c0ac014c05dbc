//! Removing the names of regions that no process uses.

use crate::support::open;
use crate::support::*;
use common::child::{fork, kill};
use libc::{EBUSY, c_uint};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;
use unixipc::errno::Errno;
use unixipc::name_lock;
use unixipc::shm::FileId;
use unixipc::shm::unused::{Usage, remove_unused, usage};
use unixipc::sys;

fn id(name: &CStr) -> FileId {
    let metadata = fs::metadata(path(name)).unwrap();
    FileId::new(metadata.dev(), metadata.ino())
}

fn make(name: &CStr, flags: c_uint) -> Region {
    open_or_create(name, page_size(), (flags, 0), |_, _| true).unwrap()
}

/// A region that a process has open or mapped keeps its name, however it has it.
#[apply(isolated)]
fn used() {
    let directory = NameDirectory::new();
    let name = name("used");
    let region = make(&name, 0);
    let file = id(&name);
    assert_eq!(usage(&name, file), Ok(Usage::Used));
    assert_eq!(remove_unused(&name, file), Ok(Usage::Used));
    // Only the mapping of a child is left.
    let child = fork(|| thread::sleep(Duration::from_secs(60)));
    drop(region);
    assert_eq!(remove_unused(&name, file), Ok(Usage::Used));
    assert_eq!(directory.files().len(), 1);
    kill(child);
    // Only an open file for reading is left.
    let reader = File::open(path(&name)).unwrap();
    assert_eq!(remove_unused(&name, file), Ok(Usage::Used));
    drop(reader);
    assert_eq!(usage(&name, file), Ok(Usage::Unused));
    assert_eq!(directory.files().len(), 1);
    assert_eq!(remove_unused(&name, file), Ok(Usage::Unused));
    assert!(directory.files().is_empty());
    assert_eq!(remove_unused(&name, file), Ok(Usage::Gone));
}

/// A name that now stands for another region is not removed.
#[apply(isolated)]
fn replaced() {
    let directory = NameDirectory::new();
    let name = name("replaced");
    drop(make(&name, 0));
    let file = id(&name);
    fs::remove_file(path(&name)).unwrap();
    drop(make(&name, 0));
    assert_eq!(remove_unused(&name, file), Ok(Usage::Gone));
    assert_eq!(directory.files().len(), 1);
    assert_eq!(remove_unused(&name, id(&name)), Ok(Usage::Unused));
}

/// A transient region without users is unused, unless a process that can only read has it open.
#[apply(isolated)]
fn transient() {
    let directory = NameDirectory::new();
    let name = name("transient");
    fork(|| std::mem::forget(make(&name, TRANSIENT))).join();
    let file = id(&name);
    let reader = File::open(path(&name)).unwrap();
    assert_eq!(remove_unused(&name, file), Ok(Usage::Used));
    drop(reader);
    assert_eq!(remove_unused(&name, file), Ok(Usage::Unused));
    assert!(directory.files().is_empty());
}

/// A process that creates a region of the name keeps it.
#[apply(isolated)]
fn being_created() {
    let _directory = NameDirectory::new();
    let name = name("created");
    drop(make(&name, 0));
    let file = id(&name);
    let wait = unixipc::deadline::Deadline::new(0).unwrap();
    let at = CString::new(path(&name)).unwrap();
    let lock = name_lock::NameLock::acquire(&at, wait).unwrap();
    assert_eq!(remove_unused(&name, file), Ok(Usage::Used));
    drop(lock);
    assert_eq!(remove_unused(&name, file), Ok(Usage::Unused));
}

/// While another process checks a region, an open waits, and then succeeds.
#[apply(isolated)]
fn open_during_a_check() {
    let _directory = NameDirectory::new();
    let name = name("checked");
    drop(make(&name, 0));
    let file = File::open(path(&name)).unwrap();
    sys::lease(file.as_fd()).unwrap();
    thread::scope(|scope| {
        let opened = scope.spawn(|| open(&name, 0));
        // The kernel asks for the lease.
        wait_until("an open", || !sys::has_lease(file.as_fd()));
        assert!(!opened.is_finished());
        drop(file);
        opened.join().unwrap().unwrap();
    });
    fs::remove_file(path(&name)).unwrap();
}

/// A lease that stays makes an open fail after its time.
#[apply(isolated)]
fn open_during_an_endless_check() {
    let _directory = NameDirectory::new();
    let name = name("endless");
    drop(make(&name, 0));
    let file = File::open(path(&name)).unwrap();
    sys::lease(file.as_fd()).unwrap();
    assert_eq!(open(&name, 0).unwrap_err(), EBUSY);
    drop(file);
    fs::remove_file(path(&name)).unwrap();
}

/// A lock file that a killed process has left is removed, and one that another process uses is not.
#[apply(isolated)]
fn lock_files() {
    let directory = NameDirectory::new();
    let name = name("locked");
    let at = CString::new(path(&name)).unwrap();
    let (parent, file) = path(&name)
        .rsplit_once('/')
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .unwrap();
    let lock_name = CString::new(format!(".{file}.lock")).unwrap();
    let opened = File::open(&parent).unwrap();
    let remove = |only_check| name_lock::remove_stale(opened.as_fd(), &lock_name, only_check);
    let wait = || unixipc::deadline::Deadline::new(0).unwrap();
    let lock = name_lock::NameLock::acquire(&at, wait()).unwrap();
    assert_eq!(remove(false), Ok(false));
    drop(lock);
    assert_eq!(remove(false), Ok(false));
    fork(|| std::mem::forget(name_lock::NameLock::acquire(&at, wait()))).join();
    assert_eq!(directory.files().len(), 1);
    assert_eq!(remove(true), Ok(true));
    // Another program may lock it by fcntl(2), which flock(2) does not see.
    let other = File::open(format!("{parent}/.{file}.lock")).unwrap();
    assert_eq!([remove(true), remove(false)], [Ok(false); 2]);
    drop(other);
    assert_eq!(directory.files().len(), 1);
    assert_eq!(remove(false), Ok(true));
    assert!(directory.files().is_empty());
    let other = CString::new(file).unwrap();
    let removed = name_lock::remove_stale(opened.as_fd(), &other, false);
    assert_eq!(removed, Err(Errno::EINVAL));
}
