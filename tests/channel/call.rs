//! Calls: requests and replies.

use crate::fd_support::*;
use crate::peer::{abstract_name, silent_client};
use crate::support::*;
use libc::{EAGAIN, EBADMSG, EBUSY, EINVAL, EMSGSIZE, ETIMEDOUT, c_int};
use std::ptr::null;
use std::thread::{self, Scope, ScopedJoinHandle};
use unixipc::ffi::channel::*;

/// The bytes that a request or a reply occupies in addition to its own.
pub const HEADER: usize = IPC_CHANNEL_CALL_OVERHEAD;
/// The value of bytes that a call must not write.
const UNTOUCHED: u8 = 0xa5;

/// A request: the id of the call, and the bytes. The id is 0 at the end of the session.
pub type Request = (u64, Vec<u8>);

/// The bytes of `buffer` that a call wrote. It must have written nothing behind them.
#[track_caller]
fn written(mut buffer: Vec<u8>, len: usize) -> Vec<u8> {
    let rest = &buffer[len..];
    assert!(
        rest.iter().all(|byte| *byte == UNTOUCHED),
        "bytes behind the message were written"
    );
    buffer.truncate(len);
    buffer
}

impl End {
    /// Calls, with a buffer of `cap` bytes for the reply.
    #[track_caller]
    pub fn call(&self, request: &[u8], cap: usize, timeout_ms: c_int) -> Result<Vec<u8>, c_int> {
        let mut buffer = vec![UNTOUCHED; cap + 16];
        let (at, len) = (request.as_ptr().cast(), request.len());
        let reply = buffer.as_mut_ptr().cast();
        // SAFETY: an open end, and buffers of these sizes.
        let got = outcome(|| unsafe { ipc_channel_call(self.0, at, len, reply, cap, timeout_ms) });
        let bytes = written(buffer, *got.as_ref().unwrap_or(&0));
        got.map(|_| bytes)
    }

    /// Receives a request, with a buffer of `cap` bytes.
    #[track_caller]
    pub fn next_call(&self, cap: usize, timeout_ms: c_int) -> Result<Request, c_int> {
        let (mut buffer, mut id) = (vec![UNTOUCHED; cap + 16], 0);
        let at = buffer.as_mut_ptr().cast();
        // SAFETY: an open end, a buffer of this size, and an out pointer.
        let got =
            outcome(|| unsafe { ipc_channel_next_call(self.0, at, cap, &mut id, timeout_ms) });
        let bytes = written(buffer, *got.as_ref().unwrap_or(&0));
        assert_eq!(matches!(got, Ok(1..)), id != 0, "ret_id");
        got.map(|_| (id, bytes))
    }

    #[track_caller]
    pub fn reply(&self, id: u64, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: an open end, and a buffer of this size.
        outcome(|| unsafe { ipc_channel_reply(self.0, id, at, len, timeout_ms) } as isize)
    }
}

/// A message that begins with this header.
pub fn raw(letters: &[u8; 4], flags: u32, id: u64, expires: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = letters.to_vec();
    bytes.extend(flags.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(expires.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// A request, as a caller sends it.
pub fn raw_request(id: u64, expires: u64, payload: &[u8]) -> Vec<u8> {
    raw(b"uicq", 0, id, expires, payload)
}

/// Replies to all requests, each with its bytes in reverse order, until the session ends.
pub fn spawn_server<'scope>(
    scope: &'scope Scope<'scope, '_>,
    end: &'scope End,
) -> ScopedJoinHandle<'scope, ()> {
    scope.spawn(|| {
        loop {
            let (id, mut bytes) = end.next_call(end.max(), LONG).unwrap();
            if id == 0 {
                return;
            }
            bytes.reverse();
            assert_eq!(end.reply(id, &bytes, LONG), DONE);
        }
    })
}

/// Replies of all lengths, with each way of waiting.
#[apply(isolated)]
fn round_trips() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        let longest = a.max() - HEADER;
        thread::scope(|scope| {
            let server = spawn_server(scope, &b);
            let lens = [1, 7, 8, 9, 40, 41, 64, 65, 1000, 40_000, longest];
            for timeout_ms in [-1, LONG, INTR] {
                for len in lens {
                    let request = pattern(len, 3);
                    let mut reply = a.call(&request, len, timeout_ms).unwrap();
                    reply.reverse();
                    assert!(reply == request, "{len} bytes");
                }
            }
            assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
            server.join().unwrap();
        });
    }
}

/// The lengths of a request: at least 1 byte, and at most the longest message less the header.
#[apply(isolated)]
fn lengths_of_requests() {
    let (a, b) = small();
    let longest = a.max() - HEADER;
    assert_eq!(a.call(&[], 9, LONG), Err(EINVAL));
    assert_eq!(a.call(&vec![0; longest + 1], 9, LONG), Err(EMSGSIZE));
    for len in [isize::MAX as usize, usize::MAX - 8, usize::MAX] {
        let at = null::<u8>().wrapping_add(1).cast();
        // SAFETY: a length that is refused before the bytes are read.
        let got = outcome(|| unsafe { ipc_channel_call(a.0, at, len, at.cast_mut(), 0, LONG) });
        assert_eq!(got, Err(EMSGSIZE), "{len:#x}");
        // SAFETY: as above.
        let sent = outcome(|| unsafe { ipc_channel_reply(a.0, 1, at, len, LONG) } as isize);
        assert_eq!(sent, Err(EMSGSIZE), "{len:#x}");
    }
    assert_eq!(b.recv(0), Err(EAGAIN), "nothing was sent");
    assert_eq!(a.stats().sent_messages, 0);
    assert_eq!(a.call(&vec![0; longest], 9, 1), Err(ETIMEDOUT));
    assert_eq!(b.recv_cap(SMALL_RING, 0).unwrap().len(), longest + HEADER);
}

/// A reply may be empty, and the buffer for it NULL. A reply that exceeds the buffer is discarded.
#[apply(isolated)]
fn lengths_of_replies() {
    let (a, b) = small();
    assert_eq!(b.reply(0, b"x", LONG), Err(EINVAL));
    assert_eq!(b.reply(1, &vec![0; b.max() - HEADER + 1], 0), Err(EMSGSIZE));
    assert_eq!(b.stats().sent_messages, 0);
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let request = b"x".as_ptr().cast();
            let null = null::<u8>().cast_mut().cast();
            // SAFETY: an open end, and a request of one byte.
            let got = outcome(|| unsafe { ipc_channel_call(a.0, request, 1, null, 0, LONG) });
            assert_eq!(got, Ok(0));
            assert_eq!(a.call(b"x", 9, LONG), Ok(vec![]));
            assert_eq!(a.call(b"x", 3, LONG), Err(EMSGSIZE));
            assert_eq!(a.call(b"x", 0, LONG), Err(EMSGSIZE));
            assert_eq!(a.call(b"x", 4, LONG), Ok(b"four".to_vec()));
            assert_eq!(a.call(b"x", 3, LONG), Err(EMSGSIZE));
        });
        for reply in [&b""[..], b"", b"four", b"4", b"four", b"four"] {
            let (id, request) = b.next_call(9, LONG).unwrap();
            assert_eq!(request, b"x");
            // SAFETY: an open end, and no bytes.
            let empty = || outcome(|| unsafe { ipc_channel_reply(b.0, id, null(), 0, 0) } as isize);
            let replied = match reply {
                b"" => empty(),
                _ => b.reply(id, reply, LONG),
            };
            assert_eq!(replied, DONE);
        }
        caller.join().unwrap();
    });
    assert_eq!(a.recv(0), Err(EAGAIN), "a reply is left");
}

/// A request that exceeds the buffer stays queued.
#[apply(isolated)]
fn buffer_too_small() {
    let (a, b) = small();
    assert_eq!(a.send(&raw_request(5, 0, b"four"), 0), DONE);
    for cap in [1, 3] {
        assert_eq!(b.next_call(cap, LONG), Err(EMSGSIZE));
    }
    assert_eq!(b.next_call(0, LONG), Err(EINVAL));
    assert_eq!(b.next_call(4, LONG), Ok((5, b"four".to_vec())));
}

/// The server holds several requests, and replies in another order.
#[apply(isolated)]
fn replies_out_of_order() {
    let (a, b) = pair();
    for id in [1, 2] {
        assert_eq!(a.send(&raw_request(id, 0, b"given up"), LONG), DONE);
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| [b"one", b"two"].map(|request| a.call(request, 9, LONG)));
        let held = [(); 3].map(|()| b.next_call(9, LONG).unwrap());
        for (id, mut bytes) in held.into_iter().rev() {
            bytes.reverse();
            assert_eq!(b.reply(id, &bytes, LONG), DONE);
        }
        let (id, request) = b.next_call(9, LONG).unwrap();
        assert_eq!(request, b"two");
        assert_eq!(b.reply(id, b"2", LONG), DONE);
        let replies = caller.join().unwrap();
        assert_eq!(replies, [Ok(b"eno".to_vec()), Ok(b"2".to_vec())]);
    });
}

/// One thread receives the requests, another replies.
#[apply(isolated)]
fn server_with_two_threads() {
    const CALLS: u64 = 2000;
    let (a, b) = pair();
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<Request>();
        scope.spawn(|| {
            let sender = sender;
            for _ in 0..CALLS {
                sender.send(b.next_call(99, LONG).unwrap()).unwrap();
            }
        });
        scope.spawn(|| {
            for (id, bytes) in receiver {
                assert_eq!(b.reply(id, &bytes, LONG), DONE);
            }
        });
        for number in 0..CALLS {
            let request = number.to_le_bytes();
            assert_eq!(a.call(&request, 8, LONG).unwrap(), request);
        }
    });
}

/// A message that is neither a request nor a reply fails both calls, and `recv` receives it.
#[apply(isolated)]
fn ordinary_messages() {
    let (a, b) = small();
    let others = [
        b"x".to_vec(),
        vec![0; HEADER - 1],
        vec![0; 100],
        raw(b"uicq", 0, 0, 0, b"id 0"),
        raw(b"uicq", 0, 1, 0, b""),
        raw(b"uicq", 1, 1, 0, b"flags"),
        raw(b"uicr", 1 << 31, 1, 0, b"flags"),
        raw(b"uicx", 0, 1, 0, b"letters"),
        raw(b"UICQ", 0, 1, 0, b"letters"),
        raw_request(1, 0, b"x")[..HEADER - 1].to_vec(),
    ];
    for other in others {
        assert_eq!(b.send(&other, 0), DONE);
        for timeout_ms in [0, LONG, -1] {
            assert_eq!(a.call(b"x", 9, timeout_ms), Err(EBADMSG), "{other:?}");
            assert_eq!(a.next_call(9, timeout_ms), Err(EBADMSG), "{other:?}");
        }
        assert_eq!(b.recv(0), Err(EAGAIN), "a request was sent");
        assert_eq!(a.recv(0).unwrap(), other);
    }
}

/// A message with descriptors is an ordinary message, whatever its bytes: no call may lose its
/// descriptors.
#[apply(isolated)]
fn messages_with_descriptors() {
    let (a, b) = pair_with(&WITH_FDS);
    for bytes in [raw(b"uicr", 0, 7, 0, b"x"), raw_request(7, 0, b"x")] {
        assert_eq!(b.send_fds(&bytes, &[file(3)], LONG), DONE);
        for timeout_ms in [0, LONG, -1] {
            assert_eq!(a.call(b"x", 9, timeout_ms), Err(EBADMSG));
            assert_eq!(a.next_call(9, timeout_ms), Err(EBADMSG));
        }
        assert_eq!(b.recv(0), Err(EAGAIN), "a request was sent");
        let (received, files) = a.recv_fds(1, 0).unwrap();
        assert_eq!(received, bytes);
        assert_eq!(identities(&files), [3]);
    }
    // Calls and descriptors alternate.
    assert_eq!(b.send_fds(b"file", &[file(4)], LONG), DONE);
    assert_eq!(b.send(&raw_request(8, 0, b"request"), LONG), DONE);
    assert_eq!(identities(&a.recv_fds(1, 0).unwrap().1), [4]);
    assert_eq!(a.next_call(9, 0), Ok((8, b"request".to_vec())));
}

/// A message that arrives while the caller waits for the reply.
#[apply(isolated)]
fn ordinary_message_before_the_reply() {
    let (a, b) = pair();
    for (other, received) in [
        (b"news".to_vec(), Err(EBADMSG)),
        (raw_request(9, 0, b"you"), Ok((9, b"you".to_vec()))),
    ] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| a.call(b"x", 9, LONG));
            let (id, _) = b.next_call(9, LONG).unwrap();
            assert_eq!(b.send(&other, LONG), DONE);
            assert_eq!(b.reply(id, b"late", LONG), DONE);
            assert_eq!(caller.join().unwrap(), Err(EBADMSG));
        });
        assert_eq!(a.next_call(9, 0), received);
        if received.is_err() {
            assert_eq!(a.recv(0).unwrap(), other);
        }
        // The reply is late now.
        assert_eq!(a.call(b"x", 9, 1), Err(ETIMEDOUT));
    }
}

/// Two ends call each other at the same time. At least one finds the other's request, and serves it.
#[apply(isolated)]
fn both_sides_call() {
    for _ in 0..100 {
        let (a, b) = pair();
        let call_or_serve = |end: &End| {
            let called = end.call(b"x", 9, LONG);
            if called == Err(EBADMSG) {
                let (id, request) = end.next_call(9, 0).unwrap();
                assert_eq!(request, b"x");
                assert_eq!(end.reply(id, b"y", LONG), DONE);
            }
            called
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| call_or_serve(&a));
            (call_or_serve(&b), one.join().unwrap())
        });
        match (one, other) {
            (Err(EBADMSG), Err(EBADMSG)) => {}
            (Err(EBADMSG), Ok(reply)) | (Ok(reply), Err(EBADMSG)) => assert_eq!(reply, b"y"),
            both => panic!("{both:?}"),
        }
    }
}

/// Reserved space and a peeked message.
#[apply(isolated)]
fn busy() {
    let (a, b) = pair();
    a.reserve(9, 0).unwrap();
    assert_eq!(a.call(b"x", 9, LONG), Err(EBUSY));
    assert_eq!(a.reply(1, b"x", LONG), Err(EBUSY));
    assert_eq!(a.cancel(), DONE);
    assert_eq!(b.send(&raw_request(7, 0, b"request"), 0), DONE);
    a.peek(0).unwrap();
    assert_eq!(a.call(b"x", 9, LONG), Err(EBUSY));
    assert_eq!(b.recv(0), Err(EAGAIN), "nothing was sent");
    // As recv does, next_call receives the message that peek has returned.
    assert_eq!(a.next_call(9, 0), Ok((7, b"request".to_vec())));
    assert_eq!(a.release(), Err(EINVAL));
}

/// On an accepted channel a call completes the handshake, within its time-out.
#[apply(isolated)]
fn handshake_is_completed() {
    let name = abstract_name();
    let listener = listen(&name);
    type Call = fn(&End, c_int) -> Result<(), c_int>;
    let calls: [Call; 3] = [
        |end, ms| end.call(b"x", 9, ms).map(drop),
        |end, ms| end.next_call(9, ms).map(drop),
        |end, ms| end.reply(1, b"x", ms).map(drop),
    ];
    for call in calls {
        let client = silent_client(&name);
        let server = accept(&listener, LONG).unwrap();
        assert_eq!(call(&server, 0), Err(EAGAIN));
        let (result, ms) = timed_ms(|| call(&server, 20));
        assert_eq!(result, Err(ETIMEDOUT));
        assert!((20..5000).contains(&ms), "{ms} ms");
        drop(client);
    }
    thread::scope(|scope| {
        let client = scope.spawn(|| connect(&name, LONG).unwrap());
        let server = accept(&listener, LONG).unwrap();
        let reply = scope.spawn(move || server.call(b"x", 9, LONG));
        let client = client.join().unwrap();
        let (id, _) = client.next_call(9, LONG).unwrap();
        assert_eq!(client.reply(id, b"y", LONG), DONE);
        assert_eq!(reply.join().unwrap().unwrap(), b"y");
    });
}
