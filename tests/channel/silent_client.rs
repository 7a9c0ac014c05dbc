//! Accepted channels whose client has not sent its hello.

use crate::handshake::{captured_hello, send_with_fds};
use crate::peer::*;
use crate::support::*;
use libc::{EAGAIN, EINVAL, EPIPE, EPROTO, ESTALE, ETIMEDOUT, POLLIN, c_int};
use std::os::fd::AsRawFd;
use std::{process, thread};

/// A client that sends nothing is accepted at once, and each call obeys its own time-out. The
/// server sends nothing to the client.
#[apply(isolated)]
fn calls_time_out() {
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
            let (received, ms) = timed_ms(|| server.recv(20));
            assert_eq!(received, Err(ETIMEDOUT));
            assert!((20..5000).contains(&ms), "{ms} ms");
            assert_eq!(server.send(b"x", 20), Err(ETIMEDOUT));
        }
        assert_eq!(server.max(), (256 << 10) - 68);
        assert_eq!(server.cred().pid, process::id() as i32);
        assert_eq!(server.stats().sent_messages, 0);
        ends_with_signal(|| server.recv(INTR).map(|message| message.len()));
        if polled {
            assert!(!is_readable(&server));
        }
        assert_eq!(
            poll(client.as_raw_fd(), 0),
            0,
            "the server has sent something"
        );
        // A partial hello is invalid.
        let hello = captured_hello();
        send_with_fds(&client, &hello.bytes[..20], &hello.raw_fds());
        let assert_fails = || {
            if polled {
                assert!(is_readable(&server));
            }
            for _ in 0..3 {
                assert_eq!(server.recv(LONG), Err(EPROTO));
                assert_eq!(server.send(b"x", LONG), Err(EPROTO));
            }
        };
        assert_fails();
        assert_eq!(
            poll(client.as_raw_fd(), 0),
            0,
            "the server has sent something"
        );
        drop(client);
        assert_fails();
    }
}

/// The descriptor reports a client that closes before its hello, one that closes after it, and a
/// shutdown of the server's own end before the hello.
#[apply(isolated)]
fn ends_before_the_hello() {
    let name = abstract_name();
    let listener = listen(&name);
    type Call = fn(&End) -> Outcome;
    let calls: [(&str, Call, Outcome); 2] = [
        (
            "recv",
            |end| end.recv(0).map(|message| message.len()),
            Ok(0),
        ),
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
            assert_eq!(poll(fd, 0), POLLIN, "the descriptor must stay readable");
        }
    }
    // The server receives a message that the client sent before it closed.
    let client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    server.fd().unwrap();
    let end = finish_handshake(&client, &server);
    assert_eq!(end.send(b"last", 0), DONE);
    drop((end, client));
    assert_eq!(server.recv(0).unwrap(), b"last");
    assert_eq!(server.recv(0), Ok(vec![]));
    // The server ends its sending, and still receives.
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

/// A client can send its hello after the server has already called recv and send.
#[apply(isolated)]
fn late_hello() {
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
        // The early send was refused; the descriptor reports that there is room now.
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert!(is_readable(&server));
        assert_eq!(server.send(b"in time", 0), DONE);
        assert_eq!(end.recv(0).unwrap(), b"in time");
        // The descriptor may report it twice.
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert_eq!(server.recv(0), Err(EAGAIN));
        assert!(!is_readable(&server));
        exchange(&server, &end);
    }
}

/// One thread waits for the hello of a silent client. Another thread polls, and misses no event.
#[apply(isolated)]
fn poll_beside_a_blocking_call() {
    let name = abstract_name();
    let listener = listen(&name);
    for round in 0..50 {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        let fd = server.fd().unwrap();
        thread::scope(|scope| {
            let (sender, tid) = spawn_sleeper(scope, || server.send(b"hello", LONG));
            if round % 2 == 0 {
                assert_eq!(server.shutdown(libc::SHUT_RD), DONE);
                thread::sleep(std::time::Duration::from_micros(200));
                wait_thread_asleep(tid);
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

/// A child that was forked before the hello keeps the socket open. After the handshake the
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
        // SAFETY: a copy that this process has inherited; it does not drop the owner.
        unsafe { libc::close(client.as_raw_fd()) };
        closed.set(0, 1);
        sleep_forever()
    });
    closed.wait_for(0, 1);
    let end = finish_handshake(&client, &server);
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

/// Each call reports that the client has sent an invalid hello.
#[apply(isolated)]
fn invalid_hellos() {
    let name = abstract_name();
    let listener = listen(&name);
    let hello = captured_hello();
    let mut stale = hello.bytes;
    stale[4] = 99;
    let cases: [(&[u8], Vec<c_int>, c_int); 4] = [
        (&stale, hello.raw_fds(), ESTALE),
        (b"GET / HTTP/1.1\r\n\r\n", vec![], EPROTO),
        (&hello.bytes, vec![], EPROTO),
        (&[0; 64], hello.raw_fds(), EPROTO),
    ];
    for (bytes, fds, expected) in &cases {
        for polled in [false, true] {
            let client = silent_client(&name);
            let server = accept(&listener, 0).unwrap();
            if polled {
                assert!(!is_readable(&server));
            }
            send_with_fds(&client, bytes, fds);
            if polled {
                assert!(is_readable(&server));
            }
            for _ in 0..3 {
                assert_eq!(server.recv(0), Err(*expected));
                assert_eq!(server.send(b"x", -1), Err(*expected));
                assert_eq!(server.peek(-1).unwrap_err(), *expected);
            }
            if polled {
                assert!(is_readable(&server), "the descriptor must stay readable");
            }
            assert_refused(&client, *expected);
        }
    }
}

#[apply(isolated)]
fn clients_that_close() {
    let name = abstract_name();
    let listener = listen(&name);
    // The client closes or dies before it is accepted.
    let accept_closed = || {
        let server = accept(&listener, 0).unwrap();
        assert_eq!(server.send(b"x", 0), Err(EPIPE));
        assert_eq!(server.recv(0), Ok(vec![]));
        assert_eq!(server.recv(-1), Ok(vec![]));
        assert!(is_readable(&server));
    };
    drop(silent_client(&name));
    accept_closed();
    let child = fork(|| {
        let client = silent_client(&name);
        let hello = captured_hello();
        send_with_fds(&client, &hello.bytes, &hello.raw_fds());
        kill_this_process();
    });
    assert_eq!(child.reap(), libc::SIGKILL);
    accept_closed();
    assert_eq!(accept(&listener, 0).unwrap_err(), EAGAIN);
    // The client closes after it was accepted, without a hello.
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
    // The client closes after the handshake and a message, which the server receives.
    let client = silent_client(&name);
    let server = accept(&listener, 0).unwrap();
    let end = finish_handshake(&client, &server);
    assert_eq!(end.send(b"last", 0), DONE);
    drop((client, end));
    assert_eq!(server.recv(-1).unwrap(), b"last");
    assert_eq!(server.recv(-1), Ok(vec![]));
    assert_eq!(server.send(b"x", 0), Err(EPIPE));
}

/// While a client is silent, the calls of each thread obey their own time-outs, ipc_channel_fd does
/// not wait, and a shutdown ends a wait.
#[apply(isolated)]
fn two_threads() {
    let name = abstract_name();
    let listener = listen(&name);
    for how in [libc::SHUT_RD, libc::SHUT_RDWR] {
        let client = silent_client(&name);
        let server = accept(&listener, 0).unwrap();
        thread::scope(|scope| {
            let (receiver, _) = spawn_sleeper(scope, || server.recv(LONG));
            let (results, ms) =
                timed_ms(|| (server.send(b"x", 0), server.send(b"x", 20), server.fd()));
            assert_eq!((results.0, results.1), (Err(EAGAIN), Err(ETIMEDOUT)));
            assert!(ms < 5000, "{ms} ms");
            assert!(!receiver.is_finished());
            assert_eq!(server.shutdown(how), DONE);
            let (received, ms) = timed_ms(|| receiver.join().unwrap());
            assert_eq!(received, Ok(vec![]));
            assert!(ms < 5000, "{ms} ms");
        });
        drop(client);
    }
    // Two threads wait, and then the client sends its hello.
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
