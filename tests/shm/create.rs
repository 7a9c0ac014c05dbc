//! ipc_shm_create, and the properties of all regions.

use crate::support::*;
use crate::support::{ftruncate, open, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, ptr, thread};
use unixipc::ffi::shm::*;

const REGION_TYPES: [c_uint; 3] = [0, PUBLISH, SOLE_WRITER];

#[apply(isolated)]
fn arguments() {
    let _directory = NameDirectory::new();
    let opts = with(0, 0);
    let opts_size = size_of_val(&opts);
    // SAFETY: NULL is refused.
    let made = outcome(|| unsafe { ipc_shm_create(1, &opts, opts_size, ptr::null_mut()) } as isize);
    assert_eq!(made, Err(EINVAL));
    assert_eq!(create(0, 0, 0).unwrap_err(), EINVAL);
    assert_eq!(create(0, PUBLISH, 0).unwrap_err(), EINVAL);
    let known = PUBLISH | SOLE_WRITER | HUGE | PREFAULT | LOCK;
    for bit in 0..32 {
        let flag = 1 << bit;
        if (known | TRANSIENT) & flag == 0 {
            for also in [0, PUBLISH] {
                assert_eq!(create(1, flag | also, 0).unwrap_err(), EINVAL, "{flag:#x}");
            }
        }
        if 0o666 & flag == 0 {
            assert_eq!(create(1, 0, flag | 0o600).unwrap_err(), EINVAL, "{flag:#o}");
        }
    }
    assert_eq!(create(1, PUBLISH | SOLE_WRITER, 0).unwrap_err(), EINVAL);
    assert_eq!(create(1, TRANSIENT, 0).unwrap_err(), EINVAL);
    assert_eq!(create(1, TRANSIENT | SOLE_WRITER, 0).unwrap_err(), EINVAL);
    drop(create(1, TRANSIENT | PUBLISH, 0).unwrap());
    for timeout_ms in [-3, c_int::MIN] {
        let opts = ipc_shm_opts { timeout_ms, ..opts };
        assert_eq!(create_with(1, &opts).unwrap_err(), EINVAL);
    }
    let opts = ipc_shm_opts {
        reserved: 1,
        ..opts
    };
    assert_eq!(create_with(1, &opts).unwrap_err(), EINVAL);
    // SAFETY: invalid handles, which the calls refuse.
    unsafe {
        ipc_shm_close(ptr::null_mut());
        assert_eq!(
            (ipc_shm_addr(ptr::null()), errno()),
            (ptr::null_mut(), EINVAL)
        );
        assert_eq!((ipc_shm_size(ptr::null()), errno()), (0, EINVAL));
        assert_eq!((ipc_shm_fd(ptr::null()), errno()), (-1, EINVAL));
    }
}

/// NULL options, options that are too small, and options of newer callers.
#[apply(isolated)]
fn options() {
    let _directory = NameDirectory::new();
    let create = |bytes: &[u8]| {
        // SAFETY: options of this size, and an out pointer.
        new_region(|ret| unsafe { ipc_shm_create(9, bytes.as_ptr().cast(), bytes.len(), ret) })
    };
    let opts = with(SOLE_WRITER, 0o640);
    // SAFETY: the structure has no padding.
    let opts: [u8; size_of::<ipc_shm_opts>()] = unsafe { std::mem::transmute(opts) };
    let mode_of = |region: Region| region.stat().st_mode & 0o7777;
    // SAFETY: NULL means the defaults.
    let region = new_region(|ret| unsafe { ipc_shm_create(9, ptr::null(), 100, ret) }).unwrap();
    assert_eq!(mode_of(region), 0o600);
    let name = name("options");
    for size in 0..size_of::<ipc_shm_opts>() {
        let too_small = &opts[..size];
        assert_eq!(create(too_small).unwrap_err(), EINVAL, "{size}");
        let (n, opts) = (name.as_ptr(), too_small.as_ptr().cast());
        let null = ptr::null_mut();
        // SAFETY: a string, `size` bytes of options, and an out pointer.
        let opened =
            new_region(|ret| unsafe { ipc_shm_open_or_create(n, 9, None, null, opts, size, ret) });
        assert_eq!(opened.unwrap_err(), EINVAL, "{size}");
        assert_eq!(unlink(&name), Err(ENOENT));
    }
    let and = |tail: &[u8]| [&opts, tail].concat();
    assert_eq!(mode_of(create(&opts).unwrap()), 0o640);
    assert_eq!(mode_of(create(&and(&[0; 4])).unwrap()), 0o640);
    let newer = and(&[0, 1, 0, 0]);
    assert_eq!(create(&newer).unwrap_err(), E2BIG);
    assert_eq!(create(&[0; 4097]).unwrap_err(), E2BIG);
}

#[apply(isolated)]
fn sizes() {
    let _directory = NameDirectory::new();
    for region_type in REGION_TYPES {
        for size in [
            1,
            8,
            page_size() - 1,
            page_size(),
            page_size() + 1,
            (9 << 20) + 5,
        ] {
            let _case = Case(format!("{region_type}, {size}"));
            let region = create(size, region_type, 0).unwrap();
            assert_eq!(region.size(), size);
            assert_eq!(region.addr() as usize % page_size(), 0);
            let st = region.stat();
            assert_eq!(st.st_size as usize, size);
            assert!(
                st.st_blocks as usize * 512 >= size,
                "all of it is allocated"
            );
            assert!(region.is_all(0));
            region.fill(0xa5);
            let same = if region_type == SOLE_WRITER {
                RDONLY
            } else {
                0
            } | TRUST;
            let again = from_fd(region.fd(), same).unwrap();
            assert_ne!(again.addr(), region.addr());
            assert!(again.is_all(0xa5) && again.size() == size);
        }
        for (size, error) in [
            (usize::MAX, EFBIG),
            (isize::MAX as usize + 1, EFBIG),
            (isize::MAX as usize, ENOSPC),
            (1 << 50, ENOSPC),
        ] {
            assert_eq!(
                create(size, region_type, 0).unwrap_err(),
                error,
                "{size:#x}"
            );
            let huge = create(size, region_type | HUGE, 0).unwrap_err();
            assert_eq!(huge, error, "{size:#x}");
        }
    }
}

fn seals(region: &Region) -> c_int {
    // SAFETY: no pointers.
    unsafe { fcntl(region.fd(), F_GET_SEALS) }
}

/// The operations that the kernel refuses to every process with the descriptor of a sealed region.
fn check_sealed(fd: c_int) {
    let writable = reopen(fd, O_RDWR).unwrap();
    for len in [0, 1, page_size() - 1, page_size() + 1, 100 * page_size()] {
        assert_eq!(ftruncate(&writable, len), Err(EPERM), "to {len}");
    }
    for seal in [F_SEAL_WRITE, F_SEAL_SHRINK] {
        // SAFETY: no pointers.
        let sealed = outcome(|| unsafe { fcntl(fd, F_ADD_SEALS, seal) } as isize);
        assert_eq!(sealed, Err(EPERM));
    }
}

#[apply(isolated)]
fn sealed() {
    let region = create(page_size(), 0, 0).unwrap();
    let all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    assert_eq!(seals(&region) & !F_SEAL_EXEC, all);
    let fd = region.fd();
    fork(|| check_sealed(fd)).join();
    // Every process may write.
    fork(|| {
        assert_eq!(map_page(fd, PROT_READ | PROT_WRITE), Ok(0));
        from_fd(fd, 0).unwrap().fill(7);
    })
    .join();
    assert!(region.is_all(7));
}

#[apply(isolated)]
fn sole_writer() {
    let region = create(2 * page_size(), SOLE_WRITER, 0o666).unwrap();
    let all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE;
    assert_eq!(seals(&region) & !F_SEAL_EXEC, all);
    region.fill(3);
    let fd = region.fd();
    fork(|| {
        check_sealed(fd);
        // Through the descriptor itself, and through a new one.
        let again = reopen(fd, O_RDWR).unwrap();
        for fd in [fd, again.as_raw_fd()] {
            assert_eq!(map_page(fd, PROT_READ | PROT_WRITE), Err(EPERM));
            assert_eq!(map_page(fd, PROT_WRITE), Err(EPERM));
            // SAFETY: a byte.
            let written = outcome(|| unsafe { pwrite(fd, b"x".as_ptr().cast(), 1, 0) });
            assert_eq!(written, Err(EPERM));
            let punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
            // SAFETY: no pointers.
            let punched = outcome(|| unsafe { fallocate(fd, punch, 0, 4096) } as isize);
            assert_eq!(punched, Err(EPERM));
            assert_eq!(from_fd(fd, 0).unwrap_err(), EPERM);
        }
        let reader = from_fd(fd, RDONLY).unwrap();
        assert!(reader.is_all(3));
        assert_eq!(protect(&reader, PROT_READ | PROT_WRITE), Err(EACCES));
        assert_eq!(killed_by(|| poke(&reader)), SIGSEGV);
        // The inherited mapping is not restricted.
        region.u32(0).store(99, Ordering::Relaxed);
        assert_eq!(reader.u32(0).load(Ordering::Relaxed), 99);
    })
    .join();
    assert_eq!(region.u32(0).load(Ordering::Relaxed), 99);
}

#[apply(isolated)]
fn modes() {
    let directory = NameDirectory::new();
    for mask in [0, 0o22, 0o77, 0o777] {
        for (mode, exactly) in [(0, 0o600), (0o600, 0o600), (0o666, 0o666), (0o420, 0o420)] {
            for region_type in REGION_TYPES {
                let _case = Case(format!(
                    "umask {mask:o}, mode {mode:o}, region_type {region_type}"
                ));
                set_umask(mask);
                let region = create(1, region_type, mode);
                set_umask(0o22);
                let region = region.unwrap();
                assert_eq!(region.stat().st_mode, S_IFREG | exactly);
                if region_type == PUBLISH {
                    let name = name("mode");
                    assert_eq!(region.publish(&name), Ok(0));
                    let mut st = region.stat();
                    // SAFETY: a string, and a struct of ours.
                    assert_eq!(
                        unsafe { libc::stat(c_path(path(&name)).as_ptr(), &mut st) },
                        0
                    );
                    assert_eq!(st.st_mode, S_IFREG | exactly);
                    assert_eq!(unlink(&name), Ok(0));
                }
                let name = name("mode");
                set_umask(mask);
                let region = open_or_create(&name, 1, (0, mode), |_, _| true);
                set_umask(0o22);
                assert_eq!(region.unwrap().stat().st_mode, S_IFREG | exactly);
                assert_eq!(unlink(&name), Ok(0));
            }
        }
    }
    assert!(directory.names().is_empty());
}

/// The call fails, and raises no SIGXFSZ.
#[apply(isolated)]
fn file_size_limit() {
    let _directory = NameDirectory::new();
    // SAFETY: the default action needs no handler.
    unsafe { signal(SIGXFSZ, SIG_DFL) };
    let old = set_soft_limit(RLIMIT_FSIZE, 2 * page_size() as u64);
    for region_type in REGION_TYPES {
        assert_eq!(
            create(2 * page_size() + 1, region_type, 0).unwrap_err(),
            EFBIG
        );
        assert_eq!(
            create(2 * page_size(), region_type, 0).unwrap().size(),
            2 * page_size()
        );
    }
    set_soft_limit(RLIMIT_FSIZE, old);
}

/// Every call that opens a region.
fn ways(run: impl Fn(&str, &dyn Fn() -> Result<Region, c_int>)) {
    let _directory = NameDirectory::new();
    let (named, new) = (name("named"), name("new"));
    let region = create(page_size(), PUBLISH, 0).unwrap();
    assert_eq!(region.publish(&named), Ok(0));
    let unnamed = create(page_size(), 0, 0).unwrap();
    run("create", &|| create(page_size(), 0, 0));
    run("create, PUBLISH", &|| create(page_size(), PUBLISH, 0));
    run("create, HUGE", &|| create(page_size(), HUGE, 0));
    run("open", &|| open(&named, 0));
    run("open_or_create, open", &|| {
        open_or_create(&named, 1, (0, 0), |_, _| false)
    });
    run("open_or_create, create", &|| {
        let region = open_or_create(&new, 1, (0, 0), |_, _| true)?;
        assert_eq!(unlink(&new), Ok(0));
        Ok(region)
    });
    run("from_fd", &|| from_fd(unnamed.fd(), 0));
    assert_eq!(unlink(&named), Ok(0));
}

#[apply(isolated)]
fn descriptors() {
    ways(|way, open| {
        let _case = Case(way);
        let (before, mapped) = (open_numbers(), mappings());
        let region = open().unwrap();
        assert_eq!(mappings(), mapped + 1);
        // SAFETY: no pointers.
        assert_eq!(unsafe { fcntl(region.fd(), F_GETFD) }, FD_CLOEXEC);
        assert_eq!(open_numbers().len(), before.len() + 1);
        drop(region);
        assert_eq!((open_numbers(), mappings()), (before, mapped));
    });
}

/// The number of mapped regions.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_region = |line: &&str| line.contains("/memfd:unixipc") || line.contains(" /dev/shm/");
    maps.lines().filter(is_region).count()
}

#[apply(isolated)]
fn few_descriptors() {
    ways(|way, open| {
        let _case = Case(way);
        let before = open_numbers();
        assert_eq!(with_room_for(0, open).unwrap_err(), EMFILE);
        if way == "open_or_create, create" {
            // The name lock takes two.
            for free in [1, 2] {
                assert_eq!(with_room_for(free, open).unwrap_err(), EMFILE);
            }
            drop(with_room_for(3, open).unwrap());
        } else {
            drop(with_room_for(1, open).unwrap());
        }
        assert_eq!(open_numbers(), before);
    });
}

#[apply(isolated)]
fn little_address_space() {
    let _directory = NameDirectory::new();
    let before = open_numbers();
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let used: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let old = set_soft_limit(RLIMIT_AS, used * page_size() as u64 + (16 << 20));
    for region_type in REGION_TYPES {
        assert_eq!(create(64 << 20, region_type, 0).unwrap_err(), ENOMEM);
    }
    set_soft_limit(RLIMIT_AS, old);
    assert_eq!(open_numbers(), before);
}

#[apply(isolated)]
fn prefault() {
    let directory = NameDirectory::new();
    let size = 64 * page_size();
    for region_type in REGION_TYPES {
        let lazy = create(size, region_type, 0).unwrap();
        let eager = create(size, region_type | PREFAULT, 0).unwrap();
        assert_eq!(smaps(&lazy, "Rss"), 0);
        assert_eq!(smaps(&eager, "Rss"), size / 1024);
        let readers = from_fd(eager.fd(), RDONLY | PREFAULT | TRUST).unwrap();
        assert_eq!(smaps(&readers, "Rss"), size / 1024);
        // A request for huge pages does not change that.
        let both = create(size, region_type | PREFAULT | HUGE, 0).unwrap();
        assert_eq!(smaps(&both, "Rss"), size / 1024);
    }
    let name = name("prefault");
    let made = open_or_create(&name, size, (PREFAULT, 0), |_, _| true).unwrap();
    let opened = open_or_create(&name, size, (PREFAULT, 0), |_, _| false).unwrap();
    for region in [made, opened, open(&name, PREFAULT).unwrap()] {
        assert_eq!(smaps(&region, "Rss"), size / 1024);
    }
    assert_eq!(unlink(&name), Ok(0));
    drop(directory);
}

/// As an unprivileged user: root may lock any amount.
#[apply(isolated)]
fn locked() {
    let _directory = NameDirectory::new();
    let check = || {
        let old = set_soft_limit(RLIMIT_MEMLOCK, 16 * page_size() as u64);
        for region_type in REGION_TYPES {
            let region = create(16 * page_size(), region_type | LOCK, 0).unwrap();
            assert_eq!(smaps(&region, "Locked"), 16 * page_size() / 1024);
            assert_eq!(
                create(page_size(), region_type | LOCK, 0).unwrap_err(),
                ENOMEM
            );
            assert_eq!(
                create(page_size(), region_type | LOCK | HUGE, 0).unwrap_err(),
                ENOMEM
            );
            let flags = RDONLY | LOCK | TRUST;
            assert_eq!(from_fd(region.fd(), flags).unwrap_err(), ENOMEM);
            drop(region);
            assert_eq!(
                create(17 * page_size(), region_type | LOCK, 0).unwrap_err(),
                ENOMEM
            );
            set_soft_limit(RLIMIT_MEMLOCK, 0);
            assert_eq!(
                create(page_size(), region_type | LOCK, 0).unwrap_err(),
                EPERM
            );
            set_soft_limit(RLIMIT_MEMLOCK, 16 * page_size() as u64);
        }
        set_soft_limit(RLIMIT_MEMLOCK, old);
    };
    if is_root() {
        as_nobody(check);
    } else {
        check();
    }
}

/// Signals interrupt and undo fallocate; the call still succeeds.
#[apply(isolated)]
fn signals() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: c_int) {
        RUNS.fetch_add(1, Ordering::Relaxed);
    }
    let _directory = NameDirectory::new();
    // SAFETY: all zero bytes are a sigaction: no flags, nothing masked.
    let mut action: sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: the handler only counts.
    unsafe { sigaction(SIGALRM, &action, ptr::null_mut()) };
    let every = |microseconds| {
        let time = timeval {
            tv_sec: 0,
            tv_usec: microseconds,
        };
        let timer = itimerval {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: the timer is ours.
        unsafe { setitimer(ITIMER_REAL, &timer, ptr::null_mut()) };
    };
    for region_type in REGION_TYPES {
        for _ in 0..3 {
            every(300);
            let region = create(64 << 20, region_type, 0);
            every(0);
            let region = region.unwrap();
            assert!(region.stat().st_blocks as usize * 512 >= 64 << 20);
        }
    }
    assert!(RUNS.load(Ordering::Relaxed) > 0);
}

/// Older kernels, which lack some calls and flags.
#[apply(isolated)]
fn older_kernels() {
    let directory = NameDirectory::new();
    for region_type in REGION_TYPES {
        fork(|| {
            // A signal undoes a long fallocate.
            refuse_where(SYS_fallocate, 3, BPF_JGT, 10 << 10, EINTR);
            let region = create((9 << 20) + 5, region_type, 0).unwrap();
            assert!(region.stat().st_blocks as usize * 512 >= region.size());
        })
        .join();
    }
    fork(|| {
        // Before 6.3: MFD_NOEXEC_SEAL.
        refuse_where(SYS_memfd_create, 1, BPF_JSET, 8, EINVAL);
        let region = create(1, 0, 0o640).unwrap();
        assert_eq!(seals(&region), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        assert_eq!(region.stat().st_mode & 0o7777, 0o640);
    })
    .join();
    fork(|| {
        // Before 6.10: only with a privilege.
        refuse_where(SYS_linkat, 4, BPF_JSET, AT_EMPTY_PATH as u32, ENOENT);
        let (old, once) = (name("old"), name("once"));
        let region = create(1, PUBLISH, 0).unwrap();
        assert_eq!(region.publish(&old), Ok(0));
        assert_eq!(region.publish(&old), Err(EEXIST));
        drop(open_or_create(&once, 1, (0, 0), |_, _| true).unwrap());
        assert_eq!((unlink(&old), unlink(&once)), (Ok(0), Ok(0)));
    })
    .join();
    fork(|| {
        // Before 5.14: MADV_POPULATE_WRITE.
        refuse_where(SYS_madvise, 2, BPF_JSET, 16, EINVAL);
        let region = create(64 * page_size(), HUGE | PREFAULT, 0).unwrap();
        assert!(region.stat().st_blocks as usize * 512 >= 64 * page_size());
    })
    .join();
    assert!(directory.names().is_empty());
}

/// The child has the region too, and closes its own handle.
#[apply(isolated)]
fn after_fork() {
    let region = create(page_size(), 0, 0).unwrap();
    fork(|| {
        assert_eq!(region.size(), page_size());
        region.u32(1).store(5, Ordering::Relaxed);
        // SAFETY: this process no longer uses it.
        unsafe { ipc_shm_close(region.0) };
    })
    .join();
    assert_eq!(region.u32(1).load(Ordering::Relaxed), 5);
    let (copy, fd) = (region.bytes().to_vec(), region.fd());
    let child = fork(|| {
        let child_s = from_fd(fd, 0).unwrap();
        drop(region); // this removes the region from this process only
        assert_eq!(child_s.bytes(), copy);
    });
    child.join();
}

#[apply(isolated)]
fn threads() {
    let region = create(8 * page_size(), 0, 0).unwrap();
    let shared = &region;
    thread::scope(|scope| {
        for at in 0..8 {
            scope.spawn(move || {
                for _ in 0..1000 {
                    let again = from_fd(shared.fd(), 0).unwrap();
                    again.u64(at).fetch_add(1, Ordering::Relaxed);
                    assert_eq!(shared.size(), again.size());
                }
            });
        }
    });
    assert!((0..8).all(|at| region.u64(at).load(Ordering::Relaxed) == 1000));
    thread::spawn(move || drop(region)).join().unwrap();
}

/// A region that is passed through a socket outlives its creator.
#[apply(isolated)]
fn passed_on() {
    use unixipc::ffi::message::{ipc_msg_recv, ipc_msg_send};
    let mut ends = [-1; 2];
    // SAFETY: an array of two.
    assert_eq!(
        unsafe { unixipc::ffi::pair::ipc_pair_open(SOCK_SEQPACKET, ends.as_mut_ptr()) },
        0
    );
    let ends = ends.map(own);
    fork(|| {
        let region = create(3 * page_size(), SOLE_WRITER, 0).unwrap();
        region.fill(0x3c);
        let fd = region.fd();
        // SAFETY: a byte and a descriptor.
        let sent = unsafe { ipc_msg_send(ends[1].as_raw_fd(), b"r".as_ptr().cast(), 1, &fd, 1, 0) };
        assert_eq!(sent, 0);
    })
    .join();
    let (mut byte, mut fd, mut count) = (0u8, -1, 1);
    let from = ends[0].as_raw_fd();
    // SAFETY: buffers for a byte and a descriptor.
    let received =
        unsafe { ipc_msg_recv(from, (&raw mut byte).cast(), 1, &mut fd, &mut count, 1000) };
    assert_eq!((received, byte, count), (1, b'r', 1));
    let fd = own(fd);
    let region = from_fd(fd.as_raw_fd(), RDONLY).unwrap();
    drop(fd);
    assert!(region.is_all(0x3c) && region.size() == 3 * page_size());
}

fn shm_with(options: &std::ffi::CStr) {
    mount_tmpfs(c"/dev/shm", 0, options);
}

/// On a tmpfs of 1 MiB, a region that does not fit is an error, and allocates nothing.
#[apply(isolated)]
#[needs(needs::root)]
fn full() {
    let directory = NameDirectory::new();
    shm_with(c"size=1m,mode=1777");
    let empty = directory.used();
    for flags in [PUBLISH, PUBLISH | HUGE, PUBLISH | PREFAULT] {
        assert_eq!(create((1 << 20) + 1, flags, 0).unwrap_err(), ENOSPC);
        assert_eq!(directory.used(), empty);
        let all = create(1 << 20, flags, 0).unwrap();
        all.fill(1); // without a SIGBUS
        assert_eq!(create(1, flags, 0).unwrap_err(), ENOSPC);
        drop(all);
        assert_eq!(directory.used(), empty);
    }
    let name = name("full");
    let mut runs = 0;
    let failed = open_or_create(&name, 2 << 20, (0, 0), |_, _| {
        runs += 1;
        true
    });
    assert_eq!((failed.unwrap_err(), runs), (ENOSPC, 0));
    assert_eq!(directory.used(), empty);
    // Memory without a name is not on this file system.
    create(2 << 20, 0, 0).unwrap().fill(1);
    shm_with(c"nr_inodes=2");
    let one = create(1, PUBLISH, 0).unwrap();
    assert_eq!(create(1, PUBLISH, 0).unwrap_err(), ENOSPC);
    drop(one);
}

/// /dev/shm is read-only, not a tmpfs, or missing; /proc is missing.
#[apply(isolated)]
#[needs(needs::root)]
fn other_file_systems() {
    let _directory = NameDirectory::new();
    let name = name("n");
    let region = create(1, PUBLISH, 0).unwrap();
    let mine = create(1, PUBLISH, 0).unwrap();
    assert_eq!(mine.publish(&name), Ok(0));
    mount_tmpfs(c"/proc", 0, c"");
    // Since Linux 6.10 the descriptor itself suffices.
    let second = crate::support::name("second");
    match region.publish(&second) {
        Ok(_) => assert_eq!(unlink(&second), Ok(0)),
        failed => assert_eq!(failed, Err(ENOENT)),
    }
    // SAFETY: a string.
    assert_eq!(unsafe { umount(c"/proc".as_ptr()) }, 0);

    shm_with(c"mode=1777");
    assert_eq!(region.publish(&name), Err(EXDEV));
    // SAFETY: a string.
    assert_eq!(unsafe { umount(c"/dev/shm".as_ptr()) }, 0);

    drop((region, mine)); // a mount cannot become read-only while a file on it is open for writing
    mount_tmpfs(c"/dev/shm", MS_REMOUNT | MS_RDONLY, c"");
    let every = |error, open_error| {
        assert_eq!(create(1, PUBLISH, 0).unwrap_err(), error);
        assert_eq!(open(&name, 0).unwrap_err(), open_error);
        let made = open_or_create(&crate::support::name("m"), 1, (0, 0), |_, _| true);
        assert_eq!(made.unwrap_err(), error);
        drop(create(1, 0, 0).unwrap());
    };
    drop(open(&name, RDONLY).unwrap());
    assert_eq!(unlink(&name), Err(EROFS));
    every(EROFS, EROFS);
    mount_tmpfs(c"/dev/shm", MS_REMOUNT, c"");
    assert_eq!(unlink(&name), Ok(0));

    // SAFETY: strings.
    let mounted = unsafe {
        mount(
            c"ramfs".as_ptr(),
            c"/dev/shm".as_ptr(),
            c"ramfs".as_ptr(),
            0,
            ptr::null(),
        )
    };
    assert_eq!(mounted, 0);
    fs::write(path(&name), "content").unwrap();
    every(EOPNOTSUPP, EOPNOTSUPP);
    // SAFETY: a string.
    assert_eq!(unsafe { umount(c"/dev/shm".as_ptr()) }, 0);

    mount_tmpfs(c"/dev", 0, c"");
    every(ENOENT, ENOENT);
    // SAFETY: a string.
    assert_eq!(unsafe { umount(c"/dev".as_ptr()) }, 0);
}

const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage";

/// Root, and a kernel that can use huge pages for a tmpfs.
fn huge_pages() -> Option<&'static str> {
    let enabled = fs::read_to_string(format!("{HUGE_PAGES}/shmem_enabled"));
    // A mount option does not help against "deny".
    let is_possible = enabled.is_ok_and(|enabled| !enabled.contains("[deny]"));
    let may = is_possible && huge_page_size().is_some_and(|size| size <= 4 << 20);
    needs::root_and_populate().or_else(|| (!may).then_some("needs huge pages of at most 4 MiB"))
}

fn huge_page_size() -> Option<usize> {
    let size = fs::read_to_string(format!("{HUGE_PAGES}/hpage_pmd_size"));
    size.ok()?.trim_end().parse().ok()
}

/// On a tmpfs with huge pages on request.
#[apply(isolated)]
#[needs(huge_pages)]
fn huge() {
    let _directory = NameDirectory::new();
    shm_with(c"huge=advise,mode=1777");
    let size = 4 * huge_page_size().unwrap();
    let ordinary = create(size, PUBLISH | PREFAULT, 0).unwrap();
    assert_eq!(smaps(&ordinary, "ShmemPmdMapped"), 0);
    let huge = create(size, PUBLISH | HUGE, 0).unwrap();
    assert_eq!(smaps(&huge, "ShmemPmdMapped"), size / 1024);
    let name = name("huge");
    assert_eq!(huge.publish(&name), Ok(0));
    let opened = open(&name, HUGE | PREFAULT).unwrap();
    assert_eq!(smaps(&opened, "ShmemPmdMapped"), size / 1024);
    assert_eq!(unlink(&name), Ok(0));
    drop((ordinary, huge, opened));
}
