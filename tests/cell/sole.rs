//! The sole writer: while it exists no other process stores; after its end, however it happens,
//! others can.

use crate::support::*;
use libc::{EAGAIN, EBUSY, EDEADLK, EINVAL, EPERM, EPROTO, ETIMEDOUT};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use unixipc::ffi::cell::ipc_cell_memory_size;

/// The results of another process while there is a sole writer.
fn assert_others_excluded(memory: &Memory) {
    fork(|| {
        assert_eq!(memory.open(SOLE).unwrap_err(), EBUSY);
        let other = memory.open(0).unwrap();
        assert_eq!(other.store(b"other", 0), Err(EAGAIN));
        assert_eq!(other.store(b"other", 20), Err(ETIMEDOUT));
    })
    .join();
}

/// The results of another process when there is no sole writer.
fn assert_others_can_store(memory: &Memory) {
    fork(|| {
        let other = memory.open(0).unwrap();
        let before = other.load().map_or(0, |(_, version)| version);
        assert_eq!(other.store(b"other", LONG), Ok(0));
        let alone = memory.open(SOLE).unwrap();
        assert_eq!(alone.store(b"alone", 0), Ok(0));
        assert_eq!(alone.load(), Ok((b"alone".to_vec(), before + 2)));
    })
    .join();
}

#[apply(isolated)]
fn excludes_others() {
    for waitable in [0, WAITABLE, WAITABLE_RDONLY] {
        let (memory, first) = new_cell(100, waitable | SOLE);
        assert_others_excluded(&memory);
        for number in 1..=100u64 {
            assert_eq!(first.store(&number.to_le_bytes(), 0), Ok(0));
            let reader = memory.open(RDONLY).unwrap();
            assert_eq!(reader.load(), Ok((number.to_le_bytes().to_vec(), number)));
        }
        assert_others_excluded(&memory);
        drop(first);
        assert_others_can_store(&memory);

        let second = memory.open(SOLE).unwrap();
        assert_others_excluded(&memory);
        drop(second);
        assert_others_can_store(&memory);
    }
}

/// A thread that is not the main thread executes a program: the kernel does not report that the
/// writer has gone.
#[apply(isolated)]
fn executes_a_program() {
    let (memory, first) = new_cell(100, 0);
    drop(first);
    let child = fork(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let alone = memory.open(SOLE).unwrap();
                assert_eq!(alone.store(b"value", 0), Ok(0));
                panic!("{}", Command::new("sleep").arg("100").exec());
            });
        });
    });
    let comm = format!("/proc/{}/comm", child.0);
    wait_until("the program", || {
        std::fs::read_to_string(&comm).unwrap() == "sleep\n"
    });
    wait_until("the sole writer's right", || match memory.open(SOLE) {
        Ok(alone) => alone.store(b"other", 0) == Ok(0),
        Err(error) => {
            assert_eq!(error, EBUSY);
            false
        }
    });
    child.signal(libc::SIGKILL);
    child.reap();
}

/// The same thread with another handle; another thread with the same handle.
#[apply(isolated)]
fn mistakes() {
    let (memory, alone) = new_cell(100, SOLE);
    assert_eq!(memory.open(SOLE).unwrap_err(), EBUSY);
    assert_eq!(memory.open(SOLE | RDONLY).unwrap_err(), EINVAL);
    let other = memory.open(0).unwrap();
    assert_eq!(other.store(b"other", LONG), Err(EDEADLK));
    let handle = alone.0 as usize;
    thread::spawn(move || {
        let alone = Cell(handle as *mut _);
        assert_eq!(alone.store(b"thread", 0), Err(EPERM));
        // Only the thread that opened the handle may close it.
        std::mem::forget(alone);
    })
    .join()
    .unwrap();
    assert_eq!(alone.store(b"alone", 0), Ok(0));
    assert_eq!(alone.load(), Ok((b"alone".to_vec(), 1)));
}

/// A waiting store proceeds when the sole writer closes its handle or is killed.
#[apply(isolated)]
fn others_wait_for_its_end() {
    for killed in [false, true] {
        let (memory, _first) = new_cell(100, 0);
        let (mut ready, mut is_ready) = pipe();
        let (mut end, mut ends) = pipe();
        let alone = fork(|| {
            let alone = memory.open(SOLE).unwrap();
            assert_eq!(alone.store(b"alone", 0), Ok(0));
            put(&mut is_ready);
            get(&mut end);
            drop(alone);
            get(&mut end); // the process continues to run
        });
        get(&mut ready);
        let waiting = fork(|| {
            let other = memory.open(0).unwrap();
            assert_eq!(other.store(b"other", LONG), Ok(0));
        });
        waiting.wait_asleep();
        if killed {
            drop(alone);
            waiting.join();
        } else {
            put(&mut ends);
            waiting.join();
            put(&mut ends);
            alone.join();
        }
        let reader = memory.open(RDONLY).unwrap();
        assert_eq!(reader.load(), Ok((b"other".to_vec(), 2)));
        assert_others_can_store(&memory);
    }
}

fn put(pipe: &mut File) {
    use std::io::Write;
    pipe.write_all(&[0]).unwrap();
}

fn get(pipe: &mut File) {
    use std::io::Read;
    pipe.read_exact(&mut [0]).unwrap();
}

/// A thread that ends without closing its handle does not block others.
#[apply(isolated)]
fn ends_with_its_thread() {
    let (memory, first) = new_cell(100, 0);
    let (at, size) = (memory.at as usize, memory.size);
    let (sender, handle) = mpsc::channel();
    thread::spawn(move || {
        let alone = open_raw(at as *const _, size, SOLE).unwrap();
        assert_eq!(alone.store(b"alone", 0), Ok(0));
        sender.send(alone.0 as usize).unwrap();
        std::mem::forget(alone);
    })
    .join()
    .unwrap();
    let left = Cell(handle.recv().unwrap() as *mut _);
    assert_eq!(first.store(b"first", 0), Ok(0));
    assert_others_can_store(&memory);
    // Closing the remaining handle does not affect the next sole writer.
    let next = memory.open(SOLE).unwrap();
    drop(left);
    assert_others_excluded(&memory);
    drop(next);
}

/// The C library gives a new thread the pthread_t of an ended one: the handle of the ended
/// thread still does not belong to the new one.
#[apply(isolated)]
fn is_not_a_later_thread() {
    let (memory, first) = new_cell(100, 0);
    let (at, size) = (memory.at as usize, memory.size);
    // SAFETY: has no preconditions.
    let me = || unsafe { libc::pthread_self() };
    let (handle, keeper) = thread::spawn(move || {
        let alone = open_raw(at as *const _, size, SOLE).unwrap();
        assert_eq!(alone.store(b"alone", 0), Ok(0));
        let handle = alone.0 as usize;
        std::mem::forget(alone);
        (handle, me())
    })
    .join()
    .unwrap();
    let later = move || {
        let left = Cell(handle as *mut _);
        assert_eq!(left.store(b"later", 0), Err(EPERM));
        // Closing it does not release the other handle of this thread.
        let alone = open_raw(at as *const _, size, SOLE).unwrap();
        assert_eq!(left.store(b"later", 0), Err(EPERM));
        drop(left);
        assert_eq!(alone.store(b"alone", 0), Ok(0));
        fork(|| {
            let other = open_raw(at as *const _, size, SOLE);
            assert_eq!(other.unwrap_err(), EBUSY);
        })
        .join();
    };
    let ran = (0..100).any(|_| {
        let is_it = move || {
            me() == keeper && {
                later();
                true
            }
        };
        thread::spawn(is_it).join().unwrap()
    });
    assert!(ran, "no thread was known by the same");
    assert_eq!(first.load(), Ok((b"alone".to_vec(), 2)));
}

/// Finding the cell includes finding its sole writer.
#[apply(isolated)]
fn from_the_beginning() {
    let cells_max = scaled(20_000) as usize;
    let size = ipc_cell_memory_size(8).next_multiple_of(64);
    let memory = Memory::new(cells_max * size + 64);
    let at = memory.at as usize;
    let address = move |number: usize| (at + number * size) as *mut libc::c_void;
    // SAFETY: within the memory, aligned.
    let sought = unsafe { AtomicUsize::from_ptr(address(cells_max).cast()) };
    let seeker = fork(|| {
        for number in 0..cells_max {
            sought.store(number + 1, Ordering::Relaxed);
            let found = loop {
                match open_raw(address(number), size, SOLE) {
                    Err(EPROTO) => thread::yield_now(),
                    found => break found.map(drop),
                }
            };
            assert_eq!(found, Err(EBUSY), "{number}");
        }
    });
    let mut cells = Vec::new();
    for number in 0..cells_max {
        while sought.load(Ordering::Relaxed) <= number {
            thread::yield_now();
        }
        cells.push(init_raw(address(number), size, 8, SOLE).unwrap());
    }
    seeker.join();
}

/// A child after fork cannot store with the handle, even if it forks again or its parent has
/// exited. Closing the handle in the child does not affect the parent.
#[apply(isolated)]
fn belongs_to_the_parent() {
    for waitable in [0, WAITABLE, WAITABLE_RDONLY] {
        let (memory, alone) = new_cell(100, SOLE | waitable);
        assert_eq!(alone.store(b"first", 0), Ok(0));
        fork(|| {
            for timeout in [-1, 0, 10, INTR] {
                assert_eq!(alone.store(b"child", timeout), Err(EPERM));
            }
            fork(|| assert_eq!(alone.store(b"grandchild", 0), Err(EPERM))).join();
            // Nor can a thread of the child.
            let handle = alone.0 as usize;
            thread::spawn(move || {
                let alone = Cell(handle as *mut _);
                assert_eq!(alone.store(b"thread", 0), Err(EPERM));
                std::mem::forget(alone);
            })
            .join()
            .unwrap();
            drop(Cell(alone.0));
        })
        .join();
        assert_others_excluded(&memory);
        assert_eq!(alone.load(), Ok((b"first".to_vec(), 1)));
        assert_eq!(alone.store(b"alone", 0), Ok(0));
    }
}

/// When the parent has closed its handle, the child can become the sole writer with its own handle,
/// but the inherited handle still cannot store.
#[apply(isolated)]
fn child_becomes_the_writer() {
    let (memory, alone) = new_cell(100, SOLE);
    let (mut closed, mut is_closed) = pipe();
    let inherited = Cell(alone.0);
    let child = fork(|| {
        get(&mut closed);
        assert_eq!(inherited.store(b"inherited", 0), Err(EPERM));
        let own = memory.open(SOLE).unwrap();
        assert_eq!(own.store(b"own", 0), Ok(0));
        assert_eq!(inherited.store(b"inherited", 0), Err(EPERM));
    });
    // The child's copy of the handle.
    std::mem::forget(inherited);
    drop(alone);
    put(&mut is_closed);
    child.join();
    assert_others_can_store(&memory);
}
