//! The mappings of a process that show files in memory.

use super::devices::Devices;
use std::fs;
use std::io;

/// The identity of a file: its device and its inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// A mapping that is shared with other processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub len: u64,
    pub writable: bool,
    /// Where it begins in the file.
    pub offset: u64,
    pub file: FileId,
    /// As the kernel shows it, without `(deleted)`.
    pub path: Vec<u8>,
    /// Whether the file has no name.
    pub deleted: bool,
}

/// The shared mappings of a process whose files may be in memory, and whether it has mapped
/// libunixipc.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    pub mappings: Vec<Mapping>,
    pub has_library: bool,
}

impl Maps {
    /// Reads the mappings of a process.
    pub fn read(pid: i32, devices: &Devices) -> io::Result<Self> {
        let mut maps = Self::parse(&fs::read(format!("/proc/{pid}/maps"))?);
        devices.retain_in_memory(pid, &mut maps.mappings);
        Ok(maps)
    }

    fn parse(text: &[u8]) -> Self {
        let mut maps = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            if !maps.has_library && contains(line, b"/libunixipc.so") {
                maps.has_library = true;
            }
            maps.mappings.extend(parse_line(line));
        }
        maps
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// Parses a line such as `7f00-7f10 rw-s 00010000 00:01 1027    /memfd:unixipc-feed (deleted)`. None
/// if it is no shared mapping of a memfd, of a file in /dev/shm or of a System V segment.
fn parse_line(line: &[u8]) -> Option<Mapping> {
    const DELETED: &[u8] = b" (deleted)";
    let mut rest = line;
    let mut field = || {
        let at = rest.iter().position(|byte| *byte == b' ')?;
        let (field, behind) = rest.split_at(at);
        let next = behind.iter().position(|byte| *byte != b' ')?;
        rest = behind.get(next..)?;
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?.as_bytes();
    let offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?;
    if permissions.get(3) != Some(&b's') {
        return None;
    }
    let deleted = rest.ends_with(DELETED);
    let path = rest.strip_suffix(DELETED).unwrap_or(rest);
    if !path.starts_with(b"/memfd:")
        && !path.starts_with(b"/dev/shm/")
        && !path.starts_with(b"/SYSV")
    {
        return None;
    }
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let start = hex(start)?;
    Some(Mapping {
        start,
        len: hex(end)?.checked_sub(start)?,
        writable: permissions.get(1) == Some(&b'w'),
        offset: hex(offset)?,
        file: FileId {
            device: libc::makedev(hex(major)? as u32, hex(minor)? as u32),
            inode: inode.parse().ok()?,
        },
        path: unescape(path),
        deleted,
    })
}

/// The kernel writes a newline in a path as `\012`.
fn unescape(path: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut result = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(NEWLINE) {
            result.push(b'\n');
            rest = behind;
        } else {
            result.push(*first);
            rest = others;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = b"7f0000010000-7f0000030000 rw-s 00010000 00:01 1027                       /memfd:unixipc-feed (deleted)";
        let mapping = parse_line(line).unwrap();
        assert_eq!((mapping.start, mapping.len), (0x7f00_0001_0000, 0x20000));
        assert_eq!((mapping.offset, mapping.file.inode), (0x10000, 1027));
        assert_eq!(mapping.path, b"/memfd:unixipc-feed");
        assert!(mapping.writable && mapping.deleted);
        let line = b"7f00-8f00 r--s 00000000 00:1b 3                          /dev/shm/a b\\012c";
        let mapping = parse_line(line).unwrap();
        assert_eq!(mapping.path, b"/dev/shm/a b\nc");
        assert!(!mapping.writable && !mapping.deleted);
    }

    #[test]
    fn other_lines() {
        for line in [
            "",
            "7f00-8f00",
            "7f00-8f00 rw-p 00000000 00:1b 3 /dev/shm/a",
            "7f00-8f00 rw-s 00000000 fd:01 3 /usr/lib/x",
            "8f00-7f00 rw-s 00000000 00:1b 3 /dev/shm/a",
            "x-y rw-s 00000000 00:1b 3 /dev/shm/a",
            "7f00-8f00 rw-s 00000000 00:00 0 ",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn library() {
        let maps = Maps::parse(b"7f00-8f00 r-xp 00000000 fd:01 3 /usr/lib/libunixipc.so.0.1.0\n");
        assert!(maps.has_library);
        assert!(maps.mappings.is_empty());
    }
}
