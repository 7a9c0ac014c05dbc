//! ipc_mutex.

use crate::support::*;
use libc::{EAGAIN, EDEADLK, EINVAL, EPERM, EPROTO, ESTALE, ETIMEDOUT, c_int, iovec, pid_t};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use unixipc::ffi::mutex::*;

/// Where the kernel's word is, in words.
const WORD: usize = 4;
const WAITERS: u32 = 0x8000_0000;

#[apply(isolated)]
fn arguments() {
    let space = space();
    let askew = space.mutex().wrapping_byte_add(8);
    for bad in [ptr::null_mut(), askew] {
        // SAFETY: the calls look at no bad pointer.
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
    assert_eq!(all_calls(space), [Err(EPROTO); 4]);
    let mut random = Random(1);
    for _ in 0..100 {
        scribble(space.mutex_words(), &mut random);
        assert_eq!(all_calls(space), [Err(EPROTO); 4]);
    }
    assert_eq!(space.mutex_init(0), CLEAN);
    // Another version, another C library, another word size.
    let layout = &space.mutex_words()[1];
    for bit in [0, 15, 16, 23, 24, 31] {
        layout.fetch_xor(1 << bit, SeqCst);
        assert_eq!(all_calls(space), [Err(ESTALE); 4], "bit {bit}");
        layout.fetch_xor(1 << bit, SeqCst);
    }
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
        assert_eq!(space.consistent(), CLEAN); // nothing to say, and no error
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.consistent(), Err(EPERM));
    }
    // Where the tests look for it too.
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.mutex_words()[WORD].load(SeqCst) as u64, thread_id());
    let other = space.holder(|_| CLEAN, |_| CLEAN);
    space.let_go();
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
    // Longer than a sleeper's patience too.
    for timeout in [1, 50, 250] {
        let (tried, took) = timed_ms(|| space.lock(timeout));
        assert_eq!(tried, Err(ETIMEDOUT));
        assert!(
            took >= timeout as u128 && took < timeout as u128 + 5000,
            "{took} ms"
        );
    }
    let waiter = fork(|| assert_eq!(space.lock(LONG), CLEAN));
    waiter.wait_asleep();
    space.let_go();
    holder.join();
    // It ended with the mutex.
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

/// Handlers run all the time: a time-out is not longer, and other waits go on.
#[apply(isolated)]
fn storm() {
    let space = space();
    let holder = space.holder(|space| space.lock(-1), Space::unlock);
    let child = fork(|| {
        count_signals(0);
        crate::support::storm(500);
        let (tried, took) = timed_ms(|| space.lock(200));
        assert_eq!(tried, Err(ETIMEDOUT));
        assert!((200..5000).contains(&took), "{took} ms");
        space.arrive(0);
        assert_eq!(space.lock(-1), CLEAN);
        assert!(handled() > 10);
        crate::support::storm(0);
        assert_eq!(space.unlock(), CLEAN);
    });
    space.wait_for(0, 1);
    thread::sleep(Duration::from_millis(20)); // some handlers while it waits for ever
    space.let_go();
    holder.join();
    child.join();
}

#[apply(isolated)]
fn owner_killed() {
    let space = space();
    kill(space.holder(|space| space.lock(-1), Space::unlock));
    assert_eq!(space.owner(), CLEAN);
    // Until somebody says that all is well, whoever that is and however often.
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
    // Said to be well, and dead after that: told again.
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

/// The owner dies while others sleep, in each way: one after the other gets the mutex.
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
    // That child's end was not the owner's.
    assert_eq!(space.unlock(), CLEAN);
    assert_eq!(space.lock(0), CLEAN);
}

/// Who is killed asleep is not waited for.
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

/// One whom nobody wakes looks by itself.
#[apply(isolated)]
fn wake_up_lost() {
    let space = space();
    for timeout in [-1, LONG, INTR] {
        assert_eq!(space.lock(-1), CLEAN);
        let waiter = fork(|| {
            assert_eq!(space.lock(timeout), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        });
        // As if another woken sleeper had died just after this thread took the mutex.
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

/// The kernel knows what a sleeper waits for: if it is killed after its wake-up, the kernel
/// wakes another one.
#[apply(isolated)]
fn sleeper_is_announced() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let waiter = fork(|| assert_eq!(space.lock(-1), CLEAN));
    waiter.wait_asleep();
    let entry = space.mutex().addr() + WORD * 4 + 32;
    assert_eq!(pending(waiter.0), entry);
    drop(waiter);
    // And nothing stays behind.
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

/// Whoever has slept gives the mutex up with a wake-up, for others may sleep on.
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

/// The entry of the lock that a process has announced.
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
    // SAFETY: three words of ours; what is read is the other process's.
    let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    assert_eq!(read as usize, size_of_val(&list));
    list[2]
}

/// Without another thread at the mutex: no system call.
#[apply(isolated)]
fn cost_without_contention() {
    let space = space();
    fork(|| {
        // The first call of a process finds out its identity.
        assert_eq!(space.lock(-1), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
        // SAFETY: no pointers; from here on any other call kills.
        let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        assert_eq!(done, 0);
        let mut all = true;
        for timeout in [-1, 0, 1000, INTR] {
            // SAFETY: an object of the space. Nothing may be reported here but by the end.
            all &= unsafe { ipc_mutex_lock(space.mutex(), timeout) } == 0;
            // SAFETY: as above.
            all &= unsafe { ipc_mutex_unlock(space.mutex()) } == 0;
        }
        // SAFETY: exit, not exit_group, which the filter does not let through.
        unsafe { libc::syscall(libc::SYS_exit, if all { 0 } else { 1 }) };
    })
    .join();
}

/// The kernel does not find a mutex in a mapping that was removed, nor those locked before it. A
/// waiter finds that the owner no longer exists.
#[apply(isolated)]
fn unmapped_while_held() {
    let [before, gone, after] = [space(), space(), space()];
    fork(|| {
        for space in [before, gone, after] {
            assert_eq!(space.lock(-1), CLEAN);
        }
        gone.unmap();
    })
    .join();
    assert_eq!(after.lock(0), DIED);
    assert_eq!(gone.lock(LONG), DIED);
    assert_eq!(before.lock(LONG), DIED);
}

/// As many as the manual promises.
#[apply(isolated)]
fn many_at_once() {
    const MANY: usize = 2048;
    let spaces: Vec<_> = (0..MANY).map(|_| space()).collect();
    fork(|| {
        for space in &spaces {
            assert_eq!(space.lock(-1), CLEAN);
        }
    })
    .join();
    for space in &spaces {
        assert_eq!(space.lock(0), DIED);
    }
}

/// With priority inheritance the C library waits: time-outs and deaths are as ever.
#[apply(isolated)]
fn inheriting() {
    let space = space();
    assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.lock(-1), Err(EDEADLK));
    fork(|| {
        assert_eq!(space.lock(0), Err(EAGAIN));
        let (locked, took) = timed_ms(|| space.lock(250));
        assert_eq!(locked, Err(ETIMEDOUT));
        assert!(took >= 250, "{took} ms");
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

    // An owner dies, with and without a waiter.
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

    // One that the kernel does not notice.
    fork(|| {
        assert_eq!(space.lock(-1), CLEAN);
        space.unmap();
    })
    .join();
    assert_eq!(space.lock(LONG), DIED);
    assert_eq!(space.consistent(), CLEAN);
    assert_eq!(space.unlock(), CLEAN);
}

/// A condition wakes waiters that lock such a mutex.
#[apply(isolated)]
fn inheriting_with_condition() {
    let space = space();
    assert_eq!(space.mutex_init(IPC_MUTEX_F_PRIO_INHERIT), CLEAN);
    let waiters = [0; 3].map(|_| {
        let waiter = fork(|| {
            assert_eq!(space.lock(-1), CLEAN);
            while space.count(0) == 0 {
                assert_eq!(space.wait(-1), CLEAN);
            }
            assert_eq!(space.unlock(), CLEAN);
        });
        waiter.wait_asleep();
        waiter
    });
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
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", owner.0)).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(15).unwrap().parse::<i32>().unwrap()
    };
    assert!(priority() >= 0, "{}", priority());
    let waiter = fork(|| {
        let parameters = libc::sched_param { sched_priority: 10 };
        // SAFETY: the parameters are ours.
        let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        assert_eq!(space.lock(-1), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    });
    // proc_pid_stat(5): below 0 for a real-time priority.
    wait_until("the priority", || priority() == -11);
    space.let_go();
    waiter.join();
    owner.join();
}
