//! Searching for objects in a region, by their headers.

use super::{Lookup, Object, decode};
use crate::proc::memory::Words;
use std::collections::BTreeMap;

/// The alignment of all objects.
const ALIGN: usize = 16;

/// The largest number of objects that are reported of a region.
const OBJECTS_MAX: usize = 4096;

/// How many objects, and threads that they record, can still be reported. Any process can write as
/// many of them as its memory holds.
#[derive(Debug)]
pub struct Budget {
    objects: usize,
    holders: usize,
}

impl Budget {
    /// That of an inventory.
    pub fn new() -> Self {
        Self {
            objects: 1 << 16,
            holders: 1 << 16,
        }
    }

    /// No objects.
    pub fn none() -> Self {
        Self {
            objects: 0,
            holders: 0,
        }
    }

    /// Takes some objects from the budget. Returns whether they can be reported.
    pub fn take(&mut self, objects: &[Object]) -> bool {
        let holders = objects.iter().map(|object| object.state.holders()).sum();
        let left = self.objects.checked_sub(objects.len());
        match left.zip(self.holders.checked_sub(holders)) {
            Some(left) => {
                (self.objects, self.holders) = left;
                true
            }
            None => false,
        }
    }
}

/// Whether there is an object in `bytes`, which are the beginning of a region.
pub fn has_object(bytes: &[u8]) -> bool {
    let lookup = Lookup {
        threads: &Default::default(),
        processes: &BTreeMap::new(),
    };
    next(bytes, 0, &lookup).is_some()
}

/// Searches for objects in `bytes`, which are the beginning of a region. An object that is part of
/// another one is not reported. Returns the objects, and whether they are all.
pub fn scan(bytes: &[u8], lookup: &Lookup, budget: &mut Budget) -> (Vec<Object>, bool) {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((object, behind)) = next(bytes, at, lookup) {
        if found.len() == OBJECTS_MAX || !budget.take(std::slice::from_ref(&object)) {
            return (found, false);
        }
        found.push(object);
        at = behind;
    }
    (found, true)
}

/// The first object at or behind an offset, and the offset behind it.
fn next(bytes: &[u8], mut at: usize, lookup: &Lookup) -> Option<(Object, usize)> {
    loop {
        let rest = bytes.get(at..).filter(|rest| rest.len() >= ALIGN)?;
        if let Some((object, size)) = decode(Words(rest), at as u64, lookup) {
            let behind = at.saturating_add(size.next_multiple_of(ALIGN));
            return Some((object, behind));
        }
        at += ALIGN;
    }
}
