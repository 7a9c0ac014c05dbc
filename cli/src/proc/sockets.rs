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
    parse(&fs::read("/proc/net/unix").unwrap_or_default())
}

/// A name can contain a newline, and so something like a line with the number of another socket. A
/// number that occurs twice is ignored.
fn parse(text: &[u8]) -> HashMap<u64, Listener> {
    let mut sockets = HashMap::new();
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        if let Some((number, listener)) = parse_line(line) {
            sockets
                .entry(number)
                .and_modify(|known| *known = None)
                .or_insert(listener);
        }
    }
    let listeners = sockets.into_iter();
    let listeners = listeners.filter_map(|(number, listener)| Some((number, listener?)));
    listeners.collect()
}

/// Parses a line: the kernel's address, references, protocol, flags, type, state, number, path. Returns
/// the number, and the listener if it is one of the library's type.
fn parse_line(line: &[u8]) -> Option<(u64, Option<Listener>)> {
    let mut fields = line.splitn(7, |byte| *byte == b' ');
    let mut hexadecimal = |skip: usize| {
        let text = std::str::from_utf8(fields.nth(skip)?).ok()?;
        u32::from_str_radix(text, 16).ok()
    };
    let (flags, kind) = (hexadecimal(3)?, hexadecimal(0)?);
    // Spaces align the number.
    let rest = fields.nth(1)?.trim_ascii_start();
    let end = rest.iter().position(|byte| *byte == b' ');
    let (number, address) = rest.split_at(end.unwrap_or(rest.len()));
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let address = address.get(1..).unwrap_or_default().to_vec();
    let is_listener = flags & LISTENS != 0 && kind == SEQPACKET && !address.is_empty();
    Some((number, is_listener.then_some(Listener { address })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENS: &str = "0: 00000002 00000000 00010000 0005 01";

    #[test]
    fn lines() {
        let line = format!("{LISTENS} 31337 /run/a b");
        let (number, listener) = parse_line(line.as_bytes()).unwrap();
        assert_eq!(
            (number, &listener.unwrap().address[..]),
            (31337, &b"/run/a b"[..])
        );
        let line = format!("{LISTENS}   137 @name");
        assert_eq!(parse_line(line.as_bytes()).unwrap().0, 137);
        for line in [
            "0: 00000002 00000000 00010000 0001 01 31337 /run/stream",
            "0: 00000003 00000000 00000000 0005 03 31337 /run/accepted",
            "0: 00000003 00000000 00010000 0005 03 31337",
        ] {
            assert_eq!(parse_line(line.as_bytes()), Some((31337, None)), "{line}");
        }
        for line in ["", "Num RefCount Protocol Flags Type St Inode Path"] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
    }

    /// The name of a socket contains the line of another one.
    #[test]
    fn forged_lines() {
        let text = format!(
            "Num\n{LISTENS} 1 /run/one\n{LISTENS} 2 /run/x\n{LISTENS} 3 /run/one\n\
            0: 00000003 00000000 00000000 0001 03 3\n"
        );
        let found = parse(text.as_bytes());
        let mut numbers: Vec<&u64> = found.keys().collect();
        numbers.sort();
        assert_eq!(numbers, [&1, &2]);
    }
}
