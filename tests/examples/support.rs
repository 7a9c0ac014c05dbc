//! Helpers of the tests of the examples.

use crate::common;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes, on a machine with other work too.
const LIMIT: Duration = Duration::from_secs(60);

pub fn example(name: &str) -> Command {
    let mut command = Command::new(common::root().join("build/examples").join(name));
    command.stdin(Stdio::null());
    let end_with_the_test = || {
        // SAFETY: no pointers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: a system call is all that it does.
    unsafe { command.pre_exec(end_with_the_test) };
    command
}

pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a program that is to succeed; what it printed on standard output.
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

/// Runs a program that is to fail with this status; what it said on standard error.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = output(command);
    let said = common::text(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}: {}\n{said}",
        output.status
    );
    said
}

/// Polls until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a child, with a limit.
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

/// The child of a program that has one.
pub fn child_of(parent: &Child) -> u32 {
    let path = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut child = None;
    wait_until("a child", || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        child = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    child.unwrap()
}

pub fn wait_until_gone(pid: u32) {
    wait_until("the end of a process", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// The fields of /proc/PID/stat from the third, the state, on.
pub fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(String::from)
        .collect()
}

/// What a program with a pipe as its standard error has said in the end.
pub fn said_by(child: &mut Child) -> String {
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    said
}

/// A server that has said that it serves; its standard error stays open for what it says later.
pub struct Server(
    pub Child,
    #[expect(dead_code, reason = "kept open")] Box<dyn BufRead>,
);

impl Server {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let ready = said
            .by_ref()
            .lines()
            .any(|line| line.unwrap().contains(" serves "));
        assert!(ready, "{command:?} ended: {:?}", child.try_wait());
        Self(child, said)
    }

    pub fn end(mut self, sig: i32) -> ExitStatus {
        signal(self.0.id(), sig);
        wait(&mut self.0)
    }
}

/// The lines of /proc/sysvipc, which is this test's own: segments and semaphore sets.
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
