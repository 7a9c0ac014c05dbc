//! Channels: the sender or the receiver is killed.

use crate::check;
use crate::child;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{Outcome, content, outcome, sends_until_epipe};
use common::child::is_asleep_or_ended;
use common::clock::{child_limit, wait_until};
use common::isolated::apply;
use libc::{SHUT_RD, SHUT_RDWR, SHUT_WR, c_int};
use std::cell::RefCell;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use unixipc::channel::Channel;
use unixipc::ffi::channel::{IPC_CHANNEL_F_WAIT, ipc_channel_opts};

/// A handle.
pub type Ch = *mut Channel;

/// The smallest ring.
const RING: u64 = 1 << 16;
/// The length of a message of which eight fill the ring.
const EIGHTH: usize = 8192 - 4;
pub const SHORT: usize = 100;
/// A long message, which is still copied step by step.
pub const LONG: usize = 3000;
/// More messages than a sender publishes with fences before it switches to unfenced.
const MANY: usize = 80;
/// The time-out of a survivor's calls: forever, because the harness has a time limit.
pub const WAIT: c_int = -1;
/// The limit of a survivor's other waits.
pub const TIME_LIMIT: Duration = Duration::from_secs(4);
/// The time-out of a victim that times out, in milliseconds: longer than stepping to the sleep.
pub const SHORT_TIMEOUT: c_int = 8;

/// The calls, and the messages.
pub struct Calls {
    pub library: Library,
    pub messages: Vec<Vec<u8>>,
}

impl Calls {
    /// For messages of these lengths. They are never freed: a process has one scenario.
    pub fn new(lens: &[usize]) -> &'static Self {
        Box::leak(Box::new(Self {
            library: library::load(),
            messages: lens
                .iter()
                .enumerate()
                .map(|(number, len)| content(number, *len))
                .collect(),
        }))
    }

    fn opts(&self) -> ipc_channel_opts {
        ipc_channel_opts {
            flags: 0,
            spin_us: 0,
            send_size: RING,
            recv_size: 0,
            recv_size_max: 0,
            message_max: 0,
            message_align: 0,
            reserved: 0,
        }
    }

    pub fn pair(&self) -> [Ch; 2] {
        self.pair_with(0)
    }

    /// A pair with these flags.
    pub fn pair_with(&self, flags: u32) -> [Ch; 2] {
        let mut ends = [ptr::null_mut(); 2];
        let size = size_of::<ipc_channel_opts>();
        let opts = ipc_channel_opts {
            flags,
            ..self.opts()
        };
        // SAFETY: options of this size, and an array of two.
        let made = unsafe { (self.library.ipc_channel_pair)(&opts, size, ends.as_mut_ptr()) };
        assert_eq!(outcome(made as isize), Ok(0));
        ends
    }

    pub fn over_socket(&self, socket: &OwnedFd, timeout: c_int) -> Result<Ch, c_int> {
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        handle(|ret| {
            let call = self.library.ipc_channel_from_fd;
            // SAFETY: options of this size, and an out pointer.
            unsafe { call(socket.as_raw_fd(), &opts, size, timeout, ret) }
        })
    }

    pub fn listen(&self, path: &CStr) -> Result<OwnedFd, c_int> {
        // SAFETY: a string.
        let fd = unsafe { (self.library.ipc_channel_listen)(path.as_ptr(), 0o600, 0) };
        // SAFETY: the library has just made it for us.
        outcome(fd as isize).map(|_| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub fn accept(&self, listener: &OwnedFd, timeout: c_int) -> Result<Ch, c_int> {
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        handle(|ret| {
            let call = self.library.ipc_channel_accept;
            // SAFETY: options of this size, and an out pointer.
            unsafe { call(listener.as_raw_fd(), &opts, size, timeout, ret) }
        })
    }

    pub fn connect(&self, path: &CStr, timeout: c_int) -> Result<Ch, c_int> {
        self.connect_with(path, &self.opts(), timeout)
    }

    /// Connects, and waits for a listener first.
    pub fn connect_waiting(&self, path: &CStr) -> Result<Ch, c_int> {
        let flags = IPC_CHANNEL_F_WAIT;
        let opts = ipc_channel_opts {
            flags,
            ..self.opts()
        };
        self.connect_with(path, &opts, WAIT)
    }

    fn connect_with(
        &self,
        path: &CStr,
        opts: &ipc_channel_opts,
        timeout: c_int,
    ) -> Result<Ch, c_int> {
        let size = size_of::<ipc_channel_opts>();
        handle(|ret| {
            let call = self.library.ipc_channel_connect;
            // SAFETY: a string, options of this size, and an out pointer.
            unsafe { call(path.as_ptr(), opts, size, timeout, ret) }
        })
    }

    /// Sends the message with this number.
    pub fn send(&self, ch: Ch, number: usize, timeout: c_int) -> Outcome {
        let bytes = &self.messages[number];
        let call = self.library.ipc_channel_send;
        // SAFETY: an open handle, and the bytes have this length.
        outcome(unsafe { call(ch, bytes.as_ptr().cast(), bytes.len(), timeout) } as isize)
    }

    pub fn recv(&self, ch: Ch, buffer: &mut [u8], timeout: c_int) -> Outcome {
        let call = self.library.ipc_channel_recv;
        // SAFETY: an open handle, and the buffer has this size.
        outcome(unsafe { call(ch, buffer.as_mut_ptr().cast(), buffer.len(), timeout) })
    }

    pub fn reserve(&self, ch: Ch, len: usize) -> *mut u8 {
        // SAFETY: an open handle.
        let reserved = unsafe { (self.library.ipc_channel_reserve)(ch, len, -1) };
        assert!(!reserved.is_null());
        reserved.cast()
    }

    pub fn commit(&self, ch: Ch, len: usize) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_commit)(ch, len) }, 0);
    }

    pub fn cancel(&self, ch: Ch) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_cancel)(ch) }, 0);
    }

    pub fn peek(&self, ch: Ch) -> usize {
        let mut at = ptr::null();
        // SAFETY: an open handle, and an out pointer.
        let len = unsafe { (self.library.ipc_channel_peek)(ch, &mut at, -1) };
        assert!(len >= 0 && !at.is_null());
        len as usize
    }

    pub fn release(&self, ch: Ch) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_release)(ch) }, 0);
    }

    pub fn shutdown(&self, ch: Ch, how: c_int) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_shutdown)(ch, how) }, 0);
    }

    pub fn fd(&self, ch: Ch) -> c_int {
        // SAFETY: an open handle.
        let fd = unsafe { (self.library.ipc_channel_fd)(ch) };
        assert!(fd >= 0);
        fd
    }

    pub fn close(&self, ch: Ch) {
        // SAFETY: NULL, or an open handle that is not used again.
        unsafe { (self.library.ipc_channel_close)(ch) };
    }

    /// A buffer that is one byte longer than any message.
    pub fn buffer(&self) -> Vec<u8> {
        let longest = self.messages.iter().map(Vec::len).max();
        vec![0; longest.unwrap_or_default() + 1]
    }

    /// Receives up to the end: the messages that were sent before the victim's operation, and the
    /// `more` messages of the operation. All of these must arrive if the operation finished. The
    /// messages must be complete and in order, and the end must be final.
    pub fn receives(
        &self,
        ch: Ch,
        page: &Page,
        finished: &Finished,
        before: usize,
        more: usize,
    ) -> Verdict {
        let mut buffer = self.buffer();
        let mut count = 0;
        page.waits.store(1, SeqCst);
        while self.receives_one(ch, &mut buffer, count)? {
            count += 1;
            page.received.store(count as u32, SeqCst);
        }
        let least = before + if finished.get() { more } else { 0 };
        if !(least..=before + more).contains(&count) {
            return Err(format!("{count} messages, at least {least} were sent"));
        }
        self.has_ended(ch)
    }

    /// Receives the message with this number. Returns false at the end.
    pub fn receives_one(&self, ch: Ch, buffer: &mut [u8], number: usize) -> Result<bool, String> {
        match self.recv(ch, buffer, WAIT) {
            Ok(0) => Ok(false),
            Ok(len) if self.messages.get(number).map(Vec::as_slice) == Some(&buffer[..len]) => {
                Ok(true)
            }
            Ok(len) => Err(format!("a wrong message {number} of {len} bytes")),
            Err(error) => Err(format!("message {number}: errno {error}")),
        }
    }

    /// Checks that the end is final, and that a send fails with `EPIPE`.
    pub fn has_ended(&self, ch: Ch) -> Verdict {
        let again = self.recv(ch, &mut self.buffer(), WAIT);
        if again != Ok(0) {
            return Err(format!("{again:?} after the end"));
        }
        sends_until_epipe(|| {
            if self.send(ch, 0, WAIT).is_ok() {
                0
            } else {
                -1
            }
        })
    }
}

fn handle(call: impl FnOnce(*mut Ch) -> c_int) -> Result<Ch, c_int> {
    let mut ch = ptr::null_mut();
    outcome(call(&mut ch) as isize).map(|_| ch)
}

/// The page that all processes of a point share.
pub struct Page {
    pub victim: AtomicI32,
    pub survivor: AtomicI32,
    /// The number of messages that the survivor has received.
    pub received: AtomicU32,
    /// 1 when the survivor does nothing but wait in a call.
    pub waits: AtomicU32,
    /// 1 when the victim is about to operate.
    pub started: AtomicU32,
    /// 1 when the victim has accepted a connection.
    pub accepted: AtomicU32,
}

impl Page {
    pub fn new() -> &'static Self {
        // SAFETY: a zeroed page, which stays mapped until `unmap`; zero bytes are a Page.
        unsafe { &*child::shared_page().cast() }
    }

    pub fn unmap(&'static self) {
        child::unmap_page(ptr::from_ref(self).cast_mut().cast());
    }

    /// The victim waits until the survivor has received this number of messages and sleeps in a
    /// call.
    pub fn wait_for_survivor(&self, received: usize) {
        wait_until("the survivor to sleep", || {
            self.waits.load(SeqCst) == 1
                && self.received.load(SeqCst) == received as u32
                && child::state(self.survivor.load(SeqCst)) == Some('S')
        });
    }

    /// The survivor waits until the victim is about to operate.
    pub fn wait_for_start(&self) {
        wait_until("the victim to start", || self.started.load(SeqCst) == 1);
    }

    /// The survivor waits until the victim sleeps in its operation, or is dead.
    pub fn wait_for_victim(&self) {
        self.wait_for_start();
        wait_until("the victim to sleep or end", || {
            is_asleep_or_ended(self.victim.load(SeqCst))
        });
    }

    /// The survivor waits until the victim has accepted a connection, or is dead.
    pub fn wait_for_accepted(&self) {
        wait_until("the victim to accept", || {
            self.accepted.load(SeqCst) == 1 || self.victim_is_dead()
        });
    }

    /// The survivor sleeps until the victim is dead.
    pub fn wait_for_death(&self) {
        self.wait_for_start();
        let pid = self.victim.load(SeqCst);
        // SAFETY: no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int;
        if fd >= 0 {
            // SAFETY: a new descriptor, which has no other owner.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            assert!(child::poll_readable(&fd, Instant::now() + child_limit()));
        } // otherwise it was reaped
    }

    pub fn victim_is_dead(&self) -> bool {
        let pid = self.victim.load(SeqCst);
        pid != 0 && matches!(child::state(pid), None | Some('Z'))
    }
}

/// Both ends of a channel.
pub struct Ends {
    pub calls: &'static Calls,
    pub victim: Ch,
    pub survivor: Ch,
    /// The victim's buffer.
    pub buffer: RefCell<Vec<u8>>,
    pub page: &'static Page,
}

impl Ends {
    fn new(calls: &'static Calls) -> Self {
        let [victim, survivor] = calls.pair();
        let page = Page::new();
        Self {
            calls,
            victim,
            survivor,
            buffer: RefCell::new(calls.buffer()),
            page,
        }
    }

    /// The victim sends the messages with these numbers.
    pub fn send(&self, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| self.send_one(number));
    }

    /// The victim sends this message, in as few instructions as possible.
    fn send_one(&self, number: usize) {
        let bytes = &self.calls.messages[number];
        let call = self.calls.library.ipc_channel_send;
        // SAFETY: an open handle, and the bytes have this length.
        let sent = unsafe { call(self.victim, bytes.as_ptr().cast(), bytes.len(), -1) };
        assert_eq!(sent, 0);
    }

    /// Lets the survivor's end sleep once, and wake by its time-out.
    pub fn sleep_once(&self) {
        let buffer = &mut self.calls.buffer();
        let slept = self.calls.recv(self.survivor, buffer, 1);
        assert_eq!(slept, Err(libc::ETIMEDOUT));
    }

    /// The survivor receives: see [`Calls::receives`].
    pub fn receives(&self, finished: &Finished, before: usize, more: usize) -> Verdict {
        let (calls, page) = (self.calls, self.page);
        calls.receives(self.survivor, page, finished, before, more)
    }

    /// The survivor sends until the victim is dead.
    pub fn sends(&self) -> Verdict {
        self.page.waits.store(1, SeqCst);
        sends_until_epipe(|| match self.calls.send(self.survivor, 0, WAIT) {
            Ok(_) => 0,
            Err(_) => -1,
        })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.calls.close(self.victim);
        self.calls.close(self.survivor);
        self.page.unmap();
    }
}

/// The actions of the processes at both ends of a pair.
pub struct Case<const SLEEPS: bool, const CONCURRENT: bool> {
    pub calls: &'static Calls,
    /// Runs in the harness, which has both ends.
    pub set_up: fn(&Ends),
    /// The victim's preparation.
    pub prepare: fn(&Ends),
    pub operate: fn(&Ends),
    pub survive: fn(&Ends, &Finished) -> Verdict,
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Scenario for Case<SLEEPS, CONCURRENT> {
    type State = Ends;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = CONCURRENT;

    fn set_up(&self) -> Ends {
        let ends = Ends::new(self.calls);
        (self.set_up)(&ends);
        ends
    }

    fn become_victim(&self, ends: &mut Ends) {
        ends.page.victim.store(child::pid(), SeqCst);
        self.calls.close(ends.survivor);
        (self.prepare)(ends);
        ends.page.started.store(1, SeqCst);
    }

    fn operate(&self, ends: &mut Ends) {
        (self.operate)(ends);
    }

    fn survive(&self, ends: &mut Ends, finished: &Finished) -> Verdict {
        ends.page.survivor.store(child::pid(), SeqCst);
        self.calls.close(ends.victim);
        (self.survive)(ends, finished)
    }
}

pub fn nothing(_: &Ends) {}

/// The victim sends its second message.
fn check_send<const CONCURRENT: bool>(
    name: &str,
    len: usize,
    set_up: fn(&Ends),
    prepare: fn(&Ends),
) {
    let case = Case::<false, CONCURRENT> {
        calls: Calls::new(&[SHORT, len]),
        set_up,
        prepare,
        operate: |ends| ends.send_one(1),
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check(name, &case);
}

/// The victim sends the first message, and waits until the survivor has received it and sleeps.
fn send_one_and_wait(ends: &Ends) {
    ends.send(0..1);
    ends.page.wait_for_survivor(1);
}

fn send_one_to_awake_peer(ends: &Ends) {
    ends.sleep_once();
    ends.send(0..1);
}

#[apply(scenario)]
fn send() {
    check_send::<false>(
        "ipc_channel_send, peer awake",
        SHORT,
        send_one_to_awake_peer,
        nothing,
    );
}

#[apply(scenario)]
fn send_long() {
    check_send::<false>(
        "ipc_channel_send, 3 kB",
        LONG,
        send_one_to_awake_peer,
        nothing,
    );
}

#[apply(scenario)]
fn send_to_a_sleeper() {
    check_send::<true>(
        "ipc_channel_send, peer asleep",
        SHORT,
        nothing,
        send_one_and_wait,
    );
}

/// The victim already publishes without fences.
fn check_unfenced<const CONCURRENT: bool>(
    name: &str,
    prepare: fn(&Ends),
    survive: fn(&Ends, &Finished) -> Verdict,
) {
    let case = Case::<false, CONCURRENT> {
        calls: Calls::new(&[SHORT; MANY + 1]),
        set_up: |ends| {
            ends.sleep_once();
            ends.send(0..MANY);
        },
        prepare,
        operate: |ends| ends.send_one(MANY),
        survive,
    };
    check(name, &case);
}

#[apply(scenario)]
fn send_unfenced() {
    check_unfenced::<false>(
        "ipc_channel_send, unfenced, peer awake",
        nothing,
        |ends, finished| ends.receives(finished, MANY, 1),
    );
}

#[apply(scenario)]
fn send_unfenced_to_a_sleeper() {
    check_unfenced::<true>(
        "ipc_channel_send, unfenced, peer asleep",
        |ends| ends.page.wait_for_survivor(MANY),
        |ends, finished| ends.receives(finished, MANY, 1),
    );
}

/// The victim switches to unfenced with one of these messages.
#[apply(scenario)]
fn send_that_switches_to_unfenced() {
    const BEFORE: usize = 64;
    let case = Case::<false, false> {
        calls: Calls::new(&[SHORT; BEFORE + 2]),
        set_up: |ends| {
            ends.sleep_once();
            ends.send(0..BEFORE);
        },
        prepare: nothing,
        operate: |ends| ends.send(BEFORE..BEFORE + 2),
        survive: |ends, finished| ends.receives(finished, BEFORE, 2),
    };
    check("ipc_channel_send, switches to unfenced", &case);
}

/// The lengths of messages that fill a ring except eight bytes, and of one that does not fit.
const FULL: [usize; 9] = [
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH - 8,
    SHORT,
];

fn fill(ends: &Ends) {
    ends.send(0..8);
}

#[apply(scenario)]
fn send_to_a_full_ring() {
    let case = Case::<true, false> {
        calls: Calls::new(&FULL),
        set_up: fill,
        prepare: nothing,
        operate: |ends| ends.send_one(8),
        survive: |ends, finished| ends.receives(finished, 8, 0),
    };
    check("ipc_channel_send, ring full", &case);
}

#[apply(scenario)]
fn send_that_is_woken() {
    let case = Case::<false, true> {
        calls: Calls::new(&FULL),
        set_up: fill,
        prepare: nothing,
        operate: |ends| ends.send_one(8),
        survive: |ends, finished| {
            ends.page.wait_for_victim();
            ends.receives(finished, 8, 1)
        },
    };
    check("ipc_channel_send, ring full, woken", &case);
}

#[apply(scenario)]
fn send_timed_out() {
    let case = Case::<false, false> {
        calls: Calls::new(&FULL),
        set_up: fill,
        prepare: nothing,
        operate: |ends| {
            let sent = ends.calls.send(ends.victim, 8, SHORT_TIMEOUT);
            assert_eq!(sent, Err(libc::ETIMEDOUT));
        },
        survive: |ends, finished| ends.receives(finished, 8, 0),
    };
    check("ipc_channel_send, ring full, timed out", &case);
}

/// Fills reserved memory byte by byte: each store is a point.
fn write(reserved: *mut u8, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: the reserved memory is at least this long.
        unsafe { reserved.add(at).write_volatile(*byte) };
    }
}

/// The victim reserves twice as much as it sends.
#[apply(scenario)]
fn reserve_and_commit() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, 8]),
        set_up: nothing,
        prepare: send_one_and_wait,
        operate: |ends| {
            let bytes = &ends.calls.messages[1];
            let reserved = ends.calls.reserve(ends.victim, 2 * bytes.len());
            write(reserved, bytes);
            ends.calls.commit(ends.victim, bytes.len());
        },
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check("ipc_channel_reserve, _commit", &case);
}

#[apply(scenario)]
fn reserve_and_cancel() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, 8]),
        set_up: nothing,
        prepare: send_one_and_wait,
        operate: |ends| {
            let reserved = ends.calls.reserve(ends.victim, SHORT);
            write(reserved, &[255; 8]);
            ends.calls.cancel(ends.victim);
            ends.send_one(1);
        },
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check("ipc_channel_reserve, _cancel, _send", &case);
}

/// The survivor sends messages.
fn survivor_sends(ends: &Ends, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(ends.calls.send(ends.survivor, number, -1), Ok(0));
    }
}

/// The victim receives a message into a buffer of `cap` bytes.
fn victim_receives(ends: &Ends, cap: usize, expected: Outcome) {
    let buffer = &mut ends.buffer.borrow_mut()[..cap];
    assert_eq!(ends.calls.recv(ends.victim, buffer, -1), expected);
}

/// As a preparation, the victim sends and receives one message. Its operation receives the second
/// message.
fn check_recv<const SLEEPS: bool>(name: &str, len: usize, operate: fn(&Ends)) {
    let case = Case::<SLEEPS, false> {
        calls: Calls::new(&[SHORT, len]),
        set_up: if SLEEPS {
            |ends| survivor_sends(ends, 0..1)
        } else {
            |ends| survivor_sends(ends, 0..2)
        },
        prepare: |ends| {
            ends.send(0..1);
            victim_receives(ends, SHORT, Ok(SHORT));
        },
        operate,
        survive: |ends, finished| {
            ends.sends()?;
            ends.receives(finished, 1, 0)
        },
    };
    check(name, &case);
}

#[apply(scenario)]
fn recv() {
    check_recv::<false>("ipc_channel_recv", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

#[apply(scenario)]
fn recv_long() {
    check_recv::<false>("ipc_channel_recv, 3 kB", LONG, |ends| {
        victim_receives(ends, LONG, Ok(LONG));
    });
}

#[apply(scenario)]
fn recv_too_long() {
    check_recv::<false>("ipc_channel_recv, longer than cap", LONG, |ends| {
        victim_receives(ends, SHORT, Err(libc::EMSGSIZE));
    });
}

#[apply(scenario)]
fn recv_from_an_empty_ring() {
    check_recv::<true>("ipc_channel_recv, empty", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

#[apply(scenario)]
fn recv_timed_out() {
    check_recv::<false>("ipc_channel_recv, timed out", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
        let mut buffer = [0; SHORT];
        let result = ends.calls.recv(ends.victim, &mut buffer, SHORT_TIMEOUT);
        assert_eq!(result, Err(libc::ETIMEDOUT));
    });
}

#[apply(scenario)]
fn peek_and_release() {
    check_recv::<false>("ipc_channel_peek, _release", LONG, |ends| {
        assert_eq!(ends.calls.peek(ends.victim), LONG);
        ends.calls.release(ends.victim);
    });
}

#[apply(scenario)]
fn recv_that_is_woken() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: nothing,
        prepare: |ends| ends.send(0..1),
        operate: |ends| victim_receives(ends, SHORT, Ok(SHORT)),
        survive: |ends, finished| {
            ends.page.wait_for_victim();
            ends.sends()?;
            ends.receives(finished, 1, 0)
        },
    };
    check("ipc_channel_recv, empty, woken", &case);
}

/// The lengths of messages that fill the survivor's ring. The survivor sleeps until half of the ring
/// is free, which happens when the victim has received the fifth message.
const MORE_THAN_HALF: [usize; 9] = [
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH - 104,
    SHORT,
    EIGHTH,
    EIGHTH,
    EIGHTH,
    EIGHTH - 8,
];

fn check_wakes_sender(name: &str, operate: fn(&Ends)) {
    let case = Case::<false, true> {
        calls: Calls::new(&MORE_THAN_HALF),
        set_up: |ends| survivor_sends(ends, 0..9),
        prepare: |ends| {
            ends.page.wait_for_survivor(0);
            for len in &MORE_THAN_HALF[..4] {
                victim_receives(ends, *len, Ok(*len));
            }
        },
        operate,
        survive: |ends, finished| {
            ends.sends()?;
            ends.receives(finished, 0, 0)
        },
    };
    check(name, &case);
}

#[apply(scenario)]
fn recv_that_wakes_a_sender() {
    check_wakes_sender("ipc_channel_recv, wakes a sender", |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

#[apply(scenario)]
fn release_that_wakes_a_sender() {
    check_wakes_sender("ipc_channel_release, wakes a sender", |ends| {
        assert_eq!(ends.calls.peek(ends.victim), SHORT);
        ends.calls.release(ends.victim);
    });
}

/// The victim ends one direction or both, while the survivor waits in a receive.
fn check_end(name: &str, operate: fn(&Ends)) {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: nothing,
        prepare: send_one_and_wait,
        operate,
        survive: |ends, finished| ends.receives(finished, 1, 0),
    };
    check(name, &case);
}

#[apply(scenario)]
fn shutdown_writing() {
    check_end("ipc_channel_shutdown, SHUT_WR", |ends| {
        ends.calls.shutdown(ends.victim, SHUT_WR);
    });
}

#[apply(scenario)]
fn shutdown_both() {
    check_end("ipc_channel_shutdown, SHUT_RDWR", |ends| {
        ends.calls.shutdown(ends.victim, SHUT_RDWR);
    });
}

#[apply(scenario)]
fn close() {
    check_end("ipc_channel_close", |ends| ends.calls.close(ends.victim));
}

/// The victim shuts down its receiving direction while the survivor waits to send.
#[apply(scenario)]
fn shutdown_reading() {
    let case = Case::<false, true> {
        calls: Calls::new(&FULL),
        set_up: |ends| {
            survivor_sends(ends, 0..8);
            ends.send(8..9);
        },
        prepare: |ends| ends.page.wait_for_survivor(0),
        operate: |ends| ends.calls.shutdown(ends.victim, SHUT_RD),
        survive: |ends, _| {
            ends.sends()?;
            // The victim's only message.
            match ends
                .calls
                .recv(ends.survivor, &mut ends.calls.buffer(), WAIT)
            {
                Ok(SHORT) => ends.calls.has_ended(ends.survivor),
                other => Err(format!("{other:?} instead of the message")),
            }
        },
    };
    check("ipc_channel_shutdown, SHUT_RD", &case);
}

/// The survivor polls its descriptor, and receives without waiting.
fn receives_by_polling(ends: &Ends, finished: &Finished, more: usize) -> Verdict {
    let mut buffer = ends.calls.buffer();
    let fd = ends.calls.fd(ends.survivor);
    // SAFETY: the descriptor belongs to the channel, which outlives this; it is only polled.
    let fd = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let deadline = Instant::now() + TIME_LIMIT;
    let mut count = 0;
    loop {
        match ends.calls.recv(ends.survivor, &mut buffer, 0) {
            Ok(0) => break,
            Ok(len) if ends.calls.messages[count] == buffer[..len] => {
                count += 1;
                ends.page.received.store(count as u32, SeqCst);
            }
            Err(libc::EAGAIN) => {
                ends.page.waits.store(1, SeqCst);
                if !child::poll_readable(&*fd, deadline) {
                    return Err("not readable within the time limit".into());
                }
            }
            other => return Err(format!("message {count}: {other:?}")),
        }
    }
    let least = 1 + if finished.get() { more } else { 0 };
    if !(least..=1 + more).contains(&count) {
        return Err(format!("{count} messages, at least {least} were sent"));
    }
    if !child::poll_readable(&*fd, deadline) {
        return Err("not readable after the end".into());
    }
    ends.calls.has_ended(ends.survivor)
}

#[apply(scenario)]
fn send_to_a_polling_peer() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT; 2]),
        set_up: nothing,
        prepare: send_one_and_wait,
        operate: |ends| ends.send_one(1),
        survive: |ends, finished| receives_by_polling(ends, finished, 1),
    };
    check("ipc_channel_send, peer polls", &case);
}

#[apply(scenario)]
fn fd() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: |ends| survivor_sends(ends, 0..1),
        prepare: send_one_and_wait,
        operate: |ends| {
            ends.calls.fd(ends.victim);
            victim_receives(ends, SHORT, Ok(SHORT));
            let mut buffer = [0; SHORT];
            let result = ends.calls.recv(ends.victim, &mut buffer, 0);
            assert_eq!(result, Err(libc::EAGAIN));
        },
        survive: |ends, finished| receives_by_polling(ends, finished, 0),
    };
    check("ipc_channel_fd, _recv", &case);
}
