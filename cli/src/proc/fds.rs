//! The descriptors of a process.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;

/// The files to which the descriptors of a process refer, as the kernel shows them: a path, or
/// `socket:[NUMBER]`.
pub fn targets(pid: i32) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links.map(|link| link.into_os_string().into_vec()).collect())
}

/// The number of a socket in the form `socket:[NUMBER]`.
pub fn socket(target: &[u8]) -> Option<u64> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        assert_eq!(socket(b"socket:[123]"), Some(123));
        for target in ["", "socket:[]", "socket:[x]", "pipe:[1]", "/socket:[1]"] {
            assert_eq!(socket(target.as_bytes()), None, "{target}");
        }
    }
}
