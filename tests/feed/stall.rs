//! Subscribers that hold the publisher up: stall_ms, and the time-outs of a publication.

use crate::support::*;
use libc::{EAGAIN, EOPNOTSUPP, ETIMEDOUT, EUSERS};
use std::thread;
use std::time::{Duration, Instant};

/// A feed with the smallest ring and this stall_ms.
fn stalling(stall_ms: i32) -> Feed {
    Feed::with(&ipc_feed_opts { stall_ms, ..SMALL })
}

#[apply(isolated)]
fn time_outs() {
    for flags in [0, IPC_FEED_F_NO_SPIN] {
        let feed = Feed::with(&ipc_feed_opts { flags, ..SMALL });
        let sub = feed.subscribe(&RELIABLE);
        let count = feed.fill(1000);
        assert_eq!(count, 65);
        for _ in 0..3 {
            assert_eq!(feed.publish(&[0; 1000], 0), Err(EAGAIN));
            assert_eq!(feed.reserve(1000, 0).unwrap_err(), EAGAIN);
            let start = Instant::now();
            assert_eq!(feed.publish(&[0; 1000], 50), Err(ETIMEDOUT));
            assert_waited(start, Duration::from_millis(50));
            let start = Instant::now();
            assert_eq!(feed.reserve(1000, 50).unwrap_err(), ETIMEDOUT);
            assert_waited(start, Duration::from_millis(50));
        }
        ends_with_signal(|| {
            // The child makes a feed of its own.
            let feed = Feed::with(&ipc_feed_opts { flags, ..SMALL });
            let _sub = feed.subscribe(&RELIABLE);
            feed.fill(1000);
            feed.publish(&[0; 1000], INTR)
        });
        // Failed publications leave no trace.
        assert_eq!(feed.info().published, count);
        sub.expect_up_to(count, 0);
        feed.publish_up_to(count + 1, 1000, 0);
        sub.expect_up_to(count + 1, 0);
    }
}

/// The time-outs of a receive.
#[apply(isolated)]
fn receive_time_outs() {
    let feed = Feed::with(&SMALL);
    for flags in [0, IPC_SUB_F_NO_SPIN, IPC_SUB_F_LOSSY] {
        let sub = feed.subscribe(&ipc_sub_opts { flags, ..RELIABLE });
        assert_eq!(
            (sub.recv(0), sub.peek(0).unwrap_err()),
            (Err(EAGAIN), EAGAIN)
        );
        let start = Instant::now();
        assert_eq!(sub.recv(50), Err(ETIMEDOUT));
        assert_waited(start, Duration::from_millis(50));
        let start = Instant::now();
        assert_eq!(sub.peek(50).unwrap_err(), ETIMEDOUT);
        assert_waited(start, Duration::from_millis(50));
        ends_with_signal(|| sub.recv(INTR).map(|_| 0));
        ends_with_signal(|| sub.peek(INTR).map(|_| 0));
        feed.publish_up_to(feed.info().published + 1, 8, 0);
        sub.expect_up_to(feed.info().published, -1);
    }
}

/// A publication without a time limit sleeps until the subscriber has received.
#[apply(isolated)]
fn waits_for_space() {
    for (timeout_ms, len) in [
        (-1, 1000),
        (LONG, 1000),
        (INTR, 1000),
        (LONG, SMALL_RING - 72),
    ] {
        let feed = Feed::with(&SMALL);
        let sub = feed.subscribe(&RELIABLE);
        let count = feed.fill(1000);
        thread::scope(|scope| {
            let (feed, bytes) = (&feed, numbered(count, len));
            let publish = move || feed.publish(&bytes, timeout_ms);
            let (publisher, _) = spawn_sleeper(scope, publish);
            sub.expect_up_to(count, 0);
            assert_eq!(publisher.join().unwrap(), DONE);
        });
        sub.expect_up_to(count + 1, 0);
    }
}

/// A record that needs almost the whole ring: the subscriber wakes the publisher when half of it is
/// free, and goes on reading while the publisher checks the space. It must wake the publisher again.
#[apply(isolated)]
fn woken_before_there_is_space() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    let mut random = Random(5);
    for _ in 0..scaled(1000) {
        let count = feed.info().published + feed.fill(1000);
        let begin = Instant::now();
        thread::scope(|scope| {
            let (feed, bytes) = (&feed, numbered(count, SMALL_RING - 72));
            let publish = move || feed.publish(&bytes, LONG);
            let (publisher, _) = spawn_sleeper(scope, publish);
            for number in sub.info().next_seq..count {
                sub.expect_up_to(number + 1, 0);
                (0..random.index(2000)).for_each(|_| std::hint::spin_loop());
            }
            assert_eq!(publisher.join().unwrap(), DONE);
        });
        // A publisher that is not woken finds the space when its time-out expires.
        assert!(begin.elapsed() < Duration::from_millis(LONG as u64 / 2));
        sub.expect_up_to(count + 1, 0);
    }
}

/// A stopped subscriber becomes lossy after stall_ms, and is told by EOVERFLOW. The others lose
/// nothing.
#[apply(isolated)]
fn stopped_subscriber() {
    for timeout_ms in [-1, LONG, INTR] {
        let (feed, shared) = (stalling(100), Counters::new());
        let stopped = spawn_sub(&feed, &RELIABLE, |sub| {
            sub.expect_up_to(1, LONG);
            shared.set(0, 1);
            let mut lost = 0;
            loop {
                let next = sub.info().next_seq;
                match sub.recv(LONG).unwrap() {
                    Received::Message(seq, bytes) => {
                        assert_eq!(seq, next);
                        check_numbered(seq, &bytes);
                    }
                    Received::Lost(seq) => {
                        lost += seq - next;
                        shared.add(1);
                    }
                    Received::End => break,
                }
            }
            assert_eq!((sub.info().lost, sub.info().next_seq), (lost, 501));
        });
        let other = spawn_sub(&feed, &RELIABLE, |sub| {
            sub.expect_up_to(501, LONG);
            assert_eq!((sub.recv(LONG), sub.info().lost), (END, 0));
        });
        feed.publish_up_to(1, 1000, LONG);
        shared.wait_for(0, 1);
        stopped.stop();
        let start = Instant::now();
        feed.publish_up_to(501, 1000, timeout_ms);
        assert_waited(start, Duration::from_millis(100));
        let states: Vec<_> = feed.subscribers().iter().map(|sub| sub.state).collect();
        let expected = IPC_SUB_S_LOSSY | IPC_SUB_S_STALLED;
        let stalled = states.iter().filter(|state| **state & expected == expected);
        assert_eq!(stalled.count(), 1, "{states:?}");
        assert_eq!(shared.get(1), 0);
        stopped.signal(libc::SIGCONT);
        shared.wait_for(1, 1);
        drop(feed);
        stopped.join();
        other.join();
    }
}

/// A subscriber that is always as far behind as the ring allows loses nothing, also after another
/// one has been demoted: from then on it checks the cursor of the oldest message.
#[apply(isolated)]
fn far_behind() {
    let feed = stalling(500);
    let (behind, _stalled) = (feed.subscribe(&RELIABLE), feed.subscribe(&RELIABLE));
    let mut count = feed.fill(500);
    behind.expect_up_to(2, 0);
    let stalled = |sub: &ipc_feed_subscriber| sub.state & IPC_SUB_S_STALLED != 0;
    assert_eq!(feed.publish(&numbered(count, 500), LONG), DONE);
    assert_eq!(
        feed.subscribers().iter().filter(|sub| stalled(sub)).count(),
        1
    );
    let mut received = 2;
    while received < 1000 {
        count += 1;
        while feed.publish(&numbered(count, 500), 0) == Err(EAGAIN) {
            received += 1;
            behind.expect_up_to(received, 0);
        }
    }
    assert_eq!(behind.info().lost, 0);
    assert_eq!(
        feed.subscribers().iter().filter(|sub| stalled(sub)).count(),
        1
    );
}

/// Signal handlers of the publisher do not lengthen stall_ms, whatever its own time-out is.
#[apply(isolated)]
fn signals_during_a_stall() {
    for timeout_ms in [-1, LONG] {
        fork(|| {
            let feed = stalling(200);
            let _sub = feed.subscribe(&RELIABLE);
            feed.fill(1000);
            count_signal(libc::SIGALRM, libc::SA_RESTART);
            storm(50_000);
            let start = Instant::now();
            assert_eq!(feed.publish(&[0; 1000], timeout_ms), DONE);
            storm(0);
            assert_waited(start, Duration::from_millis(150));
            assert!(handled() > 0);
        })
        .join();
    }
}

/// A time-out that is shorter than stall_ms. The time that the subscriber has stalled is counted
/// over several calls.
#[apply(isolated)]
fn several_refusals() {
    for timeout_ms in [0, 10] {
        let feed = stalling(200);
        let sub = feed.subscribe(&RELIABLE);
        let count = feed.fill(1000);
        let start = Instant::now();
        let bytes = numbered(count, 1000);
        wait_until("the end of stall_ms", || {
            match feed.publish(&bytes, timeout_ms) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error, if timeout_ms == 0 { EAGAIN } else { ETIMEDOUT });
                    assert_eq!(feed.subscriber().state & 15, IPC_SUB_S_HOLDS);
                    false
                }
            }
        });
        assert!(
            start.elapsed() > Duration::from_millis(150),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(feed.subscriber().state, IPC_SUB_S_LOSSY | IPC_SUB_S_STALLED);
        assert_eq!(sub.recv(0), lost_before(oldest(&feed)));
        sub.expect_up_to(count + 1, 0);
    }
}

/// A publisher in an event loop, with a subscriber that has stopped: the descriptor of the feed is
/// readable once stall_ms has expired.
#[apply(isolated)]
fn event_loop() {
    let feed = stalling(100);
    let fd = feed.fd().unwrap();
    let subs = [0; 2].map(|_| feed.subscribe(&RELIABLE));
    feed.service_until("silence", || !is_readable(fd, 0));
    // The first refused publication, by which they stall, is within the call that follows.
    let start = Instant::now();
    let count = feed.fill(1000);
    for stalled in 1..=2 {
        assert_eq!(feed.publish(&numbered(count, 1000), 0), Err(EAGAIN));
        assert!(is_readable(fd, LONG));
        assert_waited(start, Duration::from_millis(100));
        assert_eq!(feed.service(), DONE);
        assert!(!is_readable(fd, 0), "after {stalled}");
        // Both stall from the same time on.
        match feed.publish(&numbered(count, 1000), 0) {
            Ok(_) => break,
            Err(error) => assert_eq!((error, stalled), (EAGAIN, 1)),
        }
    }
    assert_eq!(subs[0].recv(0), lost_before(oldest(&feed)));
    feed.publish_up_to(count + 500, 1000, 0);
    assert!(!is_readable(fd, 0));
}

/// No timer is left over from a subscriber that has made space.
#[apply(isolated)]
fn event_loop_without_stall() {
    let feed = stalling(1000);
    let fd = feed.fd().unwrap();
    let sub = feed.subscribe(&RELIABLE);
    feed.service_until("silence", || !is_readable(fd, 0));
    let count = feed.fill(1000);
    assert_eq!(feed.publish(&numbered(count, 1000), 0), Err(EAGAIN));
    sub.expect_up_to(count, 0);
    assert!(is_readable(fd, 0));
    assert_eq!(feed.service(), DONE);
    feed.publish_up_to(count + 1, 1000, 0);
    assert!(!is_readable(fd, 1200));
    sub.expect_up_to(count + 1, 0);
}

/// The timer needs a descriptor.
#[apply(isolated)]
fn event_loop_without_descriptor() {
    let feed = Feed::with(&SMALL);
    let limit = common::descriptors::leave_descriptors(0);
    assert_eq!(feed.fd(), Err(libc::EMFILE));
    drop(limit);
    assert!(feed.fd().is_ok());
}

/// A demoted subscriber that has lost nothing yet, and one that is demoted while it reads.
#[apply(isolated)]
fn demoted_without_loss() {
    let feed = stalling(20);
    let sub = feed.subscribe(&RELIABLE);
    let count = feed.fill(1000);
    assert!(matches!(sub.peek(0), Ok(Received::Message(0, _))));
    // The reservation overwrites the first message, but not all of them.
    feed.reserve(1000, LONG).unwrap();
    assert_eq!(sub.release(), Err(libc::EOVERFLOW));
    let next = sub.info().next_seq;
    assert!(
        (1..=17).contains(&next) && sub.info().lost == next,
        "{next}"
    );
    assert!(matches!(sub.peek(0), Ok(Received::Message(seq, _)) if seq == next));
    assert_eq!(sub.release(), DONE);
    sub.expect_up_to(count, 0);
    assert_eq!(feed.cancel(), DONE);
    // It is lossy from then on, and nothing waits for it.
    feed.publish_up_to(count + 500, 1000, 0);
    assert_eq!(sub.recv(0), lost_before(oldest(&feed)));
    sub.expect_up_to(count + 500, 0);
}

/// A slow subscriber that makes progress is not demoted, although it holds the publisher up all
/// the time.
#[apply(isolated)]
fn slow_subscriber() {
    let (feed, shared) = (stalling(400), Counters::new());
    let child = spawn_sub(&feed, &RELIABLE, |sub| {
        for seq in 0..400 {
            sub.expect_up_to(seq + 1, LONG);
            // About as long as stall_ms for each ring of messages.
            thread::sleep(Duration::from_millis(6));
        }
        assert_eq!(sub.info().lost, 0);
        shared.set(0, 1);
    });
    feed.publish_up_to(400, 1000, LONG);
    assert_eq!(feed.subscriber().state & IPC_SUB_S_STALLED, 0);
    shared.wait_for(0, 1);
    child.join();
}

/// Without stall_ms, the publisher waits for a stopped subscriber as long as it takes.
#[apply(isolated)]
fn no_stall_ms() {
    let feed = stalling(0);
    let sub = feed.subscribe(&RELIABLE);
    let count = feed.fill(1000);
    assert_eq!(feed.publish(&[0; 1000], 1500), Err(ETIMEDOUT));
    assert_eq!(feed.subscriber().state, IPC_SUB_S_HOLDS);
    sub.expect_up_to(count, 0);
}

#[apply(isolated)]
fn lossy_only() {
    let feed = Feed::with(&ipc_feed_opts {
        lossy_only: 1,
        ..SMALL
    });
    let name = abstract_name();
    feed.listen(&name);
    for opts in [RELIABLE, OLDEST, from_seq(0)] {
        assert_eq!(feed.try_subscribe(&opts).unwrap_err(), EOPNOTSUPP);
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| connect(&name, &RELIABLE, LONG).map(drop));
        assert_eq!(feed.serve(thread), Err(EOPNOTSUPP));
    });
    assert_eq!(feed.count(), 0);
    let sub = feed.subscribe(&LOSSY);
    feed.publish_up_to(1000, 1000, 0);
    assert!(matches!(sub.recv(0), Ok(Received::Lost(_))));
}

#[apply(isolated)]
fn subscribers_max() {
    for (option, max) in [(1, 1), (3, 3), (0, 64)] {
        let feed = Feed::with(&ipc_feed_opts {
            subscribers_max: option,
            ..SMALL
        });
        let mut subs: Vec<Sub> = (0..max).map(|_| feed.subscribe(&LOSSY)).collect();
        let before = open_numbers();
        for opts in [LOSSY, RELIABLE] {
            assert_eq!(feed.try_subscribe(&opts).unwrap_err(), EUSERS);
        }
        assert_eq!((feed.count(), open_numbers()), (max, before));
        // A place that becomes free.
        subs.pop();
        feed.service_until_count(max - 1);
        subs.push(feed.subscribe(&RELIABLE));
        feed.publish_up_to(1, 8, 0);
        subs.iter().for_each(|sub| sub.expect_up_to(1, 0));
    }
}

/// A subscriber has held the publisher up, and has read everything since. Later it has the whole time
/// again.
#[apply(isolated)]
fn held_up_again() {
    const STALL: Duration = Duration::from_millis(200);
    let feed = stalling(STALL.as_millis() as i32);
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(1, 1000, 0);
    let longest = feed.max();
    assert_eq!(feed.publish(&vec![0; longest], 0), Err(EAGAIN));
    assert_eq!(feed.subscriber().state & IPC_SUB_S_HOLDS, IPC_SUB_S_HOLDS);
    sub.expect_up_to(1, 0);
    thread::sleep(STALL * 2);
    feed.publish_up_to(2, 1000, 0);
    assert_eq!(feed.subscriber().state & IPC_SUB_S_HOLDS, 0);
    let message = numbered(2, longest);
    thread::scope(|scope| {
        let (publisher, _) = spawn_sleeper(scope, || feed.publish(&message, LONG));
        sub.expect_up_to(2, 0);
        assert_eq!(publisher.join().unwrap(), DONE);
    });
    assert_eq!(feed.subscriber().state & IPC_SUB_S_STALLED, 0);
    sub.expect_up_to(3, 0);
}
