//! Several processes at one lock, killed and restarted at random.
//!
//! The lock guards two words, and for each process the number of its increments. Both words equal
//! the sum of these numbers, so a process that learns of an owner's death can repair them.

use crate::support::*;
use libc::{EAGAIN, EINTR, ETIMEDOUT, c_int};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{array, thread};

const PROCESSES: usize = 6;
/// Indices of words: the guarded pair; the number of repairs; the flag that ends the test; and for
/// each process, the number of its changes and of its reads.
const PAIR: [usize; 2] = [0, 1];
const REPAIRS: usize = 2;
const STOP: usize = 3;
const CHANGES: usize = 10;
const READS: usize = 20;

fn sum_of_changes(space: &Space) -> u64 {
    (0..PROCESSES)
        .map(|process| space.count(CHANGES + process))
        .sum()
}

/// The pair is consistent, unless the lock call has reported a death.
fn check(space: &Space, held: Outcome) {
    let [a, b] = PAIR.map(|word| space.count(word));
    if held == CLEAN {
        assert_eq!(
            [a, b],
            [sum_of_changes(space); 2],
            "inconsistent data, and no death reported"
        );
    }
}

/// Increments the words one by one. The process may be killed between two steps.
fn change(space: &Space, process: usize, held: Outcome, consistent: fn(&Space) -> Outcome) {
    check(space, held);
    if held == DIED {
        space.arrive(REPAIRS);
        for word in PAIR {
            space.words[word].store(sum_of_changes(space), SeqCst);
        }
        assert_eq!(consistent(space), CLEAN);
    }
    space.words[CHANGES + process].fetch_add(1, SeqCst);
    for word in PAIR {
        thread::yield_now();
        space.words[word].fetch_add(1, SeqCst);
    }
}

/// Locks with a time-out that depends on the round. None if the call did not get the lock.
fn try_lock(round: u64, lock: impl Fn(c_int) -> Outcome) -> Option<Outcome> {
    let timeout = [-1, LONG, INTR, 1, 0][round as usize % 5];
    match lock(timeout) {
        Err(EAGAIN) if timeout == 0 => None,
        Err(ETIMEDOUT) if timeout == 1 => None,
        Err(EINTR) if timeout == INTR => None,
        locked => {
            assert!(matches!(locked, CLEAN | DIED), "{timeout}: {locked:?}");
            Some(locked)
        }
    }
}

/// Kills and restarts processes at random for a while. Returns the number of kills.
fn storm_of_kills(space: &'static Space, seed: u64, work: fn(&Space, usize)) -> u64 {
    let start = |process| {
        fork(move || {
            while space.count(STOP) == 0 {
                work(space, process);
            }
        })
    };
    let mut random = Random(seed);
    let mut processes: [Child; PROCESSES] = array::from_fn(start);
    let began = Instant::now();
    let time = Duration::from_millis(scaled(2000));
    let mut kills = 0;
    while goes_on(began, time, || {
        kills > 50 && sum_of_changes(space) > 100 && space.count(REPAIRS) >= 3
    }) {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let process = random.below(PROCESSES as u64) as usize;
        processes[process].signal(libc::SIGKILL);
        let old = std::mem::replace(&mut processes[process], start(process));
        let status = old.reap();
        assert!(
            libc::WIFSIGNALED(status),
            "process {process}: status {status:#x}"
        );
        kills += 1;
    }
    space.arrive(STOP);
    processes.into_iter().for_each(Child::join);
    kills
}

fn report(space: &Space, kills: u64) {
    println!(
        "{} changes, {} reads, {kills} kills, {} repairs",
        sum_of_changes(space),
        (0..PROCESSES)
            .map(|process| space.count(READS + process))
            .sum::<u64>(),
        space.count(REPAIRS)
    );
    assert!(sum_of_changes(space) > 0 && kills > 0);
    assert!(
        space.count(REPAIRS) > 0,
        "no process died while it held the lock"
    );
}

/// No process dies: no call reports a death, and no change is lost.
#[apply(isolated)]
fn without_deaths() {
    let space = space();
    let rounds = scaled(20_000);
    let start = |process: usize| {
        fork(move || {
            for round in 0..rounds {
                if round % 16 == process as u64 {
                    assert_eq!(space.wrlock(-1), CLEAN);
                    check(space, CLEAN);
                    for word in PAIR {
                        space.words[word].store(space.count(word) + 1, SeqCst);
                    }
                    space.words[CHANGES + process].fetch_add(1, SeqCst);
                    assert_eq!(space.wrunlock(), CLEAN);
                } else {
                    assert_eq!(space.rdlock(-1), CLEAN);
                    check(space, CLEAN);
                    assert_eq!(space.rdunlock(), CLEAN);
                }
            }
        })
    };
    let processes: [Child; PROCESSES] = array::from_fn(start);
    processes.into_iter().for_each(Child::join);
    assert_eq!(space.count(PAIR[0]), sum_of_changes(space));
}

#[apply(isolated)]
fn mutex() {
    let space = space();
    let kills = storm_of_kills(space, 11, |space, process| {
        if let Some(held) = try_lock(space.count(CHANGES + process), |timeout| {
            space.lock(timeout)
        }) {
            change(space, process, held, Space::consistent);
            assert_eq!(space.unlock(), CLEAN);
        }
    });
    let held = space.lock(LONG);
    check(space, held);
    report(space, kills);
}

#[apply(isolated)]
fn rwlock() {
    let space = space();
    let kills = storm_of_kills(space, 12, |space, process| {
        // Half of the processes also write.
        let reads = space.count(READS + process);
        if process < PROCESSES / 2 && reads % 4 == 0 {
            if let Some(held) = try_lock(reads / 4, |timeout| space.wrlock(timeout)) {
                change(space, process, held, Space::rw_consistent);
                assert_eq!(space.wrunlock(), CLEAN);
            }
        } else if let Some(held) = try_lock(reads, |timeout| space.rdlock(timeout)) {
            check(space, held);
            assert_eq!(space.rdunlock(), CLEAN);
        }
        space.arrive(READS + process);
    });
    let held = space.wrlock(LONG);
    check(space, held);
    report(space, kills);
}

/// Each process waits for its turn, and passes the turn on. A process that dies is replaced, so the
/// turn is never lost.
#[apply(isolated)]
fn cond() {
    const TURN: usize = 4;
    let space = space();
    let kills = storm_of_kills(space, 13, |space, process| {
        let mut held = space.lock(LONG);
        let repair = |held: Outcome| {
            if held == DIED {
                for word in PAIR {
                    space.words[word].store(sum_of_changes(space), SeqCst);
                }
                space.arrive(REPAIRS);
                assert_eq!(space.consistent(), CLEAN);
                // The dead owner may not have signalled.
                assert_eq!(space.signal(), CLEAN);
            }
        };
        repair(held);
        while space.count(TURN) as usize % PROCESSES != process && space.count(STOP) == 0 {
            // A signal may wake a process whose turn it is not.
            held = space.wait(20);
            assert!(matches!(held, CLEAN | DIED | Err(ETIMEDOUT)), "{held:?}");
            repair(held);
        }
        change(space, process, CLEAN, Space::consistent);
        space.words[TURN].fetch_add(1, SeqCst);
        assert_eq!(space.signal(), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    });
    let held = space.lock(LONG);
    check(space, held);
    report(space, kills);
}
