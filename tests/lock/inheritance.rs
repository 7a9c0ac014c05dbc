//! ipc_mutex with priority inheritance.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, EPERM};
use std::{fs, io};
use unixipc::ffi::mutex::IPC_MUTEX_F_PRIO_INHERIT;

/// The C library does the waiting; time-outs and deaths are as in other mutexes.
#[apply(isolated)]
fn time_outs_and_deaths() {
    let space = space();
    assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.lock(-1), Err(EDEADLK));
    fork(|| {
        assert_eq!(space.lock(0), Err(EAGAIN));
        check_timeout(150, |timeout| space.lock(timeout));
        assert_eq!(space.lock(INTR), Err(libc::EOPNOTSUPP));
        assert_eq!(space.unlock(), Err(EPERM));
    })
    .join();
    let waiters = [-1, LONG, -1].map(|timeout| {
        let waiter = fork(move || {
            assert_eq!(space.lock(timeout), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        });
        waiter.wait_asleep();
        waiter
    });
    assert_eq!(space.unlock(), CLEAN);
    waiters.into_iter().for_each(Child::join);

    // The owner dies, with and without a waiter.
    for with_waiter in [true, false] {
        let owner = space.holder(|space| space.lock(-1), Space::unlock);
        let waiter = with_waiter.then(|| {
            let waiter = fork(|| {
                assert_eq!(space.lock(LONG), DIED);
                assert_eq!(space.unlock(), CLEAN);
            });
            waiter.wait_asleep();
            waiter
        });
        kill(owner);
        waiter.into_iter().for_each(Child::join);
        assert_eq!(space.lock(LONG), DIED);
        assert_eq!(space.consistent(), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    }

    // An owner whose death the kernel does not notice.
    fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.unmap();
    })
    .join();
    assert_eq!(space.lock(LONG), DIED);
    assert_eq!(space.consistent(), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
}

/// Two threads wait for each other, which the kernel notices: the wait ends by its time-out.
#[apply(isolated)]
fn opposite_order() {
    let [a, b] = [space(), space()];
    for space in [a, b] {
        assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    }
    assert_eq!(a.lock(-1), CLEAN);
    let other = fork(|| {
        assert_eq!(b.lock(-1), CLEAN);
        a.arrive(0);
        check_timeout(500, |timeout| a.lock(timeout));
        assert_eq!(b.lock(0), Err(EDEADLK));
        assert_eq!(b.unlock(), CLEAN);
    });
    a.wait_for(0, 1);
    assert_eq!(b.lock(LONG), CLEAN);
    other.join();
    for space in [a, b] {
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.lock(0), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    }
}

/// A condition wakes waiters that lock such a mutex.
#[apply(isolated)]
fn condition() {
    let space = space();
    assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    let waiters = [0; 3].map(|_| space.cond_waiter(0, -1));
    assert_eq!(space.lock(LONG), CLEAN);
    space.arrive(0);
    assert_eq!(space.broadcast(), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
    waiters.into_iter().for_each(Child::join);
}

/// The owner runs with the priority of the thread that waits for the mutex.
#[apply(isolated)]
#[needs(needs::root)]
fn priority_is_inherited() {
    let space = space();
    assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    let owner = space.holder(|space| space.lock(-1), Space::unlock);
    let priority = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", owner.0)).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(15).unwrap().parse::<i32>().unwrap()
    };
    assert!(priority() >= 0, "{}", priority());
    let waiter = fork(|| {
        let parameters = libc::sched_param { sched_priority: 10 };
        // SAFETY: the parameters are ours.
        let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        assert_eq!(space.lock(-1), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    });
    // proc_pid_stat(5): below 0 for a real-time priority.
    wait_until("the inherited priority", || priority() == -11);
    space.release_holders();
    waiter.join();
    owner.join();
}
