//! A NATS server with JetStream, on a free port, with its store in the working directory.

use common::child::wait_stopped;
use common::clock::wait_until;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server; dropping it kills it.
pub struct Server {
    child: Option<Child>,
    directory: PathBuf,
    port: u16,
    /// The program that starts it, with its arguments.
    prefix: Vec<String>,
    host: String,
    extra: Vec<String>,
}

impl Server {
    /// Starts a server whose files are in a new directory with this name.
    #[track_caller]
    pub fn start(name: &str) -> Self {
        Self::start_with(name, "127.0.0.1", &[], &[])
    }

    /// Starts a server with further arguments, by the program `prefix`, at an address.
    #[track_caller]
    pub fn start_with(name: &str, host: &str, prefix: &[&str], extra: &[&str]) -> Self {
        let directory = std::env::current_dir().unwrap().join(name);
        fs::create_dir(&directory).unwrap();
        let own = |words: &[&str]| words.iter().map(|&word| word.into()).collect();
        let mut server = Self {
            child: None,
            directory,
            port: 0,
            prefix: own(prefix),
            host: host.into(),
            extra: own(extra),
        };
        server.run();
        server
    }

    #[track_caller]
    fn run(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut words = self.prefix.clone();
        let port = if self.port == 0 {
            -1
        } else {
            i32::from(self.port)
        };
        words.extend([
            "nats-server".into(),
            "-a".into(),
            self.host.clone(),
            "-p".into(),
        ]);
        words.push(port.to_string());
        let store = self.path("store").display().to_string();
        let ports = self.directory.display().to_string();
        words.extend([
            "-js".into(),
            "-sd".into(),
            store,
            "--ports_file_dir".into(),
            ports,
        ]);
        words.extend(self.extra.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        die_with_parent(&mut command);
        self.child = Some(command.spawn().unwrap());
        wait_until("the server", || {
            let found = self.ports_file().is_some_and(|port| {
                self.port = port;
                true
            });
            found
                && fs::read_to_string(self.path("log"))
                    .unwrap()
                    .contains("Server is ready")
        });
    }

    /// The port in the file that the server writes.
    fn ports_file(&self) -> Option<u16> {
        let file = fs::read_dir(&self.directory).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            (path.extension()? == "ports").then_some(path)
        });
        let text = fs::read_to_string(file?).ok()?;
        let text = text.split("://").nth(1)?;
        text.split('"').next()?.rsplit(':').next()?.parse().ok()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The address.
    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port)
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for entry in fs::read_dir(&self.directory).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "ports")
            {
                fs::remove_file(path).unwrap();
            }
        }
        fs::write(self.path("log"), "").unwrap();
    }

    /// Starts the server again, with the same port and the same store.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Stops it, and waits until it has stopped.
    #[track_caller]
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
        wait_stopped(self.pid());
    }

    /// Its process ID.
    fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id() as i32
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: no pointers; the child is not reaped.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            eprintln!("--- the server\n{log}");
        }
    }
}

/// Lets the kernel kill the program when the test's thread ends.
pub fn die_with_parent(command: &mut Command) {
    let prepare = || {
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: only an async-signal-safe call.
    unsafe { command.pre_exec(prepare) };
}

/// The content of a file; empty if there is none.
pub fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
