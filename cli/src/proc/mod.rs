//! The processes, as /proc shows them. Another process can end, or change its maps, at any time: a
//! file that has disappeared is no error.

pub mod devices;
pub mod fds;
pub mod maps;
pub mod memory;
pub mod sockets;
pub mod threads;

use nix::unistd::Uid;
use serde::Serialize;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::output::Name;

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    /// The name of its program, at most 15 bytes.
    pub name: Name,
    /// The letter of its state: `R`, `S`, `T`, …
    pub state: char,
    /// The number of its PID namespace; 0 if unknown.
    pub namespace: u32,
}

/// A process in the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ProcessName {
    pub pid: i32,
    pub name: Name,
    /// Whether it is stopped by a signal or a debugger.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

impl Process {
    /// Reads the state of a process. None if it has ended, or is a zombie, which uses nothing.
    pub fn read(pid: i32) -> Option<Self> {
        let directory = format!("/proc/{pid}");
        let stat = fs::read(format!("{directory}/stat")).ok()?;
        let (name, state) = parse_stat(&stat)?;
        if matches!(state, 'Z' | 'X') {
            return None;
        }
        let namespace = fs::metadata(format!("{directory}/ns/pid"));
        Some(Self {
            pid,
            name: Name(name.to_vec()),
            state,
            namespace: namespace.map_or(0, |namespace| namespace.ino() as u32),
        })
    }

    /// Whether it is stopped by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// The process in the output.
    pub fn to_name(&self) -> ProcessName {
        ProcessName {
            pid: self.pid,
            name: self.name.clone(),
            stopped: self.is_stopped(),
        }
    }
}

/// The numbers of all processes that /proc shows.
pub fn pids() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// Whether /proc hides the processes of other users from this one (`hidepid`, proc(5)).
pub fn hides_processes() -> bool {
    // Process 1 can belong to this user.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hides = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/proc"));
    fs::metadata("/proc/1").is_err()
        || !Uid::effective().is_root() && hides.is_some_and(has_hidepid)
}

/// Whether a line of /proc/self/mountinfo has an option that makes processes invisible.
fn has_hidepid(line: &str) -> bool {
    let values = ["2", "4", "invisible", "ptraceable"];
    let mut options = line.split([' ', ',']);
    options.any(|option| {
        let value = option.strip_prefix("hidepid=");
        value.is_some_and(|value| values.contains(&value))
    })
}

/// The name and the state in /proc/PID/stat. The name may contain any bytes; the fields behind it are
/// a letter and numbers.
fn parse_stat(stat: &[u8]) -> Option<(&[u8], char)> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(begin..end)?;
    let state = stat.get(end + 1..)?.iter().find(|byte| **byte != b' ')?;
    Some((name, char::from(*state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats() {
        let rest = "S 1 7 7 0 -1 4194560 150 0 0 0 0 0 0 0 20 0 1 0 98765 2000 300 1844 1";
        for name in ["cat", "a b", ") S 1 (", "\n) 1 2 3", ""] {
            let stat = format!("7 ({name}) {rest}");
            let expected = Some((name.as_bytes(), 'S'));
            assert_eq!(parse_stat(stat.as_bytes()), expected, "{name}");
        }
        for stat in ["", ")", "7 (cat)", ")(", "7 (cat) "] {
            assert_eq!(parse_stat(stat.as_bytes()), None, "{stat}");
        }
    }

    #[test]
    fn options() {
        let line = |options| format!("22 27 0:21 / /proc rw,relatime - proc proc {options}");
        for options in ["rw,hidepid=2", "rw,hidepid=ptraceable,gid=4"] {
            assert!(has_hidepid(&line(options)), "{options}");
        }
        for options in ["rw", "rw,hidepid=1", "rw,hidepid=off"] {
            assert!(!has_hidepid(&line(options)), "{options}");
        }
    }

    #[test]
    fn this_process() {
        let this = Process::read(std::process::id() as i32).unwrap();
        assert!(!this.is_stopped());
        assert!(pids().unwrap().contains(&this.pid));
    }
}
