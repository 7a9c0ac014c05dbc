//! The clients that want to subscribe: the socket that listens, and the connections whose request
//! has not arrived yet.
//!
//! A client sends its request immediately after it has connected. One that does not costs the
//! publisher a descriptor, and for a short time only.

use super::events::{Events, Source};
use crate::errno::{Errno, Result, errno};
use crate::fd::duplicate;
use crate::fixed_vec::FixedVec;
use crate::pair::{self, Cred};
use crate::sys;
use crate::transport::hello::{self, Hello};
use crate::transport::listen::accept_socket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The number of clients from the listener that may be silent. Another one replaces the oldest.
const SILENT_MAX: usize = 16;
/// The number of silent clients that the program may have added.
const ADDED_MAX: usize = 64;
/// How long a client from the listener may be silent, in milliseconds.
const SILENCE_MS: u64 = 1000;
/// After a failure to accept, in milliseconds, the listener is not watched.
const PAUSE_MS: u64 = 10;

/// A client whose request has not arrived yet.
struct Client {
    id: u32,
    socket: OwnedFd,
    cred: Cred,
    /// When it was accepted, in milliseconds; none if the program has added it.
    accepted_at: Option<u64>,
}

/// A client whose request has arrived.
pub struct Caller {
    /// Its socket.
    pub socket: OwnedFd,
    /// Its request.
    pub hello: Hello,
    /// Its credentials.
    pub cred: Cred,
}

/// The socket that listens.
struct Listener {
    socket: OwnedFd,
    /// Until when it is not watched, in milliseconds; none while it is watched.
    paused_until: Option<u64>,
}

/// The clients of a feed.
pub struct Clients {
    listener: Option<Listener>,
    clients: FixedVec<Client>,
    next_id: u32,
}

impl Clients {
    /// No clients.
    pub fn new() -> Result<Self> {
        Ok(Self {
            listener: None,
            clients: FixedVec::new(SILENT_MAX + ADDED_MAX)?,
            next_id: 0,
        })
    }

    /// Whether a socket listens.
    pub fn is_listening(&self) -> bool {
        self.listener.is_some()
    }

    /// Accepts clients from `socket`, which listens and does not block.
    pub fn listen(&mut self, socket: OwnedFd, events: &Events) -> Result<()> {
        events.add(socket.as_fd(), Source::Listener)?;
        self.listener = Some(Listener {
            socket,
            paused_until: None,
        });
        Ok(())
    }

    /// Adds a client that is connected already. `EAGAIN` if there are too many.
    pub fn add(&mut self, socket: BorrowedFd, events: &Events) -> Result<u32> {
        if !sys::is_local(socket)? {
            return Err(errno!(EOPNOTSUPP));
        }
        let added = self.clients.iter();
        let added = added.filter(|client| client.accepted_at.is_none());
        if added.count() >= ADDED_MAX {
            return Err(errno!(EAGAIN));
        }
        let cred = pair::peer_cred(socket)?;
        let copy = duplicate(socket, 0)?;
        self.insert(copy, cred, None, events)
    }

    fn insert(
        &mut self,
        socket: OwnedFd,
        cred: Cred,
        accepted_at: Option<u64>,
        events: &Events,
    ) -> Result<u32> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        events.add(socket.as_fd(), Source::Client(id))?;
        let _ = self.clients.push(Client {
            id,
            socket,
            cred,
            accepted_at,
        });
        Ok(id)
    }

    /// Accepts a client that waits, and returns its number; none if there is none.
    pub fn accept(&mut self, now: u64, events: &Events) -> Result<Option<u32>> {
        let Some(listener) = &mut self.listener else {
            return Ok(None);
        };
        let accepted = accept_socket(listener.socket.as_fd());
        if accepted.is_err() {
            // The client stays in the queue. Watching it would make an event loop spin.
            events.remove(listener.socket.as_fd());
            listener.paused_until = Some(now + PAUSE_MS);
        }
        let Some(socket) = accepted? else {
            return Ok(None);
        };
        self.make_place(events);
        let cred = pair::peer_cred(socket.as_fd())?;
        self.insert(socket, cred, Some(now), events).map(Some)
    }

    /// Drops the oldest silent client if there are too many.
    fn make_place(&mut self, events: &Events) {
        let silent = self.clients.iter().enumerate();
        let silent = silent.filter_map(|(index, client)| Some((client.accepted_at?, index)));
        if silent.clone().count() < SILENT_MAX {
            return;
        }
        if let Some((_, index)) = silent.min() {
            self.drop_client(index, events);
        }
    }

    /// Drops the clients that have been silent for too long, and watches the listener again after a
    /// pause.
    pub fn tidy(&mut self, now: u64, events: &Events) {
        let is_overdue = |client: &Client| {
            let since = client.accepted_at;
            since.is_some_and(|since| now.saturating_sub(since) >= SILENCE_MS)
        };
        while let Some(index) = self.clients.iter().position(is_overdue) {
            self.drop_client(index, events);
        }
        let Some(listener) = &mut self.listener else {
            return;
        };
        if listener.paused_until.is_some_and(|until| now >= until) {
            let added = events.add(listener.socket.as_fd(), Source::Listener);
            if added.is_ok() {
                listener.paused_until = None;
            }
        }
    }

    /// Takes the request of a client out of its socket, if it has arrived. Drops a client that will
    /// send none, or no descriptor is left for it.
    pub fn take(&mut self, id: u32, events: &Events) -> Option<Caller> {
        let index = self.clients.iter().position(|client| client.id == id)?;
        let client = self.clients.get(index)?;
        let hello = match hello::peek(client.socket.as_fd()) {
            Err(error) if error == Errno::EAGAIN => return None,
            hello => hello,
        };
        let client = self.drop_client(index, events)?;
        let hello = hello.ok()?;
        hello::consume(client.socket.as_fd()).ok()?;
        Some(Caller {
            socket: client.socket,
            hello,
            cred: client.cred,
        })
    }

    fn drop_client(&mut self, index: usize, events: &Events) -> Option<Client> {
        let client = self.clients.swap_remove(index)?;
        events.remove(client.socket.as_fd());
        Some(client)
    }
}
