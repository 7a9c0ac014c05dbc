//! Addresses: a path, or an abstract name, and the type of the object there.

use crate::error::{Error, Result};
use crate::output::escaped;
use nix::sys::stat::{SFlag, stat};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The type of the object at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A feed.
    Feed,
    /// The listener of channels.
    Channel,
    /// A FIFO.
    Fifo,
}

/// An address as a user writes it: `feed:PATH`, `channel:PATH`, `fifo:PATH`, or a path alone. For
/// feeds and channels, a path can also be an abstract name, which begins with `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// None if the user has not said it.
    kind: Option<Kind>,
    path: CString,
}

/// The prefixes of an address.
const PREFIXES: [(&[u8], Kind); 3] = [
    (b"feed:", Kind::Feed),
    (b"channel:", Kind::Channel),
    (b"fifo:", Kind::Fifo),
];

impl Address {
    /// Reads an address, for clap.
    pub fn parse(text: OsString) -> std::result::Result<Self, String> {
        let bytes = text.into_vec();
        let prefix = PREFIXES
            .iter()
            .find(|(prefix, _)| bytes.starts_with(prefix));
        let path = &bytes[prefix.map_or(0, |(prefix, _)| prefix.len())..];
        if path.is_empty() {
            return Err("the path is empty".into());
        }
        Ok(Self {
            kind: prefix.map(|(_, kind)| *kind),
            path: CString::new(path).map_err(|_| "the path contains a null byte")?,
        })
    }

    /// The parser for clap.
    pub fn parser() -> impl clap::builder::TypedValueParser<Value = Self> {
        use clap::builder::{OsStringValueParser, TypedValueParser};
        OsStringValueParser::new().try_map(Self::parse)
    }

    /// The path, or the abstract name.
    pub fn path(&self) -> &CString {
        &self.path
    }

    /// The type of the object. A path without a prefix is a FIFO if there is one, and otherwise of
    /// the `expected` type.
    pub fn kind(&self, expected: Kind) -> Kind {
        let is_fifo = || {
            let found = stat(OsStr::from_bytes(self.path.as_bytes()));
            found.is_ok_and(|found| {
                SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
            })
        };
        match self.kind {
            Some(kind) => kind,
            None if is_fifo() => Kind::Fifo,
            None => expected,
        }
    }

    /// Fails if the address is not of this kind.
    pub fn require(&self, kind: Kind) -> Result<()> {
        match self.kind(kind) {
            found if found == kind => Ok(()),
            _ => Err(Error::usage(format!("{self}: this command needs a {kind}"))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.path.as_bytes()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Feed => "feed",
            Self::Channel => "channel",
            Self::Fifo => "FIFO",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text.into()).unwrap()
    }

    #[test]
    fn prefixes() {
        for (text, kind, path) in [
            ("feed:/a", Kind::Feed, c"/a"),
            ("channel:@a", Kind::Channel, c"@a"),
            ("fifo:feed:x", Kind::Fifo, c"feed:x"),
            ("/not/there", Kind::Feed, c"/not/there"),
        ] {
            let address = address(text);
            assert_eq!(address.kind(Kind::Feed), kind, "{text}");
            assert_eq!(address.path().as_c_str(), path, "{text}");
        }
    }

    #[test]
    fn refused() {
        assert!(Address::parse("".into()).is_err());
        assert!(Address::parse("feed:".into()).is_err());
        assert!(Address::parse(OsString::from_vec(b"a\0b".to_vec())).is_err());
    }

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(address("/a\u{1b}[2J").to_string(), "/a\\x1b[2J");
    }
}
