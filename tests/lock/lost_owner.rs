//! Owners whose end the kernel does not report: a waiter notices that they no longer exist.

use crate::support::*;
use libc::{EDEADLK, EOPNOTSUPP, EPERM, EXDEV, c_long};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use unixipc::lock::mutex::Mutex;
use unixipc::lock::rwlock::Rwlock;

/// For each lock: the call that locks it, the call by which another process waits for it, and the
/// outcome of that call after the owner's end.
type Locks = [(fn(&Space) -> Outcome, fn(&Space) -> Outcome, Outcome); 3];
const LOCKS: Locks = [
    (|space| space.lock(-1), |space| space.lock(LONG), DIED),
    (|space| space.wrlock(-1), |space| space.rdlock(LONG), DIED),
    (|space| space.rdlock(-1), |space| space.wrlock(LONG), CLEAN),
];

/// A thread other than the main thread executes a program. The kernel gives the thread another id
/// before it looks for the thread's mutexes.
#[apply(isolated)]
fn exec_by_a_thread() {
    for (lock, wait, found) in LOCKS {
        let space = space();
        let child = fork(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    lock(space).unwrap();
                    space.arrive(0);
                    let error = Command::new("sleep").arg("100").exec();
                    panic!("{error}");
                });
            });
        });
        space.wait_for(0, 1);
        assert_eq!(wait(space), found);
        kill(child);
    }
}

/// Repeated non-blocking calls notice it too.
#[apply(isolated)]
fn found_by_polling() {
    let tries: [fn(&Space) -> Outcome; 3] = [
        |space| space.lock(0),
        |space| space.rdlock(0),
        |space| space.wrlock(0),
    ];
    for ((lock, _, found), try_lock) in LOCKS.into_iter().zip(tries) {
        let space = space();
        fork(|| {
            lock(space).unwrap();
            space.unmap();
        })
        .join();
        wait_until("the lost lock", || {
            let tried = try_lock(space);
            assert!(tried == found || tried == Err(libc::EAGAIN), "{tried:?}");
            tried == found
        });
    }
}

/// A process unmaps a lock that it holds, as an exit handler may, and ends. No process has reaped
/// it yet when another one acquires the lock.
#[apply(isolated)]
fn unmapped_at_exit() {
    for (lock, wait, found) in LOCKS {
        let space = space();
        let child = fork(|| {
            lock(space).unwrap();
            space.arrive(0);
            space.unmap();
        });
        space.wait_for(0, 1);
        assert_eq!(wait(space), found);
        child.join();
    }
}

/// The owners of all slots of a reader-writer lock have ended like that: no slot is free for a reader.
#[apply(isolated)]
fn all_readers() {
    for (timeout, readers) in [(LONG, 1), (-1, 3), (INTR, 3), (0, 1), (0, 128)] {
        let _case = Case(format!("time-out {timeout}, {readers} readers"));
        let space = space();
        // The last one lives.
        let living = PausedChild::start(|| space.rdlock(0).map(drop).unwrap(), || ());
        let lost = 127;
        for reader in 0..readers {
            fork(|| {
                for _ in (reader..lost).step_by(readers) {
                    space.rdlock(0).unwrap();
                }
                space.unmap();
            })
            .join();
        }
        fork(|| {
            if timeout == 0 {
                wait_until("a free slot", || space.rdlock(0) == CLEAN);
            } else {
                assert_eq!(space.rdlock(timeout), CLEAN);
            }
        })
        .join();
        living.finish();
    }
}

/// The kernel walks at most 2,048 mutexes of a dead owner's list.
#[apply(isolated)]
fn more_than_the_kernel_finds() {
    for space in spaces_of_dead_owner(2051) {
        assert_eq!(space.lock(LONG), DIED);
    }
}

/// The word of a field. The object begins at a cache line.
fn field<'a>(words: &'a [AtomicU32], layout: &[(&str, usize)], name: &str) -> &'a AtomicU32 {
    let (_, offset) = layout.iter().find(|(field, _)| *field == name).unwrap();
    let base = if name.starts_with("rest.") { 64 } else { 0 };
    &words[(base + offset) / 4]
}

fn mutex_field<'a>(space: &'a Space, name: &str) -> &'a AtomicU32 {
    field(space.mutex_words(), &Mutex::LAYOUT, name)
}

/// A thread has the same id as an earlier owner whose end was not noticed.
#[apply(isolated)]
fn id_is_used_again() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    fork(|| {
        // The word that the mutex would have if its owner had had this thread's id.
        mutex_field(space, "robust").store(thread_id() as u32, SeqCst);
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.lock(0), DIED);
        assert_eq!(space.lock(0), Err(EDEADLK));
        assert_eq!(space.consistent(), CLEAN);
        assert_eq!(space.unlock(), CLEAN);
    })
    .join();
    assert_eq!(space.unlock(), Err(EPERM));
    assert_eq!(space.lock(0), CLEAN);
}

/// The locks are in a file that existed before the last boot; their owners' ids are in use now.
#[apply(isolated)]
fn earlier_boot() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.rdlock(-1), CLEAN);
    let change = |words: [&AtomicU32; 2]| words.map(|word| word.fetch_xor(0x5555, SeqCst));
    let rwlock = |name| field(space.rwlock_words(), &Rwlock::LAYOUT, name);
    change([mutex_field(space, "home"), mutex_field(space, "origin")]);
    change([rwlock("rest.home"), rwlock("rest.origin")]);
    let waiters = [0; 4].map(|_| {
        fork(|| {
            let locked = space.lock(LONG);
            assert!(matches!(locked, DIED | CLEAN), "{locked:?}");
            assert_eq!(space.consistent(), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
            assert_eq!(space.wrlock(LONG), CLEAN);
            assert_eq!(space.wrunlock(), CLEAN);
        })
    });
    waiters.into_iter().for_each(Child::join);
    assert_eq!(space.unlock(), Err(EPERM));
    assert_eq!(space.rdunlock(), Err(EPERM));
    assert_eq!(space.lock(0), CLEAN);
    assert_eq!(space.wrlock(0), CLEAN);
}

/// In another PID namespace, an id stands for another thread. The owner and the caller have the
/// same id 1, each in its own namespace.
#[apply(isolated)]
#[needs(needs::root)]
fn other_namespace() {
    let space = raw_space();
    let owner = in_new_namespace(|| {
        assert_eq!(space.mutex_init(0), CLEAN);
        assert_eq!(space.rwlock_init(0), CLEAN);
        assert_eq!(space.lock(0), CLEAN);
        assert_eq!(space.wrlock(0), CLEAN);
        space.arrive(0);
        space.wait_for(1, 1);
        assert_eq!(space.unlock(), CLEAN);
        assert_eq!(space.wrunlock(), CLEAN);
    });
    space.wait_for(0, 1);
    refused(space);
    in_new_namespace(|| refused(space)).join();
    space.arrive(1);
    owner.join();
}

/// Forks the first process of a new PID namespace, and a child that waits for it.
fn in_new_namespace(run: impl FnOnce()) -> Child {
    fork(|| {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        fork(|| {
            assert_eq!(thread_id(), 1);
            run();
        })
        .join();
    })
}

fn refused(space: &Space) {
    for _ in 0..2 {
        assert_eq!(space.lock(0), Err(EXDEV));
        assert_eq!(space.rdlock(-1), Err(EXDEV));
        assert_eq!(space.wrlock(LONG), Err(EXDEV));
        assert_eq!(space.unlock(), Err(EPERM));
        assert_eq!(space.wrunlock(), Err(EPERM));
        assert_eq!(space.consistent(), Err(EPERM));
    }
}

/// After a raw clone(2), the C library in the child still has the parent's identity.
#[apply(isolated)]
fn raw_clone() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let flags = libc::SIGCHLD as c_long;
    // SAFETY: like fork, without the C library; the child only calls functions of unixipc.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert_ne!(pid, -1);
    if pid == 0 {
        let refused = space.lock(0) == Err(EOPNOTSUPP)
            && space.unlock() == Err(EOPNOTSUPP)
            && space.rdlock(0) == Err(EOPNOTSUPP);
        // SAFETY: no pointers.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    Child(pid as libc::pid_t).join();
    assert_eq!(space.lock(0), Err(EDEADLK));
    assert_eq!(space.unlock(), CLEAN);
}
