//! A file whose reads a signal ends.

use super::sink::wait_readable;
use super::stop::{Limit, check};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

/// A pipe or another file that may make a read wait. After a signal, a read fails.
pub struct Patient(pub File);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            check().map_err(|_| io::Error::other("interrupted by a signal"))?;
            let slice = Limit::new(None).slice();
            let is_ready = wait_readable(&[self.0.as_raw_fd()], slice);
            if is_ready.map_err(|error| io::Error::other(error.to_string()))? {
                return self.0.read(buffer);
            }
        }
    }
}
