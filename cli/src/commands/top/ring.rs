//! The number of messages in a part of a channel's ring. The control words count bytes only, so the
//! records are counted.

use crate::inventory::memories::Memory;
use crate::proc::memory::{Memory as ProcessMemory, Words};
use std::thread;
use std::time::Duration;
use unixipc::transport::ring_memory::CONTROL;

/// The largest part of a ring that is read.
const READ_MAX: u64 = 4 << 20;
/// How long messages are counted if more were sent than the ring holds. The sender may send nothing in
/// such a time, or more than the ring holds. In microseconds.
const PAUSES: [u64; 5] = [200, 50, 1000, 20, 5000];
/// The bit of a length that marks a message with descriptors.
const MARKED: u32 = 1 << 31;

/// The number of messages between two cursors of a sender, and whether it is an estimate. None if it
/// cannot be found out.
pub fn messages(memory: &Memory, align: u64, from: u64, to: u64) -> Option<(f64, bool)> {
    let bytes = to.wrapping_sub(from);
    if bytes == 0 {
        return Some((0.0, false));
    }
    let ring = Ring {
        memory: ProcessMemory::open(memory.place.as_ref()?).ok()?,
        size: memory.ring_size,
        align,
    };
    if let Some(count) = ring.count(from, to) {
        return Some((count as f64, false));
    }
    // The ring does not have all of them any longer: count for a moment.
    let per_byte = PAUSES
        .into_iter()
        .find_map(|pause| ring.count_during(Duration::from_micros(pause)))?;
    Some((bytes as f64 * per_byte, true))
}

/// A ring of another process.
struct Ring {
    memory: ProcessMemory,
    size: u64,
    align: u64,
}

impl Ring {
    fn tail(&self) -> Option<u64> {
        let mut tail = [0; 8];
        self.memory.read(&mut tail, 0).ok()?;
        Some(u64::from_le_bytes(tail))
    }

    /// The number of messages per byte during a pause. None if the sender sends nothing, or too much.
    fn count_during(&self, pause: Duration) -> Option<f64> {
        let begin = self.tail()?;
        thread::sleep(pause);
        let end = self.tail()?;
        let count = self.count(begin, end).filter(|count| *count > 0)?;
        Some(count as f64 / end.wrapping_sub(begin) as f64)
    }

    /// Counts the records between two cursors. None if some of them have been overwritten, or are no
    /// records.
    fn count(&self, from: u64, to: u64) -> Option<u64> {
        let (size, align) = (self.size, self.align);
        let bytes = to.wrapping_sub(from);
        let is_possible = (8..=64).contains(&align)
            && align.is_power_of_two()
            && size.is_power_of_two()
            && bytes <= READ_MAX.min(size / 2);
        if !is_possible {
            return None;
        }
        let mut records = vec![0; usize::try_from(bytes + align).ok()?];
        let at = from % size;
        // The part behind the end of the ring is at its beginning.
        let first = usize::try_from(size - at).ok()?.min(records.len());
        let (first, second) = records.split_at_mut(first);
        self.memory.read(first, CONTROL as u64 + at).ok()?;
        self.memory.read(second, CONTROL as u64).ok()?;
        if self.tail()?.wrapping_sub(from) > size - align {
            return None;
        }
        count(&records, bytes, align)
    }
}

/// Counts the records in `bytes` bytes.
fn count(records: &[u8], bytes: u64, align: u64) -> Option<u64> {
    let (mut at, mut count) = (0, 0);
    while at < bytes {
        let field = Words(records).u32(usize::try_from(at + align - 4).ok()?);
        let len = u64::from(field & !MARKED);
        let len = match field & MARKED {
            0 => len,
            _ => len.next_multiple_of(8) + 8,
        };
        if field == 0 {
            return None;
        }
        at += (len + 4).next_multiple_of(align);
        count += 1;
    }
    (at == bytes).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(lengths: &[u32], align: usize) -> (Vec<u8>, u64) {
        let mut bytes = Vec::new();
        for length in lengths {
            let begin = bytes.len();
            bytes.resize(begin + align - 4, 0);
            bytes.extend(length.to_le_bytes());
            let len = match length & MARKED {
                0 => *length as usize,
                _ => ((length & !MARKED) as usize).next_multiple_of(8) + 8,
            };
            bytes.truncate(begin + align);
            bytes.resize(begin + (len + 4).next_multiple_of(align), 0);
        }
        let len = bytes.len() as u64;
        bytes.resize(bytes.len() + align, 0);
        (bytes, len)
    }

    #[test]
    fn records() {
        for align in [8, 16, 64] {
            let (records, len) = ring(&[1, 4, 5, 100, MARKED | 3], align);
            assert_eq!(count(&records, len, align as u64), Some(5));
            // A cursor inside a record, and zeros.
            assert_eq!(count(&records, len - 8, align as u64), None);
            assert_eq!(count(&[0; 64], 64, align as u64), None);
            assert_eq!(count(&[0xff; 256], 64, align as u64), None);
        }
        assert_eq!(count(&[], 0, 8), Some(0));
    }
}
