//! Feeds: the publisher is killed. Its subscribers receive all published messages, and then
//! the end.

use crate::channel::Page;
use crate::check;
use crate::child::{self, Child};
use crate::feed::{Calls, EIGHTH, FOREVER, FULL, LOSSY, Pub, RELIABLE, TIME_LIMIT, WAITS, range};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::support::expect;
use common::directory::c_path;
use common::isolated::apply;
use libc::c_int;
use std::cell::Cell;
use std::env;
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

const SHORT: usize = 100;
/// A long message, which is still copied step by step.
const LONG: usize = 3000;
/// More messages than a publisher publishes with full fences before it uses the asymmetric fence.
const MANY: usize = 80;

/// The state of a publisher.
struct State {
    calls: &'static Calls,
    path: CString,
    page: &'static Page,
    feed: Cell<Pub>,
}

impl State {
    /// Listens at the path.
    fn listen(&self) {
        assert_eq!(self.calls.listen(self.feed.get(), &self.path), Ok(0));
        self.page.accepted.store(1, SeqCst);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.page.unmap();
    }
}

/// The actions and the checks of the survivor.
type Survive = Box<dyn Fn(&State, &Finished) -> Verdict>;

/// The actions of a publisher and of a process with subscribers.
struct Case<const SLEEPS: bool> {
    calls: &'static Calls,
    /// The listener's path. Drop removes the file.
    path: PathBuf,
    prepare: Box<dyn Fn(&State)>,
    operate: fn(&State),
    survive: Survive,
}

impl<const SLEEPS: bool> Case<SLEEPS> {
    fn check(
        name: &str,
        calls: &'static Calls,
        prepare: impl Fn(&State) + 'static,
        operate: fn(&State),
        survive: impl Fn(&State, &Finished) -> Verdict + 'static,
    ) {
        let case = Self {
            calls,
            path: env::temp_dir().join("s"),
            prepare: Box::new(prepare),
            operate,
            survive: Box::new(survive),
        };
        check(name, &case);
    }
}

impl<const SLEEPS: bool> Drop for Case<SLEEPS> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl<const SLEEPS: bool> Scenario for Case<SLEEPS> {
    type State = State;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };
    const CONCURRENT: bool = true;

    fn set_up(&self) -> State {
        let _ = fs::remove_file(&self.path);
        State {
            calls: self.calls,
            path: c_path(&self.path),
            page: Page::new(),
            feed: Cell::new(ptr::null_mut()),
        }
    }

    fn become_victim(&self, state: &mut State) {
        state.page.victim.store(child::pid(), SeqCst);
        (self.prepare)(state);
        state.page.started.store(1, SeqCst);
    }

    fn operate(&self, state: &mut State) {
        (self.operate)(state);
    }

    fn survive(&self, state: &mut State, finished: &Finished) -> Verdict {
        state.page.survivor.store(child::pid(), SeqCst);
        (self.survive)(state, finished)
    }
}

/// Two subscribers, and the messages of the publisher.
#[derive(Clone, Copy)]
struct Plan {
    /// The flags of the subscribers.
    flags: [u32; 2],
    /// The length of a message.
    len: usize,
    /// The number of messages before the operation, and in it.
    count: [usize; 2],
    /// Whether the first subscriber sleeps when the operation begins. Otherwise both receive after
    /// the death of the publisher.
    asleep: bool,
    stall_ms: c_int,
    /// Whether the subscribers may lose messages.
    loses: bool,
}

const PLAN: Plan = Plan {
    flags: [RELIABLE, LOSSY],
    len: SHORT,
    count: [1, 1],
    asleep: false,
    stall_ms: 0,
    loses: false,
};

fn check_publish<const SLEEPS: bool>(name: &str, plan: Plan, operate: fn(&State)) {
    let [before, more] = plan.count;
    Case::<SLEEPS>::check(
        name,
        Calls::new(before + more, plan.len),
        move |state| {
            let calls = state.calls;
            state.feed.set(calls.create(plan.stall_ms));
            state.listen();
            calls.admit(state.feed.get(), plan.flags.len());
            calls.publish_all(state.feed.get(), 0..before);
            if plan.asleep {
                state.page.wait_for_survivor(before);
            }
        },
        operate,
        move |state, finished| {
            let (calls, page) = (state.calls, state.page);
            let subs = plan
                .flags
                .map(|flags| calls.connect(&state.path, flags | WAITS).unwrap());
            if plan.asleep {
                page.waits.store(1, SeqCst);
            } else {
                page.wait_for_death();
            }
            for sub in subs {
                let count = calls.receives_all(sub, page, plan.loses)?;
                let [least, most] = range(before, more, finished);
                if !(least..=most).contains(&count) {
                    return Err(format!("{count} messages, not {least} to {most}"));
                }
            }
            Ok(())
        },
    );
}

fn publish_one(state: &State) {
    let number = state.calls.messages.len() - 1;
    assert_eq!(state.calls.publish(state.feed.get(), number, FOREVER), 0);
}

#[apply(scenario)]
fn publish() {
    check_publish::<false>("ipc_feed_publish, subscribers awake", PLAN, publish_one);
}

#[apply(scenario)]
fn publish_long() {
    let plan = Plan { len: LONG, ..PLAN };
    check_publish::<false>("ipc_feed_publish, 3 kB", plan, publish_one);
}

#[apply(scenario)]
fn publish_to_a_sleeper() {
    let plan = Plan {
        asleep: true,
        ..PLAN
    };
    check_publish::<false>("ipc_feed_publish, subscriber asleep", plan, publish_one);
}

#[apply(scenario)]
fn publish_with_the_asymmetric_fence() {
    let plan = Plan {
        count: [MANY, 1],
        ..PLAN
    };
    check_publish::<false>("ipc_feed_publish, asymmetric", plan, publish_one);
}

#[apply(scenario)]
fn publish_with_the_asymmetric_fence_to_a_sleeper() {
    let plan = Plan {
        count: [MANY, 1],
        asleep: true,
        ..PLAN
    };
    check_publish::<false>("ipc_feed_publish, asymmetric, asleep", plan, publish_one);
}

#[apply(scenario)]
fn reserve_and_commit() {
    check_publish::<false>("ipc_feed_reserve, _commit", PLAN, |state| {
        state.calls.reserve_and_commit(state.feed.get(), 1);
    });
}

/// The reservation overwrites messages that are then lost, although nothing is published.
#[apply(scenario)]
fn reserve_and_cancel() {
    let plan = Plan {
        flags: [LOSSY; 2],
        len: EIGHTH,
        count: [FULL, 0],
        loses: true,
        ..PLAN
    };
    check_publish::<false>("ipc_feed_reserve, _cancel", plan, |state| {
        state.calls.reserve_and_cancel(state.feed.get());
    });
}

/// Lossy subscribers are overtaken.
#[apply(scenario)]
fn publish_that_overwrites() {
    let plan = Plan {
        flags: [LOSSY; 2],
        len: EIGHTH,
        count: [FULL + 2, 1],
        loses: true,
        ..PLAN
    };
    check_publish::<false>("ipc_feed_publish, overwrites", plan, publish_one);
}

#[apply(scenario)]
fn publish_that_waits_for_space() {
    let plan = Plan {
        flags: [RELIABLE; 2],
        len: EIGHTH,
        count: [FULL, 1],
        ..PLAN
    };
    check_publish::<true>("ipc_feed_publish, waits for space", plan, publish_one);
}

/// The publisher ceases to wait for the reliable subscribers.
#[apply(scenario)]
fn publish_that_demotes() {
    let plan = Plan {
        flags: [RELIABLE; 2],
        len: EIGHTH,
        count: [FULL, 1],
        stall_ms: 5,
        loses: true,
        ..PLAN
    };
    check_publish::<false>("ipc_feed_publish, stall_ms", plan, publish_one);
}

#[apply(scenario)]
fn close() {
    let plan = Plan {
        asleep: true,
        count: [1, 0],
        ..PLAN
    };
    check_publish::<false>("ipc_feed_close", plan, |state| {
        state.calls.close_feed(state.feed.get());
    });
}

/// A subscriber waits for its admission. Whatever has happened to it, the path can be used again.
#[apply(scenario)]
fn service() {
    Case::<false>::check(
        "ipc_feed_service, admits",
        Calls::new(1, SHORT),
        |state| {
            state.feed.set(state.calls.create(0));
            state.listen();
            assert!(state.calls.has_news(state.feed.get(), TIME_LIMIT));
            state.page.wait_for_survivor(0);
        },
        |state| state.calls.service(state.feed.get()),
        |state, finished| {
            let calls = state.calls;
            state.page.wait_for_accepted();
            state.page.waits.store(1, SeqCst);
            match calls.connect(&state.path, RELIABLE) {
                Ok(sub) => expect("messages", calls.receives_all(sub, state.page, false)?, 0)?,
                Err(error) => {
                    expect("connect", error, libc::EPIPE)?;
                    expect("finished", finished.get(), false)?;
                }
            }
            calls.works_again(&state.path)
        },
    );
}

#[apply(scenario)]
fn create() {
    Case::<false>::check(
        "ipc_feed_create",
        Calls::new(1, SHORT),
        |_| {},
        |state| state.feed.set(state.calls.create(0)),
        |state, _| {
            state.page.wait_for_death();
            state.calls.works_again(&state.path)
        },
    );
}

/// A client waits for a listener. The next publisher admits it at the latest.
#[apply(scenario)]
fn listen() {
    Case::<false>::check(
        "ipc_feed_listen, _service",
        Calls::new(1, SHORT),
        |state| state.feed.set(state.calls.create(0)),
        |state| {
            state.listen();
            state.calls.service(state.feed.get());
        },
        |state, _| {
            let calls = state.calls;
            let server = Child::fork(|| {
                state.page.wait_for_death();
                let feed = calls.listen_again(&state.path).unwrap();
                calls.admit(feed, 1);
                calls.publish_all(feed, 0..1);
                assert_eq!(calls.count(feed), 1);
                // Closing the feed does not discard the message.
                calls.close_feed(feed);
            });
            loop {
                let sub = calls.connect(&state.path, WAITS).unwrap();
                match calls.receives_one(sub, &mut calls.buffer(), 0, false)? {
                    Some(_) => break,
                    // The victim had admitted this subscriber.
                    None => calls.close_sub(sub),
                }
            }
            let ended = server.wait(Instant::now() + TIME_LIMIT);
            expect("the next publisher", ended, Some(0))
        },
    );
}
