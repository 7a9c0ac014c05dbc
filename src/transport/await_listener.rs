//! Waiting for a listener between attempts to connect to it.
//!
//! An attempt fails while the path does not exist, or no process listens at it. The call then
//! sleeps until inotify(7) reports a change in the directory of the path. The watch is added before
//! the attempt that it follows, so no change is missed.
//!
//! Some reasons to try again are not a change in that directory. The sleep also ends after a pause
//! that doubles from [`PAUSE`]:
//!
//! | reason | pause |
//! |---|---|
//! | a listener has created the path, but not yet called listen(2) | begins again with each change |
//! | an abstract name; no directory yet, or one that may not be read; no inotify | up to [`PAUSE_MAX`] |
//! | a symbolic link to another directory, a renamed parent, a network file system | up to [`WATCHED_PAUSE_MAX`] |
//!
//! A process that may write the directory can cause changes without limit. After [`BURST`] changes
//! the call ignores further ones for a time that doubles with each, up to [`PAUSE_MAX`].

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::time::Duration;

/// The first pause between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest pause if the directory is not watched.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The longest pause if the directory is watched.
const WATCHED_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The number of changes that end a pause immediately.
const BURST: u32 = 4;
/// The number of attempts after which `EACCES` ends the wait: about 100 ms. A listener creates the
/// path before it gives it its mode.
const DENIALS_MAX: u32 = 7;

/// The longest path of a socket.
const PATH_MAX: usize = 107;

/// The events of the watch: a new path, a new mode, and the end of the directory.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Makes attempts to connect to `path`: one, or with `waits` as many as it takes until a process
/// listens there.
pub fn until_listening<T>(
    path: &CStr,
    waits: bool,
    deadline: &mut Deadline,
    mut attempt: impl FnMut(&mut Deadline) -> Result<T>,
) -> Result<T> {
    let mut wait = None;
    loop {
        match attempt(deadline) {
            // A socket of another type listens, so waiting does not help.
            Err(error) if error == Errno::EPROTOTYPE => return Err(errno!(ECONNREFUSED)),
            Err(error) if waits => wait
                .get_or_insert_with(|| ListenerWait::new(path))
                .after(error, deadline)?,
            connected => return connected,
        }
    }
}

/// The wait of one call.
struct ListenerWait {
    watch: Option<Watch>,
    /// The next pause, if no change ends it.
    pause: Duration,
    /// The number of changes since the last pause of [`PAUSE_MAX`].
    changes: u32,
    /// The number of successive attempts that failed with `EACCES`.
    denials: u32,
}

impl ListenerWait {
    /// Begins a wait for a listener at `path`, after the first attempt has failed.
    fn new(path: &CStr) -> Self {
        Self {
            watch: Watch::new(path),
            pause: PAUSE,
            changes: 0,
            denials: 0,
        }
    }

    /// Waits until another attempt can succeed, after one has failed with `error`. Fails with that
    /// error if it does not mean that a listener is missing, and if the call must not wait.
    fn after(&mut self, error: Errno, deadline: &mut Deadline) -> Result<()> {
        if deadline.is_never() {
            return Err(error);
        }
        match error.code() {
            libc::ENOENT | libc::ECONNREFUSED | libc::EPIPE => self.denials = 0,
            libc::EACCES if self.denials < DENIALS_MAX => {
                if self.denials == 0 {
                    self.pause = PAUSE;
                }
                self.denials += 1;
            }
            _ => return Err(error),
        }
        self.sleep(error, deadline).map_err(|end| match end.code() {
            libc::ETIMEDOUT if error == Errno::EACCES => error,
            _ => end,
        })
    }

    /// Sleeps until the directory changes, or the pause ends.
    fn sleep(&mut self, error: Errno, deadline: &mut Deadline) -> Result<()> {
        if let Some(doublings) = self.changes.checked_sub(BURST) {
            // Only a signal ends this pause.
            let pause = PAUSE.saturating_mul(1 << doublings.min(16)).min(PAUSE_MAX);
            deadline.pause(None, pause, None)?;
        }
        let has_changed = match self.watch.as_mut().map(Watch::renew) {
            // Earlier changes are not reported, so the next attempt must not be delayed.
            Some(Renewal::New) => true,
            Some(Renewal::Same(inotify)) => {
                if error == Errno::ENOENT {
                    // The next step of a listener is a change.
                    self.pause = WATCHED_PAUSE_MAX;
                }
                let has_changed = deadline.pause(Some(inotify.as_fd()), self.pause, None)?;
                if has_changed {
                    // Events that remain end the next pause.
                    let _ = nix::unistd::read(inotify, &mut [0; 4096]);
                }
                has_changed
            }
            Some(Renewal::None) | None => {
                self.pause = self.pause.min(PAUSE_MAX);
                deadline.pause(None, self.pause, None)?
            }
        };
        if has_changed {
            self.changes += 1;
            self.pause = PAUSE;
        } else {
            if self.pause >= PAUSE_MAX {
                self.changes = 0;
            }
            self.pause = self.pause.saturating_mul(2).min(WATCHED_PAUSE_MAX);
        }
        Ok(())
    }
}

/// The watch on the directory of a path.
struct Watch {
    inotify: Inotify,
    directory: Directory,
    /// The watch, if the directory can be watched.
    descriptor: Option<WatchDescriptor>,
}

/// The outcome of [`Watch::renew`].
enum Renewal<'a> {
    /// The directory was already watched.
    Same(&'a Inotify),
    /// The directory is watched from now on.
    New,
    /// The directory cannot be watched.
    None,
}

impl Watch {
    /// Prepares to watch the directory of `path`. None for an abstract name, and if this process
    /// cannot have an inotify descriptor.
    fn new(path: &CStr) -> Option<Self> {
        let directory = Directory::new(path)?;
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Some(Self {
            inotify: Inotify::init(flags).ok()?,
            directory,
            descriptor: None,
        })
    }

    /// Watches the directory that is at the path now. It can be another one than before.
    fn renew(&mut self) -> Renewal<'_> {
        let directory = self.directory.as_c_str();
        let added = directory.and_then(|path| self.inotify.add_watch(path, EVENTS).ok());
        if added == self.descriptor {
            return match added {
                Some(_) => Renewal::Same(&self.inotify),
                None => Renewal::None,
            };
        }
        if let Some(old) = self.descriptor {
            let _ = self.inotify.rm_watch(old); // fails if the directory was removed
        }
        self.descriptor = added;
        match added {
            Some(_) => Renewal::New,
            None => Renewal::None,
        }
    }
}

/// The path of a directory, with a terminating NUL.
struct Directory([u8; PATH_MAX + 1]);

impl Directory {
    /// The directory of `path`. None for an abstract name.
    fn new(path: &CStr) -> Option<Self> {
        let path = path.to_bytes();
        if path.first() == Some(&b'@') {
            return None;
        }
        let directory = match path.iter().rposition(|byte| *byte == b'/') {
            None => b".",
            Some(0) => b"/",
            Some(end) => path.get(..end)?,
        };
        let mut bytes = [0; PATH_MAX + 1];
        bytes.get_mut(..directory.len())?.copy_from_slice(directory);
        Some(Self(bytes))
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let longest =
            c"d/sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
        for (path, directory) in [
            (c"s", c"."),
            (c"./s", c"."),
            (c"/s", c"/"),
            (c"//s", c"/"),
            (c"/d/s", c"/d"),
            (c"d//s", c"d/"),
            (c"../d/s", c"../d"),
            (longest, c"d"),
        ] {
            let found = Directory::new(path);
            let found = found.as_ref().and_then(Directory::as_c_str);
            assert_eq!(found, Some(directory), "{path:?}");
        }
        assert!(Directory::new(c"@name/s").is_none());
    }
}
