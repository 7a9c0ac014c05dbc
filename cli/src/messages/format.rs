//! The forms of messages on standard input and output.

use super::stop::{self, Stop};
use crate::error::{Context, Error, Result};
use crate::output::{Name, Output, escaped};
use clap::ValueEnum;
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// The form of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One message a line, as it is; on a terminal, as `escaped`
    #[default]
    Lines,
    /// One message a line; control characters and backslashes become escape sequences of C
    Escaped,
    /// One message a line, as hexadecimal digits
    Hex,
    /// The length as four bytes, the lowest first, and then the message
    Prefixed,
}

/// The number of bytes of the length in [`Format::Prefixed`].
pub const PREFIX: usize = 4;

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 16;

/// Writes messages to standard output.
pub struct Printer {
    form: Form,
    buffer: Vec<u8>,
    stdout: File,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Text(Format),
}

/// A message as JSON.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    length: usize,
    message: &'a Name,
}

/// A gap as JSON.
#[derive(Serialize)]
struct Gap {
    lost: u64,
}

impl Printer {
    /// A printer for this form, or for JSON. Binary messages are not written to a terminal.
    pub fn new(format: Format, output: &Output) -> Result<Self> {
        let is_terminal = io::stdout().is_terminal();
        let form = match format {
            _ if output.is_json() => Form::Json,
            Format::Prefixed if is_terminal => {
                return Err(Error::usage(
                    "standard output is a terminal: --format prefixed is binary",
                ));
            }
            Format::Lines if is_terminal => Form::Text(Format::Escaped),
            format => Form::Text(format),
        };
        // The standard library repeats writes that a signal has ended.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        Ok(Self {
            form,
            buffer: Vec::new(),
            stdout: stdout.context("standard output")?.into(),
        })
    }

    /// Prints a message.
    pub fn message(
        &mut self,
        message: &[u8],
        sequence: Option<u64>,
    ) -> std::result::Result<(), Stop> {
        match self.form {
            Form::Json => self.json(&Message {
                sequence,
                length: message.len(),
                message: &Name(message.to_vec()),
            })?,
            Form::Text(format) => encode(format, message, &mut self.buffer)?,
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// Reports that messages were lost: in JSON as a line of its own, and otherwise on standard
    /// error.
    pub fn lost(&mut self, count: u64, output: &Output) -> std::result::Result<(), Stop> {
        match self.form {
            Form::Json => self.json(&Gap { lost: count })?,
            Form::Text(_) => output.note(&format!("{count} messages were lost")),
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let line = crate::output::json_line(value)?;
        self.buffer.extend_from_slice(&line);
        Ok(())
    }

    /// Writes the collected messages. A signal ends a write that waits.
    pub fn flush(&mut self) -> std::result::Result<(), Stop> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match self.stdout.write(rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => stop::check()?,
                Err(error) => return Err(Error::new(format!("standard output: {error}")).into()),
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Appends a message in this form.
pub fn encode(format: Format, message: &[u8], to: &mut Vec<u8>) -> Result<()> {
    match format {
        Format::Lines => to.extend_from_slice(message),
        Format::Escaped => to.extend_from_slice(escaped(message).as_bytes()),
        Format::Hex => {
            for byte in message {
                let _ = write!(to, "{byte:02x}");
            }
        }
        Format::Prefixed => {
            let len = u32::try_from(message.len());
            let len = len.map_err(|_| Error::new("the message is too long"))?;
            to.extend_from_slice(&len.to_le_bytes());
            to.extend_from_slice(message);
        }
    }
    if format != Format::Prefixed {
        to.push(b'\n');
    }
    Ok(())
}

/// The message in a line, without its newline.
pub fn decode(format: Format, line: &[u8]) -> std::result::Result<Vec<u8>, String> {
    match format {
        Format::Lines | Format::Prefixed => Ok(line.to_vec()),
        Format::Hex => from_hex(line),
        Format::Escaped => unescaped(line),
    }
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

fn from_hex(line: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = line
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| digit(*byte))
        .collect();
    let digits = digits.ok_or("not a hexadecimal digit")?;
    if digits.len() % 2 != 0 {
        return Err("an odd number of hexadecimal digits".into());
    }
    Ok(digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

/// The inverse of [`escaped`].
fn unescaped(line: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut result = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            result.push(*byte);
            continue;
        }
        let Some((kind, after)) = rest.split_first() else {
            return Err("a backslash at the end".into());
        };
        rest = after;
        match kind {
            b'\\' => result.push(b'\\'),
            b'n' => result.push(b'\n'),
            b'r' => result.push(b'\r'),
            b't' => result.push(b'\t'),
            b'0' => result.push(0),
            b'x' => {
                let digits = rest
                    .get(..2)
                    .map(from_hex)
                    .ok_or("\\x needs two digits")??;
                result.extend(digits);
                rest = &rest[2..];
            }
            b'u' => {
                let (character, after) = unicode(rest).ok_or("\\u needs {…} with a character")?;
                result.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            other => {
                return Err(format!(
                    "\\{} is not an escape sequence",
                    escaped(&[*other])
                ));
            }
        }
    }
    Ok(result)
}

/// The character of `{HEX}` at the beginning, and the rest.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let text = text.strip_prefix(b"{")?;
    let end = text.iter().position(|byte| *byte == b'}')?;
    let digits = std::str::from_utf8(&text[..end]).ok()?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(number)?, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Format; 2] = [Format::Escaped, Format::Hex];

    #[test]
    fn every_message_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let messages = [
            &all[..],
            b"a\\n\n\r\t\\",
            "größe\u{9b}\u{202e}".as_bytes(),
            b"",
            b"\\u{41}",
        ];
        for (format, message) in FORMATS
            .iter()
            .flat_map(|format| messages.map(|m| (*format, m)))
        {
            let mut line = Vec::new();
            encode(format, message, &mut line).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'));
            assert!(
                line.iter().all(|byte| *byte >= b' ' && *byte != 0x7f),
                "{line:?}"
            );
            assert_eq!(decode(format, &line).as_deref(), Ok(message));
        }
    }

    #[test]
    fn wrong_lines() {
        for line in [
            "\\",
            "\\x",
            "\\x1",
            "\\xgg",
            "\\q",
            "\\u41",
            "\\u{110000}",
            "\\u{",
            "\\\u{1b}",
        ] {
            let error = decode(Format::Escaped, line.as_bytes()).unwrap_err();
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        for line in ["0", "0x41", "zz", "414"] {
            assert!(decode(Format::Hex, line.as_bytes()).is_err(), "{line}");
        }
        assert_eq!(
            decode(Format::Hex, b"41 42\t43").as_deref(),
            Ok(&b"ABC"[..])
        );
    }
}
