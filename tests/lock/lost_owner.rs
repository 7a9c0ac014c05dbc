//! Owners whose end the kernel does not report: a waiter finds out that they no longer exist.

use crate::support::*;
use libc::{EDEADLK, EOPNOTSUPP, EPERM, EXDEV, c_long};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use unixipc::lock::mutex::Mutex;
use unixipc::lock::rwlock::Rwlock;

/// Each lock: how it is locked, and how another process then waits for it.
type Locks = [(fn(&Space) -> Outcome, fn(&Space) -> Outcome, Outcome); 3];
const LOCKS: Locks = [
    (|space| space.lock(-1), |space| space.lock(LONG), DIED),
    (|space| space.wrlock(-1), |space| space.rdlock(LONG), DIED),
    (|space| space.rdlock(-1), |space| space.wrlock(LONG), CLEAN),
];

/// A thread other than the main one executes a program: the kernel gives it another id before it
/// looks for its mutexes.
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

/// Calls that must not wait find out too, when they are made again and again.
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
        wait_until("the lock", || {
            let tried = try_lock(space);
            assert!(tried == found || tried == Err(libc::EAGAIN), "{tried:?}");
            tried == found
        });
    }
}

/// A process removes the mapping while a thread holds a lock, as an exit handler may, and ends. It
/// is not even waited for.
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

/// The kernel walks a list of at most 2,048 mutexes.
#[apply(isolated)]
fn more_than_the_kernel_finds() {
    const MANY: usize = 2051;
    let spaces: Vec<_> = (0..MANY).map(|_| space()).collect();
    fork(|| {
        for space in &spaces {
            assert_eq!(space.lock(-1), CLEAN);
        }
    })
    .join();
    for space in &spaces {
        assert_eq!(space.lock(LONG), DIED);
    }
}

/// The word of a field, of an object that begins at a cache line.
fn field<'a>(words: &'a [AtomicU32], layout: &[(&str, usize)], name: &str) -> &'a AtomicU32 {
    let (_, offset) = layout.iter().find(|(field, _)| *field == name).unwrap();
    let base = if name.starts_with("rest.") { 64 } else { 0 };
    &words[(base + offset) / 4]
}

fn of_mutex<'a>(space: &'a Space, name: &str) -> &'a AtomicU32 {
    field(space.mutex_words(), &Mutex::LAYOUT, name)
}

/// A thread has the id that an earlier owner had, which ended unnoticed.
#[apply(isolated)]
fn id_is_used_again() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    fork(|| {
        // The word that the parent's mutex would have if this thread's id had been its owner's.
        of_mutex(space, "robust").store(thread_id() as u32, SeqCst);
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

/// The locks lie in a file that has outlived a boot, and are held by ids that are in use now.
#[apply(isolated)]
fn earlier_boot() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    assert_eq!(space.rdlock(-1), CLEAN);
    let change = |words: [&AtomicU32; 2]| words.map(|word| word.fetch_xor(0x5555, SeqCst));
    let rwlock = |name| field(space.rwlock_words(), &Rwlock::LAYOUT, name);
    change([of_mutex(space, "home"), of_mutex(space, "origin")]);
    change([rwlock("rest.home"), rwlock("rest.origin")]);
    let late = [0; 4].map(|_| {
        fork(|| {
            let locked = space.lock(LONG);
            assert!(matches!(locked, DIED | CLEAN), "{locked:?}");
            assert_eq!(space.consistent(), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
            assert_eq!(space.wrlock(LONG), CLEAN);
            assert_eq!(space.wrunlock(), CLEAN);
        })
    });
    late.into_iter().for_each(Child::join);
    assert_eq!(space.unlock(), Err(EPERM));
    assert_eq!(space.rdunlock(), Err(EPERM));
    assert_eq!(space.lock(0), CLEAN);
    assert_eq!(space.wrlock(0), CLEAN);
}

/// In another PID namespace the ids mean other threads. The owner and one that tries are both
/// number 1 of their own.
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

/// The C library takes the child of a bare clone(2) for its parent.
#[apply(isolated)]
fn bare_clone() {
    let space = space();
    assert_eq!(space.lock(-1), CLEAN);
    let flags = libc::SIGCHLD as c_long;
    // SAFETY: like fork, but past the C library; the child only makes calls of the library.
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
