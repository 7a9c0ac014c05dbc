//! `unixipc ls`: how it reads the memory of other processes.

use crate::support::*;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::{io, ptr};
use unixipc::ffi::mutex::ipc_mutex_init;
use unixipc::ffi::shm::*;

const SIZE: usize = 1 << 20;

/// Maps a file with a mutex at its beginning.
fn map_with_mutex(file: &File) {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (shared, fd) = (libc::MAP_SHARED, file.as_raw_fd());
    // SAFETY: a new mapping.
    let address = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, shared, fd, 0) };
    assert_ne!(address, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    // SAFETY: the object has its place in the mapping.
    assert_eq!(unsafe { ipc_mutex_init(address.cast(), 0) }, 0);
}

/// A process that maps a file in /dev/shm, on a file system that it has mounted there.
fn user_of(file_system: &CStr) -> Child {
    program(|| {
        own_mount_namespace();
        let kind = file_system.as_ptr();
        // SAFETY: strings, and no data.
        let done = unsafe { libc::mount(kind, c"/dev/shm".as_ptr(), kind, 0, ptr::null()) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let file = options.open("/dev/shm/file").unwrap();
        file.set_len(SIZE as u64).unwrap();
        map_with_mutex(&file);
    })
}

/// A page of a file may come from a process, which could delay the command without end. So only files
/// in memory are read, whatever their paths are.
#[apply(isolated)]
#[needs(needs::root)]
fn other_file_systems() {
    in_container(|| {
        let _other = user_of(c"ramfs");
        assert!(objects("region", &[]).is_empty());
        let user = user_of(c"tmpfs");
        let region = only("region");
        assert!(has_process(&region["processes"], pid_of(&user)), "{region}");
        assert_eq!(region["objects"][0]["type"], "mutex", "{region}");
    });
}

/// The pages that no process has written do not exist afterwards, either.
#[apply(isolated)]
#[needs(needs::root)]
fn holes() {
    in_container(|| {
        let mut shm = ptr::null_mut();
        // SAFETY: no options, and a place for the handle.
        let done = unsafe { ipc_shm_create(SIZE, ptr::null(), 0, &mut shm) };
        assert_eq!(done, 0);
        let region = Region(shm);
        // SAFETY: the object has its place in the region.
        assert_eq!(unsafe { ipc_mutex_init(region.at(0), 0) }, 0);
        // SAFETY: an open region.
        let fd = unsafe { ipc_shm_fd(region.0) };
        // SAFETY: no pointers.
        let fd = unsafe { libc::dup(fd) };
        // SAFETY: the descriptor is new.
        let file = unsafe { File::from_raw_fd(fd) };
        let blocks = || file.metadata().unwrap().blocks();
        let before = blocks();
        assert_eq!(only("region")["objects"][0]["type"], "mutex");
        assert_eq!(blocks(), before);
        let segment = || {
            let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
            let fields: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
            fields[14].parse::<u64>().unwrap()
        };
        let mut shm = ptr::null_mut();
        let flags = libc::IPC_CREAT | 0o600;
        // SAFETY: a key and a size, and a place for the handle.
        let done = unsafe { ipc_shm_attach(fresh_key(), SIZE, flags, &mut shm) };
        assert_eq!(done, 0);
        let attached = Region(shm);
        // SAFETY: the object has its place in the segment.
        assert_eq!(unsafe { ipc_mutex_init(attached.at(0), 0) }, 0);
        let before = segment();
        assert_eq!(only("segment")["objects"][0]["type"], "mutex");
        assert_eq!(segment(), before);
    });
}
