//! ipc_cond.

use crate::common::filter::refuse_where;
use crate::tool::*;
use libc::{BPF_JSET, EAGAIN, EINVAL, ENOSYS, EPERM, EPROTO, ESTALE, ETIMEDOUT, SYS_futex, c_int};
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use unixipc::ffi::cond::*;

pub fn arguments() {
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
    assert_eq!(space.owner(), Ok(thread_id()));
}

pub fn not_held() {
    let space = space();
    assert_eq!(space.wait(-1), Err(EPERM));
    assert_eq!(space.lock(-1), CLEAN);
    std::thread::spawn(|| assert_eq!(space.wait(-1), Err(EPERM)))
        .join()
        .unwrap();
    fork(|| assert_eq!(space.wait(-1), Err(EPERM))).join();
    assert_eq!(space.owner(), Ok(thread_id()));
}

pub fn time_outs() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.wait(0), Err(EAGAIN));
    assert_eq!(space.owner(), Ok(thread_id()));
    for timeout in [1, 50, 200] {
        let (waited, took) = timed(|| space.wait(timeout));
        assert_eq!(waited, Err(ETIMEDOUT));
        assert_eq!(space.owner(), Ok(thread_id()));
        let expected = timeout as u128..timeout as u128 + 5000;
        assert!(expected.contains(&took), "{took} ms");
    }
    handle(0);
    storm(500);
    let (waited, took) = timed(|| space.wait(200));
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
        assert_eq!(space.owner(), Ok(thread_id()));
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

pub fn interrupted() {
    let space = space();
    ends_with_signal(|| {
        assert_eq!(space.lock(-1), CLEAN);
        let waited = space.wait(INTR);
        assert_eq!(space.owner(), Ok(thread_id()));
        assert_eq!(space.unlock(), CLEAN);
        waited
    });
}

pub fn mutex_is_free_meanwhile() {
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

pub fn signal_wakes_all() {
    let space = space();
    let waiters: Vec<_> = [-1, INTR, LONG, -1, -1]
        .into_iter()
        .map(|timeout| waiting(space, 0, timeout))
        .collect();
    change_and_signal(space, 0);
    waiters.into_iter().for_each(Child::join);
}

/// A signal without a waiter is lost, and does nothing for later waiters.
pub fn signal_to_nobody() {
    let space = space();
    for _ in 0..1000 {
        assert_eq!(space.signal(), CLEAN);
    }
    assert_eq!(space.lock(-1), CLEAN);
    let (waited, took) = timed(|| space.wait(50));
    assert_eq!(waited, Err(ETIMEDOUT));
    assert!(took >= 50);
    assert_eq!(space.unlock(), CLEAN);
    let waiter = waiting(space, 0, -1);
    change_and_signal(space, 0);
    waiter.join();
}

/// IPC_OWNER_DIED comes from the mutex, with it held, and before a timeout that has passed.
pub fn owner_died() {
    let space = space();
    let waiter = fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.wait(-1), DIED);
        assert_eq!(space.owner(), Ok(thread_id()));
        // Not repaired: told again, to this one too.
        assert_eq!(space.wait(0), DIED);
        assert_eq!(space.wait(20), DIED);
        assert_eq!(space.owner(), Ok(thread_id()));
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
pub fn producer_and_consumers() {
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

/// A filter that refuses the call which counts and wakes: EPERM would say that a lock is not held.
pub fn refused_signal() {
    let space = space();
    for error in [ENOSYS, EPERM] {
        fork(|| {
            // The third bit is in FUTEX_WAKE_OP, and in neither FUTEX_WAIT nor FUTEX_WAKE.
            refuse_where(SYS_futex, 1, BPF_JSET, 4, error);
            assert_eq!(space.signal(), Err(ENOSYS));
        })
        .join();
    }
}

/// One that is killed just after it was woken takes no other waiter's wake-up with it.
pub fn killed_waiter() {
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
