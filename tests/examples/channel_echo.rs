use crate::support::{
    Server, example, fail, read_all, signal, stat, stderr_of, succeed, wait, wait_until,
};
use common::isolated::{apply, isolated};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::socket::{connect, send, socket};
use std::env::temp_dir;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn path() -> PathBuf {
    temp_dir().join("echo")
}

fn start() -> Server {
    let mut command = example("channel_echo_server");
    Server::start(command.arg(path()).stdout(Stdio::piped()))
}

fn client(args: &[&str]) -> Command {
    let mut command = example("channel_echo_client");
    command.args(args).arg(path());
    command
}

/// A client that sends until it is killed.
fn start_endless() -> Child {
    client(&["--count", "1000000000000", "--size", "20000"])
        .args(["--window", "1000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.0.id()))
        .unwrap()
        .count()
}

fn end(mut server: Server) {
    let stdout = server.0.stdout.take().unwrap();
    assert!(server.end(libc::SIGTERM).success());
    let text = read_all(stdout);
    assert!(text.ends_with(" 0 clients still connected\n"), "{text}");
    assert!(!path().exists());
}

#[apply(isolated)]
fn clients_at_once() {
    let server = start();
    let idle = descriptors(&server);
    let mut clients: Vec<_> = (0..20)
        .map(|i| {
            let (size, window) = ([8, 64, 5000, 65536][i % 4], [1, 10, 100_000][i % 3]);
            client(&["--count", "2000", "--size", &size.to_string()])
                .args(["--window", &window.to_string()])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for client in &mut clients {
        assert!(wait(client).success());
    }
    wait_until("the clients' end", || descriptors(&server) == idle);
    end(server);
}

#[apply(isolated)]
fn clients_killed() {
    let server = start();
    let idle = descriptors(&server);
    // Each client takes four descriptors.
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..8).map(|_| start_endless()).collect();
        wait_until("all clients", || descriptors(&server) == idle + 8 * 4);
        for client in &mut clients {
            client.kill().unwrap();
            wait(client);
        }
        wait_until("the clients' end", || descriptors(&server) == idle);
    }
    succeed(&mut client(&["--count", "1000"]));
    wait_until("the client's end", || descriptors(&server) == idle);
    end(server);
}

/// Connects without a handshake.
fn connect_only() -> OwnedFd {
    let kind = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Unix, kind.0, kind.1, None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new(&path()).unwrap()).unwrap();
    socket
}

/// A client without a handshake, one with an invalid handshake, and one that receives nothing.
#[apply(isolated)]
fn misbehaving_clients() {
    let server = start();
    let idle = descriptors(&server);
    let silent = connect_only();
    let invalid = connect_only();
    send(invalid.as_raw_fd(), &[b'?'; 1000], MsgFlags::empty()).unwrap();
    let mut stopped = start_endless();
    // The server closes the client with the invalid handshake. The silent client takes its socket
    // and two descriptors for the event loop.
    wait_until("the clients", || descriptors(&server) == idle + 3 + 4);
    signal(stopped.id(), libc::SIGSTOP);
    wait_until("the stop", || stat(stopped.id())[0] == "T");
    succeed(&mut client(&["--count", "1000"]));

    // The server sleeps, although it has not read all messages of the stopped client.
    let ticks = || -> u64 {
        let stat = stat(server.0.id());
        stat[11].parse::<u64>().unwrap() + stat[12].parse::<u64>().unwrap()
    };
    wait_until("a sleeping server", || stat(server.0.id())[0] == "S");
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before < 10, "the server is busy");

    signal(stopped.id(), libc::SIGCONT);
    stopped.kill().unwrap();
    wait(&mut stopped);
    drop((silent, invalid));
    wait_until("the clients' end", || descriptors(&server) == idle);
    end(server);
}

/// A client continues after it was stopped.
#[apply(isolated)]
fn stopped_client() {
    let server = start();
    let mut paused = client(&["--count", "20000", "--size", "20000", "--window", "1000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..20 {
        signal(paused.id(), libc::SIGSTOP);
        wait_until("the stop", || ["T", "Z"].contains(&&*stat(paused.id())[0]));
        wait_until("a sleeping server", || stat(server.0.id())[0] == "S");
        signal(paused.id(), libc::SIGCONT);
    }
    assert!(wait(&mut paused).success());
    assert!(server.end(libc::SIGTERM).success());
}

#[apply(isolated)]
fn server_killed() {
    let server = start();
    let idle = descriptors(&server);
    let mut talking = start_endless();
    wait_until("the client", || descriptors(&server) == idle + 4);
    server.end(libc::SIGKILL);
    assert_eq!(wait(&mut talking).code(), Some(1));
    let text = stderr_of(&mut talking);
    // EPIPE: the client was still connecting.
    assert!(
        text.contains("has ended") || text.contains("Broken pipe"),
        "{text}"
    );
    assert!(fail(&mut client(&[]), 1).contains("start channel_echo_server first"));

    // The next server replaces the socket of the dead one.
    let server = start();
    succeed(&mut client(&["--count", "1000"]));
    let text = fail(example("channel_echo_server").arg(path()), 1);
    assert!(text.contains("Address already in use"), "{text}");
    succeed(&mut client(&["--count", "1000"]));
    assert!(server.end(libc::SIGINT).success());
}

#[apply(isolated)]
fn abstract_name() {
    let name = format!("@unixipc-test-{}", std::process::id());
    let server = Server::start(
        example("channel_echo_server")
            .arg(&name)
            .stdout(Stdio::null()),
    );
    succeed(example("channel_echo_client").args(["--count", "1000", &name]));
    assert!(server.end(libc::SIGTERM).success());
}
