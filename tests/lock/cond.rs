//! ipc_cond.

use crate::support::*;
use common::filter::refuse_where;
use libc::{BPF_JSET, EAGAIN, EINVAL, ENOSYS, EPERM, EPROTO, ESTALE, ETIMEDOUT, SYS_futex, c_int};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::{ptr, thread};
use unixipc::ffi::cond::*;

#[apply(isolated)]
fn arguments() {
    let space = space();
    let misaligned = space.cond().wrapping_byte_add(8);
    let misaligned_mutex = space.mutex().wrapping_byte_add(8);
    assert_eq!(space.lock(-1), CLEAN);
    for bad in [ptr::null_mut(), misaligned] {
        // SAFETY: the calls read through no bad pointer.
        let calls: [&dyn Fn() -> c_int; 3] = [
            &|| unsafe { ipc_cond_init(bad, 0) },
            &|| unsafe { ipc_cond_wait(bad, space.mutex(), -1) },
            &|| unsafe { ipc_cond_signal(bad) },
        ];
        for call in calls {
            assert_eq!(outcome(|| call() as isize), Err(EINVAL));
        }
    }
    for bad in [ptr::null_mut(), misaligned_mutex] {
        // SAFETY: the call reads through no bad pointer.
        let waited = outcome(|| unsafe { ipc_cond_wait(space.cond(), bad, -1) } as isize);
        assert_eq!(waited, Err(EINVAL));
    }
    assert_eq!(space.cond_init(1), Err(EINVAL));
    assert_eq!(space.wait(-3), Err(EINVAL));

    let mut random = Random(4);
    for _ in 0..100 {
        scribble(space.cond_words(), &mut random);
        assert_eq!(space.wait(-1), Err(EPROTO));
        assert_eq!(space.signal(), Err(EPROTO));
    }
    assert_eq!(space.cond_init(0), CLEAN);
    space.cond_words()[1].fetch_add(1, SeqCst);
    assert_eq!(space.wait(-1), Err(ESTALE));
    assert_eq!(space.signal(), Err(ESTALE));
    // This thread still owns the mutex.
    assert_eq!(space.owner(), Ok(thread_id() as usize));
}

#[apply(isolated)]
fn not_held() {
    let space = space();
    assert_eq!(space.wait(-1), Err(EPERM));
    assert_eq!(space.lock(-1), CLEAN);
    std::thread::spawn(|| assert_eq!(space.wait(-1), Err(EPERM)))
        .join()
        .unwrap();
    fork(|| assert_eq!(space.wait(-1), Err(EPERM))).join();
    assert_eq!(space.owner(), Ok(thread_id() as usize));
}

#[apply(isolated)]
fn time_outs() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.wait(0), Err(EAGAIN));
    assert_eq!(space.owner(), Ok(thread_id() as usize));
    // The last one exceeds MAX_SLEEP.
    for timeout in [1, 50, 150] {
        check_timeout(timeout, |timeout| space.wait(timeout));
        assert_eq!(space.owner(), Ok(thread_id() as usize));
    }
    count_signals(0);
    storm(500);
    check_timeout(150, |timeout| space.wait(timeout));
    storm(0);
    assert!(handled() > 10);

    // The time-out expires while another process has the mutex: the call still waits for the mutex.
    assert_eq!(space.unlock(), CLEAN);
    let waiter = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.wait(50), Err(ETIMEDOUT));
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        assert_eq!(space.count(1), 1);
        assert_eq!(space.unlock(), CLEAN);
    });
    space.wait_for(0, 1);
    assert_eq!(space.lock(LONG), CLEAN);
    let word = &space.mutex_words()[4];
    wait_until("a waiter for the mutex", || word.load(SeqCst) >> 31 == 1);
    space.arrive(1);
    assert_eq!(space.unlock(), CLEAN);
    waiter.join();
}

#[apply(isolated)]
fn interrupted() {
    let space = space();
    ends_with_signal(|| {
        assert_eq!(space.lock(-1), CLEAN);
        let waited = space.wait(INTR);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        assert_eq!(space.unlock(), CLEAN);
        waited
    });
}

#[apply(isolated)]
fn mutex_is_free_during_a_wait() {
    let space = space();
    let waiter = space.cond_waiter(0, -1);
    assert_eq!(space.lock(0), CLEAN);
    assert_eq!(space.signal(), CLEAN); // also with the mutex held
    assert_eq!(space.count(0), 0);
    assert_eq!(space.words[0].fetch_add(1, SeqCst), 0);
    assert_eq!(space.unlock(), CLEAN);
    waiter.join();
}

fn change_and_signal(space: &Space, word: usize) {
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(word);
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.signal(), CLEAN);
}

/// One waiter wakes at once. The others notice at their next check that the sequence number has
/// changed, and then one of them wakes spuriously.
#[apply(isolated)]
fn signal_wakes_one() {
    let space = space();
    let waiters: Vec<_> = (0..5).map(|_| item_waiter(space)).collect();
    for number in 1..=5 {
        assert_eq!(space.lock(LONG), CLEAN);
        space.arrive(0);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.signal(), CLEAN);
        space.wait_for(1, number);
        assert_eq!(space.count(1), number);
    }
    waiters.into_iter().for_each(Child::join);
}

/// A child that waits for an item: word 0 counts the items, word 1 the items that were taken.
fn item_waiter(space: &'static Space) -> Child {
    let child = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        while space.count(0) == space.count(1) {
            assert_eq!(space.wait(-1), CLEAN);
        }
        space.arrive(1);
        assert_eq!(space.unlock(), CLEAN);
    });
    child.wait_asleep();
    child
}

#[apply(isolated)]
fn broadcast_wakes_all() {
    let space = space();
    let waiters: Vec<_> = [-1, INTR, LONG, -1, -1]
        .into_iter()
        .map(|timeout| space.cond_waiter(0, timeout))
        .collect();
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(0);
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.broadcast(), CLEAN);
    waiters.into_iter().for_each(Child::join);
}

/// The mutex and the condition of a space are in one page, so a broadcast wakes one waiter and
/// queues the others at the mutex. A waiter's periodic check can spoil one attempt, but not all.
#[apply(isolated)]
fn broadcast_queues_at_the_mutex() {
    assert!((0..20).any(|_| broadcast_keeps_most_asleep()));
}

fn broadcast_keeps_most_asleep() -> bool {
    let space = space();
    let waiters: Vec<_> = (0..5).map(|_| space.cond_waiter(0, -1)).collect();
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(0);
    let before: Vec<_> = waiters.iter().map(voluntary_switches).collect();
    assert_eq!(space.broadcast(), CLEAN);
    // Without the queue, the others would wake and sleep again at the mutex in this time.
    thread::sleep(Duration::from_millis(10));
    let after = waiters.iter().map(voluntary_switches);
    let asleep = before
        .iter()
        .zip(after)
        .filter(|(before, after)| **before == *after)
        .count();
    assert_eq!(space.unlock(), CLEAN);
    waiters.into_iter().for_each(Child::join);
    asleep >= 4
}

/// A signal without a waiter makes no system call, also after a wait that a signal ended. After a
/// wait that ended otherwise, this holds from the second signal on.
#[apply(isolated)]
fn without_waiters() {
    let space = space();
    let waiter = space.cond_waiter(0, -1);
    change_and_signal(space, 0);
    waiter.join();
    check_signal_cost(space);
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.wait(1), Err(ETIMEDOUT));
    assert_eq!(space.unlock(), CLEAN);
    kill(space.cond_waiter(1, -1));
    assert_eq!(space.signal(), CLEAN);
    check_signal_cost(space);
}

fn check_signal_cost(space: &Space) {
    check_no_system_call(|| {
        // SAFETY: an object of the space.
        let signalled = unsafe { ipc_cond_signal(space.cond()) };
        // SAFETY: as above.
        let broadcast = unsafe { ipc_cond_broadcast(space.cond()) };
        [signalled, broadcast] == [0, 0]
    });
}

/// A wait is a cancellation point. A cancelled thread ends while it holds the mutex.
#[apply(isolated)]
fn cancelled() {
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> c_int;
    }
    extern "C" fn wait(space: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the argument of the thread, a space.
        let space = unsafe { &*space.cast::<Space>() };
        assert_eq!(space.lock(-1), CLEAN);
        space.words[1].store(thread_id(), SeqCst);
        space.arrive(0);
        loop {
            let _ = space.wait(-1);
        }
    }
    let space = space();
    fork(|| {
        let mut thread = 0;
        let at = ptr::from_ref(space).cast_mut().cast();
        // SAFETY: the thread gets a space, which stays mapped.
        assert_eq!(
            unsafe { libc::pthread_create(&mut thread, ptr::null(), wait, at) },
            0
        );
        space.wait_for(0, 1);
        // The mutex is free once the thread waits on the condition.
        assert_eq!(space.lock(LONG), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
        let sleeper = space.count(1) as libc::pid_t;
        wait_until("a sleeping thread", || is_asleep(sleeper));
        // SAFETY: a thread that has not been joined.
        assert_eq!(unsafe { pthread_cancel(thread) }, 0);
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_join(thread, &mut result) }, 0);
        // PTHREAD_CANCELED
        assert_eq!(result.addr(), usize::MAX);
        // The thread ended while it held the mutex.
        assert_eq!(space.lock(LONG), DIED);
        assert_eq!(space.consistent(), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    })
    .join();
    assert_eq!(space.lock(0), CLEAN);
}

/// A signal without a waiter has no effect on later waiters.
#[apply(isolated)]
fn signal_without_waiter() {
    let space = space();
    for _ in 0..1000 {
        assert_eq!(space.signal(), CLEAN);
    }
    assert_eq!(space.lock(-1), CLEAN);
    check_timeout(50, |timeout| space.wait(timeout));
    assert_eq!(space.unlock(), CLEAN);
    let waiter = space.cond_waiter(0, -1);
    change_and_signal(space, 0);
    waiter.join();
}

/// A wait that acquires the mutex of a dead owner returns IPC_OWNER_DIED, even if its time-out has
/// expired.
#[apply(isolated)]
fn owner_died() {
    let space = space();
    let waiter = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.wait(-1), DIED);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        // The data is not marked consistent, so each wait reports the death again.
        assert_eq!(space.wait(0), DIED);
        assert_eq!(space.wait(20), DIED);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        assert_eq!(space.consistent(), CLEAN);
        assert_eq!(space.wait(20), Err(ETIMEDOUT));
        assert_eq!(space.unlock(), CLEAN);
    });
    space.wait_for(0, 1);
    assert_eq!(space.lock(LONG), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
    waiter.wait_asleep();
    kill(space.holder(|space| space.lock(-1), Space::unlock));
    assert_eq!(space.signal(), CLEAN);
    waiter.join();
    assert_eq!(space.lock(0), CLEAN);
}

/// One process produces numbers, and three consume them: each number once.
#[apply(isolated)]
fn producer_and_consumers() {
    let space = space();
    let numbers = scaled(20_000);
    // Words: 0 is the number of produced numbers, 1 that of consumed numbers, 2 the sum of these.
    const CAPACITY: u64 = 4;
    let consumers = [-1, LONG, INTR].map(|timeout| {
        fork(move || {
            loop {
                assert_eq!(space.lock(-1), CLEAN);
                while space.count(1) == space.count(0) && space.count(0) < numbers {
                    assert_eq!(space.wait(timeout), CLEAN);
                }
                let taken = space.count(1);
                if taken == numbers {
                    assert_eq!(space.unlock(), CLEAN);
                    return;
                }
                space.words[1].store(taken + 1, SeqCst);
                space.words[2].fetch_add(taken, SeqCst);
                assert_eq!(space.unlock(), CLEAN);
                assert_eq!(space.signal(), CLEAN);
            }
        })
    });
    for number in 0..numbers {
        assert_eq!(space.lock(-1), CLEAN);
        while space.count(0) - space.count(1) == CAPACITY {
            assert_eq!(space.wait(LONG), CLEAN);
        }
        space.words[0].store(number + 1, SeqCst);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.signal(), CLEAN);
    }
    consumers.into_iter().for_each(Child::join);
    assert_eq!(space.count(2), numbers * (numbers - 1) / 2);
}

/// A filter refuses the futex operations that update and wake, or requeue: the library does the
/// same in two steps.
#[apply(isolated)]
fn refused_signal() {
    let space = space();
    for error in [ENOSYS, EPERM] {
        for signal in [Space::signal, Space::broadcast] {
            let number = space.count(0) + 1;
            let waiter = fork(|| {
                assert_eq!(space.lock(-1), CLEAN);
                while space.count(0) < number {
                    assert_eq!(space.wait(-1), CLEAN);
                }
                assert_eq!(space.unlock(), CLEAN);
            });
            waiter.wait_asleep();
            fork(|| {
                // FUTEX_WAKE_OP and FUTEX_CMP_REQUEUE have the third bit; FUTEX_WAIT and FUTEX_WAKE
                // do not.
                refuse_where(SYS_futex, 1, BPF_JSET, 4, error);
                assert_eq!(space.lock(LONG), CLEAN);
                space.words[0].store(number, SeqCst);
                assert_eq!(space.unlock(), CLEAN);
                assert_eq!(signal(space), CLEAN);
            })
            .join();
            waiter.join();
        }
    }
}

/// A waiter that is killed just after its wake-up does not take another waiter's wake-up with it.
#[apply(isolated)]
fn killed_waiter() {
    for _ in 0..scaled(30) {
        let space = space();
        let first = space.cond_waiter(0, -1);
        let second = space.cond_waiter(0, -1);
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.signal(), CLEAN);
        first.signal(libc::SIGKILL);
        first.reap();
        wait_until("the second waiter", || second.has_ended());
        second.reap();
        // The first waiter may have died while it owned the mutex.
        assert!(matches!(space.lock(LONG), CLEAN | DIED));
    }
}
