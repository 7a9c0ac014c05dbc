//! The two sets of calls under comparison, and the helpers of the comparisons.

use common::prelude::*;
use libc::{c_char, c_int, c_void, key_t, mode_t, sembuf, shmid_ds, size_t, timespec};
use std::fmt::{Debug, Display};
use std::ptr;
use unixipc::ffi::calls;

/// The calls of layer 1 by one provider.
pub struct Calls {
    pub socketpair: unsafe extern "C" fn(c_int, c_int, c_int, *mut c_int) -> c_int,
    pub mkfifo: unsafe extern "C" fn(*const c_char, mode_t) -> c_int,
    pub ftok: unsafe extern "C" fn(*const c_char, c_int) -> key_t,
    pub shmget: unsafe extern "C" fn(key_t, size_t, c_int) -> c_int,
    pub shmat: unsafe extern "C" fn(c_int, *const c_void, c_int) -> *mut c_void,
    pub shmdt: unsafe extern "C" fn(*const c_void) -> c_int,
    pub shmctl: unsafe extern "C" fn(c_int, c_int, *mut shmid_ds) -> c_int,
    pub semget: unsafe extern "C" fn(key_t, c_int, c_int) -> c_int,
    pub semop: unsafe extern "C" fn(c_int, *mut sembuf, size_t) -> c_int,
    pub semtimedop: unsafe extern "C" fn(c_int, *mut sembuf, size_t, *const timespec) -> c_int,
    pub semctl: unsafe extern "C" fn(c_int, c_int, c_int, ...) -> c_int,
}

// The libc crate lacks semtimedop. ipc_semctl is declared as in the header, because its definition
// differs.
unsafe extern "C" {
    fn semtimedop(id: c_int, ops: *mut sembuf, n: size_t, timeout: *const timespec) -> c_int;
    fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, ...) -> c_int;
}

pub static LIBC: Calls = Calls {
    socketpair: libc::socketpair,
    mkfifo: libc::mkfifo,
    ftok: libc::ftok,
    shmget: libc::shmget,
    shmat: libc::shmat,
    shmdt: libc::shmdt,
    shmctl: libc::shmctl,
    semget: libc::semget,
    semop: libc::semop,
    semtimedop,
    semctl: libc::semctl,
};

pub static IPC: Calls = Calls {
    socketpair: calls::ipc_socketpair,
    mkfifo: calls::ipc_mkfifo,
    ftok: calls::ipc_ftok,
    shmget: calls::ipc_shmget,
    shmat: calls::ipc_shmat,
    shmdt: calls::ipc_shmdt,
    shmctl: calls::ipc_shmctl,
    semget: calls::ipc_semget,
    semop: calls::ipc_semop,
    semtimedop: calls::ipc_semtimedop,
    semctl: ipc_semctl,
};

/// All pairs of a provider that creates an object and a provider that uses it.
pub fn provider_pairs() -> [(&'static Calls, &'static Calls); 4] {
    [(&LIBC, &LIBC), (&LIBC, &IPC), (&IPC, &LIBC), (&IPC, &IPC)]
}

/// The return value of a call, or the errno that it set.
pub type Outcome = Result<i64, c_int>;

/// The value of errno before each call; no call sets it to this.
const SENTINEL: c_int = 7777;

/// Makes one call. A successful call must leave errno unchanged; a failure that does not set errno
/// shows as `Ok(-1)`.
#[track_caller]
pub fn outcome(call: impl FnOnce() -> i64) -> Outcome {
    // SAFETY: the address is the calling thread's own.
    unsafe { *libc::__errno_location() = SENTINEL };
    let ret = call();
    // SAFETY: as above.
    match unsafe { *libc::__errno_location() } {
        SENTINEL => Ok(ret),
        errno => {
            assert_eq!(ret, -1, "the return value, with errno set to {errno}");
            Err(errno)
        }
    }
}

/// `call!(calls.shmget(key, size, flags))` is the outcome of that call.
#[macro_export]
macro_rules! call {
    ($calls:ident . $name:ident ( $($arg:expr),* $(,)? )) => {
        $crate::both::outcome(|| {
            // SAFETY: the kernel checks the pointers; the memory is the test's own.
            (unsafe { ($calls.$name)($($arg),*) }) as i64
        })
    };
}

/// The seconds that one comparison, or one child, may take before SIGALRM ends it.
const LIMIT: u32 = 40;

/// Ends this process by SIGALRM if it runs longer than [`LIMIT`] from here.
pub fn limit() {
    set_alarm(LIMIT);
}

/// Runs a case with libc's calls, then with ours. Both results must be equal; returns the result.
#[track_caller]
pub fn both<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) -> T {
    let _case = Case(&what);
    limit();
    let expected = run(&LIBC);
    let got = run(&IPC);
    set_alarm(0);
    assert_eq!(got, expected, "ipc_* on the left, libc on the right");
    got
}

/// [`both`] for a result about which the test knows only that it is the same.
#[track_caller]
pub fn same<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) {
    drop(both(what, run));
}

/// [`both`] for a result that other processes can change: it counts only if libc's calls give the
/// same result before and after.
#[track_caller]
pub fn both_around<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) -> T {
    let _case = Case(&what);
    for _ in 0..100 {
        limit();
        let before = run(&LIBC);
        let got = run(&IPC);
        if before == run(&LIBC) {
            set_alarm(0);
            assert_eq!(got, before, "ipc_* on the left, libc on the right");
            return got;
        }
    }
    panic!("the results of libc keep changing");
}

/// A writable page, an inaccessible page, and a read-only page.
pub struct Pages {
    base: *mut u8,
}

impl Pages {
    pub fn new() -> Self {
        let page = page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(ptr::null_mut(), 4 * page, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base: *mut u8 = base.cast();
        // SAFETY: the first page of the mapping.
        let done = unsafe { libc::mprotect(base.cast(), page, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(done, 0);
        // SAFETY: the third page of the mapping.
        let done = unsafe { libc::mprotect(base.add(2 * page).cast(), page, libc::PROT_READ) };
        assert_eq!(done, 0);
        Self { base }
    }

    /// The last `len` bytes before the inaccessible page, after filling the writable page with
    /// 0xaa.
    pub fn last<T>(&self, len: usize) -> *mut T {
        let page = page_size();
        assert!(len <= page);
        // SAFETY: the first page is ours and writable.
        unsafe { ptr::write_bytes(self.base, 0xaa, page) };
        // SAFETY: within the first page, or just past its end.
        unsafe { self.base.add(page - len).cast() }
    }

    /// The content of the writable page.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the first page is ours and readable.
        unsafe { std::slice::from_raw_parts(self.base, page_size()) }.to_vec()
    }

    pub fn inaccessible<T>(&self) -> *mut T {
        self.base.wrapping_add(page_size()).cast()
    }

    pub fn read_only<T>(&self) -> *mut T {
        self.base.wrapping_add(2 * page_size()).cast()
    }

    /// Copies values to the end of the writable page, just before the inaccessible page.
    pub fn put_last<T: Copy>(&self, values: &[T]) -> *mut T {
        let at: *mut T = self.last(size_of_val(values));
        // SAFETY: the page holds this many bytes; a sembuf or a path may be unaligned.
        unsafe {
            ptr::copy_nonoverlapping(values.as_ptr().cast(), at.cast::<u8>(), size_of_val(values))
        };
        at
    }

    /// Pointers that can be neither read nor written, by name.
    pub fn invalid_pointers<T>(&self) -> Vec<(&'static str, *mut T)> {
        let mut invalid_pointers: Vec<_> = [
            ("NULL", 0),
            ("the first page", 8),
            ("the kernel's half", 0xffff_8880_0000_0000),
            ("no address of the machine", 1 << 63),
            ("the last byte", usize::MAX),
        ]
        .map(|(name, address)| (name, ptr::without_provenance_mut(address)))
        .into();
        invalid_pointers.push(("an inaccessible page", self.inaccessible()));
        invalid_pointers
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nothing uses the mapping now.
        unsafe { libc::munmap(self.base.cast(), 4 * page_size()) };
    }
}

/// The ids that [`describe`] returns.
pub const OLD: i64 = 0;
pub const NEW: i64 = 1;

/// Describes the result of a get call: the existing or a new object, and its state. Removes a new
/// object.
pub fn describe<S>(
    outcome: Outcome,
    key: key_t,
    existing: c_int,
    state: fn(c_int) -> Option<S>,
    remove: fn(c_int),
) -> (Outcome, Option<S>) {
    let Ok(id) = outcome else {
        return (outcome, None);
    };
    let id = id as c_int;
    let is = state(id);
    if id == existing && key != libc::IPC_PRIVATE {
        return (Ok(OLD), is);
    }
    remove(id);
    (Ok(NEW), is)
}

/// The properties that segments and sets share.
#[derive(Debug, PartialEq)]
pub struct Owned {
    pub key: key_t,
    pub owner: (libc::uid_t, libc::gid_t),
    pub creator: (libc::uid_t, libc::gid_t),
    pub mode: u32,
}

impl From<libc::ipc_perm> for Owned {
    fn from(perm: libc::ipc_perm) -> Self {
        Self {
            key: perm.__key,
            owner: (perm.uid, perm.gid),
            creator: (perm.cuid, perm.cgid),
            mode: perm.mode.into(),
        }
    }
}
