//! Walking through directories, by descriptors: another user can exchange a directory for a symbolic
//! link at any time.

use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The largest number of directories that are read.
const DIRECTORIES_MAX: usize = 10_000;
/// How deep directories are read. Each level has an open descriptor.
const DEPTH_MAX: usize = 100;

/// A file in a directory.
pub struct Found<'a> {
    pub directory: BorrowedFd<'a>,
    pub name: &'a CStr,
    /// The path by which it was found, for the output.
    pub path: PathBuf,
    /// Its status. A symbolic link is not followed.
    pub status: FileStat,
}

impl Found<'_> {
    /// Whether it has this type.
    pub fn is(&self, kind: SFlag) -> bool {
        SFlag::from_bits_truncate(self.status.st_mode) & SFlag::S_IFMT == kind
    }
}

/// Calls `visit` for each FIFO and each socket below a directory, in the order of their names. Returns
/// how many directories could not be read. Fails if the directory itself cannot be opened.
pub fn below(directory: &Path, visit: &mut dyn FnMut(&Found)) -> io::Result<usize> {
    let mut walk = Walk {
        visit,
        directories: 0,
        unread: 0,
    };
    walk.read(open(directory)?, directory, 0);
    Ok(walk.unread)
}

/// Calls `visit` for each regular file in a directory. Fails if the directory cannot be opened.
pub fn files(directory: &Path, visit: &mut dyn FnMut(&Found)) -> io::Result<()> {
    let mut opened = open(directory)?;
    for name in names(&mut opened, |kind| kind == Type::File) {
        let found = find(&opened, directory, &name);
        if let Some(found) = found.filter(|found| found.is(SFlag::S_IFREG)) {
            visit(&found);
        }
    }
    Ok(())
}

struct Walk<'a> {
    visit: &'a mut dyn FnMut(&Found),
    directories: usize,
    unread: usize,
}

impl Walk<'_> {
    fn read(&mut self, mut directory: Dir, path: &Path, depth: usize) {
        self.directories += 1;
        let is_wanted = |kind| matches!(kind, Type::Directory | Type::Fifo | Type::Socket);
        for name in names(&mut directory, is_wanted) {
            let Some(found) = find(&directory, path, &name) else {
                continue;
            };
            if found.is(SFlag::S_IFDIR) {
                let flags = FLAGS | OFlag::O_NOFOLLOW;
                let has_space = self.directories < DIRECTORIES_MAX && depth < DEPTH_MAX;
                match Dir::openat(&directory, &*name, flags, Mode::empty()) {
                    Ok(opened) if has_space => self.read(opened, &found.path, depth + 1),
                    _ => self.unread += 1,
                }
            } else if found.is(SFlag::S_IFIFO) || found.is(SFlag::S_IFSOCK) {
                (self.visit)(&found);
            }
        }
    }
}

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

fn open(directory: &Path) -> io::Result<Dir> {
    Ok(Dir::open(directory, FLAGS, Mode::empty())?)
}

/// The names of a directory whose types may be wanted, in their order.
fn names(directory: &mut Dir, is_wanted: impl Fn(Type) -> bool) -> Vec<CString> {
    let entries = directory.iter().flatten();
    let wanted = entries.filter(|entry| entry.file_type().is_none_or(&is_wanted));
    let names = wanted.map(|entry| entry.file_name().to_owned());
    let mut names: Vec<CString> = names
        .filter(|name| ![c".", c".."].contains(&name.as_c_str()))
        .collect();
    names.sort();
    names
}

fn find<'a>(directory: &'a Dir, path: &Path, name: &'a CStr) -> Option<Found<'a>> {
    let status = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    Some(Found {
        directory: directory.as_fd(),
        name,
        path: path.join(OsStr::from_bytes(name.to_bytes())),
        status,
    })
}
