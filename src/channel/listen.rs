//! Listening at a path.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::name_lock::NameLock;
use crate::sys::CancelGuard;
use libc::{c_int, mode_t};
use nix::errno::Errno as Error;
use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat};
use nix::unistd::unlink;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The permissions that a path may have.
const MODES: mode_t = 0o777;

/// How long a listener waits for another one that is starting at the same path.
const LOCK_TIMEOUT_MS: c_int = 1000;

/// The address of a path, or of a name that is in no file system ("@name").
pub(super) fn address(path: &CStr) -> Result<UnixAddr> {
    let address = match path.to_bytes() {
        [] => return Err(Errno::ENOENT),
        [b'@'] => return Err(Errno::EINVAL),
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        _ => UnixAddr::new(path),
    };
    address.map_err(Errno::from)
}

fn is_abstract(path: &CStr) -> bool {
    path.to_bytes().first() == Some(&b'@')
}

pub(super) fn new_socket() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket::socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        flags,
        None,
    )?)
}

/// Listens at a path.
pub fn listen(path: &CStr, mode: mode_t) -> Result<OwnedFd> {
    let address = address(path)?;
    let mode = Mode::from_bits(mode)
        .filter(|mode| mode.bits() & !MODES == 0)
        .ok_or(Errno::EINVAL)?;
    let _uncancelled = CancelGuard::new();
    let socket = new_socket()?;
    if is_abstract(path) {
        socket::bind(socket.as_raw_fd(), &address)?;
        socket::listen(&socket, Backlog::MAXALLOWABLE)?;
        return Ok(socket);
    }
    // Between bind(2) and listen(2) the socket looks like that of a dead listener. The lock keeps
    // other listeners away until then.
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
    NameLock::acquire(path, wait).map_err(|error| match error {
        // Another process is starting to listen there; or the path is a directory.
        Errno::ETIMEDOUT | Errno::EISDIR => Errno::EADDRINUSE,
        other => other,
    })
}

/// Creates the path, in place of a dead listener's. A client cannot connect before the socket
/// listens.
fn bind(socket: &OwnedFd, path: &CStr, address: &UnixAddr, mode: Mode) -> Result<()> {
    // The path has no other permissions from the beginning; the umask can only clear some.
    fchmod(socket, mode)?;
    match socket::bind(socket.as_raw_fd(), address) {
        Err(Error::EADDRINUSE) => {
            remove_dead(path, address)?;
            Ok(socket::bind(socket.as_raw_fd(), address)?)
        }
        bound => Ok(bound?),
    }
}

/// Sets the permissions that the umask has cleared.
fn set_mode(path: &CStr, mode: Mode) -> nix::Result<()> {
    match fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink) {
        // A kernel, a C library, or a filter of system calls that does not have it.
        Err(Error::EOPNOTSUPP | Error::ENOSYS | Error::EPERM) => {
            fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)
        }
        set => set,
    }
}

/// Removes the socket of a dead listener; `EADDRINUSE` if the listener lives, or if the path is
/// not a socket.
fn remove_dead(path: &CStr, address: &UnixAddr) -> Result<()> {
    let st = nix::sys::stat::lstat(path)?;
    if SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(Errno::EADDRINUSE);
    }
    let probe = new_socket()?;
    match socket::connect(probe.as_raw_fd(), address) {
        // The kernel answers this if no socket is bound to the path, or if one is bound and does
        // not listen. The lock excludes that the latter is a listener of this library.
        Err(Error::ECONNREFUSED) => {}
        Err(Error::ENOENT) => return Ok(()),
        _ => return Err(Errno::EADDRINUSE),
    }
    match unlink(path) {
        Err(Error::ENOENT) => Ok(()),
        removed => Ok(removed?),
    }
}
