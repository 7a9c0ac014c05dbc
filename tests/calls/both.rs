//! The two sets of calls that are compared, and what the comparisons share.

use crate::common::isolated;
use libc::{c_char, c_int, c_void, key_t, mode_t, pid_t, sembuf, shmid_ds, size_t, timespec};
use std::ffi::{CStr, CString};
use std::fmt::{Debug, Display};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, ptr, thread};
use unixipc::ffi::calls;

/// The calls of layer 1 by one provider.
pub struct Calls {
    pub socketpair: unsafe extern "C" fn(c_int, c_int, c_int, *mut c_int) -> c_int,
    pub mkfifo: unsafe extern "C" fn(*const c_char, mode_t) -> c_int,
    pub ftok: unsafe extern "C" fn(*const c_char, c_int) -> key_t,
    pub shmget: unsafe extern "C" fn(key_t, size_t, c_int) -> c_int,
    pub shmat: unsafe extern "C" fn(c_int, *const c_void, c_int) -> *mut c_void,
    pub shmdt: unsafe extern "C" fn(*const c_void) -> c_int,
    pub shmctl: unsafe extern "C" fn(c_int, c_int, *mut shmid_ds) -> c_int,
    pub semget: unsafe extern "C" fn(key_t, c_int, c_int) -> c_int,
    pub semop: unsafe extern "C" fn(c_int, *mut sembuf, size_t) -> c_int,
    pub semtimedop: unsafe extern "C" fn(c_int, *mut sembuf, size_t, *const timespec) -> c_int,
    pub semctl: unsafe extern "C" fn(c_int, c_int, c_int, ...) -> c_int,
}

// The libc crate does not have semtimedop. ipc_semctl is declared as the header
// declares it, whatever its definition looks like.
unsafe extern "C" {
    fn semtimedop(id: c_int, ops: *mut sembuf, n: size_t, timeout: *const timespec) -> c_int;
    fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, ...) -> c_int;
}

pub static LIBC: Calls = Calls {
    socketpair: libc::socketpair,
    mkfifo: libc::mkfifo,
    ftok: libc::ftok,
    shmget: libc::shmget,
    shmat: libc::shmat,
    shmdt: libc::shmdt,
    shmctl: libc::shmctl,
    semget: libc::semget,
    semop: libc::semop,
    semtimedop,
    semctl: libc::semctl,
};

pub static IPC: Calls = Calls {
    socketpair: calls::ipc_socketpair,
    mkfifo: calls::ipc_mkfifo,
    ftok: calls::ipc_ftok,
    shmget: calls::ipc_shmget,
    shmat: calls::ipc_shmat,
    shmdt: calls::ipc_shmdt,
    shmctl: calls::ipc_shmctl,
    semget: calls::ipc_semget,
    semop: calls::ipc_semop,
    semtimedop: calls::ipc_semtimedop,
    semctl: ipc_semctl,
};

/// Who makes an object and who uses it.
pub fn makers_and_users() -> [(&'static Calls, &'static Calls); 4] {
    [(&LIBC, &LIBC), (&LIBC, &IPC), (&IPC, &LIBC), (&IPC, &IPC)]
}

/// What a call returned, or the errno that it set.
pub type Outcome = Result<i64, c_int>;

/// What errno is before each call; no call sets it to this.
const SENTINEL: c_int = 7777;

/// Makes one call. A success that touches errno is not accepted from anybody; a
/// failure that does not set it shows as `Ok(-1)`.
#[track_caller]
pub fn outcome(call: impl FnOnce() -> i64) -> Outcome {
    // SAFETY: the address is the calling thread's own.
    unsafe { *libc::__errno_location() = SENTINEL };
    let ret = call();
    // SAFETY: as above.
    match unsafe { *libc::__errno_location() } {
        SENTINEL => Ok(ret),
        errno => {
            assert_eq!(ret, -1, "what it returned, with errno set to {errno}");
            Err(errno)
        }
    }
}

/// `call!(calls.shmget(key, size, flags))` is the outcome of that call.
#[macro_export]
macro_rules! call {
    ($calls:ident . $name:ident ( $($arg:expr),* $(,)? )) => {
        $crate::both::outcome(|| {
            // SAFETY: the kernel checks the pointers; what they reach is the test's.
            (unsafe { ($calls.$name)($($arg),*) }) as i64
        })
    };
}

/// How long one comparison, or one child, may take before SIGALRM ends it.
const LIMIT: u32 = 40;

/// Ends this process if it goes on for too long from here.
pub fn limit() {
    alarm(LIMIT);
}

fn alarm(seconds: u32) {
    // SAFETY: no pointers.
    unsafe { libc::alarm(seconds) };
}

/// Names the case in which a panic happened.
struct Case<'a>(&'a dyn Display);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the case: {}", self.0);
        }
    }
}

/// Runs a case with libc's calls, then with ours; both must give the same, which
/// is returned.
#[track_caller]
pub fn both<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) -> T {
    let _case = Case(&what);
    limit();
    let expected = run(&LIBC);
    let got = run(&IPC);
    alarm(0);
    assert_eq!(got, expected, "ipc_* on the left, libc on the right");
    got
}

/// [`both`], where nothing more is known of the result than that it is the same.
#[track_caller]
pub fn same<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) {
    drop(both(what, run));
}

/// As [`both`], for what other processes on the machine may change meanwhile: it
/// counts only when libc's calls give the same before and after.
#[track_caller]
pub fn both_around<T: PartialEq + Debug>(what: impl Display, run: impl Fn(&Calls) -> T) -> T {
    let _case = Case(&what);
    for _ in 0..100 {
        limit();
        let before = run(&LIBC);
        let got = run(&IPC);
        if before == run(&LIBC) {
            alarm(0);
            assert_eq!(got, before, "ipc_* on the left, libc on the right");
            return got;
        }
    }
    panic!("the system does not hold still");
}

pub fn page_size() -> usize {
    // SAFETY: no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Memory with borders: a writable page, an inaccessible one, a read-only one.
pub struct Pages {
    base: *mut u8,
}

impl Pages {
    pub fn new() -> Self {
        let page = page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(ptr::null_mut(), 4 * page, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base: *mut u8 = base.cast();
        // SAFETY: the first page of the mapping.
        let done = unsafe { libc::mprotect(base.cast(), page, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(done, 0);
        // SAFETY: the third page of the mapping.
        let done = unsafe { libc::mprotect(base.add(2 * page).cast(), page, libc::PROT_READ) };
        assert_eq!(done, 0);
        Self { base }
    }

    /// The last `len` bytes before the inaccessible page, filled with 0xaa.
    pub fn last<T>(&self, len: usize) -> *mut T {
        let page = page_size();
        assert!(len <= page);
        // SAFETY: the first page is ours and writable.
        unsafe { ptr::write_bytes(self.base, 0xaa, page) };
        // SAFETY: still in the first page, or just behind it.
        unsafe { self.base.add(page - len).cast() }
    }

    /// What the writable page holds.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the first page is ours and readable.
        unsafe { std::slice::from_raw_parts(self.base, page_size()) }.to_vec()
    }

    pub fn inaccessible<T>(&self) -> *mut T {
        self.base.wrapping_add(page_size()).cast()
    }

    pub fn read_only<T>(&self) -> *mut T {
        self.base.wrapping_add(2 * page_size()).cast()
    }

    /// Copies a value to just before the inaccessible page.
    pub fn put_last<T: Copy>(&self, values: &[T]) -> *mut T {
        let at: *mut T = self.last(size_of_val(values));
        // SAFETY: that many bytes are there; a sembuf or a path may be unaligned.
        unsafe {
            ptr::copy_nonoverlapping(values.as_ptr().cast(), at.cast::<u8>(), size_of_val(values))
        };
        at
    }

    /// Pointers at which nothing can be read or written, by name.
    pub fn wild<T>(&self) -> Vec<(&'static str, *mut T)> {
        let mut wild: Vec<_> = [
            ("NULL", 0),
            ("the first page", 8),
            ("the kernel's half", 0xffff_8880_0000_0000),
            ("no address of the machine", 1 << 63),
            ("the last byte", usize::MAX),
        ]
        .map(|(name, address)| (name, ptr::without_provenance_mut(address)))
        .into();
        wild.push(("an inaccessible page", self.inaccessible()));
        wild
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nothing uses the mapping any more.
        unsafe { libc::munmap(self.base.cast(), 4 * page_size()) };
    }
}

/// An empty folder that is the current one, and is gone when dropped.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new() -> Self {
        let path = env::temp_dir().join("d");
        fs::create_dir(&path).unwrap();
        env::set_current_dir(&path).unwrap();
        Self { path }
    }

    /// Everything below the folder: name, type and mode, owner, links.
    pub fn list(&self) -> Vec<String> {
        let mut lines = Vec::new();
        walk(&self.path, &mut |path, meta| {
            lines.push(format!(
                "{} {:o} {}:{} {}{}",
                path.strip_prefix(&self.path).unwrap().display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.nlink(),
                if meta.file_type().is_fifo() {
                    " FIFO"
                } else {
                    ""
                },
            ));
        });
        lines.sort();
        lines
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let up = env::set_current_dir(env::temp_dir());
        let removed = fs::remove_dir_all(&self.path);
        if !thread::panicking() {
            up.and(removed).unwrap();
        }
    }
}

/// Visits everything below a folder, and gives its owner all rights to its folders.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        visit(&path, &meta);
        if meta.is_dir() {
            set_mode(&path, 0o700);
            walk(&path, visit);
        }
    }
}

pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn c_path(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).unwrap()
}

/// Lets another user reach the current folder's files by relative paths.
pub fn open_to_all() {
    set_mode(".", 0o755);
}

/// Goes where mounts are seen by this process and its children only.
pub fn own_mount_namespace() {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: strings, and no data.
    let done = unsafe { libc::mount(none, root, none, private, ptr::null()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

pub fn mount_tmpfs(folder: &CStr, flags: libc::c_ulong, options: &CStr) {
    let kind = c"tmpfs".as_ptr();
    let data = options.as_ptr().cast();
    // SAFETY: strings.
    let done = unsafe { libc::mount(kind, folder.as_ptr(), kind, flags, data) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Sets a limit of this process, and gives the old one.
pub fn set_soft_limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limit) }, 0);
    let old = std::mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    old
}

/// A key that has neither a segment nor a set.
pub fn fresh_key() -> key_t {
    let mut key = std::process::id() as key_t;
    loop {
        key = key.wrapping_mul(1_103_515_245).wrapping_add(12345) & i32::MAX;
        // SAFETY: no pointers.
        let taken = unsafe { libc::shmget(key, 0, 0) != -1 || libc::semget(key, 0, 0) != -1 };
        if key != libc::IPC_PRIVATE && !taken {
            return key;
        }
    }
}

/// What [`got`] puts in the place of an id.
pub const OLD: i64 = 0;
pub const NEW: i64 = 1;

/// Says of what a get call returned whether it is the existing object or a new
/// one, and what it is; a new one is removed.
pub fn got<S>(
    outcome: Outcome,
    key: key_t,
    existing: c_int,
    state: fn(c_int) -> Option<S>,
    remove: fn(c_int),
) -> (Outcome, Option<S>) {
    let Ok(id) = outcome else {
        return (outcome, None);
    };
    let id = id as c_int;
    let is = state(id);
    if id == existing && key != libc::IPC_PRIVATE {
        return (Ok(OLD), is);
    }
    remove(id);
    (Ok(NEW), is)
}

/// What segments and sets have in common.
#[derive(Debug, PartialEq)]
pub struct Owned {
    pub key: key_t,
    pub owner: (libc::uid_t, libc::gid_t),
    pub creator: (libc::uid_t, libc::gid_t),
    pub mode: u32,
}

impl From<libc::ipc_perm> for Owned {
    fn from(perm: libc::ipc_perm) -> Self {
        Self {
            key: perm.__key,
            owner: (perm.uid, perm.gid),
            creator: (perm.cuid, perm.cgid),
            mode: perm.mode.into(),
        }
    }
}

/// A number of /proc/sys/kernel.
pub fn kernel_setting(name: &str, field: usize) -> u64 {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
    text.split_whitespace().nth(field).unwrap().parse().unwrap()
}

/// Changes a setting of this process's IPC namespace, which must not be everybody's.
pub fn set_kernel_setting(name: &str, value: &str) {
    assert!(env::var_os("UNIXIPC_TEST_OWN_IPC").is_some());
    fs::write(format!("/proc/sys/kernel/{name}"), value).unwrap();
}

/// Waits, by looking again and again, until something is so.
#[track_caller]
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(u64::from(LIMIT) / 2);
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// A child made by fork.
pub struct Child {
    pub pid: pid_t,
    report: UnixStream,
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Exit(c_int),
    Signal(c_int),
}

impl Child {
    /// Forks. The child runs `run`, reports what that returns, and exits.
    pub fn start(run: impl FnOnce() -> Outcome) -> Self {
        let (report, mut child_report) = UnixStream::pair().unwrap();
        // SAFETY: the process has one thread.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1, "{}", io::Error::last_os_error());
        if pid != 0 {
            return Self { pid, report };
        }
        alarm(LIMIT / 2);
        let done = catch_unwind(AssertUnwindSafe(|| {
            let (tag, value) = match run() {
                Ok(value) => (0i64, value),
                Err(errno) => (1, errno.into()),
            };
            let bytes = [tag.to_ne_bytes(), value.to_ne_bytes()].concat();
            child_report.write_all(&bytes).unwrap();
        }));
        // SAFETY: the child must not run the parent's destructors.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
    }

    pub fn signal(&self, signal: c_int) {
        // SAFETY: no pointers; the child is not reaped before the handle is gone.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    /// What the child reported; it must have ended well.
    #[track_caller]
    pub fn outcome(mut self) -> Outcome {
        let mut bytes = Vec::new();
        self.report.read_to_end(&mut bytes).unwrap();
        assert_eq!(self.end(), End::Exit(0), "how the child ended");
        let (tag, value) = bytes.split_at(8);
        let value = i64::from_ne_bytes(value.try_into().unwrap());
        match i64::from_ne_bytes(tag.try_into().unwrap()) {
            0 => Ok(value),
            _ => Err(value as c_int),
        }
    }

    /// Waits for the child's end.
    pub fn end(self) -> End {
        let status = self.wait(0);
        if libc::WIFSIGNALED(status) {
            End::Signal(libc::WTERMSIG(status))
        } else {
            End::Exit(libc::WEXITSTATUS(status))
        }
    }

    /// Waits until a stop signal has stopped the child.
    #[track_caller]
    pub fn wait_stopped(&self) {
        assert!(libc::WIFSTOPPED(self.wait(libc::WUNTRACED)));
    }

    fn wait(&self, options: c_int) -> c_int {
        let mut status = 0;
        // SAFETY: the status is ours.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, options) };
        assert_eq!(pid, self.pid, "{}", io::Error::last_os_error());
        status
    }
}

/// Runs something as a user without rights, in a child.
#[track_caller]
pub fn as_nobody(run: impl FnOnce()) {
    let child = Child::start(|| {
        isolated::become_nobody().unwrap();
        run();
        Ok(0)
    });
    assert_eq!(child.outcome(), Ok(0));
}

/// Whether an object's pid field names this process.
pub fn is_me(pid: pid_t) -> bool {
    pid == std::process::id() as pid_t
}
