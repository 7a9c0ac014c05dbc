//! Channels: a process is killed in each step of the handshake.

use crate::channel::{Calls, Ch, Page, SHORT, TIME_LIMIT, WAIT};
use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use common::directory::c_path;
use common::isolated::apply;
use libc::{SHUT_WR, SOCK_STREAM, c_int};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use std::cell::Cell;
use std::env;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// The state of two processes that establish a channel.
struct Handshake {
    calls: &'static Calls,
    /// The victim's socket or listener.
    victim: Option<OwnedFd>,
    /// The survivor's socket or listener.
    survivor: Option<OwnedFd>,
    path: CString,
    page: &'static Page,
    /// The victim's end, if it has one before the operation.
    channel: Cell<Ch>,
}

impl Handshake {
    fn listener(&self) -> Option<OwnedFd> {
        Some(self.calls.listen(&self.path).unwrap())
    }

    /// The survivor receives up to the end: `more` messages if the victim finished.
    fn receives(&self, ch: Ch, finished: &Finished, more: usize) -> Verdict {
        self.calls.receives(ch, self.page, finished, 0, more)
    }

    /// The victim accepts the connection of a client that has not sent its hello.
    fn accept_silent(&self) {
        let listener = self.victim.as_ref().unwrap();
        self.channel.set(self.calls.accept(listener, -1).unwrap());
        self.page.accepted.store(1, SeqCst);
    }

    /// The victim waits until the survivor has sent its hello, and sleeps.
    fn wait_for_hello(&self) {
        self.page.wait_for_survivor(0);
    }

    /// Checks the error of a call after the victim's death. An error is allowed only if the victim
    /// did not finish.
    fn check_error(&self, error: c_int, expected: &[c_int], finished: &Finished) -> Verdict {
        if finished.get() || !expected.contains(&error) {
            return Err(format!("errno {error}"));
        }
        Ok(())
    }

    /// Listens at the path after the victim's death.
    fn listen_again(&self) -> Result<OwnedFd, String> {
        let calls = self.calls;
        let mut listener = calls.listen(&self.path);
        let deadline = Instant::now() + TIME_LIMIT;
        while listener.as_ref().err() == Some(&libc::EADDRINUSE) && Instant::now() < deadline {
            // The harness may close its copy of the victim's listener later.
            thread::sleep(Duration::from_micros(200));
            listener = calls.listen(&self.path);
        }
        listener.map_err(|error| format!("listen again: errno {error}"))
    }

    /// Checks that other processes can use the path, whatever the victim has left there.
    fn works_again(&self) -> Verdict {
        let calls = self.calls;
        let listener = self.listen_again()?;
        let client = Child::fork(|| {
            let ch = calls.connect(&self.path, WAIT).unwrap();
            assert_eq!(calls.send(ch, 0, WAIT), Ok(0));
        });
        let accepted = calls.accept(&listener, WAIT);
        let ch = accepted.map_err(|error| format!("accept again: errno {error}"))?;
        let mut buffer = calls.buffer();
        if !calls.receives_one(ch, &mut buffer, 0)? {
            return Err("no message from a second client".into());
        }
        match client.wait(Instant::now() + TIME_LIMIT) {
            Some(0) => Ok(()),
            other => Err(format!("a second client: {other:?}")),
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.page.unmap();
    }
}

/// The actions of two processes that establish a channel.
struct Case<const SLEEPS: bool, const CONCURRENT: bool> {
    calls: &'static Calls,
    /// The listener's path. Drop removes the file.
    path: PathBuf,
    set_up: fn(&mut Handshake),
    /// The victim's preparation.
    prepare: fn(&Handshake),
    operate: fn(&Handshake),
    survive: fn(&mut Handshake, &Finished) -> Verdict,
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Case<SLEEPS, CONCURRENT> {
    fn check(
        name: &str,
        set_up: fn(&mut Handshake),
        prepare: fn(&Handshake),
        operate: fn(&Handshake),
        survive: fn(&mut Handshake, &Finished) -> Verdict,
    ) {
        let calls = Calls::new(&[SHORT]);
        let path = env::temp_dir().join("s");
        let case = Self {
            calls,
            path,
            set_up,
            prepare,
            operate,
            survive,
        };
        check(name, &case);
    }
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Drop for Case<SLEEPS, CONCURRENT> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Scenario for Case<SLEEPS, CONCURRENT> {
    type State = Handshake;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = CONCURRENT;

    fn set_up(&self) -> Handshake {
        let _ = fs::remove_file(&self.path);
        let mut handshake = Handshake {
            calls: self.calls,
            victim: None,
            survivor: None,
            path: c_path(&self.path),
            page: Page::new(),
            channel: Cell::new(ptr::null_mut()),
        };
        (self.set_up)(&mut handshake);
        handshake
    }

    fn become_victim(&self, handshake: &mut Handshake) {
        handshake.survivor = None;
        // Runs most of the code once.
        let calls = self.calls;
        let [a, b] = calls.pair();
        assert_eq!(calls.send(a, 0, -1), Ok(0));
        assert_eq!(calls.recv(b, &mut [0; SHORT], -1), Ok(SHORT));
        calls.close(a);
        calls.close(b);
        handshake.page.victim.store(child::pid(), SeqCst);
        (self.prepare)(handshake);
        handshake.page.started.store(1, SeqCst);
    }

    fn operate(&self, handshake: &mut Handshake) {
        (self.operate)(handshake);
    }

    fn survive(&self, handshake: &mut Handshake, finished: &Finished) -> Verdict {
        handshake.victim = None;
        handshake.page.survivor.store(child::pid(), SeqCst);
        (self.survive)(handshake, finished)
    }
}

#[apply(scenario)]
fn pair() {
    Case::<false, false>::check(
        "ipc_channel_pair",
        |_| {},
        nothing,
        |handshake| {
            handshake.calls.pair();
        },
        |handshake, _| handshake.works_again(),
    );
}

fn nothing(_: &Handshake) {}

/// The victim establishes a channel over its socket, and sends a message.
fn from_socket(handshake: &Handshake) {
    let calls = handshake.calls;
    let ch = calls
        .over_socket(handshake.victim.as_ref().unwrap(), -1)
        .unwrap();
    assert_eq!(calls.send(ch, 0, -1), Ok(0));
}

/// The survivor establishes the channel over its socket, and receives the message.
fn from_other_socket(handshake: &mut Handshake, finished: &Finished) -> Verdict {
    let socket = handshake.survivor.take().unwrap();
    match handshake.calls.over_socket(&socket, WAIT) {
        Ok(ch) => handshake.receives(ch, finished, 1),
        Err(error) => handshake.check_error(error, &[libc::EPIPE], finished),
    }
}

/// Connects the processes by a pair of stream sockets. A listener's sockets are of type
/// SOCK_SEQPACKET.
fn socket_pair(handshake: &mut Handshake) {
    let mut fds = [-1; 2];
    // SAFETY: an array of two.
    let made = unsafe { (handshake.calls.library.ipc_pair_open)(SOCK_STREAM, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: the library has just made them for us.
    [handshake.victim, handshake.survivor] =
        fds.map(|fd| Some(unsafe { OwnedFd::from_raw_fd(fd) }));
}

#[apply(scenario)]
fn from_fd() {
    let name = "ipc_channel_from_fd, _send";
    Case::<false, true>::check(name, socket_pair, nothing, from_socket, from_other_socket);
}

#[apply(scenario)]
fn from_fd_that_waits() {
    let name = "ipc_channel_from_fd, waits";
    Case::<true, false>::check(name, socket_pair, nothing, from_socket, from_other_socket);
}

fn check_listen(name: &str, set_up: fn(&mut Handshake)) {
    Case::<false, false>::check(
        name,
        set_up,
        nothing,
        |handshake| std::mem::forget(handshake.listener()),
        |handshake, _| handshake.works_again(),
    );
}

#[apply(scenario)]
fn listen() {
    check_listen("ipc_channel_listen", |_| {});
}

#[apply(scenario)]
fn listen_stale() {
    check_listen("ipc_channel_listen, stale path", |handshake| {
        let path = Path::new(handshake.path.to_str().unwrap());
        drop(UnixListener::bind(path).unwrap());
    });
}

#[apply(scenario)]
fn listen_abstract() {
    check_listen("ipc_channel_listen, abstract", |handshake| {
        // The name is unique for each test process.
        handshake.path = CString::new(format!("@unixipc-killstep-{}", child::pid())).unwrap();
    });
}

/// The survivor connects, and receives the message. Then it listens itself.
fn connects(handshake: &mut Handshake, finished: &Finished) -> Verdict {
    handshake.page.waits.store(1, SeqCst);
    match handshake.calls.connect(&handshake.path, WAIT) {
        Ok(ch) => handshake.receives(ch, finished, 1)?,
        Err(error) => handshake.check_error(error, &[libc::EPIPE, libc::ECONNREFUSED], finished)?,
    }
    handshake.works_again()
}

fn accept_and_send(handshake: &Handshake) {
    let listener = handshake.victim.as_ref().unwrap();
    let ch = handshake.calls.accept(listener, -1).unwrap();
    assert_eq!(handshake.calls.send(ch, 0, -1), Ok(0));
}

/// The client has sent its hello, so accept completes the handshake.
#[apply(scenario)]
fn accept() {
    Case::<false, true>::check(
        "ipc_channel_accept at once, _send",
        |handshake| handshake.victim = handshake.listener(),
        Handshake::wait_for_hello,
        accept_and_send,
        connects,
    );
}

#[apply(scenario)]
fn accept_that_waits() {
    Case::<true, false>::check(
        "ipc_channel_accept, waits",
        |handshake| handshake.victim = handshake.listener(),
        nothing,
        |handshake| {
            let listener = handshake.victim.as_ref().unwrap();
            handshake.calls.accept(listener, -1).unwrap();
        },
        |handshake, _| handshake.works_again(),
    );
}

/// A listener, and a client that has connected but not sent a hello.
fn silent_client(handshake: &mut Handshake) {
    handshake.victim = handshake.listener();
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    let address = UnixAddr::new(handshake.path.as_c_str()).unwrap();
    socket::connect(client.as_raw_fd(), &address).unwrap();
    handshake.survivor = Some(client);
}

/// The survivor sends its hello, and receives `more` messages.
fn send_hello(handshake: &mut Handshake, finished: &Finished, more: usize) -> Verdict {
    let socket = handshake.survivor.take().unwrap();
    handshake.page.waits.store(1, SeqCst);
    match handshake.calls.over_socket(&socket, WAIT) {
        Ok(ch) => handshake.receives(ch, finished, more)?,
        Err(error) => handshake.check_error(error, &[libc::EPIPE], finished)?,
    }
    handshake.works_again()
}

/// The client sends its hello while the victim's first send waits for it.
#[apply(scenario)]
fn accept_with_a_late_hello() {
    Case::<false, true>::check(
        "ipc_channel_send, late hello",
        silent_client,
        Handshake::accept_silent,
        |handshake| {
            assert_eq!(handshake.calls.send(handshake.channel.get(), 0, -1), Ok(0));
        },
        |handshake, finished| {
            handshake.page.wait_for_victim();
            send_hello(handshake, finished, 1)
        },
    );
}

#[apply(scenario)]
fn accept_without_a_hello() {
    Case::<false, false>::check(
        "ipc_channel_accept, no hello",
        silent_client,
        nothing,
        Handshake::accept_silent,
        |handshake, _| {
            let socket = handshake.survivor.take().unwrap();
            match handshake.calls.over_socket(&socket, WAIT) {
                Err(libc::EPIPE) => handshake.works_again(),
                other => Err(format!("{:?}", other.map(drop))),
            }
        },
    );
}

/// The client sends no hello.
#[apply(scenario)]
fn send_without_a_hello() {
    Case::<true, false>::check(
        "ipc_channel_send, no hello",
        silent_client,
        Handshake::accept_silent,
        |handshake| {
            assert_eq!(handshake.calls.send(handshake.channel.get(), 0, -1), Ok(0));
        },
        |handshake, finished| send_hello(handshake, finished, 0),
    );
}

/// The victim accepts the connection before the client sends its hello, and operates after that.
fn check_before_the_handshake(name: &str, operate: fn(&Handshake), survive: Survive) {
    Case::<false, true>::check(
        name,
        silent_client,
        |handshake| {
            handshake.accept_silent();
            handshake.wait_for_hello();
        },
        operate,
        survive,
    );
}

type Survive = fn(&mut Handshake, &Finished) -> Verdict;

#[apply(scenario)]
fn shutdown_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_shutdown, before the handshake",
        |handshake| handshake.calls.shutdown(handshake.channel.get(), SHUT_WR),
        |handshake, finished| {
            handshake.page.wait_for_accepted();
            send_hello(handshake, finished, 0)
        },
    );
}

#[apply(scenario)]
fn fd_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_fd, _send, before the handshake",
        |handshake| {
            handshake.calls.fd(handshake.channel.get());
            assert_eq!(handshake.calls.send(handshake.channel.get(), 0, -1), Ok(0));
        },
        |handshake, finished| {
            handshake.page.wait_for_accepted();
            send_hello(handshake, finished, 1)
        },
    );
}

#[apply(scenario)]
fn close_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_close, before the handshake",
        |handshake| handshake.calls.close(handshake.channel.get()),
        |handshake, _| {
            handshake.page.wait_for_accepted();
            let socket = handshake.survivor.take().unwrap();
            handshake.page.waits.store(1, SeqCst);
            match handshake.calls.over_socket(&socket, WAIT) {
                Err(libc::EPIPE) => handshake.works_again(),
                other => Err(format!("{:?}", other.map(drop))),
            }
        },
    );
}

/// The victim connects, and sends a message.
fn connect_and_send(handshake: &Handshake) {
    let ch = handshake.calls.connect(&handshake.path, -1).unwrap();
    assert_eq!(handshake.calls.send(ch, 0, -1), Ok(0));
}

/// The survivor accepts until the victim is dead, receives the message, and listens again.
fn accepts(handshake: &mut Handshake, finished: &Finished) -> Verdict {
    let calls = handshake.calls;
    let listener = handshake.survivor.take().unwrap();
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let is_last = handshake.page.victim_is_dead() || Instant::now() >= deadline;
        match calls.accept(&listener, if is_last { 0 } else { 5 }) {
            Ok(ch) => {
                handshake.receives(ch, finished, 1)?;
                break;
            }
            Err(libc::ETIMEDOUT) => {}
            Err(error) => {
                handshake.check_error(error, &[libc::EAGAIN, libc::EPIPE], finished)?;
                break;
            }
        }
    }
    drop(listener);
    handshake.works_again()
}

#[apply(scenario)]
fn connect() {
    Case::<false, true>::check(
        "ipc_channel_connect, _send",
        |handshake| handshake.survivor = handshake.listener(),
        nothing,
        connect_and_send,
        accepts,
    );
}

#[apply(scenario)]
fn connect_that_waits() {
    Case::<true, false>::check(
        "ipc_channel_connect, waits",
        |handshake| handshake.survivor = handshake.listener(),
        nothing,
        connect_and_send,
        accepts,
    );
}

/// The victim waits for a listener.
#[apply(scenario)]
fn connect_without_a_listener() {
    Case::<true, false>::check(
        "ipc_channel_connect, IPC_CHANNEL_F_WAIT",
        |_| {},
        nothing,
        |handshake| {
            handshake.calls.connect_waiting(&handshake.path).unwrap();
        },
        |handshake, _| handshake.works_again(),
    );
}

/// The survivor is a client that waits for a listener. The victim listens, and is killed with the
/// client in its queue at the latest. The next server serves the client.
#[apply(scenario)]
fn listen_for_a_waiting_client() {
    Case::<false, true>::check(
        "ipc_channel_listen, client waits",
        |_| {},
        nothing,
        |handshake| std::mem::forget(handshake.listener()),
        |handshake, _| {
            let calls = handshake.calls;
            let server = Child::fork(|| {
                handshake.page.wait_for_death();
                let listener = handshake.listen_again().unwrap();
                let ch = calls.accept(&listener, WAIT).unwrap();
                assert_eq!(calls.send(ch, 0, WAIT), Ok(0));
            });
            let connected = calls.connect_waiting(&handshake.path);
            let ch = connected.map_err(|error| format!("connect: errno {error}"))?;
            if !calls.receives_one(ch, &mut calls.buffer(), 0)? {
                return Err("no message from the next server".into());
            }
            match server.wait(Instant::now() + TIME_LIMIT) {
                Some(0) => Ok(()),
                other => Err(format!("the next server: {other:?}")),
            }
        },
    );
}
