//! The cell, with two slots, which is the minimum, and values of two words.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Errno, Result};
use crate::lock::announce::Waiters;
use crate::protocol::{self, CellMemory, SlotHeader, Wake};
use crate::{SwitchPoint, check};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

const SLOTS: usize = 2;

struct Cell {
    published: AtomicU32,
    slots: [SlotHeader; SLOTS],
    values: [[AtomicU64; 2]; SLOTS],
    wake: Wake,
    waiters: Waiters,
    /// Whether a writer dies before its publication.
    dies: bool,
    switch_point: SwitchPoint,
    /// The lock of the kernel's futex queue.
    kernel: Mutex<()>,
    /// The kernel's futex queue.
    sleepers: Condvar,
}

impl CellMemory for Cell {
    type Slot = usize;

    fn published(&self) -> &AtomicU32 {
        self.switch_point.visit();
        &self.published
    }

    fn slot(&self, version: u32) -> usize {
        version as usize % SLOTS
    }

    fn header(&self, slot: usize) -> &SlotHeader {
        self.switch_point.visit();
        &self.slots[slot]
    }

    fn waiters(&self) -> &Waiters {
        self.switch_point.visit();
        &self.waiters
    }

    fn wake(&self) -> Wake {
        self.wake
    }

    /// The kernel's operation: it holds the queue's lock, with only the ordering of the weakest
    /// machine.
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
    /// Makes a cell without a value. loom requires a new one in each run.
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
            switch_point: SwitchPoint::new(),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
        }
    }

    /// Stores a value whose two words and length are `number`.
    fn store(&self, number: u64) -> Result<()> {
        protocol::store(self, number, |slot| {
            for word in &self.values[slot] {
                self.switch_point.visit();
                word.store(number, Ordering::Relaxed);
            }
            self.switch_point.visit();
        })
    }

    /// Loads the value, which must not be torn. Returns its number and its version.
    fn load(&self) -> Result<(u64, u64)> {
        let ([a, b, len], version) = protocol::load(self, |slot, len, version| {
            let [a, b] = &self.values[slot];
            let a = a.load(Ordering::Relaxed);
            self.switch_point.visit();
            let b = b.load(Ordering::Relaxed);
            self.switch_point.visit();
            Ok(([a, b, len], version))
        })?;
        assert!(a == b && a == len, "torn: {a} {b}, length {len}");
        Ok((a, version))
    }

    /// Loads while writers store values that equal their versions. Returns the version, 0 if there is
    /// no value yet, or `u64::MAX` if writers overtook each attempt.
    fn load_beside_writers(&self) -> u64 {
        match self.load() {
            Ok((number, version)) => {
                assert_eq!(number, version);
                version
            }
            Err(error) if error == Errno::ENODATA => 0,
            Err(error) if error == Errno::EAGAIN => u64::MAX,
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

/// A writer fills all slots while a reader loads twice.
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
fn reader_and_writer_that_checks_for_waiters() {
    reader_and_writer(Wake::Announced);
}

/// Two writers, which hold a lock in turn, and a reader.
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

/// A writer fills a slot and dies before it publishes. The next writer fills the same slot with
/// another value. A reader never sees the unpublished value or a torn value.
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

/// Waiters sleep, and a store wakes them. loom would report a run in which one sleeps forever.
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
fn no_wake_up_is_lost_by_the_kernel() {
    no_wake_up_is_lost(Wake::Always);
}

#[test]
fn no_wake_up_is_lost_of_announced_waiters() {
    no_wake_up_is_lost(Wake::Announced);
}

/// A thread waits for each version in turn, while a writer does not wait for it.
fn waits_for_each_version(wake: Wake) {
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
fn waits_for_each_version_woken_by_the_kernel() {
    waits_for_each_version(Wake::Always);
}

/// The store of the first version does not withdraw the announcement for the second.
#[test]
fn waits_for_each_version_announced() {
    waits_for_each_version(Wake::Announced);
}

/// A thread waits for the version after one that it has not loaded itself, while the writer fills all
/// slots.
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

/// loom finds a deliberate fault: a writer marks the slot as busy without a fence.
#[test]
#[should_panic(expected = "torn")]
fn without_a_fence_it_is_torn() {
    check(3, || {
        let cell = Arc::new(Cell::new(Wake::Never));
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || {
                let header = &cell.slots[1];
                header.version.store(u64::MAX, Ordering::Relaxed);
                for word in &cell.values[1] {
                    word.store(1, Ordering::Relaxed);
                }
                header.len.store(1, Ordering::Relaxed);
                header.version.store(1, Ordering::Release);
            })
        };
        cell.slots[1].version.store(3, Ordering::Relaxed);
        cell.published.store(3, Ordering::Relaxed);
        let _ = cell.load();
        writer.join().unwrap();
    });
}
