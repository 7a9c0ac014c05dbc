//! ipc_fifo_create and ipc_fifo_unlink.

use crate::support::*;
use crate::support::{create, recv, send, unlink}; // libc has these names too
use libc::*;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::ptr;
use unixipc::ffi::fifo::{IPC_FIFO_F_EXIST_OK as EXIST_OK, *};

/// The mode of a FIFO.
fn mode(path: &str) -> mode_t {
    let meta = fs::symlink_metadata(path).unwrap();
    assert!(meta.file_type().is_fifo(), "{path} is no FIFO");
    meta.mode() & 0o7777
}

/// Creates files that are not FIFOs.
fn create_other_files() -> UnixListener {
    fs::write("file", "").unwrap();
    fs::create_dir("directory").unwrap();
    assert_eq!(create("fifo", 0o600, 0), Ok(0));
    symlink("fifo", "link").unwrap();
    symlink("nowhere", "dangling").unwrap();
    symlink("loop", "loop").unwrap();
    UnixListener::bind("socket").unwrap()
}

#[apply(isolated)]
fn arguments() {
    let directory = WorkingDirectory::new();
    // SAFETY: NULL is refused.
    let made = unsafe { ipc_fifo_create(ptr::null(), 0o600, 0) };
    assert_eq!((made, errno()), (-1, EINVAL));
    // SAFETY: NULL is refused.
    let removed = unsafe { ipc_fifo_unlink(ptr::null()) };
    assert_eq!((removed, errno()), (-1, EINVAL));
    for bits in [0o10000, S_IFIFO | 0o600, S_IFREG, mode_t::MAX] {
        assert_eq!(create("new", bits, 0), Err(EINVAL), "mode {bits:o}");
        assert_eq!(create("new", bits, EXIST_OK), Err(EINVAL), "mode {bits:o}");
    }
    for bit in 0..32 {
        let flag = 1 << bit;
        if flag != EXIST_OK {
            assert_eq!(create("new", 0o600, flag), Err(EINVAL), "flag {flag:#x}");
            assert_eq!(create("new", 0o600, flag | EXIST_OK), Err(EINVAL));
        }
    }
    assert!(directory.list().is_empty());
}

#[apply(isolated)]
fn paths() {
    let long = "n".repeat(256);
    let deep = "./".repeat(2100) + "new";
    for (path, create_errno, unlink_errno) in [
        ("", ENOENT, ENOENT),
        ("missing/new", ENOENT, ENOENT),
        ("dangling/new", ENOENT, ENOENT),
        ("file/new", ENOTDIR, ENOTDIR),
        ("loop/new", ELOOP, ELOOP),
        (&long, ENAMETOOLONG, ENAMETOOLONG),
        (&deep, ENAMETOOLONG, ENAMETOOLONG),
        ("file", EEXIST, EINVAL),
        ("directory", EEXIST, EINVAL),
        ("socket", EEXIST, EINVAL),
        ("/dev/null", EEXIST, EINVAL),
        ("link", EEXIST, ELOOP),
        ("dangling", EEXIST, ELOOP),
        ("loop", EEXIST, ELOOP),
    ] {
        let directory = WorkingDirectory::new();
        let _socket = create_other_files();
        directory.list(); // gives the owner all rights to the directories
        let before = directory.list();
        for flags in [0, EXIST_OK] {
            assert_eq!(
                create(path, 0o640, flags),
                Err(create_errno),
                "{path}, {flags}"
            );
        }
        assert_eq!(unlink(path), Err(unlink_errno), "{path}");
        assert_eq!(directory.list(), before, "{path}");
    }
}

#[apply(isolated)]
fn modes() {
    for mask in [0, 0o22, 0o77, 0o777] {
        for bits in [
            0, 0o600, 0o622, 0o666, 0o777, 0o1777, 0o2755, 0o4711, 0o7777,
        ] {
            let _folder = WorkingDirectory::new();
            set_umask(mask);
            let made = create("new", bits, 0);
            let again = create("new", 0o123, 0);
            set_umask(0o22);
            assert_eq!(made, Ok(0), "umask {mask:o}, mode {bits:o}");
            assert_eq!(mode("new"), bits, "umask {mask:o}");
            assert_eq!(again, Err(EEXIST));
        }
    }
}

/// An existing FIFO keeps its content, and gets the new mode.
#[apply(isolated)]
fn existing() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    assert_eq!(send(&writer, b"in it", 0), Ok(0));
    let inode = fs::metadata("f").unwrap().ino();
    for bits in [0o640, 0o640, 0, 0o7777, 0o600] {
        assert_eq!(create("f", bits, EXIST_OK), Ok(0));
        assert_eq!(mode("f"), bits);
    }
    assert_eq!(create("f", 0o644, 0), Err(EEXIST));
    assert_eq!(mode("f"), 0o600);
    assert_eq!(fs::metadata("f").unwrap().ino(), inode);
    assert_eq!(recv(&reader, 0), Ok(b"in it".to_vec()));
}

/// A FIFO that exists when the call tries to create it, and is removed before the call opens it.
#[apply(isolated)]
fn existing_and_removed() {
    let _folder = WorkingDirectory::new();
    let other = fork_reporter::<usize>(|| {
        loop {
            let _ = create("f", 0o600, 0);
            let _ = unlink("f");
        }
    });
    for _ in 0..scaled(30_000) {
        // With another mode the call opens it too.
        for bits in [0o600, 0o622] {
            assert_eq!(create("f", bits, EXIST_OK), Ok(0));
        }
    }
    other.signal(SIGKILL);
    other.end();
    let _ = unlink("f");
}

#[apply(isolated)]
fn removal() {
    let directory = WorkingDirectory::new();
    let (reader, writer) = ends();
    assert_eq!(unlink("f"), Ok(0));
    assert_eq!(unlink("f"), Err(ENOENT));
    assert_eq!(send(&writer, b"still open", 0), Ok(0));
    assert_eq!(recv(&reader, 0), Ok(b"still open".to_vec()));
    fs::create_dir("directory").unwrap();
    symlink("directory", "way").unwrap();
    assert_eq!(create("way/f", 0o600, 0), Ok(0));
    assert_eq!(unlink("way/f"), Ok(0));
    assert_eq!(directory.list().len(), 2);
}

/// At the descriptor limit the mode cannot be changed: no FIFO with a wrong mode remains.
#[apply(isolated)]
fn no_descriptors() {
    let directory = WorkingDirectory::new();
    set_umask(0o777);
    let old = leave_descriptors(0);
    let made = create("new", 0o600, 0);
    drop(old);
    set_umask(0o22);
    match made {
        Ok(0) => assert_eq!(mode("new"), 0o600),
        failed => {
            assert_eq!(failed, Err(EMFILE));
            assert!(directory.list().is_empty(), "left: {:?}", directory.list());
        }
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    fs::create_dir("own").unwrap();
    assert_eq!(create("own/f", 0o666, 0), Ok(0));
    fs::create_dir("shut").unwrap();
    assert_eq!(create("shut/f", 0o666, 0), Ok(0));
    set_mode("shut", 0o700);
    fs::create_dir("sticky").unwrap();
    assert_eq!(create("sticky/f", 0o666, 0), Ok(0));
    set_mode("sticky", 0o1777);
    as_nobody(|| {
        assert_eq!(create("own/new", 0o600, 0), Err(EACCES));
        assert_eq!(create("shut/new", 0o600, 0), Err(EACCES));
        assert_eq!(create("own/f", 0o600, EXIST_OK), Err(EPERM));
        assert_eq!(create("own/f", 0o666, EXIST_OK), Ok(0), "nothing to change");
        assert_eq!(mode("own/f"), 0o666);
        assert_eq!(unlink("own/f"), Err(EACCES));
        assert_eq!(unlink("shut/f"), Err(EACCES));
        assert_eq!(unlink("sticky/f"), Err(EPERM));
        // The user's own FIFOs may have any mode.
        for bits in [0, 0o600, 0o2666, 0o7777] {
            set_umask(0o777);
            assert_eq!(create("sticky/mine", bits, 0), Ok(0));
            set_umask(0o22);
            assert_eq!(mode("sticky/mine"), bits);
            assert_eq!(unlink("sticky/mine"), Ok(0));
        }
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn set_group_id_directory() {
    let _folder = WorkingDirectory::new();
    fs::create_dir("directory").unwrap();
    std::os::unix::fs::chown("directory", None, Some(1)).unwrap();
    set_mode("directory", 0o2777);
    for bits in [0o600, 0o660, 0o2660] {
        assert_eq!(create("directory/f", bits, 0), Ok(0));
        assert_eq!(mode("directory/f"), bits);
        assert_eq!(fs::metadata("directory/f").unwrap().gid(), 1);
        assert_eq!(unlink("directory/f"), Ok(0));
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn other_file_systems() {
    let _folder = WorkingDirectory::new();
    own_mount_namespace();
    fs::create_dir("small").unwrap();
    mount_tmpfs(c"small", 0, c"nr_inodes=2");
    assert_eq!(create("small/a", 0o600, 0), Ok(0));
    assert_eq!(create("small/b", 0o600, 0), Err(ENOSPC));
    mount_tmpfs(c"small", MS_REMOUNT | MS_RDONLY, c"nr_inodes=2");
    assert_eq!(create("small/b", 0o600, 0), Err(EROFS));
    assert_eq!(
        create("small/a", 0o600, EXIST_OK),
        Ok(0),
        "nothing to change"
    );
    assert_eq!(create("small/a", 0o644, EXIST_OK), Err(EROFS));
    assert_eq!(unlink("small/a"), Err(EROFS));
    // SAFETY: a string.
    assert_eq!(unsafe { umount(c"small".as_ptr()) }, 0);
}

/// Hides /proc from this process.
pub fn without_proc() {
    own_mount_namespace();
    mount_tmpfs(c"/proc", 0, c"");
}

/// As in a chroot. A FIFO whose mode cannot be set is removed.
#[apply(isolated)]
#[needs(needs::root)]
fn no_proc() {
    let directory = WorkingDirectory::new();
    set_umask(0o777);
    in_child(|| {
        without_proc();
        let made = create("new", 0o600, 0);
        set_umask(0o22);
        match made {
            Ok(0) => assert_eq!(mode("new"), 0o600),
            failed => assert!(
                directory.list().is_empty(),
                "{failed:?} left: {:?}",
                directory.list()
            ),
        }
    });
    set_umask(0o22);
}

/// In a child of the same user, because the test needs /proc at its end.
fn in_child(run: impl FnOnce()) {
    let child = fork_reporter::<usize>(|| {
        run();
        Ok(0)
    });
    assert_eq!(child.outcome(), Ok(0));
}
