//! The bytes of a recording.

/// The first bytes of a recording. The first one is not ASCII, so that nothing takes it for text.
pub const MAGIC: [u8; 8] = *b"\x89uipcrec";
/// The version of the layout.
pub const VERSION: u32 = 1;
/// The size of the header.
pub const HEADER: usize = 64;
/// The size of the head of a record.
pub const HEAD: usize = 32;
/// The size of the body of the last record.
pub const TOTALS: usize = 16;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A message.
    Message = 1,
    /// The end of the recording.
    End = 2,
}

/// The header of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The identity of the feed.
    pub feed_id: [u8; 16],
    /// When the recording began, in nanoseconds since 1970 (UTC).
    pub begin: u64,
}

/// The beginning of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of bytes after it.
    pub len: u32,
    /// The type.
    pub of_type: Type,
    /// The sequence number of the message.
    pub sequence: u64,
    /// When the message was received, in nanoseconds since the beginning.
    pub time: u64,
    /// The CRC-32 of the bytes after the head.
    pub checksum: u32,
}

/// Reads `N` bytes at `at`. The caller's array is long enough.
fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    field
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(field) {
        *to = *from;
    }
}

impl Header {
    /// The bytes of the header.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &(HEADER as u32).to_le_bytes());
        put(&mut bytes, 16, &self.feed_id);
        put(&mut bytes, 32, &self.begin.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        put(&mut bytes, 60, &checksum.to_le_bytes());
        bytes
    }

    /// Reads the header, or describes the error.
    pub fn from_bytes(bytes: &[u8; HEADER]) -> Result<Self, String> {
        if !bytes.starts_with(&MAGIC) {
            return Err("not a recording".into());
        }
        let version = u32::from_le_bytes(at(bytes, 8));
        if version != VERSION {
            return Err(format!("a recording of version {version}"));
        }
        let checksum = u32::from_le_bytes(at(bytes, 60));
        let size = u32::from_le_bytes(at(bytes, 12));
        if crc32fast::hash(&bytes[..60]) != checksum || size as usize != HEADER {
            return Err("the beginning is damaged".into());
        }
        Ok(Self {
            feed_id: at(bytes, 16),
            begin: u64::from_le_bytes(at(bytes, 32)),
        })
    }
}

impl Head {
    /// The bytes of the head.
    pub fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        put(&mut bytes, 0, &self.len.to_le_bytes());
        put(&mut bytes, 4, &(self.of_type as u32).to_le_bytes());
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.time.to_le_bytes());
        put(&mut bytes, 24, &self.checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..28]);
        put(&mut bytes, 28, &checksum.to_le_bytes());
        bytes
    }

    /// Reads a head; none if it is damaged.
    pub fn from_bytes(bytes: &[u8; HEAD]) -> Option<Self> {
        if crc32fast::hash(&bytes[..28]) != u32::from_le_bytes(at(bytes, 28)) {
            return None;
        }
        Some(Self {
            len: u32::from_le_bytes(at(bytes, 0)),
            of_type: match u32::from_le_bytes(at(bytes, 4)) {
                1 => Type::Message,
                2 => Type::End,
                _ => return None,
            },
            sequence: u64::from_le_bytes(at(bytes, 8)),
            time: u64::from_le_bytes(at(bytes, 16)),
            checksum: u32::from_le_bytes(at(bytes, 24)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_EXAMPLE: Head = Head {
        len: 5,
        of_type: Type::Message,
        sequence: 0x0102_0304_0506_0708,
        time: 9,
        checksum: 10,
    };

    #[test]
    fn the_layout_does_not_change() {
        let header = Header {
            feed_id: [7; 16],
            begin: 0x1122_3344_5566_7788,
        };
        let bytes = header.to_bytes();
        assert_eq!(&bytes[..16], b"\x89uipcrec\x01\0\0\0\x40\0\0\0");
        assert_eq!(&bytes[16..40], b"\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x88\x77\x66\x55\x44\x33\x22\x11");
        assert_eq!(Header::from_bytes(&bytes), Ok(header));
        let bytes = HEAD_EXAMPLE.to_bytes();
        assert_eq!(
            &bytes[..24],
            b"\x05\0\0\0\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0"
        );
        assert_eq!(Head::from_bytes(&bytes), Some(HEAD_EXAMPLE));
    }

    #[test]
    fn a_changed_bit_is_found() {
        let bytes = HEAD_EXAMPLE.to_bytes();
        for bit in 0..8 * HEAD {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::from_bytes(&damaged), None);
        }
        let bytes = Header::default().to_bytes();
        for bit in 0..8 * HEADER {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::from_bytes(&damaged).is_err());
        }
    }
}
