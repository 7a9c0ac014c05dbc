//! The end of a channel, and a listener.

use super::{LocalError, Readiness, Scratch, c_path};
use crate::config::{Local, RouteOptions};
use bytes::Bytes;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use unixipc::channel::{self, Channel, Options};
use unixipc::deadline::Deadline;
use unixipc::errno::{Errno, Result};
use unixipc::transport::listen::listen;
use unixipc::transport::spin::SpinPolicy;

/// The options of a channel of a route.
pub fn channel_options(options: &RouteOptions) -> Options {
    Options {
        send_size: options.ring_size,
        message_max: options.message_max,
        spin: SpinPolicy::For(Duration::ZERO),
        ..Options::default()
    }
}

/// Connects to a listener.
pub fn connect_channel(
    local: &Local,
    options: &Options,
    limit_ms: i32,
) -> std::result::Result<Channel, LocalError> {
    let connect = || {
        let mut deadline = Deadline::new(limit_ms)?;
        channel::connect(&c_path(&local.path), options, &mut deadline)
    };
    connect().map_err(|errno| LocalError::new(local, errno))
}

/// An end in an event loop.
pub struct ChannelEnd {
    readiness: Readiness,
    channel: Channel,
}

impl ChannelEnd {
    /// Watches an end.
    pub fn new(channel: Channel) -> Result<Self> {
        let readiness = Readiness::of_number(channel.fd()?)?;
        Ok(Self { readiness, channel })
    }

    /// The length of the next message or request, with its header; none at the end of the session.
    /// The message stays.
    pub fn next_len(&mut self) -> Result<Option<usize>> {
        // SAFETY: only this function uses the half, and it has the end for itself.
        let mut half = unsafe { self.channel.recv_half() };
        Ok(half.peek(Deadline::never())?.map(|(_, len)| len))
    }

    /// The next message; empty at the end of the session.
    pub fn try_recv(&mut self, scratch: &mut Scratch) -> Result<Bytes> {
        let receive = |buffer: &mut [_]| {
            // SAFETY: only this function uses the half, and it has the end for itself.
            let half = unsafe { self.channel.recv_half() };
            half.recv(buffer, Deadline::never())
        };
        Ok(scratch.receive(receive, |&len| len)?.1)
    }

    /// Sends a message.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<()> {
        // SAFETY: this function has the end for itself.
        let half = unsafe { self.channel.send_half() };
        half.send(bytes, Deadline::never())
    }

    /// The next request, with the id of its call; none at the end of the session.
    pub fn try_next_call(&mut self, scratch: &mut Scratch) -> Result<Option<(u64, Bytes)>> {
        let receive = |buffer: &mut [_]| {
            // SAFETY: only this function uses the half, and it has the end for itself.
            let mut half = unsafe { self.channel.recv_half() };
            half.next_call(buffer, Deadline::never())
        };
        let len = |call: &Option<(u64, usize)>| call.map_or(0, |(_, len)| len);
        let (call, bytes) = scratch.receive(receive, len)?;
        Ok(call.map(|(id, _)| (id, bytes)))
    }

    /// Sends a reply.
    pub fn try_reply(&mut self, id: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: this function has the end for itself.
        let mut half = unsafe { self.channel.send_half() };
        half.reply(id, bytes, Deadline::never())
    }

    /// The length of the longest message that it sends.
    pub fn max(&self) -> usize {
        self.channel.max()
    }

    /// Waits for an event, see [`Readiness::event`].
    pub async fn event(&self) {
        self.readiness.event().await;
    }
}

/// A listener in an event loop. Its path is removed with it.
pub struct Listener {
    readiness: Readiness,
    socket: OwnedFd,
    path: Option<String>,
    options: Options,
}

impl Listener {
    /// Listens at the path of a route.
    pub fn new(local: &Local, options: &RouteOptions) -> std::result::Result<Self, LocalError> {
        let open = || {
            let socket = listen(&c_path(&local.path), options.mode())?;
            Ok(Self {
                readiness: Readiness::of(socket.as_fd())?,
                socket,
                path: (!local.path.starts_with('@')).then(|| local.path.clone()),
                options: channel_options(options),
            })
        };
        open().map_err(|errno| LocalError::new(local, errno))
    }

    /// The next client; none if none waits.
    pub fn try_accept(&self) -> Result<Option<ChannelEnd>> {
        let mut deadline = Deadline::never();
        let channel = channel::accept(self.socket.as_fd(), &self.options, false, &mut deadline)?;
        channel.map(ChannelEnd::new).transpose()
    }

    /// Waits for an event, see [`Readiness::event`].
    pub async fn event(&self) {
        self.readiness.event().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Before the socket is closed: afterwards another process may have replaced it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether an error of a listener passes with time.
pub fn is_temporary(errno: Errno) -> bool {
    errno.is_one_of(&[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOSPC])
}
