//! Regions of another size or layout, and whether a name still refers to a region.

use crate::support::*;
use crate::support::{ftruncate, open, stat, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use unixipc::ffi::shm::ipc_shm_opts;

fn tagged(flags: c_uint, layout: u64) -> ipc_shm_opts {
    ipc_shm_opts {
        layout,
        ..with(flags, 0)
    }
}

/// Sizes around those at which a region needs another page.
fn sizes() -> [usize; 6] {
    let page = page_size();
    [1, page - 1, page, page + 1, 2 * page, 5 * page + 3]
}

/// Every type of region records the tag, which takes no memory of the region.
#[apply(isolated)]
fn layout_tags() {
    let _directory = NameDirectory::new();
    for region_type in [
        0,
        PUBLISH,
        SOLE_WRITER,
        HUGE | PREFAULT,
        PUBLISH | TRANSIENT,
    ] {
        for size in sizes() {
            let _case = Case(format!("{region_type:#x}, {size}"));
            let region = create_with(size, &tagged(region_type, 0x1234_5678_9abc_def0)).unwrap();
            assert_eq!(
                (region.size(), region.layout()),
                (size, 0x1234_5678_9abc_def0)
            );
            assert!(region.is_all(0));
            region.fill(0xff);
            assert!(region.stat().st_blocks * 512 >= region.stat().st_size);
            let flags = if region_type == SOLE_WRITER {
                RDONLY
            } else {
                0
            };
            let same = from_fd(region.fd(), flags | TRUST).unwrap();
            assert_eq!((same.size(), same.layout()), (size, region.layout()));
            assert!(same.is_all(0xff));
            if region_type & PUBLISH == 0 {
                drop(from_fd(region.fd(), flags | PREFAULT).unwrap());
            }
            assert_eq!(
                create(size, region_type & !TRANSIENT, 0).unwrap().layout(),
                0
            );
        }
    }
    let name = name("tag");
    let region = create_with(page_size(), &tagged(PUBLISH, 7)).unwrap();
    assert_eq!(region.publish(&name), Ok(0));
    for flags in [0, RDONLY] {
        let opened = open(&name, flags).unwrap();
        assert_eq!((opened.size(), opened.layout()), (page_size(), 7));
    }
    assert_eq!(unlink(&name), Ok(0));
}

/// Another size or tag gives ESTALE; tag 0 accepts every tag.
#[apply(isolated)]
fn mismatches() {
    let _directory = NameDirectory::new();
    let name = name("m");
    let never = |_: *mut u8, _| -> bool { panic!("init") };
    let opened = |size, layout| open_or_create_with(&name, size, &tagged(0, layout), never);
    for (made_with, size) in [(0, page_size()), (5, page_size()), (5, 100)] {
        let made = open_or_create_with(&name, size, &tagged(0, made_with), |_, _| true).unwrap();
        assert_eq!(made.layout(), made_with);
        for layout in [0, 5, 6, u64::MAX] {
            let _case = Case(format!("{made_with} with {layout}"));
            if layout == 0 || layout == made_with {
                assert_eq!(opened(size, layout).unwrap().layout(), made_with);
                assert_eq!(opened(1, layout).unwrap().size(), size);
                assert_eq!(opened(size + 1, layout).unwrap_err(), ESTALE);
            } else {
                assert_eq!(opened(1, layout).unwrap_err(), ESTALE);
            }
        }
        assert_eq!(made.is_current(), Ok(1));
        assert_eq!(unlink(&name), Ok(0));
        assert_eq!(made.is_current(), Ok(0));
        assert_eq!(made.stat().st_nlink, 0);
    }
}

/// Another program's region, whose size is a number of whole pages.
#[apply(isolated)]
fn of_another_program() {
    let _directory = NameDirectory::new();
    let name = name("p");
    for pages in [1, 2, 3] {
        let file = plain_open(&path(&name), O_CREAT | O_EXCL | O_RDWR).unwrap();
        assert_eq!(ftruncate(&file, pages * page_size()), Ok(0));
        let opened = open(&name, 0).unwrap();
        assert_eq!((opened.size(), opened.layout()), (pages * page_size(), 0));
        opened.fill(0xa5);
        assert_eq!(open(&name, 0).unwrap().size(), pages * page_size());
        let larger = open_or_create(&name, pages * page_size() + 1, (0, 0), |_, _| {
            panic!("init")
        });
        assert_eq!(larger.unwrap_err(), ESTALE);
        assert_eq!(unlink(&name), Ok(0));
    }
}

/// A region is replaced under its name; processes that have the old region keep it.
#[apply(isolated)]
fn replaced() {
    let directory = NameDirectory::new();
    let name = name("r");
    let replace = tagged(REPLACE_STALE, 2);
    let old = open_or_create_with(&name, page_size(), &tagged(0, 1), |_, _| true).unwrap();
    let reader = open(&name, RDONLY).unwrap();
    old.fill(1);
    // If init fails, nothing is replaced.
    let failed = open_or_create_with(&name, page_size(), &replace, |_, _| false);
    assert_eq!(failed.unwrap_err(), ECANCELED);
    assert_eq!((old.is_current(), reader.is_current()), (Ok(1), Ok(1)));
    let new = open_or_create_with(&name, page_size(), &replace, |_, _| {
        // Until then the name refers to the old region.
        open(&name, 0).unwrap().layout() == 1
    });
    let new = new.unwrap();
    assert!(new.is_all(0) && old.is_all(1) && reader.is_all(1));
    assert_eq!((old.is_current(), reader.is_current()), (Ok(0), Ok(0)));
    assert_eq!(new.is_current(), Ok(1));
    // The new region is not stale; without the flag, the call of the old version is refused.
    let again = open_or_create_with(&name, 1, &replace, |_, _| panic!("init")).unwrap();
    assert_eq!(again.stat().st_ino, new.stat().st_ino);
    let old_version = open_or_create_with(&name, 1, &tagged(0, 1), |_, _| panic!("init"));
    assert_eq!(old_version.unwrap_err(), ESTALE);
    // A region that is too small.
    let large = open_or_create(&name, 9 * page_size(), (REPLACE_STALE, 0), |_, _| true).unwrap();
    assert_eq!((large.size(), new.is_current()), (9 * page_size(), Ok(0)));
    assert_eq!(directory.files().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
    // Other calls refuse the flag.
    assert_eq!(create(1, PUBLISH | REPLACE_STALE, 0).unwrap_err(), EINVAL);
    assert_eq!(open(&name, REPLACE_STALE).unwrap_err(), EINVAL);
}

/// Many processes of the new version start at once: one replaces the region, and all get the new
/// one.
#[apply(isolated)]
fn replaced_by_one() {
    let directory = NameDirectory::new();
    let shared = create(page_size(), 0, 0).unwrap();
    let (runs, sum) = (shared.u32(0), shared.u32(1));
    let start = StartSignal::new();
    let name = name("one");
    for round in 0..5 {
        let _case = Case(format!("round {round}"));
        drop(open_or_create_with(&name, 100, &tagged(0, 1), |_, _| true).unwrap());
        for word in [runs, sum] {
            word.store(0, Ordering::Relaxed);
        }
        let children: Vec<Child> = (0..20)
            .map(|_| {
                fork(|| {
                    start.wait();
                    let opts = tagged(REPLACE_STALE, 2);
                    let region = open_or_create_with(&name, 3 * page_size(), &opts, |_, _| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        true
                    });
                    let region = region.unwrap();
                    region.u32(0).fetch_add(1, Ordering::Relaxed);
                    sum.fetch_add(1, Ordering::AcqRel);
                    wait_until("all of them", || sum.load(Ordering::Acquire) == 20);
                    assert_eq!(region.u32(0).load(Ordering::Relaxed), 20);
                    assert_eq!(region.is_current(), Ok(1));
                })
            })
            .collect();
        start.give(children.len());
        children.into_iter().for_each(Child::join);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(directory.files().len(), 1);
        assert_eq!(unlink(&name), Ok(0));
    }
}

/// A region without a name has no current version.
#[apply(isolated)]
fn is_current() {
    let _directory = NameDirectory::new();
    let (a, b) = (name("a"), name("b"));
    let region = create(page_size(), PUBLISH, 0).unwrap();
    let named = |region: &Region| region.is_current();
    assert_eq!(named(&region), Err(EOPNOTSUPP));
    assert_eq!(region.publish(&a), Ok(0));
    assert_eq!(region.publish(&b), Ok(0));
    assert_eq!(named(&region), Ok(1));
    let by_b = open(&b, 0).unwrap();
    // The region's first name counts, or the name under which it was opened.
    assert_eq!(unlink(&a), Ok(0));
    assert_eq!((named(&region), named(&by_b)), (Ok(0), Ok(1)));
    assert_eq!(by_b.stat().st_nlink, 1);
    let rival = create(page_size(), PUBLISH, 0).unwrap();
    assert_eq!(rival.publish(&a), Ok(0));
    assert_eq!((named(&region), named(&rival)), (Ok(0), Ok(1)));
    assert_eq!((unlink(&a), unlink(&b)), (Ok(0), Ok(0)));
    assert_eq!(named(&create(page_size(), 0, 0).unwrap()), Err(EOPNOTSUPP));
    let passed = from_fd(region.fd(), TRUST).unwrap();
    assert_eq!(named(&passed), Err(EOPNOTSUPP));
    // SAFETY: NULL is refused.
    let null =
        outcome(|| unsafe { unixipc::ffi::shm::ipc_shm_is_current(std::ptr::null()) as isize });
    assert_eq!(null, Err(EINVAL));
}

/// Writes a trailer as the library does, with these numbers.
fn forge(fd: &impl AsRawFd, at: usize, numbers: (u32, u32, u64)) {
    let (version, flags, size) = numbers;
    let mut bytes = b"unixipc region\r\n".to_vec();
    bytes.extend(version.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(size.to_ne_bytes());
    bytes.extend(9u64.to_ne_bytes());
    bytes.extend([0; 24]);
    let (from, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: this many bytes are readable.
    let written = unsafe { pwrite(fd.as_raw_fd(), from, len, at as off_t) };
    assert_eq!(written, len as isize);
}

/// A hostile peer cannot make a region larger than its file.
#[apply(isolated)]
fn forged() {
    let page = page_size() as u64;
    for (file_len, size, is_trailer) in [
        (3 * page_size(), 2 * page, true),
        (3 * page_size(), 2 * page - 1, true),
        (3 * page_size(), page + 1, true),
        (3 * page_size(), page, false),
        (3 * page_size(), 2 * page + 1, false),
        (3 * page_size(), 3 * page, false),
        (3 * page_size(), 0, false),
        (3 * page_size(), u64::MAX, false),
        (3 * page_size(), u64::MAX - page, false),
        (3 * page_size(), 1 << 63, false),
        (page_size(), page, false),
        (page_size(), 0, false),
        (3 * page_size() - 64, 2 * page, false),
    ] {
        let _case = Case(format!("{file_len}: {size:#x}"));
        let fd = memfd(MFD_ALLOW_SEALING);
        assert_eq!(ftruncate(&fd, file_len), Ok(0));
        forge(&fd, file_len - 64, (1, 0, size));
        // SAFETY: no pointers.
        assert_eq!(
            unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, F_SEAL_SHRINK) },
            0
        );
        let region = from_fd(fd.as_raw_fd(), 0).unwrap();
        let expected = if is_trailer { size as usize } else { file_len };
        assert_eq!(region.size(), expected);
        assert_eq!(region.layout(), if is_trailer { 9 } else { 0 });
        region.fill(1);
        if is_trailer {
            // Another version of the library, or a flag that this version does not know.
            for (version, flags) in [(2, 0), (0, 0), (1, 2), (1, 1 << 31)] {
                forge(&fd, file_len - 64, (version, flags, size));
                assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap_err(), ESTALE);
            }
        }
        assert_eq!(stat(fd.as_raw_fd()).st_size as usize, file_len);
    }
}

/// A region of another version of the library is stale, and can be replaced.
#[apply(isolated)]
fn of_another_version() {
    let _directory = NameDirectory::new();
    let name = name("v");
    let region = create_with(page_size(), &tagged(PUBLISH, 3)).unwrap();
    assert_eq!(region.publish(&name), Ok(0));
    let file = plain_open(&path(&name), O_RDWR).unwrap();
    forge(&file, 2 * page_size() - 64, (2, 0, page_size() as u64));
    assert_eq!(open(&name, 0).unwrap_err(), ESTALE);
    let opened = open_or_create(&name, 1, (0, 0), |_, _| panic!("init"));
    assert_eq!(opened.unwrap_err(), ESTALE);
    let new = open_or_create(&name, 1, (REPLACE_STALE, 0), |_, _| true).unwrap();
    assert_eq!((new.size(), region.is_current()), (1, Ok(0)));
    assert_eq!(unlink(&name), Ok(0));
}
