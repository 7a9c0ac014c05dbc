//! Regions under system call filters that refuse a call for which the library has a substitute.

use crate::support::*;
use libc::{BPF_JSET, ENOSPC, ENOSYS, EPERM, SYS_fallocate, SYS_fstatfs, SYS_linkat};
use libc::{SYS_madvise, SYS_memfd_create, SYS_sysinfo};

/// The equivalent answers of a filter.
const ANSWERS: [libc::c_int; 2] = [ENOSYS, EPERM];
const SIZE: usize = (1 << 20) + 5;

/// All memory is allocated and zero.
fn check(region: &Region) {
    assert!(region.stat().st_blocks as usize * 512 >= region.size());
    assert!(region.is_all(0));
}

/// Every type of region can be created without these calls, one at a time and all together.
#[apply(isolated)]
fn create_and_publish() {
    let directory = NameDirectory::new();
    let refusals: [&dyn Fn(libc::c_int); 6] = [
        &|error| refuse(SYS_fallocate, error),
        &|error| refuse(SYS_fstatfs, error),
        &|error| refuse(SYS_sysinfo, error),
        &|error| refuse(SYS_madvise, error),
        &|error| refuse_where(SYS_memfd_create, 1, BPF_JSET, 8, error),
        &|error| refuse_where(SYS_linkat, 4, BPF_JSET, libc::AT_EMPTY_PATH as u32, error),
    ];
    let with = |error, refusals: &[&dyn Fn(libc::c_int)]| {
        fork(|| {
            refusals.iter().for_each(|refuse| refuse(error));
            for flags in [0, HUGE, HUGE | PREFAULT, PUBLISH, PUBLISH | PREFAULT] {
                check(&create(SIZE, flags, 0).unwrap());
            }
            let passed = create(SIZE, 0, 0).unwrap();
            assert_eq!(from_fd(passed.fd(), 0).unwrap().size(), SIZE);
            let name = name("n");
            let region = create(SIZE, PUBLISH, 0).unwrap();
            assert_eq!(region.publish(&name), Ok(0));
            assert_eq!(open(&name, 0).unwrap().size(), SIZE);
            assert_eq!(unlink(&name), Ok(0));
        })
        .join();
    };
    for error in ANSWERS {
        for one in &refusals {
            with(error, &[one]);
        }
        with(error, &refusals);
    }
    assert!(directory.names().is_empty());
}

/// Memory that is not a memfd is refused, even without fstatfs.
#[apply(isolated)]
fn passed_without_statfs() {
    for error in ANSWERS {
        fork(|| {
            refuse(SYS_fstatfs, error);
            crate::passed::refusals();
        })
        .join();
    }
}

/// Without fallocate and fstatfs, a full file system is an error too, and raises no SIGBUS.
#[apply(isolated)]
#[needs(needs::root)]
fn full() {
    let directory = NameDirectory::new();
    mount_tmpfs(c"/dev/shm", 0, c"size=1m,mode=1777");
    let empty = directory.used();
    for error in ANSWERS {
        fork(|| {
            refuse(SYS_fallocate, error);
            refuse(SYS_fstatfs, error);
            assert_eq!(create(SIZE, PUBLISH, 0).unwrap_err(), ENOSPC);
            assert_eq!(directory.used(), empty);
            check(&create(1 << 20, PUBLISH, 0).unwrap());
        })
        .join();
    }
}
