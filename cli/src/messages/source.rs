//! Where messages come from.

use super::address::{Address, Kind};
use super::stop::{Limit, Stop};
use super::{MESSAGE_MAX, deadline};
use crate::error::{Error, Result};
use clap::ValueEnum;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use unixipc::channel::{self, Channel};
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::{self, NAME_SIZE, Subscriber, SubscriberOptions};
use unixipc::fifo::{self, Side, any};
use unixipc::transport::spin::SpinPolicy;

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Begin {
    /// With the next message that is published
    #[default]
    Newest,
    /// With the oldest message that is left
    Oldest,
}

/// How to receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceOptions {
    /// Where a subscriber begins.
    pub begin: Begin,
    /// Whether the publisher waits for the subscriber.
    pub is_reliable: bool,
    /// Whether connecting waits until a process listens.
    pub waits: bool,
    /// The limit for connecting.
    pub limit: Option<Duration>,
}

/// The result of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message of this length; a feed also has a sequence number.
    Message(usize, Option<u64>),
    /// This number of messages was lost.
    Lost(u64),
    /// The end of the session.
    End,
}

/// A source of messages.
pub enum Source {
    /// A subscriber of a feed, and the number of lost messages that it has reported.
    Feed(Box<Subscriber>, u64),
    /// The client of a listener.
    Channel(Box<Channel>),
    /// The receiver of a FIFO.
    Fifo(OwnedFd),
}

/// Options of a channel for this program: it does not spin, because it is not in a hurry.
pub fn channel_options(waits: bool) -> channel::Options {
    channel::Options {
        recv_size_max: MESSAGE_MAX as u64,
        spin: SpinPolicy::For(Duration::ZERO),
        wait: waits,
        ..channel::Options::default()
    }
}

impl Source {
    /// Connects to an address; a path without a prefix is that of a feed.
    pub fn open(address: &Address, options: &SourceOptions) -> Result<Self> {
        let mut limit = deadline(options.limit)?;
        let path = address.path();
        let opened = match address.kind(Kind::Feed) {
            Kind::Feed => {
                let options = subscriber_options(options);
                let subscriber = feed::connect(path, &options, &mut limit);
                subscriber.map(|subscriber| Self::Feed(Box::new(subscriber), 0))
            }
            Kind::Channel => {
                let options = channel_options(options.waits);
                let channel = channel::connect(path, &options, &mut limit);
                channel.map(|channel| Self::Channel(Box::new(channel)))
            }
            Kind::Fifo => fifo::open(path, Side::Read, limit).map(Self::Fifo),
        };
        opened.map_err(|errno| explain(address, errno))
    }

    /// Receives a message. Increases the buffer if it is too small. Fails if nothing has arrived
    /// before the limit.
    pub fn receive(
        &mut self,
        address: &Address,
        buffer: &mut Vec<u8>,
        limit: &Limit,
    ) -> std::result::Result<Event, Stop> {
        limit.wait(address, |deadline| {
            loop {
                match self.receive_once(buffer, deadline) {
                    Err(errno) if errno == Errno::EMSGSIZE && buffer.capacity() < MESSAGE_MAX => {
                        let capacity = buffer.capacity().max(1 << 15) * 2;
                        buffer.clear();
                        buffer.reserve_exact(capacity);
                    }
                    Err(errno) if errno == Errno::EOVERFLOW => return Ok(self.lost()),
                    done => return done,
                }
            }
        })
    }

    /// Receives a message that is there; none if there is none.
    pub fn receive_now(
        &mut self,
        address: &Address,
        buffer: &mut Vec<u8>,
    ) -> std::result::Result<Option<Event>, Stop> {
        let received = self.receive_once(buffer, Deadline::never());
        match received {
            Ok(event) => Ok(Some(event)),
            Err(errno) if errno == Errno::EAGAIN => Ok(None),
            // The caller's next receive reports it.
            Err(errno) if errno == Errno::EMSGSIZE => Ok(None),
            Err(errno) if errno == Errno::EOVERFLOW => Ok(Some(self.lost())),
            Err(errno) => Err(Error::with_errno(address, errno).into()),
        }
    }

    /// The identity of the feed; zeros for another source.
    pub fn feed_id(&self) -> [u8; 16] {
        match self {
            Self::Feed(subscriber, _) => subscriber.feed_id(),
            _ => [0; 16],
        }
    }

    fn lost(&mut self) -> Event {
        match self {
            Self::Feed(subscriber, reported) => {
                let lost = subscriber.lost();
                Event::Lost(lost.wrapping_sub(std::mem::replace(reported, lost)))
            }
            _ => Event::Lost(0),
        }
    }

    fn receive_once(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Deadline,
    ) -> unixipc::errno::Result<Event> {
        buffer.clear();
        buffer.reserve(1 << 15);
        let space: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        let mut is_text = false;
        let (len, sequence) = match self {
            Self::Feed(subscriber, _) => {
                let received = subscriber.recv(space, deadline)?;
                (received.len, Some(received.sequence))
            }
            Self::Channel(channel) => {
                // SAFETY: `self` is borrowed exclusively, so no other thread receives.
                let half = unsafe { channel.recv_half() };
                (half.recv(space, deadline)?, None)
            }
            Self::Fifo(fd) => {
                let received = any::recv(fd.as_fd(), space, deadline)?;
                is_text = received.is_text;
                (received.len, None)
            }
        };
        // SAFETY: the receive has written these bytes.
        unsafe { buffer.set_len(len) };
        // A line of a program that does not use the library.
        if is_text && buffer.last() == Some(&b'\n') {
            buffer.pop();
        }
        Ok(match len {
            0 => Event::End,
            _ => Event::Message(buffer.len(), sequence),
        })
    }
}

fn subscriber_options(options: &SourceOptions) -> SubscriberOptions {
    let mut name = [0; NAME_SIZE];
    for (to, from) in name.iter_mut().zip(b"unixipc") {
        *to = *from;
    }
    SubscriberOptions {
        is_lossy: !options.is_reliable,
        begin: match options.begin {
            Begin::Newest => feed::Begin::Newest,
            Begin::Oldest => feed::Begin::Oldest,
        },
        feed_id: [0; 16],
        name,
        size_max: MESSAGE_MAX as u64,
        spin: SpinPolicy::For(Duration::ZERO),
        wait: options.waits,
    }
}

/// Describes why connecting has failed.
fn explain(address: &Address, errno: Errno) -> Error {
    let hint = if errno == Errno::EPROTO {
        " (another protocol: feed:PATH and channel:PATH say which one)"
    } else {
        ""
    };
    let what = format!("{address}{hint}");
    Error::with_errno(what, errno)
}
