//! A program closes the descriptors of its regions, as daemons do.

use crate::support::*;
use crate::support::{open, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use unixipc::ffi::shm::ipc_shm_close;

fn close_all() {
    for fd in open_numbers().into_iter().filter(|fd| *fd > 2) {
        // SAFETY: the child's own; nothing of the test uses them there.
        unsafe { close(fd) };
    }
}

fn ways(name: &CStr) -> Vec<Region> {
    let named = open_or_create(name, page_size(), (0, 0), |_, _| true).unwrap();
    let sealed = create(page_size(), 0, 0).unwrap();
    vec![
        open(name, 0).unwrap(),
        from_fd(sealed.fd(), 0).unwrap(),
        create(page_size(), PUBLISH, 0).unwrap(),
        create(page_size(), PUBLISH | TRANSIENT, 0).unwrap(),
        sealed,
        named,
    ]
}

/// Other files then have the numbers, and ipc_shm_close does not close them.
#[apply(isolated)]
fn other_files() {
    let _directory = NameDirectory::new();
    let name = name("c");
    fork(|| {
        let regions = ways(&name);
        let numbers: Vec<c_int> = regions.iter().map(Region::fd).collect();
        close_all();
        // SAFETY: a string.
        let first = own(unsafe { memfd_create(c"other".as_ptr(), 0) });
        let others: Vec<_> = (0..20)
            // SAFETY: no pointers.
            .map(|_| own(unsafe { dup(first.as_raw_fd()) }))
            .collect();
        let open = open_numbers();
        assert!(numbers.iter().all(|fd| open.contains(fd)));
        for region in regions {
            region.fill(1);
            // A region whose descriptor belongs to another file cannot be published.
            assert!(matches!(region.publish(c"/x"), Err(EINVAL | EBADF)));
            assert!(matches!(region.is_current(), Ok(1) | Err(EOPNOTSUPP)));
            drop(region);
        }
        assert_eq!(open_numbers(), open);
        drop(others);
    })
    .join();
    assert_eq!(unlink(&name), Ok(0));
}

/// The numbers stay unused.
#[apply(isolated)]
fn no_files() {
    let _directory = NameDirectory::new();
    let name = name("n");
    fork(|| {
        let regions = ways(&name);
        close_all();
        let open = open_numbers();
        for region in regions {
            region.fill(1);
            assert!(matches!(region.publish(c"/x"), Err(EINVAL | EBADF)));
            // SAFETY: an open handle, which is forgotten.
            unsafe { ipc_shm_close(region.0) };
            std::mem::forget(region);
        }
        assert_eq!(open_numbers(), open);
    })
    .join();
    assert_eq!(unlink(&name), Ok(0));
}
