//! Searching for objects in a region, by their headers.

use super::{Lookup, Object, decode};
use crate::proc::memory::Words;

/// The alignment of all objects.
const ALIGN: usize = 16;

/// The largest number of objects that are reported of a region.
pub const OBJECTS_MAX: usize = 4096;

/// Searches for objects in `bytes`, which begin at `offset` of the region. An object that is part of
/// another one is not reported.
pub fn scan(bytes: &[u8], offset: u64, lookup: &Lookup, found: &mut Vec<Object>) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..)
        && rest.len() >= ALIGN
        && found.len() < OBJECTS_MAX
    {
        match decode(Words(rest), offset + at as u64, lookup) {
            Some((object, size)) => {
                found.push(object);
                at = at.saturating_add(size.next_multiple_of(ALIGN));
            }
            None => at += ALIGN,
        }
    }
}
