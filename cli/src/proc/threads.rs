//! Which process has a thread that a lock records. A lock records the number of the thread in its own
//! PID namespace.

use std::collections::HashMap;
use std::fs;

use super::Process;

/// The processes of threads, by PID namespace and the thread's number there.
#[derive(Debug, Default)]
pub struct Threads(HashMap<(u32, i32), i32>);

impl Threads {
    /// Adds the threads of a process.
    pub fn add(&mut self, process: &Process) {
        let pid = process.pid;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return;
        };
        for task in tasks.flatten() {
            let status = fs::read(task.path().join("status")).unwrap_or_default();
            if let Some(thread) = innermost_id(&status) {
                self.0.insert((process.namespace, thread), pid);
            }
        }
    }

    /// The process of a thread.
    pub fn process(&self, namespace: u32, thread: i32) -> Option<i32> {
        self.0.get(&(namespace, thread)).copied()
    }
}

/// The number of a thread in its own PID namespace: the last one of the line `NSpid`.
fn innermost_id(status: &[u8]) -> Option<i32> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let text = std::str::from_utf8(line).ok()?;
    text.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(innermost_id(b"Name:\tcat\nNSpid:\t7\n"), Some(7));
        assert_eq!(innermost_id(b"NSpid:\t700\t20\t3\nx"), Some(3));
        assert_eq!(innermost_id(b"Name:\tcat\n"), None);
        assert_eq!(innermost_id(b"NSpid:\n"), None);
    }
}
