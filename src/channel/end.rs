//! One end of a channel: what a handle of the C interface is.

use super::handshake::{self, Hello, Peer, Reply};
use super::memory::{self, Memory, Wanted};
use super::ring::{Consumer, Producer, longest, record_size, size_for};
use super::signal::Bell;
use super::sleep::{self, Other, Publisher};
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result, kept};
use crate::pair::{self, Cred};
use crate::sys::{self, membarrier};
use crate::wait::Wait;
use libc::c_int;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{hint, mem, ptr};

/// How a channel is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size of the ring of what this side sends; 0 for 256 KiB.
    pub send_size: u64,
    /// The same for the other side of a pair; 0 for the same size.
    pub recv_size: u64,
    /// The largest ring that is taken from a peer; 0 for 1 GiB.
    pub recv_size_max: u64,
    /// A message of this length shall fit, whatever the sizes say.
    pub message_max: u64,
    /// How long to look for what one waits for before one sleeps.
    pub spin: Spin,
    /// Whether all memory is to be there at once.
    pub populate: bool,
    /// Whether all memory is to stay.
    pub lock: bool,
}

/// How long to look for what one waits for before one sleeps.
#[derive(Clone, Copy, Debug)]
pub enum Spin {
    /// For some microseconds, where it is of use: the peer runs on another processor, and the last
    /// times were not in vain.
    Adaptive,
    /// For so long each time.
    For(Duration),
}

/// About what it costs to sleep and to be woken.
const SPIN: Duration = Duration::from_micros(10);
/// How often to look between two looks at the clock.
const LOOKS: u32 = 32;
/// How often who looks for long also looks whether it is all over.
const CHECK: Duration = Duration::from_millis(1);
/// How long to sleep where nobody may wake.
const NAP: Duration = Duration::from_millis(1);
/// After so many times in vain ...
const VAIN: u32 = 4;
/// ... it is tried again only once in so many.
const RETRY: u32 = 32;

/// The size of a ring by default.
const RING_SIZE: u64 = 256 << 10;
/// The largest ring that is taken from a peer by default.
const RING_SIZE_MAX: u64 = 1 << 30;

impl Options {
    fn wanted(&self, size: u64) -> Result<Wanted> {
        let size = if size == 0 { RING_SIZE } else { size };
        let for_message = match self.message_max {
            0 => 0,
            len if len <= longest(memory::RING_MAX) => size_for(len),
            _ => return Err(Errno::EINVAL),
        };
        Ok(Wanted {
            ring_size: memory::ring_size(size.max(for_message))?,
            populate: self.populate,
            lock: self.lock,
        })
    }

    fn size_max(&self) -> u64 {
        match self.recv_size_max {
            0 => RING_SIZE_MAX,
            size => size,
        }
    }
}

/// What has happened on an end since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Messages and their bytes.
    pub sent: (u64, u64),
    /// Messages and their bytes.
    pub received: (u64, u64),
    /// How often it has slept.
    pub sleeps: u64,
    /// How often it has woken the other side.
    pub wakes: u64,
    /// How often a message did not find room at once.
    pub full: u64,
}

/// A number that one thread counts and any may read.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    /// The new number.
    #[inline]
    fn add(&self, more: u64) -> u64 {
        let now = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(now, Ordering::Relaxed);
        now
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a sender counts, or a receiver.
#[derive(Default)]
struct Counts {
    messages: Count,
    bytes: Count,
    sleeps: Count,
    wakes: Count,
    waits: Count,
}

/// The sending side's own state.
struct Sender {
    ring: Producer,
    publisher: Publisher,
    /// How much `reserve` has promised and `commit` not yet published; 0 for nothing.
    reserved: usize,
    /// How often in a row there was no room.
    refused: u32,
    /// How much room is wished for, where a send was refused.
    wish: u64,
    /// How often in a row it was in vain to look for a while.
    vain: u32,
}

/// The receiving side's own state.
struct Receiver {
    ring: Consumer,
    publisher: Publisher,
    /// Whether `peek` has shown the next message.
    is_shown: bool,
    /// How often in a row there was nothing, after so many messages.
    idle: u32,
    idle_since: u64,
    /// How often in a row it was in vain to look for a while.
    vain: u32,
}

impl Receiver {
    /// Whether there is a message.
    #[inline]
    fn look(&mut self, peer: &Peer) -> Result<bool> {
        self.ring.look(peer.memory.length(self.ring.position()))
    }
}

/// Keeps what two threads use off each other's cache lines.
#[repr(align(128))]
struct Apart<T>(T);

/// What is needed until the handshake is over.
struct Pending {
    socket: OwnedFd,
    reply: Reply,
    size_max: u64,
    wanted: Wanted,
    failed: Option<Errno>,
    /// How many threads wait for the socket: it stays open for them.
    waiting: u32,
}

/// One end of a channel.
///
/// One thread at a time may send, and one may receive.
pub struct Channel {
    sender: Apart<UnsafeCell<Sender>>,
    receiver: Apart<UnsafeCell<Receiver>>,
    sent: Apart<Counts>,
    received: Apart<Counts>,
    /// Known when the handshake is over.
    peer: OnceLock<Peer>,
    /// 0, or the error that ended it.
    broken: AtomicU32,
    /// The peer's cursor when a send was refused, so that who polls learns of room; or [`NOT_MET`]
    /// or [`NO_WISH`].
    refused_at: AtomicU64,
    memory: Memory,
    bell: Bell,
    spin: Spin,
    membarrier: bool,
    cred: Cred,
    pending: Mutex<Option<Pending>>,
}

// SAFETY: what is in the cells is used by one thread at a time, as C's interface demands;
// everything else is made for several.
unsafe impl Sync for Channel {}

/// A message in the peer's ring.
struct Message {
    at: *const u8,
    len: usize,
}

impl Message {
    /// The one at a position of the peer's ring.
    #[inline(always)]
    fn new(peer: &Peer, position: u64, len: u32) -> Self {
        Self {
            at: peer.memory.message(position),
            len: len as usize,
        }
    }
}

/// No send waits for room. Not where a cursor can be.
const NO_WISH: u64 = u64::MAX;
/// A send was refused because the handshake was not over. Not where a cursor can be, either.
const NOT_MET: u64 = 1;
/// So many times in a row a side that finds nothing to do asks the system whether the peer is gone.
const EAGER: u32 = 16;
/// From then on it asks once in so many times, as a sender does of which nothing is received.
const SELDOM: u32 = 64;

impl Channel {
    /// Both ends of a new channel, for a process and its child.
    pub fn pair(options: &Options) -> Result<[Self; 2]> {
        let other_size = match options.recv_size {
            0 => options.send_size,
            size => size,
        };
        let wanted = options.wanted(options.send_size)?;
        let other_wanted = options.wanted(other_size)?;
        let cred = Cred::own();
        let (a, a_memory, a_rope) = Self::make(options, &wanted, cred)?;
        let (b, b_memory, b_rope) = Self::make(options, &other_wanted, cred)?;
        a.meet(Peer::of_relative(&b_memory, b_rope, &b, &wanted)?)?;
        b.meet(Peer::of_relative(&a_memory, a_rope, &a, &other_wanted)?)?;
        Ok([a, b])
    }

    /// The end of a channel over a connected socket, and the handshake.
    pub fn from_socket(socket: BorrowedFd, options: &Options, mut wait: Wait) -> Result<Self> {
        let socket = socket
            .try_clone_to_owned()
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EMFILE)))?;
        let this = Self::begin(socket, options)?;
        this.finish_now(&mut wait)?;
        Ok(this)
    }

    /// The end of a channel whose handshake is left to the first operation.
    pub fn begin(socket: OwnedFd, options: &Options) -> Result<Self> {
        if options.recv_size != 0 {
            return Err(Errno::EINVAL);
        }
        let wanted = options.wanted(options.send_size)?;
        if !sys::is_local(socket.as_fd())? {
            return Err(Errno::EOPNOTSUPP);
        }
        let cred = pair::peer_cred(socket.as_fd())?;
        let (mut this, memory, rope) = Self::make(options, &wanted, cred)?;
        let hello = Hello {
            membarrier: this.membarrier,
            ring_size: this.memory.ring_size(),
        };
        handshake::send(socket.as_fd(), hello, memory.as_fd(), rope.as_fd())?;
        let pending = Pending {
            socket,
            reply: Reply::new(),
            size_max: options.size_max(),
            wanted,
            failed: None,
            waiting: 0,
        };
        this.pending = Mutex::new(Some(pending));
        Ok(this)
    }

    fn make(options: &Options, wanted: &Wanted, cred: Cred) -> Result<(Self, OwnedFd, OwnedFd)> {
        let (memory, fd) = Memory::create(wanted)?;
        let (bell, rope) = Bell::new()?;
        let membarrier = membarrier::register() && membarrier::issue();
        let ring_size = memory.ring_size();
        let control = memory.control();
        // Whoever has not looked yet sleeps: the first message rings, and so finds out whether
        // anybody is there.
        sleep::announce(&control.receiver.word, &control.tail.unfenced, || true);
        let this = Self {
            sender: Apart(UnsafeCell::new(Sender {
                ring: Producer::new(ring_size, 0),
                publisher: Publisher::new(false),
                reserved: 0,
                refused: 0,
                wish: 0,
                vain: 0,
            })),
            receiver: Apart(UnsafeCell::new(Receiver {
                ring: Consumer::new(ring_size, 0),
                publisher: Publisher::new(false),
                is_shown: false,
                idle: 0,
                idle_since: 0,
                vain: 0,
            })),
            sent: Apart(Counts::default()),
            received: Apart(Counts::default()),
            peer: OnceLock::new(),
            broken: AtomicU32::new(0),
            refused_at: AtomicU64::new(NO_WISH),
            memory,
            bell,
            spin: options.spin,
            membarrier,
            cred,
            pending: Mutex::new(None),
        };
        Ok((this, fd, rope))
    }

    /// Takes note of the peer. Only before anybody sends or receives.
    fn meet(&self, peer: Peer) -> Result<()> {
        let may_be_unfenced = self.membarrier && peer.membarrier;
        // SAFETY: nobody sends before the peer is known.
        let sender = unsafe { &mut *self.sender.0.get() };
        sender.publisher = Publisher::new(may_be_unfenced);
        // SAFETY: nobody receives before the peer is known.
        let receiver = unsafe { &mut *self.receiver.0.get() };
        receiver.ring = Consumer::new(peer.memory.ring_size(), 0);
        receiver.publisher = Publisher::new(may_be_unfenced);
        // Who finds the peer sees all that was written before it was set.
        self.peer.set(peer).map_err(|_| Errno::EPROTO) // called twice
    }

    /// Waits for the end of the handshake, before anybody else has this end.
    pub(super) fn finish_now(&self, wait: &mut Wait) -> Result<()> {
        self.finish(wait, &self.memory.control().tail.ended)
    }

    /// Ends the handshake, or waits for its end; `EPIPE` if this side is `over` before.
    #[cold]
    fn finish(&self, wait: &mut Wait, over: &AtomicU32) -> Result<()> {
        loop {
            if self.bell.is_polled() {
                // A peer may ring, or go, and say nothing. What else has rung is shown again below.
                self.bell.silence();
            }
            let count = self.bell.count();
            let is_over = self.bell.is_gone() || over.load(Ordering::Relaxed) != 0;
            let socket = {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(handshake) = pending.as_mut() else {
                    self.bell.show();
                    return Ok(()); // another thread has done it
                };
                if self.take_reply(handshake)? {
                    if handshake.waiting == 0 {
                        *pending = None;
                    }
                    self.bell.show();
                    return Ok(());
                }
                self.show_end();
                if is_over {
                    return Err(Errno::EPIPE);
                }
                handshake.waiting += 1;
                handshake.socket.as_raw_fd()
            };
            // Not under the lock: others have their own time.
            // SAFETY: it stays open while somebody is waiting.
            let socket = unsafe { BorrowedFd::borrow_raw(socket) };
            let slept = self.bell.sleep(wait, count, Some(socket));
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(handshake) = pending.as_mut() {
                handshake.waiting -= 1;
                if handshake.waiting == 0 && self.peer.get().is_some() {
                    *pending = None;
                }
            }
            slept?;
        }
    }

    /// Takes what the peer has said up to now; whether that is all.
    fn take_reply(&self, handshake: &mut Pending) -> Result<bool> {
        if self.peer.get().is_some() {
            return Ok(true);
        }
        if let Some(error) = handshake.failed {
            self.bell.show();
            return Err(error);
        }
        let mut not_at_all = Wait::new(0)?;
        let received = handshake
            .reply
            .receive(handshake.socket.as_fd(), &mut not_at_all);
        if received == Err(Errno::EAGAIN) {
            return Ok(false);
        }
        let met = received
            .and_then(|()| {
                handshake
                    .reply
                    .accept(handshake.size_max, &handshake.wanted)
            })
            .and_then(|peer| self.meet(peer));
        if let Err(error) = met {
            handshake.failed = Some(error);
            // It stays to be seen, whether the socket is readable or not.
            self.bell.ring_own();
            return Err(error);
        }
        self.bell.forget(handshake.socket.as_fd());
        if self.bell.is_polled() {
            self.let_poll();
        }
        if handshake.waiting > 0 {
            self.bell.ring_own();
        }
        Ok(true)
    }

    /// The peer, after the handshake.
    #[inline]
    fn peer(&self, wait: &mut Wait, over: &AtomicU32) -> Result<&Peer> {
        if let Some(peer) = self.peer.get() {
            return Ok(peer);
        }
        kept(|| self.finish(wait, over))?;
        self.peer.get().ok_or(Errno::EPROTO)
    }

    /// Ends the channel because the peer has broken its rules.
    #[cold]
    fn break_off(&self, error: Errno) -> Errno {
        if error == Errno::EPROTO && self.broken.swap(1, Ordering::Relaxed) == 0 {
            // For the other direction too, and whoever waits or polls.
            self.bell.set_gone();
            fence(Ordering::SeqCst); // as in `shutdown`
            self.bell.ring_own();
        }
        error
    }

    fn check_broken(&self) -> Result<()> {
        match self.broken.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Sends a message.
    #[inline]
    pub fn send(&self, bytes: &[u8], wait: Wait) -> Result<()> {
        let len = bytes.len();
        match self.claim_at_once(len) {
            // A shorter way, worth as much as what it does.
            Some((peer, at)) if SHORT.contains(&len) => {
                // SAFETY: there is room for so many bytes, of which nobody else knows yet.
                unsafe { copy_short(bytes.as_ptr(), at, len) };
                self.expect_next(len);
                self.publish(peer, len)
            }
            _ => self.send_any(bytes, wait),
        }
    }

    #[inline(never)]
    fn send_any(&self, bytes: &[u8], wait: Wait) -> Result<()> {
        let (peer, at) = self.claim(bytes.len(), wait)?;
        // SAFETY: `claim` has found room for so many bytes, of which nobody else knows yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        self.publish(peer, bytes.len())
    }

    /// Room for a message of `len` bytes, which the caller fills before `commit`.
    pub fn reserve(&self, len: usize, wait: Wait) -> Result<*mut u8> {
        let (_, at) = self.claim(len, wait)?;
        // SAFETY: this is the thread that sends.
        unsafe { &mut *self.sender.0.get() }.reserved = len;
        Ok(at)
    }

    /// Sends the first `len` bytes of what was reserved.
    pub fn commit(&self, len: usize) -> Result<()> {
        // SAFETY: this is the thread that sends.
        let sender = unsafe { &mut *self.sender.0.get() };
        if len == 0 || len > sender.reserved {
            return Err(Errno::EINVAL);
        }
        sender.reserved = 0;
        let peer = self.peer.get().ok_or(Errno::EINVAL)?;
        if self.is_over_here() {
            self.check_broken()?;
            return Err(Errno::EPIPE);
        }
        self.publish(peer, len)
    }

    /// Gives back what was reserved.
    pub fn cancel(&self) -> Result<()> {
        // SAFETY: this is the thread that sends.
        let sender = unsafe { &mut *self.sender.0.get() };
        if sender.reserved == 0 {
            return Err(Errno::EINVAL);
        }
        sender.reserved = 0;
        Ok(())
    }

    /// Room for a message, where it is to be had without waiting and nothing is wrong. Its length
    /// may be more than can be said, but not more than anything can be long.
    #[inline(always)]
    fn claim_at_once(&self, len: usize) -> Option<(&Peer, *mut u8)> {
        let peer = self.peer.get()?;
        // SAFETY: this is the thread that sends.
        let sender = unsafe { &*self.sender.0.get() };
        let is_free = len != 0
            && sender.reserved == 0
            && sender.ring.has_room(record_size(len as u64))
            && !self.is_over_here();
        is_free.then(|| (peer, self.place(sender)))
    }

    /// Waits for room, and gives it.
    #[inline(always)]
    fn claim(&self, len: usize, wait: Wait) -> Result<(&Peer, *mut u8)> {
        let can_fit = len as u64 <= longest(self.memory.ring_size());
        match can_fit.then(|| self.claim_at_once(len)).flatten() {
            Some(place) => Ok(place),
            None => self.claim_slowly(len, wait),
        }
    }

    /// Where the next message goes.
    #[inline(always)]
    fn place(&self, sender: &Sender) -> *mut u8 {
        self.memory.message(sender.ring.position())
    }

    #[cold]
    fn claim_slowly(&self, len: usize, mut wait: Wait) -> Result<(&Peer, *mut u8)> {
        let over = &self.memory.control().tail.ended;
        let peer = match self.peer.get() {
            Some(peer) => peer,
            None => {
                self.refused_at.store(NOT_MET, Ordering::Relaxed);
                let peer = self.peer(&mut wait, over)?;
                self.refused_at.store(NO_WISH, Ordering::Relaxed);
                peer
            }
        };
        // SAFETY: this is the thread that sends.
        let sender = unsafe { &mut *self.sender.0.get() };
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        if len as u64 > longest(self.memory.ring_size()) {
            return Err(Errno::EMSGSIZE);
        }
        if sender.reserved != 0 {
            return Err(Errno::EBUSY);
        }
        let need = record_size(len as u64);
        if !sender.ring.has_room(need) || self.is_over_here() {
            kept(|| self.wait_for_room(peer, sender, need, &mut wait))?;
        }
        Ok((peer, self.place(sender)))
    }

    /// Fetches where short messages will go that are sent after one of `len` bytes.
    #[inline(always)]
    fn expect_next(&self, len: usize) {
        // SAFETY: this is the thread that sends.
        let ring = unsafe { &(*self.sender.0.get()).ring };
        self.memory
            .expect_store(ring.position_behind(record_size(len as u64)));
    }

    /// Publishes what has been written where `claim` said.
    #[inline(always)]
    fn publish(&self, peer: &Peer, len: usize) -> Result<()> {
        // SAFETY: this is the thread that sends.
        let sender = unsafe { &mut *self.sender.0.get() };
        let control = self.memory.control();
        let next = sender.ring.position_behind(record_size(len as u64));
        sender.ring.publish(
            len as u32,
            self.memory.length(sender.ring.position()),
            self.memory.length(next),
            &control.tail.at,
        );
        let count = self.sent.0.messages.add(1);
        self.sent.0.bytes.add(len as u64);
        let other = sender.publisher.published(
            &peer.memory.control().receiver.word,
            &control.tail.unfenced,
            || true,
        );
        if other != Other::Awake || count.is_multiple_of(SELDOM.into()) {
            return self.after_sending(peer, sender, other);
        }
        Ok(())
    }

    /// What seldom has to be done after a message.
    #[cold]
    fn after_sending(&self, peer: &Peer, sender: &mut Sender, other: Other) -> Result<()> {
        kept(|| self.ring_or_look(peer, sender, other))
    }

    fn ring_or_look(&self, peer: &Peer, sender: &mut Sender, other: Other) -> Result<()> {
        self.note_place();
        match other {
            Other::Ended => {
                let result = self.not_received(peer, sender);
                sender.ring.close();
                return result;
            }
            Other::Asleep => {
                self.sent.0.wakes.add(1);
                return peer.rope.pull().or_else(|_| {
                    self.bell.set_gone();
                    self.not_received(peer, sender)
                });
            }
            Other::Awake => {}
        }
        // A receiver that has read nothing of so many messages may be no more.
        let before = sender.ring.head_seen();
        let size = self.memory.ring_size();
        sender
            .ring
            .look(size, &peer.memory.control().head.at)
            .map_err(|error| self.break_off(error))?;
        if sender.ring.head_seen() == before && self.bell.look() {
            return self.not_received(peer, sender);
        }
        Ok(())
    }

    /// The peer has ended; but one that has received the message before is no failure of this
    /// send, only of the next.
    fn not_received(&self, peer: &Peer, sender: &mut Sender) -> Result<()> {
        let head = &peer.memory.control().head.at;
        sender
            .ring
            .look(0, head)
            .map_err(|error| self.break_off(error))?;
        if sender.ring.is_all_read() {
            Ok(())
        } else {
            Err(Errno::EPIPE)
        }
    }

    /// Whether the peer is known to be gone, or this side has ended the sending.
    #[inline(always)]
    fn is_over_here(&self) -> bool {
        self.bell.is_gone() || self.memory.control().tail.ended.load(Ordering::Relaxed) != 0
    }

    #[cold]
    fn wait_for_room(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        need: u64,
        wait: &mut Wait,
    ) -> Result<()> {
        let control = self.memory.control();
        let theirs = peer.memory.control();
        let word = &control.sender.word;
        // Before each look: what is read afterwards may be what the message waits for.
        let head = theirs.head.at.load(Ordering::Relaxed);
        let mut look = || {
            self.check_broken()?;
            if self.is_over_here() || theirs.head.ended.load(Ordering::Relaxed) != 0 {
                return Err(Errno::EPIPE);
            }
            sender
                .ring
                .look(need, &theirs.head.at)
                .map_err(|error| self.break_off(error))
        };
        let fulfilled = |wish| {
            // A shorter message leaves the longer one that was refused waiting.
            if need >= wish {
                self.refused_at.store(NO_WISH, Ordering::Relaxed);
            }
        };
        if look().inspect_err(|_| self.refused_at.store(NO_WISH, Ordering::Relaxed))? {
            sender.refused = 0;
            fulfilled(sender.wish);
            return Ok(());
        }
        self.sent.0.waits.add(1);
        // That it is over `look` knows by itself.
        if self.spin_until(wait, peer, &mut sender.vain, &mut look, || false)? {
            fulfilled(sender.wish);
            return Ok(());
        }
        if self.refused_at.load(Ordering::Relaxed) == NO_WISH {
            sender.wish = 0;
        }
        sender.wish = sender.wish.max(need);
        // Before it is said to the peer: `show_room` is to know when the peer has rung.
        self.refused_at.store(head, Ordering::Relaxed);
        // Pairs with the fence in `let_poll`: who asks for the descriptor now sees it.
        fence(Ordering::SeqCst);
        if wait.is_never() && !self.bell.is_polled() {
            sender.refused = sender.refused.saturating_add(1);
            if is_time_to_look(sender.refused) && self.bell.look() {
                return Err(Errno::EPIPE);
            }
            return Err(Errno::EAGAIN);
        }
        // Why it sleeps no more: it looks once more all the same.
        let mut over = wait.is_never().then_some(Errno::EAGAIN);
        loop {
            let count = self.bell.count();
            let safe = self.announce(word, &theirs.head.unfenced, peer);
            if look()? {
                sleep::withdraw(word);
                fulfilled(sender.wish);
                return Ok(());
            }
            if let Some(error) = over {
                if !safe {
                    self.bell.show();
                } else if self.bell.is_polled() && !self.is_something_to_be_seen(peer) {
                    // It has told of what is over.
                    self.bell.hide();
                    if self.is_something_to_be_seen(peer) {
                        self.bell.show();
                    }
                }
                self.give_up(word);
                let error = if self.bell.look() {
                    Errno::EPIPE
                } else {
                    error
                };
                return Err(error);
            }
            self.sent.0.sleeps.add(1);
            over = self.sleep(wait, count, safe).err();
        }
    }

    /// Whether there is a reason for the descriptor to be readable.
    fn is_something_to_be_seen(&self, peer: &Peer) -> bool {
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        self.is_something_to_receive(peer)
            || (refused_at != NO_WISH
                && peer.memory.control().head.at.load(Ordering::Acquire) != refused_at)
    }

    /// Whether there is a message, or the end.
    fn is_something_to_receive(&self, peer: &Peer) -> bool {
        let (mine, theirs) = (self.memory.control(), peer.memory.control());
        theirs.tail.at.load(Ordering::Acquire) != mine.head.at.load(Ordering::Relaxed)
            || self.is_receiving_over(peer)
    }

    /// Whether nothing more will come than what is there. Pairs with the store in `shutdown`; the
    /// same holds of a death, after which nothing is written: who sees the end and then no message
    /// has received them all.
    fn is_receiving_over(&self, peer: &Peer) -> bool {
        self.is_receiving_over_here()
            || peer.memory.control().tail.ended.load(Ordering::Acquire) != 0
    }

    /// Whether the peer is known to be gone, or this side has ended the receiving.
    fn is_receiving_over_here(&self) -> bool {
        self.bell.is_gone() || self.memory.control().head.ended.load(Ordering::Relaxed) != 0
    }

    /// Where a send was refused, who has silenced the bell may have silenced what told of room:
    /// that is shown again, for the last time if so said, or waited for anew.
    #[cold]
    fn show_room(&self, peer: &Peer, for_the_last_time: bool) {
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        if refused_at == NO_WISH {
            return;
        }
        let (mine, theirs) = (self.memory.control(), peer.memory.control());
        let safe = self.announce(&mine.sender.word, &theirs.head.unfenced, peer);
        let head = theirs.head.at.load(Ordering::Acquire);
        let unread = mine.tail.at.load(Ordering::Relaxed).wrapping_sub(head);
        // As the peer judges it, and it has read something since.
        let has_room = head != refused_at && unread <= self.memory.ring_size() / 2;
        let is_over = theirs.head.ended.load(Ordering::Relaxed) != 0
            || mine.tail.ended.load(Ordering::Relaxed) != 0;
        if !safe || has_room || is_over {
            if for_the_last_time {
                self.refused_at.store(NO_WISH, Ordering::Relaxed);
            }
            self.bell.show();
        }
    }

    /// Receives a message; its length, 0 at the end.
    #[inline]
    pub fn recv(&self, bytes: &mut [MaybeUninit<u8>], wait: Wait) -> Result<usize> {
        match self.next_at_once() {
            // As in `send`.
            Some((peer, message)) if SHORT.contains(&message.len) && message.len <= bytes.len() => {
                // SAFETY: so many bytes are within the peer's ring, and within `bytes`.
                unsafe { copy_short(message.at, bytes.as_mut_ptr().cast(), message.len) };
                self.consume(peer, message.len);
                Ok(message.len)
            }
            _ => self.recv_any(bytes, wait),
        }
    }

    #[inline(never)]
    fn recv_any(&self, bytes: &mut [MaybeUninit<u8>], wait: Wait) -> Result<usize> {
        if bytes.is_empty() {
            return Err(Errno::EINVAL);
        }
        let Some((peer, message)) = self.next(wait)? else {
            return Ok(0);
        };
        if message.len > bytes.len() {
            return Err(Errno::EMSGSIZE);
        }
        // SAFETY: `next` has checked that so many bytes are within the peer's ring, and `bytes`
        // is longer. A peer that changes them meanwhile changes what is received.
        unsafe { ptr::copy_nonoverlapping(message.at, bytes.as_mut_ptr().cast(), message.len) };
        // SAFETY: this is the thread that receives.
        unsafe { &mut *self.receiver.0.get() }.is_shown = false;
        self.consume(peer, message.len);
        Ok(message.len)
    }

    /// Shows the next message; none at the end.
    pub fn peek(&self, wait: Wait) -> Result<Option<(*const u8, usize)>> {
        let Some((_, message)) = self.next(wait)? else {
            return Ok(None);
        };
        // SAFETY: this is the thread that receives.
        unsafe { &mut *self.receiver.0.get() }.is_shown = true;
        Ok(Some((message.at, message.len)))
    }

    /// Takes away what `peek` has shown.
    pub fn release(&self) -> Result<()> {
        // SAFETY: this is the thread that receives.
        let receiver = unsafe { &mut *self.receiver.0.get() };
        if !mem::take(&mut receiver.is_shown) {
            return Err(Errno::EINVAL);
        }
        let len = receiver.ring.seen() as usize;
        let peer = self.peer.get().ok_or(Errno::EINVAL)?;
        self.consume(peer, len);
        Ok(())
    }

    /// The next message, where it is known to be there and nothing is wrong.
    #[inline(always)]
    fn next_at_once(&self) -> Option<(&Peer, Message)> {
        let peer = self.peer.get()?;
        // SAFETY: this is the thread that receives.
        let receiver = unsafe { &*self.receiver.0.get() };
        let position = receiver.ring.position();
        let len = receiver.ring.glance(peer.memory.length(position))?;
        Some((peer, Message::new(peer, position, len)))
    }

    /// Waits for a message, and looks at its length; none at the end.
    #[inline(always)]
    fn next(&self, wait: Wait) -> Result<Option<(&Peer, Message)>> {
        let peer = match self.peer.get() {
            // SAFETY: this is the thread that receives.
            Some(peer) if unsafe { &mut *self.receiver.0.get() }.look(peer) == Ok(true) => peer,
            _ => match self.next_slowly(wait)? {
                Some(peer) => peer,
                None => return Ok(None),
            },
        };
        // SAFETY: this is the thread that receives.
        let ring = unsafe { &(*self.receiver.0.get()).ring };
        let message = Message::new(peer, ring.position(), ring.seen());
        Ok(Some((peer, message)))
    }

    /// Looks whether something has come, and waits for it; none at the end.
    fn next_slowly(&self, mut wait: Wait) -> Result<Option<&Peer>> {
        kept(|| {
            let peer = match self.peer(&mut wait, &self.memory.control().head.ended) {
                // It has said nothing, and one of both sides has ended.
                Err(Errno::EPIPE) => return Ok(None),
                other => other?,
            };
            // SAFETY: this is the thread that receives, and the handshake is over.
            let receiver = unsafe { &mut *self.receiver.0.get() };
            match receiver.look(peer) {
                Ok(true) => Ok(Some(peer)),
                Ok(false) => Ok(self
                    .wait_for_message(peer, receiver, &mut wait)?
                    .then_some(peer)),
                Err(error) => Err(self.break_off(error)),
            }
        })
    }

    /// Publishes that the next message, of `len` bytes, has been read.
    #[inline(always)]
    fn consume(&self, peer: &Peer, len: usize) {
        // SAFETY: this is the thread that receives.
        let receiver = unsafe { &mut *self.receiver.0.get() };
        let (control, theirs) = (self.memory.control(), peer.memory.control());
        let ring = &mut receiver.ring;
        ring.release(len as u32, &control.head.at);
        self.received.0.messages.add(1);
        self.received.0.bytes.add(len as u64);
        // A sender that waits for room is woken when half of the ring is free, as the kernel
        // does it for its sockets: woken for each message, it would sleep again after each.
        let other =
            receiver
                .publisher
                .published(&theirs.sender.word, &control.head.unfenced, || {
                    ring.is_half_free(&theirs.tail.at)
                });
        if other == Other::Asleep {
            self.wake_sender(peer);
        }
    }

    #[cold]
    fn wake_sender(&self, peer: &Peer) {
        self.received.0.wakes.add(1);
        // That the message has been received is no failure, whatever became of its sender.
        let _ = kept(|| {
            if peer.rope.pull().is_err() {
                self.bell.set_gone();
            }
            Ok(())
        });
    }

    #[cold]
    fn wait_for_message(
        &self,
        peer: &Peer,
        receiver: &mut Receiver,
        wait: &mut Wait,
    ) -> Result<bool> {
        let control = self.memory.control();
        let theirs = peer.memory.control();
        let word = &control.receiver.word;
        self.check_broken()?;
        let length = peer.memory.length(receiver.ring.position());
        let mut look = || {
            receiver
                .ring
                .look(length)
                .map_err(|error| self.break_off(error))
        };
        let is_over = || self.is_receiving_over(peer);
        if self.spin_until(wait, peer, &mut receiver.vain, &mut look, is_over)? {
            return Ok(true);
        }
        let polled = self.bell.is_polled();
        if wait.is_never() && !polled {
            let received = self.received.0.messages.get();
            if mem::replace(&mut receiver.idle_since, received) != received {
                receiver.idle = 0;
            }
            receiver.idle = receiver.idle.saturating_add(1);
            if is_over() || (is_time_to_look(receiver.idle) && self.bell.look()) {
                return self.last_look(look);
            }
            return Err(Errno::EAGAIN);
        }
        // Why it sleeps no more: it looks once more all the same.
        let mut over = wait.is_never().then_some(Errno::EAGAIN);
        loop {
            if polled {
                // What has rung for something else is shown again below.
                self.bell.silence();
            }
            let count = self.bell.count();
            let safe = self.announce(word, &theirs.tail.unfenced, peer);
            if look()? {
                sleep::withdraw(word);
                // Pairs with the fence in `let_poll`: it sees that nobody sleeps any more, or it
                // is seen here that somebody polls.
                fence(Ordering::SeqCst);
                self.bell.show();
                return Ok(true);
            }
            if is_over() {
                self.bell.show(); // the end stays to be seen
                return self.last_look(look);
            }
            if polled {
                if !safe {
                    self.bell.show();
                }
                // Who receives without waiting has polled, and had its chance.
                self.show_room(peer, wait.is_never());
            }
            if let Some(error) = over {
                if polled {
                    return Err(error); // `silence` has looked for the end
                }
                self.give_up(word);
                return if self.bell.look() {
                    self.last_look(look)
                } else {
                    Err(error)
                };
            }
            self.received.0.sleeps.add(1);
            over = self.sleep(wait, count, safe).err();
        }
    }

    /// Whether there is still a message where the end has come.
    fn last_look(&self, mut look: impl FnMut() -> Result<bool>) -> Result<bool> {
        let some = look()?;
        if !some {
            fence(Ordering::Acquire); // pairs with `Bell::set_gone`
            self.check_broken()?;
        }
        Ok(some)
    }

    /// Looks for a while, without sleeping, unless it `is_over`. `vain` counts how often in a row
    /// that was in vain.
    fn spin_until(
        &self,
        wait: &mut Wait,
        peer: &Peer,
        vain: &mut u32,
        look: &mut impl FnMut() -> Result<bool>,
        is_over: impl Fn() -> bool,
    ) -> Result<bool> {
        if wait.is_never() {
            return Ok(false);
        }
        let here = self.note_place();
        let time = match self.spin {
            Spin::For(time) => time,
            Spin::Adaptive => {
                let there = peer
                    .memory
                    .control()
                    .place
                    .processor
                    .load(Ordering::Relaxed);
                let hopeless = *vain >= VAIN && !vain.is_multiple_of(RETRY);
                if hopeless || here == there || there == 0 {
                    *vain = vain.saturating_add(u32::from(hopeless));
                    return Ok(false);
                }
                SPIN
            }
        };
        if time.is_zero() {
            return Ok(false);
        }
        // The clock is read when the first looks were in vain: between two who are busy they
        // seldom are.
        let mut ends = None;
        loop {
            for _ in 0..LOOKS {
                if look()? {
                    *vain = 0;
                    return Ok(true);
                }
                if ends.is_some() {
                    hint::spin_loop();
                }
            }
            let now = sys::monotonic_time();
            let (end, check) =
                ends.get_or_insert_with(|| (wait.end_within(now, time), now + CHECK));
            if now >= *end {
                *vain = vain.saturating_add(1);
                return Ok(false);
            }
            if now >= *check {
                if is_over() || self.bell.look() {
                    return Ok(false);
                }
                *check = now + CHECK;
            }
        }
    }

    /// Says that a call sleeps no longer, although it was not woken; but who polls still does.
    #[cold]
    fn give_up(&self, word: &AtomicU32) {
        if self.bell.is_polled() {
            return;
        }
        sleep::withdraw(word);
        // Somebody may have begun to poll meanwhile. Pairs with the fence in `let_poll`.
        fence(Ordering::SeqCst);
        if self.bell.is_polled() {
            self.let_poll();
        }
    }

    /// Lets the peer know on which processor this side runs.
    fn note_place(&self) -> u32 {
        let here = (sys::processor() as u32).wrapping_add(1);
        let word = &self.memory.control().place.processor;
        if word.load(Ordering::Relaxed) != here {
            word.store(here, Ordering::Relaxed);
        }
        here
    }

    /// Says that this side sleeps. False where nobody may ring, because the system has ceased to
    /// give barriers: who polls is to look again then.
    fn announce(&self, word: &AtomicU32, theirs_unfenced: &AtomicU32, peer: &Peer) -> bool {
        // A peer that does without fences where that was not agreed harms itself.
        let agreed = self.membarrier && peer.membarrier;
        sleep::announce(word, theirs_unfenced, || !agreed || membarrier::issue())
    }

    /// Sleeps at the bell; a nap where the sleep is not `safe`.
    fn sleep(&self, wait: &mut Wait, count: u32, safe: bool) -> Result<()> {
        if safe {
            return self.bell.sleep(wait, count, None);
        }
        wait.any(&mut [], Some(NAP))?;
        self.bell.look();
        Ok(())
    }

    /// Ends one direction or both, for good.
    pub fn shutdown(&self, how: c_int) -> Result<()> {
        let (reading, writing) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let control = self.memory.control();
        if writing {
            // Pairs with the load in `wait_for_message`: what was sent before is seen before.
            control.tail.ended.store(1, Ordering::Release);
        }
        if reading {
            control.head.ended.store(1, Ordering::Relaxed);
            control.receiver.word.store(sleep::ENDED, Ordering::Relaxed);
        }
        // Whoever sleeps at the other side looks again, and the threads of this one. A peer that
        // has said nothing yet will look before it sleeps.
        if let Ok(peer) = self.peer(&mut Wait::new(0)?, &control.tail.ended) {
            let _ = peer.rope.pull();
        }
        // Pairs with the fence in `let_poll`.
        fence(Ordering::SeqCst);
        self.bell.ring_own();
        Ok(())
    }

    /// A descriptor that is readable where there is something to do.
    pub fn fd(&self) -> Result<c_int> {
        // Once the handshake is over, without the lock: another thread may have had it when this
        // process was forked.
        let pending = match self.peer.get() {
            Some(_) => None,
            None => Some(self.pending.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let handshake = pending
            .as_ref()
            .and_then(|pending| pending.as_ref())
            .filter(|_| self.peer.get().is_none());
        let (fd, new) = self
            .bell
            .epoll(handshake.map(|handshake| handshake.socket.as_fd()))?;
        if handshake.is_some_and(|handshake| handshake.failed.is_some()) {
            self.bell.show();
        }
        drop(pending);
        if new {
            self.let_poll();
        }
        Ok(fd)
    }

    /// From here on somebody may poll: lets the peer ring, and rings for what is there already.
    #[cold]
    fn let_poll(&self) {
        // Pairs with the fences of those who change what is looked at here: they see who polls,
        // or it is seen here what they have done.
        fence(Ordering::SeqCst);
        let Some(peer) = self.peer.get() else {
            self.show_end();
            return;
        };
        self.show_room(peer, false);
        let (mine, theirs) = (self.memory.control(), peer.memory.control());
        let safe = self.announce(&mine.receiver.word, &theirs.tail.unfenced, peer);
        if !safe || self.is_something_to_receive(peer) {
            self.bell.show();
        }
    }

    /// Where nothing more is received, that is to be seen.
    fn show_end(&self) {
        if self.is_receiving_over_here() {
            self.bell.show();
        }
    }

    /// The longest message that can always be sent.
    pub fn max(&self) -> usize {
        longest(self.memory.ring_size()) as usize
    }

    /// Who the peer is.
    pub fn cred(&self) -> Cred {
        self.cred
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        let (sent, received) = (&self.sent.0, &self.received.0);
        Stats {
            sent: (sent.messages.get(), sent.bytes.get()),
            received: (received.messages.get(), received.bytes.get()),
            sleeps: sent.sleeps.get().wrapping_add(received.sleeps.get()),
            wakes: sent.wakes.get().wrapping_add(received.wakes.get()),
            full: sent.waits.get(),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Nothing that would end the channel for a relative who goes on using this end. But who
        // is said to sleep is rung for, and so the peer learns at once whether it is gone.
        let control = self.memory.control();
        for word in [&control.receiver.word, &control.sender.word] {
            sleep::announce(word, &control.tail.unfenced, || true);
        }
    }
}

/// The lengths of messages that are copied without a call, which would take longer.
const SHORT: RangeInclusive<usize> = 8..=64;

/// Copies a [`SHORT`] message.
///
/// # Safety
///
/// `from` is valid for reads of `len` bytes and `to` for writes, and they do not overlap.
#[inline(always)]
unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    if len == 8 {
        // SAFETY: the caller's promise.
        let word = unsafe { from.cast::<u64>().read_unaligned() };
        // SAFETY: the caller's promise.
        unsafe { to.cast::<u64>().write_unaligned(word) }
    } else if len <= 16 {
        // SAFETY: the caller's promise, and the length.
        unsafe { copy_both_ends::<u64>(from, to, len) }
    } else if len <= 32 {
        // SAFETY: as above.
        unsafe { copy_both_ends::<u128>(from, to, len) }
    } else {
        // SAFETY: as above.
        unsafe { copy_both_ends::<[u128; 2]>(from, to, len) }
    }
}

/// Copies as many bytes as a `T` has or up to twice as many: the first ones, and the last ones.
///
/// # Safety
///
/// As [`copy_short`].
#[inline(always)]
unsafe fn copy_both_ends<T: Copy>(from: *const u8, to: *mut u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: the caller's promise.
    let a = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: the caller's promise.
    let b = unsafe { from.wrapping_add(last).cast::<T>().read_unaligned() };
    // SAFETY: the caller's promise.
    unsafe { to.cast::<T>().write_unaligned(a) };
    // SAFETY: the caller's promise.
    unsafe { to.wrapping_add(last).cast::<T>().write_unaligned(b) };
}

/// Whether it is time to ask the system after so many vain looks.
fn is_time_to_look(vain: u32) -> bool {
    vain <= EAGER || vain.is_multiple_of(SELDOM)
}

impl Peer {
    /// The other end of a pair, in the same process.
    fn of_relative(fd: &OwnedFd, rope: OwnedFd, end: &Channel, wanted: &Wanted) -> Result<Self> {
        Ok(Self {
            memory: Memory::of_peer(fd.as_fd(), end.memory.ring_size(), wanted)?,
            rope: super::signal::Rope::new(rope)?,
            membarrier: end.membarrier,
        })
    }
}
