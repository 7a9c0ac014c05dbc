//! A file whose reads and writes a signal ends.

use super::sink::wait_readable;
use super::stop::{Limit, check};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// A pipe or another file that may make a read or a write wait. After a signal, a read fails. A write
/// fails with `ECANCELED` if it has waited for a second after the signal, so that a command can
/// complete a file.
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

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut has_waited = false;
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
            // After a signal, another one arrives each second.
            if check().is_err() && std::mem::replace(&mut has_waited, true) {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
