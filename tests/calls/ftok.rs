//! ftok.

use crate::both::{LIBC, Pages, both};
use crate::call;
use common::prelude::*;
use libc::*;
use std::ffi::CStr;
use std::fs;
use std::os::fd::FromRawFd;
use std::os::unix::fs::{MetadataExt, symlink};

const PROJECTS: [c_int; 10] = [
    0,
    1,
    'A' as c_int,
    127,
    128,
    255,
    256,
    -1,
    i32::MIN,
    i32::MAX,
];

/// Creates the files that exist before each call.
fn create_files() {
    fs::write("file", "").unwrap();
    fs::create_dir("directory").unwrap();
    symlink("file", "link").unwrap();
    symlink("nowhere", "dangling").unwrap();
    symlink("loop", "loop").unwrap();
    assert_eq!(call!(LIBC.mkfifo(c"fifo".as_ptr(), 0)), Ok(0));
    // The key contains 16 bits of the inode number: several files give several patterns.
    for i in 0..300 {
        fs::write(format!("directory/{i}"), "").unwrap();
    }
}

/// Calls ftok for a file, and compares the key with its parts.
fn check(path: &CStr, meta: &fs::Metadata, project: c_int) {
    let what = format!("{path:?}, {project}");
    let got = both(&what, |calls| call!(calls.ftok(path.as_ptr(), project)));
    let bits =
        (project as u32) << 24 | (meta.dev() as u32 & 0xff) << 16 | (meta.ino() as u32 & 0xffff);
    assert_eq!(got, Ok(i64::from(bits as i32)), "{what}");
}

/// The bits of a number that have been seen set, and those that have been seen clear.
#[derive(Default)]
struct Bits {
    set: u64,
    clear: u64,
}

impl Bits {
    /// Whether a bit of `mask` has a value that it did not have before.
    fn new_in(&mut self, mask: u64, number: u64) -> bool {
        let (set, clear) = (self.set | number & mask, self.clear | !number & mask);
        let new = (set, clear) != (self.set, self.clear);
        *self = Self { set, clear };
        new
    }

    fn complete(&self, mask: u64) -> bool {
        self.set == mask && self.clear == mask
    }
}

/// Pipes get consecutive inode numbers from the system: each bit that enters the key is tested with
/// both values.
#[apply(isolated)]
fn every_bit_of_the_inode() {
    let mut seen = Bits::default();
    for _ in 0..2_000_000 {
        let mut fds = [-1; 2];
        // SAFETY: an array of two.
        assert_eq!(unsafe { pipe2(fds.as_mut_ptr(), O_CLOEXEC) }, 0);
        // SAFETY: two new descriptors without another owner.
        let ends = fds.map(|fd| unsafe { fs::File::from_raw_fd(fd) });
        let meta = ends[0].metadata().unwrap();
        if seen.new_in(0xffff, meta.ino()) {
            check(
                &c_path(format!("/proc/self/fd/{}", fds[0])),
                &meta,
                'u' as c_int,
            );
        }
        if seen.complete(0xffff) {
            return;
        }
    }
    panic!(
        "never set: {:#x}, never clear: {:#x}",
        !seen.set, !seen.clear
    );
}

/// Each mount of a tmpfs gets the next device number.
#[apply(isolated)]
#[needs(needs::root)]
fn every_bit_of_the_device() {
    let _folder = WorkingDirectory::new();
    fs::create_dir("mounts").unwrap();
    let child = fork_reporter(|| {
        own_mount_namespace();
        let mut seen = Bits::default();
        for _ in 0..2_000 {
            mount_tmpfs(c"mounts", 0, c"");
            let meta = fs::metadata("mounts").unwrap();
            if seen.new_in(0xff, meta.dev()) {
                check(c"mounts", &meta, 'u' as c_int);
            }
            if seen.complete(0xff) {
                return Ok(0);
            }
        }
        panic!(
            "never set: {:#x}, never clear: {:#x}",
            !seen.set, !seen.clear
        );
    });
    assert_eq!(child.outcome(), Ok(0));
}

#[apply(isolated)]
fn keys() {
    let _folder = WorkingDirectory::new();
    create_files();
    let mut paths: Vec<String> = [
        "file",
        "directory",
        "directory/",
        "link",
        "fifo",
        ".",
        "..",
        "/",
        "/dev",
        "/dev/null",
        "/dev/zero",
        "/proc",
        "/proc/version",
        "/proc/sys/kernel",
        "/sys",
        "/dev/shm",
    ]
    .map(String::from)
    .into();
    paths.extend((0..300).map(|i| format!("directory/{i}")));
    for path in paths {
        // A test machine may lack some of them.
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        let c = c_path(&path);
        for project in PROJECTS {
            check(&c, &meta, project);
        }
    }
}

#[apply(isolated)]
fn errors() {
    let _folder = WorkingDirectory::new();
    create_files();
    for (path, errno) in [
        ("", ENOENT),
        ("missing", ENOENT),
        ("missing/file", ENOENT),
        ("dangling", ENOENT),
        ("loop", ELOOP),
        ("loop/file", ELOOP),
        ("file/", ENOTDIR),
        ("file/x", ENOTDIR),
        ("fifo/x", ENOTDIR),
    ] {
        let path = c_path(path);
        for project in PROJECTS {
            let got = both(format!("{path:?}"), |calls| {
                call!(calls.ftok(path.as_ptr(), project))
            });
            assert_eq!(got, Err(errno), "{path:?}, {project}");
        }
    }
}

#[apply(isolated)]
fn lengths() {
    let _folder = WorkingDirectory::new();
    create_files();
    for (path, expected) in [
        ("n".repeat(255), ENOENT),
        ("n".repeat(256), ENAMETOOLONG),
        (format!("{}file", "/".repeat(4095 - 4)), ENOENT),
        (format!("{}file", "/".repeat(4096 - 4)), ENAMETOOLONG),
    ] {
        let c = c_path(&path);
        let got = both(path.len(), |calls| call!(calls.ftok(c.as_ptr(), 1)));
        assert_eq!(got, Err(expected), "{} bytes", path.len());
    }
}

#[apply(isolated)]
fn pointers() {
    let pages = Pages::new();
    let _folder = WorkingDirectory::new();
    create_files();
    for (name, path) in pages.invalid_pointers::<c_char>() {
        for project in PROJECTS {
            let got = both(name, |calls| call!(calls.ftok(path, project)));
            assert_eq!(got, Err(EFAULT), "{name}");
        }
    }
    let path = pages.put_last(b"file");
    let got = both("no NUL before an inaccessible page", |calls| {
        call!(calls.ftok(path.cast(), 1))
    });
    assert_eq!(got, Err(EFAULT));
    let path = pages.put_last(b"file\0");
    let got = both("NUL as the last byte", |calls| {
        call!(calls.ftok(path.cast(), 1))
    });
    assert!(got.is_ok());
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _folder = WorkingDirectory::new();
    create_files();
    open_to_all();
    set_mode("file", 0);
    set_mode("directory", 0o600);
    as_nobody(|| {
        for (path, expected) in [
            ("file", None),
            ("directory", None),
            ("fifo", None),
            ("directory/1", Some(EACCES)),
            ("directory/missing", Some(EACCES)),
            ("missing", Some(ENOENT)),
        ] {
            let c = c_path(path);
            let got = both(path, |calls| call!(calls.ftok(c.as_ptr(), 1)));
            assert_eq!(got.err(), expected, "{path}");
        }
    });
}
