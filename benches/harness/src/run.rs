//! Runs a program with a time limit, and kills all its processes at the end.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid, getppid};

/// A program that writes more has failed.
const OUTPUT_MAX: usize = 4 << 20;
/// How long processes that a program has left behind may keep its output open.
const GRACE: Duration = Duration::from_secs(2);

/// Makes this process the parent of orphaned descendants, so that it can wait for them and knows
/// their CPU time.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Runs the program until it exits. Returns its standard output, or the reason of a failure. When the
/// time limit expires, kills the program and all processes of its group. If this process dies, the
/// kernel kills the program.
pub fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let parent = getpid();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: the closure makes only async-signal-safe calls and does not allocate.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(Errno::ECHILD.into());
            }
            Ok(())
        });
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start: {error}"))?;
    let group = Pid::from_raw(child.id() as i32);

    let output = collect(&mut child, limit);
    // The group may have processes left.
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait();
    while waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::__WALL)).is_ok() {}

    let (stdout, stderr) = output?;
    let message = match stderr.trim() {
        "" => String::new(),
        text => format!(": {}", text.lines().collect::<Vec<_>>().join("; ")),
    };
    let status = status.map_err(|error| error.to_string())?;
    if status.success() {
        Ok(stdout)
    } else if let Some(signal) = status.signal() {
        Err(format!("killed by signal {signal}{message}"))
    } else {
        Err(format!(
            "exit code {}{message}",
            status.code().unwrap_or(-1)
        ))
    }
}

/// Reads the standard output and the standard error of the program until it has ended.
fn collect(child: &mut Child, limit: Duration) -> Result<(String, String), String> {
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut outputs = [Vec::new(), Vec::new()];
    let mut open = [true, true];
    let mut deadline = Instant::now() + limit;
    let mut ended = false;

    while open[0] || open[1] || !ended {
        if !ended
            && child
                .try_wait()
                .map_err(|error| error.to_string())?
                .is_some()
        {
            ended = true;
            deadline = deadline.min(Instant::now() + GRACE);
        }
        if Instant::now() >= deadline {
            return Err(if ended {
                "left a process behind that keeps the output open".into()
            } else {
                format!("did not end within {} s", limit.as_secs())
            });
        }
        if !open[0] && !open[1] {
            sleep(Duration::from_millis(1));
            continue;
        }
        // A descriptor at end of file would always be ready.
        let events = |open: bool| {
            if open {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            }
        };
        let mut fds = [
            PollFd::new(stdout.as_fd(), events(open[0])),
            PollFd::new(stderr.as_fd(), events(open[1])),
        ];
        let wait = if ended { 10u8 } else { 100 };
        match poll(&mut fds, PollTimeout::from(wait)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        let ready = fds.map(|fd| fd.any().unwrap_or(false));
        for i in 0..2 {
            if !open[i] || !ready[i] {
                continue;
            }
            let mut block = [0; 65536];
            let got = match i {
                0 => stdout.read(&mut block),
                _ => stderr.read(&mut block),
            };
            match got {
                Ok(0) => open[i] = false,
                Ok(len) => outputs[i].extend_from_slice(&block[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            if outputs[i].len() > OUTPUT_MAX {
                return Err(format!("wrote more than {OUTPUT_MAX} bytes"));
            }
        }
    }
    let [stdout, stderr] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((stdout, stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String, String> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn output_and_failures() {
        let long = Duration::from_secs(20);
        assert_eq!(shell("echo a; echo b >&2", long).unwrap(), "a\n");
        assert_eq!(
            shell("echo a; echo wrong >&2; echo more >&2; exit 3", long).unwrap_err(),
            "exit code 3: wrong; more"
        );
        assert_eq!(shell("kill -9 $$", long).unwrap_err(), "killed by signal 9");
        assert!(shell("yes", long).unwrap_err().contains("more than"));
        let gone = run(&mut Command::new("/nonexistent"), long).unwrap_err();
        assert!(gone.starts_with("cannot start"));
    }

    #[test]
    fn no_process_outlives_the_limit() {
        let begin = Instant::now();
        let said = shell("sleep 60 & sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(said.contains("did not end"), "{said}");
        let said = shell("exec >&- 2>&-; sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(said.contains("did not end"), "{said}");
        let said = shell("sleep 60 & exit 0", Duration::from_secs(20)).unwrap_err();
        assert!(said.contains("left a process behind"), "{said}");
        assert!(begin.elapsed() < Duration::from_secs(15));
    }
}
