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
    let askew = space.cond().wrapping_byte_add(8);
    let askew_mutex = space.mutex().wrapping_byte_add(8);
    assert_eq!(space.lock(-1), CLEAN);
    for bad in [ptr::null_mut(), askew] {
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
    for bad in [ptr::null_mut(), askew_mutex] {
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
    // All that time the mutex was this thread's.
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
    for timeout in [1, 50, 200] {
        let (waited, took) = timed_ms(|| space.wait(timeout));
        assert_eq!(waited, Err(ETIMEDOUT));
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        let expected = timeout as u128..timeout as u128 + 5000;
        assert!(expected.contains(&took), "{took} ms");
    }
    count_signals(0);
    storm(500);
    let (waited, took) = timed_ms(|| space.wait(200));
    storm(0);
    assert_eq!(waited, Err(ETIMEDOUT));
    assert!((200..5000).contains(&took), "{took} ms");
    assert!(handled() > 10);

    // The timeout passes while another process has the mutex: the call still waits for the mutex.
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
    wait_until("a waiter that wants the mutex", || {
        word.load(SeqCst) >> 31 == 1
    });
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
fn mutex_is_free_meanwhile() {
    let space = space();
    let waiter = waiting(space, 0, -1);
    assert_eq!(space.lock(0), CLEAN);
    assert_eq!(space.signal(), CLEAN); // also with the mutex held
    assert_eq!(space.count(0), 0);
    assert_eq!(space.words[0].fetch_add(1, SeqCst), 0);
    assert_eq!(space.unlock(), CLEAN);
    waiter.join();
}

/// A child that waits until a word is not 0, and is asleep.
fn waiting(space: &'static Space, word: usize, timeout: c_int) -> Child {
    let before = space.count(61);
    let child = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(61);
        while space.count(word) == 0 {
            assert_eq!(space.wait(timeout), CLEAN);
        }
        assert_eq!(space.unlock(), CLEAN);
    });
    space.wait_for(61, before + 1);
    // It has let go of the mutex, and sleeps.
    assert_eq!(space.lock(LONG), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
    child.wait_asleep();
    child
}

fn change_and_signal(space: &Space, word: usize) {
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(word);
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.signal(), CLEAN);
}

/// One waiter runs at once; the others find out at their next look that the number has changed,
/// and then one ends its wait spuriously.
#[apply(isolated)]
fn signal_wakes_one() {
    let space = space();
    let waiters: Vec<_> = (0..5).map(|_| waiting_for_one(space)).collect();
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

/// A child that takes one of the items that word 0 counts, and counts it in word 1.
fn waiting_for_one(space: &'static Space) -> Child {
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
        .map(|timeout| waiting(space, 0, timeout))
        .collect();
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(0);
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.broadcast(), CLEAN);
    waiters.into_iter().for_each(Child::join);
}

/// The mutex and the condition of a space are in one page: of the waiters of a broadcast all but
/// one sleep on until the mutex is unlocked. A look of theirs may come between, but not always.
#[apply(isolated)]
fn broadcast_queues_at_the_mutex() {
    assert!((0..20).any(|_| most_sleep_on()));
}

fn most_sleep_on() -> bool {
    let space = space();
    let waiters: Vec<_> = (0..5).map(|_| waiting(space, 0, -1)).collect();
    let wake_ups = |waiter: &Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", waiter.0)).unwrap();
        let mut lines = status.lines();
        lines
            .find(|line| line.starts_with("voluntary"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(0);
    let before: Vec<_> = waiters.iter().map(wake_ups).collect();
    assert_eq!(space.broadcast(), CLEAN);
    // Long enough for the others to come to the mutex and sleep there.
    thread::sleep(Duration::from_millis(10));
    let after = waiters.iter().map(wake_ups);
    let asleep = before
        .iter()
        .zip(after)
        .filter(|(before, after)| **before == *after)
        .count();
    assert_eq!(space.unlock(), CLEAN);
    waiters.into_iter().for_each(Child::join);
    asleep >= 4
}

/// A signal that finds no waiter makes no system call: also after a wait that a signal has ended,
/// and after the first signal that finds a wait ended otherwise.
#[apply(isolated)]
fn without_waiters() {
    let space = space();
    let waiter = waiting(space, 0, -1);
    change_and_signal(space, 0);
    waiter.join();
    no_system_call(space);
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.wait(1), Err(ETIMEDOUT));
    assert_eq!(space.unlock(), CLEAN);
    kill(waiting(space, 1, -1));
    assert_eq!(space.signal(), CLEAN);
    no_system_call(space);
}

fn no_system_call(space: &Space) {
    fork(|| {
        // SAFETY: no pointers; from here on any other call kills.
        let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        assert_eq!(done, 0);
        // SAFETY: an object of the space. Nothing may be reported here but by the end.
        let signalled = unsafe { ipc_cond_signal(space.cond()) };
        // SAFETY: as above.
        let all = signalled == 0 && unsafe { ipc_cond_broadcast(space.cond()) } == 0;
        // SAFETY: exit, not exit_group, which the filter does not let through.
        unsafe { libc::syscall(libc::SYS_exit, if all { 0 } else { 1 }) };
    })
    .join();
}

/// A wait is a cancellation point, at which the thread holds the mutex.
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
        // It has unlocked the mutex, and sleeps.
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
        // It ended with the mutex.
        assert_eq!(space.lock(LONG), DIED);
        assert_eq!(space.consistent(), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    })
    .join();
    assert_eq!(space.lock(0), CLEAN);
}

/// A signal without a waiter is lost, and does nothing for later waiters.
#[apply(isolated)]
fn signal_to_nobody() {
    let space = space();
    for _ in 0..1000 {
        assert_eq!(space.signal(), CLEAN);
    }
    assert_eq!(space.lock(-1), CLEAN);
    let (waited, took) = timed_ms(|| space.wait(50));
    assert_eq!(waited, Err(ETIMEDOUT));
    assert!(took >= 50);
    assert_eq!(space.unlock(), CLEAN);
    let waiter = waiting(space, 0, -1);
    change_and_signal(space, 0);
    waiter.join();
}

/// IPC_OWNER_DIED comes from the mutex, with it held, and before a timeout that has passed.
#[apply(isolated)]
fn owner_died() {
    let space = space();
    let waiter = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.wait(-1), DIED);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        // Not repaired: told again, to this one too.
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

/// One process makes numbers, three take them: each once, and all.
#[apply(isolated)]
fn producer_and_consumers() {
    let space = space();
    let numbers = scaled(20_000);
    // Words: 0 how many were made, 1 how many were taken, 2 their sum.
    const ROOM: u64 = 4;
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
        while space.count(0) - space.count(1) == ROOM {
            assert_eq!(space.wait(LONG), CLEAN);
        }
        space.words[0].store(number + 1, SeqCst);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.signal(), CLEAN);
    }
    consumers.into_iter().for_each(Child::join);
    assert_eq!(space.count(2), numbers * (numbers - 1) / 2);
}

/// A filter refuses the calls that count and wake, or move waiters: two steps do the same.
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
                // The third bit is in FUTEX_WAKE_OP and FUTEX_CMP_REQUEUE, and in neither
                // FUTEX_WAIT nor FUTEX_WAKE.
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

/// One that is killed just after it was woken takes no other waiter's wake-up with it.
#[apply(isolated)]
fn killed_waiter() {
    for _ in 0..scaled(30) {
        let space = space();
        let first = waiting(space, 0, -1);
        let second = waiting(space, 0, -1);
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.signal(), CLEAN);
        first.signal(libc::SIGKILL);
        first.reap();
        // Only the possible death of the owner is told.
        wait_until("the second one", || {
            !is_there(&second) || is_zombie(&second)
        });
        second.reap();
        assert!(matches!(space.lock(LONG), CLEAN | DIED));
    }
}

fn is_there(child: &Child) -> bool {
    std::fs::exists(format!("/proc/{}", child.0)).unwrap()
}

fn is_zombie(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.0)).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('Z')
}
