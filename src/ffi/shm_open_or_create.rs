//! Layer 3: a region that several processes open or create.
//!
//! The function calls back into the caller's program. The callback may end with a C++ exception or
//! with pthread_exit(3). Rust code that is built without unwinding cannot clean up then, and no
//! frame of a Rust function may be unwound. So the exported function is a few lines of assembly:
//!
//! ```text
//! int ipc_shm_open_or_create(…)
//! {
//!     struct Call call = {…};
//!     if (begin(&call)) {
//!         call.init_result = call.init(call.address, call.size, call.arg);
//!         finish(&call);
//!     }
//!     return call.result;
//! }
//! ```
//!
//! While `init` runs, this function is the only one of the library on the stack. Its unwind
//! information names [`personality`], which the unwinder calls when it removes the frame of the
//! function. [`personality`] drops the unfinished region and unlocks its name. It calls no function
//! of the unwinder, because the program's unwinder can be another version than the one that is
//! linked into the library.

use super::pointer::{copy_struct_from, handle_memory, into_handle, out_ptr, string};
use super::shm::{CREATE_FLAGS, IPC_SHM_F_REPLACE_STALE, IPC_SHM_F_SOLE_WRITER, ipc_shm_opts};
use crate::errno::{Result, SavedErrno, errno, or_errno, or_errno_of};
use crate::shm::{Begun, NewRegion, OpenOrCreate, Shm};
use libc::{c_char, c_int, c_void, size_t};
use std::cell::Cell;
use std::mem::{MaybeUninit, offset_of};
use std::ptr;

#[cfg(target_arch = "x86_64")]
macro_rules! source {
    () => {
        include_str!("shm_open_or_create/x86_64.s")
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! source {
    () => {
        include_str!("shm_open_or_create/aarch64.s")
    };
}
#[cfg(target_arch = "riscv64")]
macro_rules! source {
    () => {
        include_str!("shm_open_or_create/riscv64.s")
    };
}
#[cfg(target_arch = "loongarch64")]
macro_rules! source {
    () => {
        include_str!("shm_open_or_create/loongarch64.s")
    };
}

std::arch::global_asm!(
    source!(),
    begin = sym begin,
    finish = sym finish,
    personality = sym personality,
);

// Opaque to C.
#[allow(improper_ctypes)]
unsafe extern "C" {
    /// Opens a region by its name, or, if there is none, makes, initialises and publishes it.
    ///
    /// The call is for programs that start in any order. Of all processes that call it at the same
    /// time, one makes the region and runs its init; the others wait, and then open the published
    /// region. No other process sees the memory before init has returned. If the first process
    /// dies, even inside init, the next process makes a new region and runs its own init. Before
    /// that, it waits until every child that was forked during the first init has ended or executed
    /// a program.
    ///
    /// init receives the address and size of the memory, which is all zeros, and arg. It returns 0,
    /// or another value to make the call fail. init may end with a C++ exception or with
    /// pthread_exit(3): the region is then removed and its name unlocked. It must not end with
    /// longjmp(3): the name would stay locked until the process ends. init must not open or create
    /// the same name; another name is allowed. If init is NULL, the memory stays all zeros.
    ///
    /// opts is as for ipc_shm_create. PUBLISH is implied, SOLE_WRITER is not possible; the mode and
    /// TRANSIENT apply to a new region. opts->timeout_ms limits the time that the call waits for
    /// other processes: 0 is the default and means no limit, and so does -1; with IPC_WAIT_INTR a
    /// signal handler ends the wait.
    ///
    /// The call opens an existing region if it has at least size bytes and the same layout tag;
    /// ipc_shm_size returns its size. If opts->layout is 0, every layout tag is accepted. Any other
    /// region is stale: the call fails with ESTALE. With IPC_SHM_F_REPLACE_STALE it makes a new
    /// region instead and gives it the name: exactly one process does so, and the others open the
    /// new region. The processes that have the old region open keep it; ipc_shm_is_current returns
    /// 0 for it. A transient region without users is replaced without this flag.
    ///
    /// To open an existing region, the call takes no lock. To make one, it locks the file
    /// .NAME.lock in /dev/shm, whose mode is 0600. Only this call and ipc_shm_publish respect the
    /// lock. If another program publishes the name in the meantime, the call opens that region and
    /// discards its own.
    ///
    /// Blocks while another process makes the region of this name. Not a cancellation point: the
    /// cancellation of the thread is deferred until the call returns, also while init runs. May be
    /// called from any thread, and in the child after fork; not from a signal handler.
    ///
    /// Returns 0, or -1 with errno and ret_shm unchanged; ipc_shm_create's and ipc_shm_open's
    /// errors, and:
    ///   EACCES     timeout_ms has expired, and the lock file of another user still exists
    ///   ECANCELED  init has not returned 0
    ///   EEXIST     the path of the lock file is not a regular file
    ///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
    ///   EINVAL     timeout_ms is below -2, or the name begins with "/." and ends with ".lock"
    ///   ENOENT     there is no /dev/shm or, before Linux 6.10, no /proc
    ///   ENOLCK     the system has no memory for locks
    ///   EPERM      a region of another user must be replaced, and the sticky bit of the directory
    ///              forbids it
    ///   ESTALE     the region exists and has fewer than size bytes or another layout tag
    ///   ETIMEDOUT  timeout_ms has expired
    pub fn ipc_shm_open_or_create(
        name: *const c_char,
        size: size_t,
        init: Option<
            unsafe extern "C" fn(addr: *mut c_void, size: size_t, arg: *mut c_void) -> c_int,
        >,
        arg: *mut c_void,
        opts: *const ipc_shm_opts,
        opts_size: size_t,
        ret_shm: *mut *mut Shm,
    ) -> c_int;
}

/// The frame of the exported function: its arguments, and the state of the call.
#[repr(C)]
struct Call {
    name: *const c_char,
    size: size_t,
    init: *const c_void,
    arg: *mut c_void,
    opts: *const ipc_shm_opts,
    opts_size: size_t,
    ret_shm: *mut *mut Shm,
    /// The address that `init` gets; [`begin`] sets it.
    address: *mut c_void,
    reserved: u64,
    init_result: c_int,
    result: c_int,
}

// The assembly uses these offsets.
const _: () = {
    assert!(offset_of!(Call, size) == 8);
    assert!(offset_of!(Call, init) == 16);
    assert!(offset_of!(Call, arg) == 24);
    assert!(offset_of!(Call, ret_shm) == 48);
    assert!(offset_of!(Call, address) == 56);
    assert!(offset_of!(Call, init_result) == 72);
    assert!(offset_of!(Call, result) == 76);
    assert!(size_of::<Call>() == 80);
};

/// A region whose `init` is running.
struct Pending {
    region: NewRegion,
    /// The memory for the handle.
    memory: Box<MaybeUninit<Shm>>,
    /// The errno before the call, to be restored on success.
    errno: SavedErrno,
    /// The region of the outer call, if this call was made inside its `init`.
    outer: *mut Pending,
}

thread_local! {
    /// The innermost region whose `init` is running in this thread.
    static PENDING: Cell<*mut Pending> = const { Cell::new(ptr::null_mut()) };
}

/// The outcome of [`try_begin`].
enum Next {
    Return,
    CallInit,
}

/// Opens the region, or makes a new one. Returns 1 if the caller must call `init` and [`finish`].
unsafe extern "C" fn begin(call: *mut Call) -> c_int {
    // SAFETY: the frame of the assembly function, whose first seven members are set.
    let call = unsafe { &mut *call };
    let mut calls_init = false;
    call.result = or_errno_of(
        || {
            calls_init = matches!(try_begin(call)?, Next::CallInit);
            Ok(0)
        },
        -1,
    );
    c_int::from(calls_init)
}

fn try_begin(call: &mut Call) -> Result<Next> {
    let errno = SavedErrno::new();
    // SAFETY: the caller's output parameter.
    let ret_shm = unsafe { out_ptr(call.ret_shm) }?;
    // SAFETY: the caller's string.
    let name = unsafe { string(call.name) }?;
    // SAFETY: the caller's options.
    let opts: ipc_shm_opts = unsafe { copy_struct_from(call.opts, call.opts_size) }?;
    let allowed = (CREATE_FLAGS | IPC_SHM_F_REPLACE_STALE) & !IPC_SHM_F_SOLE_WRITER;
    let replace_stale = opts.flags & IPC_SHM_F_REPLACE_STALE != 0;
    let options = opts.create_options(allowed)?;
    let request = OpenOrCreate::new(name, call.size, options, replace_stale, opts.deadline()?)?;
    // Allocated first, so that nothing can fail after the region has been opened.
    let memory = handle_memory()?;
    let pending_memory = handle_memory()?;
    let region = match request.begin()? {
        Begun::New(region) if !call.init.is_null() => region,
        begun => {
            let shm = match begun {
                Begun::Opened(shm) => shm,
                Begun::New(region) => region.finish()?,
            };
            ret_shm.write(into_handle(memory, shm));
            return Ok(Next::Return);
        }
    };
    call.address = region.address();
    let pending = Pending {
        region,
        memory,
        errno,
        outer: PENDING.get(),
    };
    PENDING.set(into_handle(pending_memory, pending));
    Ok(Next::CallInit)
}

/// Publishes the region after `init` has returned.
unsafe extern "C" fn finish(call: *mut Call) {
    // SAFETY: the frame of the assembly function, after `begin` and `init`.
    let call = unsafe { &mut *call };
    let finished = try_finish(call).map(|errno| {
        errno.restore();
        0
    });
    call.result = or_errno(finished, -1);
}

/// Returns the errno to restore on success.
fn try_finish(call: &Call) -> Result<SavedErrno> {
    let Pending {
        region,
        memory,
        errno,
        ..
    } = take_pending().ok_or(errno!(ECANCELED))?;
    if call.init_result != 0 {
        return Err(errno!(ECANCELED));
    }
    let shm = region.finish()?;
    // SAFETY: the caller's output parameter, which `begin` has checked.
    let ret_shm = unsafe { out_ptr(call.ret_shm) }?;
    ret_shm.write(into_handle(memory, shm));
    Ok(errno)
}

/// Removes and returns the innermost region, whose `init` has ended.
fn take_pending() -> Option<Pending> {
    let pending = PENDING.get();
    if pending.is_null() {
        return None;
    }
    // SAFETY: from Box::into_raw, and taken only once, because it is replaced here.
    let pending = unsafe { Box::from_raw(pending) };
    PENDING.set(pending.outer);
    Some(*pending)
}

/// A phase of unwinding, and an instruction to the unwinder (unwind.h).
const UA_CLEANUP_PHASE: c_int = 2;
const URC_CONTINUE_UNWIND: c_int = 8;

/// The personality routine: the unwinder calls it for the frame of the exported function. Only
/// `init` throws, so the innermost region belongs to this frame.
unsafe extern "C" fn personality(
    _version: c_int,
    actions: c_int,
    _class: u64,
    _exception: *mut c_void,
    _context: *mut c_void,
) -> c_int {
    // In the search phase the frame is not removed yet, and may never be.
    if actions & UA_CLEANUP_PHASE != 0 {
        drop(take_pending());
    }
    URC_CONTINUE_UNWIND
}
