//! The local sockets that listen.

use std::collections::HashMap;
use std::fs;

/// The address of a socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// As it was given to bind(2): a path, which may be relative, or `@` and an abstract name.
    pub address: Vec<u8>,
}

/// The flag of a socket that listens, in the column `Flags` of /proc/net/unix.
const LISTENS: u32 = 1 << 16;
/// The type `SOCK_SEQPACKET`, in the column `Type`.
const SEQPACKET: u32 = 5;

/// The listeners of the library's type in this network namespace, by the numbers of their sockets.
pub fn listeners() -> HashMap<u64, Listener> {
    let text = fs::read("/proc/net/unix").unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(parse_line)
        .collect()
}

/// Parses a line: the kernel's address, references, protocol, flags, type, state, number, path.
fn parse_line(line: &[u8]) -> Option<(u64, Listener)> {
    let mut fields = line.splitn(7, |byte| *byte == b' ');
    let mut hexadecimal = |skip: usize| {
        let text = std::str::from_utf8(fields.nth(skip)?).ok()?;
        u32::from_str_radix(text, 16).ok()
    };
    let (flags, kind) = (hexadecimal(3)?, hexadecimal(0)?);
    if flags & LISTENS == 0 || kind != SEQPACKET {
        return None;
    }
    // Spaces align the number.
    let rest = fields.nth(1)?.trim_ascii_start();
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let (number, address) = rest.split_at(end);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let address = address.get(1..)?.to_vec();
    (!address.is_empty()).then_some((number, Listener { address }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0005 01 31337 /run/a b";
        let (number, listener) = parse_line(line).unwrap();
        assert_eq!((number, &listener.address[..]), (31337, &b"/run/a b"[..]));
        let line = b"0000000000000000: 00000002 00000000 00010000 0005 01   137 @name";
        assert_eq!(parse_line(line).unwrap().0, 137);
        for line in [
            "",
            "Num RefCount Protocol Flags Type St Inode Path",
            "0000000000000000: 00000002 00000000 00010000 0001 01 31337 /run/stream",
            "0000000000000000: 00000003 00000000 00000000 0005 03 31337 /run/accepted",
            "0000000000000000: 00000003 00000000 00010000 0005 03 31337",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
    }
}
