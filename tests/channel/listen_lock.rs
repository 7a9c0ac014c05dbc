//! The lock that ipc_channel_listen takes on its path ([`NameLock`]).

use crate::support::*;
use common::filter::{SYS_FCHMODAT2, refuse};
use common::user::become_nobody;
use libc::{EACCES, EADDRINUSE, EAGAIN, EEXIST, EISDIR, ENOENT, EPERM, c_int, c_void};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::{mem, ptr, thread};
use unixipc::deadline::Deadline;
use unixipc::name_lock::NameLock;

/// The lock file of the path "s".
const LOCK: &str = ".s.lock";

/// The limit for a call that does not wait for the lock, in milliseconds.
const NO_WAIT_MS: u128 = 500;

#[track_caller]
fn flock(file: &File, operation: c_int) {
    // SAFETY: no pointers.
    let done = unsafe { libc::flock(file.as_raw_fd(), operation) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Checks that listening at "s" succeeds without a wait, and leaves no lock file.
#[track_caller]
fn assert_listens() -> OwnedFd {
    let (listener, ms) = timed_ms(|| listen("s"));
    assert!(ms < NO_WAIT_MS, "{ms} ms");
    assert!(!fs::exists(LOCK).unwrap(), "the lock file is left");
    listener
}

/// Checks that listening at "s" fails after it has waited for the lock.
#[track_caller]
fn assert_waits_and_fails(error: c_int) {
    let (listener, ms) = timed_ms(|| listen_with("s", 0o600, 0));
    assert_eq!(listener.unwrap_err(), error);
    assert!((900..5000).contains(&ms), "{ms} ms");
    assert!(!fs::exists("s").unwrap());
}

/// A child that has run `acquire`, and holds the result until it is killed.
fn fork_holder<T>(acquire: impl FnOnce() -> T) -> Child {
    let (mut ready, mut go) = pipe();
    let child = fork(|| {
        let _held = acquire();
        go.write_all(b".").unwrap();
        sleep_forever()
    });
    drop(go);
    ready.read_exact(&mut [0]).unwrap();
    child
}

fn create_lock_file(path: &str) -> File {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).unwrap()
}

/// A flock(2) lock on the directory has no effect, whether this process or another one holds it.
#[apply(isolated)]
fn locks_on_the_directory() {
    let _directory = WorkingDirectory::new();
    let child = fork_holder(|| {
        let directory = File::open(".").unwrap();
        flock(&directory, libc::LOCK_EX);
        directory
    });
    drop(assert_listens());
    drop(child);
    let directory = File::open(".").unwrap();
    for operation in [libc::LOCK_SH, libc::LOCK_EX] {
        flock(&directory, operation);
        drop(assert_listens());
    }
}

#[apply(isolated)]
fn held_by_a_stopped_process() {
    let _directory = WorkingDirectory::new();
    let child = fork_holder(|| {
        let file = create_lock_file(LOCK);
        flock(&file, libc::LOCK_EX);
        file
    });
    child.stop();
    assert_waits_and_fails(EADDRINUSE);
    // Another name has another lock.
    let (_, ms) = timed_ms(|| listen("t"));
    assert!(ms < NO_WAIT_MS, "{ms} ms");
    drop(child);
    drop(assert_listens());
}

/// open(2) waits for a file with a lease. ipc_channel_listen waits no longer than for the lock.
#[apply(isolated)]
fn leased_file() {
    let _directory = WorkingDirectory::new();
    let child = fork_holder(|| {
        let file = create_lock_file(LOCK);
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        // SAFETY: no pointers.
        let leased = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        assert_eq!(leased, 0, "{}", io::Error::last_os_error());
        file
    });
    assert_waits_and_fails(EADDRINUSE);
    drop(child);
    drop(assert_listens());
}

/// A lock file that no process has locked is used and removed.
#[apply(isolated)]
fn leftover_file() {
    let _directory = WorkingDirectory::new();
    for content in ["", "content"] {
        for _ in 0..3 {
            fs::write(LOCK, content).unwrap();
            drop(assert_listens());
        }
    }
    // A call that fails leaves no lock file either.
    let _listener = assert_listens();
    assert_eq!(listen_with("s", 0o600, 0).unwrap_err(), EADDRINUSE);
    fs::create_dir("d").unwrap();
    assert_eq!(listen_with("d", 0o600, 0).unwrap_err(), EADDRINUSE);
    let names = fs::read_dir(".").unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["d", "s"]);
}

/// A file of another type at the lock file's path is EEXIST, and is left unchanged.
#[apply(isolated)]
fn other_file_types() {
    let _directory = WorkingDirectory::new();
    fs::write("target", "content").unwrap();
    let cases: [(&str, fn()); 6] = [
        ("symbolic link", || symlink("target", LOCK).unwrap()),
        ("dangling link", || symlink("nowhere", LOCK).unwrap()),
        ("link to itself", || symlink(LOCK, LOCK).unwrap()),
        ("FIFO", || {
            nix::unistd::mkfifo(LOCK, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("directory", || fs::create_dir(LOCK).unwrap()),
        ("socket", || drop(UnixListener::bind(LOCK).unwrap())),
    ];
    for (what, create) in cases {
        let _case = Case(what);
        create();
        let before = fs::symlink_metadata(LOCK).unwrap();
        let (listener, ms) = timed_ms(|| listen_with("s", 0o600, 0));
        assert_eq!(listener.unwrap_err(), EEXIST);
        assert!(ms < NO_WAIT_MS, "{ms} ms");
        let after = fs::symlink_metadata(LOCK).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
        assert!(!fs::exists("s").unwrap());
        if before.is_dir() {
            fs::remove_dir(LOCK).unwrap();
        } else {
            fs::remove_file(LOCK).unwrap();
        }
    }
    assert!(!fs::exists("nowhere").unwrap());
    assert_eq!(fs::read_to_string("target").unwrap(), "content");
}

/// A hard link to another file is locked and removed. The other file is unchanged.
#[apply(isolated)]
fn hard_link() {
    let _directory = WorkingDirectory::new();
    fs::write("target", "content").unwrap();
    set_mode("target", 0o400);
    let before = fs::metadata("target").unwrap();
    fs::hard_link("target", LOCK).unwrap();
    drop(assert_listens());
    let after = fs::metadata("target").unwrap();
    assert_eq!((after.mode(), after.nlink()), (before.mode(), 1));
    assert_eq!(fs::read_to_string("target").unwrap(), "content");
}

/// Another thread forks at random moments. The children have copies of the descriptors, and the
/// lock is released nevertheless.
#[apply(isolated)]
fn fork_in_another_thread() {
    let _directory = WorkingDirectory::new();
    let children = thread::scope(|scope| {
        let forker = scope.spawn(|| {
            (0..100)
                .map(|_| {
                    // SAFETY: the child makes system calls only.
                    match unsafe { libc::fork() } {
                        0 => sleep_forever(),
                        pid => Child(pid),
                    }
                })
                .collect::<Vec<_>>()
        });
        let mut number = 0;
        while !forker.is_finished() {
            // A new name each time, because the children have the listeners too.
            let (_, ms) = timed_ms(|| listen(&format!("s{number}")));
            assert!(ms < NO_WAIT_MS, "{ms} ms");
            number += 1;
        }
        forker.join().unwrap()
    });
    drop(children);
    // The same with a child that certainly has a copy of the lock's descriptor.
    fs::write(LOCK, "").unwrap();
    let lock = name_lock("s", 0).unwrap();
    let child = fork_holder(|| ());
    drop(lock);
    drop(assert_listens());
    drop(child);
}

/// Waits until `count` children are ready (slot 0), and lets them listen at the same time (slot 1).
/// Checks that one of them succeeds (slot 2), and that the others fail (slot 3).
#[track_caller]
pub fn assert_one_listens(shared: &Counters, count: u64, round: u64) {
    shared.wait_for(0, count);
    shared.set(1, 1);
    wait_until("the end of all attempts", || {
        shared.get(2) + shared.get(3) == count
    });
    assert_eq!(shared.get(2), 1, "listeners in round {round}");
}

/// Many processes listen at one stale path at the same time. In each round one of them succeeds.
#[apply(isolated)]
fn many_processes() {
    let _directory = WorkingDirectory::new();
    drop(listen("s"));
    for round in 0..scaled(20) {
        let shared = Counters::new();
        let children: Vec<Child> = (0..16)
            .map(|_| {
                fork(|| {
                    shared.add(0);
                    shared.wait_for(1, 1);
                    let listener = listen_with("s", 0o600, 0);
                    shared.add(if listener.is_ok() { 2 } else { 3 });
                    if let Err(error) = listener {
                        assert_eq!(error, EADDRINUSE);
                    }
                    shared.wait_for(4, 1);
                })
            })
            .collect();
        assert_one_listens(&shared, children.len() as u64, round);
        assert!(!fs::exists(LOCK).unwrap());
        shared.set(4, 1);
        children.into_iter().for_each(Child::join);
    }
}

/// Only one process at a time holds the lock, although each one removes the file.
#[apply(isolated)]
fn mutual_exclusion() {
    let _directory = WorkingDirectory::new();
    let shared = Counters::new();
    let rounds = scaled(2000);
    let children: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                for _ in 0..rounds {
                    // Frequent attempts, so that some open the file just before its removal.
                    let lock = loop {
                        match name_lock("s", 0) {
                            Err(EAGAIN) => {}
                            lock => break lock.unwrap(),
                        }
                    };
                    assert_eq!(shared.add(0), 1, "another process holds the lock too");
                    let end = now() + 20_000;
                    while now() < end {
                        std::hint::spin_loop();
                    }
                    shared.add(1);
                    shared.set(0, 0);
                    drop(lock);
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::join);
    assert_eq!(shared.get(1), 4 * rounds);
    assert!(!fs::exists(LOCK).unwrap());
}

/// The next listener replaces the files of a listener that was killed.
#[apply(isolated)]
fn killed_at_random_moments() {
    let _directory = WorkingDirectory::new();
    let mut random = Random(7);
    let mut lock_files = 0;
    for _ in 0..scaled(300) {
        let (mut ready, mut go) = pipe();
        let child = fork(|| {
            go.write_all(b".").unwrap();
            loop {
                drop(listen("s"));
            }
        });
        ready.read_exact(&mut [0]).unwrap();
        let end = now() + random.below(400_000);
        while now() < end {
            std::hint::spin_loop();
        }
        drop(child);
        lock_files += u64::from(fs::exists(LOCK).unwrap());
        drop(assert_listens());
    }
    println!("{lock_files} lock files were left behind");
}

unsafe extern "C" {
    fn pthread_cancel(thread: libc::pthread_t) -> c_int;
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Calls ipc_channel_listen while a cancellation of the thread is pending, which takes effect at
/// the first cancellation point.
extern "C-unwind" fn listen_while_cancelled(result: *mut c_void) -> *mut c_void {
    let path = c"s".as_ptr();
    let mut state = -1;
    // SAFETY: the thread cancels itself; the string and the result outlive the call.
    unsafe {
        pthread_cancel(libc::pthread_self());
        let fd = unixipc::ffi::channel::ipc_channel_listen(path, 0o600, 0);
        pthread_setcancelstate(1, &mut state);
        *result.cast::<[c_int; 2]>() = [fd, state];
    }
    ptr::null_mut()
}

/// The call is not a cancellation point, and restores the thread's cancellation state.
#[apply(isolated)]
fn cancelled() {
    let _directory = WorkingDirectory::new();
    type Start = extern "C" fn(*mut c_void) -> *mut c_void;
    drop(listen("s"));
    let mut result = [-1; 2];
    // SAFETY: all zero bytes are a valid value.
    let mut thread = unsafe { mem::zeroed() };
    // SAFETY: the two types differ only in whether a panic may leave the function.
    let start: Start = unsafe { mem::transmute(listen_while_cancelled as *const ()) };
    let at = (&raw mut result).cast();
    // SAFETY: the thread ends before the result is used here.
    unsafe {
        assert_eq!(libc::pthread_create(&mut thread, ptr::null(), start, at), 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
    let [fd, state] = result;
    drop(own(fd));
    assert_eq!(state, 0, "the cancellation state must be enabled");
    drop(assert_listens());
}

/// A path that is too long for a socket address is reached through a descriptor of its directory.
#[apply(isolated)]
fn long_directory() {
    let _directory = WorkingDirectory::new();
    let long = "x".repeat(200);
    fs::create_dir(&long).unwrap();
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    let directory = options.open(&long).unwrap();
    let path = format!("/proc/self/fd/{}/s", directory.as_raw_fd());
    let listener = listen(&path);
    assert_eq!(listen_with(&path, 0o600, 0).unwrap_err(), EADDRINUSE);
    let client = fork(|| {
        let end = connect(&path, LONG).unwrap();
        assert_eq!(end.send(b"message", LONG), DONE);
    });
    // The second call to listen has left a client that has closed its connection.
    let received = loop {
        let received = accept(&listener, LONG).unwrap().recv(LONG).unwrap();
        if !received.is_empty() {
            break received;
        }
    };
    assert_eq!(received, b"message");
    client.join();
    let names = fs::read_dir(&long).unwrap().map(|entry| entry.unwrap());
    assert_eq!(
        names.map(|entry| entry.file_name()).collect::<Vec<_>>(),
        ["s"]
    );
}

/// A seccomp filter refuses fchmodat2(2), and chmod(2), which a C library uses in its place.
#[apply(isolated)]
fn refused_chmod() {
    let _directory = WorkingDirectory::new();
    refuse(SYS_FCHMODAT2, EPERM);
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_chmod, EPERM);
    set_umask(0o077);
    let _listener = listen_with("s", 0o666, 0).unwrap();
    let mode = fs::symlink_metadata("s").unwrap().mode();
    assert_eq!(mode & 0o7777, 0o666);
}

fn name_lock(path: &str, timeout_ms: c_int) -> Result<NameLock, c_int> {
    let path = CString::new(path).unwrap();
    let wait = Deadline::new(timeout_ms).unwrap();
    NameLock::acquire(&path, wait).map_err(|error| error.code())
}

/// Each name of up to NAME_MAX bytes has its own lock.
#[apply(isolated)]
fn long_names() {
    let _directory = WorkingDirectory::new();
    let mut locks = Vec::new();
    for len in [1, 2, 248, 249, 250, 254, 255] {
        for last in ["x", "y"] {
            let name = format!("{}{last}", "x".repeat(len - 1));
            locks.push(name_lock(&name, 0).unwrap());
            for path in [name.clone(), format!("./{name}")] {
                assert_eq!(name_lock(&path, 0).err(), Some(EAGAIN), "{len}");
            }
        }
    }
    assert_eq!(fs::read_dir(".").unwrap().count(), locks.len());
    drop(locks);
    assert_eq!(fs::read_dir(".").unwrap().count(), 0);
}

#[apply(isolated)]
fn paths_without_a_name() {
    let _directory = WorkingDirectory::new();
    for path in ["/", "..", "./.."] {
        assert_eq!(name_lock(path, 0).err(), Some(EISDIR), "{path}");
        assert_eq!(listen_with(path, 0o600, 0).unwrap_err(), EADDRINUSE);
    }
    assert_eq!(name_lock("none/s", 0).err(), Some(ENOENT));
}

/// A lock file that cannot be opened counts as held.
#[apply(isolated)]
#[needs(needs::root)]
fn another_users_file() {
    let _directory = WorkingDirectory::new();
    share_directory(0o1777);
    drop(create_lock_file(LOCK));
    fork(|| {
        become_nobody().unwrap();
        assert_waits_and_fails(EACCES);
    })
    .join();
    // Root can open the file.
    drop(assert_listens());
}

/// In a directory with the sticky bit the file cannot be removed. The lock is released
/// nevertheless, even if a child has a copy of the descriptor.
#[apply(isolated)]
#[needs(needs::root)]
fn file_that_cannot_be_removed() {
    let _directory = WorkingDirectory::new();
    share_directory(0o1777);
    drop(create_lock_file(LOCK));
    set_mode(LOCK, 0o666);
    fork(|| {
        become_nobody().unwrap();
        for _ in 0..3 {
            let lock = name_lock("s", 0).unwrap();
            assert_eq!(name_lock("s", 0).err(), Some(EAGAIN));
            let _child = fork_holder(|| ());
            drop(lock);
            drop(name_lock("s", 0).unwrap());
        }
    })
    .join();
    assert!(fs::exists(LOCK).unwrap());
}

/// Sets the mode of the working directory, and lets all users reach it.
pub fn share_directory(mode: u32) {
    set_mode(std::env::temp_dir(), 0o755);
    set_mode(".", mode);
}
