//! The last record that was published, in a file that survives a crash of the bridge.
//!
//! The acknowledgement of a record can be lost, or come too late before a crash. Then the engine
//! delivers the record again, and the file tells that local subscribers have it already. The file is
//! mapped into memory, so a record costs two stores. It need not survive the machine, because local
//! subscribers do not either.
//!
//! | word | content |
//! |---|---|
//! | 0 | the letters `uibposit` |
//! | 1 | the stream, see [`Resume::stream`](crate::engine::Resume::stream) |
//! | 2 | begun: the number of the record that was about to be published |
//! | 3 | done: the number of the last record that was published |
//!
//! If begun and done differ after a crash, it is uncertain whether the record was published.

use crate::context::Context;
use nix::fcntl::{Flock, FlockArg, posix_fallocate};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: u64 = u64::from_le_bytes(*b"uibposit");
type Words = [AtomicU64; 4];
const SIZE: NonZero<usize> = NonZero::new(size_of::<Words>()).unwrap();

/// See the module. Without a file, it remembers as long as the process exists.
pub struct Position {
    mapping: Mapping,
    /// Held, so that two bridges do not use one file.
    _lock: Option<Flock<File>>,
}

enum Mapping {
    File(NonNull<Words>),
    Memory(Box<Words>),
}

/// The content of a file for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The number of the last record that was published; 0 if there is none.
    pub done: u64,
    /// A record that was perhaps published.
    pub uncertain: Option<u64>,
}

impl Position {
    /// Without a file.
    pub fn in_memory() -> Self {
        let mapping = Mapping::Memory(Box::default());
        Self {
            mapping,
            _lock: None,
        }
    }

    /// With a file in a directory, which is created if it does not exist.
    pub fn open(directory: &Path, name: &str) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(directory.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, error)| match error {
                    nix::errno::Errno::EWOULDBLOCK => io::Error::other("another bridge uses it"),
                    error => error.into(),
                },
            )?;
        // Not a hole: a store into it would end the process if the file system were full.
        posix_fallocate(&*file, 0, SIZE.get() as i64)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses. Its lock keeps other bridges
        // from the file, and atomics keep the accesses defined if another process writes it.
        let words = unsafe { mmap(None, SIZE, protection, MapFlags::MAP_SHARED, &*file, 0) }?;
        let mapping = Mapping::File(words.cast());
        Ok(Self {
            mapping,
            _lock: Some(file),
        })
    }

    fn words(&self) -> &Words {
        match &self.mapping {
            // SAFETY: mapped until the drop, large enough and aligned to a page.
            Mapping::File(words) => unsafe { words.as_ref() },
            Mapping::Memory(words) => words,
        }
    }

    /// Begins to use the file for a stream, and returns its content.
    pub fn begin(&self, stream: u64) -> Remembered {
        let [magic, of, begun, done] = self.words();
        let is_known =
            magic.load(Ordering::Relaxed) == MAGIC && of.load(Ordering::Relaxed) == stream;
        if !is_known {
            self.reset(stream, 0);
        }
        let (begun, done) = (begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
        let uncertain = (begun != done).then_some(begun);
        Remembered { done, uncertain }
    }

    /// Begins again after a record of a stream.
    pub fn reset(&self, stream: u64, last: u64) {
        let [magic, of, begun, done] = self.words();
        // In this order: a crash in between leaves a file that is not known.
        magic.store(0, Ordering::Release);
        begun.store(last, Ordering::Release);
        done.store(last, Ordering::Release);
        of.store(stream, Ordering::Release);
        magic.store(MAGIC, Ordering::Release);
    }

    /// A record is about to be published.
    pub fn begin_record(&self, number: u64) {
        let [_, _, begun, _] = self.words();
        begun.store(number, Ordering::SeqCst);
    }

    /// The record was published.
    pub fn end_record(&self, number: u64) {
        let [_, _, _, done] = self.words();
        done.store(number, Ordering::SeqCst);
    }
}

/// Opens the file of a route. Without it, messages can be published twice after a crash.
pub fn open(context: &Context) -> Position {
    let route = &context.route;
    let Some(directory) = &context.state_dir else {
        return Position::in_memory();
    };
    let name = format!("{}.position", route.durable_name());
    Position::open(directory, &name).unwrap_or_else(|error| {
        let path = directory.join(name);
        log::error!(
            "{route}: {}: {error}: messages may be published twice after a crash of the bridge",
            path.display()
        );
        Position::in_memory()
    })
}

impl Drop for Position {
    fn drop(&mut self) {
        if let Mapping::File(words) = &self.mapping {
            // SAFETY: this mapping, which no reference uses after the drop.
            let _ = unsafe { munmap(words.cast(), SIZE.get()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn across_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Position::open(directory.path(), "a").unwrap();
        let position = open();
        assert_eq!(
            position.begin(7),
            Remembered {
                done: 0,
                uncertain: None
            }
        );
        assert!(Position::open(directory.path(), "a").is_err(), "in use");
        position.begin_record(41);
        position.end_record(41);
        drop(position);
        let position = open();
        assert_eq!(
            position.begin(7),
            Remembered {
                done: 41,
                uncertain: None
            }
        );
        position.begin_record(42);
        drop(position);
        let position = open();
        assert_eq!(
            position.begin(7),
            Remembered {
                done: 41,
                uncertain: Some(42)
            }
        );
        assert_eq!(
            position.begin(8),
            Remembered {
                done: 0,
                uncertain: None
            },
            "another stream"
        );
    }

    /// Memory of a file without space would be a hole, whose use ends the process.
    #[test]
    fn no_hole() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        File::create(&path)
            .unwrap()
            .set_len(SIZE.get() as u64)
            .unwrap();
        assert_eq!(path.metadata().unwrap().blocks(), 0);
        let _position = Position::open(directory.path(), "a").unwrap();
        assert!(path.metadata().unwrap().blocks() > 0);
    }

    #[test]
    fn bad_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("a"),
            b"not a position at all, but longer",
        )
        .unwrap();
        let position = Position::open(directory.path(), "a").unwrap();
        assert_eq!(
            position.begin(7),
            Remembered {
                done: 0,
                uncertain: None
            }
        );
        std::fs::create_dir(directory.path().join("b")).unwrap();
        assert!(Position::open(directory.path(), "b").is_err());
        std::os::unix::fs::symlink("a", directory.path().join("c")).unwrap();
        assert!(Position::open(directory.path(), "c").is_err());
    }
}
