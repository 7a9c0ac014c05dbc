//! Files in /proc, read without allocation.

use crate::errno::{Result, errno};
use libc::{c_int, pid_t};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A path in /proc that contains a number.
pub struct ProcPath {
    bytes: [u8; 40],
}

/// The number of digits of the largest number.
const DIGITS: usize = 10;

impl ProcPath {
    /// The file to which a descriptor of this process refers. Not by /proc/self, which shows no
    /// descriptors if the main thread has ended.
    #[must_use]
    pub fn of_fd(fd: BorrowedFd) -> Self {
        Self::new(b"/proc/thread-self/fd/", fd.as_raw_fd(), b"")
    }

    /// Information about a descriptor of this process.
    #[must_use]
    pub fn of_fd_info(fd: BorrowedFd) -> Self {
        Self::new(b"/proc/thread-self/fdinfo/", fd.as_raw_fd(), b"")
    }

    /// The status of a process.
    #[must_use]
    pub fn of_stat(pid: pid_t) -> Self {
        Self::new(b"/proc/", pid, b"/stat")
    }

    /// The number is not negative.
    fn new(prefix: &[u8], number: c_int, suffix: &[u8]) -> Self {
        let mut digits = [0; DIGITS];
        let (mut rest, mut count) = (number, 0);
        for digit in &mut digits {
            *digit = b'0' + (rest % 10) as u8;
            (rest, count) = (rest / 10, count + 1);
            if rest == 0 {
                break;
            }
        }
        let number = digits.iter().take(count).rev();
        let mut bytes = [0; 40];
        let path = prefix.iter().chain(number).chain(suffix);
        for (to, from) in bytes.iter_mut().zip(path) {
            *to = *from;
        }
        Self { bytes }
    }

    /// The path as a string.
    pub fn as_c_str(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| errno!(EBADF))
    }
}

/// Reads the beginning of a file, with one read(2). Returns its length.
pub fn read(path: &CStr, buffer: &mut [u8]) -> Result<usize> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = nix::fcntl::open(path, flags, Mode::empty())?;
    Ok(nix::unistd::read(&file, buffer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = |number| ProcPath::new(b"/proc/self/fdinfo/", number, b"/stat");
        for number in [0, 7, 10, 1234567890, c_int::MAX] {
            let expected = format!("/proc/self/fdinfo/{number}/stat");
            assert_eq!(
                path(number).as_c_str().unwrap().to_bytes(),
                expected.as_bytes()
            );
        }
    }
}
