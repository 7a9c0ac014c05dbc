//! The C calls with Rust types, and the helpers of the tests.

pub use common::filter::{refuse, refuse_where};
pub use common::prelude::*;
use libc::{c_int, c_uint, c_void, key_t, mode_t, off_t};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::{fs, mem, ptr, slice, thread};
use unixipc::ffi::shm::*;
pub use unixipc::ffi::shm::{
    IPC_SHM_F_HUGE as HUGE, IPC_SHM_F_LOCK as LOCK, IPC_SHM_F_PREFAULT as PREFAULT,
    IPC_SHM_F_PUBLISH as PUBLISH, IPC_SHM_F_RDONLY as RDONLY,
    IPC_SHM_F_REPLACE_STALE as REPLACE_STALE, IPC_SHM_F_SOLE_WRITER as SOLE_WRITER,
    IPC_SHM_F_TRANSIENT as TRANSIENT, IPC_SHM_F_TRUST as TRUST,
};
use unixipc::shm::Shm;

/// The directory of the names: the test's own if it may mount one, else the system's. There the
/// test's names begin with its process ID. The test must remove all of them.
pub struct NameDirectory {
    own: bool,
}

static PREFIX: OnceLock<String> = OnceLock::new();

impl NameDirectory {
    pub fn new() -> Self {
        let own = is_root() && can_mount();
        if own {
            own_mount_namespace();
            mount_tmpfs(c"/dev/shm", 0, c"mode=1777");
        }
        PREFIX.get_or_init(|| format!("unixipc-test-{}-", std::process::id()));
        Self { own }
    }

    /// The names of regions.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.files();
        names.retain(|name| !name.ends_with(".lock"));
        names
    }

    /// All files: regions, and the files of name locks.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir("/dev/shm")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| self.own || file.trim_start_matches('.').starts_with(prefix()))
            .collect();
        files.sort();
        files
    }

    /// The directory's memory in use; 0 if the directory is the system's.
    pub fn used(&self) -> u64 {
        if !self.own {
            return 0;
        }
        let mut info = mem::MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: a string, and a struct of ours.
        assert_eq!(
            unsafe { libc::statvfs(c"/dev/shm".as_ptr(), info.as_mut_ptr()) },
            0
        );
        // SAFETY: all zero bytes are valid.
        let info = unsafe { info.assume_init() };
        (info.f_blocks - info.f_bfree) * info.f_frsize
    }
}

impl Drop for NameDirectory {
    fn drop(&mut self) {
        let left = self.files();
        for name in &left {
            let _ = fs::remove_file(format!("/dev/shm/{name}"));
        }
        if !thread::panicking() {
            assert!(left.is_empty(), "names are left: {left:?}");
        }
    }
}

/// Whether mount namespaces are permitted; tried once, in a child.
fn can_mount() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let child = fork(|| {
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        });
        child.reap() == 0
    })
}

fn prefix() -> &'static str {
    PREFIX.get().expect("a NameDirectory exists")
}

/// A name of this test.
pub fn name(label: &str) -> CString {
    CString::new(format!("/{}{label}", prefix())).unwrap()
}

/// The path of a name.
pub fn path(name: &CStr) -> String {
    format!("/dev/shm{}", name.to_str().unwrap())
}

/// A region, closed when dropped.
#[derive(Debug)]
pub struct Region(pub *mut Shm);

// SAFETY: a handle may be used from any thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    pub fn addr(&self) -> *mut u8 {
        // SAFETY: the handle is open.
        unsafe { ipc_shm_addr(self.0) }.cast()
    }

    pub fn size(&self) -> usize {
        // SAFETY: the handle is open.
        unsafe { ipc_shm_size(self.0) }
    }

    pub fn fd(&self) -> RawFd {
        // SAFETY: the handle is open.
        let fd = unsafe { ipc_shm_fd(self.0) };
        assert!(fd >= 0);
        fd
    }

    /// The region's content, while no process writes to it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the region has this many bytes as long as it is open.
        unsafe { slice::from_raw_parts(self.addr(), self.size()) }
    }

    /// Fills the region with a byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: the region has this many bytes, and they may be written.
        unsafe { ptr::write_bytes(self.addr(), byte, self.size()) };
    }

    pub fn is_all(&self, byte: u8) -> bool {
        self.bytes().iter().all(|b| *b == byte)
    }

    pub fn u32(&self, at: usize) -> &AtomicU32 {
        assert!(at * 4 + 4 <= self.size());
        // SAFETY: within the region, aligned.
        unsafe { &*self.addr().cast::<AtomicU32>().add(at) }
    }

    pub fn u64(&self, at: usize) -> &AtomicU64 {
        assert!(at * 8 + 8 <= self.size());
        // SAFETY: within the region, aligned.
        unsafe { &*self.addr().cast::<AtomicU64>().add(at) }
    }

    pub fn publish(&self, name: &CStr) -> Outcome {
        // SAFETY: an open handle, a string.
        outcome(|| unsafe { ipc_shm_publish(self.0, name.as_ptr()) } as isize)
    }

    pub fn stat(&self) -> libc::stat {
        stat(self.fd())
    }

    pub fn layout(&self) -> u64 {
        // SAFETY: an open handle.
        unsafe { ipc_shm_layout(self.0) }
    }

    pub fn is_current(&self) -> Outcome {
        // SAFETY: an open handle.
        outcome(|| unsafe { ipc_shm_is_current(self.0) } as isize)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and no longer used.
        unsafe { ipc_shm_close(self.0) };
    }
}

pub fn stat(fd: RawFd) -> libc::stat {
    let mut st = mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a struct of ours.
    assert_eq!(unsafe { libc::fstat(fd, st.as_mut_ptr()) }, 0);
    // SAFETY: all zero bytes are valid.
    unsafe { st.assume_init() }
}

/// The value of a handle before a call that must leave it unchanged.
pub fn untouched() -> *mut Shm {
    ptr::without_provenance_mut(0x5a5a)
}

#[track_caller]
pub fn new_region(call: impl FnOnce(*mut *mut Shm) -> c_int) -> Result<Region, c_int> {
    let mut shm = untouched();
    set_errno(SENTINEL);
    match call(&mut shm) {
        0 => {
            assert_ne!(shm, untouched());
            assert_eq!(errno(), SENTINEL, "errno after a success");
            Ok(Region(shm))
        }
        ret => {
            assert_eq!((ret, shm), (-1, untouched()));
            assert_ne!(errno(), SENTINEL, "a failure that does not set errno");
            Err(errno())
        }
    }
}

#[track_caller]
pub fn create(size: usize, flags: c_uint, mode: mode_t) -> Result<Region, c_int> {
    create_with(size, &with(flags, mode))
}

#[track_caller]
pub fn create_with(size: usize, opts: &ipc_shm_opts) -> Result<Region, c_int> {
    // SAFETY: options of their own size, and an out pointer.
    new_region(|ret| unsafe { ipc_shm_create(size, opts, size_of_val(opts), ret) })
}

/// Options with these flags and this mode.
pub fn with(flags: c_uint, mode: mode_t) -> ipc_shm_opts {
    ipc_shm_opts {
        flags,
        mode,
        ..ipc_shm_opts::default()
    }
}

#[track_caller]
pub fn open(name: &CStr, flags: c_uint) -> Result<Region, c_int> {
    // SAFETY: a string and an out pointer.
    new_region(|ret| unsafe { ipc_shm_open(name.as_ptr(), flags, ret) })
}

#[track_caller]
pub fn from_fd(fd: RawFd, flags: c_uint) -> Result<Region, c_int> {
    // SAFETY: an out pointer.
    new_region(|ret| unsafe { ipc_shm_from_fd(fd, flags, ret) })
}

#[track_caller]
pub fn attach(key: key_t, size: usize, flags: c_int) -> Result<Region, c_int> {
    // SAFETY: an out pointer.
    new_region(|ret| unsafe { ipc_shm_attach(key, size, flags, ret) })
}

pub fn unlink(name: &CStr) -> Outcome {
    // SAFETY: a string.
    outcome(|| unsafe { ipc_shm_unlink(name.as_ptr()) } as isize)
}

/// Opens or creates, with a closure that initialises a new region and returns whether it succeeded.
#[track_caller]
pub fn open_or_create<F: FnMut(*mut u8, usize) -> bool>(
    name: &CStr,
    size: usize,
    (flags, mode): (c_uint, mode_t),
    init: F,
) -> Result<Region, c_int> {
    open_or_create_with(name, size, &with(flags, mode), init)
}

#[track_caller]
pub fn open_or_create_with<F: FnMut(*mut u8, usize) -> bool>(
    name: &CStr,
    size: usize,
    opts: &ipc_shm_opts,
    mut init: F,
) -> Result<Region, c_int> {
    unsafe extern "C" fn call<F: FnMut(*mut u8, usize) -> bool>(
        addr: *mut c_void,
        size: usize,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: the closure that was passed below.
        let init = unsafe { &mut *arg.cast::<F>() };
        c_int::from(!init(addr.cast(), size))
    }
    let arg = (&raw mut init).cast();
    let opts_size = size_of_val(opts);
    new_region(|ret| {
        // SAFETY: a string, a function that takes this argument, options, and an out pointer.
        unsafe {
            ipc_shm_open_or_create(
                name.as_ptr(),
                size,
                Some(call::<F>),
                arg,
                opts,
                opts_size,
                ret,
            )
        }
    })
}

/// Creates and removes a region, and so removes the lock file of a killed process.
pub fn make_and_remove(name: &CStr) {
    let _ = unlink(name);
    drop(open_or_create(name, page_size(), (0, 0), |_, _| true).unwrap());
    assert_eq!(unlink(name), Ok(0));
}

/// A new open file description of the same file, as another process could get it.
pub fn reopen(fd: RawFd, flags: c_int) -> Result<OwnedFd, c_int> {
    plain_open(&format!("/proc/self/fd/{fd}"), flags)
}

/// `mmap(2)` of one shared page, unmapped at once.
pub fn map_page(fd: RawFd, protection: c_int) -> Outcome {
    // SAFETY: a new mapping.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            page_size(),
            protection,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(errno());
    }
    // SAFETY: the mapping is ours.
    unsafe { libc::munmap(page, page_size()) };
    Ok(0)
}

pub fn ftruncate(fd: &impl AsRawFd, len: usize) -> Outcome {
    // SAFETY: no pointers.
    outcome(|| unsafe { libc::ftruncate(fd.as_raw_fd(), len as off_t) } as isize)
}

/// An empty memfd with flags of memfd_create(2).
pub fn memfd(flags: c_uint) -> OwnedFd {
    memfd_with(0, flags).into()
}

/// A field of /proc/self/smaps for the mapping of a region, in kilobytes.
pub fn smaps(region: &Region, what: &str) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let begin = format!("{:x}-", region.addr() as usize);
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&begin));
    let line = lines
        .find(|line| line.starts_with(&format!("{what}:")))
        .unwrap_or_else(|| panic!("no {what} for {begin}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The signal that kills a child which runs `run`.
pub fn killed_by(run: impl FnOnce()) -> c_int {
    let child = fork(|| {
        // SAFETY: the default action needs no handler; Rust has its own for it.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        run();
    });
    let status = child.reap();
    assert!(libc::WIFSIGNALED(status), "status {status:#x}");
    libc::WTERMSIG(status)
}

/// Writes to the beginning of a region, even if it is read-only.
pub fn poke(region: &Region) {
    // SAFETY: either writable memory, or a signal that ends this process.
    unsafe { region.addr().write_volatile(1) };
}

pub fn protect(region: &Region, protection: c_int) -> Outcome {
    let at = region.addr().cast();
    // SAFETY: the region's own page; no reference to it exists.
    outcome(|| unsafe { libc::mprotect(at, page_size(), protection) } as isize)
}
