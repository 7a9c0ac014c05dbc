//! Tests that each run in a process of their own.
//!
//! The process gets an IPC namespace where the system allows one, so that the
//! kernel removes whatever a killed test leaves; an empty folder as TMPDIR; the
//! main thread of a process without other threads, so that it may fork and change
//! its user; and a time limit. A test that leaves a descriptor, a child, a segment,
//! a semaphore set or a file behind fails.

use libtest_mimic::{Arguments, Failed, Trial};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// A test by its name, and why it cannot be run here, if so.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn(),
    pub ignored: Option<&'static str>,
}

/// Lists test functions under their paths: `tests![sem::undo, fifo::mode]`.
#[macro_export]
macro_rules! tests {
    ($($name:path),* $(,)?) => {
        &[$($crate::common::isolated::Test { name: stringify!($name), run: $name, ignored: None }),*]
    };
}

/// The argument by which the runner calls itself to run one test.
const ONE: &str = "--isolated";
/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(300);

/// The `main` of a file of isolated tests: those that anybody can run, and those
/// that only root can.
pub fn main(tests: &'static [Test], for_root: &'static [Test]) -> ExitCode {
    if is_child() {
        let name = std::env::args_os().nth(2).expect("a test's name");
        let test = tests
            .iter()
            .chain(for_root)
            .find(|test| name == test.name)
            .expect("a test of this file");
        run_here(test);
        return ExitCode::SUCCESS;
    }
    let why_not_root = (!for_root.is_empty() && !is_full_root()).then_some("needs root");
    let trials = tests
        .iter()
        .map(|test| (test, test.ignored))
        .chain(
            for_root
                .iter()
                .map(|test| (test, test.ignored.or(why_not_root))),
        )
        .map(|(test, ignored)| match ignored {
            None => Trial::test(test.name, || spawn(test)),
            Some(why) => Trial::test(format!("{} ({why})", test.name), move || Err(why.into()))
                .with_ignored_flag(std::env::var_os("CI").is_none()),
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// True in the process that runs one test, false in the one that runs them all.
pub fn is_child() -> bool {
    std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ONE))
}

/// True where the tests are root, at least in their user namespace.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The user that tests of root's become.
pub const NOBODY: u32 = 65534;

/// Makes this process somebody without any right.
pub fn become_nobody() -> io::Result<()> {
    let groups = std::ptr::null();
    // SAFETY: no group is read; the other calls take no pointers.
    let failed = unsafe {
        libc::setgroups(0, groups) == -1
            || libc::setresgid(NOBODY, NOBODY, NOBODY) == -1
            || libc::setresuid(NOBODY, NOBODY, NOBODY) == -1
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether the system lets us make namespaces and become somebody else: root in a
/// container may be refused it. Tried in a child.
fn is_full_root() -> bool {
    let mut command = Command::new("true");
    // SAFETY: only async-signal-safe calls.
    unsafe {
        command.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWNS) == -1 {
                return Err(io::Error::last_os_error());
            }
            become_nobody()
        })
    };
    is_root() && command.status().is_ok_and(|status| status.success())
}

/// Runs one test in the current process, and looks at what it left.
fn run_here(test: &Test) {
    let descriptors = open_descriptors();
    (test.run)();
    assert_eq!(
        open_descriptors(),
        descriptors,
        "descriptors before and after"
    );
    // SAFETY: a null status is allowed.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!(
        (child, io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::ECHILD)),
        "a child is left"
    );
    let left: Vec<_> = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert!(left.is_empty(), "files are left: {left:?}");
    if std::env::var_os("UNIXIPC_TEST_OWN_IPC").is_some() {
        for kind in ["shm", "sem", "msg"] {
            let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
            assert_eq!(
                table.lines().count(),
                1,
                "System V objects are left:\n{table}"
            );
        }
    }
}

/// The numbers of this process's open descriptors and what they are.
fn open_descriptors() -> Vec<(String, String)> {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // The folder that is being read is gone by then.
        .filter_map(|path| Some((path.clone(), fs::read_link(path).ok()?)))
        .map(|(path, target)| (path.display().to_string(), target.display().to_string()))
        .collect();
    open.retain(|(_, target)| !target.ends_with("/fd"));
    open.sort();
    open
}

/// Runs one test in a process of its own.
fn spawn(test: &Test) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let output = tempfile::tempfile()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([ONE, test.name])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    let own_ipc = can_have_own_ipc();
    if own_ipc {
        command.env("UNIXIPC_TEST_OWN_IPC", "1");
    }
    // SAFETY: only async-signal-safe calls are made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if own_ipc { enter_own_ipc() } else { Ok(()) }
        });
    }
    let mut child = command.spawn()?;
    let deadline = Instant::now() + LIMIT;
    let pidfd = pidfd_open(child.id())?;
    let ended = wait_readable(&pidfd, deadline);
    // Everything in the test's process group goes with it, even where the test has hung.
    // SAFETY: kill takes no pointers; the group is the child's, which is not reaped yet.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    let status = child.wait()?;
    let printed = read_all(output)?;
    if !ended {
        return Err(format!("not done after {LIMIT:?}\n{printed}").into());
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (_, Some(signal)) => Err(format!("killed by signal {signal}\n{printed}").into()),
        _ => Err(printed.into()),
    }
}

fn read_all(mut file: fs::File) -> io::Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pidfd_open(pid: u32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits for a descriptor until the deadline; false if that passed first.
fn wait_readable(fd: &impl std::os::fd::AsRawFd, deadline: Instant) -> bool {
    loop {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        let mut poll = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        match unsafe { libc::poll(&mut poll, 1, left as i32) } {
            0 if left == 0 => return false,
            n if n > 0 => return true,
            _ => {}
        }
    }
}

/// Whether the system lets us have an IPC namespace: root may, and others where
/// user namespaces are allowed. Tried once, in a child.
pub fn can_have_own_ipc() -> bool {
    static CAN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *CAN.get_or_init(|| {
        let mut command = Command::new("true");
        // SAFETY: only async-signal-safe calls.
        unsafe { command.pre_exec(enter_own_ipc) };
        command.status().is_ok_and(|status| status.success())
    })
}

/// Moves the process, which has one thread, into an IPC namespace of its own.
fn enter_own_ipc() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0 {
        return Ok(());
    }
    // SAFETY: they take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWIPC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    write_file(c"/proc/self/setgroups", b"deny")?;
    map_id(c"/proc/self/uid_map", uid)?;
    map_id(c"/proc/self/gid_map", gid)
}

/// Maps one id to itself, without allocating: this runs between fork and exec.
fn map_id(file: &std::ffi::CStr, id: u32) -> io::Result<()> {
    use std::io::Write;
    let mut line = [0; 32];
    let mut rest = &mut line[..];
    writeln!(rest, "{id} {id} 1")?;
    let left = rest.len();
    write_file(file, &line[..line.len() - left])
}

fn write_file(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the bytes are readable.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    let result = if written == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(fd) };
    result
}
