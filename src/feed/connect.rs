//! Connecting to a feed.

use super::handshake::{Admission, Request};
use super::options::{Begin, SubscriberOptions};
use super::page::Page;
use super::subscriber::Subscriber;
use crate::atomic::Ordering;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::fd::duplicate;
use crate::pair;
use crate::sys::{self, CancelGuard, membarrier};
use crate::transport::await_listener::until_listening;
use crate::transport::broadcast::Reader;
use crate::transport::connect::connect_socket;
use crate::transport::doorbell::Doorbell;
use crate::transport::event_count::{Fences, Watch};
use crate::transport::hello;
use crate::transport::label;
use crate::transport::listen::{address, new_socket};
use crate::transport::liveness::Liveness;
use crate::transport::pipe_ends::PeerDoorbell;
use crate::transport::spin::Spinner;
use nix::poll::PollFlags;
use nix::sys::socket::{self, Shutdown, UnixAddr};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Subscribes to the feed at a path. If the options say so, it also waits until a process listens.
pub fn connect(
    path: &CStr,
    options: &SubscriberOptions,
    deadline: &mut Deadline,
) -> Result<Subscriber> {
    let _uncancelled = CancelGuard::new();
    let address = address(path)?;
    until_listening(path, options.wait, deadline, |deadline| {
        try_connect(&address, options, deadline)
    })
}

/// Subscribes to a feed that listens.
fn try_connect(
    address: &UnixAddr,
    options: &SubscriberOptions,
    deadline: &mut Deadline,
) -> Result<Subscriber> {
    let applicant = Applicant::new()?;
    let socket = new_socket()?;
    connect_socket(&socket, address, deadline)?;
    applicant.subscribe(socket.as_fd(), options, deadline)
}

/// Subscribes over a connected socket, whose other end the publisher adds.
pub fn from_socket(
    socket: BorrowedFd,
    options: &SubscriberOptions,
    deadline: &mut Deadline,
) -> Result<Subscriber> {
    let _uncancelled = CancelGuard::new();
    if !sys::is_local(socket)? {
        return Err(errno!(EOPNOTSUPP));
    }
    let copy = duplicate(socket, 0)?;
    let applicant = Applicant::new()?;
    let subscribed = applicant.subscribe(copy.as_fd(), options, deadline);
    if subscribed.is_err() {
        // The publisher may have admitted this subscriber, which no longer exists. So the socket
        // cannot be used again, and the shutdown reports that to both sides.
        let _ = socket::shutdown(socket.as_raw_fd(), Shutdown::Both);
    }
    subscribed
}

/// The side of a subscriber before it is admitted.
struct Applicant {
    page: Page,
    page_fd: OwnedFd,
    publisher_bell: PeerDoorbell,
    read_end: OwnedFd,
    membarrier: bool,
}

impl Applicant {
    fn new() -> Result<Self> {
        let (page, page_fd) = Page::create()?;
        let (publisher_bell, read_end) = PeerDoorbell::new()?;
        Ok(Self {
            page,
            page_fd,
            publisher_bell,
            read_end,
            membarrier: membarrier::register(),
        })
    }

    /// Asks the publisher for admission, and waits for the answer.
    fn subscribe(
        self,
        socket: BorrowedFd,
        options: &SubscriberOptions,
        deadline: &mut Deadline,
    ) -> Result<Subscriber> {
        let request = Request {
            membarrier: self.membarrier,
            is_lossy: options.is_lossy,
            from_oldest: options.begin != Begin::Newest,
            name: options.name,
        };
        let cred = pair::peer_cred(socket)?;
        request.send(socket, self.page_fd.as_fd(), self.read_end.as_fd())?;
        let admission = await_admission(socket, options, deadline)?;
        self.admitted(admission, cred, options)
    }

    /// Begins with the message that the options say.
    fn admitted(
        self,
        admission: Admission,
        cred: pair::Cred,
        options: &SubscriberOptions,
    ) -> Result<Subscriber> {
        let Admission {
            answer,
            memory,
            pipe,
        } = admission;
        let membarrier = self.membarrier && answer.membarrier;
        let bell = Doorbell::new();
        bell.attach(pipe, membarrier)?;
        if options.feed_id != [0; 16] && options.feed_id != memory.id() {
            return Err(errno!(ESTALE));
        }
        let progress = &self.page.control().progress;
        let mut reader = Reader::new(memory.geometry(), answer.start, options.is_lossy);
        // Pairs with the acquire load in `Follower::refresh`.
        progress.head.store(reader.head(), Ordering::Release);
        let mut gap = 0;
        if let Begin::Sequence(sequence) = options.begin {
            let words = &memory.control().words;
            if !reader.seek(sequence, &memory, words, &progress.head)? {
                gap = reader.sequence().wrapping_sub(sequence);
            } else if reader.sequence() != sequence {
                // The feed has not published that many messages.
                return Err(errno!(ESTALE));
            }
        }
        let label = self.page.label();
        label.write(&label::SUBSCRIBER);
        label.set_peer(memory.inode(), answer.align);
        label.set_subscriber(&options.name, options.is_lossy);
        let mut subscriber = Subscriber {
            reader,
            memory,
            page: self.page,
            bell,
            publisher_bell: self.publisher_bell,
            fences: Fences::fixed(membarrier),
            watch: Watch::new(),
            spinner: Spinner::new(options.spin),
            liveness: Liveness::default(),
            is_lossy: options.is_lossy,
            gap,
            peeked: 0,
            end_received: false,
            is_poisoned: false,
            cred,
        };
        subscriber.count_lost(gap);
        if !options.is_lossy {
            // The publisher may wait for the space of the messages that `seek` has skipped.
            subscriber.notify();
        }
        Ok(subscriber)
    }
}

/// Waits for the answer of the publisher.
fn await_admission(
    socket: BorrowedFd,
    options: &SubscriberOptions,
    deadline: &mut Deadline,
) -> Result<Admission> {
    loop {
        match hello::peek(socket) {
            Err(error) if error == Errno::EAGAIN => deadline.ready(socket, PollFlags::POLLIN)?,
            hello => {
                let admission = Admission::new(hello?, options.size_max())?;
                hello::consume(socket)?;
                return Ok(admission);
            }
        }
    }
}
