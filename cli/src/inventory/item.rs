//! The objects of all kinds.

use super::channels::{self, Channel};
use super::feeds::{self, Feed};
use super::files::Users;
use super::paths::{self, Fifo, Listener};
use super::pattern::matches;
use super::regions::{self, Region};
use super::snapshot::Snapshot;
use super::sysv::{self, Segment, Set};
use super::walk;
use crate::objects::Object;
use crate::objects::scan::Budget;
use crate::output::Name;
use crate::proc::{ProcessName, sockets};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ItemKind {
    Region,
    Segment,
    Set,
    Fifo,
    Listener,
    Channel,
    Feed,
}

/// An object that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Item {
    Region(Region),
    Segment(Segment),
    Set(Set),
    Fifo(Fifo),
    Listener(Listener),
    Channel(Channel),
    Feed(Feed),
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The kinds; all if there are none.
    pub kinds: Vec<ItemKind>,
    /// The directories whose FIFOs and sockets are shown.
    pub directories: Vec<PathBuf>,
    /// Also files and segments that may belong to other programs.
    pub all: bool,
}

impl Query {
    fn has(&self, kind: ItemKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// The objects, and how many directories could not be read.
    pub fn run(&self, snapshot: &Snapshot) -> (Vec<Item>, usize) {
        let mut users = Users::default();
        let now = unixipc::sys::boot_time().as_nanos() as u64;
        let sockets = sockets::listeners();
        let mut budget = Budget::new();
        let mut items = Vec::new();
        let mut unread = 0;
        if self.has(ItemKind::Region) {
            let found = regions::find(snapshot, &mut users, &mut budget).unwrap_or_else(|_| {
                unread += 1;
                Vec::new()
            });
            let found = found
                .into_iter()
                .filter(|region| self.all || region.recognised);
            items.extend(found.map(|mut region| {
                region.find_use();
                Item::Region(region)
            }));
        }
        if self.has(ItemKind::Segment) {
            let found = sysv::segments(snapshot, &mut users, &mut budget).into_iter();
            let found = found.filter(|segment| self.all || segment.recognised);
            items.extend(found.map(Item::Segment));
        }
        if self.has(ItemKind::Set) {
            items.extend(sysv::sets(&mut users).into_iter().map(Item::Set));
        }
        let mut listed = BTreeSet::new();
        for directory in &self.directories {
            let refused = walk::below(directory, &mut |found| {
                if self.has(ItemKind::Fifo) {
                    items.extend(paths::fifo(found, snapshot, &mut users).map(Item::Fifo));
                }
                if self.has(ItemKind::Listener) {
                    let found = paths::listener(found, &sockets, snapshot, &mut users);
                    listed.extend(found.iter().map(|listener| listener.address.clone()));
                    items.extend(found.map(Item::Listener));
                }
            });
            unread += refused.unwrap_or(1);
        }
        if self.has(ItemKind::Listener) {
            let found = paths::listeners(&sockets, snapshot).into_iter();
            let found = found.filter(|listener| !listed.contains(&listener.address));
            items.extend(found.map(Item::Listener));
        }
        if self.has(ItemKind::Channel) {
            items.extend(channels::find(snapshot, now).into_iter().map(Item::Channel));
        }
        if self.has(ItemKind::Feed) {
            items.extend(
                feeds::find(snapshot, &sockets, now)
                    .into_iter()
                    .map(Item::Feed),
            );
        }
        (items, unread)
    }
}

impl Item {
    /// The objects in it.
    pub fn objects(&self) -> &[Object] {
        match self {
            Self::Region(region) => &region.objects,
            Self::Segment(segment) => &segment.objects,
            _ => &[],
        }
    }

    /// The same, to change them.
    pub fn objects_mut(&mut self) -> &mut [Object] {
        match self {
            Self::Region(region) => &mut region.objects,
            Self::Segment(segment) => &mut segment.objects,
            _ => &mut [],
        }
    }

    /// Whether both are the same region or segment.
    pub fn is_same_memory(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Region(one), Self::Region(other)) => one.file == other.file,
            (Self::Segment(one), Self::Segment(other)) => one.id == other.id,
            _ => false,
        }
    }

    /// Whether a pattern matches its name, a subscriber's name, or the name or the number of one of
    /// its processes.
    pub fn is_match(&self, pattern: &str) -> bool {
        let pattern = pattern.as_bytes();
        let has_name = |name: &Option<Name>| {
            name.as_ref()
                .is_some_and(|Name(name)| matches(pattern, name))
        };
        let is_name = match self {
            Self::Region(region) => has_name(&region.name),
            Self::Segment(segment) => matches(pattern, segment.key.as_bytes()),
            Self::Set(set) => matches(pattern, set.key.as_bytes()),
            Self::Fifo(fifo) => matches(pattern, &fifo.path.0),
            Self::Listener(listener) => matches(pattern, &listener.address.0),
            Self::Channel(_) => false,
            Self::Feed(feed) => {
                has_name(&feed.address)
                    || feed
                        .subscribers
                        .iter()
                        .any(|subscriber| has_name(&subscriber.name))
            }
        };
        is_name
            || self.processes().iter().any(|process| {
                matches(pattern, &process.name.0)
                    || matches(pattern, process.pid.to_string().as_bytes())
            })
    }

    /// The processes that use it.
    pub fn processes(&self) -> Vec<&ProcessName> {
        let list: Vec<&Vec<ProcessName>> = match self {
            Self::Region(region) => vec![&region.processes],
            Self::Segment(segment) => vec![&segment.processes],
            Self::Set(_) => vec![],
            Self::Fifo(fifo) => vec![&fifo.processes],
            Self::Listener(listener) => vec![&listener.processes],
            Self::Channel(channel) => channel.sides.iter().map(|side| &side.processes).collect(),
            Self::Feed(feed) => {
                let subscribers = feed
                    .subscribers
                    .iter()
                    .map(|subscriber| &subscriber.processes);
                std::iter::once(&feed.processes)
                    .chain(subscribers)
                    .collect()
            }
        };
        list.into_iter().flatten().collect()
    }
}
