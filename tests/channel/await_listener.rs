//! IPC_CHANNEL_F_WAIT: a client waits for a listener that starts later.

use crate::peer::*;
use crate::support::*;
use common::filter::refuse;
use common::stopped_call::StoppedCalls;
use common::strace::{MARKER, marker, name, trace};
use common::user::become_nobody;
use libc::{ECONNREFUSED, EMFILE, ENOENT, ENOSPC, ENOSYS, EPERM, SOCK_SEQPACKET, c_int};
use nix::sys::socket::{self, Backlog};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, process, thread};
use unixipc::ffi::channel::*;

/// Options of a client that waits for a listener.
pub const WAIT: ipc_channel_opts = ipc_channel_opts {
    flags: IPC_CHANNEL_F_WAIT,
    ..DEFAULTS
};

/// Starts a client that waits for a listener at `path`, and receives a message. Returns when it
/// sleeps.
#[track_caller]
fn waiting_client(path: &str, timeout_ms: c_int) -> Child {
    waiting_client_after(path, timeout_ms, || ())
}

/// As [`waiting_client`]. The client calls `prepare` first.
#[track_caller]
fn waiting_client_after(path: &str, timeout_ms: c_int, prepare: impl FnOnce()) -> Child {
    let child = fork(|| {
        prepare();
        let before = descriptors();
        let end = connect_with(path, &WAIT, timeout_ms).unwrap();
        assert_eq!(descriptors(), before + 2, "those of an end");
        assert_eq!(end.recv(LONG).unwrap(), b"hello");
    });
    child.wait_asleep();
    child
}

/// Serves a client, which ends then. Returns how long that took.
#[track_caller]
fn serve(listener: &OwnedFd, client: Child) -> Duration {
    let start = Instant::now();
    let end = accept(listener, LONG).unwrap();
    assert_eq!(end.send(b"hello", LONG), DONE);
    client.join();
    start.elapsed()
}

/// Waits three times. At least one client must be served long before it tries again without a
/// reason; a busy machine can delay the others.
#[track_caller]
fn soon(wait: impl FnMut() -> Duration) {
    let took: Vec<Duration> = std::iter::repeat_with(wait).take(3).collect();
    let limit = Duration::from_millis(300);
    assert!(took.iter().any(|took| *took < limit), "{took:?}");
}

#[apply(isolated)]
fn listener_starts_later() {
    let _directory = WorkingDirectory::new();
    let absolute = std::env::current_dir().unwrap().join("absolute");
    let absolute = absolute.to_str().unwrap();
    for path in ["s", "./t", absolute, &abstract_name()] {
        let mut timeouts = [-1, LONG, INTR].into_iter();
        soon(|| {
            let client = waiting_client(path, timeouts.next().unwrap());
            let took = serve(&listen(path), client);
            let _ = fs::remove_file(path);
            took
        });
    }
}

/// A path that another path is renamed to, as some servers do when they are ready.
#[apply(isolated)]
fn renamed() {
    let _directory = WorkingDirectory::new();
    let client = waiting_client("s", -1);
    let listener = raw_listener("temporary");
    fs::rename("temporary", "s").unwrap();
    serve(&listener, client);
}

/// The socket file of a listener that has ended, or of a socket that does not listen yet.
#[apply(isolated)]
fn refused_at_first() {
    let _directory = WorkingDirectory::new();
    drop(listen("s"));
    assert_eq!(connect("s", 0).unwrap_err(), ECONNREFUSED);
    let client = waiting_client("s", -1);
    serve(&listen("s"), client);
    soon(|| {
        let bound = local_socket(SOCK_SEQPACKET);
        socket::bind(bound.as_raw_fd(), &address("t")).unwrap();
        let client = waiting_client("t", -1);
        // listen(2) does not change the directory.
        socket::listen(&bound, Backlog::new(1).unwrap()).unwrap();
        let took = serve(&bound, client);
        fs::remove_file("t").unwrap();
        took
    });
    fs::write("file", "").unwrap();
    let client = waiting_client("file", -1);
    fs::remove_file("file").unwrap();
    serve(&listen("file"), client);
}

/// The listener ends while the client waits for the end of the handshake.
#[apply(isolated)]
fn listener_ends_during_the_handshake() {
    let _directory = WorkingDirectory::new();
    for (path, accepts) in [("s", false), ("s", true), (&abstract_name(), true)] {
        let client = waiting_client(path, -1);
        let listener = raw_listener(path);
        assert_ne!(poll(listener.as_raw_fd(), LONG), 0, "connected");
        if accepts {
            let accepted = socket::accept(listener.as_raw_fd()).unwrap();
            drop(own(accepted));
        }
        drop(listener);
        let _ = fs::remove_file(path);
        client.wait_asleep();
        serve(&listen(path), client);
        let _ = fs::remove_file(path);
    }
}

#[apply(isolated)]
fn directory_appears_later() {
    let _directory = WorkingDirectory::new();
    let client = waiting_client("a/b/s", -1);
    fs::create_dir("a").unwrap();
    client.wait_asleep();
    fs::create_dir("a/b").unwrap();
    serve(&listen("a/b/s"), client);
    // The directory is removed and made again, and then another one takes its place.
    let mut old = ["c", "d", "e"].into_iter();
    for is_removed in [true, false] {
        soon(|| {
            fs::remove_file("a/b/s").unwrap();
            let client = waiting_client("a/b/s", -1);
            match is_removed {
                true => fs::remove_dir("a/b").unwrap(),
                false => fs::rename("a/b", old.next().unwrap()).unwrap(),
            }
            client.wait_asleep();
            fs::create_dir("a/b").unwrap();
            serve(&listen("a/b/s"), client)
        });
    }
}

/// The listener starts after the first attempt, before the directory is watched.
#[apply(isolated)]
fn listener_starts_before_the_watch() {
    let _directory = WorkingDirectory::new();
    soon(|| {
        let (sender, receiver) = mpsc::channel();
        let client = thread::spawn(move || {
            let calls = StoppedCalls::of_this_thread(libc::SYS_inotify_add_watch);
            sender.send(calls).unwrap();
            let end = connect_with("s", &WAIT, -1).unwrap();
            assert_eq!(end.recv(LONG).unwrap(), b"hello");
        });
        let calls = receiver.recv().unwrap();
        let call = calls.next(LONG).expect("a watch");
        let listener = listen("s");
        let start = Instant::now();
        calls.resume(call);
        drop(calls);
        let end = accept(&listener, LONG).unwrap();
        assert_eq!(end.send(b"hello", LONG), DONE);
        client.join().unwrap();
        fs::remove_file("s").unwrap();
        start.elapsed()
    });
}

/// The listener creates its path in another directory than that of the client's path.
#[apply(isolated)]
fn symbolic_link() {
    let _directory = WorkingDirectory::new();
    fs::create_dir("elsewhere").unwrap();
    symlink("elsewhere/s", "link").unwrap();
    let client = waiting_client("link", -1);
    serve(&listen("elsewhere/s"), client);
}

#[apply(isolated)]
fn many_clients() {
    let _directory = WorkingDirectory::new();
    for path in ["s", &abstract_name()] {
        let clients: Vec<Child> = (0..20).map(|_| waiting_client(path, LONG)).collect();
        let threads = 20;
        let waiting_threads = fork(|| {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let end = connect_with(path, &WAIT, LONG).unwrap();
                        assert_eq!(end.recv(LONG).unwrap(), b"hello");
                    });
                }
            });
        });
        let listener = listen(path);
        let mut ends = Vec::new();
        for _ in 0..clients.len() + threads {
            let end = accept(&listener, LONG).unwrap();
            assert_eq!(end.send(b"hello", LONG), DONE);
            ends.push(end);
        }
        waiting_threads.join();
        clients.into_iter().for_each(Child::join);
        assert_eq!(accept(&listener, 0).unwrap_err(), libc::EAGAIN);
    }
}

/// A server is killed again and again, at any point, while clients connect. A client connects
/// again when its connection ends, and never sees that no process listens.
#[apply(isolated)]
fn restarts() {
    let _directory = WorkingDirectory::new();
    let served = Counters::new();
    let exchanges = 30;
    let clients: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                let mut done = 0;
                while done < exchanges {
                    let end = connect_with("s", &WAIT, LONG).unwrap();
                    if end.send(b"request", LONG) == DONE && end.recv(LONG) == Ok(b"reply".into()) {
                        done += 1;
                    }
                }
            })
        })
        .collect();
    let mut random = Random(15);
    let mut restarts = 0;
    while !clients.iter().all(Child::has_ended) {
        let server = fork(|| {
            let listener = listen("s");
            loop {
                let end = accept(&listener, -1).unwrap();
                if end.recv(LONG) == Ok(b"request".into()) {
                    let _ = end.send(b"reply", LONG);
                    served.add(0);
                }
            }
        });
        // Some requests are served, or it is killed while it starts.
        let enough = served.get(0) + random.below(4);
        wait_until("some requests", || {
            served.get(0) >= enough || clients.iter().all(Child::has_ended)
        });
        kill(server);
        restarts += 1;
    }
    println!("{restarts} restarts, {} requests", served.get(0));
    assert!(restarts > 10);
    clients.into_iter().for_each(Child::join);
}

/// A client of another user finds the path before the listener has given it its mode.
#[apply(isolated)]
#[needs(needs::root)]
fn mode_is_set_later() {
    let _directory = WorkingDirectory::new();
    crate::listen_lock::share_directory(0o755);
    set_umask(0o077);
    let rounds = scaled(50);
    let client = fork(|| {
        become_nobody().unwrap();
        for _ in 0..rounds {
            let end = connect_with("s", &WAIT, LONG).unwrap();
            assert_eq!(end.recv(LONG).unwrap(), b"hello");
            // The server has removed the path.
            assert_eq!(end.recv(LONG).unwrap(), b"");
        }
    });
    for _ in 0..rounds {
        client.wait_asleep();
        let listener = listen_with("s", 0o666, 0).unwrap();
        let end = accept(&listener, LONG).unwrap();
        assert_eq!(end.send(b"hello", LONG), DONE);
        fs::remove_file("s").unwrap();
    }
    client.join();
}

/// Without inotify the client tries again after pauses.
#[apply(isolated)]
fn without_inotify() {
    let _directory = WorkingDirectory::new();
    for (call, error) in [
        (libc::SYS_inotify_init1, ENOSYS),
        (libc::SYS_inotify_init1, EPERM),
        (libc::SYS_inotify_init1, EMFILE),
        (libc::SYS_inotify_add_watch, EPERM),
        (libc::SYS_inotify_add_watch, ENOSPC),
    ] {
        let client = waiting_client_after("s", -1, || refuse(call, error));
        serve(&listen("s"), client);
        fs::remove_file("s").unwrap();
    }
}

/// A directory that the client may search, but not read, cannot be watched.
#[apply(isolated)]
#[needs(needs::root)]
fn unreadable_directory() {
    let _directory = WorkingDirectory::new();
    crate::listen_lock::share_directory(0o711);
    let client = waiting_client_after("s", -1, || become_nobody().unwrap());
    let listener = listen_with("s", 0o666, 0).unwrap();
    serve(&listener, client);
}

/// The system calls of a process between its markers.
fn calls_between_markers(trace: &str, pid: u64) -> Vec<&str> {
    let pid = pid.to_string();
    let own = trace.lines().filter(|line| line.starts_with(&pid));
    let calls: Vec<&str> = own.filter_map(name).collect();
    let mut parts = calls.split(|call| MARKER.starts_with(call));
    parts.nth(1).expect("two markers").to_vec()
}

/// The system calls with which a client connects to a path. The listener starts after a `delay`.
fn connecting_calls(opts: &ipc_channel_opts, delay_ms: u64) -> Vec<String> {
    let counters = Counters::new();
    let trace = trace(|| {
        counters.set(0, process::id().into());
        let client = process::id() as i32;
        let server = fork(|| {
            if delay_ms > 0 {
                wait_asleep(client);
                thread::sleep(Duration::from_millis(delay_ms));
            }
            let listener = listen("s");
            counters.set(1, 1);
            let end = accept(&listener, LONG).unwrap();
            assert_eq!(end.recv(LONG).unwrap(), b"");
            fs::remove_file("s").unwrap();
        });
        if delay_ms == 0 {
            counters.wait_for(1, 1);
        }
        marker();
        let end = connect_with("s", opts, LONG).unwrap();
        marker();
        drop(end);
        server.join();
    });
    calls_between_markers(&trace, counters.get(0))
        .into_iter()
        .map(String::from)
        .collect()
}

#[apply(isolated)]
#[needs(needs::strace)]
fn system_calls() {
    let _directory = WorkingDirectory::new();
    // The flag costs nothing if a process listens. Whether the answer is there at the first look
    // depends on the scheduler.
    let without_wait_for_answer = |opts| {
        let mut calls = connecting_calls(opts, 0);
        calls.retain(|call| !["recvmsg", "ppoll", "getpid"].contains(&call.as_str()));
        calls
    };
    assert_eq!(
        without_wait_for_answer(&WAIT),
        without_wait_for_answer(&DEFAULTS)
    );
    // The number does not depend on the length of the wait.
    let plain = connecting_calls(&DEFAULTS, 0).len();
    for delay_ms in [1, 300] {
        let waiting = connecting_calls(&WAIT, delay_ms);
        println!("{plain} system calls, {} after a wait", waiting.len());
        assert!(waiting.len() < plain + 40, "{waiting:?}");
    }
}

/// A wait that nothing ends causes few wake-ups.
#[apply(isolated)]
fn no_busy_waiting() {
    let _directory = WorkingDirectory::new();
    drop(listen("dead"));
    for (path, error, most) in [
        ("none", ENOENT, 5),
        ("dead", ECONNREFUSED, 15),
        ("no/directory", ENOENT, 20),
        (abstract_name().as_str(), ECONNREFUSED, 20),
    ] {
        assert_eq!(connect(path, 0).unwrap_err(), error);
        let before = voluntary_switches();
        let connected = connect_with(path, &WAIT, 600);
        let switches = voluntary_switches() - before;
        assert_eq!(connected.unwrap_err(), libc::ETIMEDOUT);
        println!("{path}: {switches} sleeps in 600 ms");
        assert!(switches <= most, "{path}: {switches} sleeps");
    }
}

/// Changes in the directory that do not concern the client wake it once each.
#[apply(isolated)]
fn other_changes() {
    let _directory = WorkingDirectory::new();
    let client = fork_reporter(|| {
        let before = voluntary_switches();
        let connected = connect_with("none", &WAIT, 1000);
        assert_eq!(connected.unwrap_err(), libc::ETIMEDOUT);
        Ok(voluntary_switches() - before)
    });
    client.wait_asleep();
    for name in ["a", "b"] {
        fs::write(name, "").unwrap();
    }
    let switches = client.outcome().unwrap();
    println!("{switches} sleeps");
    assert!(switches <= 8, "{switches} sleeps");
}
