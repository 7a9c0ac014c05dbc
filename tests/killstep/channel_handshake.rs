//! Channels: a process is killed while it makes one, in each step of the handshake.

use crate::channel::{Calls, Ch, Page, SHORT, SOON, WAIT};
use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
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

/// Two processes that make a channel together.
struct Meeting {
    calls: &'static Calls,
    /// A socket or a listener.
    victim: Option<OwnedFd>,
    survivor: Option<OwnedFd>,
    path: CString,
    page: &'static Page,
    /// The victim's end, if it has one before the operation.
    channel: Cell<Ch>,
}

impl Meeting {
    fn listener(&self) -> Option<OwnedFd> {
        Some(self.calls.listen(&self.path).unwrap())
    }

    /// The survivor receives to the end: `more` messages if the victim finished.
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

    /// The victim is dead. These errors are allowed if it did not finish.
    fn failed(&self, error: c_int, expected: &[c_int], finished: &Finished) -> Verdict {
        if finished.get() || !expected.contains(&error) {
            return Err(format!("errno {error}"));
        }
        Ok(())
    }

    /// Other processes can use the path, whatever the victim left there.
    fn works_again(&self) -> Verdict {
        let calls = self.calls;
        let mut listener = calls.listen(&self.path);
        let deadline = Instant::now() + SOON;
        while listener.as_ref().err() == Some(&libc::EADDRINUSE) && Instant::now() < deadline {
            // The harness closes its copy of the victim's listener a little later.
            thread::sleep(Duration::from_micros(200));
            listener = calls.listen(&self.path);
        }
        let listener = listener.map_err(|error| format!("listen again: errno {error}"))?;
        let client = Child::fork(|| {
            let ch = calls.connect(&self.path, WAIT).unwrap();
            assert_eq!(calls.send(ch, 0, WAIT), Ok(0));
        });
        let accepted = calls.accept(&listener, WAIT);
        let ch = accepted.map_err(|error| format!("accept again: errno {error}"))?;
        let mut room = calls.room();
        if !calls.receives_one(ch, &mut room, 0)? {
            return Err("no message of a second client's".into());
        }
        match client.wait(Instant::now() + SOON) {
            Some(0) => Ok(()),
            other => Err(format!("a second client: {other:?}")),
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.page.unmap();
    }
}

/// The actions of two processes that make a channel.
struct Meet<const SLEEPS: bool, const CONCURRENT: bool> {
    calls: &'static Calls,
    /// Of the listener; removed at the end.
    path: PathBuf,
    set_up: fn(&mut Meeting),
    /// The victim's actions before its operation.
    begin: fn(&Meeting),
    operate: fn(&Meeting),
    survive: fn(&mut Meeting, &Finished) -> Verdict,
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Meet<SLEEPS, CONCURRENT> {
    fn check(
        name: &str,
        set_up: fn(&mut Meeting),
        begin: fn(&Meeting),
        operate: fn(&Meeting),
        survive: fn(&mut Meeting, &Finished) -> Verdict,
    ) {
        let calls = Calls::new(&[SHORT]);
        let path = env::temp_dir().join("s");
        let meet = Self {
            calls,
            path,
            set_up,
            begin,
            operate,
            survive,
        };
        check(name, &meet);
    }
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Drop for Meet<SLEEPS, CONCURRENT> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Scenario for Meet<SLEEPS, CONCURRENT> {
    type State = Meeting;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = CONCURRENT;

    fn set_up(&self) -> Meeting {
        let _ = fs::remove_file(&self.path);
        let mut meeting = Meeting {
            calls: self.calls,
            victim: None,
            survivor: None,
            path: c_path(&self.path),
            page: Page::new(),
            channel: Cell::new(ptr::null_mut()),
        };
        (self.set_up)(&mut meeting);
        meeting
    }

    fn become_victim(&self, meeting: &mut Meeting) {
        meeting.survivor = None;
        // Runs through most of the code once.
        let calls = self.calls;
        let [a, b] = calls.pair();
        assert_eq!(calls.send(a, 0, -1), Ok(0));
        assert_eq!(calls.recv(b, &mut [0; SHORT], -1), Ok(SHORT));
        calls.close(a);
        calls.close(b);
        meeting.page.victim.store(child::pid(), SeqCst);
        (self.begin)(meeting);
        meeting.page.begun.store(1, SeqCst);
    }

    fn operate(&self, meeting: &mut Meeting) {
        (self.operate)(meeting);
    }

    fn survive(&self, meeting: &mut Meeting, finished: &Finished) -> Verdict {
        meeting.victim = None;
        meeting.page.survivor.store(child::pid(), SeqCst);
        (self.survive)(meeting, finished)
    }
}

#[apply(scenario)]
fn pair() {
    Meet::<false, false>::check(
        "ipc_channel_pair",
        |_| {},
        nothing,
        |meeting| {
            meeting.calls.pair();
        },
        |meeting, _| meeting.works_again(),
    );
}

fn nothing(_: &Meeting) {}

/// The victim makes a channel over its socket, and sends a message.
fn from_socket(meeting: &Meeting) {
    let calls = meeting.calls;
    let ch = calls
        .end_over(meeting.victim.as_ref().unwrap(), -1)
        .unwrap();
    assert_eq!(calls.send(ch, 0, -1), Ok(0));
}

/// The survivor does the same, and receives it.
fn from_other_socket(meeting: &mut Meeting, finished: &Finished) -> Verdict {
    let socket = meeting.survivor.take().unwrap();
    match meeting.calls.end_over(&socket, WAIT) {
        Ok(ch) => meeting.receives(ch, finished, 1),
        Err(error) => meeting.failed(error, &[libc::EPIPE], finished),
    }
}

/// Over a stream socket; a listener's sockets preserve message boundaries.
fn connected(meeting: &mut Meeting) {
    let mut fds = [-1; 2];
    // SAFETY: room for two.
    let made = unsafe { (meeting.calls.library.ipc_pair_open)(SOCK_STREAM, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: the library has just made them, for us.
    [meeting.victim, meeting.survivor] = fds.map(|fd| Some(unsafe { OwnedFd::from_raw_fd(fd) }));
}

#[apply(scenario)]
fn from_fd() {
    let name = "ipc_channel_from_fd, _send";
    Meet::<false, true>::check(name, connected, nothing, from_socket, from_other_socket);
}

#[apply(scenario)]
fn from_fd_that_waits() {
    let name = "ipc_channel_from_fd, waits";
    Meet::<true, false>::check(name, connected, nothing, from_socket, from_other_socket);
}

fn check_listen(name: &str, set_up: fn(&mut Meeting)) {
    Meet::<false, false>::check(
        name,
        set_up,
        nothing,
        |meeting| std::mem::forget(meeting.listener()),
        |meeting, _| meeting.works_again(),
    );
}

#[apply(scenario)]
fn listen() {
    check_listen("ipc_channel_listen", |_| {});
}

#[apply(scenario)]
fn listen_stale() {
    check_listen("ipc_channel_listen, stale path", |meeting| {
        let path = Path::new(meeting.path.to_str().unwrap());
        drop(UnixListener::bind(path).unwrap());
    });
}

#[apply(scenario)]
fn listen_abstract() {
    check_listen("ipc_channel_listen, abstract", |meeting| {
        // Each process of the test has the name of its scenario's process.
        meeting.path = CString::new(format!("@unixipc-killstep-{}", child::pid())).unwrap();
    });
}

/// The survivor connects, and receives the message. Then it is the listener itself.
fn connects(meeting: &mut Meeting, finished: &Finished) -> Verdict {
    meeting.page.waits.store(1, SeqCst);
    match meeting.calls.connect(&meeting.path, WAIT) {
        Ok(ch) => meeting.receives(ch, finished, 1)?,
        Err(error) => meeting.failed(error, &[libc::EPIPE, libc::ECONNREFUSED], finished)?,
    }
    meeting.works_again()
}

fn accept_and_send(meeting: &Meeting) {
    let listener = meeting.victim.as_ref().unwrap();
    let ch = meeting.calls.accept(listener, -1).unwrap();
    assert_eq!(meeting.calls.send(ch, 0, -1), Ok(0));
}

/// The hello of the client is there, so the handshake ends in accept.
#[apply(scenario)]
fn accept() {
    Meet::<false, true>::check(
        "ipc_channel_accept at once, _send",
        |meeting| meeting.victim = meeting.listener(),
        Meeting::wait_for_hello,
        accept_and_send,
        connects,
    );
}

#[apply(scenario)]
fn accept_that_waits() {
    Meet::<true, false>::check(
        "ipc_channel_accept, waits",
        |meeting| meeting.victim = meeting.listener(),
        nothing,
        |meeting| {
            let listener = meeting.victim.as_ref().unwrap();
            meeting.calls.accept(listener, -1).unwrap();
        },
        |meeting, _| meeting.works_again(),
    );
}

/// A listener, and a client that has connected without a hello.
fn silent_client(meeting: &mut Meeting) {
    meeting.victim = meeting.listener();
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    let address = UnixAddr::new(meeting.path.as_c_str()).unwrap();
    socket::connect(client.as_raw_fd(), &address).unwrap();
    meeting.survivor = Some(client);
}

/// The survivor sends its hello, and receives `more` messages.
fn speaks(meeting: &mut Meeting, finished: &Finished, more: usize) -> Verdict {
    let socket = meeting.survivor.take().unwrap();
    meeting.page.waits.store(1, SeqCst);
    match meeting.calls.end_over(&socket, WAIT) {
        Ok(ch) => meeting.receives(ch, finished, more)?,
        Err(error) => meeting.failed(error, &[libc::EPIPE], finished)?,
    }
    meeting.works_again()
}

/// The hello of the client comes while the first send waits for it.
#[apply(scenario)]
fn accept_with_a_late_hello() {
    Meet::<false, true>::check(
        "ipc_channel_send, late hello",
        silent_client,
        Meeting::accept_silent,
        |meeting| {
            assert_eq!(meeting.calls.send(meeting.channel.get(), 0, -1), Ok(0));
        },
        |meeting, finished| {
            meeting.page.wait_for_victim();
            speaks(meeting, finished, 1)
        },
    );
}

#[apply(scenario)]
fn accept_without_a_hello() {
    Meet::<false, false>::check(
        "ipc_channel_accept, no hello",
        silent_client,
        nothing,
        Meeting::accept_silent,
        |meeting, _| {
            let socket = meeting.survivor.take().unwrap();
            match meeting.calls.end_over(&socket, WAIT) {
                Err(libc::EPIPE) => meeting.works_again(),
                other => Err(format!("{:?}", other.map(drop))),
            }
        },
    );
}

/// The client sends no hello.
#[apply(scenario)]
fn send_without_a_hello() {
    Meet::<true, false>::check(
        "ipc_channel_send, no hello",
        silent_client,
        Meeting::accept_silent,
        |meeting| {
            assert_eq!(meeting.calls.send(meeting.channel.get(), 0, -1), Ok(0));
        },
        |meeting, finished| speaks(meeting, finished, 0),
    );
}

/// The victim has accepted the connection before the hello came, and operates after that.
fn check_before_the_handshake(name: &str, operate: fn(&Meeting), survive: Survive) {
    Meet::<false, true>::check(
        name,
        silent_client,
        |meeting| {
            meeting.accept_silent();
            meeting.wait_for_hello();
        },
        operate,
        survive,
    );
}

type Survive = fn(&mut Meeting, &Finished) -> Verdict;

#[apply(scenario)]
fn shutdown_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_shutdown, before the handshake",
        |meeting| meeting.calls.shutdown(meeting.channel.get(), SHUT_WR),
        |meeting, finished| {
            meeting.page.wait_for_accepted();
            speaks(meeting, finished, 0)
        },
    );
}

#[apply(scenario)]
fn fd_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_fd, _send, before the handshake",
        |meeting| {
            meeting.calls.fd(meeting.channel.get());
            assert_eq!(meeting.calls.send(meeting.channel.get(), 0, -1), Ok(0));
        },
        |meeting, finished| {
            meeting.page.wait_for_accepted();
            speaks(meeting, finished, 1)
        },
    );
}

#[apply(scenario)]
fn close_before_the_handshake() {
    check_before_the_handshake(
        "ipc_channel_close, before the handshake",
        |meeting| meeting.calls.close(meeting.channel.get()),
        |meeting, _| {
            meeting.page.wait_for_accepted();
            let socket = meeting.survivor.take().unwrap();
            meeting.page.waits.store(1, SeqCst);
            match meeting.calls.end_over(&socket, WAIT) {
                Err(libc::EPIPE) => meeting.works_again(),
                other => Err(format!("{:?}", other.map(drop))),
            }
        },
    );
}

/// The victim connects, and sends a message.
fn connect_and_send(meeting: &Meeting) {
    let ch = meeting.calls.connect(&meeting.path, -1).unwrap();
    assert_eq!(meeting.calls.send(ch, 0, -1), Ok(0));
}

/// The survivor accepts until the victim is dead, receives the messages, and listens again.
fn accepts(meeting: &mut Meeting, finished: &Finished) -> Verdict {
    let calls = meeting.calls;
    let listener = meeting.survivor.take().unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        let is_last = meeting.page.victim_is_gone() || Instant::now() >= deadline;
        match calls.accept(&listener, if is_last { 0 } else { 5 }) {
            Ok(ch) => {
                meeting.receives(ch, finished, 1)?;
                break;
            }
            Err(libc::ETIMEDOUT) => {}
            Err(error) => {
                meeting.failed(error, &[libc::EAGAIN, libc::EPIPE], finished)?;
                break;
            }
        }
    }
    drop(listener);
    meeting.works_again()
}

#[apply(scenario)]
fn connect() {
    Meet::<false, true>::check(
        "ipc_channel_connect, _send",
        |meeting| meeting.survivor = meeting.listener(),
        nothing,
        connect_and_send,
        accepts,
    );
}

#[apply(scenario)]
fn connect_that_waits() {
    Meet::<true, false>::check(
        "ipc_channel_connect, waits",
        |meeting| meeting.survivor = meeting.listener(),
        nothing,
        connect_and_send,
        accepts,
    );
}
