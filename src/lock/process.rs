//! The identity of the calling process, as the locks record it.
//!
//! The kernel's robust futex records only a thread id. The same id identifies another thread in
//! another PID namespace, after a reboot, and after the thread has ended and the kernel has reused
//! the id. So a lock also records its [home](super::home) and, with each owner, the owner's
//! [`Process::thread`].
//!
//! A process always computes the same home and tag, also in another copy of the library. They are
//! cached in a page that the kernel clears in the child of a fork (`MADV_WIPEONFORK`, madvise(2)),
//! so a child computes its own.

use super::robust_mutex::RobustMutex;
use crate::bytes;
use crate::errno::{Errno, Result, errno, preserve_errno};
use crate::proc_file;
use crate::sys::{self, CancelGuard, ForkLocal};

/// The identity of a process: two numbers in one word.
///
/// - The home, the high half, identifies the boot and the PID namespace; 0 if unknown.
/// - The tag, the low half, identifies the process among all that ever ran in its PID namespace. It
///   is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u64);

/// The cached identity, both numbers in one word; 0 if it has not been computed.
static CURRENT: ForkLocal = ForkLocal::new();

impl Process {
    /// The calling process. `EOPNOTSUPP` in the child of a direct clone(2) system call: there the C
    /// library still has the thread id of the parent, so its mutexes would record the wrong owner.
    #[inline]
    pub fn current() -> Result<Self> {
        Self::cached().map_or_else(Self::identify, Ok)
    }

    /// The calling process, if [`Process::current`] has computed its identity before.
    #[inline]
    #[must_use]
    pub fn cached() -> Option<Self> {
        match CURRENT.load() {
            0 => None,
            known => Some(Self(known)),
        }
    }

    const fn new(home: u32, tag: u32) -> Self {
        Self((home as u64) << 32 | tag as u64)
    }

    /// The home.
    #[inline]
    #[must_use]
    pub fn home(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same process without a home. For a lock whose home is unknown.
    #[must_use]
    pub fn without_home(self) -> Self {
        Self(self.0 & u64::from(u32::MAX))
    }

    /// Whether this process can check that a thread in a lock still exists. The lock's home has been
    /// compared with that of this process.
    #[must_use]
    pub fn can_check_threads(self) -> bool {
        self.home() != 0
    }

    /// Identifies the calling thread among all that ever ran in its PID namespace. Only an ended
    /// thread of this process whose memory the calling thread reuses has the same number. The number
    /// is even and not 0.
    #[inline]
    #[must_use]
    pub fn thread(self) -> u64 {
        self.0 << 32 | Self::number_of(sys::thread_token())
    }

    /// A number of 32 bits from the address of a thread's memory, whose lower half alone can be that of
    /// two threads. The lowest bits of the upper half replace bits that are the same in all addresses.
    #[inline]
    fn number_of(token: u64) -> u64 {
        (token ^ token >> 31) & 0xffff_fffe
    }

    #[cold]
    #[inline(never)]
    fn identify() -> Result<Self> {
        let _no_cancel = CancelGuard::new();
        check_thread_id()?;
        let namespace = namespace();
        let boot = boot();
        let home = home_of(boot.unwrap_or(0), namespace);
        let process = Self::new(home, tag(namespace));
        // If the process temporarily lacks a descriptor or memory, the next call tries again.
        let lacks = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
        if !boot.is_err_and(|error| error.is_one_of(&lacks)) {
            CURRENT.store(process.0);
        }
        Ok(process)
    }
}

/// The home of a process; 0 if either number is unknown.
#[must_use]
pub fn home_of(boot: u32, namespace: u32) -> u32 {
    if boot == 0 || namespace == 0 {
        return 0;
    }
    let [a, b] = [boot, namespace].map(u32::to_le_bytes);
    hash_of(a.iter().chain(&b))
}

/// Identifies the PID namespace of this process among those of one boot; 0 if /proc is not
/// available.
#[must_use]
pub fn namespace() -> u32 {
    let status = preserve_errno(|| nix::sys::stat::stat(c"/proc/self/ns/pid"));
    // The kernel's number has 32 bits.
    status.map_or(0, |status| status.st_ino as u32)
}

/// Identifies the boot.
pub fn boot() -> Result<u32> {
    let _no_cancel = CancelGuard::new();
    preserve_errno(|| {
        let mut id = [0; 64];
        let len = proc_file::read(c"/proc/sys/kernel/random/boot_id", &mut id)?;
        Ok(hash_of(id.iter().take(len)))
    })
}

/// `EOPNOTSUPP` if the C library's id of this thread is not the kernel's.
fn check_thread_id() -> Result<()> {
    let probe = RobustMutex::new_unlocked()?;
    let id = probe.id_for_owner()?;
    if id == sys::thread_id() {
        Ok(())
    } else {
        Err(errno!(EOPNOTSUPP))
    }
}

/// The tag of this process. Each execve(2) gets new random bytes (`AT_RANDOM`, getauxval(3)). A
/// forked child has the same bytes but another process id.
fn tag(namespace: u32) -> u32 {
    let random = sys::exec_random();
    let process = std::process::id().to_le_bytes();
    hash_of(
        random
            .iter()
            .chain(&process)
            .chain(&namespace.to_le_bytes()),
    )
}

/// A hash that is not 0.
fn hash_of<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    let hash = bytes::hash(bytes);
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}
