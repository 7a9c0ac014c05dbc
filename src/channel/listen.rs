//! Paths by which unrelated processes meet.

use super::end::{Channel, Options};
use crate::errno::{Errno, Result};
use crate::sys;
use crate::wait::Wait;
use libc::mode_t;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};
use nix::sys::time::TimeVal;
use nix::unistd::UnlinkatFlags;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The permissions that a path may have.
const MODES: mode_t = 0o777;

/// Where a listener is: a path, or a name that is in no file system ("@name").
fn address(path: &CStr) -> Result<UnixAddr> {
    let address = match path.to_bytes() {
        [] => return Err(Errno::ENOENT),
        [b'@'] => return Err(Errno::EINVAL),
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        path => UnixAddr::new(path),
    };
    address.map_err(Errno::from)
}

fn is_abstract(path: &CStr) -> bool {
    path.to_bytes().first() == Some(&b'@')
}

fn new_socket() -> Result<OwnedFd> {
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
    if mode & !MODES != 0 {
        return Err(Errno::EINVAL);
    }
    let socket = new_socket()?;
    // Held until this listens: so nobody takes it for a dead one meanwhile.
    let mut _claim = None;
    if is_abstract(path) {
        socket::bind(socket.as_raw_fd(), &address)?;
    } else {
        _claim = Some(Claim::new(path)?);
        bind_path(&socket, path, &address, mode)?;
    }
    socket::listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket)
}

/// Makes the path with its mode. Nobody can connect before the socket listens.
fn bind_path(socket: &OwnedFd, path: &CStr, address: &UnixAddr, mode: mode_t) -> Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    // The path gets no more than this from the beginning; the umask can only take from it.
    nix::sys::stat::fchmod(socket, mode)?;
    match socket::bind(socket.as_raw_fd(), address) {
        Err(nix::errno::Errno::EADDRINUSE) => {
            remove_dead(path, address)?;
            socket::bind(socket.as_raw_fd(), address)?;
        }
        bound => bound?,
    }
    let set = nix::sys::stat::fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink);
    let set = match set {
        // A kernel, or a C library, without it.
        Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => {
            nix::sys::stat::fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)
        }
        set => set,
    };
    if let Err(error) = set {
        let _ = nix::unistd::unlink(path);
        return Err(error.into());
    }
    Ok(())
}

/// Removes a socket that nobody listens at; `EADDRINUSE` if somebody does, or if it is none.
fn remove_dead(path: &CStr, address: &UnixAddr) -> Result<()> {
    let st = nix::sys::stat::lstat(path)?;
    if SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(Errno::EADDRINUSE);
    }
    let probe = new_socket()?;
    match socket::connect(probe.as_raw_fd(), address) {
        // The system says so where no socket is bound to it, or one does not listen: a
        // listener of this library's is not seen like that, because of the claim.
        Err(nix::errno::Errno::ECONNREFUSED) => {}
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        _ => return Err(Errno::EADDRINUSE),
    }
    match nix::unistd::unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir) {
        Err(nix::errno::Errno::ENOENT) => Ok(()),
        removed => Ok(removed?),
    }
}

/// The right to bring a listener into a folder, one process at a time. The system takes it from
/// a process that dies.
struct Claim(#[allow(dead_code, reason = "held")] OwnedFd);

impl Claim {
    fn new(path: &CStr) -> Result<Self> {
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(folder, flags, Mode::empty())?;
        loop {
            match sys::flock(fd.as_fd(), libc::LOCK_EX) {
                Err(Errno::EINTR) => {}
                locked => return locked.map(|()| Self(fd)),
            }
        }
    }
}

/// Takes a connection of a listener's; the handshake is left to the channel's first operation.
pub fn accept(listener: BorrowedFd, options: &Options, mut wait: Wait) -> Result<Channel> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        // The listener may be one that blocks.
        if !is_readable(listener)? {
            // Nothing ever comes to a descriptor that does not listen.
            if !socket::getsockopt(&listener, sockopt::AcceptConn)? {
                return Err(Errno::EINVAL);
            }
            wait.ready(listener, PollFlags::POLLIN)?;
        }
        match socket::accept4(listener.as_raw_fd(), flags).map_err(Errno::from) {
            Ok(fd) => {
                // SAFETY: the kernel has just given us this descriptor.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                return Channel::begin(socket, options);
            }
            // EAGAIN: another process was faster.
            Err(Errno::EINTR | Errno::ECONNABORTED | Errno::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_readable(fd: BorrowedFd) -> Result<bool> {
    let mut poll = [PollFd::new(fd, PollFlags::POLLIN)];
    match nix::poll::poll(&mut poll, PollTimeout::ZERO) {
        Err(nix::errno::Errno::EINTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}

/// Connects to a listener, and does the handshake.
pub fn connect(path: &CStr, options: &Options, mut wait: Wait) -> Result<Channel> {
    let address = address(path)?;
    let socket = new_socket()?;
    connect_socket(&socket, &address, &mut wait)?;
    let channel = Channel::begin(socket, options)?;
    channel.finish_now(&mut wait)?;
    Ok(channel)
}

/// Connects; waits where more have connected than the listener has room for.
fn connect_socket(socket: &OwnedFd, address: &UnixAddr, wait: &mut Wait) -> Result<()> {
    loop {
        match socket::connect(socket.as_raw_fd(), address).map_err(Errno::from) {
            Err(Errno::EAGAIN) => wait_for_place(socket, wait)?,
            Err(Errno::EINTR) => {
                wait.interrupted()?;
                wait_for_place(socket, wait)?; // for what is left of the time
            }
            Err(Errno::EPROTOTYPE) => return Err(Errno::ECONNREFUSED),
            connected => return connected,
        }
    }
}

/// Lets the next attempt wait. No event tells of a place, so the attempt itself has to.
fn wait_for_place(socket: &OwnedFd, wait: &mut Wait) -> Result<()> {
    let left = wait.left()?;
    // With a limit, however long, a signal handler ends it, also one with SA_RESTART.
    const LONG: Duration = Duration::from_secs(1 << 30);
    let limit = match left {
        None if wait.ends_with_signal() => LONG,
        None => Duration::ZERO, // none
        Some(left) => left.max(Duration::from_micros(1)),
    };
    let limit = TimeVal::new(limit.as_secs() as i64, limit.subsec_micros().into());
    socket::setsockopt(socket, sockopt::SendTimeout, &limit)?;
    nix::fcntl::fcntl(socket, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(())
}
