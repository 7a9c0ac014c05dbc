//! The parts of the commands that send and receive messages.

mod address;
mod format;
mod input;
mod listener;
mod patient;
mod progress;
mod sink;
mod source;
mod stop;

pub use address::{Address, Kind};
pub use format::{Format, Printer};
pub use input::Input;
pub use listener::Listener;
pub use patient::Patient;
pub use progress::Progress;
pub use sink::{Sink, SinkOptions, wait_readable};
pub use source::{Begin, Event, Source, SourceOptions, channel_options};
pub use stop::{Limit, Stop, check, until_stopped};

use crate::error::{Error, Result};
use libc::c_int;
use std::time::Duration;
use unixipc::deadline::{Deadline, WAIT_INTR};

/// The longest message that the commands accept, and the largest ring of a peer.
pub const MESSAGE_MAX: usize = 64 << 20;

/// Reads a time in seconds.
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The limit of one wait; none without a limit.
pub fn deadline(limit: Option<Duration>) -> Result<Deadline> {
    let timeout_ms = match limit {
        None => -1,
        Some(limit) => c_int::try_from(limit.as_millis())
            .map_err(|_| Error::usage("the time-out is too long"))?,
    };
    new_deadline(timeout_ms)
}

/// A wait that a signal ends, and that takes at most this time.
pub fn interruptible(time: Duration) -> Result<Deadline> {
    Ok(new_deadline(WAIT_INTR)?.within(time))
}

fn new_deadline(timeout_ms: c_int) -> Result<Deadline> {
    Deadline::new(timeout_ms).map_err(|errno| Error::with_errno("the time-out", errno))
}
