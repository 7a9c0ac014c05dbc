//! The id of a message: its feed, and its sequence number there.

use std::fmt;
use std::str::FromStr;

/// The identity of a feed; or, for other sources, random bytes that the bridge chose at its start.
pub type FeedId = [u8; 16];

/// The id of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// The feed.
    pub feed: FeedId,
    /// The sequence number.
    pub sequence: u64,
}

/// The sequence number before the first one.
const BEGIN: u64 = u64::MAX;
/// What stands for [`BEGIN`] in the text of an id.
const BEGIN_TEXT: &str = "begin";

impl MessageId {
    /// The id before the first message of a feed.
    pub fn begin(feed: FeedId) -> Self {
        let sequence = BEGIN;
        Self { feed, sequence }
    }

    /// The sequence number after this one.
    pub fn next(&self) -> u64 {
        self.sequence.wrapping_add(1)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:032x}-", u128::from_be_bytes(self.feed))?;
        match self.sequence {
            BEGIN => f.write_str(BEGIN_TEXT),
            sequence => write!(f, "{sequence}"),
        }
    }
}

impl FromStr for MessageId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (feed, sequence) = text.split_once('-').ok_or(())?;
        let is_hex = feed.len() == 32 && feed.bytes().all(|byte| byte.is_ascii_hexdigit());
        let feed = is_hex.then(|| u128::from_str_radix(feed, 16)).ok_or(())?;
        let is_decimal = sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = match sequence {
            BEGIN_TEXT => BEGIN,
            _ if is_decimal => sequence.parse().map_err(drop)?,
            _ => return Err(()),
        };
        Ok(Self {
            feed: feed.map_err(drop)?.to_be_bytes(),
            sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> MessageId {
        let feed = std::array::from_fn(|index| 0xf0 + index as u8);
        MessageId { feed, sequence }
    }

    #[test]
    fn text_and_back() {
        for id in [id(0), id(42), id(u64::MAX - 1), MessageId::begin([0; 16])] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(id(7).to_string(), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-7");
        assert_eq!(MessageId::begin([1; 16]).next(), 0);
    }

    #[test]
    fn other_texts() {
        let hex = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        for text in [
            String::new(),
            hex.into(),
            format!("{hex}-"),
            format!("{hex}-+1"),
            format!("{hex}--1"),
            format!("{hex}-18446744073709551616"),
            format!("{hex}0-1"),
            format!("+{}-1", &hex[1..]),
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(()), "{text}");
        }
    }
}
