//! `unixipc gc --dir`: hostile directories, and deep ones.

use crate::gc::removed;
use crate::support::*;
use std::env;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::os::unix::fs::symlink;
use unixipc::name_lock::NameLock;

/// The socket of a dead listener in a directory.
fn dead_socket(directory: &str, name: &str) {
    fs::create_dir_all(directory).unwrap();
    fork(|| {
        env::set_current_dir(directory).unwrap();
        listen(name);
    })
    .join();
}

/// An address has at most 107 bytes, a path more.
#[apply(isolated)]
#[needs(needs::root)]
fn long_paths() {
    in_container(|| {
        let directory = format!("/run/{}", "directory/".repeat(30));
        dead_socket(&directory, "dead");
        let path = format!("{directory}dead");
        let listeners = objects("listener", &["--dir", "/run"]);
        assert_eq!(listeners[0]["alive"], false, "{listeners:?}");
        assert_eq!(removed(&["--dir", "/run"]), [&path[..]]);
        assert!(!exists(path));
    });
}

/// Another user exchanges a directory for a symbolic link to another one while the command reads it.
#[apply(isolated)]
#[needs(needs::root)]
fn exchanged_directory() {
    in_container(|| {
        dead_socket("/run/elsewhere", "second");
        for name in ["first", "second"] {
            dead_socket("/run/below/directory", name);
        }
        symlink("/run/elsewhere", "/run/link").unwrap();
        let wait = unixipc::deadline::Deadline::new(0).unwrap();
        let lock = NameLock::acquire(c"/run/below/directory/first", wait).unwrap();
        let mut opened = watch_opens(c"/run/below/directory/.first.lock");
        let mut command = tool(&["gc", "--older-than", "0", "--dir", "/run/below"])
            .spawn()
            .unwrap();
        // The command waits for the lock.
        assert_ne!(opened.read(&mut [0; 512]).unwrap(), 0);
        exchange(c"/run/below/directory", c"/run/link");
        drop(lock);
        command.wait().unwrap();
        assert!(exists("/run/elsewhere/second"));
        assert!(!exists("/run/link/second"));
    });
}

/// A file that becomes readable when a process opens another file.
fn watch_opens(path: &CStr) -> File {
    // SAFETY: no pointers.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    assert_ne!(fd, -1, "{}", io::Error::last_os_error());
    // SAFETY: a path.
    let watch = unsafe { libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_OPEN) };
    assert_ne!(watch, -1, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new.
    unsafe { File::from_raw_fd(fd) }
}

fn exchange(from: &CStr, to: &CStr) {
    let (at, flags) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: two paths.
    let done = unsafe { libc::renameat2(at, from.as_ptr(), at, to.as_ptr(), flags) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
