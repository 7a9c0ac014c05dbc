//! Feeds: a subscriber is killed or stopped. The publisher and another subscriber lose nothing.

use crate::channel::Page;
use crate::check;
use crate::child::{self, Child};
use crate::feed::{
    Calls, EIGHTH, FOREVER, FULL, LOSSY, OLDEST, Pub, RELIABLE, Sub, TIME_LIMIT, WAITS,
};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::support::expect;
use common::clock::wait_until;
use common::directory::c_path;
use common::isolated::apply;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::cell::{Cell, RefCell};
use std::env;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// The number of messages of a scenario.
const MESSAGES: usize = 500;

/// The state of the subscriber that is killed.
struct State {
    calls: &'static Calls,
    path: CString,
    page: &'static Page,
    sub: Cell<Sub>,
    buffer: RefCell<Vec<u8>>,
    /// The ends of the victim and of the publisher.
    sockets: [Option<OwnedFd>; 2],
}

impl State {
    fn connect(&self, flags: u32) {
        self.sub.set(self.calls.connect(&self.path, flags).unwrap());
    }

    /// Receives the message with this number.
    fn receive(&self, number: usize) {
        let (received, seq) =
            self.calls
                .recv(self.sub.get(), &mut self.buffer.borrow_mut(), FOREVER);
        assert_eq!((received, seq), (Ok(EIGHTH), number));
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.page.unmap();
    }
}

/// The action of the publisher while the victim operates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Publisher {
    /// It only admits subscribers.
    Services,
    /// It publishes as soon as it has admitted the victim, and waits for it.
    Publishes,
}

/// The actions of a subscriber.
struct Case<const SLEEPS: bool> {
    calls: &'static Calls,
    /// The listener's path. Drop removes the file.
    path: PathBuf,
    /// The flags with which the victim connects before its operation; none if it does not.
    flags: Option<u32>,
    /// The number of messages that are published before the operation.
    before: usize,
    publisher: Publisher,
    operate: fn(&State),
}

impl<const SLEEPS: bool> Case<SLEEPS> {
    fn check(
        name: &str,
        flags: Option<u32>,
        before: usize,
        publisher: Publisher,
        operate: fn(&State),
    ) {
        let case = Self {
            calls: Calls::new(MESSAGES, EIGHTH),
            path: env::temp_dir().join("s"),
            flags,
            before,
            publisher,
            operate,
        };
        check(name, &case);
    }

    /// Publishes a message, which the other subscriber receives.
    fn publish_and_receive(&self, feed: Pub, other: Sub, buffer: &mut [u8]) -> Verdict {
        let number = self.calls.count(feed);
        self.calls.publish_all(feed, number..number + 1);
        let received = self.calls.receives_one(other, buffer, number, false)?;
        expect("the other subscriber", received, Some(number))
    }
}

impl<const SLEEPS: bool> Drop for Case<SLEEPS> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a feed with a subscriber of this process.
fn feed_with_subscriber(calls: &Calls, path: &CString, stall_ms: i32) -> (Pub, Sub) {
    let feed = calls.create(stall_ms);
    assert_eq!(calls.listen(feed, path), Ok(0));
    let sub = thread::scope(|scope| {
        let client = scope.spawn(|| calls.connect(path, RELIABLE).unwrap() as usize);
        calls.admit(feed, 1);
        client.join().unwrap()
    });
    (feed, sub as Sub)
}

impl<const SLEEPS: bool> Scenario for Case<SLEEPS> {
    type State = State;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = true;

    fn set_up(&self) -> State {
        let _ = fs::remove_file(&self.path);
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (victim, survivor) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        State {
            calls: self.calls,
            path: c_path(&self.path),
            page: Page::new(),
            sub: Cell::new(ptr::null_mut()),
            buffer: RefCell::new(self.calls.buffer()),
            sockets: [Some(victim), Some(survivor)],
        }
    }

    fn become_victim(&self, state: &mut State) {
        state.page.victim.store(child::pid(), SeqCst);
        state.sockets[1] = None;
        state.page.wait_for_accepted();
        if let Some(flags) = self.flags {
            state.connect(flags);
            wait_until("the messages", || {
                self.calls.published(state.sub.get()) >= self.before
            });
        }
        state.page.started.store(1, SeqCst);
    }

    fn operate(&self, state: &mut State) {
        (self.operate)(state);
    }

    fn survive(&self, state: &mut State, _: &Finished) -> Verdict {
        let (calls, page) = (self.calls, state.page);
        let mut buffer = calls.buffer();
        page.survivor.store(child::pid(), SeqCst);
        state.sockets[0] = None;
        let (feed, other) = feed_with_subscriber(calls, &state.path, 0);
        if let Some(socket) = state.sockets[1].take() {
            calls.add(feed, socket.as_raw_fd());
        }
        if self.flags.is_some() {
            page.accepted.store(1, SeqCst);
            calls.admit(feed, 2);
        }
        for _ in 0..self.before {
            self.publish_and_receive(feed, other, &mut buffer)?;
        }
        page.accepted.store(1, SeqCst);
        page.wait_for_start();
        while !page.victim_is_dead() {
            let publishes = self.publisher == Publisher::Publishes
                && calls.subscribers(feed) == 2
                && calls.count(feed) < MESSAGES - 3 * FULL;
            if publishes {
                self.publish_and_receive(feed, other, &mut buffer)?;
            } else if calls.has_news(feed, Duration::from_millis(1)) {
                calls.service(feed);
            }
        }
        // The victim holds nothing up. The publisher notices its death when it needs the space.
        for _ in 0..3 * FULL {
            self.publish_and_receive(feed, other, &mut buffer)?;
        }
        calls.admit(feed, 1);
        calls.close_sub(other);
        calls.admit(feed, 0);
        calls.close_feed(feed);
        Ok(())
    }
}

const SERVES: Publisher = Publisher::Services;

#[apply(scenario)]
fn connect() {
    Case::<false>::check("ipc_sub_connect", None, 1, SERVES, |state| {
        state.connect(RELIABLE);
    });
}

/// The operation begins before the publisher has admitted the victim, and ends with a message.
#[apply(scenario)]
fn connect_and_receive() {
    Case::<false>::check(
        "ipc_sub_connect, _recv",
        None,
        FULL,
        Publisher::Publishes,
        |state| {
            state.connect(RELIABLE);
            let buffer = &mut *state.buffer.borrow_mut();
            let (received, _) = state.calls.recv(state.sub.get(), buffer, FOREVER);
            assert_eq!(received, Ok(EIGHTH));
        },
    );
}

/// The publisher waits for the victim before this one has skipped the messages that it does not want.
#[apply(scenario)]
fn connect_at_a_sequence_number() {
    const BEFORE: usize = FULL + 3;
    Case::<false>::check(
        "ipc_sub_connect, IPC_SUB_F_FROM_SEQ, _recv",
        None,
        BEFORE,
        Publisher::Publishes,
        |state| {
            let connected = state.calls.connect_at(&state.path, BEFORE);
            state.sub.set(connected.unwrap());
            state.receive(BEFORE);
        },
    );
}

#[apply(scenario)]
fn connect_lossy() {
    Case::<false>::check(
        "ipc_sub_connect, IPC_SUB_F_LOSSY",
        None,
        FULL,
        Publisher::Publishes,
        |state| state.connect(LOSSY | OLDEST),
    );
}

#[apply(scenario)]
fn connect_over_a_socket() {
    Case::<false>::check("ipc_sub_from_fd", None, 1, SERVES, |state| {
        let socket = state.sockets[0].as_ref().unwrap().as_raw_fd();
        state.sub.set(state.calls.over_socket(socket).unwrap());
    });
}

#[apply(scenario)]
fn receive() {
    Case::<false>::check("ipc_sub_recv", Some(RELIABLE), 1, SERVES, |state| {
        state.receive(0);
    });
}

#[apply(scenario)]
fn receive_lossy() {
    Case::<false>::check("ipc_sub_recv, lossy", Some(LOSSY), 1, SERVES, |state| {
        state.receive(0);
    });
}

#[apply(scenario)]
fn peek_and_release() {
    Case::<false>::check(
        "ipc_sub_peek, _release",
        Some(RELIABLE),
        1,
        SERVES,
        |state| {
            state.calls.peek_and_release(state.sub.get());
        },
    );
}

#[apply(scenario)]
fn receive_that_waits() {
    Case::<true>::check("ipc_sub_recv, waits", Some(RELIABLE), 1, SERVES, |state| {
        state.receive(0);
        state.receive(1);
    });
}

/// The publisher waits for space, and the victim wakes it.
#[apply(scenario)]
fn receive_from_a_publisher_that_waits() {
    Case::<false>::check(
        "ipc_sub_recv, publisher waits",
        Some(RELIABLE),
        FULL,
        Publisher::Publishes,
        |state| (0..FULL).for_each(|number| state.receive(number)),
    );
}

#[apply(scenario)]
fn fd() {
    Case::<false>::check("ipc_sub_fd", Some(RELIABLE), 1, SERVES, |state| {
        state.calls.sub_fd(state.sub.get());
    });
}

#[apply(scenario)]
fn close() {
    Case::<false>::check(
        "ipc_sub_close",
        Some(RELIABLE),
        FULL,
        Publisher::Publishes,
        |state| state.calls.close_sub(state.sub.get()),
    );
}

/// A subscriber is stopped at many points. With `stall_ms` it holds the publisher up for this time
/// only, and then learns that it has lost messages.
#[apply(scenario)]
fn stopped() {
    const STALL_MS: i32 = 20;
    const ROUNDS: usize = 50;
    let calls = Calls::new(ROUNDS * 3 * FULL, EIGHTH);
    let path = env::temp_dir().join("s");
    let c_path = c_path(&path);
    let (feed, other) = feed_with_subscriber(calls, &c_path, STALL_MS);
    let mut buffer = calls.buffer();
    for round in 0..ROUNDS {
        let first = calls.count(feed);
        let victim = Child::fork(|| {
            let sub = calls.connect(&c_path, RELIABLE | WAITS).unwrap();
            let (mut next, mut buffer) = (first, calls.buffer());
            while next < first + 3 * FULL {
                let received = calls.receives_one(sub, &mut buffer, next, true);
                next = received.unwrap().expect("no end") + 1;
            }
        });
        calls.admit(feed, 2);
        let mut slowest = Duration::ZERO;
        for number in first..first + 3 * FULL {
            if number == first + round % FULL {
                child::signal(victim.pid(), libc::SIGSTOP);
            }
            let begin = Instant::now();
            calls.publish_all(feed, number..number + 1);
            slowest = slowest.max(begin.elapsed());
            let received = calls.receives_one(other, &mut buffer, number, false);
            assert_eq!(received, Ok(Some(number)));
        }
        assert!(slowest < TIME_LIMIT, "{slowest:?}");
        child::signal(victim.pid(), libc::SIGCONT);
        assert_eq!(victim.wait(Instant::now() + TIME_LIMIT), Some(0));
        calls.admit(feed, 1);
    }
    calls.close_sub(other);
    calls.close_feed(feed);
    let _ = fs::remove_file(&path);
}
