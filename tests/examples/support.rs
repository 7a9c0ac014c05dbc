//! Helpers of the tests of the examples.

use std::env::temp_dir;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a wait may take before the test fails, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A program of c_examples/, which is killed if the test ends before it.
pub fn example(name: &str) -> Command {
    let mut command = Command::new(common::root().join("build/examples").join(name));
    command.stdin(Stdio::null());
    let die_with_the_test = || {
        // SAFETY: no pointers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure only makes a system call.
    unsafe { command.pre_exec(die_with_the_test) };
    command
}

pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a program that must succeed. Returns its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        common::text(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program that must exit with this status. Returns its output.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = output(command);
    let text = common::text(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}: {}\n{text}",
        output.status
    );
    text
}

/// Polls until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a child.
pub fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the end of a child", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// Waits until a program has a child. Returns the first one.
pub fn child_of(parent: &Child) -> u32 {
    let mut children = Vec::new();
    wait_until("a child", || {
        children = children_of(parent);
        !children.is_empty()
    });
    children[0]
}

/// The children of a program now.
pub fn children_of(parent: &Child) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id()))
        .unwrap_or_default()
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Waits until a process that is no child of the test has ended and was reaped.
pub fn wait_until_gone(pid: u32) {
    wait_until("the end of a process", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// The fields of /proc/PID/stat, without the first two: the state is field 0.
pub fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(String::from)
        .collect()
}

/// Reads the rest of a child's output, until all processes have closed it.
pub fn read_all(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

/// The error messages of a child whose standard error is a pipe, after it has ended.
pub fn stderr_of(child: &mut Child) -> String {
    read_all(child.stderr.take().unwrap())
}

/// A server that has printed that it serves. Its standard error stays open, so that it can print
/// more.
pub struct Server(
    pub Child,
    #[expect(dead_code, reason = "stays open")] Box<dyn BufRead>,
);

impl Server {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut messages = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let ready = messages
            .by_ref()
            .lines()
            .any(|line| line.unwrap().contains(" serves "));
        assert!(ready, "{command:?} ended: {:?}", child.try_wait());
        Self(child, messages)
    }

    /// Sends a signal and waits for the end of the server.
    pub fn end(mut self, sig: i32) -> ExitStatus {
        signal(self.0.id(), sig);
        wait(&mut self.0)
    }
}

/// The number of segments and semaphore sets in the IPC namespace of the test.
pub fn system_v_objects() -> usize {
    ["shm", "sem"]
        .map(|kind| {
            fs::read_to_string(format!("/proc/sysvipc/{kind}"))
                .unwrap()
                .lines()
                .count()
                - 1
        })
        .iter()
        .sum()
}

/// True for a line such as `Sun 22 Nov 2026 13:53:07 +0000`.
pub fn is_date(line: &str) -> bool {
    let fields: Vec<_> = line.split_whitespace().collect();
    fields.len() >= 5 && fields[3].len() == 4 && fields[4].split(':').count() == 3
}

/// Makes a FIFO in the directory of the test.
pub fn make_fifo(name: &str) -> PathBuf {
    let path = temp_dir().join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}
