//! ipc_shm_publish, ipc_shm_open and ipc_shm_unlink.

use crate::support::*;
use crate::support::{ftruncate, open, stat, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::{fs, ptr};
use unixipc::ffi::shm::*;

#[apply(isolated)]
fn arguments() {
    let _directory = NameDirectory::new();
    let name = name("a");
    let region = create(1, PUBLISH, 0).unwrap();
    let null = ptr::null();
    // SAFETY: NULL is refused.
    unsafe {
        assert_eq!(
            new_region(|ret| ipc_shm_open(null, 0, ret)).unwrap_err(),
            EINVAL
        );
        for (ret, error) in [
            (ipc_shm_publish(ptr::null_mut(), name.as_ptr()), errno()),
            (ipc_shm_publish(region.0, null), errno()),
            (ipc_shm_open(name.as_ptr(), 0, ptr::null_mut()), errno()),
            (ipc_shm_unlink(null), errno()),
        ] {
            assert_eq!((ret, error), (-1, EINVAL));
        }
    }
    assert_eq!(region.publish(&name), Ok(0));
    for bit in 0..32 {
        let flag = 1 << bit;
        if (RDONLY | HUGE | PREFAULT | LOCK) & flag == 0 {
            assert_eq!(open(&name, flag).unwrap_err(), EINVAL, "{flag:#x}");
        }
    }
    assert_eq!(unlink(&name), Ok(0));
}

/// Valid and invalid names.
#[apply(isolated)]
fn rules() {
    let directory = NameDirectory::new();
    let region = create(1, PUBLISH, 0).unwrap();
    let long = |len: usize| "/".to_string() + &"n".repeat(len);
    for (name, error) in [
        ("", EINVAL),
        ("/", EINVAL),
        ("//", EINVAL),
        ("/.", EINVAL),
        ("/..", EINVAL),
        ("name", EINVAL),
        ("/a/b", EINVAL),
        ("/a/", EINVAL),
        ("//a", EINVAL),
        ("./a", EINVAL),
        ("/../tmp/a", EINVAL),
        (&long(256), ENAMETOOLONG),
        (&long(100_000), ENAMETOOLONG),
    ] {
        let _case = Case(name);
        let name = CString::new(name).unwrap();
        assert_eq!(region.publish(&name), Err(error));
        assert_eq!(open(&name, 0).unwrap_err(), error);
        assert_eq!(unlink(&name), Err(error));
        let made = open_or_create(&name, 1, (0, 0), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), error);
    }
    // All other names are valid: the longest, and names with spaces or with letters of any
    // language.
    let own = name("").into_string().unwrap();
    let longest = own.clone() + &"n".repeat(256 - own.len());
    let of = |end: &str| own.clone() + end;
    // The region always keeps a name, because without one it could not get another.
    let keep = name("keep");
    assert_eq!(region.publish(&keep), Ok(0));
    for name in [longest, of("..."), of("\n "), of("\u{e4}\u{1f980}")] {
        let _case = Case(name.clone());
        let name = CString::new(name).unwrap();
        assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
        assert_eq!(region.publish(&name), Ok(0));
        assert!(
            directory
                .names()
                .contains(&name.to_str().unwrap()[1..].into())
        );
        drop(open(&name, 0).unwrap());
        drop(open_or_create(&name, 1, (0, 0), |_, _| panic!("init")).unwrap());
        assert_eq!(unlink(&name), Ok(0));
    }
    assert_eq!(unlink(&keep), Ok(0));
}

#[apply(isolated)]
fn publish() {
    let directory = NameDirectory::new();
    let (a, b) = (name("a"), name("b"));
    let region = create(page_size(), PUBLISH, 0o640).unwrap();
    assert!(directory.names().is_empty());
    region.fill(9);
    assert_eq!(region.publish(&a), Ok(0));
    assert_eq!(region.publish(&a), Err(EEXIST));
    let rival = create(page_size(), PUBLISH, 0).unwrap();
    assert_eq!(rival.publish(&a), Err(EEXIST));
    assert_eq!(rival.publish(&b), Ok(0));
    let opened = open(&a, 0).unwrap();
    assert!(opened.is_all(9) && opened.size() == page_size());
    assert!(open(&b, 0).unwrap().is_all(0));
    // Opened, sealed and descriptorless regions cannot be published.
    let c = name("c");
    assert_eq!(opened.publish(&c), Err(EINVAL));
    assert_eq!(create(1, 0, 0).unwrap().publish(&c), Err(EINVAL));
    assert_eq!(create(1, SOLE_WRITER, 0).unwrap().publish(&c), Err(EINVAL));
    assert_eq!(
        from_fd(region.fd(), TRUST).unwrap().publish(&c),
        Err(EINVAL)
    );
    // A file of any type occupies its name.
    fs::create_dir(path(&c)).unwrap();
    assert_eq!(region.publish(&c), Err(EEXIST));
    fs::remove_dir(path(&c)).unwrap();
    symlink("nowhere", path(&c)).unwrap();
    assert_eq!(region.publish(&c), Err(EEXIST));
    fs::remove_file(path(&c)).unwrap();
    // Without a name, the region cannot get one again.
    assert_eq!((unlink(&a), unlink(&b)), (Ok(0), Ok(0)));
    assert_eq!(region.publish(&a), Err(ENOENT));
    assert_eq!(unlink(&a), Err(ENOENT));
}

/// The creator dies before it publishes.
#[apply(isolated)]
fn killed_before() {
    let directory = NameDirectory::new();
    let child = fork(|| {
        let region = create(8 << 20, PUBLISH, 0).unwrap();
        region.fill(1);
        std::mem::forget(region);
        // SAFETY: no pointers.
        unsafe { libc::raise(SIGKILL) };
    });
    assert_eq!(child.reap(), SIGKILL);
    assert!(directory.names().is_empty());
    assert_eq!(directory.used(), 0);
}

/// Programs that use shm_open see the same names.
#[apply(isolated)]
fn with_shm_open() {
    let _directory = NameDirectory::new();
    let name = name("theirs");
    let theirs = |flags| {
        // SAFETY: a string.
        let fd = unsafe { shm_open(name.as_ptr(), flags, 0o600 as mode_t) };
        assert!(fd >= 0, "{}", errno());
        // SAFETY: the call has just returned this descriptor.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    let fd = theirs(O_CREAT | O_EXCL | O_RDWR);
    // The creator has not called ftruncate yet.
    assert_eq!(open(&name, 0).unwrap_err(), EPROTO);
    let made = open_or_create(&name, 1, (0, 0), |_, _| panic!("init"));
    assert_eq!(made.unwrap_err(), EPROTO);
    assert_eq!(ftruncate(&fd, 5000), Ok(0));
    let region = open(&name, 0).unwrap();
    assert_eq!(region.size(), 5000);
    region.fill(4);
    let mut bytes = [0u8; 5001];
    // SAFETY: a buffer of the given size.
    let read = unsafe { pread(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), 5001, 0) };
    assert!(read == 5000 && bytes[..5000].iter().all(|b| *b == 4));
    assert_eq!(unlink(&name), Ok(0));
    // The other direction.
    let ours = create(page_size(), PUBLISH, 0).unwrap();
    ours.fill(6);
    assert_eq!(ours.publish(&name), Ok(0));
    let fd = theirs(O_RDWR);
    assert_eq!(stat(fd.as_raw_fd()).st_ino, ours.stat().st_ino);
    // SAFETY: a string.
    assert_eq!(unsafe { shm_unlink(name.as_ptr()) }, 0);
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
}

/// Only regular files are opened and removed.
#[apply(isolated)]
fn other_files() {
    let _directory = NameDirectory::new();
    let name = name("no");
    let at = path(&name);
    let real = crate::support::name("real");
    let region = create(1, PUBLISH, 0).unwrap();
    assert_eq!(region.publish(&real), Ok(0));
    let refused = |what: &str, error| {
        let _case = Case(what);
        for flags in [0, RDONLY] {
            assert_eq!(open(&name, flags).unwrap_err(), error);
        }
        let made = open_or_create(&name, 1, (0, 0), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), error);
        assert_eq!(unlink(&name), Err(error));
    };
    for target in [path(&real), "nowhere".into(), at.clone()] {
        symlink(&target, &at).unwrap();
        refused(&target, ELOOP);
        fs::remove_file(&at).unwrap();
    }
    fs::create_dir(&at).unwrap();
    refused("a directory", EINVAL);
    fs::remove_dir(&at).unwrap();
    // SAFETY: a string.
    assert_eq!(unsafe { mkfifo(c_path(&at).as_ptr(), 0o600) }, 0);
    refused("a FIFO", EINVAL);
    fs::remove_file(&at).unwrap();
    let socket = UnixListener::bind(&at).unwrap();
    refused("a socket", EINVAL);
    fs::remove_file(&at).unwrap();
    drop(socket);
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
    assert_eq!(unlink(&name), Err(ENOENT));
    assert_eq!(unlink(&real), Ok(0));
}

/// A name can be removed and reused while its region is in use.
#[apply(isolated)]
fn unlink_while_open() {
    let directory = NameDirectory::new();
    let name = name("u");
    let old = create(page_size(), PUBLISH, 0).unwrap();
    assert_eq!(old.publish(&name), Ok(0));
    let old_opened = open(&name, 0).unwrap();
    assert_eq!(unlink(&name), Ok(0));
    assert!(directory.names().is_empty());
    let new = open_or_create(&name, page_size(), (0, 0), |_, _| true).unwrap();
    old.fill(1);
    assert!(old_opened.is_all(1) && new.is_all(0));
    drop(old);
    new.fill(2);
    assert!(old_opened.is_all(1) && open(&name, 0).unwrap().is_all(2));
    assert_eq!(unlink(&name), Ok(0));
}

/// The kernel prevents a reader from writing.
#[apply(isolated)]
fn read_only() {
    let _directory = NameDirectory::new();
    let name = name("r");
    let region = create(page_size(), PUBLISH, 0).unwrap();
    region.fill(5);
    assert_eq!(region.publish(&name), Ok(0));
    let reader = open(&name, RDONLY).unwrap();
    assert!(reader.is_all(5));
    // SAFETY: no pointers.
    let access = unsafe { fcntl(reader.fd(), F_GETFL) } & O_ACCMODE;
    assert_eq!(access, O_RDONLY);
    assert_eq!(protect(&reader, PROT_READ | PROT_WRITE), Err(EACCES));
    assert_eq!(map_page(reader.fd(), PROT_WRITE), Err(EACCES));
    assert_eq!(killed_by(|| poke(&reader)), SIGSEGV);
    assert_eq!(from_fd(reader.fd(), TRUST).unwrap_err(), EACCES);
    drop(from_fd(reader.fd(), TRUST | RDONLY).unwrap());
    assert!(region.is_all(5));
    assert_eq!(unlink(&name), Ok(0));
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _directory = NameDirectory::new();
    let (shut, readable, open_to_all) = (name("shut"), name("readable"), name("open"));
    for (name, mode) in [(&shut, 0o600), (&readable, 0o644), (&open_to_all, 0o666)] {
        let region = create(page_size(), PUBLISH, mode).unwrap();
        assert_eq!(region.publish(name), Ok(0));
    }
    as_nobody(|| {
        assert_eq!(open(&shut, RDONLY).unwrap_err(), EACCES);
        assert_eq!(open(&readable, 0).unwrap_err(), EACCES);
        let made = open_or_create(&readable, 1, (0, 0), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), EACCES);
        assert!(open(&readable, RDONLY).unwrap().is_all(0));
        open(&open_to_all, 0).unwrap().fill(1);
        assert_eq!(unlink(&open_to_all), Err(EPERM));
        // The user's own region.
        let mine = name("mine");
        let region = open_or_create(&mine, 1, (0, 0), |_, _| true).unwrap();
        assert_eq!(region.stat().st_uid, 65534);
        assert_eq!(unlink(&mine), Ok(0));
    });
    set_mode("/dev/shm", 0o755);
    as_nobody(|| {
        let mine = name("mine");
        assert_eq!(create(1, PUBLISH, 0).unwrap_err(), EACCES);
        let made = open_or_create(&mine, 1, (0, 0), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), EACCES);
        assert_eq!(unlink(&open_to_all), Err(EACCES));
    });
    for name in [shut, readable, open_to_all] {
        assert_eq!(unlink(&name), Ok(0));
    }
}
