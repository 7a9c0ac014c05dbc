//! The options of a route.

use super::{ConfigError, fail};
use serde::Deserialize;
use std::time::Duration;

/// Where a route begins if it has no position to continue from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest message that is left.
    #[default]
    Oldest,
    /// With the next message.
    Newest,
}

/// The options of a route. `man/unixipc-bridge.1` explains them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the manual is the documentation")]
pub struct RouteOptions {
    mode: String,
    pub start: Start,
    pub lossy: bool,
    pub window_messages: usize,
    pub window_bytes: usize,
    pub ring_size: u64,
    pub message_max: u64,
    pub subscribers_max: u32,
    pub stall_ms: u64,
    pub clients_max: usize,
    pub markers: bool,
    pub stream: Option<String>,
    pub create: bool,
    pub discard_old: bool,
    pub max_bytes: Option<i64>,
    pub max_messages: Option<i64>,
    pub max_age_s: u64,
    pub replicas: usize,
    pub durable: Option<String>,
    pub ack_wait_ms: u64,
    pub call_timeout_ms: u64,
    pub workers: usize,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            mode: "0600".into(),
            start: Start::Oldest,
            lossy: false,
            window_messages: 4096,
            window_bytes: 8 << 20,
            ring_size: 0,
            message_max: 0,
            subscribers_max: 0,
            stall_ms: 0,
            clients_max: 64,
            markers: false,
            stream: None,
            create: true,
            discard_old: false,
            max_bytes: None,
            max_messages: None,
            max_age_s: 0,
            replicas: 1,
            durable: None,
            ack_wait_ms: 2_000,
            call_timeout_ms: 30_000,
            workers: 4,
        }
    }
}

impl RouteOptions {
    /// The options in words such as `mode=0660`.
    pub fn from_words(words: &[String]) -> Result<Self, ConfigError> {
        let mut table = toml::Table::new();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return fail(format!("an option is KEY=VALUE: {word}"));
            };
            // A value that is no number and no truth value is a string, even without quotes.
            let value = match (value.parse::<i64>(), value.parse::<bool>()) {
                _ if key == "mode" => toml::Value::from(value),
                (Ok(number), _) => number.into(),
                (_, Ok(truth)) => truth.into(),
                _ => toml::Value::from(value),
            };
            table.insert(key.into(), value);
        }
        Self::from_table(table)
    }

    /// The options in a table of the file.
    pub fn from_table(table: toml::Table) -> Result<Self, ConfigError> {
        let options: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError(error.message().into()))?;
        parse_mode(&options.mode)?;
        let check = |name, is_valid| match is_valid {
            true => Ok(()),
            false => fail(format!("{name} is out of its range")),
        };
        check(
            "window_messages",
            (1..=1 << 20).contains(&options.window_messages),
        )?;
        check(
            "window_bytes",
            (1 << 12..=1 << 34).contains(&options.window_bytes),
        )?;
        check("clients_max", (1..=1 << 16).contains(&options.clients_max))?;
        check("stall_ms", options.stall_ms <= i32::MAX as u64)?;
        check(
            "ack_wait_ms",
            (100..=3_600_000).contains(&options.ack_wait_ms),
        )?;
        check(
            "call_timeout_ms",
            (1..=i32::MAX as u64).contains(&options.call_timeout_ms),
        )?;
        check("workers", (1..=256).contains(&options.workers))?;
        check("replicas", (1..=5).contains(&options.replicas))?;
        for name in [&options.stream, &options.durable].into_iter().flatten() {
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || ".*>/\\".contains(c))
            {
                return fail(format!("not a name of a stream or a consumer: {name}"));
            }
        }
        Ok(options)
    }

    /// The permissions of a socket or FIFO that the bridge creates.
    pub fn mode(&self) -> u32 {
        // `from_table` has checked it.
        parse_mode(&self.mode).unwrap_or(0o600)
    }

    /// How long the engine waits for an acknowledgement before it delivers again.
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }
}

/// Permissions, in octal digits.
pub fn parse_mode(text: &str) -> Result<u32, ConfigError> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => fail(format!("mode: not permissions in octal digits: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let words = |words: &[&str]| {
            RouteOptions::from_words(&words.iter().map(|&word| word.into()).collect::<Vec<_>>())
        };
        let options = words(&[
            "mode=0660",
            "start=newest",
            "window_messages=7",
            "stream=7x",
        ])
        .unwrap();
        assert_eq!(options.mode(), 0o660);
        assert_eq!(options.start, Start::Newest);
        assert_eq!(options.window_messages, 7);
        assert_eq!(options.stream.as_deref(), Some("7x"));
        for bad in [
            "mode=0999",
            "mode=01777",
            "moed=1",
            "window_messages=0",
            "stream=a.b",
            "lossy",
        ] {
            assert!(words(&[bad]).is_err(), "{bad}");
        }
    }
}
