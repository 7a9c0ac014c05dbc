//! The calls of the kernel that the library uses. Each is tried, because a system call filter can
//! refuse a call that the kernel has.

use super::{Check, Status};
use nix::fcntl::{OFlag, SealFlag};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use unixipc::sys::{self, membarrier, memory};

/// `RWF_NOSIGNAL` of linux/fs.h (Linux 6.18).
const RWF_NOSIGNAL: libc::c_int = 0x100;

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        Check::fact("kernel", release.trim()),
        membarrier(),
        pipe_flag("RWF_NOSIGNAL", RWF_NOSIGNAL, true),
        pipe_flag("RWF_NOWAIT", libc::RWF_NOWAIT, false),
        seals(),
        pidfd(),
        peer_pidfd(),
        tmpfile(),
        wipe_on_fork(),
        inheritance(),
        lease(),
    ]
}

fn found(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "yes".into(),
        Err(error) => format!("no: {error}"),
    }
}

/// A check of something that can be done.
fn ability(
    name: &'static str,
    result: io::Result<()>,
    otherwise: Status,
    consequence: &'static str,
) -> Check {
    Check::new(name, result.is_ok(), found(&result), otherwise, consequence)
}

fn membarrier() -> Check {
    let works = membarrier::register() && membarrier::issue();
    let result = match works {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    };
    ability(
        "membarrier",
        result,
        Status::Limited,
        "each message costs a memory barrier more",
    )
}

/// Whether pwritev2(2) or preadv2(2) has a flag for pipes.
fn pipe_flag(name: &'static str, flag: libc::c_int, writes: bool) -> Check {
    let attempt = || -> io::Result<()> {
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        nix::unistd::write(&write_end, b"x")?;
        let mut byte = 0u8;
        let part = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let done = if writes {
            // SAFETY: the kernel reads one byte.
            unsafe { libc::pwritev2(write_end.as_raw_fd(), &part, 1, -1, flag) }
        } else {
            // SAFETY: the kernel writes one byte.
            unsafe { libc::preadv2(read_end.as_raw_fd(), &part, 1, -1, flag) }
        };
        check(done as libc::c_long)
    };
    let consequence = match writes {
        true => "a wake-up blocks SIGPIPE by two more system calls",
        false => "a wake-up is read by vmsplice(2), or by poll(2) and read(2)",
    };
    ability(name, attempt(), Status::Limited, consequence)
}

fn check(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn seals() -> Check {
    let attempt = || -> io::Result<()> {
        let fd = memfd()?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_FUTURE_WRITE;
        memory::add_seals(fd.as_fd(), seals).map_err(to_io)
    };
    ability(
        "memfd seals",
        attempt(),
        Status::Missing,
        "no channels, no feeds and no regions without a name",
    )
}

fn memfd() -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    memory::memfd_create(c"unixipc-doctor", flags).map_err(to_io)
}

fn to_io(errno: unixipc::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.code())
}

fn pidfd() -> Check {
    let own = std::process::id() as libc::pid_t;
    ability(
        "pidfd",
        sys::open_pidfd(own, 0).map(drop).map_err(to_io),
        Status::Limited,
        "ipc_spawn and ipc_peer_pidfd fail or poll",
    )
}

fn peer_pidfd() -> Check {
    let attempt = || -> io::Result<()> {
        let (one, _other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        sys::peer_pidfd(one.as_fd()).map(drop).map_err(to_io)
    };
    ability(
        "SO_PEERPIDFD",
        attempt(),
        Status::Limited,
        "ipc_peer_pidfd finds the peer by its number and start time",
    )
}

/// An unnamed file in /dev/shm, as for a region with a name.
fn open_tmpfile() -> io::Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(
        "/dev/shm",
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?)
}

fn tmpfile() -> Check {
    ability(
        "O_TMPFILE in /dev/shm",
        open_tmpfile().map(drop),
        Status::Missing,
        "no regions with a name",
    )
}

fn wipe_on_fork() -> Check {
    let attempt = || -> io::Result<()> {
        let len = sys::page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which replaces none.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: this mapping.
        let done = check(unsafe { libc::madvise(at, len, libc::MADV_WIPEONFORK) }.into());
        // SAFETY: this mapping, which is no longer used.
        unsafe { libc::munmap(at, len) };
        done
    };
    ability(
        "MADV_WIPEONFORK",
        attempt(),
        Status::Limited,
        "locks ask for the process number with each call",
    )
}

/// Whether the kernel has futexes with priority inheritance: an unlock of one that is not held fails
/// with `EPERM`.
fn inheritance() -> Check {
    let attempt = || -> io::Result<()> {
        let mut word = 0u32;
        // SAFETY: the kernel accesses the word only during the call.
        let done = check(unsafe {
            libc::syscall(
                libc::SYS_futex,
                &raw mut word,
                libc::FUTEX_UNLOCK_PI,
                0,
                0,
                0,
                0,
            )
        });
        match done {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            other => other,
        }
    };
    ability(
        "priority inheritance",
        attempt(),
        Status::Missing,
        "no mutexes with IPC_MUTEX_F_PRIO_INHERIT",
    )
}

/// Whether `unixipc gc` can check that a region is unused.
fn lease() -> Check {
    let attempt = || -> io::Result<()> {
        let fd = open_tmpfile()?;
        let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let read_only = fs::File::open(own)?;
        drop(fd);
        sys::lease(read_only.as_fd()).map_err(to_io)
    };
    ability(
        "file leases",
        attempt(),
        Status::Limited,
        "unixipc gc removes no regions",
    )
}
