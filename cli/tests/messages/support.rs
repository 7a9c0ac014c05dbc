//! Runs the program beside feeds, listeners and FIFOs of this process.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use unixipc::channel::{self, Channel};
use unixipc::deadline::Deadline;
use unixipc::feed::{Feed, FeedOptions};
use unixipc::transport::listen::listen;
use unixipc::transport::spin::SpinPolicy;

/// The limit of every wait.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The program with these arguments. It does not inherit the ignored signals of this process, such as
/// those of nohup(1).
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unixipc"));
    command.args(args).stdin(Stdio::null());
    let prepare = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: the default action is no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: only async-signal-safe calls.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    run_with_input(args, b"")
}

/// Runs the program with this input.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut running = Running::start(command(args).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = running.output();
    writer.join().unwrap();
    output
}

/// A program that runs. It is killed if a test fails.
pub struct Running {
    pub child: Child,
}

impl Running {
    /// Starts a program, whose output is read.
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_as_is(command)
    }

    /// Starts a program.
    pub fn start_as_is(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        Self { child }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes no pointer.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Stops it, and waits until it has stopped.
    #[track_caller]
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
        common::child::wait_stopped(self.child.id() as i32);
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, within [`LIMIT`].
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the program does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, and returns the output.
    pub fn output(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut errors = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            errors.read_to_end(&mut stderr).unwrap();
            stderr
        });
        let mut out = self.child.stdout.take().unwrap();
        let out = std::thread::spawn(move || {
            out.read_to_end(&mut stdout).unwrap();
            stdout
        });
        let status = self.wait();
        Output {
            status,
            stdout: out.join().unwrap(),
            stderr: reader.join().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails unless the program has succeeded with this output.
#[track_caller]
pub fn assert_output(output: &Output, stdout: impl AsRef<[u8]>) {
    assert_code(output, 0);
    let expected = stdout.as_ref();
    let (found, expected) = (&output.stdout, expected);
    assert!(
        found == expected,
        "{:?}, expected {:?}",
        String::from_utf8_lossy(found),
        String::from_utf8_lossy(expected)
    );
}

/// Fails unless the program has ended with this code. No output is a control sequence.
#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let (status, signal) = (output.status.code(), output.status.signal());
    assert_eq!(status, Some(code), "signal {signal:?}: {errors}");
    assert!(!errors.contains('\u{1b}'), "{errors:?}");
}

/// A directory with paths for a test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The path of a name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path as a string.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }
}

pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Waits until the condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A time limit for calls of the library.
pub fn limit() -> Deadline {
    Deadline::new(LIMIT.as_millis() as i32).unwrap()
}

/// A feed of this process, with a small ring.
pub fn feed(path: &Path) -> Feed {
    let options = FeedOptions {
        message_max: 1 << 16,
        spin: SpinPolicy::For(Duration::ZERO),
        ..FeedOptions::default()
    };
    let mut feed = Feed::new(&options).unwrap();
    feed.listen(&c_path(path), 0o600).unwrap();
    feed
}

/// Waits until a socket listens at a path. The path exists before: bind(2) creates it.
pub fn await_listener(path: &Path) {
    /// `__SO_ACCEPTCON` of the kernel, in the column `Flags`.
    const LISTENS: &str = "00010000";
    wait_until("no listener", || {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[3] == LISTENS && columns.last().is_some_and(|last| Path::new(last) == path)
        })
    });
}

/// Waits until the feed has this number of subscribers.
pub fn await_subscribers(feed: &mut Feed, count: usize) {
    wait_until("no subscriber", || {
        feed.service().unwrap();
        feed.subscribers(|_| ()).unwrap() == count
    });
}

/// Accepts one client at a path.
pub fn accept_one(path: &Path, start: impl FnOnce() -> Running) -> (Running, Channel) {
    use std::os::fd::AsFd;
    let listener = listen(&c_path(path), 0o600).unwrap();
    let running = start();
    let options = channel_options();
    let mut wait = limit();
    let mut has_waited = false;
    loop {
        let accepted = channel::accept(listener.as_fd(), &options, has_waited, &mut wait);
        if let Some(channel) = accepted.unwrap() {
            return (running, channel);
        }
        channel::wait_for_client(listener.as_fd(), &mut wait).unwrap();
        has_waited = true;
    }
}

pub fn channel_options() -> channel::Options {
    channel::Options {
        spin: SpinPolicy::For(Duration::ZERO),
        wait: true,
        ..channel::Options::default()
    }
}

/// Receives a message; empty at the end of the session.
pub fn receive(channel: &mut Channel) -> unixipc::errno::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(1 << 17);
    // SAFETY: the channel is borrowed exclusively.
    let half = unsafe { channel.recv_half() };
    let len = half.recv(buffer.spare_capacity_mut(), limit())?;
    // SAFETY: the receive has written these bytes.
    unsafe { buffer.set_len(len) };
    Ok(buffer)
}

/// Sends a message.
pub fn send(channel: &mut Channel, message: &[u8]) -> unixipc::errno::Result<()> {
    // SAFETY: the channel is borrowed exclusively.
    let half = unsafe { channel.send_half() };
    half.send(message, limit())
}
