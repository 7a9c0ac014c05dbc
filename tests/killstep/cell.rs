//! The cell: whichever process is killed, the last complete value stays, and the next store works.

use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{DeathNotice, Outcome, outcome};
use common::isolated::apply;
use common::memory::page_size;
use libc::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const WAITABLE: c_uint = unixipc::ffi::cell::IPC_CELL_F_WAITABLE;
const WAITABLE_RDONLY: c_uint = unixipc::ffi::cell::IPC_CELL_F_WAITABLE_RDONLY;
const RDONLY: c_uint = unixipc::ffi::cell::IPC_CELL_F_RDONLY;
const SOLE: c_uint = unixipc::ffi::cell::IPC_CELL_F_SOLE_WRITER;
/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;
/// The time-out of a victim's call that times out, in milliseconds. Single-stepping is slow.
const SHORT: c_int = 2;

/// Memory with a cell, and a handle to the cell. All processes share both.
struct Memory {
    at: *mut c_void,
    size: usize,
    cell: *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    death: DeathNotice,
}

impl Memory {
    /// Memory without a cell.
    fn uninitialised(library: &Library, value_size: usize) -> Self {
        // SAFETY: takes no pointers.
        let bytes = unsafe { (library.ipc_cell_memory_size)(value_size) };
        let size = bytes.next_multiple_of(page_size()) + page_size();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { libc::mmap(ptr::null_mut(), size, access, shared, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self {
            at,
            size,
            cell: ptr::null_mut(),
            close: library.ipc_cell_close,
            death: DeathNotice::new(),
        }
    }

    /// Memory with a cell. Its value has number 0 and version 1.
    fn with_value(library: &Library, len: usize, flags: c_uint) -> Self {
        let mut memory = Self::uninitialised(library, len);
        memory.cell = memory.init(library, len, flags).unwrap();
        assert_eq!(store(library, memory.cell, &value(0, len), 0), Ok(0));
        memory
    }

    fn init(&self, library: &Library, len: usize, flags: c_uint) -> Result<*mut c_void, c_int> {
        let mut cell = ptr::null_mut();
        // SAFETY: memory of this size, which no other process uses yet.
        let ret = unsafe { (library.ipc_cell_init)(self.at, self.size, len, flags, &mut cell) };
        outcome(ret as isize).map(|_| cell)
    }

    fn open(&self, library: &Library, flags: c_uint) -> Result<*mut c_void, c_int> {
        let mut cell = ptr::null_mut();
        // SAFETY: memory of this size.
        let ret = unsafe { (library.ipc_cell_open)(self.at, self.size, flags, &mut cell) };
        outcome(ret as isize).map(|_| cell)
    }

    /// A word after the cell, by which the processes of a scenario synchronise.
    fn flag(&self) -> &AtomicU32 {
        // SAFETY: in the last page of the mapping, which the cell does not use.
        unsafe { &*self.at.byte_add(self.size - 64).cast() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: NULL, or a handle that this process has not closed yet.
        unsafe { (self.close)(self.cell) };
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.at, self.size) };
    }
}

/// The value with this number: every byte depends on the number.
fn value(number: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| number ^ (i as u8).wrapping_mul(37))
        .collect()
}

fn store(library: &Library, cell: *mut c_void, value: &[u8], timeout: c_int) -> Outcome {
    let (at, len) = (value.as_ptr().cast(), value.len());
    // SAFETY: a handle, and a value of this length.
    outcome(unsafe { (library.ipc_cell_store)(cell, at, len, timeout) } as isize)
}

/// Loads the value. Returns its number and its version.
fn load(library: &Library, cell: *mut c_void, len: usize) -> Result<(u8, u64), String> {
    let (mut buffer, mut version) = (vec![0xee; len], 0);
    let at = buffer.as_mut_ptr().cast();
    // SAFETY: a handle, and a buffer of this length.
    let loaded = outcome(unsafe { (library.ipc_cell_load)(cell, at, len, &mut version) });
    if loaded != Ok(len) {
        return Err(format!("ipc_cell_load: {loaded:?}"));
    }
    let number = buffer[0];
    if buffer != value(number, len) {
        return Err(format!("a torn value, version {version}: {buffer:02x?}"));
    }
    Ok((number, version))
}

fn wait(library: &Library, cell: *mut c_void, seen: u64, timeout: c_int) -> Outcome {
    // SAFETY: a handle.
    outcome(unsafe { (library.ipc_cell_wait)(cell, seen, timeout) } as isize)
}

/// Checks what must hold in any case: the number and version of the value are `expected` or `or`, a
/// new reader can load it, and stores work.
fn check_usable(
    library: &Library,
    memory: &Memory,
    len: usize,
    expected: (u8, u64),
    or: Option<(u8, u64)>,
) -> Verdict {
    let reader = memory
        .open(library, RDONLY)
        .map_err(|errno| format!("ipc_cell_open: errno {errno}"))?;
    let found = load(library, reader, len)?;
    if found != expected && Some(found) != or {
        return Err(format!("{found:?} instead of {expected:?} or {or:?}"));
    }
    let writer = memory
        .open(library, 0)
        .map_err(|errno| format!("ipc_cell_open: errno {errno}"))?;
    for i in 1..=40 {
        let number = 100 + i as u8;
        match store(library, writer, &value(number, len), WAIT) {
            Ok(0) => {}
            other => return Err(format!("ipc_cell_store: {other:?}")),
        }
        let after = load(library, reader, len)?;
        if after != (number, found.1 + i) {
            return Err(format!(
                "{after:?} after the survivor's store {i} over {found:?}"
            ));
        }
    }
    Ok(())
}

/// The victim initialises a cell, in memory that has no cell or one with a value.
struct Init {
    library: Library,
    over_a_cell: bool,
}

const LEN: usize = 64;

impl Scenario for Init {
    type State = Memory;

    fn set_up(&self) -> Memory {
        if self.over_a_cell {
            Memory::with_value(&self.library, LEN, 0)
        } else {
            Memory::uninitialised(&self.library, LEN)
        }
    }

    fn become_victim(&self, _: &mut Memory) {
        let other = Memory::uninitialised(&self.library, LEN);
        other.init(&self.library, LEN, WAITABLE).unwrap();
    }

    fn operate(&self, memory: &mut Memory) {
        memory.init(&self.library, LEN, WAITABLE).unwrap();
    }

    fn survive(&self, memory: &mut Memory, finished: &Finished) -> Verdict {
        let library = &self.library;
        // A complete cell or none.
        match memory.open(library, 0) {
            Ok(cell) => match load(library, cell, LEN) {
                Ok((0, 1)) if self.over_a_cell && !finished.get() => {}
                Err(why) if why == format!("ipc_cell_load: Err({})", libc::ENODATA) => {}
                other => return Err(format!("{other:?}")),
            },
            Err(libc::EPROTO) if !finished.get() => {}
            Err(errno) => return Err(format!("ipc_cell_open: errno {errno}")),
        }
        let cell = memory
            .init(library, LEN, 0)
            .map_err(|errno| format!("ipc_cell_init: errno {errno}"))?;
        match store(library, cell, &value(5, LEN), 0) {
            Ok(0) => check_usable(library, memory, LEN, (5, 1), None),
            other => Err(format!("ipc_cell_store: {other:?}")),
        }
    }
}

#[apply(scenario)]
fn init() {
    let library = library::load();
    check(
        "ipc_cell_init",
        &Init {
            library,
            over_a_cell: false,
        },
    );
}

#[apply(scenario)]
fn init_over_another() {
    let library = library::load();
    check(
        "ipc_cell_init, over another",
        &Init {
            library,
            over_a_cell: true,
        },
    );
}

/// The victim stores value 2. As a preparation, it stores value 1. Value 2 is computed before the
/// stepping begins.
struct Store {
    library: Library,
    value: Vec<u8>,
    flags: c_uint,
    /// Whether a waiter has left its announcement behind.
    announced: bool,
}

impl Store {
    fn new(len: usize, flags: c_uint) -> Self {
        Self {
            library: library::load(),
            value: value(2, len),
            flags,
            announced: false,
        }
    }

    fn check(what: &str, len: usize, flags: c_uint) {
        let scenario = Self::new(len, flags);
        check(what, &scenario);
    }
}

impl Scenario for Store {
    type State = Memory;

    fn set_up(&self) -> Memory {
        Memory::with_value(&self.library, self.value.len(), self.flags & !SOLE)
    }

    fn become_victim(&self, memory: &mut Memory) {
        if self.flags & SOLE != 0 {
            memory.cell = memory.open(&self.library, SOLE).unwrap();
        }
        let first = value(1, self.value.len());
        assert_eq!(store(&self.library, memory.cell, &first, 0), Ok(0));
        if self.announced {
            let waited = wait(&self.library, memory.cell, 2, 1);
            assert_eq!(waited, Err(libc::ETIMEDOUT));
        }
    }

    fn operate(&self, memory: &mut Memory) {
        assert_eq!(store(&self.library, memory.cell, &self.value, -1), Ok(0));
    }

    fn survive(&self, memory: &mut Memory, finished: &Finished) -> Verdict {
        let before = (!finished.get()).then_some((1, 2));
        check_usable(&self.library, memory, self.value.len(), (2, 3), before)
    }
}

#[apply(scenario)]
fn store_short() {
    Store::check("ipc_cell_store", LEN, 0);
}

#[apply(scenario)]
fn store_long() {
    Store::check("ipc_cell_store, 4 KiB", 4096, 0);
}

#[apply(scenario)]
fn store_waitable() {
    Store::check("ipc_cell_store, waitable", LEN, WAITABLE);
}

#[apply(scenario)]
fn store_waitable_by_readers() {
    Store::check("ipc_cell_store, waitable by readers", LEN, WAITABLE_RDONLY);
}

#[apply(scenario)]
fn store_after_a_waiter() {
    let scenario = Store {
        announced: true,
        ..Store::new(LEN, WAITABLE)
    };
    check("ipc_cell_store, waitable, after a waiter", &scenario);
}

#[apply(scenario)]
fn store_waitable_as_sole_writer() {
    Store::check(
        "ipc_cell_store, waitable, sole writer",
        LEN,
        WAITABLE | SOLE,
    );
}

#[apply(scenario)]
fn store_as_sole_writer() {
    Store::check("ipc_cell_store, sole writer", LEN, SOLE);
}

/// The victim stores while another process waits. That process continues to sleep only if there is
/// no new value.
struct StoreToSleeper(Store);

impl Scenario for StoreToSleeper {
    type State = Memory;
    const CONCURRENT: bool = true;

    fn set_up(&self) -> Memory {
        self.0.set_up()
    }

    fn become_victim(&self, memory: &mut Memory) {
        self.0.become_victim(memory);
        memory.flag().store(1, Ordering::Release);
        let deadline = Instant::now() + Duration::from_secs(10);
        while memory.flag().load(Ordering::Acquire) != 2 {
            assert!(Instant::now() < deadline, "no process sleeps");
            std::thread::yield_now();
        }
    }

    fn operate(&self, memory: &mut Memory) {
        self.0.operate(memory);
    }

    fn survive(&self, memory: &mut Memory, finished: &Finished) -> Verdict {
        let library = &self.0.library;
        memory.death.become_survivor();
        let deadline = Instant::now() + Duration::from_secs(10);
        while memory.flag().load(Ordering::Acquire) != 1 {
            if Instant::now() > deadline {
                return Err("the victim does not start".into());
            }
            std::thread::yield_now();
        }
        let sleeper = Child::fork(|| assert_eq!(wait(library, memory.cell, 2, -1), Ok(0)));
        while !sleeper.sleeps() {
            std::thread::yield_now();
        }
        memory.flag().store(2, Ordering::Release);
        memory.death.wait()?;
        let (_, version) = load(library, memory.cell, LEN)?;
        if version == 3 {
            // There is a newer value: the sleeper must wake without a store of the survivor.
            return match sleeper.wait(Instant::now() + Duration::from_secs(3)) {
                Some(0) => check_usable(library, memory, LEN, (2, 3), None),
                other => Err(format!("the sleeper does not wake: {other:?}")),
            };
        }
        check_usable(library, memory, LEN, (1, 2), None)?;
        match sleeper.wait(Instant::now() + Duration::from_secs(3)) {
            Some(0) if !finished.get() => Ok(()),
            other => Err(format!("the sleeper: {other:?}")),
        }
    }
}

#[apply(scenario)]
fn store_to_a_sleeper() {
    let store = Store::new(LEN, WAITABLE);
    check("ipc_cell_store, a thread waits", &StoreToSleeper(store));
}

#[apply(scenario)]
fn store_to_a_sleeping_reader() {
    let store = Store::new(LEN, WAITABLE_RDONLY);
    check(
        "ipc_cell_store, waitable by readers, a thread waits",
        &StoreToSleeper(store),
    );
}

/// The victim's store times out, because a stopped process holds the lock. That process stores from
/// a page that it may not read, and stops in its SIGSEGV handler.
struct StoreTimesOut {
    library: Library,
    value: Vec<u8>,
}

impl Scenario for StoreTimesOut {
    type State = (Memory, Option<Child>);

    fn set_up(&self) -> Self::State {
        extern "C" fn stop_here(_: c_int) {
            child::signal(child::pid(), libc::SIGSTOP);
        }
        let memory = Memory::with_value(&self.library, LEN, 0);
        let holder = Child::fork(|| {
            // SAFETY: the handler is async-signal-safe.
            unsafe { libc::signal(libc::SIGSEGV, stop_here as extern "C" fn(c_int) as usize) };
            let page = child::shared_page();
            // SAFETY: the page is ours.
            unsafe { libc::mprotect(page, child::PAGE, libc::PROT_NONE) };
            // SAFETY: the handle is open; the read of the value must fault.
            unsafe { (self.library.ipc_cell_store)(memory.cell, page, LEN, -1) };
        });
        while !holder.is_stopped() {
            std::thread::yield_now();
        }
        (memory, Some(holder))
    }

    fn become_victim(&self, (memory, holder): &mut Self::State) {
        std::mem::forget(holder.take()); // it belongs to the harness
        let tried = store(&self.library, memory.cell, &self.value, SHORT);
        assert_eq!(tried, Err(libc::ETIMEDOUT));
    }

    fn operate(&self, (memory, _): &mut Self::State) {
        let tried = store(&self.library, memory.cell, &self.value, SHORT);
        assert_eq!(tried, Err(libc::ETIMEDOUT));
    }

    fn survive(&self, (memory, holder): &mut Self::State, _: &Finished) -> Verdict {
        // The harness kills the holder when it drops its state.
        std::mem::forget(holder.take());
        check_usable(&self.library, memory, LEN, (0, 1), None)
    }
}

#[apply(scenario)]
fn store_that_times_out() {
    let scenario = StoreTimesOut {
        library: library::load(),
        value: value(2, LEN),
    };
    check("ipc_cell_store that times out", &scenario);
}

/// A read-only operation. Its interruption has no effect on other processes.
struct ReadOnly<const SLEEPS: bool> {
    library: Library,
    len: usize,
    operation: fn(&Library, &Memory, &mut [u8]),
}

impl<const SLEEPS: bool> ReadOnly<SLEEPS> {
    fn check(what: &str, len: usize, operation: fn(&Library, &Memory, &mut [u8])) {
        let library = library::load();
        let scenario = Self {
            library,
            len,
            operation,
        };
        check(what, &scenario);
    }
}

impl<const SLEEPS: bool> Scenario for ReadOnly<SLEEPS> {
    type State = (Memory, Vec<u8>);
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Self::State {
        let memory = Memory::with_value(&self.library, self.len, WAITABLE);
        (memory, vec![0; self.len])
    }

    fn become_victim(&self, (memory, buffer): &mut Self::State) {
        if SLEEPS {
            assert_eq!(wait(&self.library, memory.cell, 1, 0), Err(libc::EAGAIN));
        } else {
            (self.operation)(&self.library, memory, buffer);
        }
    }

    fn operate(&self, (memory, buffer): &mut Self::State) {
        (self.operation)(&self.library, memory, buffer);
    }

    fn survive(&self, (memory, _): &mut Self::State, _: &Finished) -> Verdict {
        check_usable(&self.library, memory, self.len, (0, 1), None)
    }
}

fn load_once(library: &Library, memory: &Memory, buffer: &mut [u8]) {
    let at = buffer.as_mut_ptr().cast();
    let mut version = 0;
    // SAFETY: a handle, and a buffer of this length.
    let len = unsafe { (library.ipc_cell_load)(memory.cell, at, buffer.len(), &mut version) };
    assert!(len == buffer.len() as isize && version == 1);
}

#[apply(scenario)]
fn open() {
    ReadOnly::<false>::check("ipc_cell_open", LEN, |library, memory, _| {
        memory.open(library, 0).unwrap();
    });
}

#[apply(scenario)]
fn close() {
    ReadOnly::<false>::check(
        "ipc_cell_open, ipc_cell_close",
        LEN,
        |library, memory, _| {
            let cell = memory.open(library, 0).unwrap();
            // SAFETY: an open handle.
            unsafe { (library.ipc_cell_close)(cell) };
        },
    );
}

#[apply(scenario)]
fn open_as_sole_writer() {
    ReadOnly::<false>::check(
        "ipc_cell_open as sole writer, ipc_cell_close",
        LEN,
        |library, memory, _| {
            let cell = memory.open(library, SOLE).unwrap();
            // SAFETY: an open handle.
            unsafe { (library.ipc_cell_close)(cell) };
        },
    );
}

#[apply(scenario)]
fn load_short() {
    ReadOnly::<false>::check("ipc_cell_load", LEN, load_once);
}

#[apply(scenario)]
fn load_long() {
    ReadOnly::<false>::check("ipc_cell_load, 4 KiB", 4096, load_once);
}

#[apply(scenario)]
fn wait_that_sleeps() {
    ReadOnly::<true>::check("ipc_cell_wait, asleep", LEN, |library, memory, _| {
        assert_eq!(wait(library, memory.cell, 1, -1), Ok(0));
    });
}

#[apply(scenario)]
fn wait_that_times_out() {
    ReadOnly::<false>::check("ipc_cell_wait that times out", LEN, |library, memory, _| {
        let waited = wait(library, memory.cell, 1, SHORT);
        assert_eq!(waited, Err(libc::ETIMEDOUT));
    });
}
