//! IPC_CHANNEL_F_WAIT: time-outs, errors that end the wait, and hostile processes.

use crate::await_listener::WAIT;
use crate::peer::*;
use crate::support::*;
use common::user::as_nobody;
use libc::{
    EACCES, ECONNREFUSED, EINVAL, ELOOP, EMFILE, ENAMETOOLONG, ENOENT, ENOTDIR, EPIPE, EPROTO,
    ETIMEDOUT, c_int,
};
use nix::sys::socket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{fs, thread};
use unixipc::ffi::channel::ipc_channel_opts;

#[track_caller]
fn connect_waiting(path: &str, timeout_ms: c_int) -> Result<End, c_int> {
    connect_with(path, &WAIT, timeout_ms)
}

/// Paths at which no process listens, with the error of an attempt to connect.
fn unused_paths() -> [(String, c_int); 4] {
    drop(listen("dead"));
    [
        ("none".into(), ENOENT),
        ("no/directory".into(), ENOENT),
        ("dead".into(), ECONNREFUSED),
        (abstract_name(), ECONNREFUSED),
    ]
}

#[apply(isolated)]
fn time_outs() {
    let _directory = WorkingDirectory::new();
    count_signals(0);
    for (path, error) in unused_paths() {
        let _case = Case(path.clone());
        let (connected, ms) = timed_ms(|| connect_waiting(&path, 0));
        assert_eq!(connected.unwrap_err(), error, "one attempt");
        assert!(ms < 5000, "{ms} ms");
        for timeout_ms in [1, 60] {
            let (connected, ms) = timed_ms(|| connect_waiting(&path, timeout_ms));
            assert_eq!(connected.unwrap_err(), ETIMEDOUT);
            assert!((timeout_ms as u128..5000).contains(&ms), "{ms} ms");
        }
        let before = handled();
        storm(500);
        let (connected, ms) = timed_ms(|| connect_waiting(&path, 60));
        storm(0);
        assert_eq!(connected.unwrap_err(), ETIMEDOUT);
        assert!((60..5000).contains(&ms), "{ms} ms");
        assert!(handled() > before, "no signals");
        ends_with_signal(|| connect_waiting(&path, INTR).map(|_| 0));
        assert_eq!(connect_waiting(&path, -3).unwrap_err(), EINVAL);
    }
}

/// A listener that does not accept, and one that sends no answer.
#[apply(isolated)]
fn silent_listeners() {
    let name = abstract_name();
    let (listener, queued) = full_listener(&name);
    let expire = || {
        let (connected, ms) = timed_ms(|| connect_waiting(&name, 40));
        assert_eq!(connected.unwrap_err(), ETIMEDOUT);
        assert!((40..5000).contains(&ms), "{ms} ms");
    };
    expire();
    // The client connects now, and sends its hello.
    let accepted = own(socket::accept(listener.as_raw_fd()).unwrap());
    expire();
    drop((listener, queued, accepted));
}

/// Errors that waiting cannot change.
#[apply(isolated)]
fn other_errors_end_the_wait() {
    let _directory = WorkingDirectory::new();
    fs::write("file", "").unwrap();
    symlink("loop", "loop").unwrap();
    let _stream = UnixListener::bind("stream").unwrap();
    let long = "x".repeat(108);
    let long_component = format!("{}/s", "x".repeat(256));
    for (path, error) in [
        ("", ENOENT),
        ("@", EINVAL),
        ("file/s", ENOTDIR),
        ("loop/s", ELOOP),
        (&*long, ENAMETOOLONG),
        (&*long_component, ENAMETOOLONG),
        ("stream", ECONNREFUSED),
    ] {
        assert_eq!(connect_waiting(path, -1).unwrap_err(), error, "{path}");
    }
    let recv_size = 1;
    let opts = ipc_channel_opts { recv_size, ..WAIT };
    assert_eq!(connect_with("none", &opts, -1).unwrap_err(), EINVAL);
    // An error that ends a wait that has begun.
    let client = fork_reporter(|| connect_waiting("d/s", -1).map(|_| 0));
    client.wait_asleep();
    fs::write("d", "").unwrap();
    assert_eq!(client.outcome(), Err(ENOTDIR));
    // A listener that does not use the protocol.
    let client = fork_reporter(|| connect_waiting("other", -1).map(|_| 0));
    client.wait_asleep();
    let listener = raw_listener("other");
    assert_ne!(poll(listener.as_raw_fd(), LONG), 0);
    let accepted = own(socket::accept(listener.as_raw_fd()).unwrap());
    nix::unistd::write(&accepted, &[7; 64]).unwrap();
    assert_eq!(client.outcome(), Err(EPROTO));
}

/// Without permission the wait ends soon, but not at once: the mode of the path may follow.
#[apply(isolated)]
#[needs(needs::root)]
fn no_permission() {
    let _directory = WorkingDirectory::new();
    crate::listen_lock::share_directory(0o755);
    let _closed = listen_with("closed", 0o600, 0).unwrap();
    fs::create_dir("unsearchable").unwrap();
    set_mode("unsearchable", 0o666);
    as_nobody(|| {
        for path in ["closed", "unsearchable/s"] {
            for timeout_ms in [-1, LONG, 1, 0] {
                let (connected, ms) = timed_ms(|| connect_waiting(path, timeout_ms));
                assert_eq!(connected.unwrap_err(), EACCES, "{path}, {timeout_ms}");
                assert!(ms < 5000, "{ms} ms");
            }
        }
    });
}

#[apply(isolated)]
fn few_descriptors() {
    let _directory = WorkingDirectory::new();
    for available in 0..10 {
        let before = open_numbers();
        let connected = with_room_for(available, || connect_waiting("none", 20));
        let expected = if available < 5 { EMFILE } else { ETIMEDOUT };
        assert_eq!(connected.unwrap_err(), expected, "{available} available");
        assert_eq!(open_numbers(), before, "{available} available");
    }
}

/// A listener that closes each connection. Returns the number of connections until a client gives
/// up after a second.
fn refuse_until_time_out(path: &str) -> u64 {
    let listener = raw_listener(path);
    let client = fork_reporter(|| connect_waiting(path, 1000).map(|_| 0));
    let mut connections = 0;
    while !client.has_ended() {
        if poll(listener.as_raw_fd(), 5) != 0 {
            drop(own(socket::accept(listener.as_raw_fd()).unwrap()));
            connections += 1;
        }
    }
    let outcome = client.outcome();
    assert!(outcome == Err(ETIMEDOUT) || outcome == Err(EPIPE));
    connections
}

/// A listener that closes each connection causes few attempts, and so does a process that changes
/// the directory all the time.
#[apply(isolated)]
fn hostile_processes() {
    let _directory = WorkingDirectory::new();
    for path in ["s", &abstract_name()] {
        let connections = refuse_until_time_out(path);
        println!("{path}: {connections} attempts in a second");
        assert!((1..=100).contains(&connections), "{connections} attempts");
    }
    fs::remove_file("s").unwrap();
    let flood = fork(|| {
        loop {
            fs::write("file", "").unwrap();
            fs::remove_file("file").unwrap();
        }
    });
    let connections = refuse_until_time_out("s");
    println!("{connections} attempts in a second, in a directory that changes");
    assert!((1..=100).contains(&connections), "{connections} attempts");
    kill(flood);
    let _ = fs::remove_file("file");
    // Another directory takes the place of the watched one again and again.
    for directory in ["a", "b"] {
        fs::create_dir(directory).unwrap();
    }
    let stop = AtomicBool::new(false);
    let switches = thread::scope(|scope| {
        scope.spawn(|| {
            let mut from = "a";
            while !stop.load(SeqCst) {
                symlink(from, "new").unwrap();
                fs::rename("new", "d").unwrap();
                from = if from == "a" { "b" } else { "a" };
            }
        });
        let before = voluntary_switches();
        let connected = connect_waiting("d/s", 1000);
        stop.store(true, SeqCst);
        assert_eq!(connected.unwrap_err(), ETIMEDOUT);
        voluntary_switches() - before
    });
    println!("{switches} sleeps in a second, in directories that are replaced");
    assert!(switches <= 40, "{switches} sleeps");
}
