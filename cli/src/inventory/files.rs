//! Owner, permissions and age of a file.

use nix::sys::stat::FileStat;
use nix::unistd::{Uid, User};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// Owner, permissions and age of a file or of a System V object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    pub uid: u32,
    /// The name of the owner; none if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The permissions, in octal.
    pub mode: String,
    /// How long ago it was made or last changed, in seconds.
    pub age: u64,
}

/// The names of users, each looked up once.
#[derive(Debug, Default)]
pub struct Users(HashMap<u32, Option<String>>);

impl Users {
    /// The name of a user.
    pub fn name(&mut self, uid: u32) -> Option<String> {
        let look_up = || Some(User::from_uid(Uid::from_raw(uid)).ok()??.name);
        self.0.entry(uid).or_insert_with(look_up).clone()
    }

    /// Owner, permissions and age. `changed` is in seconds since the epoch.
    pub fn access(&mut self, uid: u32, mode: u32, changed: i64) -> Access {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
        Access {
            uid,
            owner: self.name(uid),
            mode: format!("{:04o}", mode & 0o7777),
            age: now.as_secs().saturating_sub(changed.max(0) as u64),
        }
    }

    /// Those of a file with this status.
    pub fn of_status(&mut self, status: &FileStat) -> Access {
        let changed = status.st_ctime.max(status.st_mtime);
        self.access(status.st_uid, status.st_mode, changed)
    }

    /// Those of a file.
    pub fn of(&mut self, metadata: &Metadata) -> Access {
        let changed = metadata.ctime().max(metadata.mtime());
        self.access(metadata.uid(), metadata.mode(), changed)
    }
}
