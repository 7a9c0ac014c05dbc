//! ipc_channel_accept and ipc_channel_connect: connections, time-outs and credentials.

use crate::peer::*;
use crate::support::*;
use libc::{EAGAIN, ECONNREFUSED, ETIMEDOUT};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::{env, fs, process};

#[apply(isolated)]
fn connections() {
    let _directory = WorkingDirectory::new();
    let absolute = env::temp_dir()
        .join("d/absolute")
        .to_str()
        .unwrap()
        .to_owned();
    for path in ["s", "./t", &absolute, &abstract_name()] {
        let listener = listen(path);
        assert_eq!(poll(listener.as_raw_fd(), 0), 0);
        let (a, b) = connected_pair(&listener, path);
        exchange(&a, &b);
        // Several connections at once.
        let pairs: Vec<_> = (0..20).map(|_| connected_pair(&listener, path)).collect();
        for (number, (a, _)) in pairs.iter().enumerate() {
            assert_eq!(a.send(&[number as u8], 0), DONE);
        }
        for (number, (_, b)) in pairs.iter().enumerate() {
            assert_eq!(b.recv(0).unwrap(), [number as u8]);
        }
        drop(listener);
        exchange(&a, &b); // the listener is closed
        drop(a);
        assert_eq!(b.recv(LONG), Ok(vec![]));
    }
}

#[apply(isolated)]
fn full_queue() {
    let name = abstract_name();
    let (listener, queued) = full_listener(&name);
    assert_eq!(connect(&name, 0).unwrap_err(), EAGAIN);
    let (connected, ms) = timed_ms(|| connect(&name, 40));
    assert_eq!(connected.unwrap_err(), ETIMEDOUT);
    assert!((40..5000).contains(&ms), "{ms} ms");
    count_signals(0);
    storm(500);
    let (connected, ms) = timed_ms(|| connect(&name, 60));
    storm(0);
    assert_eq!(connected.unwrap_err(), ETIMEDOUT);
    assert!((60..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| connect(&name, INTR).map(|_| 0));
    drop((listener, queued));
    // A free slot in the queue ends the wait, with and without a time limit.
    for timeout_ms in [-1, LONG, INTR] {
        let (listener, queued) = full_listener(&name);
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
        drop(queued);
    }
}

#[apply(isolated)]
fn accept_time_outs() {
    let name = abstract_name();
    let listener = listen(&name);
    assert_eq!(accept(&listener, 0).unwrap_err(), EAGAIN);
    let (accepted, ms) = timed_ms(|| accept(&listener, 30));
    assert_eq!(accepted.unwrap_err(), ETIMEDOUT);
    assert!((30..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| accept(&listener, INTR).map(|_| 0));
    // ipc_channel_connect waits until the client is accepted.
    let (connected, ms) = timed_ms(|| connect(&name, 30));
    assert_eq!(connected.unwrap_err(), ETIMEDOUT);
    assert!((30..5000).contains(&ms), "{ms} ms");
    assert_eq!(connect(&name, 0).unwrap_err(), EAGAIN);
    drain_closed_clients(&listener);
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

/// ipc_channel_peer_cred names the peer's process.
#[apply(isolated)]
fn credentials() {
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
    // The credentials of a socket pair name the process that made it.
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
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

/// A blocking stream listener that was made without the library.
#[apply(isolated)]
fn foreign_listener() {
    let path = env::temp_dir().join("s");
    let listener: OwnedFd = UnixListener::bind(&path).unwrap().into();
    assert_eq!(
        connect(path.to_str().unwrap(), 0).unwrap_err(),
        ECONNREFUSED
    );
    assert_eq!(
        accept(&listener, 0).unwrap_err(),
        EAGAIN,
        "the call must not block"
    );
    assert_eq!(accept(&listener, 20).unwrap_err(), ETIMEDOUT);
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let server = accept(&listener, LONG).unwrap();
    let end = finish_handshake(&client, &server);
    exchange(&server, &end);
    fs::remove_file(path).unwrap();
}

/// Several processes accept from one listener. Each client is served once.
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
