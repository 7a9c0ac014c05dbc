//! The progress of a long transfer, on a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

/// The interval between two lines. Nothing is shown of a shorter transfer.
const INTERVAL: Duration = Duration::from_millis(250);

/// Shows how far a transfer is. It writes to standard error, and only if that is a terminal.
pub struct Progress {
    /// None if nothing is shown.
    shown: Option<Shown>,
    /// The size of the input, if it is known.
    total: Option<u64>,
}

struct Shown {
    begin: Instant,
    next: Instant,
    /// Whether a line is on the terminal.
    has_line: bool,
}

impl Progress {
    /// Shows the progress if `is_wanted` and standard error is a terminal.
    pub fn new(is_wanted: bool, total: Option<u64>) -> Self {
        let begin = Instant::now();
        let shown = Shown {
            begin,
            next: begin + INTERVAL,
            has_line: false,
        };
        Self {
            shown: (is_wanted && io::stderr().is_terminal()).then_some(shown),
            total,
        }
    }

    /// Records how far the transfer is: this number of bytes of the input, and messages.
    pub fn update(&mut self, bytes: u64, messages: u64) {
        let Some(shown) = &mut self.shown else {
            return;
        };
        let now = Instant::now();
        if now < shown.next {
            return;
        }
        shown.next = now + INTERVAL;
        shown.has_line = true;
        let line = line(bytes, messages, self.total, now - shown.begin);
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.as_ref().is_some_and(|shown| shown.has_line) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(bytes: u64, messages: u64, total: Option<u64>, time: Duration) -> String {
    let mut line = size(bytes);
    if let Some(total) = total.filter(|total| *total > 0) {
        let percent = bytes.min(total) as f64 / total as f64 * 100.0;
        let _ = write!(line, " of {} ({percent:.0} %)", size(total));
    }
    let rate = bytes as f64 / time.as_secs_f64().max(0.001);
    let _ = write!(line, ", {messages} messages, {}/s", size(rate as u64));
    line
}

/// A size with three digits.
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if size < 1000.0 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{size:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let second = Duration::from_secs(1);
        let text = line(1_500_000, 3, Some(3_000_000), second);
        assert_eq!(text, "1.5 MB of 3.0 MB (50 %), 3 messages, 1.5 MB/s");
        assert_eq!(line(7, 1, None, second), "7 B, 1 messages, 7 B/s");
        // A file that grows, and a clock that has not advanced.
        assert_eq!(
            line(9, 1, Some(3), Duration::ZERO),
            "9 B of 3 B (100 %), 1 messages, 9.0 kB/s"
        );
    }
}
