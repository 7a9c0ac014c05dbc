//! Waiting for a value, and for another writer.

use crate::support::*;
use common::filter::refuse_where;
use libc::{
    BPF_JSET, EAGAIN, EINTR, ENOSYS, EPERM, ETIMEDOUT, FUTEX_REQUEUE, PROT_NONE, PROT_READ,
    PROT_WRITE, SA_RESTART, SIGSEGV, SIGSTOP, SIGUSR1, SYS_futex, WIFSTOPPED, WUNTRACED, alarm,
    c_int, kill, raise, sigaction, sighandler_t, waitpid,
};
use std::time::Duration;
use unixipc::ffi::cell::{ipc_cell_memory_size, ipc_cell_store};

#[apply(isolated)]
fn returns_at_once() {
    let (_memory, cell) = new_cell(8, WAITABLE);
    for timeout in [-1, 0, 1, LONG, INTR] {
        for seen in [1, 2, u64::MAX, 1 << 32, u64::from(u32::MAX)] {
            assert_eq!(cell.wait(seen, timeout), Ok(0), "{seen:#x} without a value");
        }
    }
    cell.store(b"a", 0).unwrap();
    for timeout in [-1, 0, 1, LONG, INTR] {
        for seen in [0, 2, u64::MAX, 1 << 32, (1 << 32) + 1] {
            assert_eq!(
                cell.wait(seen, timeout),
                Ok(0),
                "{seen:#x}, the version is 1"
            );
        }
    }
}

#[apply(isolated)]
fn first_value() {
    let (_memory, cell) = new_cell(8, WAITABLE);
    let child = fork(|| {
        assert_eq!(cell.wait(0, -1), Ok(0));
        assert_eq!(cell.load(), Ok((b"first".to_vec(), 1)));
    });
    child.wait_asleep();
    cell.store(b"first", 0).unwrap();
    child.join();
}

#[apply(isolated)]
fn time_outs() {
    let (_memory, cell) = new_cell(8, WAITABLE);
    for seen in [0, 1] {
        assert_eq!(timed(|| cell.wait(seen, 0)).0, Err(EAGAIN));
        for timeout in [1, 30, 200] {
            let (got, took) = timed(|| cell.wait(seen, timeout));
            assert_eq!(got, Err(ETIMEDOUT));
            let least = Duration::from_millis(timeout as u64);
            assert!(
                took >= least && took < least + Duration::from_secs(5),
                "{took:?}"
            );
        }
        cell.store(b"x", 0).unwrap();
    }
}

/// A waiting process uses no processor time until a store wakes it.
#[apply(isolated)]
fn sleeps_without_polling() {
    let (_memory, cell) = new_cell(8, WAITABLE);
    let before = cpu_time();
    assert_eq!(cell.wait(0, 700), Err(ETIMEDOUT));
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(70), "{used:?} of 700 ms");
}

/// A process that can only read the memory requeues the waiters to a futex that no store wakes.
#[apply(isolated)]
fn requeued_waiters() {
    let file = memfd(ipc_cell_memory_size(8));
    let memory = Memory::of(&file, ipc_cell_memory_size(8), PROT_READ | PROT_WRITE);
    for (timeout, flags) in [(-1, WAITABLE), (LONG, WAITABLE_RDONLY), (INTR, WAITABLE)] {
        let cell = memory.init(8, flags).unwrap();
        let seen = cell.load().map_or(0, |(_, version)| version);
        let waiting = fork(|| {
            // SAFETY: no pointers.
            unsafe { alarm(10) };
            assert_eq!(cell.wait(seen, timeout), Ok(0));
        });
        waiting.wait_asleep();
        let view = Memory::of(&file, memory.size, PROT_READ);
        // SAFETY: within the memory.
        let published = unsafe { view.at.add(layout::PUBLISHED) };
        let (none, all) = (0, c_int::MAX);
        // It returns to sleep from time to time.
        wait_until("a waiter that is moved", || {
            // SAFETY: the kernel uses the addresses only as keys.
            let moved =
                unsafe { libc::syscall(SYS_futex, published, FUTEX_REQUEUE, none, all, view.at) };
            moved == 1
        });
        cell.store(b"x", 0).unwrap();
        waiting.join();
    }
}

#[apply(isolated)]
fn wakes_all() {
    for (flags, own_flags) in [(WAITABLE, [0; 2]), (WAITABLE_RDONLY, [0, RDONLY])] {
        let (memory, cell) = new_cell(8, flags);
        let children: Vec<Child> = (0..20)
            .map(|i| {
                let memory = &memory;
                fork(move || {
                    let own = memory.open(own_flags[i % 2]).unwrap();
                    assert_eq!(own.wait(0, if i % 3 == 0 { -1 } else { LONG }), Ok(0));
                    assert_eq!(own.version(), 1);
                })
            })
            .collect();
        children.iter().for_each(Child::wait_asleep);
        cell.store(b"now", 0).unwrap();
        children.into_iter().for_each(Child::join);
    }
}

/// A waiter with read-only memory is woken too, and so is a waiter next to one that was killed.
#[apply(isolated)]
fn read_only() {
    let size = unixipc::ffi::cell::ipc_cell_memory_size(8);
    let file = memfd(size);
    let memory = Memory::of(&file, size, PROT_READ | PROT_WRITE);
    let cell = memory.init(8, WAITABLE_RDONLY).unwrap();
    let view = Memory::of(&file, size, PROT_READ);
    let reader = view.open(RDONLY).unwrap();
    let wait = || assert_eq!(reader.wait(0, LONG), Ok(0));
    let [killed, first, second] = [fork(wait), fork(wait), fork(wait)];
    for child in [&killed, &first, &second] {
        child.wait_asleep();
    }
    drop(killed);
    cell.store(b"x", 0).unwrap();
    first.join();
    second.join();
}

/// The announcement in the memory: odd while a thread may be asleep.
fn is_announced(memory: &Memory) -> bool {
    memory.peek::<u32>(layout::WAITERS) % 2 != 0
}

/// A waiter that is killed leaves its announcement; the next store clears it.
#[apply(isolated)]
fn killed_waiter() {
    let (memory, cell) = new_cell(8, WAITABLE);
    assert!(!is_announced(&memory));
    let [killed, other] = [(), ()].map(|()| fork(|| assert_eq!(cell.wait(0, LONG), Ok(0))));
    killed.wait_asleep();
    other.wait_asleep();
    drop(killed);
    assert!(is_announced(&memory));
    cell.store(b"x", 0).unwrap();
    other.join();
    assert!(!is_announced(&memory));

    // Nor does a waiter leave one when its time-out expires.
    assert_eq!(cell.wait(1, 5), Err(ETIMEDOUT));
    assert!(is_announced(&memory));
    cell.store(b"y", 0).unwrap();
    assert!(!is_announced(&memory));
    assert_eq!(cell.version(), 2);
}

/// A sleeping thread whose announcement is lost for any reason checks the version itself.
#[apply(isolated)]
fn late_announcement() {
    let (memory, cell) = new_cell(8, WAITABLE);
    for timeout in [-1, LONG, INTR] {
        let seen = cell.load().map_or(0, |(_, version)| version);
        let waiting = fork(|| {
            let (waited, took) = timed(|| cell.wait(seen, timeout));
            assert_eq!(waited, Ok(0));
            assert!(took < Duration::from_secs(5), "{took:?}");
        });
        waiting.wait_asleep();
        memory.poke(layout::WAITERS, 0u32);
        cell.store(b"x", 0).unwrap();
        waiting.join();
    }
}

/// A writer that saw no announcement is killed between its publication and the wake-up: the waiter
/// still sees the value.
#[apply(isolated)]
fn killed_between() {
    let (memory, cell) = new_cell(8, WAITABLE);
    let waiting = fork(|| assert_eq!(cell.wait(0, LONG), Ok(0)));
    waiting.wait_asleep();
    // The state that such a writer leaves: the value is published, the waiter is announced.
    let stride = memory.peek::<u64>(layout::STRIDE) as usize;
    let slot = layout::FIRST_SLOT + stride;
    memory.poke(slot + size_of::<u64>(), 1u64);
    memory.poke(slot, 1u64);
    memory.poke(layout::PUBLISHED, 1u32);
    waiting.join();
    assert_eq!(cell.version(), 1);
}

/// A store without a waiting thread makes no system call, even with a sole writer.
#[apply(isolated)]
fn cost() {
    for flags in [WAITABLE, WAITABLE | SOLE] {
        let (memory, cell) = new_cell(8, flags & WAITABLE);
        let stores = |cell: &Cell| {
            (0..200u64).all(|number| {
                // SAFETY: a handle, and a value of 8 bytes. The result is the only report.
                unsafe { ipc_cell_store(cell.0, (&raw const number).cast(), 8, -1) == 0 }
            })
        };
        // With a thread that does not wait, and with one that has waited.
        for waited in [false, true] {
            if waited {
                let version = cell.load().map_or(0, |(_, version)| version);
                assert_eq!(cell.wait(version, 5), Err(ETIMEDOUT));
                assert_eq!(cell.store(b"is read", 0), Ok(0));
            }
            fork(|| {
                let own = memory.open(flags & SOLE).unwrap();
                // The first store queries the process ID.
                assert_eq!(own.store(b"first", 0), Ok(0));
                // SAFETY: no pointers; from here on any other system call kills.
                let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
                assert_eq!(done, 0);
                let all = stores(&own);
                // SAFETY: exit, not exit_group, which the filter refuses.
                unsafe { libc::syscall(libc::SYS_exit, if all { 0 } else { 1 }) };
            })
            .join();
        }
    }
}

/// A filter refuses the call that publishes and wakes in one step; the library makes two calls
/// instead.
#[apply(isolated)]
fn refused_wake_up() {
    for (error, flags) in [(ENOSYS, WAITABLE), (EPERM, WAITABLE_RDONLY)] {
        let (_memory, cell) = new_cell(8, flags);
        let waiting = fork(|| assert_eq!(cell.wait(0, LONG), Ok(0)));
        waiting.wait_asleep();
        fork(|| {
            // The third bit is set in FUTEX_WAKE_OP, but in neither FUTEX_WAIT nor FUTEX_WAKE.
            refuse_where(SYS_futex, 1, BPF_JSET, 4, error);
            assert_eq!(cell.store(b"x", 0), Ok(0));
            let errno = std::io::Error::last_os_error().raw_os_error();
            assert_eq!(errno, Some(SENTINEL), "a success leaves errno alone");
        })
        .join();
        waiting.join();
        assert_eq!(cell.version(), 1);
    }
}

#[apply(isolated)]
fn signals() {
    extern "C" fn nothing(_: c_int) {}
    for flags in [0, SA_RESTART] {
        // SAFETY: all zero bytes are a sigaction.
        let mut action: sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(c_int) as sighandler_t;
        action.sa_flags = flags;
        // SAFETY: the handler does nothing.
        assert_eq!(
            unsafe { sigaction(SIGUSR1, &action, std::ptr::null_mut()) },
            0
        );
        let (_memory, cell) = new_cell(100, WAITABLE);

        let interrupted = fork(|| assert_eq!(cell.wait(0, INTR), Err(EINTR)));
        interrupted.interrupt(SIGUSR1);
        interrupted.join();

        let stopped = stopped_writer(&cell);
        let interrupted = fork(|| assert_eq!(cell.store(b"mine", INTR), Err(EINTR)));
        interrupted.interrupt(SIGUSR1);
        interrupted.join();
        drop(stopped);

        let goes_on = fork(|| {
            assert_eq!(cell.wait(0, -1), Ok(0));
            let (got, took) = timed(|| cell.wait(1, 300));
            assert_eq!(got, Err(ETIMEDOUT));
            assert!(took < Duration::from_secs(5), "{took:?}");
        });
        for _ in 0..50 {
            goes_on.wait_asleep();
            goes_on.signal(SIGUSR1);
        }
        cell.store(b"x", 0).unwrap();
        // Signals do not lengthen a time-out.
        let pid = goes_on.0;
        let storm = fork(|| {
            loop {
                // SAFETY: no pointers.
                unsafe { kill(pid, SIGUSR1) };
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        goes_on.join();
        drop(storm);
    }
}

/// Two processes wait for each other's values in turn: a lost wake-up would hang them.
#[apply(isolated)]
fn no_value_is_missed() {
    let (_memory, ping) = new_cell(8, WAITABLE);
    let (_memory, pong) = new_cell(8, WAITABLE);
    let rounds = scaled(20_000);
    let answers = |from: &Cell, to: &Cell| {
        for number in 0..rounds {
            assert_eq!(from.wait(number, LONG), Ok(0));
            let (value, version) = from.load().unwrap();
            assert_eq!(
                (version, &value[..]),
                (number + 1, &number.to_le_bytes()[..])
            );
            assert_eq!(to.store(&number.to_le_bytes(), LONG), Ok(0));
        }
    };
    let child = fork(|| answers(&ping, &pong));
    for number in 0..rounds {
        assert_eq!(ping.store(&number.to_le_bytes(), LONG), Ok(0));
        assert_eq!(pong.wait(number, LONG), Ok(0), "round {number}");
    }
    child.join();
}

/// A version that differs only in its high half.
#[apply(isolated)]
fn low_half_is_the_same() {
    let (memory, cell) = new_cell(8, WAITABLE);
    cell.store(b"x", 0).unwrap();
    let stride = memory.peek::<u64>(layout::STRIDE) as usize;
    memory.poke(layout::FIRST_SLOT + stride, (1u64 << 32) + 1);
    assert_eq!(cell.wait(1, -1), Ok(0));
    assert_eq!(cell.wait((1 << 32) + 1, 0), Err(EAGAIN));
    assert_eq!(cell.version(), (1 << 32) + 1);
}

/// A child that is stopped during a store, while it holds the lock: the store copies from an
/// unreadable page, and the fault handler stops the child.
fn stopped_writer(cell: &Cell) -> Child {
    extern "C" fn stop_here(_: c_int) {
        // SAFETY: no pointers.
        unsafe { raise(SIGSTOP) };
    }
    let child = fork(|| {
        // SAFETY: all zero bytes are a sigaction.
        let mut action: sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = stop_here as extern "C" fn(c_int) as sighandler_t;
        // SAFETY: the handler makes only async-signal-safe calls.
        assert_eq!(
            unsafe { sigaction(SIGSEGV, &action, std::ptr::null_mut()) },
            0
        );
        let file = memfd(4096);
        let nothing = Memory::of(&file, 4096, PROT_NONE);
        let _ = cell.store_raw(nothing.at.cast(), 100, -1);
    });
    let mut status = 0;
    // SAFETY: the status is ours.
    let pid = unsafe { waitpid(child.0, &mut status, WUNTRACED) };
    assert!(pid == child.0 && WIFSTOPPED(status), "{status:#x}");
    child
}

/// While a writer is stopped during a store, readers see the last value, and writers time out.
#[apply(isolated)]
fn store_waits_for_a_stopped_writer() {
    let (memory, cell) = new_cell(100, WAITABLE);
    cell.store(b"before", 0).unwrap();
    let stopped = stopped_writer(&cell);
    let other = memory.open(0).unwrap();
    assert_eq!(other.load(), Ok((b"before".to_vec(), 1)));
    assert_eq!(other.wait(1, 0), Err(EAGAIN));
    assert_eq!(other.store(b"mine", 0), Err(EAGAIN));
    for timeout in [1, 100] {
        let (got, took) = timed(|| other.store(b"mine", timeout));
        assert_eq!(got, Err(ETIMEDOUT));
        let least = Duration::from_millis(timeout as u64);
        assert!(
            took >= least && took < least + Duration::from_secs(5),
            "{took:?}"
        );
    }
    let waiting = fork(|| assert_eq!(other.store(b"later", -1), Ok(0)));
    waiting.wait_asleep();
    assert_eq!(other.load(), Ok((b"before".to_vec(), 1)));
    // After it is killed, the next writer can store.
    drop(stopped);
    waiting.join();
    assert_eq!(other.load(), Ok((b"later".to_vec(), 2)));
}

/// Writers that are repeatedly killed during a store block no other process.
#[apply(isolated)]
fn store_after_a_dead_writer() {
    let (_memory, cell) = new_cell(100, 0);
    for number in 1..100u64 {
        drop(stopped_writer(&cell));
        assert_eq!(cell.store(&number.to_le_bytes(), 0), Ok(0));
        assert_eq!(cell.load(), Ok((number.to_le_bytes().to_vec(), number)));
    }
}
