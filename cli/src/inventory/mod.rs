//! The objects that exist: found by what /proc, /dev/shm and the System V tables show.

pub mod channels;
pub mod feeds;
pub mod files;
pub mod item;
pub mod memories;
pub mod paths;
pub mod pattern;
pub mod regions;
pub mod snapshot;
pub mod sysv;
pub mod walk;

pub use item::Item;
pub use snapshot::Snapshot;
