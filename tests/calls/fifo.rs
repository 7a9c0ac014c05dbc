//! mkfifo.

use crate::both::{Calls, LIBC, Outcome, Pages, both, provider_pairs, same};
use crate::call;
use common::prelude::*;
use libc::*;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown, symlink};
use std::ptr;

/// Prefixes a path with "./" until it has `len` bytes.
fn padded(name: &str, len: usize) -> String {
    let lead = len - name.len();
    format!(
        "{}{}{name}",
        "./".repeat(lead / 2),
        if lead % 2 == 1 { "/" } else { "" }
    )
}

/// Creates the files that exist before each call.
fn create_files() {
    fs::write("file", "").unwrap();
    fs::create_dir("directory").unwrap();
    symlink("nowhere", "dangling").unwrap();
    symlink("directory", "link").unwrap();
    symlink("loop", "loop").unwrap();
    symlink("loop-b", "loop-a").unwrap();
    symlink("loop-a", "loop-b").unwrap();
    symlink("directory", "chain0").unwrap();
    for i in 1..=41 {
        symlink(format!("chain{}", i - 1), format!("chain{i}")).unwrap();
    }
    assert_eq!(call!(LIBC.mkfifo(c"fifo".as_ptr(), 0o600)), Ok(0));
    fs::create_dir("unwritable").unwrap();
    set_mode("unwritable", 0o555);
    fs::create_dir("unsearchable").unwrap();
    set_mode("unsearchable", 0o600);
}

fn run(calls: &Calls, path: &CString, mode: mode_t) -> (Outcome, Vec<String>) {
    let directory = WorkingDirectory::new();
    create_files();
    let outcome = call!(calls.mkfifo(path.as_ptr(), mode));
    (outcome, directory.list())
}

#[apply(isolated)]
fn paths() {
    let or_root = |errno| if is_root() { Ok(0) } else { Err(errno) };
    for (path, expected) in [
        ("new", Ok(0)),
        ("./directory/../new", Ok(0)),
        ("directory/new", Ok(0)),
        ("link/new", Ok(0)),
        ("chain39/new", Ok(0)),
        ("chain40/new", Err(ELOOP)),
        ("loop/new", Err(ELOOP)),
        ("loop-a/new", Err(ELOOP)),
        ("", Err(ENOENT)),
        ("/", Err(EEXIST)),
        (".", Err(EEXIST)),
        ("..", Err(EEXIST)),
        ("directory", Err(EEXIST)),
        ("directory/", Err(EEXIST)),
        ("file", Err(EEXIST)),
        ("fifo", Err(EEXIST)),
        ("dangling", Err(EEXIST)),
        ("link", Err(EEXIST)),
        ("loop", Err(EEXIST)),
        ("new/", Err(ENOENT)),
        ("missing/new", Err(ENOENT)),
        ("dangling/new", Err(ENOENT)),
        ("file/new", Err(ENOTDIR)),
        ("fifo/new", Err(ENOTDIR)),
        ("/dev/null/new", Err(ENOTDIR)),
        ("unwritable/new", or_root(EACCES)),
        ("unsearchable/new", or_root(EACCES)),
    ] {
        let path = c_path(path);
        let (outcome, _) = both(format!("{path:?}"), |calls| run(calls, &path, 0o640));
        assert_eq!(outcome, expected, "{path:?}");
    }
    for path in [
        "/proc/unixipc-new",
        "/sys/unixipc-new",
        "/proc/self/unixipc-new",
    ] {
        let path = c_path(path);
        let (outcome, _) = both(format!("{path:?}"), |calls| run(calls, &path, 0o640));
        assert!(outcome.is_err(), "{path:?}");
    }
    let no_utf8 = CString::new(b"\xff\x01\xfe new".to_vec()).unwrap();
    assert_eq!(
        both("no UTF-8", |calls| run(calls, &no_utf8, 0o640)).0,
        Ok(0)
    );
}

#[apply(isolated)]
fn lengths() {
    let name_max = NAME_MAX as usize;
    let path_max = PATH_MAX as usize; // including the NUL
    for (path, expected) in [
        ("n".repeat(name_max), Ok(0)),
        ("n".repeat(name_max + 1), Err(ENAMETOOLONG)),
        (
            format!("{}/new", "n".repeat(name_max + 1)),
            Err(ENAMETOOLONG),
        ),
        (padded("new", path_max - 1), Ok(0)),
        (padded("new", path_max), Err(ENAMETOOLONG)),
        (padded("new", path_max + 1), Err(ENAMETOOLONG)),
        (padded("new", 100_000), Err(ENAMETOOLONG)),
    ] {
        let path = c_path(path);
        let (outcome, _) = both(path.count_bytes(), |calls| run(calls, &path, 0o600));
        assert_eq!(outcome, expected, "{} bytes", path.count_bytes());
    }
}

#[apply(isolated)]
fn modes() {
    let _folder = WorkingDirectory::new();
    // The mode of the FIFO that a call with this mode creates, and the umask after it.
    let run = |calls: &Calls, mode| {
        let outcome = call!(calls.mkfifo(c"new".as_ptr(), mode));
        let made = outcome
            .is_ok()
            .then(|| fs::symlink_metadata("new").unwrap().mode());
        if outcome.is_ok() {
            fs::remove_file("new").unwrap();
        }
        let mask = set_umask(0);
        set_umask(mask);
        (outcome, made, mask)
    };
    for mask in [0, 0o022, 0o777] {
        let old = set_umask(mask);
        for mode in 0..=0o7777 {
            let got = both(format!("{mode:o}, umask {mask:o}"), |calls| {
                run(calls, mode)
            });
            assert_eq!(got, (Ok(0), Some(S_IFIFO | mode & !mask), mask));
        }
        set_umask(old);
    }
    let old = set_umask(0);
    for file_type in 0..16 {
        let mode = file_type << 12 | 0o644;
        let (outcome, made, _) = both(format!("{mode:o}"), |calls| run(calls, mode));
        let is_valid = [0, S_IFIFO].contains(&(mode & S_IFMT));
        assert_eq!(
            outcome,
            if is_valid { Ok(0) } else { Err(EINVAL) },
            "{mode:o}"
        );
        assert_eq!(made, is_valid.then_some(S_IFIFO | 0o644));
    }
    for bit in 12..32 {
        let mode = 1 << bit | 0o644;
        same(format!("{mode:o}"), |calls| run(calls, mode));
    }
    same("all bits", |calls| run(calls, mode_t::MAX));
    set_umask(old);
}

#[apply(isolated)]
fn pointers() {
    let pages = Pages::new();
    let _folder = WorkingDirectory::new();
    for (name, path) in pages.invalid_pointers::<c_char>() {
        let outcome = both(name, |calls| call!(calls.mkfifo(path, 0o600)));
        assert_eq!(outcome, Err(EFAULT), "{name}");
    }
    let run = |calls: &Calls, path: *const c_char| {
        let outcome = call!(calls.mkfifo(path, 0o600));
        (outcome, fs::remove_file("new").is_ok())
    };
    let path = pages.put_last(b"new").cast();
    let got = both("no NUL before an inaccessible page", |calls| {
        run(calls, path)
    });
    assert_eq!(got, (Err(EFAULT), false));
    let path = pages.put_last(b"new\0").cast();
    assert_eq!(
        both("NUL as the last byte", |calls| run(calls, path)),
        (Ok(0), true)
    );
    let path = ptr::from_ref(c"new").cast();
    assert_eq!(both("constant", |calls| run(calls, path)), (Ok(0), true));
}

#[apply(isolated)]
fn removed_directory() {
    let outcome = both("in a removed directory", |calls| {
        let _folder = WorkingDirectory::new();
        fs::create_dir("removed").unwrap();
        std::env::set_current_dir("removed").unwrap();
        fs::remove_dir("../removed").unwrap();
        call!(calls.mkfifo(c"new".as_ptr(), 0o600))
    });
    assert_eq!(outcome, Err(ENOENT));
}

#[apply(isolated)]
fn shared_between_providers() {
    for (maker, user) in provider_pairs() {
        let _folder = WorkingDirectory::new();
        assert_eq!(call!(maker.mkfifo(c"new".as_ptr(), 0o600)), Ok(0));
        assert_eq!(call!(user.mkfifo(c"new".as_ptr(), 0o600)), Err(EEXIST));
        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open("new")
            .unwrap();
        let mut writer = OpenOptions::new().write(true).open("new").unwrap();
        writer.write_all(b"through").unwrap();
        let mut buf = [0; 16];
        assert_eq!(reader.read(&mut buf).unwrap(), 7);
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    for (path, expected) in [
        ("new", Err(EACCES)),
        ("directory/new", Err(EACCES)),
        ("fifo", Err(EEXIST)),
        ("unsearchable/new", Err(EACCES)),
        ("unsearchable/file", Err(EACCES)),
        ("theirs/new", Ok(0)),
        ("sticky/new", Ok(0)),
        ("all/new", Ok(0)),
        ("/proc/unixipc-new", Err(ENOENT)),
    ] {
        let (_, list) = both(path, |calls| {
            let directory = WorkingDirectory::new();
            create_files();
            open_to_all();
            for (name, mode) in [("theirs", 0o700), ("sticky", 0o1777), ("all", 0o777)] {
                fs::create_dir(name).unwrap();
                set_mode(name, mode);
            }
            fs::write("unsearchable/file", "").unwrap();
            chown("theirs", Some(NOBODY), Some(NOBODY)).unwrap();
            let path = c_path(path);
            as_nobody(|| assert_eq!(call!(calls.mkfifo(path.as_ptr(), 0o640)), expected));
            (expected, directory.list())
        });
        let new: Vec<_> = list.iter().filter(|line| line.contains("/new ")).collect();
        match expected {
            Ok(_) => {
                assert_eq!(new.len(), 1);
                assert!(new[0].ends_with("10640 65534:65534 1 FIFO"), "{new:?}");
            }
            Err(_) => assert!(new.is_empty(), "{new:?}"),
        }
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn set_group_id_directory() {
    let (outcome, owner) = both("a directory whose new files get its group", |calls| {
        let _folder = WorkingDirectory::new();
        chown(".", None, Some(NOBODY)).unwrap();
        set_mode(".", 0o2755);
        let outcome = call!(calls.mkfifo(c"new".as_ptr(), 0o2770));
        let meta = fs::metadata("new").unwrap();
        (outcome, (meta.gid(), meta.mode() & S_ISGID))
    });
    assert_eq!(outcome, Ok(0));
    assert_eq!(owner, (NOBODY, S_ISGID));
}

/// File systems that refuse FIFOs, in a mount namespace of the test.
#[apply(isolated)]
#[needs(needs::root)]
fn other_file_systems() {
    for (name, flags, options, expected) in [
        ("a read-only one", MS_RDONLY, c"", Err(EROFS)),
        ("a full one", 0, c"nr_inodes=1", Err(ENOSPC)),
        ("one without device files", MS_NODEV, c"", Ok(0)),
    ] {
        same(name, |calls| {
            let _folder = WorkingDirectory::new();
            let child = fork_reporter(|| {
                own_mount_namespace();
                mount_tmpfs(c".", flags, options);
                let here = std::env::current_dir().unwrap().join("new");
                call!(calls.mkfifo(c_path(here).as_ptr(), 0o600))
            });
            assert_eq!(child.outcome(), expected);
        });
    }
}
