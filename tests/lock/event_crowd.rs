//! Many processes at an event, killed and replaced at random.

use crate::events::*;
use crate::support::*;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

const PROCESSES: usize = 24;
const STOP: usize = 3;
const RELEASED: usize = 4;
const LONGEST: usize = 6;

/// Half of the processes set the event, and half wait for it. All are killed, stopped and replaced
/// at random. While there are sets, no waiter may wait for long.
fn storm_of_kills(events: &'static Events, seed: u64, work: fn(&Events, bool)) {
    let start = |process: usize| {
        fork(move || {
            while events.count(STOP) == 0 {
                work(events, process % 2 == 0);
            }
        })
    };
    let mut random = Random(seed);
    let mut processes: Vec<Child> = (0..PROCESSES).map(start).collect();
    let began = Instant::now();
    let time = Duration::from_millis(scaled(2000));
    let mut kills = 0;
    while goes_on(began, time, || kills > 50 && events.count(RELEASED) > 1000) {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let process = random.below(PROCESSES as u64) as usize;
        if random.below(4) == 0 {
            processes[process].signal(libc::SIGSTOP);
            thread::sleep(Duration::from_micros(random.below(3000)));
            processes[process].signal(libc::SIGCONT);
            continue;
        }
        let old = std::mem::replace(&mut processes[process], start(process));
        old.signal(libc::SIGKILL);
        let status = old.reap();
        assert!(
            libc::WIFSIGNALED(status),
            "process {process} ended: {status:#x}"
        );
        kills += 1;
    }
    finish(events, processes);
    let released = events.count(RELEASED);
    let longest = events.count(LONGEST);
    println!("{released} waits, {kills} kills, the longest wait took {longest} ms");
    assert!(released > 0 && kills > 0);
}

/// Ends the processes of a crowd. Returns the number of sets that this took.
fn finish(events: &Events, processes: Vec<Child>) -> u64 {
    events.arrive(STOP);
    let mut sets = 0;
    for process in processes {
        wait_until("the end of a process", || {
            events.set(0);
            sets += 1;
            process.has_ended()
        });
        process.join();
    }
    sets
}

fn timed_wait(events: &Events) {
    let (waited, took) = timed_ms(|| events.wait(10_000));
    assert_eq!(waited, CLEAN);
    events.words[LONGEST].fetch_max(took as u64, SeqCst);
    events.arrive(RELEASED);
}

#[apply(isolated)]
fn automatic_reset() {
    storm_of_kills(events(AUTO), 21, |events, sets| {
        if sets {
            events.set(0);
            thread::sleep(Duration::from_micros(50));
        } else {
            timed_wait(events);
        }
    });
}

#[apply(isolated)]
fn manual_reset() {
    storm_of_kills(events(0), 22, |events, sets| {
        if sets {
            events.set(0);
            thread::sleep(Duration::from_micros(50));
        } else {
            events.clear();
            timed_wait(events);
        }
    });
}

/// Consumers are killed at random. Each set is consumed once.
#[apply(isolated)]
fn each_set_is_consumed_once() {
    const BEGUN: usize = 5;
    let events = events(AUTO);
    let start = || {
        fork(|| {
            while events.count(STOP) == 0 {
                assert!(matches!(events.wait(LONG), CLEAN));
                events.arrive(RELEASED);
            }
        })
    };
    let mut random = Random(23);
    let mut consumers: Vec<Child> = (0..PROCESSES).map(|_| start()).collect();
    let (mut kills, mut longest) = (0, Duration::ZERO);
    let sets = scaled(1500);
    for _ in 0..sets {
        events.arrive(BEGUN);
        events.set(0);
        let began = Instant::now();
        if random.below(2) == 0 {
            // The victim may have been woken, and may not have consumed the event yet.
            let victim = random.below(PROCESSES as u64) as usize;
            kill(std::mem::replace(&mut consumers[victim], start()));
            kills += 1;
        }
        while events.is_set() == IS_SET {
            assert!(began.elapsed() < child_limit() / 4, "a set is lost");
            thread::yield_now();
        }
        longest = longest.max(began.elapsed());
    }
    let extra = finish(events, consumers);
    let released = events.count(RELEASED);
    println!("{sets} sets, {released} waits, {kills} kills, {longest:?} until consumed at most");
    // A consumer may be killed between its wait and its count.
    let all = events.count(BEGUN) + extra;
    assert!(released <= all && released + kills >= events.count(BEGUN));
}
