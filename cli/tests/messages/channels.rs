//! `cat`, `send`, `call` and `echo` with channels.

use crate::support::*;
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use unixipc::channel;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;

/// An `echo` that listens at a path.
fn echo(place: &Place, args: &[&str]) -> Running {
    let path = place.text("echo");
    let running = Running::start(&mut command(&[&["echo", &path], args].concat()));
    await_listener(&place.path("echo"));
    running
}

#[test]
fn requests_and_messages_come_back() {
    let place = Place::new();
    let echo = echo(&place, &["--json"]);
    let path = place.text("echo");
    assert_output(&run(&["call", &path, "one", "two"]), "one\ntwo\n");
    assert_output(&run(&["call", "--plain", &path, "three"]), "three\n");
    let called = run_with_input(&["call", "-f", "hex", &path], b"00ff\n0a\n");
    assert_output(&called, "00ff\n0a\n");
    let called = run(&["--json", "call", &path, "a\u{1b}[2J"]);
    assert_output(&called, "{\"length\":5,\"message\":\"a\\u001b[2J\"}\n");
    echo.signal(libc::SIGTERM);
    let output = echo.output();
    assert_eq!(output.status.signal(), Some(libc::SIGTERM));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["clients"], 4);
    assert_eq!(summary["requests"], 5);
    assert_eq!(summary["messages"], 1);
    assert!(!place.path("echo").exists());
}

#[test]
fn a_long_message_comes_back() {
    let place = Place::new();
    let _echo = echo(&place, &[]);
    let message = "x".repeat(100_000);
    let line = format!("{message}\n");
    for args in [&["call"][..], &["call", "--plain"]] {
        let path = place.text("echo");
        let output = run_with_input(&[args, &[&path]].concat(), line.as_bytes());
        assert_output(&output, &line);
    }
}

/// A client that sends without receiving: its ring and that of `echo` become full.
#[test]
fn a_client_that_does_not_receive_delays_no_other() {
    let place = Place::new();
    let _echo = echo(&place, &[]);
    let path = place.text("echo");
    let many = "y".repeat(1000) + "\n";
    let mut send = Running::start(command(&["send", &path]).stdin(Stdio::piped()));
    let mut input = send.child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        while input.write_all(many.as_bytes()).is_ok() {}
    });
    for _ in 0..20 {
        assert_output(&run(&["call", &path, "hello"]), "hello\n");
    }
    send.signal(libc::SIGKILL);
    send.wait();
    writer.join().unwrap();
}

/// At the limit of its descriptors the command serves the clients that it has, and later others.
#[test]
fn no_descriptors() {
    for limit_of_descriptors in 24..28 {
        let place = Place::new();
        let path = place.path("echo");
        let mut command = command(&["echo", path.to_str().unwrap()]);
        let limits = libc::rlimit {
            rlim_cur: limit_of_descriptors - 4,
            rlim_max: limit_of_descriptors,
        };
        let set_limits = move || {
            // SAFETY: the structure.
            match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: setrlimit is async-signal-safe.
        unsafe { command.pre_exec(set_limits) };
        let echo = Running::start(&mut command);
        await_listener(&path);
        let connect = |time_ms| {
            let mut wait = Deadline::new(time_ms).unwrap();
            let mut channel = channel::connect(&c_path(&path), &channel_options(), &mut wait)?;
            send(&mut channel, b"hello")?;
            match receive(&mut channel)? {
                answer if answer.is_empty() => Err(Errno::EPIPE),
                _ => Ok(channel),
            }
        };
        let mut clients = vec![connect(LIMIT.as_millis() as i32).unwrap()];
        while let Ok(client) = connect(500) {
            clients.push(client);
        }
        assert!((2..8).contains(&clients.len()), "{}", clients.len());
        for client in &mut clients {
            send(client, b"hello").unwrap();
            assert_eq!(receive(client).unwrap(), b"hello");
        }
        drop(clients);
        wait_until("no space", || connect(500).is_ok());
        echo.signal(libc::SIGTERM);
        let output = echo.output();
        assert_eq!(output.status.signal(), Some(libc::SIGTERM));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.lines().count() < 10, "{errors}");
    }
}

#[test]
fn once() {
    let place = Place::new();
    let echo = echo(&place, &["--once"]);
    assert_output(&run(&["call", &place.text("echo"), "x"]), "x\n");
    assert_output(&echo.output(), "");
}

#[test]
fn send_to_a_listener() {
    let place = Place::new();
    let path = place.text("listener");
    let start = || Running::start(&mut command(&["send", "--json", &path, "one", "two"]));
    let (send, mut channel) = accept_one(&place.path("listener"), start);
    assert_eq!(receive(&mut channel).unwrap(), b"one");
    assert_eq!(receive(&mut channel).unwrap(), b"two");
    assert_eq!(receive(&mut channel).unwrap(), b"");
    assert_output(&send.output(), "{\"messages\":2,\"bytes\":6}\n");
}

#[test]
fn cat_from_a_listener() {
    let place = Place::new();
    let address = format!("channel:{}", place.text("listener"));
    let start = || Running::start(&mut command(&["cat", "-f", "escaped", &address]));
    let (cat, mut channel) = accept_one(&place.path("listener"), start);
    for message in [&b"a\nb"[..], b"\x1b[2J", b"\\", b"\xff", "ä".as_bytes()] {
        send(&mut channel, message).unwrap();
    }
    drop(channel);
    assert_output(&cat.output(), "a\\nb\n\\x1b[2J\n\\\\\n\\xff\nä\n");
}

#[test]
fn the_server_dies() {
    let place = Place::new();
    let path = place.text("listener");
    for args in [
        &["call", &path, "x"][..],
        &["call", "--plain", &path, "x"],
        &["call", "--timeout", "60", &path, "x"],
    ] {
        let start = || Running::start(&mut command(args));
        let (call, channel) = accept_one(&place.path("listener"), start);
        drop(channel);
        let output = call.output();
        assert_code(&output, 3);
        assert!(String::from_utf8_lossy(&output.stderr).contains("Broken pipe"));
        std::fs::remove_file(place.path("listener")).unwrap();
    }
}

#[test]
fn time_outs() {
    let place = Place::new();
    let path = place.text("listener");
    // Nothing listens.
    assert_code(&run(&["call", &path, "x"]), 3);
    assert_code(&run(&["call", "-w", "-t", "0.05", &path, "x"]), 4);
    assert_code(&run(&["cat", "-w", "-t", "0.05", &path]), 4);
    // The server accepts, and sends nothing.
    let _listener = UnixListener::bind(&path).unwrap();
    let start = std::time::Instant::now();
    assert_code(&run(&["cat", "-t", "0.1", &format!("feed:{path}")]), 3);
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn a_reply_that_does_not_come() {
    let place = Place::new();
    let path = place.text("listener");
    for args in [
        &["call", "-t", "0.1", &path, "x"][..],
        &["call", "-t", "0.1", "--plain", &path, "x"],
    ] {
        let start = || Running::start(&mut command(args));
        let (call, _channel) = accept_one(&place.path("listener"), start);
        assert_code(&call.output(), 4);
        std::fs::remove_file(place.path("listener")).unwrap();
    }
}

/// The signals end a wait at once.
#[test]
fn signals_end_a_call() {
    let place = Place::new();
    let path = place.text("listener");
    let start = || Running::start(&mut command(&["call", &path, "x"]));
    let (mut call, mut channel) = accept_one(&place.path("listener"), start);
    // It waits for the reply.
    assert!(receive(&mut channel).unwrap().ends_with(b"x"));
    call.signal(libc::SIGINT);
    assert_eq!(call.wait().signal(), Some(libc::SIGINT));
    drop(channel);
}

/// A listener that does not speak the protocol.
#[test]
fn a_hostile_server() {
    use nix::sys::socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, listen, send,
        socket,
    };
    use std::os::fd::AsRawFd;
    let place = Place::new();
    let path = place.path("hostile");
    let (family, flags) = (AddressFamily::Unix, SockFlag::SOCK_CLOEXEC);
    let listener = socket(family, SockType::SeqPacket, flags, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(8).unwrap()).unwrap();
    let text = place.text("hostile");
    for args in [
        &["call", &text, "x"][..],
        &["cat", &text],
        &["send", &text, "x"],
    ] {
        let running = Running::start(&mut command(args));
        let client = accept(listener.as_raw_fd()).unwrap();
        send(client, &[0xa5; 64], MsgFlags::MSG_NOSIGNAL).unwrap();
        nix::unistd::close(client).unwrap();
        assert_code(&running.output(), 3);
    }
}

#[test]
fn a_path_of_another_kind_is_refused() {
    let place = Place::new();
    let path = place.text("file");
    std::fs::write(&path, "x").unwrap();
    assert_code(&run(&["echo", &path]), 3);
    assert_code(&run(&["call", &path, "x"]), 3);
    assert_code(&run(&["call", &format!("feed:{path}"), "x"]), 2);
    assert_code(&run(&["call", "feed:", "x"]), 2);
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}
