//! Tests, each of which runs in its own process.
//!
//! A test is a function with an attribute, in any file of its suite:
//!
//! ```ignore
//! #[apply(isolated)]
//! fn null_pointers() { ... }
//!
//! #[apply(isolated)]
//! #[needs(needs::root)]
//! fn locked_memory() { ... }
//! ```
//!
//! The process has one thread, so that the test may fork and change its user; an IPC namespace
//! where the system permits one; an empty directory as TMPDIR; the default action for SIGPIPE, as
//! a C program has; and a time limit. A test that leaves a descriptor, a child, a segment, a
//! semaphore set or a file behind fails.

use crate::clock::test_limit;
use crate::descriptors::{own, poll};
use crate::{namespace, tools};
pub use inventory;
use libtest_mimic::{Arguments, Failed, Trial};
pub use macro_rules_attribute::apply;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Seek};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};

/// A test function.
pub struct Test {
    /// The path of its module, with the crate.
    pub module: &'static str,
    pub function: &'static str,
    pub run: fn(),
    /// Returns why the test cannot run here, or None.
    pub why_not: fn() -> Option<&'static str>,
}

inventory::collect!(Test);

/// Makes a function a test of its suite: `#[apply(isolated)]`. A second attribute,
/// `#[needs(path)]`, names a function that returns why the test cannot run here, or None.
#[macro_export]
macro_rules! isolated {
    (
        $(#[doc = $doc:expr])*
        #[needs($need:path)]
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident() $body:block
    ) => {
        $(#[doc = $doc])*
        $(#[$attribute])*
        $visibility fn $name() $body
        $crate::isolated::inventory::submit! {
            $crate::isolated::Test {
                module: module_path!(),
                function: stringify!($name),
                run: $name,
                why_not: $need,
            }
        }
    };
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident() $body:block) => {
        $crate::isolated! {
            #[needs($crate::needs::nothing)]
            $(#[$attribute])*
            $visibility fn $name() $body
        }
    };
}
pub use crate::isolated;

impl Test {
    /// The name of the test: its path without the crate.
    fn name(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.function),
            None => self.function.into(),
        }
    }
}

/// On a machine with few processors, this number of tests run at once.
const MIN_TESTS_AT_ONCE: usize = 6;

/// The argument by which the runner calls itself to run one test.
const RUN_ONE: &str = "--isolated";

/// The `main` of a suite: runs the tests of all its files.
pub fn main() -> ExitCode {
    main_after(|| ())
}

/// Like [`main`], for a suite whose tests need a preparation such as a build.
pub fn main_after(prepare: impl FnOnce()) -> ExitCode {
    if is_child() {
        run_one();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert_with(tests_at_once);
    if !arguments.list {
        prepare();
    }
    let mut tests: Vec<(String, &Test)> = inventory::iter::<Test>()
        .map(|test| (test.name(), test))
        .collect();
    tests.sort_by(|(a, _), (b, _)| a.cmp(b));
    let trials = tests
        .into_iter()
        .map(|(name, test)| match (test.why_not)() {
            None => Trial::test(name.clone(), move || spawn(&name)),
            Some(why) => tools::ignored(&name, why),
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The number of tests that run at once: more than there are processors, because most tests wait more
/// than they compute.
fn tests_at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    processors.max(MIN_TESTS_AT_ONCE)
}

/// Whether this process runs one test; the runner runs them all.
pub fn is_child() -> bool {
    std::env::args_os().nth(1).as_deref() == Some(OsStr::new(RUN_ONE))
}

/// Runs the test that the arguments name in this process. Checks that it leaves nothing behind.
fn run_one() {
    let name = std::env::args().nth(2).expect("the name of a test");
    let test = inventory::iter::<Test>()
        .find(|test| test.name() == name)
        .expect("a test of this suite");
    // Rust programs ignore SIGPIPE; the callers of a C library do not.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
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
        "a child is left behind"
    );
    let left: Vec<_> = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "files are left behind: {left:?}");
    if namespace::is_own() {
        let objects = namespace::objects();
        assert!(
            objects.is_empty(),
            "System V objects are left behind:\n{objects}"
        );
    }
}

/// The open descriptors of this process, and the files to which they refer.
fn open_descriptors() -> Vec<(String, String)> {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // The descriptor of the directory itself is closed now.
        .filter_map(|path| Some((path.clone(), fs::read_link(path).ok()?)))
        .map(|(path, target)| (path.display().to_string(), target.display().to_string()))
        .collect();
    open.retain(|(_, target)| !target.ends_with("/fd"));
    open.sort();
    open
}

/// Runs one test in its own process.
fn spawn(name: &str) -> Result<(), Failed> {
    let directory = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let output = tempfile::tempfile()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([RUN_ONE, name])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    let own_ipc = namespace::is_permitted();
    if own_ipc {
        command.env(namespace::VARIABLE, "1");
    }
    // SAFETY: only async-signal-safe calls are made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if own_ipc { namespace::enter() } else { Ok(()) }
        });
    }
    let mut child = command.spawn()?;
    // SAFETY: no pointers.
    let pidfd = own(unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) } as i32);
    let ended = poll(pidfd.as_raw_fd(), test_limit().as_millis() as i32) != 0;
    // Ends all processes of the test's group, even if the test has hung.
    // SAFETY: kill takes no pointers; the group is the child's, which is not reaped yet.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    let status = child.wait()?;
    let printed = read_all(output)?;
    if !ended {
        return Err(format!("timed out after {:?}\n{printed}", test_limit()).into());
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (_, Some(signal)) => Err(format!("killed by signal {signal}\n{printed}").into()),
        _ => Err(printed.into()),
    }
}

fn read_all(mut file: fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
