//! Helpers that several scenarios share.

use crate::child;
use crate::harness::Verdict;
use common::descriptors::pipe;
use libc::c_int;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// The value that a call returned, or the errno that it set.
pub type Outcome = Result<usize, c_int>;

/// Converts the return value of the call that has just returned.
pub fn outcome(result: isize) -> Outcome {
    usize::try_from(result).map_err(|_| {
        io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or_default()
    })
}

/// A value must equal the expected one.
pub fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {expected:?}"))
    }
}

/// The outcome of a call must be one of those allowed.
pub fn expect_one_of(what: &str, found: Outcome, allowed: &[Outcome]) -> Verdict {
    if allowed.contains(&found) {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not one of {allowed:?}"))
    }
}

/// The content of the message with this number.
pub fn content(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (number * 89 + at * 7 + at / 251) as u8;
    (0..len).map(byte).collect()
}

/// Sends to a receiver that is dead or about to die: the sends succeed until one fails with
/// `EPIPE`.
pub fn sends_until_epipe(send: impl Fn() -> isize) -> Verdict {
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        match outcome(send()) {
            Err(libc::EPIPE) => return Ok(()),
            Err(error) => return Err(format!("errno {error}")),
            Ok(_) => {}
        }
    }
    Err("no EPIPE".into())
}

/// Tells a survivor when the victim is dead: a pipe whose write end the victim keeps open.
pub struct DeathNotice {
    read: File,
    write: Option<File>,
}

impl DeathNotice {
    pub fn new() -> Self {
        let (read, write) = pipe();
        let write = Some(write);
        Self { read, write }
    }

    /// Closes the survivor's copy of the write end. The survivor must call this first.
    pub fn become_survivor(&mut self) {
        self.write = None;
    }

    pub fn is_victim_dead(&self) -> bool {
        child::poll_readable(&self.read, Instant::now())
    }

    /// Waits until the victim is dead.
    pub fn wait(&mut self) -> Verdict {
        let deadline = Instant::now() + Duration::from_secs(10);
        match child::read_until(&mut self.read, deadline) {
            Some(_) => Ok(()),
            None => Err("the victim does not end".into()),
        }
    }
}
