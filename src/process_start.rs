//! When a process has started.

use crate::errno::{Result, errno};
use crate::proc_file::{self, ProcPath};
use libc::pid_t;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Returns when a process has started, since the boot (`CLOCK_BOOTTIME`), rounded down to a tick of
/// 10 ms. The result is that of the process only if the process still lives after the call.
///
/// `EOPNOTSUPP` if /proc does not show the process: it is not mounted, or hides the processes of
/// other users.
pub fn start_time(pidfd: &OwnedFd) -> Result<Duration> {
    start_ticks(pidfd)
        .map(from_ticks)
        .map_err(|error| match error.code() {
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => error,
            _ => errno!(EOPNOTSUPP),
        })
}

fn start_ticks(pidfd: &OwnedFd) -> Result<u64> {
    let mut buffer = [0; 1024];
    // The ID in the PID namespace of /proc, which may be another one than that of this process.
    let info = ProcPath::of_fd_info(pidfd.as_fd());
    let len = proc_file::read(info.as_c_str()?, &mut buffer)?;
    let pid = buffer.get(..len).and_then(pid_in_info);
    let stat = ProcPath::of_stat(pid.ok_or(errno!(EOPNOTSUPP))?);
    let len = proc_file::read(stat.as_c_str()?, &mut buffer)?;
    let ticks = buffer.get(..len).and_then(start_in_stat);
    ticks.ok_or(errno!(EOPNOTSUPP))
}

fn from_ticks(ticks: u64) -> Duration {
    // SAFETY: takes a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = u64::try_from(per_second).unwrap_or_default().max(1);
    Duration::from_nanos((1_000_000_000 / per_second).saturating_mul(ticks))
}

/// The process ID in /proc/self/fdinfo of a pidfd. None if the process has ended, or has no ID in
/// the PID namespace of /proc.
fn pid_in_info(text: &[u8]) -> Option<pid_t> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Pid:\t"))?;
    let pid = pid_t::try_from(number(line)?).ok()?;
    (pid > 0).then_some(pid)
}

/// The start time, field 22 of /proc/PID/stat (proc_pid_stat(5)), in clock ticks.
fn start_in_stat(text: &[u8]) -> Option<u64> {
    /// The index of the field behind the name.
    const INDEX: usize = 19;
    // The name is in parentheses. It may contain any characters, and the fields behind it are
    // numbers and a letter.
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let fields = text.get(name_end + 2..)?;
    number(fields.split(|byte| *byte == b' ').nth(INDEX)?)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids() {
        let info = |pid: &str| format!("pos:\t0\nflags:\t02000002\nPid:\t{pid}\nNSpid:\t7\t1\n");
        assert_eq!(pid_in_info(info("7").as_bytes()), Some(7));
        for pid in ["0", "-1", "", "x", "4294967297"] {
            assert_eq!(pid_in_info(info(pid).as_bytes()), None, "{pid}");
        }
        assert_eq!(pid_in_info(b"NSpid:\t7\n"), None);
        assert_eq!(pid_in_info(b""), None);
    }

    #[test]
    fn start_times() {
        let rest =
            "S 1 7 7 0 -1 4194560 150 0 0 0 0 0 0 0 20 0 1 0 98765 2000 300 18446744073709551615 1";
        for name in ["cat", "a b", ") S 1 (", "\n) 1 2 3", ""] {
            let stat = format!("7 ({name}) {rest}");
            assert_eq!(start_in_stat(stat.as_bytes()), Some(98765), "{name}");
        }
        for stat in ["", ")", "7 (cat)", "7 (cat) S 1 2", "7 (cat) S"] {
            assert_eq!(start_in_stat(stat.as_bytes()), None, "{stat}");
        }
    }

    /// This process has started before now, and at most as long ago as the machine.
    #[test]
    fn of_this_process() {
        let pidfd = crate::sys::open_pidfd(std::process::id() as pid_t, 0).unwrap();
        let started = start_time(&pidfd).unwrap();
        assert!(started <= crate::sys::boot_time(), "{started:?}");
        assert!(started > Duration::ZERO);
    }
}
