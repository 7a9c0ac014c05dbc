//! System calls per message, counted by strace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::run::run;

/// A message may need several calls, and strace takes about 50 µs for each.
const LIMIT: Duration = Duration::from_secs(60);

pub type Counts = BTreeMap<String, u64>;

/// The reason why strace cannot be used, if there is one.
pub fn unusable() -> Option<String> {
    let command = &mut Command::new("strace");
    let tried = run(
        command.args(["-c", "-o", "/dev/null", "true"]),
        Duration::from_secs(10),
    );
    tried.err().map(|fault| match fault {
        fault if fault.starts_with("cannot start") => {
            "strace is not installed (make bench-deps)".into()
        }
        fault => format!("strace does not work here: {fault}"),
    })
}

/// Runs the program under strace. Returns its output, and the calls of all its processes.
pub fn count(program: &Command) -> Result<(String, Counts), String> {
    // A memfd without close-on-exec. strace opens it as /proc/self/fd/N.
    let file: OwnedFd = memfd_create("strace", MFdFlags::empty()).map_err(|e| e.to_string())?;
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-o"])
        .arg(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .arg(program.get_program())
        .args(program.get_args());
    let printed = run(&mut command, LIMIT)?;
    let mut summary = String::new();
    let mut file = File::from(file);
    file.rewind()
        .and_then(|()| file.read_to_string(&mut summary))
        .map_err(|error| error.to_string())?;
    let counts = parse_summary(&summary).ok_or("strace printed no summary")?;
    Ok((printed, counts))
}

/// Columns: % time, seconds, usecs/call, calls, errors (may be empty), syscall.
fn parse_summary(summary: &str) -> Option<Counts> {
    let mut counts = Counts::new();
    for line in summary.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), 5 | 6) = (words.last(), words.len()) else {
            continue;
        };
        if let (Ok(_), Ok(calls), true) =
            (words[0].parse::<f64>(), words[3].parse(), *name != "total")
        {
            counts.insert((*name).into(), calls);
        }
    }
    (!counts.is_empty()).then_some(counts)
}

/// Returns the number of calls per message, and a list of the most frequent calls. `messages` is the
/// difference between the numbers of messages in the two runs, so that the calls at the start and
/// the end of a run do not count.
pub fn per_message(few: &Counts, many: &Counts, messages: f64) -> (f64, String) {
    let mut named: Vec<(f64, &str)> = many
        .iter()
        .map(|(name, &count)| {
            let before = few.get(name).copied().unwrap_or(0);
            ((count as f64 - before as f64) / messages, name.as_str())
        })
        .filter(|(calls, _)| *calls >= 0.005)
        .collect();
    named.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sum = named.iter().fold(0.0, |sum, (calls, _)| sum + calls);
    let most = named.iter().take(4);
    let which: Vec<_> = most
        .map(|(calls, name)| format!("{name} {calls:.2}"))
        .collect();
    (sum, which.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
strace: Process 12 attached
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.006000           6      1000           write
 40.00    0.004000           3      1200       200 read
  0.00    0.000000           0         1           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000           4      2201       200 total
";

    #[test]
    fn summaries() {
        let counts = parse_summary(SUMMARY).unwrap();
        assert_eq!(counts.len(), 3);
        assert_eq!(
            (counts["write"], counts["read"], counts["execve"]),
            (1000, 1200, 1)
        );
        assert_eq!(parse_summary(""), None);
        assert_eq!(parse_summary("a b c d e\n"), None);
    }

    #[test]
    fn calls_a_message() {
        let few = Counts::from([
            ("read".into(), 110),
            ("execve".into(), 1),
            ("brk".into(), 9),
        ]);
        let many = Counts::from([
            ("read".into(), 510),
            ("write".into(), 200),
            ("execve".into(), 1),
            ("brk".into(), 5),
        ]);
        let (calls, which) = per_message(&few, &many, 400.0);
        assert_eq!((calls, which.as_str()), (1.5, "read 1.00, write 0.50"));
        let none = per_message(&few, &few, 400.0);
        assert_eq!(none, (0.0, String::new()));
        assert!(none.0.is_sign_positive(), "the report would print -0.00");
    }
}
