//! Channels: the end that sends is killed, the one that receives, or whoever makes one.

use crate::check;
use crate::child::{self, Child};
use crate::common::process::wait_until;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::message::{content, outcome, sends_until_epipe};
use libc::{SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_STREAM, c_int};
use std::cell::RefCell;
use std::env;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use unixipc::channel::Channel;
use unixipc::ffi::channel::ipc_channel_opts;

/// What a call returned, or the errno that it set.
type Outcome = Result<usize, c_int>;
/// A handle.
type Ch = *mut Channel;

/// The smallest ring.
const RING: u64 = 1 << 16;
/// A message of which eight fill the ring.
const EIGHTH: usize = 8192 - 4;
const SHORT: usize = 100;
/// Long, and still to be copied step by step.
const LONG: usize = 3000;
/// More than what it takes for a side to go over to publishing without a fence.
const MANY: usize = 80;
/// How long a survivor waits in a call: for ever, as the harness has a limit.
const WAIT: c_int = -1;
/// How long it waits for what is no call.
const SOON: Duration = Duration::from_secs(4);
/// How long a victim waits whose time is over: longer than stepping to the sleep takes.
const BRIEF: c_int = 8;

/// The calls, and what is sent.
struct Calls {
    library: Library,
    messages: Vec<Vec<u8>>,
}

impl Calls {
    /// For messages of these lengths. They stay: a process has one scenario.
    fn new(lens: &[usize]) -> &'static Self {
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
        }
    }

    fn pair(&self) -> [Ch; 2] {
        let mut ends = [ptr::null_mut(); 2];
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        // SAFETY: options of this size, and room for two.
        let made = unsafe { (self.library.ipc_channel_pair)(&opts, size, ends.as_mut_ptr()) };
        assert_eq!(outcome(made as isize), Ok(0));
        ends
    }

    fn end_over(&self, socket: &OwnedFd, timeout: c_int) -> Result<Ch, c_int> {
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        handle(|ret| {
            let call = self.library.ipc_channel_from_fd;
            // SAFETY: options of this size, and a place.
            unsafe { call(socket.as_raw_fd(), &opts, size, timeout, ret) }
        })
    }

    fn listen(&self, path: &CStr) -> Result<OwnedFd, c_int> {
        // SAFETY: a string.
        let fd = unsafe { (self.library.ipc_channel_listen)(path.as_ptr(), 0o600, 0) };
        // SAFETY: the library has just made it, for us.
        outcome(fd as isize).map(|_| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn accept(&self, listener: &OwnedFd, timeout: c_int) -> Result<Ch, c_int> {
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        handle(|ret| {
            let call = self.library.ipc_channel_accept;
            // SAFETY: options of this size, and a place.
            unsafe { call(listener.as_raw_fd(), &opts, size, timeout, ret) }
        })
    }

    fn connect(&self, path: &CStr, timeout: c_int) -> Result<Ch, c_int> {
        let (opts, size) = (self.opts(), size_of::<ipc_channel_opts>());
        handle(|ret| {
            let call = self.library.ipc_channel_connect;
            // SAFETY: a string, options of this size, and a place.
            unsafe { call(path.as_ptr(), &opts, size, timeout, ret) }
        })
    }

    /// Sends the message with this number.
    fn send(&self, ch: Ch, number: usize, timeout: c_int) -> Outcome {
        let bytes = &self.messages[number];
        let call = self.library.ipc_channel_send;
        // SAFETY: an open handle, and the bytes have this length.
        outcome(unsafe { call(ch, bytes.as_ptr().cast(), bytes.len(), timeout) } as isize)
    }

    fn recv(&self, ch: Ch, room: &mut [u8], timeout: c_int) -> Outcome {
        let call = self.library.ipc_channel_recv;
        // SAFETY: an open handle, and the room has this size.
        outcome(unsafe { call(ch, room.as_mut_ptr().cast(), room.len(), timeout) })
    }

    fn reserve(&self, ch: Ch, len: usize) -> *mut u8 {
        // SAFETY: an open handle.
        let room = unsafe { (self.library.ipc_channel_reserve)(ch, len, -1) };
        assert!(!room.is_null());
        room.cast()
    }

    fn commit(&self, ch: Ch, len: usize) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_commit)(ch, len) }, 0);
    }

    fn cancel(&self, ch: Ch) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_cancel)(ch) }, 0);
    }

    fn peek(&self, ch: Ch) -> usize {
        let mut at = ptr::null();
        // SAFETY: an open handle, and a place.
        let len = unsafe { (self.library.ipc_channel_peek)(ch, &mut at, -1) };
        assert!(len >= 0 && !at.is_null());
        len as usize
    }

    fn release(&self, ch: Ch) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_release)(ch) }, 0);
    }

    fn shutdown(&self, ch: Ch, how: c_int) {
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.library.ipc_channel_shutdown)(ch, how) }, 0);
    }

    fn fd(&self, ch: Ch) -> c_int {
        // SAFETY: an open handle.
        let fd = unsafe { (self.library.ipc_channel_fd)(ch) };
        assert!(fd >= 0);
        fd
    }

    fn close(&self, ch: Ch) {
        // SAFETY: an open handle, not used any more, or NULL.
        unsafe { (self.library.ipc_channel_close)(ch) };
    }

    /// Room for any message, and a byte more.
    fn room(&self) -> Vec<u8> {
        let longest = self.messages.iter().map(Vec::len).max();
        vec![0; longest.unwrap_or_default() + 1]
    }

    /// Receives to the end: the messages that were sent before the victim's operation, and those
    /// `more` that it sends, all of them if it finished; whole, in order, and no others. And the
    /// end stays the end.
    fn receives(
        &self,
        ch: Ch,
        page: &Page,
        finished: &Finished,
        before: usize,
        more: usize,
    ) -> Verdict {
        let mut room = self.room();
        let mut count = 0;
        page.waits.store(1, SeqCst);
        while self.receives_one(ch, &mut room, count)? {
            count += 1;
            page.received.store(count as u32, SeqCst);
        }
        let least = before + if finished.get() { more } else { 0 };
        if !(least..=before + more).contains(&count) {
            return Err(format!("{count} messages, at least {least} were sent"));
        }
        self.is_over(ch)
    }

    /// Receives the message with this number; false at the end.
    fn receives_one(&self, ch: Ch, room: &mut [u8], number: usize) -> Result<bool, String> {
        match self.recv(ch, room, WAIT) {
            Ok(0) => Ok(false),
            Ok(len) if self.messages.get(number).map(Vec::as_slice) == Some(&room[..len]) => {
                Ok(true)
            }
            Ok(len) => Err(format!("a wrong message {number} of {len} bytes")),
            Err(error) => Err(format!("message {number}: errno {error}")),
        }
    }

    /// The end stays the end, and sending is `EPIPE`.
    fn is_over(&self, ch: Ch) -> Verdict {
        let again = self.recv(ch, &mut self.room(), WAIT);
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

/// What all processes of a point write and read.
struct Page {
    victim: AtomicI32,
    survivor: AtomicI32,
    /// How many messages the survivor has received.
    received: AtomicU32,
    /// The survivor does nothing any more but wait in a call.
    waits: AtomicU32,
    /// The victim is about to operate.
    begun: AtomicU32,
}

impl Page {
    fn new() -> &'static Self {
        // SAFETY: a page of zeros, which are a Page; it stays mapped until `unmap`.
        unsafe { &*child::shared_page().cast() }
    }

    fn unmap(&'static self) {
        child::unmap_page(ptr::from_ref(self).cast_mut().cast());
    }

    /// For the victim: waits until the survivor has received so many, and sleeps in a call.
    fn wait_for_survivor(&self, received: usize) {
        wait_until("the survivor's sleep", || {
            self.waits.load(SeqCst) == 1
                && self.received.load(SeqCst) == received as u32
                && child::state(self.survivor.load(SeqCst)) == Some('S')
        });
    }

    /// For the survivor: waits until the victim is about to operate, or dead.
    fn wait_for_begin(&self) {
        wait_until("the victim's begin", || self.begun.load(SeqCst) == 1);
    }

    /// For the survivor: waits until the victim sleeps inside its operation, or is dead.
    fn wait_for_victim(&self) {
        self.wait_for_begin();
        wait_until("the victim's sleep or end", || {
            matches!(
                child::state(self.victim.load(SeqCst)),
                None | Some('S' | 'Z')
            )
        });
    }

    fn victim_is_gone(&self) -> bool {
        let pid = self.victim.load(SeqCst);
        pid != 0 && matches!(child::state(pid), None | Some('Z'))
    }
}

/// Both ends of a channel.
struct Ends {
    calls: &'static Calls,
    victim: Ch,
    survivor: Ch,
    /// For what the victim receives.
    room: RefCell<Vec<u8>>,
    page: &'static Page,
}

impl Ends {
    fn new(calls: &'static Calls) -> Self {
        let [victim, survivor] = calls.pair();
        let page = Page::new();
        Self {
            calls,
            victim,
            survivor,
            room: RefCell::new(calls.room()),
            page,
        }
    }

    /// The victim sends the messages with these numbers.
    fn send(&self, numbers: std::ops::Range<usize>) {
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

    /// The survivor has been asleep, and is awake.
    fn rouse_survivor(&self) {
        let room = &mut self.calls.room();
        let slept = self.calls.recv(self.survivor, room, 1);
        assert_eq!(slept, Err(libc::ETIMEDOUT));
    }

    /// The survivor receives, as [`Calls::receives`].
    fn receives(&self, finished: &Finished, before: usize, more: usize) -> Verdict {
        let (calls, page) = (self.calls, self.page);
        calls.receives(self.survivor, page, finished, before, more)
    }

    /// The survivor sends, for ever: until the victim is dead. First what finds no room.
    fn sends(&self) -> Verdict {
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

/// What the processes at both ends of a pair do.
struct Case<const SLEEPS: bool, const CONCURRENT: bool> {
    calls: &'static Calls,
    /// With both ends in one process.
    set_up: fn(&Ends),
    /// The victim's way to its operation.
    begin: fn(&Ends),
    operate: fn(&Ends),
    survive: fn(&Ends, &Finished) -> Verdict,
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
        (self.begin)(ends);
        ends.page.begun.store(1, SeqCst);
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

fn nothing(_: &Ends) {}

/// The victim sends its second message to one who waits for it, or does not.
fn check_send<const CONCURRENT: bool>(name: &str, len: usize, set_up: fn(&Ends), begin: fn(&Ends)) {
    let case = Case::<false, CONCURRENT> {
        calls: Calls::new(&[SHORT, len]),
        set_up,
        begin,
        operate: |ends| ends.send_one(1),
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check(name, &case);
}

/// The survivor sleeps again when it has received the first message.
fn send_one_and_wait(ends: &Ends) {
    ends.send(0..1);
    ends.page.wait_for_survivor(1);
}

fn send_one_to_one_awake(ends: &Ends) {
    ends.rouse_survivor();
    ends.send(0..1);
}

pub fn send() {
    check_send::<false>(
        "ipc_channel_send, peer awake",
        SHORT,
        send_one_to_one_awake,
        nothing,
    );
}

pub fn send_long() {
    check_send::<false>(
        "ipc_channel_send, 3 kB",
        LONG,
        send_one_to_one_awake,
        nothing,
    );
}

pub fn send_to_one_asleep() {
    check_send::<true>(
        "ipc_channel_send, peer asleep",
        SHORT,
        nothing,
        send_one_and_wait,
    );
}

/// The victim has gone over to publishing without a fence.
fn check_unfenced<const CONCURRENT: bool>(
    name: &str,
    begin: fn(&Ends),
    survive: fn(&Ends, &Finished) -> Verdict,
) {
    let case = Case::<false, CONCURRENT> {
        calls: Calls::new(&[SHORT; MANY + 1]),
        set_up: |ends| {
            ends.rouse_survivor();
            ends.send(0..MANY);
        },
        begin,
        operate: |ends| ends.send_one(MANY),
        survive,
    };
    check(name, &case);
}

pub fn send_unfenced() {
    check_unfenced::<false>(
        "ipc_channel_send, unfenced, peer awake",
        nothing,
        |ends, finished| ends.receives(finished, MANY, 1),
    );
}

pub fn send_unfenced_to_one_asleep() {
    check_unfenced::<true>(
        "ipc_channel_send, unfenced, peer asleep",
        |ends| ends.page.wait_for_survivor(MANY),
        |ends, finished| ends.receives(finished, MANY, 1),
    );
}

/// The victim goes over to publishing without a fence with this message.
pub fn send_that_goes_over() {
    const BEFORE: usize = 64;
    let case = Case::<false, false> {
        calls: Calls::new(&[SHORT; BEFORE + 2]),
        set_up: |ends| {
            ends.rouse_survivor();
            ends.send(0..BEFORE);
        },
        begin: nothing,
        operate: |ends| ends.send(BEFORE..BEFORE + 2),
        survive: |ends, finished| ends.receives(finished, BEFORE, 2),
    };
    check("ipc_channel_send, goes over to unfenced", &case);
}

/// Messages that fill a ring, of which eight bytes stay free, and one that finds no room.
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

pub fn send_to_a_full_one() {
    let case = Case::<true, false> {
        calls: Calls::new(&FULL),
        set_up: fill,
        begin: nothing,
        operate: |ends| ends.send_one(8),
        survive: |ends, finished| ends.receives(finished, 8, 0),
    };
    check("ipc_channel_send, ring full", &case);
}

pub fn send_that_is_woken() {
    let case = Case::<false, true> {
        calls: Calls::new(&FULL),
        set_up: fill,
        begin: nothing,
        operate: |ends| ends.send_one(8),
        survive: |ends, finished| {
            ends.page.wait_for_victim();
            ends.receives(finished, 8, 1)
        },
    };
    check("ipc_channel_send, ring full, woken for room", &case);
}

pub fn send_timed_out() {
    let case = Case::<false, false> {
        calls: Calls::new(&FULL),
        set_up: fill,
        begin: nothing,
        operate: |ends| {
            let sent = ends.calls.send(ends.victim, 8, BRIEF);
            assert_eq!(sent, Err(libc::ETIMEDOUT));
        },
        survive: |ends, finished| ends.receives(finished, 8, 0),
    };
    check("ipc_channel_send, ring full, timed out", &case);
}

/// Fills reserved room word by word: each is a point.
fn write(room: *mut u8, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: within the room, which is as long.
        unsafe { room.add(at).write_volatile(*byte) };
    }
}

/// The victim reserves twice as much as it sends.
pub fn reserve_and_commit() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, 8]),
        set_up: nothing,
        begin: send_one_and_wait,
        operate: |ends| {
            let bytes = &ends.calls.messages[1];
            let room = ends.calls.reserve(ends.victim, 2 * bytes.len());
            write(room, bytes);
            ends.calls.commit(ends.victim, bytes.len());
        },
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check("ipc_channel_reserve, _commit", &case);
}

pub fn reserve_and_cancel() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, 8]),
        set_up: nothing,
        begin: send_one_and_wait,
        operate: |ends| {
            let room = ends.calls.reserve(ends.victim, SHORT);
            write(room, &[255; 8]);
            ends.calls.cancel(ends.victim);
            ends.send_one(1);
        },
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check("ipc_channel_reserve, _cancel, _send", &case);
}

/// The survivor sends messages, so many before the victim is there.
fn survivor_sends(ends: &Ends, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(ends.calls.send(ends.survivor, number, -1), Ok(0));
    }
}

/// The victim receives a message into room for `cap` bytes.
fn victim_receives(ends: &Ends, cap: usize, expected: Outcome) {
    let room = &mut ends.room.borrow_mut()[..cap];
    assert_eq!(ends.calls.recv(ends.victim, room, -1), expected);
}

/// The victim sends one message, and receives: the second message that it gets.
fn check_recv<const SLEEPS: bool>(name: &str, len: usize, operate: fn(&Ends)) {
    let case = Case::<SLEEPS, false> {
        calls: Calls::new(&[SHORT, len]),
        set_up: if SLEEPS {
            |ends| survivor_sends(ends, 0..1)
        } else {
            |ends| survivor_sends(ends, 0..2)
        },
        begin: |ends| {
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

pub fn recv() {
    check_recv::<false>("ipc_channel_recv", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

pub fn recv_long() {
    check_recv::<false>("ipc_channel_recv, 3 kB", LONG, |ends| {
        victim_receives(ends, LONG, Ok(LONG));
    });
}

pub fn recv_too_long() {
    check_recv::<false>("ipc_channel_recv, longer than cap", LONG, |ends| {
        victim_receives(ends, SHORT, Err(libc::EMSGSIZE));
    });
}

pub fn recv_from_an_empty_one() {
    check_recv::<true>("ipc_channel_recv, empty", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

pub fn recv_timed_out() {
    check_recv::<false>("ipc_channel_recv, timed out", SHORT, |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
        let mut room = [0; SHORT];
        let result = ends.calls.recv(ends.victim, &mut room, BRIEF);
        assert_eq!(result, Err(libc::ETIMEDOUT));
    });
}

pub fn peek_and_release() {
    check_recv::<false>("ipc_channel_peek, _release", LONG, |ends| {
        assert_eq!(ends.calls.peek(ends.victim), LONG);
        ends.calls.release(ends.victim);
    });
}

pub fn recv_that_is_woken() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: nothing,
        begin: |ends| ends.send(0..1),
        operate: |ends| victim_receives(ends, SHORT, Ok(SHORT)),
        survive: |ends, finished| {
            ends.page.wait_for_victim();
            ends.sends()?;
            ends.receives(finished, 1, 0)
        },
    };
    check("ipc_channel_recv, empty, woken", &case);
}

/// The survivor sleeps until half of its ring is free. These fill it; the first four are more
/// than half, but for the fifth.
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

fn check_frees_room(name: &str, operate: fn(&Ends)) {
    let case = Case::<false, true> {
        calls: Calls::new(&MORE_THAN_HALF),
        set_up: |ends| survivor_sends(ends, 0..9),
        begin: |ends| {
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

pub fn recv_that_frees_room() {
    check_frees_room("ipc_channel_recv, wakes a sender", |ends| {
        victim_receives(ends, SHORT, Ok(SHORT));
    });
}

pub fn release_that_frees_room() {
    check_frees_room("ipc_channel_release, wakes a sender", |ends| {
        assert_eq!(ends.calls.peek(ends.victim), SHORT);
        ends.calls.release(ends.victim);
    });
}

/// The victim ends something or all, while the survivor waits in a receive.
fn check_end(name: &str, operate: fn(&Ends)) {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: nothing,
        begin: send_one_and_wait,
        operate,
        survive: |ends, finished| ends.receives(finished, 1, 0),
    };
    check(name, &case);
}

pub fn shutdown_writing() {
    check_end("ipc_channel_shutdown, SHUT_WR", |ends| {
        ends.calls.shutdown(ends.victim, SHUT_WR);
    });
}

pub fn shutdown_both() {
    check_end("ipc_channel_shutdown, SHUT_RDWR", |ends| {
        ends.calls.shutdown(ends.victim, SHUT_RDWR);
    });
}

pub fn close() {
    check_end("ipc_channel_close", |ends| ends.calls.close(ends.victim));
}

/// The same, while the survivor waits for room.
pub fn shutdown_reading() {
    let case = Case::<false, true> {
        calls: Calls::new(&FULL),
        set_up: |ends| {
            survivor_sends(ends, 0..8);
            ends.send(8..9);
        },
        begin: |ends| ends.page.wait_for_survivor(0),
        operate: |ends| ends.calls.shutdown(ends.victim, SHUT_RD),
        survive: |ends, _| {
            ends.sends()?;
            // The only message of the victim's.
            match ends.calls.recv(ends.survivor, &mut ends.calls.room(), WAIT) {
                Ok(SHORT) => ends.calls.is_over(ends.survivor),
                other => Err(format!("{other:?} instead of the message")),
            }
        },
    };
    check("ipc_channel_shutdown, SHUT_RD", &case);
}

/// The survivor receives, but waits for its descriptor.
fn receives_by_polling(ends: &Ends, finished: &Finished, more: usize) -> Verdict {
    let mut room = ends.calls.room();
    let fd = ends.calls.fd(ends.survivor);
    // SAFETY: the channel's own, which outlives this; only looked at.
    let fd = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let deadline = Instant::now() + SOON;
    let mut count = 0;
    loop {
        match ends.calls.recv(ends.survivor, &mut room, 0) {
            Ok(0) => break,
            Ok(len) if ends.calls.messages[count] == room[..len] => {
                count += 1;
                ends.page.received.store(count as u32, SeqCst);
            }
            Err(libc::EAGAIN) => {
                ends.page.waits.store(1, SeqCst);
                if !child::poll_readable(&*fd, deadline) {
                    return Err("never readable".into());
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
    ends.calls.is_over(ends.survivor)
}

pub fn send_to_one_that_polls() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT; 2]),
        set_up: nothing,
        begin: send_one_and_wait,
        operate: |ends| ends.send_one(1),
        survive: |ends, finished| receives_by_polling(ends, finished, 1),
    };
    check("ipc_channel_send, peer polls", &case);
}

pub fn fd() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: |ends| survivor_sends(ends, 0..1),
        begin: send_one_and_wait,
        operate: |ends| {
            ends.calls.fd(ends.victim);
            victim_receives(ends, SHORT, Ok(SHORT));
            let mut room = [0; SHORT];
            let result = ends.calls.recv(ends.victim, &mut room, 0);
            assert_eq!(result, Err(libc::EAGAIN));
        },
        survive: |ends, finished| receives_by_polling(ends, finished, 0),
    };
    check("ipc_channel_fd, _recv", &case);
}

/// Where two processes meet that make a channel.
struct Meeting {
    calls: &'static Calls,
    /// A socket or a listener.
    victim: Option<OwnedFd>,
    survivor: Option<OwnedFd>,
    path: CString,
    page: &'static Page,
}

impl Meeting {
    fn listener(&self) -> Option<OwnedFd> {
        Some(self.calls.listen(&self.path).unwrap())
    }

    fn receives(&self, ch: Ch, finished: &Finished) -> Verdict {
        self.calls.receives(ch, self.page, finished, 0, 1)
    }

    /// The other side is dead: nothing but this, and only if it did not finish.
    fn failed(&self, error: c_int, expected: &[c_int], finished: &Finished) -> Verdict {
        if finished.get() || !expected.contains(&error) {
            return Err(format!("errno {error}"));
        }
        Ok(())
    }

    /// Whatever the dead one left, others can meet at the path.
    fn works_again(&self) -> Verdict {
        let calls = self.calls;
        let mut listener = calls.listen(&self.path);
        let deadline = Instant::now() + SOON;
        while listener.as_ref().err() == Some(&libc::EADDRINUSE) && Instant::now() < deadline {
            // The harness has the victim's listener for a moment longer.
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

/// What processes that meet do.
struct Meet<const SLEEPS: bool, const CONCURRENT: bool> {
    calls: &'static Calls,
    /// Below which all paths are; removed at the end.
    path: PathBuf,
    set_up: fn(&mut Meeting),
    operate: fn(&Meeting),
    survive: fn(&mut Meeting, &Finished) -> Verdict,
}

impl<const SLEEPS: bool, const CONCURRENT: bool> Meet<SLEEPS, CONCURRENT> {
    fn check(
        name: &str,
        set_up: fn(&mut Meeting),
        operate: fn(&Meeting),
        survive: fn(&mut Meeting, &Finished) -> Verdict,
    ) {
        let calls = Calls::new(&[SHORT]);
        let path = env::temp_dir().join("s");
        let meet = Self {
            calls,
            path,
            set_up,
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
        };
        (self.set_up)(&mut meeting);
        meeting
    }

    fn become_victim(&self, meeting: &mut Meeting) {
        meeting.survivor = None;
        // Once through most of it.
        let calls = self.calls;
        let [a, b] = calls.pair();
        assert_eq!(calls.send(a, 0, -1), Ok(0));
        assert_eq!(calls.recv(b, &mut [0; SHORT], -1), Ok(SHORT));
        calls.close(a);
        calls.close(b);
        meeting.page.victim.store(child::pid(), SeqCst);
        meeting.page.begun.store(1, SeqCst);
    }

    fn operate(&self, meeting: &mut Meeting) {
        (self.operate)(meeting);
    }

    fn survive(&self, meeting: &mut Meeting, finished: &Finished) -> Verdict {
        meeting.victim = None;
        (self.survive)(meeting, finished)
    }
}

pub fn pair() {
    Meet::<false, false>::check(
        "ipc_channel_pair",
        |_| {},
        |meeting| {
            meeting.calls.pair();
        },
        |meeting, _| meeting.works_again(),
    );
}

/// The victim makes a channel of its socket, and sends a message.
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
        Ok(ch) => meeting.receives(ch, finished),
        Err(error) => meeting.failed(error, &[libc::EPIPE], finished),
    }
}

/// Over a stream socket; listeners' sockets keep the borders.
fn connected(meeting: &mut Meeting) {
    let mut fds = [-1; 2];
    // SAFETY: room for two.
    let made = unsafe { (meeting.calls.library.ipc_pair_open)(SOCK_STREAM, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: the library has just made them, for us.
    [meeting.victim, meeting.survivor] = fds.map(|fd| Some(unsafe { OwnedFd::from_raw_fd(fd) }));
}

pub fn from_fd() {
    let name = "ipc_channel_from_fd, _send";
    Meet::<false, true>::check(name, connected, from_socket, from_other_socket);
}

pub fn from_fd_that_waits() {
    let name = "ipc_channel_from_fd, waits";
    Meet::<true, false>::check(name, connected, from_socket, from_other_socket);
}

fn check_listen(name: &str, set_up: fn(&mut Meeting)) {
    Meet::<false, false>::check(
        name,
        set_up,
        |meeting| std::mem::forget(meeting.listener()),
        |meeting, _| meeting.works_again(),
    );
}

pub fn listen() {
    check_listen("ipc_channel_listen", |_| {});
}

pub fn listen_stale() {
    check_listen("ipc_channel_listen, stale path", |meeting| {
        let path = Path::new(meeting.path.to_str().unwrap());
        drop(UnixListener::bind(path).unwrap());
    });
}

pub fn listen_abstract() {
    check_listen("ipc_channel_listen, abstract", |meeting| {
        // Each process of the test has the name of its scenario's process.
        meeting.path = CString::new(format!("@unixipc-killstep-{}", child::pid())).unwrap();
    });
}

/// The survivor connects, and receives the message; then it is the listener itself.
fn connects(meeting: &mut Meeting, finished: &Finished) -> Verdict {
    match meeting.calls.connect(&meeting.path, WAIT) {
        Ok(ch) => meeting.receives(ch, finished)?,
        Err(error) => meeting.failed(error, &[libc::EPIPE, libc::ECONNREFUSED], finished)?,
    }
    meeting.works_again()
}

pub fn accept() {
    Meet::<false, true>::check(
        "ipc_channel_accept, first _send",
        |meeting| meeting.victim = meeting.listener(),
        |meeting| {
            let listener = meeting.victim.as_ref().unwrap();
            let ch = meeting.calls.accept(listener, -1).unwrap();
            assert_eq!(meeting.calls.send(ch, 0, -1), Ok(0));
        },
        connects,
    );
}

pub fn accept_that_waits() {
    Meet::<true, false>::check(
        "ipc_channel_accept, waits",
        |meeting| meeting.victim = meeting.listener(),
        |meeting| {
            let listener = meeting.victim.as_ref().unwrap();
            meeting.calls.accept(listener, -1).unwrap();
        },
        |meeting, _| meeting.works_again(),
    );
}

/// The victim connects, and sends a message.
fn connect_and_send(meeting: &Meeting) {
    let ch = meeting.calls.connect(&meeting.path, -1).unwrap();
    assert_eq!(meeting.calls.send(ch, 0, -1), Ok(0));
}

/// The survivor accepts until the victim is dead, receives what comes, and goes on as the
/// listener.
fn accepts(meeting: &mut Meeting, finished: &Finished) -> Verdict {
    let calls = meeting.calls;
    let listener = meeting.survivor.take().unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        let is_last = meeting.page.victim_is_gone() || Instant::now() >= deadline;
        match calls.accept(&listener, if is_last { 0 } else { 5 }) {
            Ok(ch) => {
                meeting.receives(ch, finished)?;
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

pub fn connect() {
    Meet::<false, true>::check(
        "ipc_channel_connect, _send",
        |meeting| meeting.survivor = meeting.listener(),
        connect_and_send,
        accepts,
    );
}

pub fn connect_that_waits() {
    Meet::<true, false>::check(
        "ipc_channel_connect, waits",
        |meeting| meeting.survivor = meeting.listener(),
        connect_and_send,
        accepts,
    );
}
