//! The data that an earlier version sends over a channel: its hello, and the memory with its ring.

use crate::call;
use crate::relay::*;
use crate::support::*;
use common::connection::{Hello, send_with_fds};
use libc::{EPIPE, ESTALE, SOCK_SEQPACKET, c_int};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{ptr, thread};
use unixipc::channel::Channel;
use unixipc::ffi::channel::*;

/// The messages in the recorded ring.
const MESSAGES: [&[u8]; 4] = [b"first", &[7; 300], b"third", b"the last one of a batch"];
/// The control words that have a meaning; the ring follows at 65,536.
pub const USED: [std::ops::Range<usize>; 4] = [0..16, 128..152, 256..276, 65536..usize::MAX];

/// An end of a channel; closed when dropped.
#[derive(Debug)]
pub struct End(*mut Channel);

// SAFETY: an end may be used by several threads.
unsafe impl Send for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: an open end, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

impl End {
    pub fn new(make: impl FnOnce(*mut *mut Channel) -> Outcome) -> Result<Self, c_int> {
        let mut ch = ptr::null_mut();
        make(&mut ch).map(|_| Self(ch))
    }

    /// Makes an end with small rings over a socket.
    pub fn over(socket: &OwnedFd) -> Result<Self, c_int> {
        let opts = ipc_channel_opts {
            flags: 0,
            spin_us: 0,
            send_size: 1,
            recv_size: 0,
            recv_size_max: 0,
            message_max: 0,
            message_align: 16,
            reserved: 0,
        };
        let (socket, size) = (socket.as_raw_fd(), size_of_val(&opts));
        Self::new(|ret| call!(ipc_channel_from_fd(socket, &opts, size, LONG, ret)))
    }

    #[track_caller]
    pub fn send(&self, message: &[u8]) -> Outcome {
        call!(ipc_channel_send(
            self.0,
            message.as_ptr().cast(),
            message.len(),
            LONG
        ))
    }

    #[track_caller]
    pub fn recv(&self) -> Result<Vec<u8>, c_int> {
        let mut buffer = vec![0; 1000];
        let to = buffer.as_mut_ptr().cast();
        let len = call!(ipc_channel_recv(self.0, to, 1000, LONG))?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// Sends all messages: some one by one, and the rest as a batch.
    fn send_all(&self) {
        for message in &MESSAGES[..2] {
            assert_eq!(self.send(message), Ok(0));
        }
        let parts = [MESSAGES[2], MESSAGES[3]].map(|message| libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        });
        let sent = call!(ipc_channel_send_many(self.0, parts.as_ptr(), 2, LONG));
        assert_eq!(sent, Ok(2));
    }
}

/// Two ends, and the hello of each. The changes apply to the hello of the first and of the second.
pub fn connect(
    first: impl Fn(&mut Bytes),
    second: impl Fn(&mut Bytes),
) -> ([Result<End, c_int>; 2], [Hello; 2]) {
    let (one, to_one) = sockets(SOCK_SEQPACKET);
    let (two, to_two) = sockets(SOCK_SEQPACKET);
    thread::scope(|scope| {
        let ends = [&one, &two].map(|socket| scope.spawn(|| End::over(socket)));
        let hello = receive(&to_one);
        let other = receive(&to_two);
        for (hello, to, change) in [
            (&hello, &to_two, &first as &dyn Fn(&mut Bytes)),
            (&other, &to_one, &second),
        ] {
            let mut bytes = hello.bytes;
            change(&mut bytes);
            send_with_fds(to, &bytes, &hello.raw_fds());
        }
        (ends.map(|end| end.join().unwrap()), [hello, other])
    })
}

/// The hello of an end of the present library, and its memory after it has sent all messages.
fn fresh() -> (Bytes, Vec<u8>) {
    let ([one, two], [hello, _]) = connect(unchanged, unchanged);
    let (one, _two) = (one.unwrap(), two.unwrap());
    one.send_all();
    let mut memory = memory_of(&hello);
    // The sending process, and the processor.
    mask(&mut memory, 12, &[1, 0, 0, 0]);
    mask(&mut memory, 264, &[1, 0, 0, 0]);
    mask_label(&mut memory);
    (constant_bytes(&hello), memory)
}

/// A peer that consists of recordings.
pub struct OldPeer {
    socket: OwnedFd,
    /// While it is open, the peer is alive.
    _write_end: File,
}

impl OldPeer {
    /// Connects an end of the present library to the peer.
    pub fn connect(hello: &[u8], memory: &[u8]) -> (Self, Result<End, c_int>) {
        let (socket, other) = sockets(SOCK_SEQPACKET);
        let (read_end, write_end) = pipe();
        let memory = sealed_copy(memory);
        send_with_fds(&socket, hello, &[memory.as_raw_fd(), read_end.as_raw_fd()]);
        let peer = Self {
            socket,
            _write_end: write_end,
        };
        (peer, End::over(&other))
    }

    /// Receives all messages from a peer, and then its end.
    #[track_caller]
    pub fn check_messages(hello: &[u8], memory: &[u8]) {
        let (peer, end) = Self::connect(hello, memory);
        let end = end.unwrap();
        for message in MESSAGES {
            assert_eq!(end.recv().unwrap(), message);
        }
        assert_eq!(end.send(b"an answer"), Ok(0));
        let answer = memory_of(&receive(&peer.socket));
        assert_eq!(answer[65536 + 12..][..4], 9u32.to_le_bytes());
        assert_eq!(&answer[65536 + 16..][..9], b"an answer");
        drop(peer);
        assert_eq!(end.recv(), Ok(vec![]));
        assert_eq!(end.send(b"x"), Err(EPIPE));
    }
}

#[apply(isolated)]
fn old_peer() {
    let (present, _) = fresh();
    for set in sets() {
        let (hello, memory) = (
            set.recording("channel-hello"),
            set.recording("channel-memory"),
        );
        if hello[VERSION..FLAGS] == present[VERSION..FLAGS] {
            OldPeer::check_messages(&hello, &memory);
        } else {
            let (_peer, end) = OldPeer::connect(&hello, &memory);
            assert_eq!(end.unwrap_err(), ESTALE);
        }
    }
}

/// The protocol does not change without its version.
#[apply(isolated)]
fn fresh_recordings() {
    let (hello, memory) = fresh();
    for set in sets() {
        if is_freezing() || set.recording("channel-hello")[VERSION..FLAGS] == hello[VERSION..FLAGS]
        {
            set.assert_recorded("channel-hello", &hello);
            set.assert_recorded("channel-memory", &memory);
        }
    }
}
