//! An end of a channel: the object behind a handle of the C interface.

use super::handshake::{OwnSide, PeerOffer};
use super::memory::{EndMemory, RingParams};
use super::options::Options;
use super::pending::Pending;
use super::recv::{Receiver, RecvHalf};
use super::send::{SendHalf, Sender};
use super::state::{Local, View};
use super::stats::{Counters, Stats};
use crate::atomic::{Ordering, fence};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::init_once::InitOnce;
use crate::pair::Cred;
use crate::peer_pidfd;
use crate::sys::{self, CancelGuard};
use crate::transport::doorbell::Doorbell;
use crate::transport::event_count::{ENDED, prepare_wait};
use crate::transport::pipe_ends::PeerDoorbell;
use crate::transport::ring::longest;
use crate::transport::spin::Cpus;
use crate::transport::wait::{Condition, EventWords, Progress, Role, wait};
use libc::c_int;
use probe::probe;
use std::cell::UnsafeCell;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Puts a value on cache lines of its own, which no other thread writes.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct CachePadded<T>(pub(super) T);

/// One end of a channel.
///
/// Two threads may use it at the same time: one sends, the other receives.
// In this order, so that the link, which each call reads, occupies as few cache lines as possible.
#[repr(C)]
pub struct Channel {
    sender: CachePadded<UnsafeCell<Sender>>,
    receiver: CachePadded<UnsafeCell<Receiver>>,
    pub(super) sent: CachePadded<Counters>,
    pub(super) received: CachePadded<Counters>,
    /// The connection; set when the handshake has ended.
    link: InitOnce<Link>,
    pub(super) bell: Doorbell,
    pub(super) local: Local,
    pub(super) pending: Pending,
    ring_size: u64,
    cred: Cred,
    /// When the process ID in `cred` was that of the peer, as a time of `CLOCK_BOOTTIME`.
    cred_time: Duration,
}

/// The connection with the peer.
pub struct Link {
    /// The memory of this end.
    pub memory: EndMemory,
    /// The memory of the peer, which this end can only read.
    pub peer: EndMemory,
    /// The doorbell of the peer.
    pub peer_bell: PeerDoorbell,
    /// Whether both sides can use `membarrier`.
    pub membarrier: bool,
    /// The socket that carries the descriptors of the messages, if both sides asked for it.
    pub socket: Option<OwnedFd>,
}

// SAFETY: a single thread uses each cell (`send_half`, `recv_half`); all other fields are Sync.
unsafe impl Sync for Channel {}

impl Link {
    /// The processor hints of the two sides.
    pub fn cpus(&self) -> Cpus<'_> {
        Cpus {
            mine: &self.memory.control().cpu,
            theirs: &self.peer.control().cpu,
        }
    }
}

impl Channel {
    /// Makes both ends of a channel in one process.
    pub fn pair(options: &Options) -> Result<[Self; 2]> {
        let _uncancelled = CancelGuard::new();
        let cred = Cred::own();
        let (a_ring, b_ring) = (options.send_ring()?, options.recv_ring()?);
        let [(a_own, a_offer), (b_own, b_offer)] = OwnSide::pair([&a_ring, &b_ring], options.fds)?;
        let a = Self::new(options, &a_ring, cred, Pending::none());
        let b = Self::new(options, &b_ring, cred, Pending::none());
        let (mut a_socket, mut b_socket) = (None, None);
        if options.fds {
            let (a, b) = sys::local_pair(libc::SOCK_SEQPACKET)?;
            (a_socket, b_socket) = (Some(a), Some(b));
        }
        a.attach_peer(a_own, b_offer, &mut a_socket)?;
        b.attach_peer(b_own, a_offer, &mut b_socket)?;
        Ok([a, b])
    }

    /// Makes an end that is not connected yet.
    #[inline(never)] // large, with several callers
    pub(super) fn new(options: &Options, ring: &RingParams, cred: Cred, pending: Pending) -> Self {
        Self {
            sender: CachePadded(UnsafeCell::new(Sender::new(ring.ring_size, options.spin))),
            receiver: CachePadded(UnsafeCell::new(Receiver::new(options.spin))),
            sent: CachePadded::default(),
            received: CachePadded::default(),
            link: InitOnce::new(),
            bell: Doorbell::new(),
            local: Local::new(),
            pending,
            ring_size: ring.ring_size,
            cred,
            cred_time: sys::boot_time(),
        }
    }

    /// Connects this end with its peer. The descriptor for event loops no longer watches `socket`.
    /// Takes `socket` if both sides have asked for descriptors with messages.
    #[inline(never)]
    pub(super) fn attach_peer(
        &self,
        own: OwnSide,
        peer: PeerOffer,
        socket: &mut Option<OwnedFd>,
    ) -> Result<()> {
        let membarrier = own.membarrier && peer.membarrier;
        self.bell.attach(peer.pipe, membarrier)?;
        if let Some(socket) = socket {
            self.bell.poll_pipe(socket.as_fd())?;
        }
        let align = own.align.max(peer.align);
        let has_fds = own.fds && peer.fds;
        let mut link = Link {
            memory: own.memory.with_alignment(align),
            peer: peer.memory.with_alignment(align),
            peer_bell: own.peer_bell,
            membarrier,
            socket: has_fds.then(|| socket.take()).flatten(),
        };
        let inode = link.peer.inode();
        // A pair gets its label with its first use, which allocates the page.
        if inode != 0 {
            link.memory.label().set_peer(inode, align);
        }
        // SAFETY: the link owns both.
        unsafe { link.memory.unmap_with(&mut link.peer) };
        self.link.set(link).map_err(|_| errno!(EPROTO))
    }

    /// The sending half.
    ///
    /// # Safety
    ///
    /// No other thread uses the sending half until the result has been dropped.
    #[inline(always)]
    pub unsafe fn send_half(&self) -> SendHalf<'_> {
        SendHalf {
            channel: self,
            // SAFETY: the caller's promise.
            state: unsafe { &mut *self.sender.0.get() },
        }
    }

    /// The receiving half.
    ///
    /// # Safety
    ///
    /// No other thread uses the receiving half until the result has been dropped.
    #[inline(always)]
    pub unsafe fn recv_half(&self) -> RecvHalf<'_> {
        RecvHalf {
            channel: self,
            // SAFETY: the caller's promise.
            state: unsafe { &mut *self.receiver.0.get() },
        }
    }

    /// The connection; none before the handshake has ended.
    #[inline(always)]
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// The connection, which is known to exist.
    ///
    /// # Safety
    ///
    /// [`Channel::link`] has returned it to this thread, or to one that this thread has synchronised with.
    #[inline(always)]
    pub(super) unsafe fn link_unchecked(&self) -> &Link {
        // SAFETY: the caller's promise.
        unsafe { self.link.get_unchecked() }
    }

    /// The parts of this end that the waiting code needs.
    pub(super) fn view<'a>(&'a self, link: &'a Link) -> View<'a, Doorbell> {
        View {
            mine: link.memory.control(),
            theirs: link.peer.control(),
            local: &self.local,
            bell: &self.bell,
            peer_ring: &link.peer,
            ring_size: self.ring_size,
            thread: sys::thread_token(),
        }
    }

    /// Ends both directions if `error` is `EPROTO`: the peer has violated the protocol. Returns
    /// `error`.
    #[cold]
    pub(super) fn poison(&self, error: Errno) -> Errno {
        if error == Errno::EPROTO && self.local.poisoned.swap(1, Ordering::Relaxed) == 0 {
            self.bell.set_gone();
            // Pairs with the full fence in `readiness::arm`.
            fence(Ordering::SeqCst);
            self.bell.notify_self();
        }
        error
    }

    /// Ends one direction or both, permanently.
    pub fn shutdown(&self, how: c_int) -> Result<()> {
        let (reading, writing) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(errno!(EINVAL)),
        };
        self.pending.request_shutdown(reading, writing);
        self.advance_handshake();
        self.apply_shutdown();
        // Pairs with the full fence in `readiness::arm`.
        fence(Ordering::SeqCst);
        self.bell.notify_self();
        Ok(())
    }

    /// Publishes to the peer which directions have been shut down. Both the thread that ends the
    /// handshake and the thread that requests the shutdown call it; at least one of them sees the
    /// link and the request.
    pub(super) fn apply_shutdown(&self) {
        let (reading, writing) = self.pending.requested_shutdown();
        let Some(link) = self.link() else {
            return;
        };
        let control = link.memory.control();
        if writing {
            // Pairs with the acquire load in `View::is_receive_ended`: all messages sent before are
            // visible.
            control.ended.sending.store(1, Ordering::Release);
        }
        if reading {
            control.ended.receiving.store(1, Ordering::Relaxed);
            control.receiver.word.store(ENDED, Ordering::Relaxed);
        }
        if reading || writing {
            let _ = link.peer_bell.notify();
        }
    }

    /// The descriptor for event loops.
    pub fn fd(&self) -> Result<c_int> {
        let (fd, is_new) = match self.link() {
            Some(_) => self.bell.epoll(None)?,
            None => self.pending_epoll()?,
        };
        if let Some(link) = self.link().filter(|_| is_new) {
            self.view(link).arm();
        }
        Ok(fd)
    }

    /// Sleeps until `condition` holds or has ended; see [`wait`].
    pub(super) fn wait(
        &self,
        role: Role,
        words: EventWords,
        condition: &mut dyn Condition,
        deadline: &mut Deadline,
    ) -> Result<Progress> {
        probe!(unixipc, channel_sleep, ptr::from_ref(self), role);
        let waited = wait(&self.bell, role, words, condition, deadline);
        probe!(unixipc, channel_awake, ptr::from_ref(self), role);
        waited
    }

    /// The longest message that can always be sent.
    pub fn max(&self) -> usize {
        longest(self.ring_size) as usize
    }

    /// The credentials of the peer.
    pub fn cred(&self) -> Cred {
        self.cred
    }

    /// Opens a pidfd of the peer.
    pub fn peer_pidfd(&self) -> Result<OwnedFd> {
        peer_pidfd::of_process(self.cred.pid, self.cred_time)
    }

    /// The counters of this end.
    pub fn stats(&self) -> Stats {
        Stats::new(&self.sent.0, &self.received.0, self.bell.sleeps())
    }

    /// Whether neither side has used this end: this process has not called it, and the first message
    /// of the peer has not written to the pipe.
    fn is_unused(&mut self) -> bool {
        let is_idle = self.sender.0.get_mut().is_unused() && self.receiver.0.get_mut().is_unused();
        is_idle && self.bell.is_unused()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The end is not shut down, because a related process may continue to use it. But both
        // event counts announce a sleep. So the next publication of the peer writes to the pipe,
        // which tells the peer whether any process still has this end. The peer's first message does
        // so anyway. Without it, no page of the memory needs to be allocated.
        if self.is_unused() {
            return;
        }
        let Some(link) = self.link() else {
            return;
        };
        let control = link.memory.control();
        for word in [&control.receiver.word, &control.sender.word] {
            prepare_wait(word, &control.tail.asymmetric, || true);
        }
    }
}
