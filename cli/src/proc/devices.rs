//! The file systems whose files are in memory. A page of another file may come from a process (FUSE),
//! which can delay a read of it without end.

use super::maps::Mapping;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use std::collections::BTreeSet;
use std::fs;

/// The devices of file systems in memory.
#[derive(Debug, Default)]
pub struct Devices {
    /// Those of memfds and System V segments.
    unnamed: Vec<u64>,
    /// The tmpfs that this process sees.
    named: BTreeSet<u64>,
}

impl Devices {
    /// Finds the devices.
    pub fn find() -> Self {
        let kinds = [MFdFlags::empty(), MFdFlags::MFD_HUGETLB].into_iter();
        let memfds = kinds.filter_map(|kind| {
            let memfd = memfd_create(c"unixipc", MFdFlags::MFD_CLOEXEC | kind).ok()?;
            Some(fstat(&memfd).ok()?.st_dev)
        });
        Self {
            unnamed: memfds.collect(),
            named: tmpfs_of("self"),
        }
    }

    /// Removes the mappings of a process whose files are not in memory: a path does not say on which
    /// file system it is.
    pub fn retain_in_memory(&self, pid: i32, mappings: &mut Vec<Mapping>) {
        // The process may have mounted another tmpfs.
        let mut others = None;
        mappings.retain(|mapping| {
            let device = mapping.file.device;
            match mapping.path.starts_with(b"/dev/shm/") {
                false => self.unnamed.contains(&device),
                true => {
                    self.named.contains(&device)
                        || others
                            .get_or_insert_with(|| tmpfs_of(&pid.to_string()))
                            .contains(&device)
                }
            }
        });
    }
}

/// The tmpfs that a process sees.
fn tmpfs_of(process: &str) -> BTreeSet<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(tmpfs).collect()
}

/// The device in a line of /proc/PID/mountinfo such as `25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw`, if
/// it is a tmpfs. Spaces in paths are escaped.
fn tmpfs(line: &str) -> Option<u64> {
    let (mount, file_system) = line.split_once(" - ")?;
    if file_system.split(' ').next()? != "tmpfs" {
        return None;
    }
    let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
    Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = "25 24 0:23 / /dev/shm rw,relatime shared:1 - tmpfs tmpfs rw,size=24684084k";
        assert_eq!(tmpfs(line), Some(libc::makedev(0, 23)));
        for line in [
            "",
            "25 24 0:23 / /dev/shm rw - fuse.tmpfs tmpfs rw",
            "25 24 0:23 / /dev/shm rw - fuse - tmpfs",
            "25 24 0:23 / /\\040-\\040tmpfs rw - ext4 /dev/vda rw",
            "25 24 x:23 / /dev/shm rw - tmpfs tmpfs rw",
        ] {
            assert_eq!(tmpfs(line), None, "{line}");
        }
    }
}
