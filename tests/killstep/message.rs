//! Messages and bytes through a pair: the sender is killed, or the receiver.

use crate::check;
use crate::child;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{content, outcome, sends_until_epipe};
use common::descriptors;
use common::isolated::apply;
use libc::{SOCK_SEQPACKET, SOCK_STREAM, c_int, iovec};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

/// Longer than a single write to a socket, and short enough that a socket holds two messages.
const LONG: usize = 50_000;
/// Longer than a socket's buffer, so that the sender must wait.
const OVERSIZED: usize = 400_000;
const SHORT: usize = 100;
/// The number of descriptors of a message.
const FDS: usize = 3;
/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;
/// The time limit for an end that must come at once.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// A pair of sockets, and a pipe whose write end is passed with messages. The pipe ends when no
/// process has the write end.
pub struct Pair {
    victim: Option<OwnedFd>,
    survivor: Option<OwnedFd>,
    pipe: Option<File>,
    passed: Option<File>,
    buffer: Vec<u8>,
}

impl Pair {
    fn open(library: &Library, socket_type: c_int, len: usize) -> Self {
        let mut ends = [-1; 2];
        // SAFETY: an array of two descriptors.
        assert_eq!(
            unsafe { (library.ipc_pair_open)(socket_type, ends.as_mut_ptr()) },
            0
        );
        // SAFETY: the library has just made them for us.
        let [victim, survivor] = ends.map(|fd| Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        let (pipe, passed) = descriptors::pipe();
        Self {
            victim,
            survivor,
            pipe: Some(pipe),
            passed: Some(passed),
            buffer: vec![0; len],
        }
    }

    /// The calling process's end.
    fn own_end(&self) -> c_int {
        let end = self.victim.as_ref().or(self.survivor.as_ref());
        end.unwrap().as_raw_fd()
    }

    fn become_victim(&mut self) {
        self.survivor = None;
        self.pipe = None;
    }

    /// Closes the victim's end, and unless this process passes descriptors, the passed descriptor.
    fn become_survivor(&mut self, passes: bool) {
        self.victim = None;
        if !passes {
            self.passed = None;
        }
    }

    /// Whether no process holds a passed descriptor.
    fn passed_descriptors_are_closed(&mut self) -> bool {
        self.passed = None;
        let pipe = self.pipe.take().unwrap();
        child::poll_readable(&pipe, Instant::now() + TIME_LIMIT)
    }
}

/// The message of a scenario.
#[derive(Clone, Copy)]
struct Message {
    socket_type: c_int,
    len: usize,
    nfds: usize,
    /// Whether ipc_msg_sendv sends it, in two parts.
    in_parts: bool,
}

impl Message {
    const fn new(socket_type: c_int, len: usize, nfds: usize) -> Self {
        Self {
            socket_type,
            len,
            nfds,
            in_parts: false,
        }
    }

    const fn in_parts(self) -> Self {
        Self {
            in_parts: true,
            ..self
        }
    }

    /// Sends these bytes.
    fn send(&self, library: &Library, pair: &Pair, bytes: &[u8], timeout: c_int) -> isize {
        let fd = pair.passed.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let fds = [fd; FDS];
        if self.in_parts {
            let (one, two) = bytes.split_at(bytes.len() / 3);
            let parts = [one, two].map(|bytes| iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
            let (end, iov) = (pair.own_end(), parts.as_ptr());
            // SAFETY: the parts and the array have these lengths.
            let len =
                unsafe { (library.ipc_msg_sendv)(end, iov, 2, fds.as_ptr(), self.nfds, timeout) };
            return if len == bytes.len() as isize { 0 } else { len };
        }
        // SAFETY: the bytes and the array have these lengths.
        let result = unsafe {
            (library.ipc_msg_send)(
                pair.own_end(),
                bytes.as_ptr().cast(),
                bytes.len(),
                fds.as_ptr(),
                self.nfds,
                timeout,
            )
        };
        result as isize
    }

    /// Receives into the first `cap` bytes of the buffer, and closes the received descriptors.
    /// Returns the call's result and the number of descriptors.
    fn recv(
        &self,
        library: &Library,
        pair: &mut Pair,
        cap: usize,
        timeout: c_int,
    ) -> (isize, usize) {
        let mut fds = [-1; FDS + 1];
        let (len, nfds) = self.recv_only(library, pair, cap, &mut fds, timeout);
        for fd in &fds[..nfds] {
            // SAFETY: the library has just stored it for us.
            drop(unsafe { OwnedFd::from_raw_fd(*fd) });
        }
        (len, nfds)
    }

    /// Receives into the buffer and `fds`.
    fn recv_only(
        &self,
        library: &Library,
        pair: &mut Pair,
        cap: usize,
        fds: &mut [c_int; FDS + 1],
        timeout: c_int,
    ) -> (isize, usize) {
        let mut nfds = if self.nfds == 0 { 0 } else { fds.len() };
        let ret_fds = if self.nfds == 0 {
            ptr::null_mut()
        } else {
            fds.as_mut_ptr()
        };
        // SAFETY: the buffer has at least cap bytes, the array nfds elements.
        let len = unsafe {
            (library.ipc_msg_recv)(
                pair.own_end(),
                pair.buffer.as_mut_ptr().cast(),
                cap,
                ret_fds,
                &mut nfds,
                timeout,
            )
        };
        (len, if len > 0 { nfds } else { 0 })
    }
}

/// The victim sends its second message; the first one is short.
struct Send<const SLEEPS: bool, const CONCURRENT: bool> {
    library: Library,
    message: Message,
    contents: [Vec<u8>; 2],
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Send<SLEEPS, CONCURRENT> {
    fn check(name: &str, message: Message) {
        let scenario = Self {
            library: library::load(),
            message,
            contents: [content(0, SHORT), content(1, message.len)],
        };
        check(name, &scenario);
    }

    fn send(&self, pair: &Pair, number: usize) {
        let content = &self.contents[number];
        assert_eq!(self.message.send(&self.library, pair, content, -1), 0);
    }
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Scenario for Send<SLEEPS, CONCURRENT> {
    type State = Pair;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = CONCURRENT;

    fn set_up(&self) -> Pair {
        Pair::open(&self.library, self.message.socket_type, self.message.len)
    }

    fn become_victim(&self, pair: &mut Pair) {
        pair.become_victim();
        self.send(pair, 0);
    }

    fn operate(&self, pair: &mut Pair) {
        self.send(pair, 1);
    }

    fn survive(&self, pair: &mut Pair, finished: &Finished) -> Verdict {
        pair.become_survivor(false);
        let message = self.message;
        let mut received = 0;
        loop {
            let cap = message.len;
            let (result, nfds) = message.recv(&self.library, pair, cap, WAIT);
            match outcome(result) {
                Ok(0) => break,
                Err(libc::EPROTO) if message.socket_type == SOCK_STREAM => {
                    if finished.get() {
                        return Err("EPROTO, although the sender had finished".into());
                    }
                    break;
                }
                Err(error) => return Err(format!("errno {error}")),
                Ok(len) => {
                    if self.contents.get(received).map(Vec::as_slice) != Some(&pair.buffer[..len]) {
                        return Err(format!("a wrong message {received} of {len} bytes"));
                    }
                    if nfds != message.nfds {
                        return Err(format!("{nfds} descriptors with message {received}"));
                    }
                    received += 1;
                }
            }
        }
        // The end is final.
        let (again, _) = message.recv(&self.library, pair, message.len, WAIT);
        if again != 0 {
            return Err(format!("{again} after the end"));
        }
        let least = if finished.get() { 2 } else { 1 };
        if received < least || received > 2 {
            return Err(format!("{received} messages, at least {least} were sent"));
        }
        if !pair.passed_descriptors_are_closed() {
            return Err("a passed descriptor is still open".into());
        }
        Ok(())
    }
}

#[apply(scenario)]
fn send_on_stream() {
    Send::<false, false>::check("ipc_msg_send, stream", Message::new(SOCK_STREAM, SHORT, 0));
}

#[apply(scenario)]
fn send_on_stream_with_descriptors() {
    let message = Message::new(SOCK_STREAM, SHORT, FDS);
    Send::<false, false>::check("ipc_msg_send, stream, with descriptors", message);
}

#[apply(scenario)]
fn send_on_stream_in_pieces() {
    let message = Message::new(SOCK_STREAM, OVERSIZED, FDS);
    Send::<false, true>::check("ipc_msg_send, stream, in pieces, reader at work", message);
}

#[apply(scenario)]
fn send_on_stream_that_is_full() {
    let message = Message::new(SOCK_STREAM, OVERSIZED, FDS);
    Send::<true, false>::check("ipc_msg_send, stream, in pieces, full", message);
}

#[apply(scenario)]
fn send_on_seqpacket() {
    let message = Message::new(SOCK_SEQPACKET, SHORT, 0);
    Send::<false, false>::check("ipc_msg_send, seqpacket", message);
}

#[apply(scenario)]
fn send_on_seqpacket_with_descriptors() {
    let message = Message::new(SOCK_SEQPACKET, SHORT, FDS);
    Send::<false, false>::check("ipc_msg_send, seqpacket, with descriptors", message);
}

#[apply(scenario)]
fn send_parts_on_stream() {
    let message = Message::new(SOCK_STREAM, SHORT, FDS).in_parts();
    Send::<false, false>::check("ipc_msg_sendv, stream, with descriptors", message);
}

#[apply(scenario)]
fn send_parts_on_stream_in_pieces() {
    let message = Message::new(SOCK_STREAM, OVERSIZED, FDS).in_parts();
    Send::<false, true>::check("ipc_msg_sendv, stream, in pieces, reader at work", message);
}

#[apply(scenario)]
fn send_parts_on_seqpacket() {
    let message = Message::new(SOCK_SEQPACKET, SHORT, 0).in_parts();
    Send::<false, false>::check("ipc_msg_sendv, seqpacket", message);
}

/// The victim receives its second message.
struct Recv<const SLEEPS: bool> {
    library: Library,
    message: Message,
    /// The buffer size for the second message.
    cap: usize,
}

impl<const SLEEPS: bool> Recv<SLEEPS> {
    fn check(name: &str, message: Message, cap: usize) {
        let library = library::load();
        check(
            name,
            &Self {
                library,
                message,
                cap,
            },
        );
    }
}

impl<const SLEEPS: bool> Scenario for Recv<SLEEPS> {
    type State = Pair;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Pair {
        let mut pair = Pair::open(&self.library, self.message.socket_type, self.message.len);
        // The messages that the victim receives are already in the socket.
        let victim = pair.victim.take();
        let messages = if SLEEPS { 1 } else { 2 };
        for _ in 0..messages {
            let sent = self.message.send(&self.library, &pair, &pair.buffer, 0);
            assert_eq!(sent, 0);
        }
        pair.victim = victim;
        pair
    }

    fn become_victim(&self, pair: &mut Pair) {
        pair.become_victim();
        let (len, nfds) = self.message.recv(&self.library, pair, self.message.len, -1);
        assert_eq!((len as usize, nfds), (self.message.len, self.message.nfds));
    }

    fn operate(&self, pair: &mut Pair) {
        let mut fds = [-1; FDS + 1];
        let message = &self.message;
        let (len, _) = message.recv_only(&self.library, pair, self.cap, &mut fds, -1);
        let fits = self.cap >= self.message.len;
        assert_eq!(len, if fits { self.message.len as isize } else { -1 });
    }

    fn survive(&self, pair: &mut Pair, _: &Finished) -> Verdict {
        pair.become_survivor(true);
        sends_until_epipe(|| self.message.send(&self.library, pair, &pair.buffer, WAIT))?;
        if !pair.passed_descriptors_are_closed() {
            return Err("a passed descriptor is still open".into());
        }
        Ok(())
    }
}

#[apply(scenario)]
fn recv_on_stream() {
    Recv::<false>::check(
        "ipc_msg_recv, stream",
        Message::new(SOCK_STREAM, SHORT, 0),
        SHORT,
    );
}

#[apply(scenario)]
fn recv_on_stream_with_descriptors() {
    let message = Message::new(SOCK_STREAM, SHORT, FDS);
    Recv::<false>::check("ipc_msg_recv, stream, with descriptors", message, SHORT);
}

#[apply(scenario)]
fn recv_on_stream_in_pieces() {
    let message = Message::new(SOCK_STREAM, LONG, FDS);
    Recv::<false>::check("ipc_msg_recv, stream, 50 kB", message, LONG);
}

#[apply(scenario)]
fn recv_on_stream_too_long() {
    let message = Message::new(SOCK_STREAM, LONG, FDS);
    Recv::<false>::check("ipc_msg_recv, stream, longer than cap", message, SHORT);
}

#[apply(scenario)]
fn recv_on_stream_that_is_empty() {
    let message = Message::new(SOCK_STREAM, SHORT, 0);
    Recv::<true>::check("ipc_msg_recv, stream, empty", message, SHORT);
}

#[apply(scenario)]
fn recv_on_seqpacket() {
    let message = Message::new(SOCK_SEQPACKET, SHORT, 0);
    Recv::<false>::check("ipc_msg_recv, seqpacket", message, SHORT);
}

#[apply(scenario)]
fn recv_on_seqpacket_with_descriptors() {
    let message = Message::new(SOCK_SEQPACKET, SHORT, FDS);
    Recv::<false>::check("ipc_msg_recv, seqpacket, with descriptors", message, SHORT);
}

/// The victim sends bytes twice.
struct SendFull<const CONCURRENT: bool> {
    library: Library,
    bytes: Vec<u8>,
}

impl<const CONCURRENT: bool> SendFull<CONCURRENT> {
    fn check(name: &str, len: usize) {
        let scenario = Self {
            library: library::load(),
            bytes: content(1, len),
        };
        check(name, &scenario);
    }

    fn send(&self, pair: &Pair) -> isize {
        let (bytes, len) = (self.bytes.as_ptr().cast(), self.bytes.len());
        // SAFETY: the bytes have this length.
        unsafe { (self.library.ipc_send_full)(pair.own_end(), bytes, len, ptr::null_mut(), -1) }
    }
}

impl<const CONCURRENT: bool> Scenario for SendFull<CONCURRENT> {
    type State = Pair;
    const CONCURRENT: bool = CONCURRENT;

    fn set_up(&self) -> Pair {
        Pair::open(&self.library, SOCK_STREAM, 0)
    }

    fn become_victim(&self, pair: &mut Pair) {
        pair.become_victim();
        assert_eq!(self.send(pair), self.bytes.len() as isize);
    }

    fn operate(&self, pair: &mut Pair) {
        assert_eq!(self.send(pair), self.bytes.len() as isize);
    }

    fn survive(&self, pair: &mut Pair, finished: &Finished) -> Verdict {
        pair.become_survivor(false);
        // The buffer is larger than the sent bytes, so the call receives up to the end.
        let expected = [&self.bytes[..], &self.bytes[..]].concat();
        let mut buffer = vec![0; expected.len() + 1];
        let at = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer has this length.
        let result = unsafe {
            (self.library.ipc_recv_full)(pair.own_end(), at, buffer.len(), ptr::null_mut(), WAIT)
        };
        let received = outcome(result).map_err(|error| format!("errno {error}"))?;
        let least = self.bytes.len() * if finished.get() { 2 } else { 1 };
        if received < least || expected.get(..received) != Some(&buffer[..received]) {
            return Err(format!(
                "{received} bytes, or wrong ones; at least {least} were sent"
            ));
        }
        Ok(())
    }
}

#[apply(scenario)]
fn send_full() {
    SendFull::<false>::check("ipc_send_full", SHORT);
}

#[apply(scenario)]
fn send_full_in_pieces() {
    SendFull::<true>::check("ipc_send_full, in pieces, reader at work", OVERSIZED);
}

/// The victim receives bytes.
struct RecvFull {
    library: Library,
}

impl RecvFull {
    fn recv(&self, pair: &mut Pair) -> isize {
        let fd = pair.own_end();
        let at = pair.buffer.as_mut_ptr().cast();
        // SAFETY: the buffer has this length.
        unsafe { (self.library.ipc_recv_full)(fd, at, SHORT, ptr::null_mut(), -1) }
    }
}

impl Scenario for RecvFull {
    type State = Pair;

    fn set_up(&self) -> Pair {
        let mut pair = Pair::open(&self.library, SOCK_STREAM, SHORT);
        let victim = pair.victim.take();
        for _ in 0..2 {
            assert_eq!(self.send(&pair), SHORT as isize);
        }
        pair.victim = victim;
        pair
    }

    fn become_victim(&self, pair: &mut Pair) {
        pair.become_victim();
        assert_eq!(self.recv(pair), SHORT as isize);
    }

    fn operate(&self, pair: &mut Pair) {
        assert_eq!(self.recv(pair), SHORT as isize);
    }

    fn survive(&self, pair: &mut Pair, _: &Finished) -> Verdict {
        pair.become_survivor(false);
        sends_until_epipe(|| self.send(pair))
    }
}

impl RecvFull {
    fn send(&self, pair: &Pair) -> isize {
        let bytes = pair.buffer.as_ptr().cast();
        // SAFETY: the buffer has this length.
        unsafe { (self.library.ipc_send_full)(pair.own_end(), bytes, SHORT, ptr::null_mut(), WAIT) }
    }
}

#[apply(scenario)]
fn recv_full() {
    let library = library::load();
    check("ipc_recv_full", &RecvFull { library });
}
