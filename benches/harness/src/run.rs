//! Runs a program: with a time limit, and so that nothing of it is left.

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

/// More than this of output is a fault of the program.
const MOST_OUTPUT: usize = 4 << 20;
/// How long what has been left behind by a program may keep its output open.
const GRACE: Duration = Duration::from_secs(2);

/// Orphans of a program become children of this process, which can then wait for them and
/// knows the processor time that they took.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Runs the program to its end and returns what it wrote to its standard output, or why it
/// failed. It is killed when the time is over, with all processes of its group, and also when
/// this process dies.
pub fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let parent = getpid();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are made, nothing is allocated.
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
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = Pid::from_raw(child.id().cast_signed());

    let output = collect(&mut child, limit);
    // Whatever is left of the group now is not wanted.
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait();
    while waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::__WALL)).is_ok() {}

    let (stdout, stderr) = output?;
    let said = match stderr.trim() {
        "" => String::new(),
        said => format!(": {}", said.lines().collect::<Vec<_>>().join("; ")),
    };
    let status = status.map_err(|error| error.to_string())?;
    if status.success() {
        Ok(stdout)
    } else if let Some(signal) = status.signal() {
        Err(format!("died of signal {signal}{said}"))
    } else {
        Err(format!("exit code {}{said}", status.code().unwrap_or(-1)))
    }
}

/// Reads what the program writes until it has ended; returns its two outputs.
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
                "left a process behind that keeps its output open".into()
            } else {
                format!("did not end within {} s", limit.as_secs())
            });
        }
        if !open[0] && !open[1] {
            sleep(Duration::from_millis(1));
            continue;
        }
        // A descriptor that is at its end would be ready at each call.
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
            if outputs[i].len() > MOST_OUTPUT {
                return Err(format!("wrote more than {MOST_OUTPUT} bytes"));
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
        assert_eq!(shell("kill -9 $$", long).unwrap_err(), "died of signal 9");
        assert!(shell("yes", long).unwrap_err().contains("more than"));
        let gone = run(&mut Command::new("/nonexistent"), long).unwrap_err();
        assert!(gone.starts_with("cannot be started"));
    }

    #[test]
    fn nothing_outlives_the_limit() {
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
