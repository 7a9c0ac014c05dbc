//! The state of all objects at one time.

use crate::inventory::channels::{self, Channel};
use crate::inventory::feeds::{self, Feed};
use crate::inventory::files::Users;
use crate::inventory::regions::{self, Region};
use crate::inventory::snapshot::Snapshot;
use crate::objects::scan::Budget;
use crate::proc::sockets;
use std::io;
use std::time::Instant;

/// The state of all objects at one time.
pub struct Sample {
    pub at: Instant,
    pub snapshot: Snapshot,
    pub channels: Vec<Channel>,
    pub feeds: Vec<Feed>,
    pub regions: Vec<Region>,
}

impl Sample {
    /// Takes a sample.
    pub fn take() -> io::Result<Self> {
        let snapshot = Snapshot::take(false)?;
        let at = Instant::now();
        let now = unixipc::sys::boot_time().as_nanos() as u64;
        let regions = regions::find(&snapshot, &mut Users::default(), &mut Budget::new());
        Ok(Self {
            at,
            channels: channels::find(&snapshot, now),
            feeds: feeds::find(&snapshot, &sockets::listeners(), now),
            regions: regions.unwrap_or_default(),
            snapshot,
        })
    }

    /// The time between two samples.
    pub fn seconds_since(&self, before: &Self) -> f64 {
        self.at.duration_since(before.at).as_secs_f64().max(1e-6)
    }
}
