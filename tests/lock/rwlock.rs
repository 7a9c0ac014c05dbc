//! ipc_rwlock.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, EINVAL, EPERM, EPROTO, ESTALE, ETIMEDOUT, c_int, cpu_set_t};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{fs, mem, ptr, thread};
use unixipc::ffi::rwlock::*;

#[apply(isolated)]
fn arguments() {
    let space = space();
    let askew = space.rwlock().wrapping_byte_add(8);
    for bad in [ptr::null_mut(), askew] {
        // SAFETY: the calls look at no bad pointer.
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
    assert_eq!(all_calls(space), [Err(EPROTO); 5]);
    let mut random = Random(3);
    for _ in 0..100 {
        scribble(space.rwlock_words(), &mut random);
        assert_eq!(all_calls(space), [Err(EPROTO); 5]);
    }
    // Whatever was there is gone.
    assert_eq!(space.rwlock_init(0), CLEAN);
    let layout = &space.rwlock_words()[1];
    for bit in [0, 15, 16, 23, 24, 31] {
        layout.fetch_xor(1 << bit, SeqCst);
        assert_eq!(all_calls(space), [Err(ESTALE); 5], "bit {bit}");
        layout.fetch_xor(1 << bit, SeqCst);
    }
    assert_eq!(space.wrlock(0), CLEAN);
    assert_eq!(space.wrunlock(), CLEAN);
    assert_eq!(space.rdlock(0), CLEAN);
}

/// At each place within a cache line, and nothing outside is written.
#[apply(isolated)]
fn alignments() {
    #[repr(C, align(64))]
    struct Room([u8; 64 + size_of::<ipc_rwlock>() + 64]);
    for place in (16..=64).step_by(16) {
        let mut room = Box::new(Room([0xa5; _]));
        let lock = room.0[place..].as_mut_ptr().cast::<ipc_rwlock>();
        // SAFETY: room for a lock, which only this thread uses.
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
        let end = place + size_of::<ipc_rwlock>();
        let outside = room.0[..place].iter().chain(&room.0[end..]);
        assert!(outside.into_iter().all(|byte| *byte == 0xa5), "{place}");
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
    // Who comes after a writer waits for it.
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    assert_eq!(space.wrlock(0), Err(EAGAIN));
    assert_eq!(space.count(0), 0);
    space.let_go();
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
        // Nothing of it is left: another one can read.
        fork(|| assert_eq!(space.rdlock(0), CLEAN)).join();
        assert_eq!(space.rdunlock(), CLEAN);
        assert_eq!(space.wrlock(-1), CLEAN);
        assert_eq!(space.wrlock(again), Err(EDEADLK));
        assert_eq!(space.rdlock(again), Err(EDEADLK));
        assert_eq!(space.wrunlock(), CLEAN);
    }
    // A reader reads again, as often as there is room.
    for _ in 0..READERS_MAX {
        assert_eq!(space.rdlock(0), CLEAN);
    }
    assert_eq!(space.rdlock(LONG), Err(EDEADLK));
    for _ in 0..READERS_MAX {
        assert_eq!(space.rdunlock(), CLEAN);
    }
    assert_eq!(space.rdunlock(), Err(EPERM));
    // A writer waits for this reader, which must not wait for it.
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
    let nothing = move || {
        assert_eq!(space.rdunlock(), Err(EPERM));
        assert_eq!(space.wrunlock(), Err(EPERM));
        assert_eq!(space.rw_consistent(), Err(EPERM));
    };
    let others = || {
        thread::spawn(nothing).join().unwrap();
        fork(nothing).join();
    };
    nothing();
    assert_eq!(space.rdlock(-1), CLEAN);
    others();
    assert_eq!(space.wrunlock(), Err(EPERM));
    assert_eq!(space.rw_consistent(), Err(EPERM));
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(-1), CLEAN);
    others();
    assert_eq!(space.rdunlock(), Err(EPERM));
    assert_eq!(space.rw_consistent(), CLEAN); // nothing to say, and no error
    assert_eq!(space.wrunlock(), CLEAN);
    nothing();
}

/// All slots are taken by readers that the caller ends.
fn crowd_of_readers(space: &'static Space) -> Vec<Child> {
    (0..READERS_MAX as u64)
        .map(|number| {
            let child = fork(|| {
                assert_eq!(space.rdlock(0), CLEAN);
                space.arrive(0);
                space.wait_for(10 + number as usize, 1);
                assert_eq!(space.rdunlock(), CLEAN);
            });
            space.wait_for(0, number + 1);
            child
        })
        .collect()
}

#[apply(isolated)]
fn most_readers() {
    let space = space();
    let mut readers = crowd_of_readers(space);
    assert_eq!(space.rdlock(0), Err(EAGAIN));
    assert_eq!(space.rdlock(50), Err(ETIMEDOUT));
    // Nothing of that is left: there is room as soon as there is.
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

/// One reader too many gets the slot of any reader that unlocks; also two that wait.
#[apply(isolated)]
fn any_slot_will_do() {
    for last in [0, 7, READERS_MAX - 1] {
        let space = space();
        let readers = crowd_of_readers(space);
        let late = [1, 2].map(|_| {
            fork(|| {
                assert_eq!(space.rdlock(LONG), CLEAN);
                assert_eq!(space.rdunlock(), CLEAN);
            })
        });
        late.iter().for_each(Child::wait_asleep);
        space.arrive(10 + last);
        late.into_iter().for_each(Child::join);
        for number in (0..READERS_MAX).filter(|number| *number != last) {
            space.arrive(10 + number);
        }
        readers.into_iter().for_each(Child::join);
    }
}

/// One that reads already waits for another reader, whichever places are its own.
#[apply(isolated)]
fn waits_for_another_reader() {
    let space = space();
    // SAFETY: takes nothing.
    stay_on(unsafe { libc::sched_getcpu() } as usize);
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
        space.let_go();
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

/// Keeps this process on a processor.
/// The numbers of the cache lines that a reader on a processor changes.
fn lines_of_reader(space: &Space, cpu: usize) -> BTreeSet<usize> {
    stay_on(cpu);
    let words = || -> Vec<u32> {
        let words = space.rwlock_words().iter();
        words.map(|word| word.load(SeqCst)).collect()
    };
    let begin = space.rwlock().addr();
    let before = words();
    assert_eq!(space.rdlock(-1), CLEAN);
    let changed = before
        .iter()
        .zip(words())
        .enumerate()
        .filter(|(_, (old, new))| *old != new)
        .map(|(word, _)| (begin + 4 * word) / 64)
        .collect();
    assert_eq!(space.rdunlock(), CLEAN);
    changed
}

#[apply(isolated)]
fn readers_share_no_line() {
    // SAFETY: all zero bytes are a set.
    let mut set: cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: a set of ours, and its size.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(done, 0);
    let space = space();
    // Not after a writer that died at the gate either, from the first reader on.
    assert_eq!(space.rdlock(0), CLEAN);
    let writer = fork(|| space.wrlock(-1).map(drop).unwrap());
    writer.wait_asleep();
    kill(writer);
    assert_eq!(space.rdlock(LONG), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    // Nor through the gate: it is open.
    assert_eq!(space.rwlock_words()[3].load(SeqCst), 0);
    let mut seen = BTreeSet::new();
    // SAFETY: a set of ours.
    let cpus = (0..READERS_MAX).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) });
    for cpu in cpus {
        let lines = lines_of_reader(space, cpu);
        assert_eq!(lines.len(), 1, "processor {cpu}: {lines:?}");
        assert!(seen.is_disjoint(&lines), "processor {cpu}: {lines:?}");
        seen.extend(lines);
    }
}

/// Readers that are away for a moment only, too short for the writer to wake up: all have one
/// processor, and the writer gets it when no other thread wants it.
#[apply(isolated)]
fn writer_is_not_overtaken() {
    let space = space();
    // SAFETY: takes nothing.
    stay_on(unsafe { libc::sched_getcpu() } as usize);
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
        let param = libc::sched_param { sched_priority: 0 };
        // SAFETY: a structure of ours.
        let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) };
        assert_eq!(done, 0);
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
    for timeout in [1, 50, 250] {
        let (tried, took) = timed_ms(|| space.wrlock(timeout));
        assert_eq!(tried, Err(ETIMEDOUT));
        let expected = timeout as u128..timeout as u128 + 5000;
        assert!(expected.contains(&took), "{took} ms");
        // A writer whose wait has ended keeps no thread out.
        assert_eq!(space.rdlock(0), CLEAN);
        assert_eq!(space.rdunlock(), CLEAN);
    }
    space.let_go();
    reader.join();
    assert_eq!(space.wrlock(0), CLEAN);
    let child = fork(|| {
        for call in [Space::rdlock, Space::wrlock] {
            assert_eq!(call(space, 0), Err(EAGAIN));
            let (tried, took) = timed_ms(|| call(space, 50));
            assert_eq!(tried, Err(ETIMEDOUT));
            assert!((50..5000).contains(&took), "{took} ms");
        }
        count_signals(0);
        storm(500);
        let (tried, took) = timed_ms(|| space.wrlock(200));
        assert_eq!(tried, Err(ETIMEDOUT));
        assert!((200..5000).contains(&took), "{took} ms");
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
    let readers = crowd_of_readers(space);
    ends_with_signal(|| space.rdlock(INTR));
    drop(readers);
    assert_eq!(space.rdlock(INTR), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(INTR), CLEAN);
}

/// A handler that runs while the call looks does not end it: so it looks seldom.
#[apply(isolated)]
fn interrupted_and_seldom_awake() {
    let space = space();
    let _readers = crowd_of_readers(space);
    let reader = fork(|| assert_eq!(space.rdlock(INTR), CLEAN));
    reader.wait_asleep();
    let sleeps = || {
        let status = fs::read_to_string(format!("/proc/{}/status", reader.0)).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = sleeps();
    thread::sleep(Duration::from_millis(500));
    let slept = sleeps() - before;
    assert!(slept < 20, "{slept}");
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
    // While a writer waits for it.
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

/// It has the gate and some of the slots, and has changed nothing.
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
    // The gate is open again: a thread that reads may read on.
    assert_eq!(space.rdlock(0), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.rdunlock(), CLEAN);
    assert_eq!(space.wrlock(0), CLEAN);
}

/// Two readers of which one always reads: neither unlocks before the other has locked, but for
/// one that waits for a writer.
#[apply(isolated)]
fn writer_is_not_starved() {
    let space = space();
    let readers = [0, 1].map(|me| {
        fork(move || {
            while space.count(2) == 0 {
                assert_eq!(space.rdlock(-1), CLEAN);
                let mine = space.arrive(me);
                let patience = Instant::now() + Duration::from_millis(50);
                while space.count(1 - me) < mine && Instant::now() < patience && space.count(2) == 0
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
