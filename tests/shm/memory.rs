//! Missing memory is an error of the call, and causes no later SIGBUS.

use crate::support::*;
use crate::support::{ftruncate, open, stat, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

const MIB: usize = 1 << 20;

/// Another program's region: it has its length, but no allocated memory.
fn sparse(name: &std::ffi::CStr, len: usize) -> OwnedFd {
    let file = plain_open(&path(name), O_CREAT | O_EXCL | O_RDWR).unwrap();
    assert_eq!(ftruncate(&file, len), Ok(0));
    file
}

/// With PREFAULT, the call allocates the holes of a region, or fails.
fn open_sparse_ones() {
    let name = name("sparse");
    for flags in [PREFAULT, PREFAULT | RDONLY, PREFAULT | HUGE] {
        let _case = Case(format!("{flags:#x}"));
        let file = sparse(&name, 2 * MIB);
        let before = open_numbers();
        assert_eq!(open(&name, flags).unwrap_err(), ENOSPC);
        if flags & RDONLY == 0 {
            let opened = open_or_create(&name, 1, (flags, 0), |_, _| panic!("init"));
            assert_eq!(opened.unwrap_err(), ENOSPC);
        }
        let trusted = from_fd(file.as_raw_fd(), flags | TRUST);
        assert_eq!(trusted.unwrap_err(), ENOSPC);
        assert_eq!(open_numbers(), before);
        // A region that fits is usable.
        assert_eq!(ftruncate(&file, 0), Ok(0));
        assert_eq!(ftruncate(&file, MIB / 2), Ok(0));
        let region = open(&name, flags).unwrap();
        assert_eq!(smaps(&region, "Rss"), 512);
        assert!(region.is_all(0));
        assert!(stat(file.as_raw_fd()).st_blocks as usize * 512 >= MIB / 2);
        drop(region);
        // Without the flag nothing is allocated.
        assert_eq!(ftruncate(&file, 0), Ok(0));
        assert_eq!(ftruncate(&file, 2 * MIB), Ok(0));
        assert_eq!(open(&name, flags & !PREFAULT).unwrap().size(), 2 * MIB);
        assert_eq!(stat(file.as_raw_fd()).st_blocks, 0);
        assert_eq!(unlink(&name), Ok(0));
    }
}

#[apply(isolated)]
#[needs(needs::root_and_populate)]
fn prefault_sparse() {
    let _directory = NameDirectory::new();
    mount_tmpfs(c"/dev/shm", 0, c"size=1m,mode=1777");
    open_sparse_ones();
}

/// On kernels before MADV_POPULATE_WRITE, and under filters that refuse it.
#[apply(isolated)]
#[needs(needs::root)]
fn prefault_on_older_kernels() {
    let _directory = NameDirectory::new();
    mount_tmpfs(c"/dev/shm", 0, c"size=1m,mode=1777");
    for error in [EINVAL, EPERM, ENOSYS] {
        fork(|| {
            // MADV_POPULATE_READ and MADV_POPULATE_WRITE
            refuse_where(SYS_madvise, 2, BPF_JGE, 22, error);
            let name = name("older");
            let file = sparse(&name, 2 * MIB);
            assert_eq!(open(&name, PREFAULT).unwrap_err(), ENOSPC);
            assert_eq!(ftruncate(&file, 0), Ok(0));
            assert_eq!(ftruncate(&file, MIB / 2), Ok(0));
            let region = open(&name, PREFAULT).unwrap();
            assert_eq!(smaps(&region, "Rss"), 512);
            drop((region, open(&name, PREFAULT | RDONLY).unwrap()));
            for flags in [PREFAULT, PREFAULT | HUGE] {
                assert_eq!(smaps(&create(MIB / 4, flags, 0).unwrap(), "Rss"), 256);
            }
            assert_eq!(unlink(&name), Ok(0));
        })
        .join();
    }
}

/// After mlockall(MCL_FUTURE), every call for a region above RLIMIT_MEMLOCK fails with ENOMEM.
#[apply(isolated)]
#[needs(needs::root)]
fn mlockall_future() {
    let _directory = NameDirectory::new();
    let (size, key) = (4 * MIB, fresh_key());
    fork(|| {
        become_nobody().unwrap();
        let (large, name) = (name("large"), name("new"));
        let named = create(size, PUBLISH, 0).unwrap();
        assert_eq!(named.publish(&large), Ok(0));
        let passed = create(size, 0, 0).unwrap();
        set_soft_limit(RLIMIT_MEMLOCK, MIB as u64);
        // SAFETY: no pointers.
        assert_eq!(unsafe { mlockall(MCL_FUTURE) }, 0);
        let before = open_numbers();
        for flags in [0, PUBLISH, SOLE_WRITER, HUGE, PREFAULT] {
            assert_eq!(create(size, flags, 0).unwrap_err(), ENOMEM, "{flags:#x}");
        }
        assert_eq!(open(&large, 0).unwrap_err(), ENOMEM);
        assert_eq!(from_fd(passed.fd(), 0).unwrap_err(), ENOMEM);
        let made = open_or_create(&name, size, (0, 0), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), ENOMEM);
        let attached = attach(key, size, IPC_CREAT | 0o600);
        assert_eq!(attached.unwrap_err(), ENOMEM);
        // SAFETY: no pointers.
        assert_eq!(unsafe { shmget(key, 0, 0) }, -1, "a segment is left");
        assert_eq!(open_numbers(), before);
        drop(create(page_size(), 0, 0).unwrap());
        assert_eq!(unlink(&large), Ok(0));
    })
    .join();
}

/// If a segment cannot be attached, the call removes it, but only if it is new.
#[apply(isolated)]
fn attach_without_address_space() {
    let key = fresh_key();
    fork(|| {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let used: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let limit = used * page_size() as u64 + (8 << 20);
        // SAFETY: no pointers.
        let exists = || unsafe { shmget(key, 0, 0) } != -1;
        for flags in [IPC_CREAT | IPC_EXCL | 0o600, IPC_CREAT | 0o600] {
            let old = set_soft_limit(RLIMIT_AS, limit);
            assert_eq!(attach(key, 64 * MIB, flags).unwrap_err(), ENOMEM);
            set_soft_limit(RLIMIT_AS, old);
            assert!(!exists());
        }
        let region = attach(key, 64 * MIB, IPC_CREAT | IPC_EXCL | 0o600).unwrap();
        assert_eq!(region.is_current(), Ok(1));
        drop(region);
        let old = set_soft_limit(RLIMIT_AS, limit);
        assert_eq!(attach(key, 0, IPC_CREAT | 0o600).unwrap_err(), ENOMEM);
        set_soft_limit(RLIMIT_AS, old);
        assert!(exists(), "another one's segment stays");
        let region = attach(key, 0, 0).unwrap();
        // SAFETY: IPC_RMID reads nothing.
        unsafe { shmctl(shmget(key, 0, 0), IPC_RMID, ptr::null_mut()) };
        assert_eq!(region.is_current(), Ok(0));
    })
    .join();
}
