//! The program that a child executes, and the search for it.

use crate::errno::{Errno, errno};
use crate::sys::child;
use libc::c_char;
use std::ffi::CStr;

/// The directories that are searched if the caller has no PATH, as execvp(3) does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The maximum length of a path, with its final 0, and of a name.
const PATH_MAX: usize = libc::PATH_MAX as usize;
const NAME_MAX: usize = 255;

/// A program, with its arguments and environment.
pub(super) struct Program<'a> {
    file: &'a CStr,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
    path: &'a [u8],
}

impl<'a> Program<'a> {
    /// A program that is searched for in the directories of PATH of this process.
    ///
    /// # Safety
    ///
    /// `argv` and `envp` are arrays of strings that end with NULL. Neither they nor the environment
    /// of this process change while the result exists.
    pub unsafe fn new(file: &'a CStr, argv: *const *mut c_char, envp: *const *mut c_char) -> Self {
        // SAFETY: takes a string.
        let path = unsafe { libc::getenv(c"PATH".as_ptr()) };
        let path = if path.is_null() {
            DEFAULT_PATH
        } else {
            // SAFETY: the environment does not change, as the caller promises.
            unsafe { CStr::from_ptr(path) }.to_bytes()
        };
        Self {
            file,
            argv,
            envp,
            path,
        }
    }

    /// Executes the program in this process, the child. Returns only if that fails.
    pub fn execute(&self) -> Errno {
        let file = self.file.to_bytes();
        if file.is_empty() {
            return errno!(ENOENT);
        }
        if file.contains(&b'/') {
            return self.try_path(self.file);
        }
        if file.len() > NAME_MAX {
            return errno!(ENAMETOOLONG);
        }
        let mut buffer = [0; PATH_MAX + NAME_MAX];
        let mut is_refused = false;
        let mut last = errno!(ENOENT);
        for directory in self.path.split(|byte| *byte == b':') {
            let Some(path) = join(&mut buffer, directory, file) else {
                continue; // longer than any path
            };
            last = self.try_path(path);
            match last.code() {
                libc::EACCES => is_refused = true,
                libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT => {}
                _ => return last,
            }
        }
        if is_refused { errno!(EACCES) } else { last }
    }

    fn try_path(&self, path: &CStr) -> Errno {
        // SAFETY: the promise of the caller of `new`.
        unsafe { child::execute(path, self.argv, self.envp) }
    }
}

/// The path of a file in a directory of PATH; an empty name is the working directory.
fn join<'a>(buffer: &'a mut [u8], directory: &[u8], file: &[u8]) -> Option<&'a CStr> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let parts = [directory, slash, file, b"\0"];
    let len = parts.iter().map(|part| part.len()).sum();
    let path = buffer.get_mut(..len)?;
    let bytes = parts.iter().copied().flatten();
    path.iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    CStr::from_bytes_with_nul(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_paths() {
        let mut buffer = [7; 12];
        assert_eq!(join(&mut buffer, b"/bin", b"ls"), Some(c"/bin/ls"));
        assert_eq!(join(&mut buffer, b"", b"ls"), Some(c"ls"));
        assert_eq!(join(&mut buffer, b"/usr/bin", b"ls"), Some(c"/usr/bin/ls"));
        assert_eq!(join(&mut buffer, b"/usr/bin", b"cat"), None);
    }
}
