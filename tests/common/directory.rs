//! The working directory of a test, paths, and mounts.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io, ptr, thread};

/// An empty directory, which is the working directory until it is dropped and removed.
pub struct WorkingDirectory {
    path: PathBuf,
}

impl WorkingDirectory {
    pub fn new() -> Self {
        let path = env::temp_dir().join("d");
        fs::create_dir(&path).unwrap();
        env::set_current_dir(&path).unwrap();
        Self { path }
    }

    /// All files below the directory: name, type and mode, owner, links.
    pub fn list(&self) -> Vec<String> {
        let mut lines = Vec::new();
        walk(&self.path, &mut |path, meta| {
            lines.push(format!(
                "{} {:o} {}:{} {}{}",
                path.strip_prefix(&self.path).unwrap().display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.nlink(),
                if meta.file_type().is_fifo() {
                    " FIFO"
                } else {
                    ""
                },
            ));
        });
        lines.sort();
        lines
    }
}

impl Default for WorkingDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        let left = env::set_current_dir(env::temp_dir());
        let removed = fs::remove_dir_all(&self.path);
        if !thread::panicking() {
            left.and(removed).unwrap();
        }
    }
}

/// Visits all files below a directory. Makes each subdirectory accessible to its owner.
fn walk(directory: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        visit(&path, &meta);
        if meta.is_dir() {
            set_mode(&path, 0o700);
            walk(&path, visit);
        }
    }
}

pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn c_path(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).unwrap()
}

/// Lets another user reach the working directory's files by relative paths.
pub fn open_to_all() {
    set_mode(".", 0o755);
}

/// Enters a mount namespace: other processes do not see later mounts.
pub fn own_mount_namespace() {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: strings, and no data.
    let done = unsafe { libc::mount(none, root, none, private, ptr::null()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

pub fn mount_tmpfs(directory: &CStr, flags: libc::c_ulong, options: &CStr) {
    let file_system = c"tmpfs".as_ptr();
    let data = options.as_ptr().cast();
    // SAFETY: strings.
    let done = unsafe { libc::mount(file_system, directory.as_ptr(), file_system, flags, data) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
