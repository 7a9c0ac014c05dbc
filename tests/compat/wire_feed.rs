//! The data that an earlier version sends over a feed: the request of a subscriber and its page, the answer
//! of a publisher and the memory with its ring.

use crate::call;
use crate::relay::*;
use crate::support::*;
use common::connection::{Hello, send_with_fds};
use libc::{ESTALE, SOCK_SEQPACKET, c_int};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{ptr, thread};
use unixipc::feed::{Feed, Subscriber};
use unixipc::ffi::feed::*;

/// The messages in the recorded ring. The subscriber has received all but the last.
const MESSAGES: [&[u8]; 3] = [b"first", &[7; 300], b"third"];
/// The control words of the publisher that have a meaning; the ring follows at 65,536.
pub const USED: [Range<usize>; 6] = [
    0..20,
    128..136,
    256..328,
    384..392,
    512..528,
    65536..usize::MAX,
];
/// The control words of a subscriber that have a meaning.
pub const PAGE_USED: [Range<usize>; 2] = [0..24, 128..136];
/// The identity of the feed, which is random.
const IDENTITY: Range<usize> = 512..528;

/// A feed with a small ring; closed when dropped.
pub struct Publisher(*mut Feed);

impl Drop for Publisher {
    fn drop(&mut self) {
        // SAFETY: an open feed, and this is its last use.
        unsafe { ipc_feed_close(self.0) };
    }
}

impl Publisher {
    pub fn new() -> Self {
        let opts = ipc_feed_opts {
            flags: 0,
            spin_us: 0,
            size: 1,
            message_max: 0,
            message_align: 16,
            subscribers_max: 0,
            stall_ms: 0,
            lossy_only: 0,
        };
        let mut feed = ptr::null_mut();
        assert_eq!(
            call!(ipc_feed_create(&opts, size_of_val(&opts), &mut feed)),
            Ok(0)
        );
        Self(feed)
    }

    #[track_caller]
    pub fn publish(&self, message: &[u8]) {
        let published = call!(ipc_feed_publish(
            self.0,
            message.as_ptr().cast(),
            message.len(),
            LONG
        ));
        assert_eq!(published, Ok(0));
    }

    /// Answers the request that has arrived at a socket.
    #[track_caller]
    pub fn answer(&self, socket: &OwnedFd, other: &OwnedFd) {
        assert_eq!(call!(ipc_feed_add(self.0, socket.as_raw_fd())), Ok(0));
        wait_until("an answer", || {
            assert_eq!(call!(ipc_feed_service(self.0)), Ok(0));
            poll(other.as_raw_fd(), 0) != 0
        });
    }

    /// The number of messages that the only subscriber has not received.
    #[track_caller]
    fn lag(&self) -> u64 {
        // SAFETY: zeros are a state.
        let mut state: ipc_feed_subscriber = unsafe { std::mem::zeroed() };
        let count = call!(ipc_feed_subscribers(
            self.0,
            &mut state,
            1,
            size_of_val(&state)
        ));
        assert_eq!(count, Ok(1));
        state.lag_messages
    }
}

/// A subscriber; closed when dropped.
#[derive(Debug)]
pub struct Sub(*mut Subscriber);

// SAFETY: it may be used by another thread than the one that made it.
unsafe impl Send for Sub {}

impl Drop for Sub {
    fn drop(&mut self) {
        // SAFETY: an open subscriber, and this is its last use.
        unsafe { ipc_sub_close(self.0) };
    }
}

impl Sub {
    /// Subscribes from the oldest message on.
    pub fn over(socket: &OwnedFd) -> Result<Self, c_int> {
        let opts = ipc_sub_opts {
            flags: IPC_SUB_F_OLDEST,
            spin_us: 0,
            seq: 0,
            size_max: 0,
            name: c"a subscriber".as_ptr(),
            feed_id: [0; 16],
        };
        let (socket, size) = (socket.as_raw_fd(), size_of_val(&opts));
        let mut sub = ptr::null_mut();
        call!(ipc_sub_from_fd(socket, &opts, size, LONG, &mut sub)).map(|_| Self(sub))
    }

    /// Receives a message, and its sequence number.
    #[track_caller]
    pub fn recv(&self) -> Result<(Vec<u8>, u64), c_int> {
        let (mut buffer, mut seq) = (vec![0; 1000], 0);
        let to = buffer.as_mut_ptr().cast();
        let len = call!(ipc_sub_recv(self.0, to, 1000, &mut seq, LONG))?;
        buffer.truncate(len);
        Ok((buffer, seq))
    }
}

/// A subscriber of a publisher, the request, and the answer. The changes apply to the two hellos.
pub fn subscribe(
    publisher: &Publisher,
    change_request: impl Fn(&mut Bytes),
    change_answer: impl Fn(&mut Bytes),
) -> (Result<Sub, c_int>, [Hello; 2]) {
    let (socket, to_subscriber) = sockets(SOCK_SEQPACKET);
    let (accepted, to_publisher) = sockets(SOCK_SEQPACKET);
    thread::scope(|scope| {
        let sub = scope.spawn(|| Sub::over(&socket));
        let request = forward(&to_subscriber, &to_publisher, change_request);
        publisher.answer(&accepted, &to_publisher);
        let answer = forward(&to_publisher, &to_subscriber, change_answer);
        (sub.join().unwrap(), [request, answer])
    })
}

/// The data that the present library sends.
struct Fresh {
    request: Bytes,
    answer: Bytes,
    memory: Vec<u8>,
    page: Vec<u8>,
}

impl Fresh {
    fn new() -> Self {
        let publisher = Publisher::new();
        publisher.publish(MESSAGES[0]);
        let (sub, [request, answer]) = subscribe(&publisher, unchanged, unchanged);
        let sub = sub.unwrap();
        for message in &MESSAGES[1..] {
            publisher.publish(message);
        }
        for _ in 1..MESSAGES.len() {
            sub.recv().unwrap();
        }
        let (mut memory, mut page) = (memory_of(&answer), memory_of(&request));
        mask_memory(&mut memory);
        mask(&mut page, 132, &[1, 0, 0, 0]);
        mask_label(&mut page);
        Self {
            request: constant_bytes(&request),
            answer: constant_bytes(&answer),
            memory,
            page,
        }
    }
}

/// Replaces the identity and the processor.
fn mask_memory(memory: &mut [u8]) {
    memory[IDENTITY].fill(1);
    mask_label(memory);
    mask(memory, 388, &[1, 0, 0, 0]);
}

/// A subscriber of a publisher that consists of recordings, and the write end of its pipe: while it
/// is open, the publisher is alive.
pub fn subscribe_to_old(answer: &[u8], memory: &[u8]) -> (Result<Sub, c_int>, File) {
    let (socket, other) = sockets(SOCK_SEQPACKET);
    let (read_end, write_end) = pipe();
    let memory = sealed_copy(memory);
    send_with_fds(&other, answer, &[memory.as_raw_fd(), read_end.as_raw_fd()]);
    let sub = Sub::over(&socket);
    (sub, write_end)
}

/// Receives all messages of such a publisher, and then its end.
#[track_caller]
pub fn check_publisher(answer: &[u8], memory: &[u8]) {
    let (sub, write_end) = subscribe_to_old(answer, memory);
    let sub = sub.unwrap();
    for (number, message) in MESSAGES.iter().enumerate() {
        assert_eq!(sub.recv(), Ok((message.to_vec(), number as u64)));
    }
    drop(write_end);
    assert_eq!(sub.recv().unwrap().0, b"");
}

/// Admits a subscriber that consists of recordings. Returns the answer.
pub fn admit_old(publisher: &Publisher, request: &[u8], page: &[u8]) -> (Hello, File) {
    let (accepted, socket) = sockets(SOCK_SEQPACKET);
    let (read_end, write_end) = pipe();
    let page = sealed_copy(page);
    send_with_fds(&socket, request, &[page.as_raw_fd(), read_end.as_raw_fd()]);
    publisher.answer(&accepted, &socket);
    (receive(&socket), write_end)
}

/// Publishes for such a subscriber, which can read the memory if it is as it was.
#[track_caller]
pub fn check_subscriber(request: &[u8], page: &[u8], answer: &[u8], memory: &[u8]) {
    let publisher = Publisher::new();
    publisher.publish(MESSAGES[0]);
    let (hello, _write_end) = admit_old(&publisher, request, page);
    assert_eq!(constant_bytes(&hello), answer);
    for message in &MESSAGES[1..] {
        publisher.publish(message);
    }
    let mut present = memory_of(&hello);
    mask_memory(&mut present);
    assert_eq!(present, memory);
    assert_eq!(publisher.lag(), 1);
}

#[apply(isolated)]
fn old_publisher_and_subscriber() {
    let present = Fresh::new();
    for set in sets() {
        let [request, answer, memory, page] = ["request", "answer", "memory", "page"]
            .map(|part| set.recording(&format!("feed-{part}")));
        if request[VERSION..FLAGS] == present.request[VERSION..FLAGS] {
            check_publisher(&answer, &memory);
            check_subscriber(&request, &page, &answer, &memory);
        } else {
            let (sub, _write_end) = subscribe_to_old(&answer, &memory);
            assert_eq!(sub.unwrap_err(), ESTALE);
            let (refusal, _write_end) = admit_old(&Publisher::new(), &request, &page);
            assert_eq!(refusal.bytes[8..12], [1, 0, 0, 0]);
        }
    }
}

/// The protocol does not change without its version.
#[apply(isolated)]
fn fresh_recordings() {
    let fresh = Fresh::new();
    for set in sets() {
        let is_same =
            || set.recording("feed-request")[VERSION..FLAGS] == fresh.request[VERSION..FLAGS];
        if is_freezing() || is_same() {
            set.assert_recorded("feed-request", &fresh.request);
            set.assert_recorded("feed-answer", &fresh.answer);
            set.assert_recorded("feed-memory", &fresh.memory);
            set.assert_recorded("feed-page", &fresh.page);
        }
    }
}
