//! The reader-writer lock: readers and writers exclude each other, and no thread waits forever.

use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Errno, Result};
use crate::rw_protocol::{self, PENDING, Parts, STALLED_CHECKS_MAX};
use crate::{LockStatus, check};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::cell::Cell;

struct Lock {
    state: AtomicU32,
    slots_used: AtomicU32,
    progress: AtomicU32,
    gate: AtomicU32,
    slots: Vec<AtomicU32>,
    /// The lock of the kernel's futex queue.
    kernel: Mutex<()>,
    /// The kernel's futex queue.
    sleepers: Condvar,
    /// The guarded data. loom reports accesses that are not ordered.
    data: UnsafeCell<u32>,
}

impl Lock {
    fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU32::new(0),
            slots_used: AtomicU32::new(0),
            progress: AtomicU32::new(0),
            gate: AtomicU32::new(0),
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
            data: UnsafeCell::new(0),
        })
    }

    fn release(&self, word: &AtomicU32) {
        word.store(0, Ordering::Release);
        let _queue = self.kernel.lock().unwrap();
        self.sleepers.notify_all();
    }

    /// FUTEX_WAIT while a word is locked.
    fn sleep(&self, word: &AtomicU32) {
        let queue = self.kernel.lock().unwrap();
        if word.load(Ordering::Relaxed) != 0 {
            drop(self.sleepers.wait(queue).unwrap());
        }
    }
}

fn try_take(word: &AtomicU32) -> bool {
    let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
    word.compare_exchange(0, 1, success, failure).is_ok()
}

/// One thread's use of the lock.
struct Caller {
    lock: Arc<Lock>,
    slot: Cell<usize>,
    /// Whether the thread checks the gate repeatedly instead of sleeping.
    checks: bool,
}

impl Caller {
    fn new(lock: &Arc<Lock>) -> Self {
        Self {
            lock: lock.clone(),
            slot: Cell::new(0),
            checks: false,
        }
    }

    fn read(&self) -> u32 {
        assert_eq!(rw_protocol::read(self), Ok(LockStatus::Clean));
        // SAFETY: loom checks that no writer accesses the data.
        let value = self.lock.data.with(|data| unsafe { *data });
        self.release_slot(self.slot.get());
        value
    }

    fn write(&self) {
        assert_eq!(rw_protocol::write(self), Ok(LockStatus::Clean));
        // SAFETY: loom checks that no other thread accesses the data.
        self.lock.data.with_mut(|data| unsafe { *data += 1 });
        rw_protocol::unlock_writer(self);
    }
}

impl Parts for Caller {
    type Slot = usize;

    fn state(&self) -> &AtomicU32 {
        &self.lock.state
    }

    fn slots_used(&self) -> &AtomicU32 {
        &self.lock.slots_used
    }

    fn progress(&self) -> &AtomicU32 {
        &self.lock.progress
    }

    fn lock_gate(&self, mut after_sleep: impl FnMut() -> Result<()>) -> Result<()> {
        while !try_take(&self.lock.gate) {
            if self.checks {
                after_sleep()?;
                thread::yield_now();
            } else {
                self.lock.sleep(&self.lock.gate);
            }
        }
        Ok(())
    }

    fn unlock_gate(&self) {
        self.lock.release(&self.lock.gate);
    }

    fn take_slot(&self) -> Result<Option<usize>> {
        let slot = self.lock.slots.iter().position(try_take);
        self.slot.set(slot.unwrap_or(0));
        Ok(slot)
    }

    fn number_of(&self, slot: usize) -> u32 {
        slot as u32
    }

    fn release_slot(&self, slot: usize) {
        self.lock.release(&self.lock.slots[slot]);
    }

    fn is_slot_free(&self, number: u32) -> bool {
        self.lock.slots[number as usize].load(Ordering::Acquire) == 0
    }

    fn wait_for_slot(&self, number: u32) -> Result<()> {
        self.lock.sleep(&self.lock.slots[number as usize]);
        Ok(())
    }

    fn wait_for_any_slot(&self) -> Result<()> {
        self.wait_for_slot(0)
    }
}

/// Runs each function in a thread of its own, and the last one in this thread.
fn run(slots: usize, preemptions: usize, threads: &'static [fn(&Caller)]) {
    check(preemptions, move || {
        let lock = Lock::new(slots);
        let (last, others) = threads.split_last().unwrap();
        let others: Vec<_> = others
            .iter()
            .map(|run| {
                let lock = lock.clone();
                thread::spawn(move || run(&Caller::new(&lock)))
            })
            .collect();
        last(&Caller::new(&lock));
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn a_reader_and_a_writer() {
    run(
        1,
        4,
        &[
            |writer| writer.write(),
            |reader| {
                let first = reader.read();
                let second = reader.read();
                assert!(first <= second && second <= 1);
            },
        ],
    );
}

#[test]
fn two_readers_and_a_writer() {
    run(
        2,
        2,
        &[
            |reader| assert!(reader.read() <= 1),
            |reader| assert!(reader.read() <= 1),
            Caller::write,
        ],
    );
}

#[test]
fn two_writers_and_a_reader() {
    run(
        1,
        2,
        &[Caller::write, Caller::write, |reader| {
            assert!(reader.read() <= 2);
        }],
    );
}

#[test]
fn more_readers_than_slots() {
    run(
        1,
        2,
        &[
            |reader| assert!(reader.read() <= 1),
            |reader| assert!(reader.read() <= 1),
            Caller::write,
        ],
    );
}

/// A reader treats a writer that waits for a slot as stopped, and reads. The writer was only slow,
/// and continues.
#[test]
fn a_reader_overtakes_a_waiting_writer() {
    run(
        2,
        2,
        &[
            |reader| assert!(reader.read() <= 1),
            Caller::write,
            |reader| {
                let (acquire, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
                let opened = reader
                    .state()
                    .compare_exchange(PENDING, 0, acquire, relaxed);
                if opened.is_ok() {
                    assert!(reader.read() <= 1);
                }
            },
        ],
    );
}

/// A writer blocks readers and is stopped forever: readers continue after some checks.
#[test]
fn a_writer_stops_while_it_waits() {
    check(2, || {
        let lock = Lock::new(2);
        assert!(try_take(&lock.gate));
        lock.state.store(PENDING, Ordering::Relaxed);
        let other = {
            let mut reader = Caller::new(&lock);
            reader.checks = true;
            thread::spawn(move || reader.read())
        };
        let mut reader = Caller::new(&lock);
        reader.checks = true;
        reader.read();
        other.join().unwrap();
    });
}

/// A reader overtakes neither a writer that makes progress nor one that writes.
#[test]
fn no_reader_overtakes_an_active_writer() {
    check(2, || {
        let lock = Lock::new(1);
        let mut reader = Caller::new(&lock);
        reader.checks = true;
        assert!(try_take(&lock.gate));
        for state in [PENDING, rw_protocol::WRITING] {
            lock.state.store(state, Ordering::Relaxed);
            let mut checks = 0;
            let waited = reader.lock_gate(|| {
                checks += 1;
                lock.progress.fetch_add(1, Ordering::Relaxed);
                match checks > 2 * STALLED_CHECKS_MAX {
                    true => Err(Errno::ETIMEDOUT),
                    false => rw_protocol::check_as_reader(&reader, &mut Default::default()),
                }
            });
            assert_eq!(waited, Err(Errno::ETIMEDOUT));
        }
    });
}

/// loom finds a deliberate fault: a reader that does not check the state again.
#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_second_check_they_meet() {
    run(
        1,
        3,
        &[Caller::write, |reader| {
            if reader.state().load(Ordering::Relaxed) == 0 {
                let slot = reader.take_slot().unwrap().unwrap();
                reader.slots_used().fetch_max(1, Ordering::Relaxed);
                // SAFETY: loom reports that this is not safe.
                reader.lock.data.with(|data| unsafe { *data });
                reader.release_slot(slot);
            }
        }],
    );
}
