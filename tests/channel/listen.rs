//! ipc_channel_listen: paths, abstract names and stale sockets.

use crate::listen_lock::{assert_one_listens, share_directory};
use crate::peer::*;
use crate::support::*;
use common::user::{NOBODY, become_nobody};
use libc::{
    EACCES, EADDRINUSE, EAGAIN, ECONNREFUSED, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPIPE,
};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};

#[apply(isolated)]
fn arguments() {
    let _directory = WorkingDirectory::new();
    let listen = |path: &str| listen_with(path, 0o600, 0).unwrap_err();
    assert_eq!(listen(""), ENOENT);
    assert_eq!(listen("@"), EINVAL);
    assert_eq!(listen("none/s"), ENOENT);
    fs::write("file", "").unwrap();
    assert_eq!(listen("file/s"), ENOTDIR);
    assert_eq!(connect("file/s", 0).unwrap_err(), ENOTDIR);
    assert_eq!(connect("", 0).unwrap_err(), ENOENT);
    assert_eq!(connect("@", 0).unwrap_err(), EINVAL);
    assert_eq!(connect("none", 0).unwrap_err(), ENOENT);
    assert_eq!(connect("none/s", 0).unwrap_err(), ENOENT);
    assert_eq!(connect("file", 0).unwrap_err(), ECONNREFUSED);
    assert_eq!(connect(&abstract_name(), 0).unwrap_err(), ECONNREFUSED);
    for flags in [1, 2, 1 << 31] {
        assert_eq!(listen_with("s", 0o600, flags).unwrap_err(), EINVAL);
    }
    for mode in [0o1000, 0o4600, libc::S_IFSOCK | 0o600, u32::MAX] {
        assert_eq!(listen_with("s", mode, 0).unwrap_err(), EINVAL);
    }
    symlink("loop", "loop").unwrap();
    assert_eq!(listen("loop/s"), libc::ELOOP);
    // The longest path has 107 bytes. An abstract name can have 107 bytes after its @.
    for longest in [
        format!("s{}", "x".repeat(106)),
        format!("@{}", "x".repeat(107)),
    ] {
        let listener = listen_with(&longest, 0o600, 0).unwrap();
        let (a, b) = connected_pair(&listener, &longest);
        exchange(&a, &b);
        let too_long = format!("{longest}x");
        assert_eq!(listen(&too_long), ENAMETOOLONG);
        assert_eq!(connect(&too_long, 0).unwrap_err(), ENAMETOOLONG);
    }
    let left: Vec<_> = fs::read_dir(".")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// The socket file has the requested mode, whatever the umask. The descriptor is close-on-exec and
/// nonblocking.
#[apply(isolated)]
fn modes() {
    let _directory = WorkingDirectory::new();
    for mask in [0, 0o022, 0o077, 0o777] {
        for mode in [0, 0o600, 0o660, 0o666, 0o777, 0o222] {
            set_umask(mask);
            let listener = listen_with("s", mode, 0).unwrap();
            assert_eq!(set_umask(0o022), mask, "the umask is unchanged");
            let st = fs::symlink_metadata("s").unwrap();
            assert!(st.file_type().is_socket());
            assert_eq!(st.mode() & 0o7777, mode, "umask {mask:o}");
            let fd = listener.as_raw_fd();
            // SAFETY: no pointers.
            let flags = unsafe {
                (
                    libc::fcntl(fd, libc::F_GETFD),
                    libc::fcntl(fd, libc::F_GETFL),
                )
            };
            assert_eq!(flags.0, libc::FD_CLOEXEC);
            assert_ne!(flags.1 & libc::O_NONBLOCK, 0);
            drop(listener);
            assert!(fs::exists("s").unwrap(), "the path was removed");
        }
    }
}

#[apply(isolated)]
fn stale_paths() {
    let _directory = WorkingDirectory::new();
    // Left by a listener that was closed, and by a listener that was killed.
    drop(listen("s"));
    kill_listener("t");
    // Left by a listener of another library, and by a socket that did not listen.
    drop(UnixListener::bind("u").unwrap());
    drop(UnixDatagram::bind("v").unwrap());
    for path in ["s", "t", "u", "v"] {
        let old = fs::symlink_metadata(path).unwrap().ctime_nsec();
        assert_eq!(connect(path, 0).unwrap_err(), ECONNREFUSED, "{path}");
        let listener = listen(path);
        assert_ne!(fs::symlink_metadata(path).unwrap().ctime_nsec(), old);
        let (a, b) = connected_pair(&listener, path);
        exchange(&a, &b);
    }
    // An abstract name ends with its listener.
    let name = abstract_name();
    drop(listen(&name));
    drop(listen(&name));
}

/// Leaves the path of a killed listener.
fn kill_listener(path: &str) {
    let (wait, go) = pipe();
    let child = fork(|| {
        let _listener = listen(path);
        std::io::Write::write_all(&mut &go, b".").unwrap();
        sleep_forever()
    });
    std::io::Read::read_exact(&mut &wait, &mut [0]).unwrap();
    kill(child);
}

#[apply(isolated)]
fn paths_in_use() {
    let _directory = WorkingDirectory::new();
    let name = abstract_name();
    let listeners = [("s", listen("s")), (&name, listen(&name))];
    for (path, listener) in &listeners {
        for _ in 0..3 {
            assert_eq!(listen_with(path, 0o600, 0).unwrap_err(), EADDRINUSE);
        }
        // Each failed call has left a client that has closed its connection.
        drain_closed_clients(listener);
        let (a, b) = connected_pair(listener, path);
        exchange(&a, &b);
    }
    // A stream listener, a listener whose queue is full, and a datagram socket.
    let _other = UnixListener::bind("t").unwrap();
    assert_eq!(listen_with("t", 0o600, 0).unwrap_err(), EADDRINUSE);
    let (full, _queued) = full_listener("u");
    assert_eq!(listen_with("u", 0o600, 0).unwrap_err(), EADDRINUSE);
    drop(full);
    let _datagrams = UnixDatagram::bind("v").unwrap();
    assert_eq!(listen_with("v", 0o600, 0).unwrap_err(), EADDRINUSE);
    for path in ["s", "t", "u", "v"] {
        assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
    }
}

#[apply(isolated)]
fn not_sockets() {
    let _directory = WorkingDirectory::new();
    fs::write("file", "contents").unwrap();
    fs::create_dir("directory").unwrap();
    nix::unistd::mkfifo("fifo", nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(listen("stale"));
    symlink("stale", "link").unwrap();
    symlink("nowhere", "dangling").unwrap();
    for path in ["file", "directory", "fifo", "link", "dangling"] {
        let before = fs::symlink_metadata(path).unwrap();
        assert_eq!(
            listen_with(path, 0o600, 0).unwrap_err(),
            EADDRINUSE,
            "{path}"
        );
        let after = fs::symlink_metadata(path).unwrap();
        assert_eq!(
            (before.ino(), before.mode()),
            (after.ino(), after.mode()),
            "{path}"
        );
    }
    assert_eq!(fs::read_to_string("file").unwrap(), "contents");
    assert!(!fs::exists("nowhere").unwrap());
}

/// Several processes listen at the same stale path at the same time. One of them succeeds, and a
/// client can connect to it.
#[apply(isolated)]
fn race_for_a_stale_path() {
    let _directory = WorkingDirectory::new();
    let rounds = scaled(100);
    for round in 0..rounds {
        match round % 2 {
            0 => drop(listen("s")),
            _ => fs::remove_file("s").unwrap(),
        }
        let shared = Counters::new();
        let children: Vec<Child> = (0..2 + round % 3)
            .map(|_| {
                fork(|| {
                    shared.add(0);
                    while shared.get(1) == 0 {
                        std::hint::spin_loop();
                    }
                    match listen_with("s", 0o600, 0) {
                        Ok(listener) => {
                            shared.add(2);
                            // All other processes have tried.
                            shared.wait_for(4, 1);
                            // Their calls have connected to check that the listener is alive.
                            let sent = (0..10)
                                .map(|_| accept(&listener, LONG).unwrap().send(b"won", LONG))
                                .find(|sent| *sent != Err(EPIPE));
                            assert_eq!(sent, Some(DONE));
                        }
                        Err(error) => {
                            assert_eq!(error, EADDRINUSE);
                            shared.add(3);
                        }
                    }
                })
            })
            .collect();
        assert_one_listens(&shared, children.len() as u64, round);
        shared.set(4, 1);
        let end = connect("s", LONG).unwrap();
        assert_eq!(end.recv(LONG).unwrap(), b"won");
        children.into_iter().for_each(Child::join);
    }
}

/// An unprivileged user connects to, and listens at, paths of root.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _directory = WorkingDirectory::new();
    share_directory(0o755);
    let closed = listen_with("closed", 0o600, 0).unwrap();
    let open = listen_with("open", 0o666, 0).unwrap();
    drop(listen_with("stale", 0o666, 0).unwrap());
    for (path, mode) in [
        ("shared", 0o777),
        ("unreadable", 0o333),
        ("unsearchable", 0o666),
    ] {
        fs::create_dir(path).unwrap();
        set_mode(path, mode);
    }
    let child = fork(|| {
        become_nobody().unwrap();
        assert_eq!(connect("closed", 0).unwrap_err(), EACCES);
        let end = connect("open", LONG).unwrap();
        assert_eq!((end.cred().uid, end.cred().gid), (0, 0));
        assert_eq!(end.send(b"in", LONG), DONE);
        assert_eq!(connect("unsearchable/s", 0).unwrap_err(), EACCES);
        for path in ["new", "stale", "unsearchable/s"] {
            assert_eq!(listen_with(path, 0o600, 0).unwrap_err(), EACCES, "{path}");
        }
        for path in ["shared/s", "unreadable/s"] {
            drop(listen_with(path, 0o600, 0).unwrap());
        }
    });
    let end = accept(&open, LONG).unwrap();
    assert_eq!((end.cred().uid, end.cred().gid), (NOBODY, NOBODY));
    assert_eq!(end.recv(LONG).unwrap(), b"in");
    child.join();
    assert_eq!(accept(&closed, 0).unwrap_err(), EAGAIN);
    assert!(fs::exists("stale").unwrap());
}
