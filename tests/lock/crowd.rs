//! Several processes at one lock, killed and started again at random.
//!
//! What the lock guards is two words that belong together, and how often each process has added
//! to them: so whoever is told that an owner died can repair them.

use crate::support::*;
use libc::{EAGAIN, EINTR, ETIMEDOUT, c_int};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{array, thread};

const PROCESSES: usize = 6;
/// Words: two that belong together, which are the sum of those behind them; how often it was
/// repaired; how often each process was at work; how often each has read.
const PAIR: [usize; 2] = [0, 1];
const REPAIRS: usize = 2;
const STOP: usize = 3;
const OWN: usize = 10;
const READ: usize = 20;

fn own_sum(space: &Space) -> u64 {
    (0..PROCESSES)
        .map(|process| space.count(OWN + process))
        .sum()
}

/// What the holder finds: whole, or told not to be.
fn check(space: &Space, held: Outcome) {
    let [a, b] = PAIR.map(|word| space.count(word));
    if held == CLEAN {
        assert_eq!([a, b], [own_sum(space); 2], "torn, and nobody said so");
    }
}

/// Adds one, in steps between which it can be killed.
fn change(space: &Space, process: usize, held: Outcome, consistent: fn(&Space) -> Outcome) {
    check(space, held);
    if held == DIED {
        space.arrive(REPAIRS);
        for word in PAIR {
            space.words[word].store(own_sum(space), SeqCst);
        }
        assert_eq!(consistent(space), CLEAN);
    }
    space.words[OWN + process].fetch_add(1, SeqCst);
    for word in PAIR {
        thread::yield_now();
        space.words[word].fetch_add(1, SeqCst);
    }
}

/// A lock in each way of waiting; nothing where the time was over.
fn locked(round: u64, lock: impl Fn(c_int) -> Outcome) -> Option<Outcome> {
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

/// Kills and starts processes at random for a while. How often one was killed.
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
    let start_time = Instant::now();
    let least = Duration::from_millis(scaled(2000));
    // Longer where it has not happened yet that one died with the lock, and was noticed.
    let most = least + Duration::from_secs(30);
    let mut kills = 0;
    while start_time.elapsed() < least || (space.count(REPAIRS) < 3 && start_time.elapsed() < most)
    {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let process = random.below(PROCESSES as u64) as usize;
        processes[process].signal(libc::SIGKILL);
        let old = std::mem::replace(&mut processes[process], start(process));
        let status = old.reap();
        assert!(
            libc::WIFSIGNALED(status),
            "process {process} ended: {status:#x}"
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
        own_sum(space),
        (0..PROCESSES)
            .map(|process| space.count(READ + process))
            .sum::<u64>(),
        space.count(REPAIRS)
    );
    assert!(own_sum(space) > 100 && kills > 50);
    assert!(space.count(REPAIRS) >= 3, "nobody died with the lock");
}

/// Without any death: nobody is told of one, and nothing is torn or lost.
#[apply(isolated)]
fn nobody_dies() {
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
                    space.words[OWN + process].fetch_add(1, SeqCst);
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
    assert_eq!(space.count(PAIR[0]), own_sum(space));
}

#[apply(isolated)]
fn mutex() {
    let space = space();
    let kills = storm_of_kills(space, 11, |space, process| {
        if let Some(held) = locked(space.count(OWN + process), |timeout| space.lock(timeout)) {
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
        // Half of the processes write now and then.
        let reads = space.count(READ + process);
        if process < PROCESSES / 2 && reads % 4 == 0 {
            if let Some(held) = locked(reads / 4, |timeout| space.wrlock(timeout)) {
                change(space, process, held, Space::rw_consistent);
                assert_eq!(space.wrunlock(), CLEAN);
            }
        } else if let Some(held) = locked(reads, |timeout| space.rdlock(timeout)) {
            check(space, held);
            assert_eq!(space.rdunlock(), CLEAN);
        }
        space.arrive(READ + process);
    });
    let held = space.wrlock(LONG);
    check(space, held);
    report(space, kills);
}

/// A token goes round: each process waits for its turn, and passes it on. Who dies with it, or
/// before its turn, is replaced; the turn is never lost.
#[apply(isolated)]
fn cond() {
    const TURN: usize = 4;
    let space = space();
    let kills = storm_of_kills(space, 13, |space, process| {
        let mut held = space.lock(LONG);
        let repair = |held: Outcome| {
            if held == DIED {
                for word in PAIR {
                    space.words[word].store(own_sum(space), SeqCst);
                }
                space.arrive(REPAIRS);
                assert_eq!(space.consistent(), CLEAN);
                // In the place of the dead one.
                assert_eq!(space.signal(), CLEAN);
            }
        };
        repair(held);
        while space.count(TURN) as usize % PROCESSES != process && space.count(STOP) == 0 {
            held = space.wait(500);
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
