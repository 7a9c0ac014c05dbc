//! ipc_shm_from_fd.

use crate::support::*;
use crate::support::{ftruncate, stat}; // libc has these names too
use common::child::fork;
use common::descriptors::pipe;
use libc::*;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{ptr, thread};
use unixipc::ffi::shm::ipc_shm_from_fd;

fn seal(fd: &OwnedFd, seals: c_int) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, seals) }, 0);
}

#[apply(isolated)]
fn arguments() {
    let region = create(1, 0, 0).unwrap();
    // SAFETY: NULL is refused.
    let opened = outcome(|| unsafe { ipc_shm_from_fd(region.fd(), 0, ptr::null_mut()) } as isize);
    assert_eq!(opened, Err(EINVAL));
    for fd in [-1, -100, c_int::MIN, 1_000_000, c_int::MAX] {
        assert_eq!(from_fd(fd, 0).unwrap_err(), EBADF, "{fd}");
        assert_eq!(from_fd(fd, TRUST).unwrap_err(), EBADF, "{fd}");
    }
    for bit in 0..32 {
        let flag = 1 << bit;
        if (RDONLY | TRUST | HUGE | PREFAULT | LOCK) & flag == 0 {
            assert_eq!(from_fd(region.fd(), flag).unwrap_err(), EINVAL);
        }
    }
}

/// The caller keeps its descriptor.
#[apply(isolated)]
fn duplicates() {
    let region = create(page_size(), 0, 0).unwrap();
    let theirs = reopen(region.fd(), O_RDWR).unwrap();
    let opened = from_fd(theirs.as_raw_fd(), 0).unwrap();
    assert_ne!(opened.fd(), theirs.as_raw_fd());
    drop(theirs);
    opened.fill(1);
    assert_eq!(stat(opened.fd()).st_ino, region.stat().st_ino);
    drop(region);
    assert!(opened.is_all(1));
}

/// A file on a disk, or at least not on a tmpfs.
fn on_disk() -> OwnedFd {
    let path = std::env::temp_dir().join("file");
    fs::write(&path, vec![7; page_size()]).unwrap();
    let fd = plain_open(path.to_str().unwrap(), O_RDWR).unwrap();
    fs::remove_file(path).unwrap();
    fd
}

/// The size of the pages of hugetlbfs.
fn huge_page_size() -> usize {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let size = memory
        .lines()
        .find_map(|line| line.strip_prefix("Hugepagesize:"));
    let kilobytes = size.and_then(|size| size.split_whitespace().next());
    kilobytes.map_or(2 << 20, |size| size.parse::<usize>().unwrap() * 1024)
}

/// Files that can be truncated need TRUST; files that are not memory are refused even with it.
#[apply(isolated)]
pub fn refusals() {
    let _directory = NameDirectory::new();
    let sized = |flags: c_uint| {
        let fd = memfd(flags);
        assert_eq!(ftruncate(&fd, page_size()), Ok(0));
        fd
    };
    let grows = sized(MFD_ALLOW_SEALING);
    seal(&grows, F_SEAL_GROW | F_SEAL_SEAL);
    let written = sized(MFD_ALLOW_SEALING);
    seal(&written, F_SEAL_SEAL);
    let empty = memfd(MFD_ALLOW_SEALING);
    seal(&empty, F_SEAL_SHRINK);
    let huge_size = huge_page_size();
    let huge = memfd(MFD_ALLOW_SEALING | MFD_HUGETLB);
    assert_eq!(ftruncate(&huge, huge_size), Ok(0));
    seal(&huge, F_SEAL_SHRINK | F_SEAL_GROW);
    let named = create(page_size(), PUBLISH, 0).unwrap();
    let (read, write) = pipe();
    let (socket, _other) = UnixStream::pair().unwrap();
    let opened = |path: &str, flags| plain_open(path, flags).unwrap();
    // SAFETY: no pointers.
    let event = own(unsafe { eventfd(0, EFD_CLOEXEC) });
    let at = |fd: &dyn AsRawFd| fd.as_raw_fd();
    // The results without and with TRUST: opened, or refused with this errno. Huge pages may be
    // missing.
    let (unsealed, disk, zero) = (sized(0), on_disk(), opened("/dev/zero", O_RDWR));
    let directory = opened("/tmp", O_RDONLY);
    let maps = opened("/proc/self/maps", O_RDONLY);
    let link = opened("/proc/self/exe", O_PATH | O_NOFOLLOW);
    for (what, fd, without, with_trust) in [
        ("an unsealed memfd", at(&unsealed), EPROTO, None),
        ("a memfd that cannot grow", at(&grows), EPROTO, None),
        (
            "a memfd that takes no more seals",
            at(&written),
            EPROTO,
            None,
        ),
        ("a file on /dev/shm", named.fd(), EPROTO, None),
        ("a file on a disk", at(&disk), EPROTO, None),
        ("huge pages", at(&huge), EPROTO, Some(ENOMEM)),
        ("an empty memfd", at(&empty), EPROTO, Some(EPROTO)),
        ("a pipe", at(&read), EPROTO, Some(EPROTO)),
        ("its other end", at(&write), EPROTO, Some(EPROTO)),
        ("a socket", at(&socket), EPROTO, Some(EPROTO)),
        ("an eventfd", at(&event), EPROTO, Some(EPROTO)),
        ("/dev/zero", at(&zero), EPROTO, Some(EPROTO)),
        ("a directory", at(&directory), EPROTO, Some(EPROTO)),
        ("a file of /proc", at(&maps), EPROTO, Some(EPROTO)),
        ("a link", at(&link), EBADF, Some(EPROTO)),
    ] {
        let _case = Case(what);
        for flags in [0, RDONLY] {
            assert_eq!(from_fd(fd, flags).unwrap_err(), without);
            match (from_fd(fd, flags | TRUST), with_trust) {
                (Ok(region), None) => assert_eq!(region.size(), page_size()),
                (Ok(region), Some(ENOMEM)) => assert_eq!(region.size(), huge_size),
                (Err(error), Some(expected)) => assert_eq!(error, expected),
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

/// A memfd is accepted as soon as it is sealed.
#[apply(isolated)]
fn sealed_by_others() {
    let fd = memfd(MFD_ALLOW_SEALING);
    assert_eq!(ftruncate(&fd, 5000), Ok(0));
    assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap_err(), EPROTO);
    seal(&fd, F_SEAL_SHRINK);
    let region = from_fd(fd.as_raw_fd(), 0).unwrap();
    assert_eq!(region.size(), 5000);
    // The file may grow; the region keeps its size.
    assert_eq!(ftruncate(&fd, 9000), Ok(0));
    assert_eq!(region.size(), 5000);
    assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap().size(), 9000);
    region.fill(1);
    drop(region);
    seal(&fd, F_SEAL_WRITE);
    assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap_err(), EPERM);
    assert_eq!(from_fd(fd.as_raw_fd(), RDONLY).unwrap().bytes()[4999], 1);
    // Before Linux 6.7, the kernel does not share it.
    fork(|| {
        refuse_where(SYS_mmap, 3, BPF_JSET, MAP_SHARED as u32, EPERM);
        assert_eq!(from_fd(fd.as_raw_fd(), RDONLY).unwrap().bytes()[4999], 1);
        assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap_err(), EPERM);
    })
    .join();
}

/// The call sends no request to the file system of an unsealed file, which might never answer.
#[apply(isolated)]
fn asks_no_file_system() {
    let disk = on_disk();
    let (read, _write) = pipe();
    let sealed = create(page_size(), 0, 0).unwrap();
    fork(|| {
        // LoongArch has no other calls.
        let mut calls = vec![SYS_statx, SYS_fstatfs];
        #[cfg(not(target_arch = "loongarch64"))]
        calls.extend([SYS_fstat, SYS_newfstatat]);
        for syscall in calls {
            refuse(syscall, EIO);
        }
        for fd in [disk.as_raw_fd(), read.as_raw_fd()] {
            assert_eq!(from_fd(fd, 0).unwrap_err(), EPROTO);
        }
        // This file's file system gets the request.
        assert_eq!(from_fd(sealed.fd(), 0).unwrap_err(), EIO);
    })
    .join();
}

/// A peer truncates the memory, and seals it only afterwards, during the open.
#[apply(isolated)]
fn truncated_meanwhile() {
    let large = 1 << 20;
    let end = Instant::now() + Duration::from_millis(500);
    let mut opened = 0;
    while Instant::now() < end {
        let fd = memfd(MFD_ALLOW_SEALING);
        assert_eq!(ftruncate(&fd, large), Ok(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(ftruncate(&fd, page_size()), Ok(0));
                seal(&fd, F_SEAL_SHRINK);
            });
            let region = loop {
                match from_fd(fd.as_raw_fd(), 0) {
                    Ok(region) => break region,
                    Err(error) => assert_eq!(error, EPROTO),
                }
            };
            assert_eq!(region.size(), page_size());
        });
        opened += 1;
    }
    assert!(opened > 0);
}

/// A size larger than any address space.
#[apply(isolated)]
fn huge_sizes() {
    let fd = memfd(MFD_ALLOW_SEALING);
    assert_eq!(ftruncate(&fd, 1 << 62), Ok(0));
    seal(&fd, F_SEAL_SHRINK);
    let before = open_numbers();
    assert_eq!(from_fd(fd.as_raw_fd(), 0).unwrap_err(), ENOMEM);
    assert_eq!(open_numbers(), before);
}

fn allocated(fd: &impl AsRawFd) -> usize {
    stat(fd.as_raw_fd()).st_blocks as usize * 512
}

/// Allocates the first bytes of a file.
fn allocate(fd: &impl AsRawFd, len: usize) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { fallocate(fd.as_raw_fd(), 0, 0, len as off_t) }, 0);
}

/// Flags that map every page of the region, and so allocate the pages that do not exist.
const POPULATING: [c_uint; 6] = [
    PREFAULT,
    PREFAULT | RDONLY,
    PREFAULT | HUGE,
    LOCK,
    LOCK | RDONLY,
    LOCK | PREFAULT,
];

/// Memory that the peer has not allocated: this process does not allocate it either.
#[apply(isolated)]
fn sparse() {
    let size = 16 * page_size();
    let sized = |len| {
        let fd = memfd(MFD_ALLOW_SEALING);
        assert_eq!(ftruncate(&fd, len), Ok(0));
        seal(&fd, F_SEAL_SHRINK | F_SEAL_GROW);
        fd
    };
    for flags in POPULATING {
        let _case = Case(format!("{flags:#x}"));
        let fd = sized(size);
        let opened = |flags| from_fd(fd.as_raw_fd(), flags);
        let before = open_numbers();
        assert_eq!(opened(flags).unwrap_err(), EPROTO, "empty");
        assert_eq!(allocated(&fd), 0);
        allocate(&fd, size - page_size());
        assert_eq!(opened(flags).unwrap_err(), EPROTO, "all but a page");
        assert_eq!(allocated(&fd), size - page_size());
        assert_eq!(open_numbers(), before);
        // Without these flags, opening allocates nothing. With TRUST, it may allocate.
        assert_eq!(opened(flags & (RDONLY | HUGE)).unwrap().size(), size);
        assert_eq!(allocated(&fd), size - page_size());
        assert_eq!(opened(flags | TRUST).unwrap().size(), size);
        assert_eq!(allocated(&fd), size);
        let region = opened(flags).unwrap();
        assert_eq!(smaps(&region, "Rss"), size / 1024);

        // A size that is not a multiple of the page size.
        let fd = sized(page_size() + 1);
        allocate(&fd, page_size());
        assert_eq!(from_fd(fd.as_raw_fd(), flags).unwrap_err(), EPROTO);
        allocate(&fd, page_size() + 1);
        assert_eq!(
            from_fd(fd.as_raw_fd(), flags).unwrap().size(),
            page_size() + 1
        );
    }
}

/// A region of the library is complete, until a writer punches a hole into it.
#[apply(isolated)]
fn holes() {
    for flags in POPULATING {
        let region = create(4 * page_size(), 0, 0).unwrap();
        assert_eq!(from_fd(region.fd(), flags).unwrap().size(), 4 * page_size());
        let punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        let page = page_size() as off_t;
        // SAFETY: no pointers.
        assert_eq!(unsafe { fallocate(region.fd(), punch, page, page) }, 0);
        assert_eq!(from_fd(region.fd(), flags).unwrap_err(), EPROTO);
    }
}

#[apply(isolated)]
fn access() {
    let region = create(page_size(), 0, 0).unwrap();
    let reading = reopen(region.fd(), O_RDONLY).unwrap();
    let writing = reopen(region.fd(), O_WRONLY).unwrap();
    let path = reopen(region.fd(), O_PATH).unwrap();
    assert_eq!(from_fd(reading.as_raw_fd(), 0).unwrap_err(), EACCES);
    let reader = from_fd(reading.as_raw_fd(), RDONLY).unwrap();
    assert_eq!(protect(&reader, PROT_READ | PROT_WRITE), Err(EACCES));
    assert_eq!(killed_by(|| poke(&reader)), SIGSEGV);
    assert_eq!(from_fd(writing.as_raw_fd(), 0).unwrap_err(), EACCES);
    assert_eq!(from_fd(path.as_raw_fd(), RDONLY).unwrap_err(), EBADF);
    assert_eq!(
        from_fd(path.as_raw_fd(), RDONLY | TRUST).unwrap_err(),
        EBADF
    );
    // A handle that could write, opened read-only.
    let modest = from_fd(region.fd(), RDONLY).unwrap();
    assert_eq!(killed_by(|| poke(&modest)), SIGSEGV);
}
