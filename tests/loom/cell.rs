//! The cell: a row of two slots, the fewest there can be, with values of two words.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Errno, Result};
use crate::lock::announce::Waiters;
use crate::protocol::{self, CellMemory, SlotHeader, Wake};
use crate::{Turn, check};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

const SLOTS: usize = 2;

struct Cell {
    published: AtomicU32,
    slots: [SlotHeader; SLOTS],
    values: [[AtomicU64; 2]; SLOTS],
    wake: Wake,
    waiters: Waiters,
    /// A writer dies where it would publish.
    dies: bool,
    turn: Turn,
    /// What is inside the kernel: a queue, and its lock.
    kernel: Mutex<()>,
    sleepers: Condvar,
}

impl CellMemory for Cell {
    type Slot = usize;

    fn published(&self) -> &AtomicU32 {
        self.turn.anybody();
        &self.published
    }

    fn slot(&self, version: u32) -> usize {
        version as usize % SLOTS
    }

    fn header(&self, slot: usize) -> &SlotHeader {
        self.turn.anybody();
        &self.slots[slot]
    }

    fn waiters(&self) -> &Waiters {
        self.turn.anybody();
        &self.waiters
    }

    fn wake(&self) -> Wake {
        self.wake
    }

    /// Like the kernel: under the queue's lock, and with as little order as any machine gives.
    fn increment_and_wake(&self) -> Result<u32> {
        if self.dies {
            return Err(Errno::EINTR);
        }
        let _queue = self.kernel.lock().unwrap();
        self.published.fetch_add(1, Ordering::Relaxed);
        self.sleepers.notify_all();
        Ok(0)
    }

    fn wake_all(&self) -> u32 {
        let _queue = self.kernel.lock().unwrap();
        self.sleepers.notify_all();
        0
    }
}

impl Cell {
    /// Without a value. Made in each run anew, as loom wants it.
    fn new(wake: Wake) -> Self {
        Self {
            published: AtomicU32::new(0),
            slots: [(); SLOTS].map(|()| SlotHeader {
                version: AtomicU64::new(0),
                len: AtomicU64::new(0),
            }),
            values: [(); SLOTS].map(|()| [(); 2].map(|()| AtomicU64::new(0))),
            wake,
            waiters: Waiters::new(),
            dies: false,
            turn: Turn::new(),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
        }
    }

    /// Stores a value of which both words and the length are `number`.
    fn store(&self, number: u64) -> Result<()> {
        protocol::store(self, number, |slot| {
            for word in &self.values[slot] {
                self.turn.anybody();
                word.store(number, Ordering::Relaxed);
            }
            self.turn.anybody();
        })
    }

    /// Loads the value, which must be whole; its number and its version.
    fn load(&self) -> Result<(u64, u64)> {
        let ([a, b, len], version) = protocol::load(self, |slot, len, version| {
            let [a, b] = &self.values[slot];
            let a = a.load(Ordering::Relaxed);
            self.turn.anybody();
            let b = b.load(Ordering::Relaxed);
            self.turn.anybody();
            Ok(([a, b, len], version))
        })?;
        assert!(a == b && a == len, "torn: {a} {b}, length {len}");
        Ok((a, version))
    }

    /// What a reader may get while others store values that are their versions.
    fn load_beside_writers(&self) -> u64 {
        match self.load() {
            Ok((number, version)) => {
                assert_eq!(number, version);
                version
            }
            Err(Errno::ENODATA) => 0,
            Err(Errno::EAGAIN) => u64::MAX,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn wait(&self, seen: u64) -> Result<()> {
        protocol::wait(self, seen, |published| {
            let queue = self.kernel.lock().unwrap();
            if self.published.load(Ordering::Relaxed) == published {
                drop(self.sleepers.wait(queue).unwrap());
            }
            Ok(())
        })
    }
}

/// A writer comes round the whole row while a reader loads twice.
fn reader_and_writer(wake: Wake) {
    check(2, move || {
        let cell = Arc::new(Cell::new(wake));
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || (1..=3).for_each(|number| cell.store(number).unwrap()))
        };
        let first = cell.load_beside_writers();
        let second = cell.load_beside_writers();
        assert!(
            first == u64::MAX || first <= second,
            "{second} after {first}"
        );
        writer.join().unwrap();
        assert_eq!(cell.load(), Ok((3, 3)));
    });
}

#[test]
fn reader_and_writer_published_by_a_store() {
    reader_and_writer(Wake::Never);
}

#[test]
fn reader_and_writer_published_by_the_kernel() {
    reader_and_writer(Wake::Always);
}

#[test]
fn reader_and_writer_that_looks_for_waiters() {
    reader_and_writer(Wake::Announced);
}

/// Two writers, under the lock that the cell has for them, and a reader.
#[test]
fn two_writers() {
    check(2, || {
        let cell = Arc::new(Cell::new(Wake::Never));
        let lock = Arc::new(Mutex::new(0));
        let writers = [(), ()].map(|()| {
            let (cell, lock) = (cell.clone(), lock.clone());
            thread::spawn(move || {
                let mut last = lock.lock().unwrap();
                *last += 1;
                cell.store(*last).unwrap();
            })
        });
        cell.load_beside_writers();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(cell.load(), Ok((2, 2)));
    });
}

/// A writer fills a slot and dies before it publishes; its successor fills the same slot with
/// something else. A reader sees neither's half, and nothing of the first.
#[test]
fn dead_writer() {
    check(3, || {
        let mut cell = Cell::new(Wake::Always);
        cell.store(1).unwrap();
        cell.dies = true;
        assert_eq!(cell.store(77), Err(Errno::EINTR));
        cell.dies = false;
        assert_eq!(cell.load(), Ok((1, 1)));
        let cell = Arc::new(cell);
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || (2..=3).for_each(|number| cell.store(number).unwrap()))
        };
        assert_ne!(cell.load_beside_writers(), 0);
        writer.join().unwrap();
        assert_eq!(cell.load(), Ok((3, 3)));
    });
}

/// Waiters sleep and are woken: loom finds the run in which one sleeps forever.
fn no_wake_up_is_lost(wake: Wake) {
    check(2, move || {
        let cell = Arc::new(Cell::new(wake));
        let waiters = [(), ()].map(|()| {
            let cell = cell.clone();
            thread::spawn(move || {
                cell.wait(0).unwrap();
                assert_ne!(
                    cell.load_beside_writers(),
                    0,
                    "woken before there was a value"
                );
            })
        });
        cell.store(1).unwrap();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_lost_that_the_kernel_gives() {
    no_wake_up_is_lost(Wake::Always);
}

#[test]
fn no_wake_up_is_lost_of_announced_waiters() {
    no_wake_up_is_lost(Wake::Announced);
}

/// One that waits for each version in turn, while a writer does not wait for it.
fn waits_again_and_again(wake: Wake) {
    check(3, move || {
        let cell = Arc::new(Cell::new(wake));
        let waiter = {
            let cell = cell.clone();
            thread::spawn(move || {
                let mut seen = 0;
                while seen < 2 {
                    cell.wait(seen).unwrap();
                    let next = cell.load_beside_writers();
                    assert!(next > seen);
                    seen = next;
                }
            })
        };
        cell.store(1).unwrap();
        cell.store(2).unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn waits_again_and_again_for_the_kernel() {
    waits_again_and_again(Wake::Always);
}

/// The announcement for the second version is not withdrawn by the store of the first.
#[test]
fn waits_again_and_again_announced() {
    waits_again_and_again(Wake::Announced);
}

/// One that has heard of a version from another thread, and waits for the one after it, while
/// the writer fills the row.
fn waits_beyond_what_it_has_not_seen(wake: Wake) {
    check(2, move || {
        let cell = Arc::new(Cell::new(wake));
        let waiter = {
            let cell = cell.clone();
            thread::spawn(move || cell.wait(1).unwrap())
        };
        (1..=3).for_each(|number| cell.store(number).unwrap());
        waiter.join().unwrap();
    });
}

#[test]
fn waits_beyond_what_it_has_not_seen_for_the_kernel() {
    waits_beyond_what_it_has_not_seen(Wake::Always);
}

#[test]
fn waits_beyond_what_it_has_not_seen_announced() {
    waits_beyond_what_it_has_not_seen(Wake::Announced);
}

/// That loom sees what has to be seen: a seqlock whose writer marks the slot without a fence.
#[test]
#[should_panic(expected = "torn")]
fn without_a_fence_it_is_torn() {
    check(3, || {
        let cell = Arc::new(Cell::new(Wake::Never));
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || {
                let slot = &cell.slots[1];
                slot.version.store(u64::MAX, Ordering::Relaxed);
                for word in &cell.values[1] {
                    word.store(1, Ordering::Relaxed);
                }
                slot.len.store(1, Ordering::Relaxed);
                slot.version.store(1, Ordering::Release);
            })
        };
        cell.slots[1].version.store(3, Ordering::Relaxed);
        cell.published.store(3, Ordering::Relaxed);
        let _ = cell.load();
        writer.join().unwrap();
    });
}
