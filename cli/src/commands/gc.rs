//! `unixipc gc`: removes objects that no living process uses.
//!
//! Each object is checked at the moment of its removal, under the lock that the library takes, and by
//! a check of the kernel that covers all processes, including those that are invisible here.

mod paths;
mod regions;
mod sysv;

use crate::error::{Code, Error, Result};
use crate::inventory::files::Access;
use crate::inventory::pattern::matches;
use crate::output::{Name, Output, escaped, units};
use nix::unistd::Uid;
use serde::Serialize;
use std::path::PathBuf;
use unixipc::errno::Errno;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Remove only objects with this name; * and ? are wildcards. A name without wildcards also
    /// stands for a region that is not known to belong to unixipc
    pattern: Option<String>,
    /// Remove nothing, and list the objects that would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Keep objects that have changed since then: a number and s, m, h or d
    #[arg(long, value_name = "AGE", default_value = "1m", value_parser = units::parse_age)]
    older_than: u64,
    /// Also remove the sockets of dead listeners below this directory
    #[arg(long = "dir", value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Also remove unused System V segments and semaphore sets
    #[arg(long)]
    sysv: bool,
}

/// An object that no process uses, and the outcome of its removal.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub kind: &'static str,
    pub name: Name,
    /// How long ago it changed, in seconds.
    pub age: u64,
    /// Whether it was removed, or would be.
    pub removed: bool,
    /// Whether it is only removed if it has an object of the library. A dry run does not read it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Why it was not removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The output as JSON.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    objects: &'a [Outcome],
}

impl Args {
    /// Whether an object may be removed.
    fn selects(&self, name: &[u8], access: &Access) -> bool {
        let is_named = |pattern: &String| matches(pattern.as_bytes(), name);
        access.age >= self.older_than && self.pattern.as_ref().is_none_or(is_named)
    }

    /// Whether the pattern is exactly the name of an object.
    fn names(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| {
            !pattern.contains(['*', '?']) && matches(pattern.as_bytes(), name)
        })
    }
}

/// Whether this process may remove an object of this user.
fn may_remove(owner: u32) -> bool {
    let user = Uid::effective();
    user.is_root() || user.as_raw() == owner
}

impl Outcome {
    /// The outcome of an attempt to remove an object. None if a process uses it.
    fn new(
        kind: &'static str,
        name: &[u8],
        access: &Access,
        removed: unixipc::errno::Result<bool>,
    ) -> Option<Self> {
        let error = match removed {
            Ok(false) => return None,
            Ok(true) => None,
            Err(errno) if errno.is_one_of(&[Errno::ENOENT, Errno::EIDRM]) => return None,
            Err(errno) => Some(Error::with_errno(kind, errno).to_string()),
        };
        Some(Self {
            kind,
            name: Name(name.to_vec()),
            age: access.age,
            removed: error.is_none(),
            unread: false,
            error,
        })
    }
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let mut outcomes = regions::collect(args)?;
    for directory in &args.directories {
        outcomes.extend(paths::collect(args, directory)?);
    }
    if args.sysv {
        outcomes.extend(sysv::collect(args));
    }
    if output.is_json() {
        output.value(&Report {
            dry_run: args.dry_run,
            objects: &outcomes,
        })?;
    } else {
        for outcome in &outcomes {
            print(args, outcome, output)?;
        }
    }
    Ok(
        match outcomes.iter().any(|outcome| outcome.error.is_some()) {
            true => Code::Error,
            false => Code::Success,
        },
    )
}

fn print(args: &Args, outcome: &Outcome, output: &Output) -> Result<()> {
    let name = escaped(&outcome.name.0);
    let (kind, age) = (outcome.kind, units::age(outcome.age));
    match &outcome.error {
        Some(error) => {
            output.note(&format!("{name}: {error}"));
            Ok(())
        }
        None if args.dry_run => {
            let condition = match outcome.unread {
                true => " if it has an object of the library",
                false => "",
            };
            output.line(&format!(
                "would remove {kind} {name}{condition} (unused, {age})"
            ))
        }
        None => output.line(&format!("removed {kind} {name} (unused, {age})")),
    }
}
