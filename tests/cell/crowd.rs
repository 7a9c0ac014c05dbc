//! Many readers and writers at full speed: no value is torn, versions only increase, and a killed
//! process blocks no other.

use crate::support::*;
use libc::{EAGAIN, ENODATA, c_uint};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The processes of a crowd share the cell, an end flag, and counters.
struct Shared(Memory);

impl Shared {
    fn new() -> Self {
        Self(Memory::new(4096))
    }

    fn end_flag(&self) -> &AtomicBool {
        // SAFETY: a byte of permanent memory; zero is false.
        unsafe { &*self.0.at.cast() }
    }

    fn count(&self, which: usize) -> &AtomicU64 {
        // SAFETY: aligned words of permanent memory.
        unsafe { &*self.0.at.add(64 * (1 + which)).cast() }
    }
}

const STORES: usize = 0;
const LOADS: usize = 1;
const GIVEN_UP: usize = 2;

/// Stores values of several lengths until the end. They are built first, so that the loop does
/// little else than storing.
fn write(memory: &Memory, shared: &Shared, seed: u64, flags: c_uint) {
    let cell = memory.open(flags).unwrap();
    let size = cell.size() as u64;
    let mut random = Random(seed);
    let values: Vec<Vec<u8>> = (0..8)
        .map(|i| {
            let len = if i % 4 == 0 {
                8 + random.below(size - 7)
            } else {
                size
            };
            let mut value = vec![0; len as usize];
            fill_value(&mut value, random.next_u64());
            value
        })
        .collect();
    for value in values.iter().cycle() {
        if shared.end_flag().load(Ordering::Relaxed) {
            break;
        }
        assert_eq!(cell.store(value, LONG), Ok(0));
        shared.count(STORES).fetch_add(1, Ordering::Relaxed);
    }
}

/// Loads until the end, and checks every value.
fn read(memory: &Memory, shared: &Shared) {
    let cell = memory.open(RDONLY).unwrap();
    let mut scratch = Vec::new();
    let (mut last_version, mut last_number) = (0, 0);
    while !shared.end_flag().load(Ordering::Relaxed) {
        match cell.load() {
            Ok((value, version)) => {
                let number = check_value(&value, &mut scratch);
                assert!(version >= last_version, "{version} after {last_version}");
                if version == last_version {
                    assert_eq!(number, last_number, "two values of one version");
                }
                (last_version, last_number) = (version, number);
                shared.count(LOADS).fetch_add(1, Ordering::Relaxed);
            }
            Err(ENODATA) => assert_eq!(last_version, 0),
            Err(EAGAIN) => {
                shared.count(GIVEN_UP).fetch_add(1, Ordering::Relaxed);
            }
            Err(errno) => panic!("errno {errno}"),
        }
    }
}

fn torn(size: usize, flags: c_uint, writers: u64, readers: u64) {
    let (memory, cell) = new_cell(size, flags & !SOLE);
    let shared = Shared::new();
    let mut children = Vec::new();
    for seed in 0..writers {
        children.push(fork(|| write(&memory, &shared, seed, flags & SOLE)));
    }
    for _ in 0..readers {
        children.push(fork(|| read(&memory, &shared)));
    }
    let (began, time) = (Instant::now(), Duration::from_millis(scaled(1500)));
    while goes_on(began, time, || {
        [STORES, LOADS].map(|which| shared.count(which).load(Ordering::Relaxed) > 20) == [true; 2]
    }) {
        thread::sleep(Duration::from_millis(1));
    }
    shared.end_flag().store(true, Ordering::Relaxed);
    children.into_iter().for_each(Child::join);
    let [stores, loads, given_up] =
        [STORES, LOADS, GIVEN_UP].map(|which| shared.count(which).load(Ordering::Relaxed));
    println!("{size} B: {stores} stores, {loads} loads, {given_up} given up");
    assert_eq!(cell.version(), stores, "every store counts once");
    assert!(stores > 0 && loads > 0);
    // If writers interrupt a reader often, it gives up; a few times on a machine that does little.
    assert!(
        given_up <= 5 + loads / 1000,
        "{given_up} of {loads} loads gave up"
    );
}

#[apply(isolated)]
fn torn_small() {
    torn(64, 0, 2, 2);
}

#[apply(isolated)]
fn torn_medium() {
    torn(4096, 0, 1, 2);
}

#[apply(isolated)]
fn torn_large() {
    torn(1 << 20, 0, 2, 1);
}

#[apply(isolated)]
fn torn_waitable() {
    torn(200, WAITABLE, 2, 2);
    torn(200, WAITABLE_RDONLY, 2, 2);
}

#[apply(isolated)]
fn torn_by_a_sole_writer() {
    torn(64, SOLE, 1, 2);
    torn(4096, SOLE, 1, 2);
}

/// Writers are killed at random and replaced; readers are not affected.
#[apply(isolated)]
fn killed_writers() {
    for (size, flags) in [
        (64, 0),
        (3000, WAITABLE),
        (64, WAITABLE_RDONLY),
        (100_000, 0),
    ] {
        let (memory, cell) = new_cell(size, flags);
        let shared = Shared::new();
        let readers: Vec<Child> = (0..2).map(|_| fork(|| read(&memory, &shared))).collect();
        let mut random = Random(size as u64);
        let mut writers: Vec<Child> = Vec::new();
        for round in 0..scaled(300) {
            if writers.len() == 3 {
                let victim = random.below(3) as usize;
                drop(writers.swap_remove(victim));
            }
            writers.push(fork(|| write(&memory, &shared, round, 0)));
            thread::sleep(Duration::from_micros(random.below(2000)));
        }
        // On a slow machine, each writer may have been killed before its first value.
        wait_until("a store and a load", || {
            [STORES, LOADS].map(|which| shared.count(which).load(Ordering::Relaxed) > 0)
                == [true; 2]
        });
        drop(writers);
        // The next writer is not blocked, and the cell is intact.
        let before = cell.version();
        assert_eq!(cell.store(&[0; 8], 0), Ok(0));
        assert_eq!(cell.load(), Ok((vec![0; 8], before + 1)));
        shared.end_flag().store(true, Ordering::Relaxed);
        readers.into_iter().for_each(Child::join);
        // A killed writer may have stored a value without counting it.
        assert!(before >= shared.count(STORES).load(Ordering::Relaxed));
        assert!(shared.count(LOADS).load(Ordering::Relaxed) > 0);
    }
}

/// Waiters and writers are killed at random and replaced. No waiter misses a value: each one
/// returns as long as there are stores.
#[apply(isolated)]
fn killed_waiters() {
    for flags in [WAITABLE, WAITABLE_RDONLY] {
        let (memory, _cell) = new_cell(64, flags);
        let shared = Shared::new();
        let store = |seed: u64| {
            fork(|| {
                let cell = memory.open(0).unwrap();
                let mut value = [0; 64];
                while !shared.end_flag().load(Ordering::Relaxed) {
                    fill_value(&mut value, seed);
                    assert_eq!(cell.store(&value, LONG), Ok(0));
                    shared.count(STORES).fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_micros(100));
                }
            })
        };
        let wait = || {
            fork(|| {
                let cell = memory.open(0).unwrap();
                let mut version = 0;
                while !shared.end_flag().load(Ordering::Relaxed) {
                    assert_eq!(cell.wait(version, 10_000), Ok(0));
                    let (_, next) = cell.load().unwrap();
                    assert!(next > version, "{next} after {version}");
                    version = next;
                    shared.count(LOADS).fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let mut random = Random(u64::from(flags));
        let mut writers: Vec<Child> = (0..4).map(store).collect();
        let mut waiters: Vec<Child> = (0..12).map(|_| wait()).collect();
        let (began, mut round) = (Instant::now(), 0);
        while round < scaled(600)
            || goes_on(began, Duration::ZERO, || {
                shared.count(LOADS).load(Ordering::Relaxed) > 1000
            })
        {
            round += 1;
            let which = random.below(16) as usize;
            if which < 4 {
                drop(std::mem::replace(&mut writers[which], store(round)));
            } else {
                drop(std::mem::replace(&mut waiters[which - 4], wait()));
            }
            thread::sleep(Duration::from_micros(random.below(2000)));
        }
        // The waiters end first, because each needs one more store.
        shared.end_flag().store(true, Ordering::Relaxed);
        let last = memory.open(0).unwrap();
        for waiter in waiters {
            wait_until("the end of a waiter", || {
                assert_eq!(last.store(&[1; 64], LONG), Ok(0));
                waiter.has_ended()
            });
            waiter.join();
        }
        writers.into_iter().for_each(Child::join);
        assert!(shared.count(LOADS).load(Ordering::Relaxed) > 0);
    }
}
