//! Feeds: the calls, and the common part of the scenarios of both sides.

use crate::channel::Page;
use crate::child::{self, Child};
use crate::harness::{Finished, Verdict};
use crate::library::{self, Library};
use crate::support::{Outcome, content, expect, outcome};
use common::clock::wait_until;
use libc::{c_int, c_void};
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use unixipc::feed::{Feed, Subscriber};
use unixipc::ffi::feed::{
    IPC_SUB_F_FROM_SEQ, IPC_SUB_F_LOSSY, IPC_SUB_F_OLDEST, IPC_SUB_F_WAIT, ipc_feed_info,
    ipc_feed_opts, ipc_feed_subscriber, ipc_sub_info, ipc_sub_opts,
};

/// The handle of a publisher.
pub type Pub = *mut Feed;
/// The handle of a subscriber.
pub type Sub = *mut Subscriber;

/// The smallest ring.
const RING: u64 = 1 << 16;
/// The length of a message of which seven fit into the ring.
pub const EIGHTH: usize = 8192 - 8;
/// The number of these.
pub const FULL: usize = 7;
/// A time-out that does not expire.
pub const FOREVER: c_int = -1;
/// The limit of other waits.
pub const TIME_LIMIT: Duration = Duration::from_secs(4);

pub const RELIABLE: u32 = 0;
pub const LOSSY: u32 = IPC_SUB_F_LOSSY;
pub const OLDEST: u32 = IPC_SUB_F_OLDEST;
/// Waits for a listener.
pub const WAITS: u32 = IPC_SUB_F_WAIT;

/// The calls, and the messages.
pub struct Calls {
    pub library: Library,
    /// The messages by sequence number.
    pub messages: Vec<Vec<u8>>,
}

impl Calls {
    /// For this number of messages of this length. They are never freed: a process has one scenario.
    pub fn new(count: usize, len: usize) -> &'static Self {
        Box::leak(Box::new(Self {
            library: library::load(),
            messages: (0..count).map(|number| content(number, len)).collect(),
        }))
    }

    pub fn create(&self, stall_ms: c_int) -> Pub {
        let opts = ipc_feed_opts {
            flags: 0,
            spin_us: 0,
            size: RING,
            message_max: 0,
            message_align: 0,
            subscribers_max: 0,
            stall_ms,
            lossy_only: 0,
        };
        let mut feed = ptr::null_mut();
        // SAFETY: options of this size, and an out pointer.
        let made = unsafe { (self.library.ipc_feed_create)(&opts, size_of_val(&opts), &mut feed) };
        assert_eq!(outcome(made as isize), Ok(0));
        feed
    }

    /// Listens at a path.
    pub fn listen(&self, feed: Pub, path: &CStr) -> Outcome {
        // SAFETY: an open handle and a string.
        outcome(unsafe { (self.library.ipc_feed_listen)(feed, path.as_ptr(), 0o600, 0) } as isize)
    }

    pub fn add(&self, feed: Pub, socket: c_int) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_feed_add)(feed, socket) }, 0);
    }

    /// Publishes the message with this sequence number, in few instructions.
    pub fn publish(&self, feed: Pub, number: usize, timeout: c_int) -> c_int {
        let bytes = &self.messages[number];
        let call = self.library.ipc_feed_publish;
        // SAFETY: an open handle, and the bytes have this length.
        unsafe { call(feed, bytes.as_ptr().cast(), bytes.len(), timeout) }
    }

    /// Publishes the messages with these numbers.
    pub fn publish_all(&self, feed: Pub, numbers: std::ops::Range<usize>) {
        for number in numbers {
            assert_eq!(self.publish(feed, number, FOREVER), 0);
        }
    }

    /// Reserves space for a message, copies it there, and publishes it.
    pub fn reserve_and_commit(&self, feed: Pub, number: usize) {
        let bytes = &self.messages[number];
        // SAFETY: an open handle.
        let space = unsafe { (self.library.ipc_feed_reserve)(feed, bytes.len(), FOREVER) };
        assert!(!space.is_null());
        // SAFETY: the call has reserved this number of bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), space.cast(), bytes.len()) };
        // SAFETY: an open handle.
        assert_eq!(
            unsafe { (self.library.ipc_feed_commit)(feed, bytes.len()) },
            0
        );
    }

    pub fn reserve_and_cancel(&self, feed: Pub) {
        // SAFETY: an open handle.
        let space = unsafe { (self.library.ipc_feed_reserve)(feed, EIGHTH, FOREVER) };
        assert!(!space.is_null());
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_feed_cancel)(feed) }, 0);
    }

    pub fn service(&self, feed: Pub) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_feed_service)(feed) }, 0);
    }

    /// Waits until a subscriber waits to be admitted, or has ended. Returns false after this time.
    pub fn has_news(&self, feed: Pub, limit: Duration) -> bool {
        // SAFETY: an open handle.
        let fd = unsafe { (self.library.ipc_feed_fd)(feed) };
        assert!(fd >= 0);
        child::poll_readable(&fd, Instant::now() + limit)
    }

    /// The number of subscribers.
    pub fn subscribers(&self, feed: Pub) -> usize {
        let call = self.library.ipc_feed_subscribers;
        let size = size_of::<ipc_feed_subscriber>();
        // SAFETY: an open handle, and an empty array.
        outcome(unsafe { call(feed, ptr::null_mut(), 0, size) }).unwrap()
    }

    /// The number of messages that were published.
    pub fn count(&self, feed: Pub) -> usize {
        let mut info = std::mem::MaybeUninit::<ipc_feed_info>::uninit();
        let (call, size) = (self.library.ipc_feed_info, size_of::<ipc_feed_info>());
        // SAFETY: an open handle, and a structure of this size.
        assert_eq!(unsafe { call(feed, info.as_mut_ptr(), size) }, 0);
        // SAFETY: the call has filled it.
        unsafe { info.assume_init() }.published as usize
    }

    /// Services the feed until it has this number of subscribers.
    pub fn admit(&self, feed: Pub, count: usize) {
        wait_until("the subscribers", || {
            self.service(feed);
            self.subscribers(feed) == count
        });
    }

    pub fn close_feed(&self, feed: Pub) {
        // SAFETY: an open handle that is not used again.
        unsafe { (self.library.ipc_feed_close)(feed) };
    }

    fn sub_opts(&self, flags: u32, seq: u64) -> ipc_sub_opts {
        ipc_sub_opts {
            flags,
            spin_us: 0,
            seq,
            size_max: 0,
            name: ptr::null(),
            feed_id: [0; 16],
        }
    }

    pub fn connect(&self, path: &CStr, flags: u32) -> Result<Sub, c_int> {
        self.connect_with(path, &self.sub_opts(flags, 0))
    }

    /// Connects, and begins with this message.
    pub fn connect_at(&self, path: &CStr, number: usize) -> Result<Sub, c_int> {
        self.connect_with(path, &self.sub_opts(IPC_SUB_F_FROM_SEQ, number as u64))
    }

    fn connect_with(&self, path: &CStr, opts: &ipc_sub_opts) -> Result<Sub, c_int> {
        let mut sub = ptr::null_mut();
        let (call, size) = (self.library.ipc_sub_connect, size_of_val(opts));
        // SAFETY: a string, options of this size, and an out pointer.
        let made = unsafe { call(path.as_ptr(), opts, size, FOREVER, &mut sub) };
        outcome(made as isize).map(|_| sub)
    }

    pub fn over_socket(&self, socket: c_int) -> Result<Sub, c_int> {
        let opts = self.sub_opts(RELIABLE, 0);
        let mut sub = ptr::null_mut();
        let (call, size) = (self.library.ipc_sub_from_fd, size_of_val(&opts));
        // SAFETY: options of this size, and an out pointer.
        let made = unsafe { call(socket, &opts, size, FOREVER, &mut sub) };
        outcome(made as isize).map(|_| sub)
    }

    /// Receives a message. Returns its length, and its sequence number or that of the next message
    /// that is left.
    pub fn recv(&self, sub: Sub, buffer: &mut [u8], timeout: c_int) -> (Outcome, usize) {
        let mut seq = u64::MAX;
        let at: *mut c_void = buffer.as_mut_ptr().cast();
        let call = self.library.ipc_sub_recv;
        // SAFETY: an open handle, a buffer of this size, and an out pointer.
        let received = outcome(unsafe { call(sub, at, buffer.len(), &mut seq, timeout) });
        (received, seq as usize)
    }

    /// Peeks at a message and releases it.
    pub fn peek_and_release(&self, sub: Sub) {
        let mut at = ptr::null();
        let call = self.library.ipc_sub_peek;
        // SAFETY: an open handle and out pointers.
        let len = unsafe { call(sub, &mut at, ptr::null_mut(), FOREVER) };
        assert!(len > 0 && !at.is_null());
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_sub_release)(sub) }, 0);
    }

    /// The number of messages that the feed has published, as a subscriber sees it.
    pub fn published(&self, sub: Sub) -> usize {
        let mut info = std::mem::MaybeUninit::<ipc_sub_info>::uninit();
        let (call, size) = (self.library.ipc_sub_info, size_of::<ipc_sub_info>());
        // SAFETY: an open handle, and a structure of this size.
        assert_eq!(unsafe { call(sub, info.as_mut_ptr(), size) }, 0);
        // SAFETY: the call has filled it.
        unsafe { info.assume_init() }.published as usize
    }

    pub fn sub_fd(&self, sub: Sub) {
        // SAFETY: an open handle.
        assert!(unsafe { (self.library.ipc_sub_fd)(sub) } >= 0);
    }

    pub fn close_sub(&self, sub: Sub) {
        // SAFETY: an open handle that is not used again.
        unsafe { (self.library.ipc_sub_close)(sub) };
    }

    /// A buffer that is one byte longer than a message.
    pub fn buffer(&self) -> Vec<u8> {
        vec![0; self.messages.iter().map(Vec::len).max().unwrap_or_default() + 1]
    }

    /// Receives the message with this sequence number. Returns the number of the message that was
    /// received if the subscriber is `lossy` and has lost others; none at the end of the feed.
    pub fn receives_one(
        &self,
        sub: Sub,
        buffer: &mut [u8],
        number: usize,
        lossy: bool,
    ) -> Result<Option<usize>, String> {
        match self.recv(sub, buffer, FOREVER) {
            (Ok(0), _) => Ok(None),
            (Ok(len), seq) => {
                expect("the sequence number", seq, number)?;
                let sent = self.messages.get(seq).map(Vec::as_slice);
                expect("the message", sent == Some(&buffer[..len]), true)?;
                Ok(Some(seq))
            }
            (Err(libc::EOVERFLOW), seq) if lossy && seq > number => {
                self.receives_one(sub, buffer, seq, lossy)
            }
            (Err(error), _) => Err(format!("message {number}: errno {error}")),
        }
    }

    /// Receives up to the end of the feed, which is final. Returns the number of messages that were
    /// published, including those that a `lossy` subscriber has lost.
    pub fn receives_all(&self, sub: Sub, page: &Page, lossy: bool) -> Result<usize, String> {
        let mut buffer = self.buffer();
        let mut next = 0;
        while let Some(number) = self.receives_one(sub, &mut buffer, next, lossy)? {
            next = number + 1;
            page.received.store(next as u32, SeqCst);
        }
        let again = self.recv(sub, &mut buffer, FOREVER).0;
        expect("after the end", again, Ok(0)).map(|()| next)
    }

    /// A new feed at the path of a publisher that is dead.
    pub fn listen_again(&self, path: &CStr) -> Result<Pub, String> {
        let feed = self.create(0);
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            match self.listen(feed, path) {
                Ok(_) => return Ok(feed),
                // The harness may close its copy of the victim's listener later.
                Err(libc::EADDRINUSE) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => return Err(format!("listen again: errno {error}")),
            }
        }
    }

    /// Serves a subscriber from a new feed at the path.
    pub fn works_again(&self, path: &CStr) -> Verdict {
        let feed = self.listen_again(path)?;
        let client = Child::fork(|| {
            let sub = self.connect(path, RELIABLE).unwrap();
            let received = self.receives_one(sub, &mut self.buffer(), 0, false);
            assert_eq!(received, Ok(Some(0)));
        });
        self.admit(feed, 1);
        self.publish_all(feed, 0..1);
        let ended = client.wait(Instant::now() + TIME_LIMIT);
        expect("the next subscriber", ended, Some(0))
    }
}

/// The numbers of messages that a subscriber can receive: `before` were published before the
/// victim's operation, and `more` in it.
pub fn range(before: usize, more: usize, finished: &Finished) -> [usize; 2] {
    let least = before + if finished.get() { more } else { 0 };
    [least, before + more]
}
