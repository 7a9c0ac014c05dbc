//! The log: one line a message, on the standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{Write, stderr};
use std::time::{SystemTime, UNIX_EPOCH};

struct Logger {
    /// Whether the journal of systemd reads the lines: it adds the time, and wants a number for the
    /// level.
    is_journal: bool,
}

/// Begins to log messages of this level and above.
pub fn start(level: LevelFilter) {
    let is_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let logger = Box::leak(Box::new(Logger { is_journal }));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // The client library logs the messages of its protocol.
        metadata.target().starts_with("unixipc_bridge")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // One write for the whole line, whose characters cannot control a terminal.
        let text = record.args().to_string();
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        let line = match self.is_journal {
            true => format!("<{}>{text}\n", priority(record.level())),
            false => format!("{} {:5} {text}\n", time(), record.level()),
        };
        let _ = stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// The number of a level, see sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The time in UTC.
fn time() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let ms = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date that is this number of days after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        let is_multiple = |of| year.is_multiple_of(of);
        is_multiple(4) && (!is_multiple(100) || is_multiple(400))
    };
    let mut year = 1970;
    loop {
        let len = 365 + u64::from(is_leap(year));
        if days < len {
            break;
        }
        days -= len;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_786), (2026, 11, 29));
        assert_eq!(date(20_818), (2026, 12, 31));
    }
}
