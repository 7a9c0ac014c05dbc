//! Messages with descriptors: the sender or the receiver is killed. The survivor is the peer, or a
//! related process that has the same end.

use crate::channel::{Calls, Ch, SHORT, WAIT};
use crate::check;
use crate::child;
use crate::harness::{Finished, Scenario, Verdict};
use crate::support::{Outcome, expect, expect_one_of, outcome, sends_until_epipe};
use common::descriptors::pipe;
use common::isolated::apply;
use libc::c_int;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use unixipc::ffi::channel::IPC_CHANNEL_F_FDS;

/// How long the end of a pipe may take.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// A pipe whose write end is sent with a message. It ends when no process has the write end.
struct Pipe {
    read: File,
    write: Option<File>,
}

/// A channel, and a pipe for each message.
struct State {
    calls: &'static Calls,
    /// The end that the victim uses.
    victim: Ch,
    /// The other end.
    peer: Ch,
    pipes: [Pipe; 2],
}

/// A received message: its number, if its content is right, and the inodes of its descriptors.
#[derive(Debug, PartialEq)]
struct Received(Option<usize>, Vec<u64>);

impl State {
    fn new(calls: &'static Calls) -> Self {
        let [victim, peer] = calls.pair_with(IPC_CHANNEL_F_FDS);
        let pipes = [(); 2].map(|()| {
            let (read, write) = pipe();
            Pipe {
                read,
                write: Some(write),
            }
        });
        Self {
            calls,
            victim,
            peer,
            pipes,
        }
    }

    /// Sends the message with this number, and the write end of its pipe.
    fn send(&self, ch: Ch, number: usize) -> Outcome {
        let bytes = &self.calls.messages[number];
        let fd = self.pipes[number].write.as_ref().unwrap().as_raw_fd();
        let call = self.calls.library.ipc_channel_send_fds;
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: an open handle, and the bytes have this length.
        outcome(unsafe { call(ch, at, len, &fd, 1, WAIT) } as isize)
    }

    fn receive_into(
        &self,
        ch: Ch,
        buffer: &mut [u8],
        fds: &mut [c_int; 2],
        timeout: c_int,
    ) -> (Outcome, usize) {
        let mut nfds = 2;
        let call = self.calls.library.ipc_channel_recv_fds;
        let (at, cap, to) = (buffer.as_mut_ptr().cast(), buffer.len(), fds.as_mut_ptr());
        // SAFETY: an open handle, and arrays of these lengths.
        let received = outcome(unsafe { call(ch, at, cap, to, &mut nfds, timeout) });
        (received, nfds)
    }

    /// Receives a message, and closes its descriptors. None at the end.
    fn receive(&self, ch: Ch, timeout: c_int) -> Result<Option<Received>, c_int> {
        let (mut buffer, mut fds) = (self.calls.buffer(), [-1; 2]);
        let (received, nfds) = self.receive_into(ch, &mut buffer, &mut fds, timeout);
        let len = received?;
        if len == 0 {
            return Ok(None);
        }
        let is_content = |message: &Vec<u8>| *message == buffer[..len];
        let number = self.calls.messages.iter().position(is_content);
        let inodes = fds[..nfds].iter().map(|fd| {
            // SAFETY: the call has opened it for this process.
            inode(unsafe { OwnedFd::from_raw_fd(*fd) })
        });
        Ok(Some(Received(number, inodes.collect())))
    }

    /// The message with this number, as it must be received.
    fn message(&self, number: usize) -> Received {
        let pipe = self.pipes[number].read.try_clone().unwrap();
        Received(Some(number), vec![inode(pipe.into())])
    }

    /// Closes this process's write ends.
    fn close_write_ends(&mut self) {
        for pipe in &mut self.pipes {
            pipe.write = None;
        }
    }

    /// No process has the descriptor of this message, and it is not queued either.
    fn is_closed(&self, number: usize) -> Verdict {
        let deadline = Instant::now() + TIME_LIMIT;
        let is_closed = child::poll_readable(&self.pipes[number].read, deadline);
        expect("the descriptor is closed", is_closed, true)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.calls.close(self.victim);
        self.calls.close(self.peer);
    }
}

/// Both ends of a pipe have the same inode.
fn inode(fd: OwnedFd) -> u64 {
    File::from(fd).metadata().unwrap().ino()
}

struct Case {
    calls: &'static Calls,
    /// Whether the survivor keeps the end that the victim uses.
    related: bool,
    /// Whether both messages are in the victim's ring.
    receives: bool,
    operate: fn(&State),
    survive: fn(&mut State, bool) -> Verdict,
}

impl Scenario for Case {
    type State = State;

    fn set_up(&self) -> State {
        let state = State::new(self.calls);
        if self.receives {
            for number in 0..2 {
                assert_eq!(state.send(state.peer, number), Ok(0));
            }
        }
        state
    }

    fn become_victim(&self, state: &mut State) {
        self.calls.close(state.peer);
        // The first operation, on another channel.
        let other = State::new(self.calls);
        if self.receives {
            assert_eq!(other.send(other.peer, 0), Ok(0));
        }
        (self.operate)(&other);
        drop(other);
        if self.receives {
            state.close_write_ends();
        }
    }

    fn operate(&self, state: &mut State) {
        (self.operate)(state);
    }

    fn survive(&self, state: &mut State, finished: &Finished) -> Verdict {
        if !self.related {
            self.calls.close(state.victim);
            state.victim = std::ptr::null_mut();
        }
        (self.survive)(state, finished.get())
    }
}

fn check_case(
    name: &str,
    related: bool,
    receives: bool,
    operate: fn(&State),
    survive: fn(&mut State, bool) -> Verdict,
) {
    let calls = Calls::new(&[SHORT, SHORT + 1]);
    let case = Case {
        calls,
        related,
        receives,
        operate,
        survive,
    };
    check(name, &case);
}

fn send(state: &State) {
    assert_eq!(state.send(state.victim, 0), Ok(0));
}

/// The peer receives the message with its descriptor, or the end.
#[apply(scenario)]
fn send_fds() {
    check_case("ipc_channel_send_fds", false, false, send, |state, sent| {
        state.close_write_ends();
        let mut received = Vec::new();
        while let Some(message) = state
            .receive(state.peer, WAIT)
            .map_err(|error| format!("message {}: errno {error}", received.len()))?
        {
            received.push(message);
        }
        if sent || !received.is_empty() {
            expect("the message", received, vec![state.message(0)])?;
        }
        // The descriptor may be queued without its message.
        state.calls.close(state.peer);
        state.peer = std::ptr::null_mut();
        state.is_closed(0)
    });
}

/// A related process continues to send. The descriptor of the victim's message arrives with that
/// message or not at all.
#[apply(scenario)]
fn send_fds_related() {
    let name = "ipc_channel_send_fds, related process sends";
    check_case(name, true, false, send, |state, sent| {
        let own = state.send(state.victim, 1);
        expect_one_of("the send", own, &[Ok(0), Err(libc::EBUSY)])?;
        state.close_write_ends();
        let received = state.receive(state.peer, 0);
        let expected = match own {
            Ok(_) => Ok(Some(state.message(1))),
            _ if sent || received.is_ok() => Ok(Some(state.message(0))),
            // The victim had published its tail, but not the message.
            _ => Err(libc::EAGAIN),
        };
        expect("the message", received, expected)?;
        expect("the next", state.receive(state.peer, 0), Err(libc::EAGAIN))?;
        if own.is_ok() {
            state.is_closed(0)?;
        }
        state.is_closed(1)
    });
}

fn receive(state: &State) {
    let (mut buffer, mut fds) = ([0; SHORT], [-1; 2]);
    let received = state.receive_into(state.victim, &mut buffer, &mut fds, WAIT);
    assert_eq!(received, (Ok(SHORT), 1));
}

fn receive_message_only(state: &State) {
    let received = state.calls.recv(state.victim, &mut [0; SHORT], 0);
    assert_eq!(received, Ok(SHORT));
}

fn peek_and_release(state: &State) {
    assert_eq!(state.calls.peek(state.victim), SHORT);
    state.calls.release(state.victim);
}

/// No descriptor is left when the receiver is dead, although the sender keeps its end.
fn peer_survives(state: &mut State, _: bool) -> Verdict {
    state.close_write_ends();
    state.is_closed(0)?;
    state.is_closed(1)?;
    sends_until_epipe(|| match state.calls.send(state.peer, 0, WAIT) {
        Ok(_) => 0,
        Err(_) => -1,
    })
}

/// A related process receives the message with its descriptor, or skips it if the victim had taken
/// the descriptor. It receives the next message in either case.
fn related_survives(state: &mut State, received: bool) -> Verdict {
    state.close_write_ends();
    let first = state.receive(state.victim, 0);
    match &first {
        Err(libc::EBUSY) => {
            // The victim has received the message.
            state.is_closed(0)?;
            expect("again", state.receive(state.victim, 0), Err(libc::EBUSY))
        }
        _ if received => Err(format!("{first:?} after the victim had received")),
        Ok(Some(message)) if *message == state.message(0) => {
            let next = state.receive(state.victim, 0);
            expect("the next message", next, Ok(Some(state.message(1))))?;
            state.is_closed(0)?;
            state.is_closed(1)
        }
        _ => {
            expect("the next message", first, Ok(Some(state.message(1))))?;
            state.is_closed(0)?;
            state.is_closed(1)
        }
    }
}

#[apply(scenario)]
fn recv_fds() {
    let name = "ipc_channel_recv_fds";
    check_case(name, false, true, receive, peer_survives);
}

#[apply(scenario)]
fn recv_fds_related() {
    let name = "ipc_channel_recv_fds, related process receives";
    check_case(name, true, true, receive, related_survives);
}

#[apply(scenario)]
fn recv_of_descriptors() {
    let name = "ipc_channel_recv, message with a descriptor";
    check_case(name, false, true, receive_message_only, peer_survives);
}

#[apply(scenario)]
fn recv_of_descriptors_related() {
    let name = "ipc_channel_recv, message with a descriptor, related process";
    check_case(name, true, true, receive_message_only, related_survives);
}

#[apply(scenario)]
fn release_of_descriptors_related() {
    let name = "ipc_channel_release, message with a descriptor, related process";
    check_case(name, true, true, peek_and_release, related_survives);
}
