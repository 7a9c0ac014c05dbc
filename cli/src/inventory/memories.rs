//! The memories of channels, feeds and subscribers: which processes map them, and their control
//! words. doc/channel-protocol.md and doc/feed-protocol.md describe the words.

use crate::proc::maps::{FileId, Mapping};
use crate::proc::memory::{Memory as ProcessMemory, Place, Words};
use unixipc::transport::label;
use unixipc::transport::ring_memory::CONTROL;

/// The bytes of the control words and of the label.
pub const WORDS: usize = label::OFFSET + LABEL;
const LABEL: usize = size_of::<label::Label>();

/// A place in a file. The two memories of a pair are in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId {
    pub file: FileId,
    pub offset: u64,
}

/// The type of a memory, by the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Feed,
    Subscriber,
}

impl Kind {
    /// The type of a file with this name in /proc/PID/maps.
    pub fn of(path: &[u8]) -> Option<Self> {
        let name = path.strip_prefix(b"/memfd:")?;
        [Self::Channel, Self::Feed, Self::Subscriber]
            .into_iter()
            .find(|kind| kind.label().file_name.to_bytes() == name)
    }

    fn label(self) -> &'static label::Kind {
        match self {
            Self::Channel => &label::CHANNEL,
            Self::Feed => &label::FEED,
            Self::Subscriber => &label::SUBSCRIBER,
        }
    }
}

/// A memory.
#[derive(Clone, Debug)]
pub struct Memory {
    pub id: MemoryId,
    pub kind: Kind,
    /// The processes that map it writable: its owner, and those that have it from a fork.
    pub owners: Vec<i32>,
    /// The processes that map it read-only.
    pub readers: Vec<i32>,
    /// 0 for a subscriber, which has no ring.
    pub ring_size: u64,
    /// None if no process that maps it lets this one read it.
    pub words: Option<Box<[u8; WORDS]>>,
    /// Where a process maps it.
    pub place: Option<Place>,
}

/// The content of the label of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The PID namespace of the process that made the memory; 0 if unknown.
    pub namespace: u32,
    /// When the memory was made, in nanoseconds since the boot.
    pub created: u64,
    /// The inode number of the memory of the other side.
    pub peer: u64,
    pub align: u64,
    pub is_lossy: bool,
    /// The number of the socket on which a feed listens.
    pub listener: u64,
    /// The name of a subscriber.
    pub name: Vec<u8>,
}

impl Memory {
    /// The control words.
    pub fn words(&self) -> Option<Words<'_>> {
        Some(Words(&self.words.as_ref()?[..]))
    }

    /// Reads one of the control words again. Its value is later than all that were read before.
    pub fn read_again(&self, at: u64) -> Option<u64> {
        let mut word = [0; 8];
        let memory = ProcessMemory::open(self.place.as_ref()?).ok()?;
        memory.read(&mut word, at).ok()?;
        Some(u64::from_le_bytes(word))
    }

    /// The label. None if the words are not known, or have no label of this type.
    pub fn label(&self) -> Option<Label> {
        let words = self.words()?;
        let at = label::OFFSET;
        if words.u64(at) != self.kind.label().object().word() {
            return None;
        }
        let name = words.0.get(at + 48..at + 48 + label::NAME_SIZE)?;
        let len = name.iter().position(|byte| *byte == 0);
        Some(Label {
            namespace: words.u32(at + 12),
            created: words.u64(at + 16),
            peer: words.u64(at + 24),
            align: words.u32(at + 32).into(),
            is_lossy: words.u32(at + 36) & label::LOSSY != 0,
            listener: words.u64(at + 40),
            name: name.get(..len.unwrap_or(name.len()))?.to_vec(),
        })
    }
}

/// The memories that a process maps: each with its identity, its type, the size of its ring and its
/// first mapping.
pub fn find(mappings: &[Mapping]) -> Vec<(MemoryId, Kind, u64, &Mapping)> {
    let mut found = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let Some(kind) = Kind::of(&mapping.path) else {
            continue;
        };
        let ring_size = match kind {
            Kind::Subscriber => Some(0),
            _ => mappings
                .get(index + 1)
                .and_then(|next| ring_size(mapping, next)),
        };
        if let Some(ring_size) = ring_size {
            let id = MemoryId {
                file: mapping.file,
                offset: mapping.offset,
            };
            found.push((id, kind, ring_size, mapping));
        }
    }
    found
}

/// The size of the ring, if `first` maps a memory and `next`, which follows it, its ring once more.
fn ring_size(first: &Mapping, next: &Mapping) -> Option<u64> {
    let control = CONTROL as u64;
    let ring = first.len.checked_sub(control)?;
    let is_memory = next.file == first.file
        && next.start == first.start + first.len
        && next.len == ring
        && next.offset == first.offset.checked_add(control)?
        && ring.is_power_of_two();
    is_memory.then_some(ring)
}

/// Reads the control words at a place.
pub fn read_words(place: &Place) -> Option<Box<[u8; WORDS]>> {
    let mut words = Box::new([0; WORDS]);
    let memory = ProcessMemory::open(place).ok()?;
    memory.read(&mut words[..], 0).ok()?;
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, len: u64, offset: u64) -> Mapping {
        Mapping {
            start,
            len,
            writable: true,
            offset,
            file: FileId {
                device: 1,
                inode: 5,
            },
            path: b"/memfd:unixipc-channel".to_vec(),
            deleted: true,
        }
    }

    #[test]
    fn memories() {
        const K: u64 = 1 << 16;
        // A ring of 64 KiB, whose first mapping is as long as a ring of 128 KiB.
        let mappings = [mapping(0, 2 * K, 0), mapping(2 * K, K, K)];
        let found = find(&mappings);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.offset, found[0].2, found[0].3.start), (0, K, 0));
        // The two memories of a pair.
        let mappings = [
            mapping(0, 2 * K, 0),
            mapping(2 * K, K, K),
            mapping(3 * K, 3 * K, 2 * K),
            mapping(6 * K, 2 * K, 3 * K),
        ];
        let offsets: Vec<u64> = find(&mappings).iter().map(|found| found.0.offset).collect();
        assert_eq!(offsets, [0, 2 * K]);
    }

    #[test]
    fn other_mappings() {
        const K: u64 = 1 << 16;
        for mappings in [
            vec![mapping(0, 2 * K, 0)],
            vec![mapping(0, 2 * K, 0), mapping(3 * K, K, K)],
            vec![mapping(0, 2 * K, 0), mapping(2 * K, 2 * K, K)],
            vec![mapping(0, 4 * K, 0), mapping(4 * K, 3 * K, K)],
            vec![mapping(0, 100, 0), mapping(100, K, K)],
            vec![mapping(0, 2 * K, u64::MAX), mapping(2 * K, K, K)],
        ] {
            assert_eq!(find(&mappings), []);
        }
        assert_eq!(Kind::of(b"/memfd:unixipc-region"), None);
        assert_eq!(Kind::of(b"/dev/shm/unixipc-channel"), None);
    }
}
