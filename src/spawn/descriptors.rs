//! The descriptors of a child.

use crate::errno::{Result, errno};
use crate::fd::borrow;
use crate::sys::child;
use libc::{STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO, c_int, c_uint};
use nix::fcntl::{FcntlArg, fcntl};

/// A descriptor for a started program, in addition to its end of the pair.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SpawnFd {
    /// the number in this process
    pub fd: c_int,
    /// the number in the child
    pub child_fd: c_int,
}

/// A descriptor that the child gets.
struct Move {
    from: c_int,
    to: c_int,
    /// Whether another descriptor gets the number `from`.
    is_overwritten: bool,
}

/// The descriptors of the child. All others are closed.
pub(super) struct Descriptors {
    moves: Vec<Move>,
    /// The standard descriptors that are /dev/null.
    null: [bool; 3],
    /// The highest number of a descriptor in the child.
    highest: c_int,
}

impl Descriptors {
    /// Fails with `EINVAL` if a number in the child is negative or used twice.
    pub fn new(ends: &[SpawnFd], fds: &[SpawnFd], stderr_null: bool) -> Result<Self> {
        let passed = || ends.iter().chain(fds).copied();
        let is_target = |fd| passed().any(|pass| pass.child_fd == fd);
        let mut moves = Vec::new();
        moves
            .try_reserve_exact(passed().count())
            .map_err(|_| errno!(ENOMEM))?;
        let mut highest = STDERR_FILENO;
        for (i, pass) in passed().enumerate() {
            let (from, to) = (pass.fd, pass.child_fd);
            let is_twice = passed().take(i).any(|other| other.child_fd == to);
            if to < 0 || is_twice || (stderr_null && to == STDERR_FILENO) {
                return Err(errno!(EINVAL));
            }
            highest = highest.max(to);
            // The memory is reserved; push would contain code that aborts when memory is exhausted.
            if let [free, ..] = moves.spare_capacity_mut() {
                free.write(Move {
                    from,
                    to,
                    is_overwritten: from != to && is_target(from),
                });
                // SAFETY: one more element is initialised.
                unsafe { moves.set_len(moves.len() + 1) };
            }
        }
        let null = [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO].map(|fd| {
            // If it were closed, the first file that the program opens would take its number.
            (stderr_null && fd == STDERR_FILENO) || (!is_target(fd) && is_closed_on_exec(fd))
        });
        Ok(Self {
            moves,
            null,
            highest,
        })
    }

    /// Gives the descriptors of this process, the child, their numbers, and closes all others.
    pub fn arrange(&mut self) -> Result<()> {
        for pass in &mut self.moves {
            if pass.is_overwritten {
                pass.from = copy_above(pass.from, self.highest)?;
            }
        }
        for pass in &self.moves {
            if pass.from == pass.to {
                child::keep_on_exec(pass.to)?;
            } else {
                child::duplicate_to(pass.from, pass.to)?;
            }
        }
        for (fd, is_null) in (STDIN_FILENO..).zip(self.null) {
            if is_null {
                open_null(fd)?;
            }
        }
        self.close_others()
    }

    fn close_others(&self) -> Result<()> {
        let mut first = STDERR_FILENO + 1;
        loop {
            let targets = self.moves.iter().map(|pass| pass.to);
            match targets.filter(|to| *to >= first).min() {
                None => return close_range(first as c_uint, c_uint::MAX),
                Some(to) => {
                    if to > first {
                        close_range(first as c_uint, to as c_uint - 1)?;
                    }
                    first = to.saturating_add(1);
                }
            }
        }
    }
}

/// Whether a descriptor is closed or close-on-exec in this process. Its number may belong to an
/// internal descriptor of this library.
fn is_closed_on_exec(fd: c_int) -> bool {
    borrow(fd)
        .and_then(|fd| Ok(fcntl(fd, FcntlArg::F_GETFD)?))
        .map_or(true, |flags| flags & libc::FD_CLOEXEC != 0)
}

fn copy_above(fd: c_int, highest: c_int) -> Result<c_int> {
    let lowest = highest.checked_add(1).ok_or(errno!(EMFILE))?;
    child::duplicate_above(fd, lowest).map_err(|error| match error.code() {
        libc::EINVAL => errno!(EMFILE), // above RLIMIT_NOFILE
        _ => error,
    })
}

/// Opens /dev/null with this number. All lower numbers are open.
fn open_null(fd: c_int) -> Result<()> {
    child::close(fd); // also frees an entry of a full table
    let opened = child::open(c"/dev/null", libc::O_RDWR)?;
    if opened != fd {
        child::duplicate_to(opened, fd)?;
        child::close(opened);
    }
    Ok(())
}

/// Closes all descriptors from `first` to `last`.
fn close_range(first: c_uint, last: c_uint) -> Result<()> {
    match child::close_range(first, last) {
        Err(error) if error.is_missing_call() => close_listed(first, last),
        closed => closed,
    }
}

/// [`close_range`] without the system call: closes the descriptors that /proc/self/fd lists.
fn close_listed(first: c_uint, last: c_uint) -> Result<()> {
    child::close(first as c_int); // frees an entry of a full table
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let directory = child::open(c"/proc/self/fd", flags)?;
    let mut buffer = Entries([0; 1024]);
    let closed = loop {
        match child::directory_entries(directory, &mut buffer.0) {
            Ok(0) => break Ok(()),
            Ok(len) => {
                for fd in buffer.descriptors(len) {
                    if (first..=last).contains(&fd) && fd != directory as c_uint {
                        child::close(fd as c_int);
                    }
                }
            }
            Err(error) => break Err(error),
        }
    };
    child::close(directory);
    closed
}

/// A buffer for entries of a directory, `struct linux_dirent64` of getdents64(2).
#[repr(align(8))]
struct Entries([u8; 1024]);

impl Entries {
    /// The offsets of the length and of the name in an entry.
    const LENGTH: usize = 16;
    const NAME: usize = 19;

    /// The numbers among the names of the entries in the first `len` bytes.
    fn descriptors(&self, len: usize) -> impl Iterator<Item = c_uint> {
        let mut rest = self.0.get(..len).unwrap_or_default();
        std::iter::from_fn(move || {
            loop {
                let [low, high] = *rest.get(Self::LENGTH..)?.first_chunk()?;
                let length = usize::from(u16::from_ne_bytes([low, high])).max(1);
                let name = rest.get(Self::NAME..length)?;
                rest = rest.get(length..)?;
                if let Some(fd) = number(name) {
                    return Some(fd);
                }
            }
        })
    }
}

/// The number of which the decimal digits are a string that ends with 0.
fn number(name: &[u8]) -> Option<c_uint> {
    let digits = name.split(|byte| *byte == 0).next()?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |number: c_uint, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
