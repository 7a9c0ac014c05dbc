//! How often values are stored into cells: from two inspections of the cells.

use crate::inventory::item::{ItemKind, Query};
use crate::inventory::{Item, Snapshot};
use crate::objects::State;
use crate::output::units;
use std::thread;
use std::time::{Duration, Instant};

/// The time between the inspections.
const INTERVAL: Duration = Duration::from_millis(100);

/// Inspects the cells of the items again, and adds the rates. The first inspection was at `begin`. Does
/// nothing, and takes no time, if there are no cells.
pub fn measure(items: &mut [Item], begin: Instant, query: &Query, snapshot: &Snapshot) {
    let has_cell = |item: &Item| {
        let mut objects = item.objects().iter();
        objects.any(|object| matches!(object.state, State::Cell(_)))
    };
    if !items.iter().any(has_cell) {
        return;
    }
    thread::sleep(INTERVAL);
    let seconds = begin.elapsed().as_secs_f64();
    let query = Query {
        kinds: vec![ItemKind::Region, ItemKind::Segment],
        directories: Vec::new(),
        all: query.all,
    };
    let (later, _) = query.run(snapshot);
    for item in items.iter_mut().filter(|item| has_cell(item)) {
        if let Some(later) = later.iter().find(|later| later.is_same_memory(item)) {
            add(item, later, seconds);
        }
    }
}

fn add(item: &mut Item, later: &Item, seconds: f64) {
    for object in item.objects_mut() {
        let mut found = later.objects().iter();
        let found = found.find(|found| found.offset == object.offset);
        if let (State::Cell(cell), Some(State::Cell(later))) =
            (&mut object.state, found.map(|found| &found.state))
        {
            let rate = |now| units::rate(cell.version, now, seconds);
            let rate = later.version.and_then(rate);
            cell.stores_per_second = rate.map(|rate| rate.round() as u64);
        }
    }
}
