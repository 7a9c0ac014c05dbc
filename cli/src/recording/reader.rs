//! Reading a recording, which may be truncated or hostile: every number is checked before it is
//! used.

use super::layout::{HEAD, HEADER, Head, Header, TOTALS, Type};
use crate::error::{Error, Result};
use crate::messages::MESSAGE_MAX;
use std::io::{self, Read, Seek, SeekFrom};

/// Reads a recording.
pub struct Reader<R: Read> {
    file: R,
    header: Header,
    messages: u64,
    next: u64,
    time: u64,
    bytes: u64,
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program that recorded it has completed it. This number of messages was lost.
    Complete(u64),
    /// The recording is truncated: it ends within a record, or without its last record.
    Truncated,
}

/// A message of a recording, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message with this number, received at this time after the beginning.
    Message(u64, u64),
    /// The end.
    End(Ending),
}

/// The result of [`survey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The length of the longest message.
    pub longest: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// The bytes of a message that are read at once.
const CHUNK: usize = 1 << 16;

/// Fills the buffer. Returns the number of bytes, which is smaller at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::new(format!("the recording: {error}"))),
        }
    }
    Ok(len)
}

impl<R: Read> Reader<R> {
    /// Reads the beginning.
    pub fn new(mut file: R) -> Result<Self> {
        let mut bytes = [0; HEADER];
        if fill(&mut file, &mut bytes)? < HEADER {
            return Err(Error::new("the recording: not a recording"));
        }
        let header = Header::from_bytes(&bytes);
        Ok(Self {
            file,
            header: header.map_err(|error| Error::new(format!("the recording: {error}")))?,
            messages: 0,
            next: 0,
            time: 0,
            bytes: HEADER as u64,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of messages that were read.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    fn damaged(&self, what: &str) -> Error {
        let number = self.messages + 1;
        Error::new(format!(
            "the recording: record {number}, at byte {}: {what}",
            self.bytes
        ))
    }

    /// Reads and checks the head of a record; none if the file ends.
    fn head(&mut self) -> Result<Option<Head>> {
        let mut bytes = [0; HEAD];
        if fill(&mut self.file, &mut bytes)? < HEAD {
            return Ok(None);
        }
        let head = Head::from_bytes(&bytes).ok_or_else(|| self.damaged("the head is damaged"))?;
        match head.of_type {
            Type::End if head.len as usize != TOTALS => return Err(self.damaged("a wrong end")),
            Type::Message if head.len == 0 || head.len as usize > MESSAGE_MAX => {
                return Err(self.damaged("a wrong length"));
            }
            _ => {}
        }
        if head.time < self.time {
            return Err(self.damaged("the time goes back"));
        }
        if head.sequence < self.next {
            return Err(self.damaged("the sequence number goes back"));
        }
        Ok(Some(head))
    }

    /// Takes a record into account whose body has been read.
    fn pass(&mut self, head: &Head) {
        self.bytes += (HEAD + head.len as usize) as u64;
        self.time = head.time;
        if head.of_type == Type::Message {
            self.messages += 1;
            self.next = head.sequence.saturating_add(1);
        }
    }

    /// Reads the next message into `message`.
    pub fn next(&mut self, message: &mut Vec<u8>) -> Result<Next> {
        let Some(head) = self.head()? else {
            return Ok(Next::End(Ending::Truncated));
        };
        read_body(&mut self.file, head.len as usize, message)?;
        if message.len() < head.len as usize {
            return Ok(Next::End(Ending::Truncated));
        }
        if crc32fast::hash(message) != head.checksum {
            return Err(self.damaged("the message is damaged"));
        }
        if head.of_type == Type::Message {
            self.pass(&head);
            return Ok(Next::Message(head.sequence, head.time));
        }
        let mut numbers = message.chunks_exact(8).map(|bytes| {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            u64::from_le_bytes(number)
        });
        let (messages, lost) = (numbers.next(), numbers.next());
        if messages != Some(self.messages) {
            return Err(self.damaged("the end counts other messages"));
        }
        self.pass(&head);
        Ok(Next::End(Ending::Complete(lost.unwrap_or(0))))
    }
}

/// Reads the bytes after a head. The file may be shorter than the length says, so the buffer grows
/// with the bytes that were read.
fn read_body(file: &mut impl Read, len: usize, body: &mut Vec<u8>) -> Result<()> {
    body.clear();
    while body.len() < len {
        let before = body.len();
        let chunk = (len - before).min(CHUNK);
        body.resize(before + chunk, 0);
        let read = fill(file, body.get_mut(before..).unwrap_or_default())?;
        body.truncate(before + read);
        if read < chunk {
            break;
        }
    }
    Ok(())
}

/// Reads the heads of all records of a file, and goes back to its beginning.
pub fn survey<R: Read + Seek>(file: R) -> Result<(R, Survey)> {
    let failed = |error| Error::new(format!("the recording: {error}"));
    let mut reader = Reader::new(file)?;
    let end = reader.file.seek(SeekFrom::End(0)).map_err(failed)?;
    reader
        .file
        .seek(SeekFrom::Start(HEADER as u64))
        .map_err(failed)?;
    let mut survey = Survey {
        bytes: end,
        ..Survey::default()
    };
    while let Some(head) = reader.head()? {
        if head.of_type == Type::End || reader.bytes + u64::from(head.len) > end {
            break;
        }
        survey.longest = survey.longest.max(head.len.into());
        reader.file.seek_relative(head.len.into()).map_err(failed)?;
        reader.pass(&head);
    }
    let mut file = reader.file;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((file, survey))
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;
    use std::io::Cursor;

    /// A recording of three messages.
    fn recording() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &Header::default()).unwrap();
        for (number, message) in [&b"one"[..], b"two", &[7; 1000]].iter().enumerate() {
            writer
                .message(message, 10 * number as u64, number as u64)
                .unwrap();
        }
        writer.finish(18, 5).unwrap();
        file
    }

    /// Reads all messages: their number and the ending.
    fn read(file: &[u8]) -> Result<(u64, Ending)> {
        let mut reader = Reader::new(file)?;
        let mut message = Vec::new();
        loop {
            if let Next::End(ending) = reader.next(&mut message)? {
                return Ok((reader.messages(), ending));
            }
        }
    }

    #[test]
    fn complete() {
        assert_eq!(read(&recording()).unwrap(), (3, Ending::Complete(18)));
        let (_, survey) = survey(Cursor::new(recording())).unwrap();
        assert_eq!(
            (survey.longest, survey.bytes),
            (1000, recording().len() as u64)
        );
    }

    #[test]
    fn truncated_anywhere() {
        let file = recording();
        for len in HEADER..file.len() {
            let (messages, ending) = read(&file[..len]).unwrap();
            assert_eq!(ending, Ending::Truncated, "{len}");
            let passed = [HEAD + 3, 2 * (HEAD + 3), 2 * (HEAD + 3) + HEAD + 1000];
            let expected = passed.iter().filter(|end| HEADER + **end <= len).count();
            assert_eq!(messages, expected as u64, "{len}");
            assert!(survey(Cursor::new(&file[..len])).is_ok());
        }
        for len in 0..HEADER {
            assert!(read(&file[..len]).is_err());
        }
    }

    #[test]
    fn every_changed_byte_is_found() {
        let file = recording();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }

    /// A file whose checksums are right and whose numbers are wrong.
    fn forged(heads: &[Head]) -> Vec<u8> {
        let mut file = Header::default().to_bytes().to_vec();
        for head in heads {
            file.extend_from_slice(&head.to_bytes());
            file.extend_from_slice(&[0; 16][..head.len.min(16) as usize]);
        }
        file
    }

    fn head(of_type: Type, len: u32, sequence: u64, time: u64) -> Head {
        let checksum = crc32fast::hash(&[0; 16][..len.min(16) as usize]);
        Head {
            len,
            of_type,
            sequence,
            time,
            checksum,
        }
    }

    #[test]
    fn hostile_numbers() {
        let message = |len, sequence, time| head(Type::Message, len, sequence, time);
        for heads in [
            &[message(0, 0, 0)][..],
            &[message(u32::MAX, 0, 0)],
            &[message(1, 5, 0), message(1, 5, 0)],
            &[message(1, 5, 7), message(1, 6, 6)],
            &[message(1, u64::MAX, 0), message(1, 0, 0)],
            &[head(Type::End, 8, 0, 0)],
            // It counts 0 messages.
            &[message(1, 0, 0), head(Type::End, 16, 1, 0)],
        ] {
            assert!(read(&forged(heads)).is_err(), "{heads:?}");
        }
        // The length is possible, but the file is short: no memory is allocated for it.
        let long = forged(&[message(MESSAGE_MAX as u32, 0, 0)]);
        assert_eq!(read(&long).unwrap(), (0, Ending::Truncated));
    }
}
