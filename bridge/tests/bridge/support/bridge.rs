//! The program under test.

use super::server::{Server, content, die_with_parent};
use common::child::wait_stopped;
use common::clock::{child_limit, wait_until};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running bridge; dropping it kills it.
pub struct Bridge {
    child: Option<Child>,
    name: String,
    prefix: Vec<String>,
    words: Vec<String>,
}

impl Bridge {
    /// Starts a bridge with routes of the form `feed:a -> b`, where paths are relative to the
    /// working directory, and options before them.
    pub fn start(server: &Server, name: &str, words: &[&str]) -> Self {
        Self::start_with(server, name, &[], words)
    }

    /// Starts a bridge by the program `prefix`.
    pub fn start_with(server: &Server, name: &str, prefix: &[&str], words: &[&str]) -> Self {
        let url = server.url();
        let mut all = vec!["--engine", &url, "--log", "debug"];
        all.extend(words);
        Self::start_alone(name, prefix, &all)
    }

    /// Starts a bridge with these arguments, a status socket, and a directory for its state, unless
    /// the arguments have one.
    pub fn start_alone(name: &str, prefix: &[&str], words: &[&str]) -> Self {
        let here = std::env::current_dir().unwrap().display().to_string();
        let status = format!("{here}/{name}.status");
        let mut all = vec!["--status".into(), status];
        if !words.iter().any(|word| word.starts_with("--state-dir")) {
            all.push(format!("--state-dir={here}/{name}.state"));
        }
        for word in words {
            match word.split_once(' ') {
                // A route.
                Some(_) => all.extend(word.split(' ').map(|word| match word.split_once(':') {
                    Some((kind, path)) => format!("{kind}:{here}/{path}"),
                    None => word.into(),
                })),
                None => all.push((*word).into()),
            }
        }
        let mut bridge = Self {
            child: None,
            name: name.into(),
            prefix: prefix.iter().map(|&word| word.into()).collect(),
            words: all,
        };
        bridge.restart();
        bridge
    }

    /// Starts it, also after it was killed.
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let program = env!("CARGO_BIN_EXE_unixipc-bridge").to_owned();
        let words: Vec<_> = self.prefix.iter().chain([&program]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(&self.words)
            .stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        die_with_parent(&mut command);
        self.child = Some(command.spawn().unwrap());
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its process ID.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id() as i32
    }

    /// Stops it, and waits until it has stopped.
    #[track_caller]
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
        wait_stopped(self.pid());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: no pointers; the child is not reaped.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Ends it with SIGTERM. It must succeed.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.end(), Some(0), "the exit of the bridge");
    }

    /// Waits until it ends. Returns its exit code.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if start.elapsed() > child_limit() {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the bridge does not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn log_path(&self) -> PathBuf {
        format!("{}.log", self.name).into()
    }

    /// Its log.
    pub fn log(&self) -> String {
        content(&self.log_path())
    }

    /// Waits until it has logged a text.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    /// A page of its status.
    pub fn page(&self, page: &str) -> Option<String> {
        use std::io::{Read, Write};
        let path = format!("{}.status", self.name);
        let mut stream = std::os::unix::net::UnixStream::connect(path).ok()?;
        write!(stream, "GET {page} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// A number of its first route.
    pub fn number(&self, name: &str) -> Option<u64> {
        let status: serde_json::Value = serde_json::from_str(&self.page("/status")?).ok()?;
        status["routes"][0][name].as_u64()
    }

    /// Waits until a number of its first route has a value.
    #[track_caller]
    pub fn wait_number(&self, name: &str, value: u64) {
        wait_until(&format!("{name} {value}"), || {
            self.number(name) == Some(value)
        });
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the bridge {}\n{}", self.name, last.join("\n"));
        }
    }
}
