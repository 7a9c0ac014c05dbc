//! The readers of an ipc_rwlock, and their slots.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, ETIMEDOUT};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

#[apply(isolated)]
fn most_readers() {
    let space = space();
    let mut readers = space.fill_with_readers();
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    assert_eq!(space.rdlock(50), Err(ETIMEDOUT));
    // Those calls leave nothing behind: a slot that becomes free is available at once.
    kill(readers.pop().unwrap());
    assert_eq!(space.rdlock(0), CLEAN);
    fork(|| assert_eq!(space.rdlock(0), Err(EAGAIN))).join();
    assert_eq!(space.rdunlock(), CLEAN);
    for number in 0..readers.len() {
        space.arrive(10 + number);
    }
    readers.into_iter().for_each(Child::join);
    assert_eq!(space.wrlock(0), CLEAN);
}

/// Readers that find no free slot get the slot of any reader that unlocks; also two that wait.
#[apply(isolated)]
fn any_slot_will_do() {
    for last in [0, 7, READERS_MAX - 1] {
        let space = space();
        let readers = space.fill_with_readers();
        let waiters = [1, 2].map(|_| {
            fork(|| {
                assert_eq!(space.rdlock(LONG), CLEAN);
                assert_eq!(space.rdunlock(), CLEAN);
            })
        });
        waiters.iter().for_each(Child::wait_asleep);
        space.arrive(10 + last);
        waiters.into_iter().for_each(Child::join);
        for number in (0..READERS_MAX).filter(|number| *number != last) {
            space.arrive(10 + number);
        }
        readers.into_iter().for_each(Child::join);
    }
}

/// A thread that holds all other slots waits for another reader's slot.
#[apply(isolated)]
fn waits_for_another_reader() {
    let space = space();
    stay_on_this_processor();
    assert_eq!(space.rdlock(0), CLEAN);
    let other = space.holder(|space| space.rdlock(0), Space::rdunlock);
    for _ in 2..READERS_MAX {
        assert_eq!(space.rdlock(0), CLEAN);
    }
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    assert_eq!(space.rdlock(20), Err(ETIMEDOUT));
    let me = std::process::id() as libc::pid_t;
    let helper = fork(|| {
        wait_until("a sleeping parent", || is_asleep(me));
        space.release_holders();
    });
    assert_eq!(space.rdlock(LONG), CLEAN);
    helper.join();
    other.join();
    assert_eq!(space.rdlock(LONG), Err(EDEADLK));
    for _ in 0..READERS_MAX {
        assert_eq!(space.rdunlock(), CLEAN);
    }
    assert_eq!(space.wrlock(0), CLEAN);
}

/// The numbers of the cache lines that a reader on a processor changes.
fn lines_of_reader(space: &Space, cpu: usize) -> BTreeSet<usize> {
    stay_on(cpu);
    let values = || -> Vec<u32> {
        let words = space.rwlock_words().iter();
        words.map(|word| word.load(SeqCst)).collect()
    };
    let begin = space.rwlock().addr();
    let before = values();
    assert_eq!(space.rdlock(-1), CLEAN);
    let changed = before
        .iter()
        .zip(values())
        .enumerate()
        .filter(|(_, (old, new))| *old != new)
        .map(|(word, _)| (begin + 4 * word) / 64)
        .collect();
    assert_eq!(space.rdunlock(), CLEAN);
    changed
}

#[apply(isolated)]
fn readers_share_no_cache_line() {
    let cpus = processors();
    let space = space();
    // The same holds after a writer has died at the gate.
    assert_eq!(space.rdlock(0), CLEAN);
    let writer = fork(|| space.wrlock(-1).map(drop).unwrap());
    writer.wait_asleep();
    kill(writer);
    assert_eq!(space.rdlock(LONG), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    // The gate is open, so readers do not use it.
    assert_eq!(space.rwlock_words()[3].load(SeqCst), 0);
    let mut seen = BTreeSet::new();
    for cpu in cpus.into_iter().filter(|cpu| *cpu < READERS_MAX) {
        let lines = lines_of_reader(space, cpu);
        assert_eq!(lines.len(), 1, "processor {cpu}: {lines:?}");
        assert!(seen.is_disjoint(&lines), "processor {cpu}: {lines:?}");
        seen.extend(lines);
    }
}

/// A signal handler that runs while a waiting reader is awake does not end the call. So the reader
/// is seldom awake.
#[apply(isolated)]
fn waiting_reader_is_seldom_awake() {
    let space = space();
    let _readers = space.fill_with_readers();
    let reader = fork(|| assert_eq!(space.rdlock(INTR), CLEAN));
    reader.wait_asleep();
    let before = voluntary_switches(&reader);
    thread::sleep(Duration::from_millis(500));
    let sleeps = voluntary_switches(&reader) - before;
    assert!(sleeps < 20, "{sleeps}");
}
