//! Typed wrappers of the feed functions, and set-up that several tests share.

pub use common::connection::{SOCKET_TYPES, abstract_name};
pub use common::prelude::*;
use libc::{c_int, c_uint, c_void, mode_t};
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::thread::{self, ScopedJoinHandle};
use std::{mem, ptr, slice};
use unixipc::feed;
pub use unixipc::ffi::feed::*;

/// The outcome of a successful call that returns 0.
pub const DONE: Outcome = Ok(0);

pub const INTR: c_int = unixipc::ffi::pair::IPC_WAIT_INTR;

/// The size of the smallest ring.
pub const SMALL_RING: usize = 65536;

pub const FEED: ipc_feed_opts = ipc_feed_opts {
    flags: 0,
    spin_us: 0,
    size: 0,
    message_max: 0,
    message_align: 0,
    subscribers_max: 0,
    stall_ms: 0,
    lossy_only: 0,
};

/// The smallest ring, and no spinning.
pub const SMALL: ipc_feed_opts = ipc_feed_opts {
    flags: IPC_FEED_F_NO_SPIN,
    size: 1,
    ..FEED
};

pub const RELIABLE: ipc_sub_opts = ipc_sub_opts {
    flags: 0,
    spin_us: 0,
    seq: 0,
    size_max: 0,
    name: ptr::null(),
    feed_id: [0; IPC_FEED_ID_SIZE],
};

pub const LOSSY: ipc_sub_opts = ipc_sub_opts {
    flags: IPC_SUB_F_LOSSY,
    ..RELIABLE
};

/// A subscriber that begins with the oldest message.
pub const OLDEST: ipc_sub_opts = ipc_sub_opts {
    flags: IPC_SUB_F_OLDEST,
    ..RELIABLE
};

/// A subscriber that begins with the message that has this sequence number.
pub fn from_seq(seq: u64) -> ipc_sub_opts {
    ipc_sub_opts {
        flags: IPC_SUB_F_FROM_SEQ,
        seq,
        ..RELIABLE
    }
}

/// A publisher; closed when dropped.
#[derive(Debug)]
pub struct Feed(pub *mut feed::Feed);

/// A subscriber; closed when dropped.
#[derive(Debug)]
pub struct Sub(pub *mut feed::Subscriber);

// SAFETY: one thread at a time may use a feed.
unsafe impl Send for Feed {}
// SAFETY: as above; the tests do not use a feed from two threads at once.
unsafe impl Sync for Feed {}
// SAFETY: one thread at a time may use a subscriber.
unsafe impl Send for Sub {}
// SAFETY: as above; the tests do not use a subscriber from two threads at once.
unsafe impl Sync for Sub {}

impl Drop for Feed {
    fn drop(&mut self) {
        // SAFETY: an open feed, and this is its last use.
        unsafe { ipc_feed_close(self.0) };
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        // SAFETY: an open subscriber, and this is its last use.
        unsafe { ipc_sub_close(self.0) };
    }
}

/// The return of a receive.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A message and its sequence number.
    Message(u64, T),
    /// The end of the feed.
    End,
    /// EOVERFLOW: the next message has this sequence number.
    Lost(u64),
}

/// The result of a receive.
pub type Receipt = Result<Received<Vec<u8>>, c_int>;

pub const END: Receipt = Ok(Received::End);

/// The receipt of a message.
pub fn message(seq: u64, bytes: &[u8]) -> Receipt {
    Ok(Received::Message(seq, bytes.to_vec()))
}

/// The report that all messages before `seq` are lost.
pub const fn lost_before(seq: u64) -> Receipt {
    Ok(Received::Lost(seq))
}

const OPTS: usize = size_of::<ipc_feed_opts>();
const SUB_OPTS: usize = size_of::<ipc_sub_opts>();
/// A sequence number that no test reaches.
const NO_SEQ: u64 = u64::MAX - 5;

impl Feed {
    #[track_caller]
    pub fn new() -> Self {
        Self::with(&FEED)
    }

    #[track_caller]
    pub fn with(opts: &ipc_feed_opts) -> Self {
        Self::try_with(opts, OPTS).unwrap()
    }

    /// Makes a feed with options of `size` bytes.
    #[track_caller]
    pub fn try_with(opts: *const ipc_feed_opts, size: usize) -> Result<Self, c_int> {
        let untouched = ptr::dangling_mut();
        let mut feed = untouched;
        // SAFETY: options of this size, and an out pointer.
        let done = outcome(|| unsafe { ipc_feed_create(opts, size, &mut feed) } as isize);
        assert_eq!(done.is_ok(), feed != untouched, "ret_feed");
        done.map(|_| Self(feed))
    }

    #[track_caller]
    pub fn publish(&self, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        self.publish_raw(bytes.as_ptr().cast(), bytes.len(), timeout_ms)
    }

    #[track_caller]
    pub fn publish_raw(&self, at: *const c_void, len: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: an open feed; the caller passes a buffer of this length.
        outcome(|| unsafe { ipc_feed_publish(self.0, at, len, timeout_ms) } as isize)
    }

    #[track_caller]
    #[allow(clippy::mut_from_ref)] // a feed has at most one reservation
    pub fn reserve(&self, len: usize, timeout_ms: c_int) -> Result<&mut [u8], c_int> {
        set_errno(SENTINEL);
        // SAFETY: an open feed.
        let at = unsafe { ipc_feed_reserve(self.0, len, timeout_ms) };
        if at.is_null() {
            return Err(failure());
        }
        assert_eq!(at.addr() % 8, 0, "alignment");
        // SAFETY: the library has reserved this memory until it is committed or cancelled.
        Ok(unsafe { slice::from_raw_parts_mut(at.cast(), len) })
    }

    #[track_caller]
    pub fn commit(&self, len: usize) -> Outcome {
        // SAFETY: an open feed.
        outcome(|| unsafe { ipc_feed_commit(self.0, len) } as isize)
    }

    #[track_caller]
    pub fn cancel(&self) -> Outcome {
        // SAFETY: an open feed.
        outcome(|| unsafe { ipc_feed_cancel(self.0) } as isize)
    }

    #[track_caller]
    pub fn listen(&self, path: &str) {
        assert_eq!(self.listen_with(path, 0o600, 0), DONE);
    }

    #[track_caller]
    pub fn listen_with(&self, path: &str, mode: mode_t, flags: c_uint) -> Outcome {
        let path = CString::new(path).unwrap();
        // SAFETY: an open feed, and a string.
        outcome(|| unsafe { ipc_feed_listen(self.0, path.as_ptr(), mode, flags) } as isize)
    }

    #[track_caller]
    pub fn add(&self, sock: &impl AsRawFd) -> Outcome {
        self.add_number(sock.as_raw_fd())
    }

    #[track_caller]
    pub fn add_number(&self, sock: c_int) -> Outcome {
        // SAFETY: an open feed.
        outcome(|| unsafe { ipc_feed_add(self.0, sock) } as isize)
    }

    #[track_caller]
    pub fn service(&self) -> Outcome {
        // SAFETY: an open feed.
        outcome(|| unsafe { ipc_feed_service(self.0) } as isize)
    }

    /// The descriptor, which the feed owns.
    #[track_caller]
    pub fn fd(&self) -> Result<c_int, c_int> {
        // SAFETY: an open feed.
        outcome(|| unsafe { ipc_feed_fd(self.0) } as isize).map(|fd| fd as c_int)
    }

    #[track_caller]
    pub fn info(&self) -> ipc_feed_info {
        // SAFETY: all zero bytes are a valid value.
        let mut info: ipc_feed_info = unsafe { mem::zeroed() };
        let size = size_of::<ipc_feed_info>();
        // SAFETY: an open feed, and a structure of this size.
        let done = outcome(|| unsafe { ipc_feed_info(self.0, &mut info, size) } as isize);
        assert_eq!(done, DONE);
        info
    }

    /// The length of the longest message.
    pub fn max(&self) -> usize {
        self.info().message_max as usize
    }

    /// The number of subscribers.
    #[track_caller]
    pub fn count(&self) -> usize {
        let (none, size) = (ptr::null_mut(), size_of::<ipc_feed_subscriber>());
        // SAFETY: an open feed, and an array of no element.
        outcome(|| unsafe { ipc_feed_subscribers(self.0, none, 0, size) }).unwrap()
    }

    /// The subscribers, in the order of their names.
    #[track_caller]
    pub fn subscribers(&self) -> Vec<ipc_feed_subscriber> {
        let size = size_of::<ipc_feed_subscriber>();
        // SAFETY: all zero bytes are a valid value.
        let mut list = vec![unsafe { mem::zeroed::<ipc_feed_subscriber>() }; self.count()];
        let (at, count) = (list.as_mut_ptr(), list.len());
        // SAFETY: an open feed, and an array of this length.
        let total = outcome(|| unsafe { ipc_feed_subscribers(self.0, at, count, size) });
        assert_eq!(total, Ok(count));
        list.sort_by_key(|subscriber| subscriber.name);
        list
    }

    /// The only subscriber.
    #[track_caller]
    pub fn subscriber(&self) -> ipc_feed_subscriber {
        let list = self.subscribers();
        assert_eq!(list.len(), 1, "the number of subscribers");
        list[0]
    }

    /// Publishes messages of `len` bytes until a subscriber leaves no space. Returns their number.
    #[track_caller]
    pub fn fill(&self, len: usize) -> u64 {
        for published in 0.. {
            let message = numbered(self.info().published, len);
            match self.publish(&message, 0) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, libc::EAGAIN);
                    return published;
                }
            }
        }
        unreachable!()
    }

    /// Publishes messages of `len` bytes with their sequence numbers until `count` were published
    /// in all.
    #[track_caller]
    pub fn publish_up_to(&self, count: u64, len: usize, timeout_ms: c_int) {
        for seq in self.info().published..count {
            assert_eq!(self.publish(&numbered(seq, len), timeout_ms), DONE, "{seq}");
        }
    }

    /// Calls ipc_feed_service until a condition holds.
    #[track_caller]
    pub fn service_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, || {
            assert_eq!(self.service(), DONE);
            condition()
        });
    }

    /// Calls ipc_feed_service until the feed has this number of subscribers.
    #[track_caller]
    pub fn service_until_count(&self, count: usize) {
        self.service_until("the number of subscribers", || self.count() == count);
    }

    /// Calls ipc_feed_service until a thread has ended, and returns its result.
    #[track_caller]
    pub fn serve<T>(&self, thread: ScopedJoinHandle<T>) -> T {
        self.service_until("the end of a thread", || thread.is_finished());
        thread.join().unwrap()
    }

    /// Admits a subscriber of this process over a pair of sockets.
    #[track_caller]
    pub fn try_subscribe(&self, opts: &ipc_sub_opts) -> Result<Sub, c_int> {
        let (one, other) = sockets(libc::SOCK_SEQPACKET);
        let opts = Opts(*opts);
        thread::scope(|scope| {
            let thread = scope.spawn(move || from_fd(&other, opts.get(), LONG));
            assert_eq!(self.add(&one), DONE);
            self.serve(thread)
        })
    }

    #[track_caller]
    pub fn subscribe(&self, opts: &ipc_sub_opts) -> Sub {
        self.try_subscribe(opts).unwrap()
    }
}

/// Options that another thread may use: the name is a constant.
#[derive(Clone, Copy)]
pub struct Opts(pub ipc_sub_opts);

// SAFETY: the strings of the tests live longer than their threads.
unsafe impl Send for Opts {}

impl Opts {
    pub fn get(&self) -> &ipc_sub_opts {
        &self.0
    }
}

impl Sub {
    /// Receives into a buffer.
    #[track_caller]
    pub fn recv_raw(
        &self,
        at: *mut c_void,
        cap: usize,
        timeout_ms: c_int,
    ) -> Result<Received<usize>, c_int> {
        let mut seq = NO_SEQ;
        // SAFETY: an open subscriber; the caller passes a buffer of this length.
        let len = outcome(|| unsafe { ipc_sub_recv(self.0, at, cap, &mut seq, timeout_ms) });
        received(len, seq)
    }

    /// Receives into a buffer of `cap` bytes. Checks that the call writes the message only, and
    /// nothing on failure.
    #[track_caller]
    pub fn recv_cap(&self, cap: usize, timeout_ms: c_int) -> Receipt {
        const UNTOUCHED: u8 = 0xa5;
        let mut buffer = vec![UNTOUCHED; cap + 16];
        let received = self.recv_raw(buffer.as_mut_ptr().cast(), cap, timeout_ms);
        // An overwritten message may have been copied.
        let len = match received {
            Ok(Received::Message(_, len)) => len,
            Ok(Received::Lost(_)) => cap,
            _ => 0,
        };
        let rest = &buffer[len..];
        assert!(
            rest[0] == UNTOUCHED && rest[1..] == rest[..rest.len() - 1],
            "bytes behind the message were written"
        );
        buffer.truncate(len);
        received.map(|received| received.with(|_| buffer))
    }

    /// Receives a message of up to 4096 bytes.
    #[track_caller]
    pub fn recv(&self, timeout_ms: c_int) -> Receipt {
        self.recv_cap(4096, timeout_ms)
    }

    /// The next message, in the ring.
    #[track_caller]
    pub fn peek(&self, timeout_ms: c_int) -> Result<Received<&[u8]>, c_int> {
        let untouched: *const c_void = ptr::dangling();
        let (mut at, mut seq) = (untouched, NO_SEQ);
        // SAFETY: an open subscriber, and out pointers.
        let len = outcome(|| unsafe { ipc_sub_peek(self.0, &mut at, &mut seq, timeout_ms) });
        let received = received(len, seq)?;
        if !matches!(received, Received::Message(..)) {
            assert_eq!(at, untouched, "ret_buf must be unchanged");
        } else {
            assert_eq!(at.addr() % 8, 0, "alignment");
        }
        // SAFETY: a message of that length, until it is released.
        Ok(received.with(|len| unsafe { slice::from_raw_parts(at.cast(), len) }))
    }

    #[track_caller]
    pub fn release(&self) -> Outcome {
        // SAFETY: an open subscriber.
        outcome(|| unsafe { ipc_sub_release(self.0) } as isize)
    }

    /// The descriptor, which the subscriber owns.
    #[track_caller]
    pub fn fd(&self) -> Result<c_int, c_int> {
        // SAFETY: an open subscriber.
        outcome(|| unsafe { ipc_sub_fd(self.0) } as isize).map(|fd| fd as c_int)
    }

    /// Whether poll(2) reports the descriptor as readable, within a time.
    #[track_caller]
    pub fn is_readable(&self, timeout_ms: c_int) -> bool {
        is_readable(self.fd().unwrap(), timeout_ms)
    }

    #[track_caller]
    pub fn info(&self) -> ipc_sub_info {
        // SAFETY: all zero bytes are a valid value.
        let mut info: ipc_sub_info = unsafe { mem::zeroed() };
        let size = size_of::<ipc_sub_info>();
        // SAFETY: an open subscriber, and a structure of this size.
        let done = outcome(|| unsafe { ipc_sub_info(self.0, &mut info, size) } as isize);
        assert_eq!(done, DONE);
        info
    }

    /// Receives the messages with the sequence numbers up to `count`, which `numbered` has made.
    #[track_caller]
    pub fn expect_up_to(&self, count: u64, timeout_ms: c_int) {
        let mut buffer = vec![0u8; 1 << 20];
        for expected in self.info().next_seq..count {
            let at = buffer.as_mut_ptr().cast();
            match self.recv_raw(at, buffer.len(), timeout_ms) {
                Ok(Received::Message(seq, len)) => {
                    assert_eq!(seq, expected);
                    check_numbered(seq, &buffer[..len]);
                }
                other => panic!("message {expected}: {other:?}"),
            }
        }
    }
}

/// Whether poll(2) reports a descriptor as readable, within a time.
#[track_caller]
pub fn is_readable(fd: c_int, timeout_ms: c_int) -> bool {
    match poll(fd, timeout_ms) {
        0 => false,
        libc::POLLIN => true,
        other => panic!("revents {other:#x}"),
    }
}

impl<T> Received<T> {
    fn with<U>(self, make: impl FnOnce(T) -> U) -> Received<U> {
        match self {
            Self::Message(seq, value) => Received::Message(seq, make(value)),
            Self::End => Received::End,
            Self::Lost(seq) => Received::Lost(seq),
        }
    }
}

/// The result of a receive that returned `len` and stored `seq`, which it may do for a message and
/// for EOVERFLOW only.
#[track_caller]
fn received(len: Outcome, seq: u64) -> Result<Received<usize>, c_int> {
    let is_stored = matches!(len, Ok(1..) | Err(libc::EOVERFLOW));
    assert_eq!(seq != NO_SEQ, is_stored, "ret_seq after {len:?}");
    match len {
        Ok(0) => Ok(Received::End),
        Ok(len) => Ok(Received::Message(seq, len)),
        Err(libc::EOVERFLOW) => Ok(Received::Lost(seq)),
        Err(error) => Err(error),
    }
}

/// A message of `len` bytes that contains its sequence number in each of its words.
pub fn numbered(seq: u64, len: usize) -> Vec<u8> {
    let mut bytes = seq.to_le_bytes().repeat(len.div_ceil(8));
    bytes.truncate(len);
    bytes
}

/// Checks each byte of a message that `numbered` has made.
#[track_caller]
pub fn check_numbered(seq: u64, bytes: &[u8]) {
    let word = seq.to_le_bytes();
    let first = bytes.len().min(8);
    assert!(bytes[..first] == word[..first], "message {seq} is another");
    // Comparing the bytes with their neighbours is fast even without optimisation.
    assert!(
        bytes[first..] == bytes[..bytes.len() - first],
        "message {seq} is torn"
    );
}

/// The subscriber that a call stores in its out pointer, which must be unchanged on failure.
#[track_caller]
fn sub_from(call: impl FnOnce(*mut *mut feed::Subscriber) -> c_int) -> Result<Sub, c_int> {
    let untouched = ptr::dangling_mut();
    let mut sub = untouched;
    let done = outcome(|| call(&mut sub) as isize);
    assert_eq!(done.is_ok(), sub != untouched, "ret_sub");
    done.map(|_| Sub(sub))
}

#[track_caller]
pub fn from_fd(sock: &impl AsRawFd, opts: &ipc_sub_opts, timeout_ms: c_int) -> Result<Sub, c_int> {
    from_fd_size(sock.as_raw_fd(), opts, SUB_OPTS, timeout_ms)
}

/// Subscribes with options of `size` bytes.
#[track_caller]
pub fn from_fd_size(
    sock: c_int,
    opts: *const ipc_sub_opts,
    size: usize,
    timeout_ms: c_int,
) -> Result<Sub, c_int> {
    // SAFETY: options of this size, and an out pointer.
    sub_from(|sub| unsafe { ipc_sub_from_fd(sock, opts, size, timeout_ms, sub) })
}

#[track_caller]
pub fn connect(path: &str, opts: &ipc_sub_opts, timeout_ms: c_int) -> Result<Sub, c_int> {
    connect_size(path, opts, SUB_OPTS, timeout_ms)
}

/// Connects with options of `size` bytes.
#[track_caller]
pub fn connect_size(
    path: &str,
    opts: *const ipc_sub_opts,
    size: usize,
    timeout_ms: c_int,
) -> Result<Sub, c_int> {
    let path = CString::new(path).unwrap();
    // SAFETY: a string, options of this size, and an out pointer.
    sub_from(|sub| unsafe { ipc_sub_connect(path.as_ptr(), opts, size, timeout_ms, sub) })
}

/// The sequence number of the oldest message. The messages of a full ring of [`SMALL_RING`] have 1000
/// bytes each, and the publisher may give up a quarter of the ring at once.
#[track_caller]
pub fn oldest(feed: &Feed) -> u64 {
    let before = feed.count();
    let sub = feed.subscribe(&ipc_sub_opts {
        flags: IPC_SUB_F_OLDEST | IPC_SUB_F_LOSSY,
        ..RELIABLE
    });
    let oldest = sub.info().next_seq;
    drop(sub);
    feed.service_until_count(before);
    let full = feed.info().published - 65;
    assert!((full..=full + 65 / 4 + 1).contains(&oldest), "{oldest}");
    oldest
}

/// Forks a child that subscribes with these options over a pair of sockets, and admits it. The
/// child closes its copy of the feed.
#[track_caller]
pub fn spawn_sub(feed: &Feed, opts: &ipc_sub_opts, run: impl FnOnce(Sub)) -> Child {
    let (one, other) = sockets(libc::SOCK_SEQPACKET);
    let before = feed.count();
    let child = fork(|| {
        close_copy(feed);
        let sub = from_fd(&other, opts, LONG).unwrap();
        run(sub);
    });
    drop(other);
    assert_eq!(feed.add(&one), DONE);
    feed.service_until_count(before + 1);
    child
}

/// Closes the copy of a feed that this process has inherited by fork. The owner must not be
/// dropped.
pub fn close_copy(feed: &Feed) {
    // SAFETY: an open feed, and this is its last use in this process.
    unsafe { ipc_feed_close(feed.0) };
}
