//! Where messages go.

use super::address::{Address, Kind};
use super::deadline;
use super::source::channel_options;
use super::stop::{Limit, Stop};
use crate::error::{Context, Error, Result};
use libc::mode_t;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};
use unixipc::channel::{self, Channel};
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::{Feed, FeedOptions};
use unixipc::fifo::{self, Side, record};
use unixipc::transport::spin::SpinPolicy;

/// How to send.
#[derive(Clone, Copy, Debug)]
pub struct SinkOptions {
    /// Whether connecting waits until a process listens.
    pub waits: bool,
    /// The limit for connecting.
    pub limit: Option<Duration>,
    /// The permissions of the path of a feed.
    pub mode: mode_t,
    /// The length of a message that must fit into the ring of a feed; 0 for no requirement.
    pub message_max: u64,
}

/// A destination of messages.
pub enum Sink {
    /// A feed of this process.
    Feed(Box<Feed>),
    /// The client of a listener.
    Channel(Box<Channel>),
    /// The sender of a FIFO.
    Fifo(OwnedFd),
}

impl Sink {
    /// Connects to an address, or begins a feed there. A path without a prefix is
    /// that of a listener.
    pub fn open(address: &Address, options: &SinkOptions) -> Result<Self> {
        let path = address.path();
        match address.kind(Kind::Channel) {
            Kind::Feed => Self::open_feed(address, options),
            Kind::Channel => {
                let mut limit = deadline(options.limit)?;
                let channel = channel::connect(path, &channel_options(options.waits), &mut limit);
                Ok(Self::Channel(Box::new(channel.context(address)?)))
            }
            Kind::Fifo => {
                let opened = fifo::open(path, Side::Write, deadline(options.limit)?);
                Ok(Self::Fifo(opened.context(address)?))
            }
        }
    }

    /// Begins a feed at an address.
    pub fn open_feed(address: &Address, options: &SinkOptions) -> Result<Self> {
        let options_of_feed = FeedOptions {
            message_max: options.message_max,
            spin: SpinPolicy::For(Duration::ZERO),
            ..FeedOptions::default()
        };
        let mut feed = Feed::new(&options_of_feed).context("a feed")?;
        feed.listen(address.path(), options.mode).context(address)?;
        Ok(Self::Feed(Box::new(feed)))
    }

    /// Sends a message. Fails if there is no space for it before the limit.
    pub fn send(
        &mut self,
        address: &Address,
        message: &[u8],
        limit: &Limit,
    ) -> std::result::Result<(), Stop> {
        limit.wait(address, |deadline| self.send_once(message, deadline))
    }

    fn send_once(&mut self, message: &[u8], deadline: Deadline) -> unixipc::errno::Result<()> {
        match self {
            Self::Feed(feed) => feed.publish(message, deadline),
            Self::Channel(channel) => {
                // SAFETY: `self` is borrowed exclusively, so no other thread sends.
                let half = unsafe { channel.send_half() };
                half.send(message, deadline)
            }
            Self::Fifo(fd) => record::send(fd.as_fd(), message, deadline),
        }
    }

    /// Waits until the feed has this number of subscribers.
    pub fn wait_for_subscribers(
        &mut self,
        count: usize,
        limit: &Limit,
    ) -> std::result::Result<(), Stop> {
        let Self::Feed(feed) = self else {
            return Ok(());
        };
        while feed.subscribers(|_| ()).context("the feed")? < count {
            super::check()?;
            if limit.is_over() {
                let error = Error::with_errno("waiting for a subscriber", Errno::ETIMEDOUT);
                return Err(error.into());
            }
            wait_readable(&[feed.fd().context("the feed")?], limit.slice())?;
            feed.service().context("the feed")?;
        }
        Ok(())
    }

    /// Waits until a time; without end if there is none. Meanwhile a feed admits subscribers.
    pub fn wait_until(&mut self, time: Option<Instant>) -> std::result::Result<(), Stop> {
        loop {
            super::check()?;
            let slice = Limit::new(None).slice();
            let left = time.map_or(slice, |time| {
                time.saturating_duration_since(Instant::now()).min(slice)
            });
            if left.is_zero() {
                return Ok(());
            }
            match self {
                // poll(2) counts in milliseconds.
                Self::Feed(feed) if left >= Duration::from_millis(1) => {
                    wait_readable(&[feed.fd().context("the feed")?], left)?;
                    feed.service().context("the feed")?;
                }
                _ => std::thread::sleep(left),
            }
        }
    }

    /// Waits until `input` is readable. Meanwhile a feed admits subscribers.
    pub fn wait_for_input(&mut self, input: BorrowedFd) -> std::result::Result<(), Stop> {
        use std::os::fd::AsRawFd;
        let number = input.as_raw_fd();
        loop {
            super::check()?;
            let slice = Limit::new(None).slice();
            let readable = match self {
                Self::Feed(feed) => {
                    let fd = feed.fd().context("the feed")?;
                    let readable = wait_readable(&[number, fd], slice)?;
                    feed.service().context("the feed")?;
                    readable
                }
                _ => wait_readable(&[number], slice)?,
            };
            if readable {
                return Ok(());
            }
        }
    }
}

/// Waits until one of the descriptors is readable. Returns whether the first one is.
pub fn wait_readable(fds: &[RawFd], time: Duration) -> Result<bool> {
    let mut polled: Vec<PollFd> = fds
        .iter()
        .map(|fd| {
            // SAFETY: the caller's descriptors are open during this call.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            PollFd::new(fd, PollFlags::POLLIN)
        })
        .collect();
    let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, time) {
        Ok(_) => Ok(polled.first().and_then(PollFd::any).unwrap_or(false)),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error).context("poll"),
    }
}
