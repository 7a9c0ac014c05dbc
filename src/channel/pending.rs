//! The completion of the handshake by the first call that needs the peer. A lock ensures that one
//! thread at a time advances the handshake.

use super::endpoint::{Channel, Link};
use super::handshake::{Offer, OwnSide, PeerOffer, refuse_other_version};
use super::memory::RingParams;
use super::options::Options;
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno, preserve_errno_on_success};
use crate::process_lock::{ProcessGuard, ProcessLock};
use crate::transport::hello;
use crate::transport::wait::{Doorbell as _, Role};
use libc::c_int;
use nix::poll::{PollFd, PollFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// How long accept waits for the hello of a client. A silent client delays accept by this time.
const HELLO_TIMEOUT: Duration = Duration::from_millis(1);

/// A bit of [`Pending::shutdown`]: receiving was shut down.
const SHUT_READING: u32 = 1;
/// A bit of [`Pending::shutdown`]: sending was shut down.
const SHUT_WRITING: u32 = 2;

/// The part of an end that exists until the handshake has ended.
pub struct Pending {
    /// None after the handshake has ended.
    handshake: ProcessLock<Option<Handshake>>,
    /// The directions that were shut down, as bits.
    shutdown: AtomicU32,
}

/// A handshake that has not ended.
struct Handshake {
    /// None after the handshake has ended, if the connection keeps the socket.
    socket: Option<OwnedFd>,
    ring: RingParams,
    size_max: u64,
    /// Whether this side asks for descriptors with messages.
    fds: bool,
    /// The offer of this side, if it has been made and not sent.
    offer: Option<Offer>,
    /// The part of the offer that this side keeps, if the offer has been sent.
    own: Option<OwnSide>,
    /// The offer of the peer, if it has been received.
    peer: Option<PeerOffer>,
    /// The error with which the handshake has failed permanently.
    error: Option<Errno>,
    /// The number of threads that sleep on the socket. The socket stays open for them.
    sleeping: u32,
}

type Guard<'a> = ProcessGuard<'a, Option<Handshake>>;

impl Pending {
    /// Makes the state of an end that needs no handshake.
    pub fn none() -> Self {
        Self::with(None)
    }

    /// Makes the state of an end over a socket. `own` is from the offer that the caller has sent, if
    /// it has sent one.
    pub fn new(
        socket: OwnedFd,
        options: &Options,
        ring: &RingParams,
        own: Option<OwnSide>,
    ) -> Self {
        Self::with(Some(Handshake {
            socket: Some(socket),
            ring: *ring,
            size_max: options.recv_size_max(),
            fds: options.fds,
            offer: None,
            own,
            peer: None,
            error: None,
            sleeping: 0,
        }))
    }

    fn with(handshake: Option<Handshake>) -> Self {
        Self {
            handshake: ProcessLock::new(handshake),
            shutdown: AtomicU32::new(0),
        }
    }

    fn lock(&self, wait: &mut Deadline) -> Result<Guard<'_>> {
        self.handshake.lock(wait)
    }

    /// Records that directions have been shut down.
    pub fn request_shutdown(&self, reading: bool, writing: bool) {
        let bits = u32::from(reading) * SHUT_READING + u32::from(writing) * SHUT_WRITING;
        self.shutdown.fetch_or(bits, Ordering::SeqCst);
    }

    /// Whether reading and writing have been shut down.
    pub fn requested_shutdown(&self) -> (bool, bool) {
        let bits = self.shutdown.load(Ordering::SeqCst);
        (bits & SHUT_READING != 0, bits & SHUT_WRITING != 0)
    }

    fn is_shut(&self, role: Role) -> bool {
        let (reading, writing) = self.requested_shutdown();
        match role {
            Role::Receiver => reading,
            Role::Sender => writing,
        }
    }
}

impl Handshake {
    /// Advances the handshake to its end. `EAGAIN` if the peer has not sent its hello.
    fn advance(&mut self, channel: &Channel) -> Result<()> {
        let socket = self.socket.as_ref().ok_or(errno!(EPROTO))?.as_fd();
        if self.peer.is_none() {
            let hello = hello::peek(socket)?;
            let is_server = self.offer.is_none() && self.own.is_none();
            if is_server {
                refuse_other_version(socket, &hello);
            }
            let peer = PeerOffer::new(hello, self.size_max)?;
            if is_server {
                self.offer = Some(Offer::new(&self.ring, self.fds)?);
            }
            // Last, so that a failure of the steps before leaves the hello queued.
            hello::consume(socket)?;
            self.peer = Some(peer);
        }
        if let Some(offer) = &self.offer {
            offer.send(socket)?;
            self.own = self.offer.take().map(Offer::into_own);
        }
        let (Some(own), Some(peer)) = (self.own.take(), self.peer.take()) else {
            return Err(errno!(EPROTO));
        };
        let attached = channel.attach_peer(own, peer, &mut self.socket);
        // The offers have been consumed, so the handshake cannot be tried again.
        attached.inspect_err(|error| self.error = Some(*error))
    }
}

/// Whether this error ends the handshake permanently. Any other error means that this process lacks
/// a resource, so a later call tries again.
fn is_final(error: Errno) -> bool {
    error.is_one_of(&[Errno::EPROTO, Errno::ESTALE, Errno::EPIPE, Errno::EBUSY])
}

impl Channel {
    /// The descriptor for event loops before the handshake has ended; see `Doorbell::epoll`.
    pub(super) fn pending_epoll(&self) -> Result<(c_int, bool)> {
        let guard = self.pending.lock(&mut Deadline::forever())?;
        let handshake = guard.as_ref().filter(|_| self.link().is_none());
        let made = self
            .bell
            .epoll(handshake.and_then(|handshake| handshake.socket.as_ref().map(AsFd::as_fd)))?;
        let has_failed = handshake.is_some_and(|handshake| handshake.error.is_some());
        if has_failed || self.pending.requested_shutdown() != (false, false) {
            self.bell.set_readable();
        }
        Ok(made)
    }

    /// Completes the handshake if it has not ended, and returns the connection. `EPIPE` if the peer
    /// died before, or this direction was shut down.
    #[cold]
    pub(super) fn link_slow(&self, role: Role, wait: &mut Deadline) -> Result<&Link> {
        preserve_errno_on_success(|| self.complete_handshake(role, wait))?;
        self.link().ok_or(errno!(EPROTO))
    }

    /// Waits until the handshake has ended.
    pub(super) fn complete_handshake(&self, role: Role, wait: &mut Deadline) -> Result<()> {
        loop {
            let is_drained = self.bell.is_polled();
            if is_drained {
                self.bell.drain();
                self.restore_readable(role);
            }
            let epoch = self.bell.epoch();
            let is_shut = self.pending.is_shut(role);
            let mut guard = self.pending.lock(wait)?;
            if self.advance(&mut guard)? {
                // Another thread may have ended the handshake and made the descriptor readable
                // before this thread cleared it.
                if let Some(link) = self.link().filter(|_| is_drained) {
                    self.view(link).arm();
                }
                return Ok(());
            }
            if is_shut {
                return Err(errno!(EPIPE));
            }
            let Some(socket) = guard.as_mut().and_then(|handshake| {
                let socket = handshake.socket.as_ref()?.as_raw_fd();
                handshake.sleeping += 1;
                Some(socket)
            }) else {
                return Ok(());
            };
            drop(guard);
            let slept = self.sleep_on_socket(role, wait, epoch, socket);
            let mut guard = self.pending.lock(&mut Deadline::forever())?;
            if let Some(handshake) = guard.as_mut() {
                handshake.sleeping -= 1;
            }
            self.close_if_ended(&mut guard);
            slept?;
        }
    }

    /// Makes the descriptor readable again if a sender has cleared it while a receive must still
    /// report the end of receiving.
    fn restore_readable(&self, role: Role) {
        let is_received = self.local.end_received.load(Ordering::Relaxed) != 0;
        if role == Role::Sender && self.pending.is_shut(Role::Receiver) && !is_received {
            self.bell.set_readable();
        }
    }

    fn sleep_on_socket(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        socket: RawFd,
    ) -> Result<()> {
        // SAFETY: the socket stays open while `sleeping` counts this thread, here or in the link.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        self.bell.sleep_on_socket(role, wait, epoch, socket)
    }

    /// Advances the handshake of a connection that was just accepted. The client sends its hello
    /// immediately after it has connected, so a short wait suffices. The first call that needs the
    /// peer reports a failure.
    pub(super) fn await_hello(&self, deadline: &mut Deadline) {
        self.advance_handshake();
        if self.link().is_some() {
            return;
        }
        if deadline.is_never() {
            // The client may be about to run on this processor.
            std::thread::yield_now();
        } else {
            let Ok(guard) = self.pending.lock(deadline) else {
                return;
            };
            if let Some(socket) = guard
                .as_ref()
                .and_then(|handshake| handshake.socket.as_ref())
            {
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                let _ = deadline.any(&mut fds, Some(HELLO_TIMEOUT));
            }
        }
        self.advance_handshake();
    }

    /// Advances the handshake without waiting. The next call that needs the peer reports a failure.
    #[inline(never)]
    pub(super) fn advance_handshake(&self) {
        if self.link().is_some() {
            return;
        }
        if let Ok(mut guard) = self.pending.lock(&mut Deadline::forever()) {
            let _ = self.advance(&mut guard);
        }
    }

    /// Advances the handshake without waiting. Returns whether it has ended.
    fn advance(&self, guard: &mut Guard) -> Result<bool> {
        if self.link().is_some() {
            self.close_if_ended(guard);
            return Ok(true);
        }
        let Some(handshake) = guard.as_mut() else {
            return Err(errno!(EPROTO));
        };
        let result = match handshake.error {
            Some(error) => Err(error),
            None => handshake.advance(self),
        };
        match result {
            Ok(()) => {
                let others_sleep = handshake.sleeping > 0;
                self.handshake_ended(others_sleep);
                self.close_if_ended(guard);
                Ok(true)
            }
            Err(error) if error == Errno::EAGAIN => Ok(false),
            Err(error) => {
                if is_final(error) {
                    handshake.error = Some(error);
                    // The descriptor becomes readable because of the failure, whether the socket is
                    // readable or not.
                    self.bell.notify_self();
                }
                Err(error)
            }
        }
    }

    /// Called after the handshake has ended. `others_sleep` if other threads sleep on the socket.
    fn handshake_ended(&self, others_sleep: bool) {
        // Pairs with the exchange in `request_shutdown`: this thread sees the request, or the thread
        // in `shutdown` sees the link. It also pairs with the full fence in `readiness::arm`.
        fence(Ordering::SeqCst);
        self.apply_shutdown();
        if let Some(link) = self.link().filter(|_| self.bell.is_polled()) {
            self.view(link).arm();
        }
        if others_sleep {
            self.bell.notify_self();
        }
    }

    /// Closes the socket if the handshake has ended and no thread sleeps on the socket.
    fn close_if_ended(&self, guard: &mut Guard) {
        let is_idle = |handshake: &Handshake| handshake.sleeping == 0;
        if self.link().is_some() && guard.as_ref().is_some_and(is_idle) {
            **guard = None;
        }
    }
}
