//! JSON. Control characters beyond those that JSON escapes are escaped too: a user may print the
//! output on a terminal.

use super::printable;
use crate::error::{Error, Result};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};
use std::io::{self, Write};

/// A name that another program has chosen. In JSON it is a string. A name that is not UTF-8 is an
/// object: `text` has U+FFFD in place of the other bytes, and `hex` has all bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub Vec<u8>);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut object = serializer.serialize_struct("Name", 2)?;
        object.serialize_field("text", &String::from_utf8_lossy(&self.0))?;
        object.serialize_field("hex", &hex)?;
        object.end()
    }
}

/// A value on one line.
pub fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Safe(CompactFormatter));
    value
        .serialize(&mut serializer)
        .map_err(|error| Error::new(format!("JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The compact form, with more characters escaped.
struct Safe(CompactFormatter);

impl Formatter for Safe {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if printable::is_unsafe(character) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                self.0
                    .write_string_fragment(writer, character.encode_utf8(&mut [0; 4]))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(line(value).unwrap()).unwrap()
    }

    #[test]
    fn unsafe_characters_are_escaped_and_come_back() {
        let name = "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{e0001}\"\\ä";
        let json = text(&name);
        assert!(!json.trim_end().chars().any(printable::is_unsafe), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }

    #[test]
    fn names() {
        assert_eq!(text(&Name(b"/a".to_vec())), "\"/a\"\n");
        assert_eq!(
            text(&Name(b"a\xff".to_vec())),
            "{\"text\":\"a\u{fffd}\",\"hex\":\"61ff\"}\n"
        );
    }
}
