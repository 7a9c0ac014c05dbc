//! Which processes hold the lock, and which may release it.

use crate::support::*;
use libc::{EAGAIN, EINVAL, EPERM, ERANGE, c_int};
use std::fs;
use std::os::fd::AsRawFd;
use std::thread;
use unixipc::errno::Errno;
use unixipc::semlock;

#[apply(isolated)]
fn exclusion_rules() {
    let lock = Lock::new();
    for side in SIDES {
        for timeout in [0, 10, LONG, -1, INTR] {
            assert_eq!(lock.lock(side, timeout), CLEAN);
            fork(|| {
                let both_read = if side == Side::Read {
                    CLEAN
                } else {
                    Err(EAGAIN)
                };
                assert_eq!(lock.rd(0), both_read);
                assert_eq!(lock.wr(0), Err(EAGAIN));
            })
            .join();
            assert_eq!(lock.unlock(side), DONE);
            assert_eq!(lock.values(), [0; 4]);
        }
    }
    // A process may take several read locks, and each of them counts.
    assert_eq!([lock.rd(0), lock.rd(-1), lock.rd(10)], [CLEAN; 3]);
    for _ in 0..3 {
        assert_eq!(lock.wr(0), Err(EAGAIN));
        assert_eq!(lock.rd_un(), DONE);
    }
    assert_eq!(lock.wr(0), CLEAN);
    // It cannot get the write lock while it reads, either.
    assert_eq!(lock.wr(0), Err(EAGAIN));
    assert_eq!(lock.rd(0), Err(EAGAIN));
    assert_eq!(lock.wr_un(), DONE);
}

/// Writers keep two numbers equal; readers and writers see them equal, and no death is reported.
#[apply(isolated)]
fn exclusion() {
    let lock = Lock::new();
    let two = TwoNumbers::new();
    let rounds = scaled(4000);
    let children: Vec<Child> = (0..6)
        .map(|i| {
            fork(|| {
                for round in 0..rounds {
                    let timeout = WAITING_TIMEOUTS[round as usize % 3];
                    let side = SIDES[i % 2];
                    assert_eq!(lock.lock(side, timeout), CLEAN);
                    let (a, b) = two.get();
                    assert_eq!(a, b);
                    if side == Side::Write {
                        two.add();
                    }
                    assert_eq!(lock.unlock(side), DONE);
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::join);
    assert_eq!(two.get(), (3 * rounds, 3 * rounds));
    assert_eq!(lock.values(), [0; 4]);
}

#[apply(isolated)]
fn not_held() {
    let lock = Lock::new();
    for _ in 0..2 {
        assert_eq!(lock.rd_un(), Err(EPERM));
        assert_eq!(lock.wr_un(), Err(EPERM));
        assert_eq!(lock.consistent(), Err(EPERM));
        assert_eq!(lock.values(), [0; 4]);
    }
    assert_eq!(lock.rd(0), CLEAN);
    assert_eq!(lock.wr_un(), Err(EPERM));
    assert_eq!(lock.consistent(), Err(EPERM));
    assert_eq!(lock.rd_un(), DONE);
    assert_eq!(lock.rd_un(), Err(EPERM));
    assert_eq!(lock.wr(0), CLEAN);
    assert_eq!(lock.rd_un(), Err(EPERM));
    assert_eq!(lock.consistent(), DONE, "it is");
    assert_eq!(lock.values(), [0, 1, 0, 1]);
    assert_eq!(lock.wr_un(), DONE);
    assert_eq!(lock.wr_un(), Err(EPERM));
    assert_eq!(lock.values(), [0; 4]);
}

/// A process cannot release a lock that another process holds; its exit after the attempt changes
/// nothing.
#[apply(isolated)]
fn held_by_another() {
    let lock = Lock::new();
    let held = hold(&lock, Side::Write);
    let try_it = || {
        assert_eq!(lock.wr_un(), Err(EPERM));
        assert_eq!(lock.consistent(), Err(EPERM));
        assert_eq!(lock.rd_un(), Err(EPERM));
        assert_eq!(lock.values(), [0, 1, 0, 1]);
    };
    fork(try_it).join();
    assert_eq!(lock.values(), [0, 1, 0, 1]);
    try_it();
    held.finish();
    assert_eq!(lock.values(), [0; 4]);
    // Nor a lock whose data needs repair.
    die_holding(&lock);
    let held = PausedChild::start(|| assert_eq!(lock.wr(0), DIED), || ());
    assert_eq!(lock.consistent(), Err(EPERM));
    assert_eq!(lock.wr_un(), Err(EPERM));
    kill(held.child);
    assert_eq!(lock.rd(0), DIED);
    assert_eq!(lock.rd_un(), DONE);
}

/// A child made by fork does not have its parent's lock, and its exit releases nothing.
#[apply(isolated)]
fn child_of_the_owner() {
    let lock = Lock::new();
    assert_eq!(lock.wr(0), CLEAN);
    fork(|| {
        assert_eq!(lock.wr(0), Err(EAGAIN));
        assert_eq!(lock.wr_un(), Err(EPERM));
    })
    .join();
    assert_eq!(lock.values(), [0, 1, 0, 1]);
    assert_eq!(lock.wr_un(), DONE);
    assert_eq!(lock.rd(0), CLEAN);
    fork(|| ()).join();
    assert_eq!(lock.values(), [1, 0, 0, 0]);
    assert_eq!(lock.rd_un(), DONE);
}

/// The process owns the lock: another thread can release it, and the end of a thread does not.
#[apply(isolated)]
fn threads() {
    let lock = Lock::new();
    for side in SIDES {
        thread::scope(|scope| {
            let ended = scope.spawn(|| assert_eq!(lock.lock(side, -1), CLEAN));
            ended.join().unwrap();
        });
        fork(|| assert_eq!(lock.wr(0), Err(EAGAIN))).join();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(lock.unlock(side), DONE));
        });
        assert_eq!(lock.values(), [0; 4]);
    }
    // A thread waits for another thread.
    assert_eq!(lock.wr(0), CLEAN);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| assert_eq!(lock.wr(LONG), CLEAN));
        lock.wait_for_waiters(1);
        assert_eq!(lock.wr_un(), DONE);
        waiting.join().unwrap();
    });
    assert_eq!(lock.wr_un(), DONE);
    let sum = shared_words(1);
    let rounds = scaled(1000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                use std::sync::atomic::Ordering::Relaxed;
                for _ in 0..rounds {
                    assert_eq!(lock.wr(-1), CLEAN);
                    sum[0].store(sum[0].load(Relaxed) + 1, Relaxed);
                    assert_eq!(lock.wr_un(), DONE);
                }
            });
        }
    });
    assert_eq!(
        sum[0].load(std::sync::atomic::Ordering::Relaxed),
        4 * rounds
    );
}

/// A program that the process executes still holds the lock; its exit releases it.
#[apply(isolated)]
fn across_exec() {
    let lock = Lock::new();
    let (read, write) = pipe();
    let child = fork(|| {
        assert_eq!(lock.wr(0), CLEAN);
        // SAFETY: no pointers. The program must not inherit the other end of the pipe.
        unsafe { libc::dup2(read.as_raw_fd(), 0) };
        let args = [c"cat".as_ptr(), std::ptr::null()];
        // SAFETY: strings, and an array that ends with NULL.
        unsafe { libc::execvp(args[0], args.as_ptr()) };
        panic!("cat");
    });
    wait_until("cat", || {
        fs::read_to_string(format!("/proc/{}/comm", child.0)).unwrap() == "cat\n"
    });
    assert_eq!(lock.values(), [0, 1, 0, 1]);
    drop((read, write));
    child.join();
    assert_eq!(lock.wr(0), DIED);
}

/// The limit is 32767 read locks.
#[apply(isolated)]
fn most_readers() {
    let lock = Lock::new();
    for _ in 0..32767 {
        assert_eq!(lock.rd(0), CLEAN);
    }
    for timeout in [0, 10, -1] {
        assert_eq!(lock.rd(timeout), Err(ERANGE));
        fork(|| assert_eq!(lock.rd(timeout), Err(ERANGE))).join();
    }
    assert_eq!(lock.wr(0), Err(EAGAIN));
    assert_eq!(lock.rd_un(), DONE);
    fork(|| assert_eq!(lock.rd(0), CLEAN)).join();
    for _ in 1..32767 {
        assert_eq!(lock.rd_un(), DONE);
    }
    assert_eq!(lock.values(), [0; 4]);
    fork(|| {
        for _ in 0..32767 {
            assert_eq!(lock.rd(0), CLEAN);
        }
    })
    .join();
    assert_eq!(lock.values(), [0; 4], "the exit released them");
}

#[apply(isolated)]
fn removed_while_held() {
    for side in SIDES {
        let lock = Lock::new();
        let held = PausedChild::start(
            || assert_eq!(lock.lock(side, 0), CLEAN),
            || assert_eq!(lock.unlock(side), Err(EINVAL)),
        );
        assert_eq!(lock.remove(), DONE);
        held.finish();
    }
}

/// A process that may use a lock, but not remove it, leaves it free and its data consistent.
#[apply(isolated)]
#[needs(needs::root)]
fn refused_removal() {
    let lock = Lock::with_id(open(fresh_key(), libc::IPC_CREAT | 0o606).unwrap() as c_int);
    as_nobody(|| {
        assert_eq!(semlock::remove_free(lock.id), Err(Errno::EPERM));
        assert_eq!(lock.values(), [0; 4]);
    });
    assert_eq!(lock.wr(0), CLEAN);
    assert_eq!(lock.wr_un(), DONE);
    // The state of the data stays, too.
    fork(|| assert_eq!(lock.wr(0), CLEAN)).join();
    as_nobody(|| assert_eq!(semlock::remove_free(lock.id), Err(Errno::EPERM)));
    assert_eq!(lock.wr(0), DIED);
}
