//! Listening at a path.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::fd::own;
use crate::name_lock::NameLock;
use crate::proc_file::ProcPath;
use crate::sys::CancelGuard;
use libc::{c_int, mode_t};
use nix::errno::Errno as Error;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, unlink, unlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The permissions that a path may have.
const MODES: mode_t = 0o777;

/// How long a listener waits while another listener starts at the same path.
const LOCK_TIMEOUT_MS: c_int = 1000;

/// The address of a path, or of an abstract name ("@name").
pub fn address(path: &CStr) -> Result<UnixAddr> {
    let address = match path.to_bytes() {
        [] => return Err(errno!(ENOENT)),
        [b'@'] => return Err(errno!(EINVAL)),
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        _ => UnixAddr::new(path),
    };
    address.map_err(Errno::from)
}

fn is_abstract(path: &CStr) -> bool {
    path.to_bytes().first() == Some(&b'@')
}

/// Makes a socket that listens or connects.
pub fn new_socket() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket::socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        flags,
        None,
    )?)
}

/// Accepts the socket of a client from a listener that does not block. None if the queue is empty.
pub fn accept_socket(listener: BorrowedFd) -> Result<Option<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        match socket::accept4(listener.as_raw_fd(), flags).map_err(Errno::from) {
            Ok(fd) => {
                // SAFETY: the kernel has just opened this descriptor, and nothing else owns it.
                return unsafe { own(fd) }.map(Some);
            }
            Err(error) if error.is_one_of(&[Errno::EINTR, Errno::ECONNABORTED]) => {}
            Err(error) if error == Errno::EAGAIN => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Listens at a path.
pub fn listen(path: &CStr, mode: mode_t) -> Result<OwnedFd> {
    let address = address(path)?;
    let mode = Mode::from_bits(mode)
        .filter(|mode| mode.bits() & !MODES == 0)
        .ok_or(errno!(EINVAL))?;
    let _uncancelled = CancelGuard::new();
    let socket = new_socket()?;
    if is_abstract(path) {
        socket::bind(socket.as_raw_fd(), &address)?;
        socket::listen(&socket, Backlog::MAXALLOWABLE)?;
        return Ok(socket);
    }
    // Between bind(2) and listen(2) the socket cannot be distinguished from that of a dead
    // listener. The lock excludes other listeners until listen(2) has returned.
    let _lock = lock(path)?;
    bind(&socket, path, &address, mode)?;
    let listening =
        set_mode(path, mode).and_then(|()| socket::listen(&socket, Backlog::MAXALLOWABLE));
    if let Err(error) = listening {
        let _ = unlink(path);
        return Err(error.into());
    }
    Ok(socket)
}

fn lock(path: &CStr) -> Result<NameLock> {
    let wait = Deadline::new(LOCK_TIMEOUT_MS)?;
    NameLock::acquire(path, wait).map_err(held)
}

/// The error for a name that could not be locked.
fn held(error: Errno) -> Errno {
    match error.code() {
        // Another process is starting to listen at the path, or the path is a directory.
        libc::ETIMEDOUT | libc::EISDIR => errno!(EADDRINUSE),
        _ => error,
    }
}

/// Creates the path, and first removes the socket of a dead listener. A client cannot connect
/// before the socket listens.
fn bind(socket: &OwnedFd, path: &CStr, address: &UnixAddr, mode: Mode) -> Result<()> {
    // bind(2) creates the path with the mode of the socket, less the umask. So the path never has
    // permissions that `mode` does not have.
    fchmod(socket, mode)?;
    match socket::bind(socket.as_raw_fd(), address) {
        Err(Error::EADDRINUSE) => {
            remove_dead(path, address)?;
            Ok(socket::bind(socket.as_raw_fd(), address)?)
        }
        bound => Ok(bound?),
    }
}

/// Restores the permissions that the umask has cleared.
fn set_mode(path: &CStr, mode: Mode) -> nix::Result<()> {
    match fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink) {
        // The kernel, the C library or a system call filter does not support the flag.
        Err(Error::EOPNOTSUPP | Error::ENOSYS | Error::EPERM) => {
            fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)
        }
        set => set,
    }
}

/// Removes the socket of a dead listener. `EADDRINUSE` if the listener is alive, or if the path is
/// not a socket.
fn remove_dead(path: &CStr, address: &UnixAddr) -> Result<()> {
    let st = nix::sys::stat::lstat(path)?;
    if SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(errno!(EADDRINUSE));
    }
    let probe = new_socket()?;
    match socket::connect(probe.as_raw_fd(), address) {
        // No socket is bound to the path, or the bound socket does not listen. Because of the lock,
        // such a socket is not that of a starting listener of this library.
        Err(Error::ECONNREFUSED) => {}
        Err(Error::ENOENT) => return Ok(()),
        _ => return Err(errno!(EADDRINUSE)),
    }
    match unlink(path) {
        Err(Error::ENOENT) => Ok(()),
        removed => Ok(removed?),
    }
}

/// Removes the socket `name` of a dead listener in a directory: a socket file to which no socket is
/// bound. Returns whether it did, or would do so if `only_check`. `EADDRINUSE` if a listener is
/// starting at the name; `EACCES` if this process may not connect to the socket; `ENOENT` without
/// /proc. It does not connect to a living listener, which would accept that as a client.
pub fn remove_stale(directory: BorrowedFd, name: &CStr, only_check: bool) -> Result<bool> {
    let _uncancelled = CancelGuard::new();
    let Some(file) = stale(directory, name)? else {
        return Ok(false);
    };
    if only_check {
        return Ok(true);
    }
    let wait = Deadline::new(LOCK_TIMEOUT_MS)?;
    let _lock = NameLock::acquire_at(directory, name, wait).map_err(held)?;
    // A program that does not use the lock may have replaced the file.
    if stale(directory, name)? != Some(file) {
        return Ok(false);
    }
    unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
    Ok(true)
}

/// The device and the number of a socket file to which no socket is bound. Such a file stays unused:
/// bind(2) makes a new one.
fn stale(directory: BorrowedFd, name: &CStr) -> Result<Option<(u64, u64)>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    let st = fstat(&file)?;
    if SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Ok(None);
    }
    // This path leads to the file even if its name is now that of another one, and fits into an address.
    let address = UnixAddr::new(ProcPath::of_fd(file.as_fd()).as_c_str()?)?;
    // A listener has another type, so the kernel refuses the connection with EPROTOTYPE.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    match socket::connect(probe.as_raw_fd(), &address) {
        Err(Error::ECONNREFUSED) => Ok(Some((st.st_dev, st.st_ino))),
        Err(error @ (Error::EACCES | Error::ENOENT)) => Err(error.into()),
        _ => Ok(None),
    }
}
