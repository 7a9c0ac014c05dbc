//! ipc_channel_listen, _accept and _connect.

use crate::handshake::{overheard, say};
use crate::support::*;
use common::user::{NOBODY, become_nobody};
use libc::{
    EACCES, EADDRINUSE, EAGAIN, ECONNREFUSED, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPIPE, EPROTO,
    ESTALE, ETIMEDOUT, POLLIN, SOCK_SEQPACKET, SOCK_STREAM, c_int,
};
use nix::sys::socket::{self, Backlog, UnixAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::{env, fs, process, thread};

/// A directory of the test's own, which is also the current one.
pub struct Folder;

impl Folder {
    pub fn new() -> Self {
        let path = env::temp_dir().join("d");
        fs::create_dir(&path).unwrap();
        env::set_current_dir(path).unwrap();
        Self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(env::temp_dir().join("d"));
    }
}

fn abstract_name() -> String {
    format!("@unixipc-test-{}", process::id())
}

/// Both ends of a new connection: the server's and the client's.
#[track_caller]
fn meet(listener: &OwnedFd, path: &str) -> (End, End) {
    thread::scope(|scope| {
        let client = scope.spawn(|| connect(path, LONG).unwrap());
        let server = accept(listener, LONG).unwrap();
        answer_until_finished(&server, &client);
        (server, client.join().unwrap())
    })
}

/// Lets the server answer to a hello that may come late.
#[track_caller]
fn answer_until_finished(server: &End, client: &thread::ScopedJoinHandle<End>) {
    wait_until("the end of the handshake", || {
        assert_eq!(server.recv(0), Err(EAGAIN));
        client.is_finished()
    });
}

#[track_caller]
fn talk(a: &End, b: &End) {
    for (from, to) in [(a, b), (b, a), (a, b)] {
        assert_eq!(from.send(b"message", LONG), DONE);
        assert_eq!(to.recv(LONG).unwrap(), b"message");
    }
}

#[apply(isolated)]
fn arguments() {
    let _folder = Folder::new();
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
    // The longest path is one of 107 bytes; an abstract name may have as many behind its @.
    for longest in [
        format!("s{}", "x".repeat(106)),
        format!("@{}", "x".repeat(107)),
    ] {
        let listener = listen_with(&longest, 0o600, 0).unwrap();
        let (a, b) = meet(&listener, &longest);
        talk(&a, &b);
        let over = format!("{longest}x");
        assert_eq!(listen(&over), ENAMETOOLONG);
        assert_eq!(connect(&over, 0).unwrap_err(), ENAMETOOLONG);
    }
    let left: Vec<_> = fs::read_dir(".")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// The mode is the requested one, whatever the umask; the flags of the descriptor are right.
#[apply(isolated)]
fn modes() {
    let _folder = Folder::new();
    for mask in [0, 0o022, 0o077, 0o777] {
        for mode in [0, 0o600, 0o660, 0o666, 0o777, 0o222] {
            // SAFETY: no pointers.
            unsafe { libc::umask(mask) };
            let listener = listen_with("s", mode, 0).unwrap();
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::umask(0o022) }, mask, "the umask stays");
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
            assert!(fs::exists("s").unwrap(), "the path stays");
        }
    }
}

#[apply(isolated)]
fn meetings() {
    let folder = Folder::new();
    let whole = env::temp_dir().join("d/whole").to_str().unwrap().to_owned();
    for path in ["s", "./t", &whole, &abstract_name()] {
        let listener = listen(path);
        assert_eq!(poll(listener.as_raw_fd(), 0), 0);
        let (a, b) = meet(&listener, path);
        talk(&a, &b);
        // Several at once; each has its own peer.
        let many: Vec<_> = (0..20).map(|_| meet(&listener, path)).collect();
        for (number, (a, _)) in many.iter().enumerate() {
            assert_eq!(a.send(&[number as u8], 0), DONE);
        }
        for (number, (_, b)) in many.iter().enumerate() {
            assert_eq!(b.recv(0).unwrap(), [number as u8]);
        }
        drop(listener);
        talk(&a, &b); // without the listener
        drop(a);
        assert_eq!(b.recv(LONG), Ok(vec![]));
    }
    drop(folder);
}

#[apply(isolated)]
fn stale_paths() {
    let _folder = Folder::new();
    // Of a listener that was closed, and of one that was killed.
    drop(listen("s"));
    kill_listener("t");
    // Of another library's, and one that never listened.
    drop(UnixListener::bind("u").unwrap());
    drop(UnixDatagram::bind("v").unwrap());
    for path in ["s", "t", "u", "v"] {
        let old = fs::symlink_metadata(path).unwrap().ctime_nsec();
        assert_eq!(connect(path, 0).unwrap_err(), ECONNREFUSED, "{path}");
        let listener = listen(path);
        assert_ne!(fs::symlink_metadata(path).unwrap().ctime_nsec(), old);
        let (a, b) = meet(&listener, path);
        talk(&a, &b);
    }
    // An abstract name goes with its listener.
    let name = abstract_name();
    drop(listen(&name));
    drop(listen(&name));
}

/// Leaves a path behind.
fn kill_listener(path: &str) {
    let (wait, go) = pipe();
    let child = fork(|| {
        let _listener = listen(path);
        std::io::Write::write_all(&mut &go, b".").unwrap();
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    });
    std::io::Read::read_exact(&mut &wait, &mut [0]).unwrap();
    kill(child);
}

#[apply(isolated)]
fn living_ones() {
    let _folder = Folder::new();
    let name = abstract_name();
    let listeners = [("s", listen("s")), (&name, listen(&name))];
    for (path, listener) in &listeners {
        for _ in 0..3 {
            assert_eq!(listen_with(path, 0o600, 0).unwrap_err(), EADDRINUSE);
        }
        // The attempts have left only clients that have gone.
        drain_dead(listener);
        let (a, b) = meet(listener, path);
        talk(&a, &b);
    }
    // One of another kind, one whose queue is full, one in a child.
    let _other = UnixListener::bind("t").unwrap();
    assert_eq!(listen_with("t", 0o600, 0).unwrap_err(), EADDRINUSE);
    let (full, _waiting) = full_listener("u");
    assert_eq!(listen_with("u", 0o600, 0).unwrap_err(), EADDRINUSE);
    drop(full);
    let _datagrams = UnixDatagram::bind("v").unwrap();
    assert_eq!(listen_with("v", 0o600, 0).unwrap_err(), EADDRINUSE);
    for path in ["s", "t", "u", "v"] {
        assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
    }
}

/// Accepts the clients that have gone already.
#[track_caller]
fn drain_dead(listener: &OwnedFd) {
    loop {
        match accept(listener, 0) {
            Ok(end) => assert_eq!(end.recv(0), Ok(vec![])),
            Err(error) => return assert_eq!(error, EAGAIN),
        }
    }
}

#[apply(isolated)]
fn not_sockets() {
    let _folder = Folder::new();
    fs::write("file", "contents").unwrap();
    fs::create_dir("folder").unwrap();
    nix::unistd::mkfifo("fifo", nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(listen("stale"));
    symlink("stale", "link").unwrap();
    symlink("nowhere", "dangling").unwrap();
    for path in ["file", "folder", "fifo", "link", "dangling"] {
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

/// Several processes find the same stale path: one of them gets it, and it can be connected to.
#[apply(isolated)]
fn race_for_a_stale_path() {
    let _folder = Folder::new();
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
                            // Until the others have tried.
                            shared.wait_for(4, 1);
                            // The others have connected only to learn whether it is alive.
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
        let count = children.len() as u64;
        shared.wait_for(0, count);
        shared.set(1, 1);
        wait_until("all have tried", || shared.get(2) + shared.get(3) == count);
        assert_eq!(shared.get(2), 1, "who listens, in round {round}");
        shared.set(4, 1);
        let end = connect("s", LONG).unwrap();
        assert_eq!(end.recv(LONG).unwrap(), b"won");
        children.into_iter().for_each(Child::join);
    }
}

fn address(path: &str) -> UnixAddr {
    match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()).unwrap(),
        None => UnixAddr::new(path).unwrap(),
    }
}

/// A client that has connected, and sent nothing.
fn silent_client(path: &str) -> OwnedFd {
    let client = local_socket(SOCK_SEQPACKET);
    socket::connect(client.as_raw_fd(), &address(path)).unwrap();
    client
}

/// The end of a client that was silent until now; the server answers during a call.
#[track_caller]
fn speak(client: &impl AsRawFd, server: &End) -> End {
    let client = client.as_raw_fd();
    thread::scope(|scope| {
        let end = scope.spawn(move || from_fd(&client, LONG).unwrap());
        answer_until_finished(server, &end);
        end.join().unwrap()
    })
}

/// A listener whose queue holds one client, and that client.
fn full_listener(path: &str) -> (OwnedFd, Vec<OwnedFd>) {
    let listener = local_socket(SOCK_SEQPACKET);
    socket::bind(listener.as_raw_fd(), &address(path)).unwrap();
    socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let waiting = vec![silent_client(path)];
    (listener, waiting)
}

#[apply(isolated)]
fn full_queue() {
    let name = abstract_name();
    let (listener, waiting) = full_listener(&name);
    assert_eq!(connect(&name, 0).unwrap_err(), EAGAIN);
    let (got, ms) = timed_ms(|| connect(&name, 40));
    assert_eq!(got.unwrap_err(), ETIMEDOUT);
    assert!((40..5000).contains(&ms), "{ms} ms");
    count_signals(0);
    storm(500);
    let (got, ms) = timed_ms(|| connect(&name, 60));
    storm(0);
    assert_eq!(got.unwrap_err(), ETIMEDOUT);
    assert!((60..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| connect(&name, INTR).map(|_| 0));
    drop((listener, waiting));
    // A free place in the queue ends the wait, with and without a time limit.
    for timeout_ms in [-1, LONG, INTR] {
        let (listener, waiting) = full_listener(&name);
        let child = fork(|| {
            let end = connect(&name, timeout_ms).unwrap();
            assert_eq!(end.send(b"in", LONG), DONE);
        });
        child.wait_asleep();
        let silent = accept(&listener, 0).unwrap();
        let end = accept(&listener, LONG).unwrap();
        assert_eq!(end.recv(LONG).unwrap(), b"in");
        assert_eq!(silent.recv(0), Err(EAGAIN));
        child.join();
        drop(waiting);
    }
}

#[apply(isolated)]
fn accept_time_outs() {
    let name = abstract_name();
    let listener = listen(&name);
    assert_eq!(accept(&listener, 0).unwrap_err(), EAGAIN);
    let (got, ms) = timed_ms(|| accept(&listener, 30));
    assert_eq!(got.unwrap_err(), ETIMEDOUT);
    assert!((30..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| accept(&listener, INTR).map(|_| 0));
    // A connect waits until it is accepted.
    let (got, ms) = timed_ms(|| connect(&name, 30));
    assert_eq!(got.unwrap_err(), ETIMEDOUT);
    assert!((30..5000).contains(&ms), "{ms} ms");
    assert_eq!(connect(&name, 0).unwrap_err(), EAGAIN);
    drain_dead(&listener);
    for timeout_ms in [-1, LONG, INTR] {
        let child = fork(|| {
            let end = accept(&listener, timeout_ms).unwrap();
            assert_eq!(end.send(b"in", timeout_ms), DONE);
        });
        child.wait_asleep();
        assert_eq!(
            connect(&name, timeout_ms).unwrap().recv(LONG).unwrap(),
            b"in"
        );
        child.join();
    }
}

/// A client that sends nothing: accepted at once, and each call has its own time-out. It is sent
/// nothing either.
#[apply(isolated)]
fn silent_clients() {
    let name = abstract_name();
    let listener = listen(&name);
    for polled in [false, true] {
        let client = silent_client(&name);
        let (server, ms) = timed_ms(|| accept(&listener, -1).unwrap());
        assert!(ms < 5000);
        if polled {
            assert!(!is_readable(&server));
        }
        for _ in 0..3 {
            assert_eq!(server.recv(0), Err(EAGAIN));
            assert_eq!(server.peek(0).unwrap_err(), EAGAIN);
            assert_eq!(server.send(b"x", 0), Err(EAGAIN));
            assert_eq!(server.reserve(1, 0).unwrap_err(), EAGAIN);
            assert_eq!(server.commit(1), Err(EINVAL));
            assert_eq!(server.release(), Err(EINVAL));
            let (got, ms) = timed_ms(|| server.recv(20));
            assert_eq!(got, Err(ETIMEDOUT));
            assert!((20..5000).contains(&ms), "{ms} ms");
            assert_eq!(server.send(b"x", 20), Err(ETIMEDOUT));
        }
        assert_eq!(server.max(), (256 << 10) - 12);
        assert_eq!(server.cred().pid, process::id() as i32);
        assert_eq!(server.stats().sent_messages, 0);
        ends_with_signal(|| server.recv(INTR).map(|got| got.len()));
        if polled {
            assert!(!is_readable(&server));
        }
        assert_eq!(poll(client.as_raw_fd(), 0), 0, "it was sent something");
        // A part of a hello is not one.
        let hello = overheard();
        say(&client, &hello.bytes[..20], &hello.raw_fds());
        let fails = || {
            if polled {
                assert!(is_readable(&server));
            }
            for _ in 0..3 {
                assert_eq!(server.recv(LONG), Err(EPROTO));
                assert_eq!(server.send(b"x", LONG), Err(EPROTO));
            }
        };
        fails();
        assert_eq!(poll(client.as_raw_fd(), 0), 0, "it was sent something");
        drop(client);
        fails();
    }
}

/// A client that goes without a hello, one that goes after it, and the shutdown of the server's
/// own end while the client is silent: the descriptor shows each.
#[apply(isolated)]
fn ends_before_the_hello() {
    let name = abstract_name();
    let listener = listen(&name);
    type Call = fn(&End) -> Outcome;
    let calls: [(&str, Call, Outcome); 2] = [
        ("recv", |end| end.recv(0).map(|got| got.len()), Ok(0)),
        ("send", |end| end.send(b"x", 0), Err(EPIPE)),
    ];
    for (what, call, at_end) in calls {
        let _case = Case(what);
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        let fd = server.fd().unwrap();
        for _ in 0..3 {
            assert_eq!(call(&server), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0, "spuriously readable");
        }
        drop(client);
        assert_eq!(poll(fd, 0), POLLIN);
        for _ in 0..3 {
            assert_eq!(call(&server), at_end);
            assert_eq!(poll(fd, 0), POLLIN, "its death remains visible");
        }
    }
    // The server receives a message that the client sent before it went.
    let client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    server.fd().unwrap();
    let end = speak(&client, &server);
    assert_eq!(end.send(b"last", 0), DONE);
    drop((end, client));
    assert_eq!(server.recv(0).unwrap(), b"last");
    assert_eq!(server.recv(0), Ok(vec![]));
    // The server ends its sending, and goes on receiving.
    let _client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    let fd = server.fd().unwrap();
    assert_eq!(server.shutdown(libc::SHUT_WR), DONE);
    assert_eq!(server.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0, "spuriously readable");
    assert_eq!(server.shutdown(libc::SHUT_RD), DONE);
    assert_eq!(poll(fd, 0), POLLIN);
    for _ in 0..3 {
        assert_eq!(server.recv(0), Ok(vec![]));
        assert_eq!(poll(fd, 0), 0, "spuriously readable");
    }
}

/// A client may send its hello late, whatever the server has tried before.
#[apply(isolated)]
fn late_client() {
    let name = abstract_name();
    let listener = listen(&name);
    for polled in [false, true] {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        if polled {
            server.fd().unwrap();
        }
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert_eq!(server.send(b"too early", 0), Err(EAGAIN));
        let end = thread::scope(|scope| {
            let end = scope.spawn(|| {
                let end = from_fd(&client, LONG).unwrap();
                assert_eq!(end.send(b"first", 0), DONE);
                end
            });
            if polled {
                assert_eq!(poll(server.fd().unwrap(), LONG), POLLIN, "the hello");
            }
            assert_eq!(server.recv(LONG).unwrap(), b"first");
            end.join().unwrap()
        });
        // There is room for the message that was sent too early, and the descriptor shows it.
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert!(is_readable(&server));
        assert_eq!(server.send(b"in time", 0), DONE);
        assert_eq!(end.recv(0).unwrap(), b"in time");
        // It may show it twice.
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert!(!is_readable(&server));
        talk(&server, &end);
    }
}

/// One thread waits for a client that is still silent; another one polls, and misses nothing.
#[apply(isolated)]
fn polled_beside_a_call_that_waits() {
    let name = abstract_name();
    let listener = listen(&name);
    for round in 0..50 {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        let fd = server.fd().unwrap();
        let tid = Counters::new();
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                tid.set(0, thread_id());
                server.send(b"hello", LONG)
            });
            tid.wait_for(0, 1);
            wait_thread_asleep(tid.get(0));
            if round % 2 == 0 {
                assert_eq!(server.shutdown(libc::SHUT_RD), DONE);
                thread::sleep(std::time::Duration::from_micros(200));
                wait_thread_asleep(tid.get(0));
                assert_eq!(poll(fd, 0), POLLIN, "the end");
                assert_eq!(server.recv(0), Ok(vec![]));
            }
            let end = from_fd(&client, LONG).unwrap();
            if round % 2 == 1 {
                assert_eq!(server.recv(0), Err(EAGAIN));
                assert_eq!(end.send(b"message", 0), DONE);
                assert_eq!(sender.join().unwrap(), DONE);
                assert_eq!(poll(fd, 0), POLLIN, "round {round}");
                assert_eq!(server.recv(0).unwrap(), b"message");
            } else {
                assert_eq!(sender.join().unwrap(), DONE);
            }
            assert_eq!(end.recv(0).unwrap(), b"hello");
        });
    }
}

/// A process that was forked before the hello came keeps the socket open: after the handshake the
/// descriptor does not report that socket.
#[apply(isolated)]
fn copies_of_the_socket() {
    let name = abstract_name();
    let listener = listen(&name);
    let client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    let fd = server.fd().unwrap();
    let closed = Counters::new();
    let child = fork(|| {
        // SAFETY: inherited, and not used here.
        unsafe { libc::close(client.as_raw_fd()) };
        closed.set(0, 1);
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    });
    closed.wait_for(0, 1);
    let end = speak(&client, &server);
    drop(client);
    assert_eq!(end.send(b"first", 0), DONE);
    assert!(is_readable(&server));
    assert_eq!(server.recv(0).unwrap(), b"first");
    assert_eq!(server.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0, "spuriously readable");
    assert_eq!(end.send(b"second", 0), DONE);
    assert!(is_readable(&server));
    drop(child);
}

/// Clients that send something else: the first call reports it, and each later one.
#[apply(isolated)]
fn other_clients() {
    let name = abstract_name();
    let listener = listen(&name);
    let hello = overheard();
    let mut stale = hello.bytes;
    stale[4] = 99;
    let sayings: [(&[u8], Vec<c_int>, c_int); 4] = [
        (&stale, hello.raw_fds(), ESTALE),
        (b"GET / HTTP/1.1\r\n\r\n", vec![], EPROTO),
        (&hello.bytes, vec![], EPROTO),
        (&[0; 64], hello.raw_fds(), EPROTO),
    ];
    for (bytes, fds, expected) in &sayings {
        for polled in [false, true] {
            let client = silent_client(&name);
            let server = accept(&listener, 0).unwrap();
            if polled {
                assert!(!is_readable(&server));
            }
            say(&client, bytes, fds);
            if polled {
                assert!(is_readable(&server));
            }
            for _ in 0..3 {
                assert_eq!(server.recv(0), Err(*expected));
                assert_eq!(server.send(b"x", -1), Err(*expected));
                assert_eq!(server.peek(-1).unwrap_err(), *expected);
            }
            if polled {
                assert!(is_readable(&server), "it remains visible");
            }
            assert_eq!(poll(client.as_raw_fd(), 0), 0, "it was sent something");
        }
    }
}

#[apply(isolated)]
fn clients_that_go() {
    let name = abstract_name();
    let listener = listen(&name);
    // Before it is accepted.
    let accept_dead = || {
        let server = accept(&listener, 0).unwrap();
        assert_eq!(server.send(b"x", 0), Err(EPIPE));
        assert_eq!(server.recv(0), Ok(vec![]));
        assert_eq!(server.recv(-1), Ok(vec![]));
        assert!(is_readable(&server));
    };
    drop(silent_client(&name));
    accept_dead();
    let child = fork(|| {
        let client = silent_client(&name);
        let hello = overheard();
        say(&client, &hello.bytes, &hello.raw_fds());
        // SAFETY: no pointers.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    });
    assert_eq!(child.reap(), libc::SIGKILL);
    accept_dead();
    assert_eq!(accept(&listener, 0).unwrap_err(), EAGAIN);
    // After that, without a hello.
    for polled in [false, true] {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        if polled {
            assert!(!is_readable(&server));
        }
        drop(client);
        if polled {
            assert!(is_readable(&server));
        }
        assert_eq!(server.recv(-1), Ok(vec![]));
        assert_eq!(server.send(b"x", -1), Err(EPIPE));
        assert_eq!(server.recv(0), Ok(vec![]));
    }
    // After the handshake and a message, which the server receives.
    let client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    let end = speak(&client, &server);
    assert_eq!(end.send(b"last", 0), DONE);
    drop((client, end));
    assert_eq!(server.recv(-1).unwrap(), b"last");
    assert_eq!(server.recv(-1), Ok(vec![]));
    assert_eq!(server.send(b"x", 0), Err(EPIPE));
}

/// Each thread has its own time-out while a client is silent; asking for the descriptor does
/// not wait, and a shutdown ends the waiting.
#[apply(isolated)]
fn threads_with_a_silent_client() {
    let name = abstract_name();
    let listener = listen(&name);
    for how in [libc::SHUT_RD, libc::SHUT_RDWR] {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        let tid = Counters::new();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                tid.set(0, thread_id());
                server.recv(LONG)
            });
            tid.wait_for(0, 1);
            wait_thread_asleep(tid.get(0));
            let (got, ms) = timed_ms(|| (server.send(b"x", 0), server.send(b"x", 20), server.fd()));
            assert_eq!((got.0, got.1), (Err(EAGAIN), Err(ETIMEDOUT)));
            assert!(ms < 5000, "{ms} ms");
            assert!(!receiver.is_finished());
            assert_eq!(server.shutdown(how), DONE);
            let (got, ms) = timed_ms(|| receiver.join().unwrap());
            assert_eq!(got, Ok(vec![]));
            assert!(ms < 5000, "{ms} ms");
        });
        drop(client);
    }
    // Both wait, and then the hello comes.
    for _ in 0..50 {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| server.recv(LONG));
            let sender = scope.spawn(|| server.send(b"to", LONG));
            let end = from_fd(&client, LONG).unwrap();
            assert_eq!(end.send(b"from", LONG), DONE);
            assert_eq!(end.recv(LONG).unwrap(), b"to");
            assert_eq!(sender.join().unwrap(), DONE);
            assert_eq!(receiver.join().unwrap().unwrap(), b"from");
        });
    }
}

/// The peer's credentials name its process.
#[apply(isolated)]
fn who_it_is() {
    let name = abstract_name();
    let listener = listen(&name);
    let me = process::id() as i32;
    let (wait, go) = pipe();
    let child = fork(|| {
        let end = connect(&name, LONG).unwrap();
        assert_eq!(end.cred().pid, me);
        std::io::Read::read_exact(&mut &wait, &mut [0]).unwrap();
    });
    let end = accept(&listener, LONG).unwrap();
    assert_eq!(end.cred().pid, child.0, "before the handshake");
    assert_eq!(end.recv(10), Err(ETIMEDOUT));
    assert_eq!(end.cred().pid, child.0);
    std::io::Write::write_all(&mut &go, b".").unwrap();
    child.join();
    // Those of a socket pair name the process that made it.
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (one, two) = sockets(kind);
        let child = fork(|| {
            let end = from_fd(&two, LONG).unwrap();
            assert_eq!(end.cred().pid, me);
            assert_eq!(end.recv(LONG), Ok(vec![]));
        });
        let end = from_fd(&one, LONG).unwrap();
        assert_eq!(end.cred().pid, me);
        drop(end);
        child.join();
    }
}

/// A listener that another library made: a stream, and blocking.
#[apply(isolated)]
fn other_listeners() {
    let path = env::temp_dir().join("s");
    let listener: OwnedFd = UnixListener::bind(&path).unwrap().into();
    assert_eq!(
        connect(path.to_str().unwrap(), 0).unwrap_err(),
        ECONNREFUSED
    );
    assert_eq!(
        accept(&listener, 0).unwrap_err(),
        EAGAIN,
        "it does not block"
    );
    assert_eq!(accept(&listener, 20).unwrap_err(), ETIMEDOUT);
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let server = accept(&listener, LONG).unwrap();
    let end = speak(&client, &server);
    talk(&server, &end);
    fs::remove_file(path).unwrap();
}

/// Several processes take from one listener: each client is served once.
#[apply(isolated)]
fn several_acceptors() {
    let name = abstract_name();
    let listener = listen(&name);
    let servers: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                loop {
                    let end = accept(&listener, LONG).unwrap();
                    let message = end.recv(LONG).unwrap();
                    assert_eq!(end.send(&message, LONG), DONE);
                    if message == b"stop" {
                        return;
                    }
                }
            })
        })
        .collect();
    for number in 0..100u32 {
        let end = connect(&name, LONG).unwrap();
        assert_eq!(end.send(&number.to_le_bytes(), LONG), DONE);
        assert_eq!(end.recv(LONG).unwrap(), number.to_le_bytes());
    }
    for _ in &servers {
        let end = connect(&name, LONG).unwrap();
        assert_eq!(end.send(b"stop", LONG), DONE);
        assert_eq!(end.recv(LONG).unwrap(), b"stop");
    }
    servers.into_iter().for_each(Child::join);
}

/// The permissions of another user.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _folder = Folder::new();
    for path in [".", env::temp_dir().to_str().unwrap()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let closed = listen_with("closed", 0o600, 0).unwrap();
    let open = listen_with("open", 0o666, 0).unwrap();
    drop(listen_with("stale", 0o666, 0).unwrap());
    fs::create_dir("theirs").unwrap();
    fs::set_permissions("theirs", fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir("unreadable").unwrap();
    fs::set_permissions("unreadable", fs::Permissions::from_mode(0o333)).unwrap();
    fs::create_dir("unsearchable").unwrap();
    fs::set_permissions("unsearchable", fs::Permissions::from_mode(0o666)).unwrap();
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
        for path in ["theirs/s", "unreadable/s"] {
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
