//! The users of a transient region, and whether it has any.
//!
//! A *user* is an open file description of the region's file that is open for writing and holds a
//! write lock (`F_OFD_SETLK`, `F_WRLCK`) on a byte in the range `USERS`, which is far beyond the end
//! of the file. The kernel releases the lock when the last copy of the descriptor and the last
//! mapping have gone, whether the process exits, is killed, or calls execve(2).
//!
//! A process checks for users with `F_OFD_GETLK` and `F_RDLCK`. Only write locks conflict with a
//! read lock, and only a process that may write to the file can hold a write lock. So the read locks
//! of a process that can only read the file have no effect on the answer. They can prevent a new
//! user from getting its own lock, which is then the error `EBUSY`.
//!
//! **A dead region stays dead.** A process that opens the region
//! 1. locks a byte of the range `JOINING`,
//! 2. checks that there is a user, and stops if there is none,
//! 3. locks a byte of `USERS`,
//! 4. unlocks the byte of `JOINING`.
//!
//! The region is dead if one request finds no lock in either range. The kernel answers the request
//! atomically. So at that time no process is between steps 1 and 4, and each later process finds no
//! user in step 2. So a process that finds a region dead can remove its name without a lock on the
//! region. While another process is stopped between steps 1 and 4, the answer is not known.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys;
use libc::{c_int, off_t};
use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// A range of bytes of a file.
#[derive(Clone, Copy)]
struct Range {
    start: off_t,
    len: off_t,
}

const USERS: Range = Range {
    start: 1 << 61,
    len: 1 << 60,
};
const JOINING: Range = Range {
    start: USERS.start + USERS.len,
    len: 1 << 60,
};
const BOTH: Range = Range {
    start: USERS.start,
    len: USERS.len + JOINING.len,
};

/// The maximum number of bytes that a process tries to lock. Two users rarely choose the same byte,
/// so repeated failures mean that a reader has locked the range.
const ATTEMPTS_MAX: u64 = 16;

/// The first pause while another process is joining. Each next pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// The state of a transient region.
enum State {
    HasUsers,
    /// There is no user, but a process may become one.
    Joining,
    Dead,
}

/// Makes the description of a new file its first user. No other process has the file yet.
pub fn begin(fd: BorrowedFd) -> Result<()> {
    lock_a_byte(fd, USERS).map(drop)
}

/// Makes an open file description a user if the region has users. With `read_only` it only checks
/// that there are users. Returns false if the region is dead. `EBUSY` if a process that can only
/// read the file keeps it locked. `ETIMEDOUT`, `EAGAIN` or `EINTR`, depending on `wait`, if another
/// process stays stopped while it joins.
pub fn join(fd: BorrowedFd, read_only: bool, wait: &mut Deadline) -> Result<bool> {
    let mut pause = PAUSE_MIN;
    loop {
        match state(fd)? {
            State::Dead => return Ok(false),
            State::HasUsers if read_only || try_join(fd)? => return Ok(true),
            State::HasUsers => continue,
            State::Joining => {}
        }
        wait.any(&mut [], Some(pause))?;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

/// Whether no other description is a user, and none is about to become one.
pub fn is_abandoned(fd: BorrowedFd) -> Result<bool> {
    Ok(matches!(state(fd)?, State::Dead))
}

fn try_join(fd: BorrowedFd) -> Result<bool> {
    let joining = lock_a_byte(fd, JOINING)?;
    let joined = match first_lock(fd, USERS) {
        Ok(Some(_)) => lock_a_byte(fd, USERS).map(|_| true),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    set(fd, libc::F_UNLCK, joining, 1)?;
    joined
}

fn state(fd: BorrowedFd) -> Result<State> {
    Ok(match first_lock(fd, BOTH)? {
        None => State::Dead,
        Some(at) if at < JOINING.start => State::HasUsers,
        // The kernel reports one lock; there may be another one.
        Some(_) => match first_lock(fd, USERS)? {
            Some(_) => State::HasUsers,
            None => State::Joining,
        },
    })
}

/// The offset of a write lock that another description holds in a range, if there is one.
fn first_lock(fd: BorrowedFd, range: Range) -> Result<Option<off_t>> {
    let mut lock = flock(libc::F_RDLCK, range.start, range.len);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok((c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_start))
}

/// Locks a byte that no other description has locked. Returns its offset.
fn lock_a_byte(fd: BorrowedFd, range: Range) -> Result<off_t> {
    // A number that other users rarely choose.
    let thread = (sys::thread_id() as u64) << 32;
    let seed = sys::monotonic_ns() ^ thread ^ fd.as_raw_fd() as u64;
    for attempt in 0..ATTEMPTS_MAX {
        let number = seed
            .wrapping_add(attempt)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = range.start + (number % range.len as u64) as off_t;
        match set(fd, libc::F_WRLCK, at, 1) {
            Ok(()) => return Ok(at),
            Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::EACCES]) => {}
            Err(error) => return Err(error),
        }
    }
    Err(errno!(EBUSY))
}

fn set(fd: BorrowedFd, kind: c_int, start: off_t, len: off_t) -> Result<()> {
    fcntl(fd.as_fd(), FcntlArg::F_OFD_SETLK(&flock(kind, start, len)))?;
    Ok(())
}

fn flock(kind: c_int, start: off_t, len: off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0, // required
    }
}
