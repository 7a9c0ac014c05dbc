//! `posix_spawn(3)`. That of nix cannot change the directory or close all other descriptors.

use crate::errno::{Errno, Result};
use libc::{c_char, c_int, mode_t, pid_t};
use std::ffi::CStr;
use std::mem::MaybeUninit;

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Returns the environment of this process.
pub fn environment() -> *const *mut c_char {
    // SAFETY: the variable of the C library. A concurrent change would also be a race with
    // getenv(3).
    unsafe { environ }
}

/// Converts the result of the posix_spawn functions, which return the error.
fn result(error: c_int) -> Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(Errno(error))
    }
}

/// The actions of the child between fork and exec.
pub struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    /// No actions.
    pub fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init writes the object to which the pointer points.
        result(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: init succeeded.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    /// `dup2(from, to)`. If both are equal, the descriptor stays open across exec.
    pub fn dup2(&mut self, from: c_int, to: c_int) -> Result<()> {
        // SAFETY: the actions are initialised.
        result(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, from, to) })
    }

    /// `close(fd)`; the descriptor does not need to be open.
    pub fn close(&mut self, fd: c_int) -> Result<()> {
        // SAFETY: the actions are initialised.
        result(unsafe { libc::posix_spawn_file_actions_addclose(&mut self.0, fd) })
    }

    /// Closes `fd` and all above.
    pub fn close_from(&mut self, fd: c_int) -> Result<()> {
        // SAFETY: the actions are initialised.
        result(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&mut self.0, fd) })
    }

    /// `open(path, flags)` at this number.
    pub fn open(&mut self, fd: c_int, path: &CStr, flags: c_int) -> Result<()> {
        const MODE: mode_t = 0;
        // SAFETY: the actions are initialised; the path is copied.
        result(unsafe {
            libc::posix_spawn_file_actions_addopen(&mut self.0, fd, path.as_ptr(), flags, MODE)
        })
    }

    /// `chdir(path)`.
    pub fn chdir(&mut self, path: &CStr) -> Result<()> {
        // SAFETY: the actions are initialised; the path is copied.
        result(unsafe { libc::posix_spawn_file_actions_addchdir_np(&mut self.0, path.as_ptr()) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the actions are initialised, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// Attributes: no signal blocked, and the default action for each signal.
struct FreshSignals(libc::posix_spawnattr_t);

impl FreshSignals {
    fn new() -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init writes the object to which the pointer points.
        result(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: init succeeded.
        let mut fresh = Self(unsafe { attributes.assume_init() });

        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset fills the set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: both are initialised.
        result(unsafe { libc::posix_spawnattr_setsigmask(&mut fresh.0, set.as_ptr()) })?;
        // sigfillset(3) omits the two signals that the C library uses itself and ignores in a
        // child.
        // SAFETY: a set is an array of bits, and all of them may be set.
        unsafe { set.as_mut_ptr().write_bytes(0xff, 1) };
        // SAFETY: both are initialised.
        result(unsafe { libc::posix_spawnattr_setsigdefault(&mut fresh.0, set.as_ptr()) })?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the attributes are initialised.
        result(unsafe { libc::posix_spawnattr_setflags(&mut fresh.0, flags as _) })?;
        Ok(fresh)
    }
}

impl Drop for FreshSignals {
    fn drop(&mut self) {
        // SAFETY: the attributes are initialised, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

/// `posix_spawnp(3)`. If the exec fails, the call fails with its error and leaves no child.
///
/// # Safety
///
/// `argv` and `envp` are arrays of strings that end with NULL.
pub unsafe fn spawn(
    file: &CStr,
    actions: &FileActions,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
) -> Result<pid_t> {
    let signals = FreshSignals::new()?;
    let mut pid = 0;
    // SAFETY: actions and attributes are initialised; the arrays are the caller's promise.
    result(unsafe {
        libc::posix_spawnp(&mut pid, file.as_ptr(), &actions.0, &signals.0, argv, envp)
    })?;
    Ok(pid)
}
