//! ipc_mutex.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, EINVAL, EPERM, ETIMEDOUT, c_int, iovec, pid_t};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use unixipc::ffi::mutex::*;

/// The index of the kernel's futex word.
const WORD: usize = 4;
const WAITERS: u32 = 0x8000_0000;

#[apply(isolated)]
fn arguments() {
    let space = space();
    let misaligned = space.mutex().wrapping_byte_add(8);
    for bad in [ptr::null_mut(), misaligned] {
        // SAFETY: the calls do not read through a bad pointer.
        let calls: [&dyn Fn() -> c_int; 5] = [
            &|| unsafe { ipc_mutex_init(bad, 0) },
            &|| unsafe { ipc_mutex_lock(bad, -1) },
            &|| unsafe { ipc_mutex_unlock(bad) },
            &|| unsafe { ipc_mutex_consistent(bad) },
            &|| unsafe { ipc_mutex_owner(bad) },
        ];
        for call in calls {
            assert_eq!(outcome(|| call() as isize), Err(EINVAL));
        }
    }
    assert_eq!(space.mutex_init(2), Err(EINVAL));
    assert_eq!(space.mutex_init(1 << 31), Err(EINVAL));
    for timeout in [-3, c_int::MIN] {
        assert_eq!(space.lock(timeout), Err(EINVAL));
    }
    assert_eq!(space.owner(), CLEAN);
}

fn all_calls(space: &Space) -> [Outcome; 4] {
    [
        space.lock(0),
        space.unlock(),
        space.consistent(),
        space.owner(),
    ]
}

#[apply(isolated)]
fn not_a_mutex() {
    let space = raw_space();
    let init = || space.mutex_init(0);
    check_header(space.mutex_words(), 1, init, || all_calls(space));
    assert_eq!(space.lock(0), CLEAN);
}

#[apply(isolated)]
fn any_contents() {
    let space = raw_space();
    let mut random = Random(2);
    for _ in 0..100 {
        scribble(space.mutex_words(), &mut random);
        assert_eq!(space.mutex_init(0), CLEAN);
        assert_eq!(space.lock(0), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    }
}

#[apply(isolated)]
fn owner() {
    let space = space();
    for timeout in [-1, 0, 10, INTR] {
        assert_eq!(space.owner(), CLEAN);
        assert_eq!(space.lock(timeout), CLEAN);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        for again in [-1, 0, 10, INTR] {
            assert_eq!(space.lock(again), Err(EDEADLK));
        }
        assert_eq!(space.consistent(), CLEAN); // no effect, and no error
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.consistent(), Err(EPERM));
    }
    // The tests rely on the position of this word.
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.mutex_words()[WORD].load(SeqCst) as u64, thread_id());
    let other = space.holder(|_| CLEAN, |_| CLEAN);
    space.release_holders();
    other.join();
}

#[apply(isolated)]
fn wrong_thread() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let id = thread_id() as usize;
    let other = move || {
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.consistent(), Err(EPERM));
        assert_eq!(space.lock(0), Err(EAGAIN));
        assert_eq!(space.lock(1), Err(ETIMEDOUT));
        assert_eq!(space.owner(), Ok(id));
    };
    thread::spawn(other).join().unwrap();
    fork(other).join();
    assert_eq!(space.unlock(), CLEAN);
}

#[apply(isolated)]
fn time_outs() {
    let space = space();
    let holder = space.holder(|space| space.lock(-1), Space::unlock);
    let (tried, took) = timed_ms(|| space.lock(0));
    assert_eq!(tried, Err(EAGAIN));
    assert!(took < 1000, "{took} ms");
    // The last one exceeds MAX_SLEEP.
    for timeout in [1, 50, 150] {
        check_timeout(timeout, |timeout| space.lock(timeout));
    }
    let waiter = fork(|| assert_eq!(space.lock(LONG), CLEAN));
    waiter.wait_asleep();
    space.release_holders();
    holder.join();
    // The waiter ended while it held the mutex.
    waiter.join();
    assert_eq!(space.lock(LONG), DIED);
}

#[apply(isolated)]
fn interrupted() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    ends_with_signal(|| space.lock(INTR));
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.lock(INTR), CLEAN);
}

/// Signal handlers run all the time: they do not prolong a time-out, and do not end other waits.
#[apply(isolated)]
fn storm() {
    let space = space();
    let holder = space.holder(|space| space.lock(-1), Space::unlock);
    let child = fork(|| {
        count_signals(0);
        crate::support::storm(500);
        check_timeout(150, |timeout| space.lock(timeout));
        space.arrive(0);
        assert_eq!(space.lock(-1), CLEAN);
        assert!(handled() > 10);
        crate::support::storm(0);
        assert_eq!(space.unlock(), CLEAN);
    });
    space.wait_for(0, 1);
    thread::sleep(Duration::from_millis(20)); // some handlers run while the child waits forever
    space.release_holders();
    holder.join();
    child.join();
}

#[apply(isolated)]
fn owner_killed() {
    let space = space();
    kill(space.holder(|space| space.lock(-1), Space::unlock));
    assert_eq!(space.owner(), CLEAN);
    // Each lock reports the death until some owner marks the data consistent.
    for _ in 0..3 {
        assert_eq!(space.lock(0), DIED);
        assert_eq!(space.owner(), Ok(thread_id() as usize));
        assert_eq!(space.lock(0), Err(EDEADLK));
        assert_eq!(space.unlock(), CLEAN);
        fork(|| {
            assert_eq!(space.lock(-1), DIED);
            assert_eq!(space.unlock(), CLEAN);
        })
        .join();
        kill(space.holder(|space| space.lock(-1), Space::unlock));
    }
    assert_eq!(space.lock(-1), DIED);
    assert_eq!(space.consistent(), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
    // The owner marks the data consistent, and dies after that: the next lock reports its death.
    kill(space.holder(
        |space| {
            let locked = space.lock(-1);
            assert_eq!(space.consistent(), CLEAN);
            locked
        },
        Space::unlock,
    ));
    assert_eq!(space.lock(-1), DIED);
}

/// The owner dies while waiters sleep, each with another kind of time-out. They acquire the mutex
/// one after the other.
#[apply(isolated)]
fn killed_while_others_wait() {
    let space = space();
    let holder = space.holder(|space| space.lock(-1), Space::unlock);
    let waiters = [-1, LONG, INTR].map(|timeout| {
        fork(move || {
            assert_eq!(space.lock(timeout), DIED);
            assert_eq!(space.unlock(), CLEAN);
        })
    });
    for waiter in &waiters {
        waiter.wait_asleep();
    }
    kill(holder);
    for waiter in waiters {
        waiter.join();
    }
    assert_eq!(space.lock(0), DIED);
}

#[apply(isolated)]
fn thread_ends() {
    let space = space();
    let thread = thread::spawn(|| space.lock(-1));
    assert_eq!(thread.join().unwrap(), CLEAN);
    assert_eq!(space.lock(LONG), DIED);
}

#[apply(isolated)]
fn exec() {
    let space = space();
    fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        let error = Command::new("true").exec();
        panic!("{error}");
    })
    .join();
    assert_eq!(space.lock(0), DIED);
}

#[apply(isolated)]
fn fork_while_held() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    fork(|| {
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.lock(0), Err(EAGAIN));
    })
    .join();
    // The end of that child was not the end of the owner.
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.lock(0), CLEAN);
}

/// Waiters that are killed in their sleep do not delay the others.
#[apply(isolated)]
fn waiter_killed() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let waiters = [-1, -1, INTR, LONG].map(|timeout| {
        let waiter = fork(move || {
            assert_eq!(space.lock(timeout), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        });
        waiter.wait_asleep();
        waiter
    });
    let [first, second, third, fourth] = waiters;
    kill(first);
    kill(third);
    assert_eq!(space.unlock(), CLEAN);
    second.join();
    fourth.join();
    assert_eq!(space.lock(0), CLEAN);
}

/// A waiter whose wake-up is lost checks the mutex itself.
#[apply(isolated)]
fn wake_up_lost() {
    let space = space();
    for timeout in [-1, LONG, INTR] {
        assert_eq!(space.lock(-1), CLEAN);
        let waiter = fork(|| {
            assert_eq!(space.lock(timeout), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        });
        // As if another waiter had died after its wake-up, when this thread had the mutex.
        let word = &space.mutex_words()[WORD];
        wait_until("a sleeper", || {
            word.load(SeqCst) & WAITERS != 0 && is_asleep(waiter.0)
        });
        word.fetch_and(!WAITERS, SeqCst);
        assert_eq!(space.unlock(), CLEAN);
        let ((), took) = timed_ms(|| waiter.join());
        assert!(took < 5000, "{took} ms");
    }
}

/// The kernel knows which mutex a sleeper waits for. If the sleeper is killed after its wake-up, the
/// kernel wakes another one.
#[apply(isolated)]
fn sleeper_is_announced() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let waiter = fork(|| assert_eq!(space.lock(-1), CLEAN));
    waiter.wait_asleep();
    let entry = space.mutex().addr() + WORD * 4 + 32;
    assert_eq!(pending(waiter.0), entry);
    drop(waiter);
    // A wait that has timed out leaves no announcement behind.
    fork(|| assert_eq!(space.lock(50), Err(ETIMEDOUT))).join();
    let waiter = fork(|| {
        assert_eq!(space.lock(50), Err(ETIMEDOUT));
        space.arrive(0);
        space.wait_for(1, 1);
    });
    space.wait_for(0, 1);
    assert_eq!(pending(waiter.0), 0);
    space.arrive(1);
    waiter.join();
}

/// A thread that has slept for the mutex unlocks it with a wake-up, because others may still sleep.
#[apply(isolated)]
fn sleeper_wakes_the_next() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let waiters = [-1, LONG, INTR].map(|timeout| {
        let waiter = fork(move || {
            assert_eq!(space.lock(timeout), CLEAN);
            assert_ne!(space.mutex_words()[WORD].load(SeqCst) & WAITERS, 0);
            assert_eq!(space.unlock(), CLEAN);
        });
        waiter.wait_asleep();
        waiter
    });
    assert_eq!(space.unlock(), CLEAN);
    waiters.into_iter().for_each(Child::join);
}

/// The robust-list entry that a process has announced as pending.
fn pending(pid: pid_t) -> usize {
    let mut head = 0usize;
    let mut size = 0usize;
    // SAFETY: the kernel fills two words.
    let done =
        unsafe { libc::syscall(libc::SYS_get_robust_list, pid, &raw mut head, &raw mut size) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    let mut list = [0usize; 3];
    let local = iovec {
        iov_base: list.as_mut_ptr().cast(),
        iov_len: size_of_val(&list),
    };
    let remote = iovec {
        iov_base: ptr::without_provenance_mut(head),
        iov_len: size_of_val(&list),
    };
    // SAFETY: the call writes to three words of ours, and only reads from the other process.
    let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    assert_eq!(read as usize, size_of_val(&list));
    list[2]
}

/// Without contention, no call makes a system call.
#[apply(isolated)]
fn cost_without_contention() {
    let space = space();
    // SAFETY: an object of the space.
    let lock = |timeout| unsafe { ipc_mutex_lock(space.mutex(), timeout) };
    // SAFETY: as above.
    let unlock = || unsafe { ipc_mutex_unlock(space.mutex()) };
    fork(|| {
        // The first calls of a process find out its identity.
        assert_eq!([lock(-1), unlock()], [0, 0]);
        let uncontended = |timeout| lock(timeout) == 0 && unlock() == 0;
        check_no_system_call_here(|| [-1, 0, 1000, INTR].into_iter().all(uncontended));
    })
    .join();
}

/// The kernel does not find a mutex in a removed mapping, nor the mutexes that were locked before
/// it. A waiter notices that the owner no longer exists.
#[apply(isolated)]
fn unmapped_while_held() {
    let [before, unmapped, after] = [space(), space(), space()];
    fork(|| {
        for space in [before, unmapped, after] {
            assert_eq!(space.lock(-1), CLEAN);
        }
        unmapped.unmap();
    })
    .join();
    assert_eq!(after.lock(0), DIED);
    assert_eq!(unmapped.lock(LONG), DIED);
    assert_eq!(before.lock(LONG), DIED);
}

/// The kernel releases as many mutexes of a dead owner as the manual promises.
#[apply(isolated)]
fn many_at_once() {
    for space in spaces_of_dead_owner(2048) {
        assert_eq!(space.lock(0), DIED);
    }
}
