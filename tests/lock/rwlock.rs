//! ipc_rwlock.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, EINVAL, EPERM, c_int};
use std::time::{Duration, Instant};
use std::{ptr, thread};
use unixipc::ffi::rwlock::*;

#[apply(isolated)]
fn arguments() {
    let space = space();
    let misaligned = space.rwlock().wrapping_byte_add(8);
    for bad in [ptr::null_mut(), misaligned] {
        // SAFETY: the calls do not read through a bad pointer.
        let calls: [&dyn Fn() -> c_int; 6] = [
            &|| unsafe { ipc_rwlock_init(bad, 0) },
            &|| unsafe { ipc_rwlock_rdlock(bad, -1) },
            &|| unsafe { ipc_rwlock_rdunlock(bad) },
            &|| unsafe { ipc_rwlock_wrlock(bad, -1) },
            &|| unsafe { ipc_rwlock_wrunlock(bad) },
            &|| unsafe { ipc_rwlock_consistent(bad) },
        ];
        for call in calls {
            assert_eq!(outcome(|| call() as isize), Err(EINVAL));
        }
    }
    assert_eq!(space.rwlock_init(1), Err(EINVAL));
    for timeout in [-3, c_int::MIN] {
        assert_eq!(space.rdlock(timeout), Err(EINVAL));
        assert_eq!(space.wrlock(timeout), Err(EINVAL));
    }
    assert_eq!(space.wrlock(0), CLEAN);
}

fn all_calls(space: &Space) -> [Outcome; 5] {
    [
        space.rdlock(0),
        space.rdunlock(),
        space.wrlock(0),
        space.wrunlock(),
        space.rw_consistent(),
    ]
}

#[apply(isolated)]
fn not_a_lock() {
    let space = raw_space();
    let init = || space.rwlock_init(0);
    check_header(space.rwlock_words(), 3, init, || all_calls(space));
    assert_eq!(space.wrlock(0), CLEAN);
    assert_eq!(space.wrunlock(), CLEAN);
    assert_eq!(space.rdlock(0), CLEAN);
}

/// A lock works at each offset in a cache line, and the calls write nothing outside the lock.
#[apply(isolated)]
fn alignments() {
    const SIZE: usize = 64 + size_of::<ipc_rwlock>() + 64;
    #[repr(C, align(64))]
    struct Buffer([u8; SIZE]);
    for offset in (16..=64).step_by(16) {
        let mut buffer = Box::new(Buffer([0xa5; SIZE]));
        let lock = buffer.0[offset..].as_mut_ptr().cast::<ipc_rwlock>();
        // SAFETY: aligned memory of a lock's size, which only this thread uses.
        unsafe {
            assert_eq!(ipc_rwlock_init(lock, 0), 0);
            for _ in 0..READERS_MAX {
                assert_eq!(ipc_rwlock_rdlock(lock, 0), 0);
            }
            assert_eq!(ipc_rwlock_rdlock(lock, 0), -1);
            for _ in 0..READERS_MAX {
                assert_eq!(ipc_rwlock_rdunlock(lock), 0);
            }
            assert_eq!(ipc_rwlock_rdunlock(lock), -1);
            assert_eq!(ipc_rwlock_wrlock(lock, 0), 0);
            assert_eq!(ipc_rwlock_wrunlock(lock), 0);
        }
        let end = offset + size_of::<ipc_rwlock>();
        let outside = buffer.0[..offset].iter().chain(&buffer.0[end..]);
        assert!(
            outside.into_iter().all(|byte| *byte == 0xa5),
            "offset {offset}"
        );
    }
}

#[apply(isolated)]
fn readers_and_writers() {
    let space = space();
    let reader = space.holder(|space| space.rdlock(-1), Space::rdunlock);
    for timeout in [-1, 0, 10, INTR] {
        assert_eq!(space.rdlock(timeout), CLEAN);
        assert_eq!(space.rdunlock(), CLEAN);
    }
    assert_eq!(space.wrlock(0), Err(EAGAIN));
    let writer = fork(|| {
        assert_eq!(space.wrlock(LONG), CLEAN);
        space.arrive(0);
        space.wait_for(1, 1);
        assert_eq!(space.wrunlock(), CLEAN);
    });
    writer.wait_asleep();
    // A reader or writer that comes after a waiting writer waits for it.
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    assert_eq!(space.wrlock(0), Err(EAGAIN));
    assert_eq!(space.count(0), 0);
    space.release_holders();
    reader.join();
    space.wait_for(0, 1);
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    let next = fork(|| assert_eq!(space.rdlock(-1), CLEAN));
    next.wait_asleep();
    space.arrive(1);
    writer.join();
    next.join();
    assert_eq!(space.wrlock(LONG), CLEAN);
}

#[apply(isolated)]
fn deadlocks() {
    let space = space();
    for again in [-1, 0, 10, INTR] {
        assert_eq!(space.rdlock(-1), CLEAN);
        assert_eq!(space.wrlock(again), Err(EDEADLK));
        // The failed call leaves nothing behind: another process can read.
        fork(|| assert_eq!(space.rdlock(0), CLEAN)).join();
        assert_eq!(space.rdunlock(), CLEAN);
        assert_eq!(space.wrlock(-1), CLEAN);
        assert_eq!(space.wrlock(again), Err(EDEADLK));
        assert_eq!(space.rdlock(again), Err(EDEADLK));
        assert_eq!(space.wrunlock(), CLEAN);
    }
    // A reader can lock again as long as there are free slots.
    for _ in 0..READERS_MAX {
        assert_eq!(space.rdlock(0), CLEAN);
    }
    assert_eq!(space.rdlock(LONG), Err(EDEADLK));
    for _ in 0..READERS_MAX {
        assert_eq!(space.rdunlock(), CLEAN);
    }
    assert_eq!(space.rdunlock(), Err(EPERM));
    // A writer waits for this reader, so this reader must not wait for the writer.
    assert_eq!(space.rdlock(-1), CLEAN);
    let writer = fork(|| assert_eq!(space.wrlock(LONG), CLEAN));
    writer.wait_asleep();
    assert_eq!(space.rdlock(LONG), Err(EDEADLK));
    assert_eq!(space.wrlock(LONG), Err(EDEADLK));
    assert_eq!(space.rdunlock(), CLEAN);
    writer.join();
}

#[apply(isolated)]
fn wrong_thread() {
    let space = space();
    let not_held = move || {
        assert_eq!(space.rdunlock(), Err(EPERM));
        assert_eq!(space.wrunlock(), Err(EPERM));
        assert_eq!(space.rw_consistent(), Err(EPERM));
    };
    let others = || {
        thread::spawn(not_held).join().unwrap();
        fork(not_held).join();
    };
    not_held();
    assert_eq!(space.rdlock(-1), CLEAN);
    others();
    assert_eq!(space.wrunlock(), Err(EPERM));
    assert_eq!(space.rw_consistent(), Err(EPERM));
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(-1), CLEAN);
    others();
    assert_eq!(space.rdunlock(), Err(EPERM));
    assert_eq!(space.rw_consistent(), CLEAN); // no effect, and no error
    assert_eq!(space.wrunlock(), CLEAN);
    not_held();
}

/// The readers unlock only for a moment, too short for the writer to wake up: all share one
/// processor, which the writer gets only if no other thread wants it.
#[apply(isolated)]
fn writer_is_not_overtaken() {
    let space = space();
    stay_on_this_processor();
    let readers = [0, 1].map(|me| {
        fork(move || {
            while space.count(2) == 0 {
                assert_eq!(space.rdlock(-1), CLEAN);
                space.arrive(me);
                let end = Instant::now() + Duration::from_micros(500);
                while Instant::now() < end {}
                assert_eq!(space.rdunlock(), CLEAN);
            }
        })
    });
    space.wait_for(0, 3);
    let writer = fork(|| {
        run_only_when_idle();
        for _ in 0..5 {
            assert_eq!(space.wrlock(10_000), CLEAN);
            assert_eq!(space.wrunlock(), CLEAN);
        }
    });
    writer.join();
    space.arrive(2);
    readers.into_iter().for_each(Child::join);
}

#[apply(isolated)]
fn time_outs() {
    let space = space();
    let reader = space.holder(|space| space.rdlock(-1), Space::rdunlock);
    // The last one exceeds MAX_SLEEP.
    for timeout in [1, 50, 150] {
        check_timeout(timeout, |timeout| space.wrlock(timeout));
        // A writer whose wait has timed out does not hold up other threads.
        assert_eq!(space.rdlock(0), CLEAN);
        assert_eq!(space.rdunlock(), CLEAN);
    }
    space.release_holders();
    reader.join();
    assert_eq!(space.wrlock(0), CLEAN);
    let child = fork(|| {
        for call in [Space::rdlock, Space::wrlock] {
            assert_eq!(call(space, 0), Err(EAGAIN));
            check_timeout(50, |timeout| call(space, timeout));
        }
        count_signals(0);
        storm(500);
        check_timeout(150, |timeout| space.wrlock(timeout));
        space.arrive(0);
        assert_eq!(space.rdlock(-1), CLEAN);
        storm(0);
        assert_eq!(space.rdunlock(), CLEAN);
    });
    space.wait_for(0, 1);
    assert_eq!(space.wrunlock(), CLEAN);
    child.join();
}

#[apply(isolated)]
fn interrupted() {
    let space = space();
    assert_eq!(space.rdlock(-1), CLEAN);
    ends_with_signal(|| space.wrlock(INTR));
    fork(|| assert_eq!(space.rdlock(0), CLEAN)).join();
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(-1), CLEAN);
    ends_with_signal(|| space.rdlock(INTR));
    ends_with_signal(|| space.wrlock(INTR));
    assert_eq!(space.wrunlock(), CLEAN);
    let readers = space.fill_with_readers();
    ends_with_signal(|| space.rdlock(INTR));
    drop(readers);
    assert_eq!(space.rdlock(INTR), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(INTR), CLEAN);
}

/// A reader changes nothing, so its death is not reported.
#[apply(isolated)]
fn reader_killed() {
    let space = space();
    for _ in 0..3 {
        kill(space.holder(|space| space.rdlock(-1), Space::rdunlock));
        assert_eq!(space.rdlock(0), CLEAN);
        assert_eq!(space.rdunlock(), CLEAN);
        assert_eq!(space.wrlock(0), CLEAN);
        assert_eq!(space.wrunlock(), CLEAN);
    }
    // A reader is killed while a writer waits for it.
    let reader = space.holder(|space| space.rdlock(-1), Space::rdunlock);
    let writer = fork(|| {
        assert_eq!(space.wrlock(-1), CLEAN);
        assert_eq!(space.wrunlock(), CLEAN);
    });
    writer.wait_asleep();
    kill(reader);
    writer.join();
}

#[apply(isolated)]
fn writer_killed() {
    let space = space();
    let writer = space.holder(|space| space.wrlock(-1), Space::wrunlock);
    let waiters = [
        fork(|| assert_eq!(space.rdlock(-1), DIED)),
        fork(|| assert_eq!(space.rdlock(LONG), DIED)),
        fork(|| {
            assert_eq!(space.wrlock(INTR), DIED);
            assert_eq!(space.wrunlock(), CLEAN);
        }),
    ];
    waiters.iter().for_each(Child::wait_asleep);
    kill(writer);
    waiters.into_iter().for_each(Child::join);
    for _ in 0..3 {
        assert_eq!(space.rdlock(0), DIED);
        assert_eq!(space.rdlock(0), DIED);
        assert_eq!(space.rw_consistent(), Err(EPERM));
        assert_eq!(space.wrunlock(), Err(EPERM));
        assert_eq!(space.rdunlock(), CLEAN);
        assert_eq!(space.rdunlock(), CLEAN);
        assert_eq!(space.wrlock(0), DIED);
        assert_eq!(space.rdunlock(), Err(EPERM));
        assert_eq!(space.wrunlock(), CLEAN);
        kill(space.holder(|space| space.wrlock(-1), Space::wrunlock));
    }
    assert_eq!(space.wrlock(-1), DIED);
    assert_eq!(space.rw_consistent(), CLEAN);
    assert_eq!(space.wrunlock(), CLEAN);
    assert_eq!(space.rdlock(0), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(0), CLEAN);
    assert_eq!(space.wrunlock(), CLEAN);
}

/// The killed writer has the gate and some of the slots, and has changed no data.
#[apply(isolated)]
fn waiting_writer_killed() {
    let space = space();
    assert_eq!(space.rdlock(-1), CLEAN);
    let writer = fork(|| space.wrlock(-1).map(drop).unwrap());
    writer.wait_asleep();
    let reader = fork(|| assert_eq!(space.rdlock(LONG), CLEAN));
    reader.wait_asleep();
    kill(writer);
    reader.join();
    // The gate is open again: a thread that reads may lock again.
    assert_eq!(space.rdlock(0), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(0), CLEAN);
}

/// At least one of two readers always holds the lock: neither unlocks before the other has locked,
/// unless the other waits for a writer.
#[apply(isolated)]
fn writer_is_not_starved() {
    let space = space();
    let readers = [0, 1].map(|me| {
        fork(move || {
            while space.count(2) == 0 {
                assert_eq!(space.rdlock(-1), CLEAN);
                let mine = space.arrive(me);
                let deadline = Instant::now() + Duration::from_millis(50);
                while space.count(1 - me) < mine && Instant::now() < deadline && space.count(2) == 0
                {
                    thread::yield_now();
                }
                assert_eq!(space.rdunlock(), CLEAN);
            }
        })
    });
    space.wait_for(0, 10);
    for _ in 0..10 {
        assert_eq!(space.wrlock(5000), CLEAN);
        assert_eq!(space.wrunlock(), CLEAN);
    }
    space.arrive(2);
    readers.into_iter().for_each(Child::join);
}
