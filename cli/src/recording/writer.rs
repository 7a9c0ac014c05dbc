//! Writing a recording.

use super::layout::{Head, Header, TOTALS, Type};
use std::io::{self, BufWriter, Write};

/// Writes a recording.
pub struct Writer<W: Write> {
    file: BufWriter<W>,
    bytes: u64,
    messages: u64,
    time: u64,
    next: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the beginning.
    pub fn new(file: W, header: &Header) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let header = header.to_bytes();
        file.write_all(&header)?;
        Ok(Self {
            file,
            bytes: header.len() as u64,
            messages: 0,
            time: 0,
            next: 0,
        })
    }

    /// Writes a message, which was received at `time` after the beginning.
    pub fn message(&mut self, message: &[u8], sequence: u64, time: u64) -> io::Result<()> {
        self.messages += 1;
        self.next = sequence.wrapping_add(1);
        self.record(Type::Message, message, sequence, time)
    }

    /// Writes the end, and everything that has not been written yet.
    pub fn finish(mut self, lost: u64, time: u64) -> io::Result<()> {
        let mut totals = [0; TOTALS];
        let (messages, losses) = totals.split_at_mut(8);
        messages.copy_from_slice(&self.messages.to_le_bytes());
        losses.copy_from_slice(&lost.to_le_bytes());
        self.record(Type::End, &totals, self.next, time)?;
        self.file.flush()
    }

    fn record(&mut self, of_type: Type, body: &[u8], sequence: u64, time: u64) -> io::Result<()> {
        let len = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // The clock is monotonic, so this changes nothing.
        self.time = self.time.max(time);
        let head = Head {
            len,
            of_type,
            sequence,
            time: self.time,
            checksum: crc32fast::hash(body),
        };
        let head = head.to_bytes();
        self.file.write_all(&head)?;
        self.file.write_all(body)?;
        self.bytes += (head.len() + body.len()) as u64;
        Ok(())
    }

    /// Writes the collected records. If the program is killed, the file has all of it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// The number of bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of messages.
    pub fn messages(&self) -> u64 {
        self.messages
    }
}
