//! ipc_event.

use crate::events::*;
use crate::support::*;
use common::filter::refuse_where;
use libc::{
    BPF_JSET, EAGAIN, EINVAL, ENOSYS, EPERM, EPROTO, ESTALE, ETIMEDOUT, SYS_futex, c_int, c_uint,
};
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use unixipc::ffi::event::*;
use unixipc::sys::futex::{self, Update};

const SET: c_uint = IPC_EVENT_F_SET;

/// Every call except `init`, on an event or on a pointer that is not one.
fn all_calls(event: *mut ipc_event) -> [Outcome; 4] {
    // SAFETY: an event, or a pointer through which the calls do not read.
    let calls: [&dyn Fn() -> c_int; 4] = [
        &|| unsafe { ipc_event_set(event) },
        &|| unsafe { ipc_event_clear(event) },
        &|| unsafe { ipc_event_wait(event, -1) },
        &|| unsafe { ipc_event_is_set(event) },
    ];
    calls.map(|call| outcome(|| call() as isize))
}

#[apply(isolated)]
fn arguments() {
    let events = events(0);
    let misaligned = events.at(0).wrapping_byte_add(8);
    for bad in [ptr::null_mut(), misaligned] {
        // SAFETY: the call does not read through a bad pointer.
        let made = outcome(|| unsafe { ipc_event_init(bad, 0) } as isize);
        assert_eq!(made, Err(EINVAL));
        assert_eq!(all_calls(bad), [Err(EINVAL); 4]);
    }
    for flags in [4, 8, AUTO | 4, 1 << 31, c_uint::MAX] {
        assert_eq!(events.init(flags), Err(EINVAL), "{flags:#x}");
    }
    for timeout in [-3, c_int::MIN] {
        assert_eq!(events.wait(timeout), Err(EINVAL));
    }

    let mut random = Random(4);
    for _ in 0..100 {
        scribble(events.event_words(), &mut random);
        assert_eq!(all_calls(events.at(0)), [Err(EPROTO); 4]);
    }
    assert_eq!(events.init(0), CLEAN);
    events.event_words()[1].fetch_add(1, SeqCst);
    assert_eq!(all_calls(events.at(0)), [Err(ESTALE); 4]);
    events.event_words()[0].store(0, SeqCst);
    assert_eq!(all_calls(events.at(0)), [Err(EPROTO); 4]);
}

/// `init` makes an event from memory of any content.
#[apply(isolated)]
fn any_contents() {
    let events = events(0);
    let mut random = Random(5);
    for round in 0..100 {
        scribble(events.event_words(), &mut random);
        let flags = round % 4;
        assert_eq!(events.init(flags), CLEAN);
        assert!(!events.is_announced());
        let set = flags & SET != 0;
        assert_eq!(events.is_set(), if set { IS_SET } else { IS_CLEAR });
        assert_eq!(events.wait(0), if set { CLEAN } else { Err(EAGAIN) });
        let stays_set = set && flags & AUTO == 0;
        assert_eq!(events.is_set(), if stays_set { IS_SET } else { IS_CLEAR });
    }
}

#[apply(isolated)]
fn manual_reset() {
    let events = events(0);
    for timeout in [-1, 0, 50, INTR] {
        events.clear();
        assert_eq!(events.is_set(), IS_CLEAR);
        assert_eq!(events.wait(0), Err(EAGAIN));
        events.set(0);
        events.set(0);
        for _ in 0..3 {
            assert_eq!(events.is_set(), IS_SET);
            assert_eq!(events.wait(timeout), CLEAN);
        }
        events.clear();
        events.clear();
        assert_eq!(events.wait(0), Err(EAGAIN));
    }
}

#[apply(isolated)]
fn automatic_reset() {
    let events = events(AUTO);
    for timeout in [-1, 0, 50, INTR] {
        assert_eq!(events.wait(0), Err(EAGAIN));
        // Two sets release one wait.
        events.set(0);
        events.set(0);
        assert_eq!(events.is_set(), IS_SET);
        assert_eq!(events.wait(timeout), CLEAN);
        assert_eq!(events.is_set(), IS_CLEAR);
        assert_eq!(events.wait(0), Err(EAGAIN));
        events.set(0);
        events.clear();
        assert_eq!(events.wait(0), Err(EAGAIN));
    }
}

/// The state and the count of waiters wrap around.
#[apply(isolated)]
fn wrap_around() {
    for flags in [0, AUTO] {
        let events = events(flags);
        events.event_words()[STATE].store(u32::MAX - 3, SeqCst);
        events.event_words()[WAITERS].store(u32::MAX - 3, SeqCst);
        for _ in 0..6 {
            assert_eq!(events.wait(2), Err(ETIMEDOUT));
            assert!(events.is_announced());
            events.set(0);
            assert!(!events.is_announced());
            assert_eq!(events.wait(-1), CLEAN);
            events.clear();
        }
    }
}

#[apply(isolated)]
fn time_outs() {
    for flags in [0, AUTO] {
        let events = events(flags);
        for timeout in [1, 50, 150] {
            check_timeout(timeout, |timeout| events.wait(timeout));
        }
        count_signals(0);
        storm(500);
        check_timeout(150, |timeout| events.wait(timeout));
        storm(0);
    }
}

#[apply(isolated)]
fn interrupted() {
    for flags in [0, AUTO] {
        let events = events(flags);
        ends_with_signal(|| events.wait(INTR));
    }
}

/// A set releases all waiters, even if the event is clear again when they run.
#[apply(isolated)]
fn manual_releases_all() {
    let events = events(0);
    for (round, clear) in [false, true].into_iter().enumerate() {
        let timeouts = [-1, INTR, LONG];
        let waiters: Vec<Child> = (0..12).map(|i| events.waiter(timeouts[i % 3])).collect();
        waiters.iter().for_each(Child::stop);
        events.set(0);
        if clear {
            events.clear();
        }
        for waiter in waiters {
            waiter.signal(libc::SIGCONT);
            waiter.join();
        }
        assert_eq!(events.count(0), 12 * (round as u64 + 1));
        events.clear();
    }
}

/// Each set releases one waiter.
#[apply(isolated)]
fn automatic_releases_one() {
    let events = events(AUTO);
    let waiters: Vec<Child> = (0..6).map(|_| events.waiter(LONG)).collect();
    for released in 1..=6 {
        events.set(0);
        events.wait_for(0, released);
        assert_eq!(events.is_set(), IS_CLEAR);
    }
    waiters.into_iter().for_each(Child::join);
    assert_eq!(events.count(0), 6);
    assert_eq!(events.wait(0), Err(EAGAIN));
}

/// No call makes a system call if no thread waits. After a wait has timed out, the next set makes
/// one, and then the calls make none again.
#[apply(isolated)]
fn cost() {
    for flags in [0, AUTO] {
        let events = events(flags);
        for waited in [false, true] {
            if waited {
                assert_eq!(events.wait(2), Err(ETIMEDOUT));
                assert!(events.is_announced());
                events.set(0);
                events.clear();
            }
            assert!(!events.is_announced());
            let event = events.at(0);
            check_no_system_call(|| {
                [-1, 0, 1000, INTR].into_iter().all(|timeout| {
                    // SAFETY: one of the events.
                    let set = unsafe { ipc_event_set(event) };
                    // SAFETY: as above.
                    let is_set = unsafe { ipc_event_is_set(event) };
                    // SAFETY: as above.
                    let waited = unsafe { ipc_event_wait(event, timeout) };
                    // SAFETY: as above.
                    let cleared = unsafe { ipc_event_clear(event) };
                    [set, is_set, waited, cleared] == [0, 1, 0, 0]
                })
            });
        }
    }
}

/// A killed waiter leaves its announcement behind; the next set withdraws it.
#[apply(isolated)]
fn killed_waiter() {
    for flags in [0, AUTO] {
        let events = events(flags);
        kill(events.waiter(-1));
        assert!(events.is_announced());
        events.set(0);
        assert!(!events.is_announced());
        assert_eq!(events.wait(0), CLEAN);
    }
}

/// An event depends on the futex operation that updates a word and wakes waiters: it wakes the
/// requested number of threads, also if the old value is 0.
#[apply(isolated)]
fn wakes_the_requested_number() {
    let events = events(0);
    let word = &events.event_words()[STATE];
    for (update, first) in [
        (Update::SetLowestBit, 0),
        (Update::Increment, 0),
        (Update::Increment, 7),
    ] {
        word.store(first, SeqCst);
        let sleepers: Vec<Child> = (0..4)
            .map(|_| {
                let sleeper = fork(|| {
                    futex::wait(word, first, None).unwrap();
                });
                sleeper.wait_asleep();
                sleeper
            })
            .collect();
        assert_eq!(futex::update_and_wake(word, update, 1), Ok(1));
        assert_eq!(word.load(SeqCst), first + 1);
        assert_eq!(futex::update_and_wake(word, update, 2), Ok(2));
        assert_eq!(futex::wake(word, c_int::MAX), 1);
        sleepers.into_iter().for_each(Child::join);
    }
}

/// A waiter that is killed after its wake-up has consumed nothing: another waiter consumes the
/// event.
#[apply(isolated)]
fn killed_after_its_wake_up() {
    stay_on_this_processor();
    for _ in 0..scaled(20) {
        let events = events(AUTO);
        let victim = fork(|| {
            run_only_when_idle();
            let _ = events.wait(-1);
        });
        victim.wait_asleep();
        let other = events.waiter(-1);
        events.set(0);
        // The set wakes the victim, which does not run before this process sleeps.
        victim.signal(libc::SIGKILL);
        victim.reap();
        wait_until("the event to be consumed", || events.is_set() == IS_CLEAR);
        if !other.has_ended() {
            // The victim may have consumed it.
            events.set(0);
        }
        wait_until("the release of the other waiter", || other.has_ended());
        other.join();
    }
}

/// A thread is killed after it has set the event and before it wakes a waiter: the waiter checks
/// the event itself.
#[apply(isolated)]
fn setter_killed_before_the_wake_up() {
    for flags in [0, AUTO] {
        let events = events(flags);
        let waiter = events.waiter(-1);
        events.event_words()[STATE].fetch_or(1, SeqCst);
        waiter.join();
    }
}

/// A lost announcement only delays a waiter.
#[apply(isolated)]
fn lost_announcement() {
    for flags in [0, AUTO] {
        let events = events(flags);
        for timeout in [-1, LONG, INTR] {
            let waiter = events.waiter(timeout);
            events.event_words()[WAITERS].store(0, SeqCst);
            events.set(0);
            waiter.join();
            events.clear();
        }
    }
}

/// A filter refuses the futex operation that updates and wakes: the library makes two calls
/// instead.
#[apply(isolated)]
fn refused_wake_up() {
    for flags in [0, AUTO] {
        for error in [ENOSYS, EPERM] {
            let events = events(flags);
            let waiter = events.waiter(-1);
            fork(|| {
                // FUTEX_WAKE_OP has the third bit; FUTEX_WAIT and FUTEX_WAKE do not.
                refuse_where(SYS_futex, 1, BPF_JSET, 4, error);
                events.set(0);
            })
            .join();
            waiter.join();
        }
    }
}

/// Two processes take turns. A lost wake-up would delay a round by 100 ms.
#[apply(isolated)]
fn no_wake_up_is_lost() {
    let events = events(AUTO);
    let rounds = scaled(20_000);
    let child = fork(|| {
        for round in 1..=rounds {
            assert_eq!(events.wait_at(0, LONG), CLEAN);
            assert_eq!(events.words[1].swap(0, SeqCst), round);
            events.set(1);
        }
    });
    let mut slow = 0;
    for round in 1..=rounds {
        events.words[1].store(round, Relaxed);
        let took = timed(|| {
            events.set(0);
            assert_eq!(events.wait_at(1, LONG), CLEAN);
        })
        .1;
        assert_eq!(events.count(1), 0);
        slow += u64::from(took >= Duration::from_millis(100));
    }
    child.join();
    // Some rounds are slow on a busy machine.
    assert!(slow < rounds.div_ceil(20), "{slow} of {rounds}");
}
