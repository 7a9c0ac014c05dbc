//! Recordings of feeds. `doc/recording.md` describes the file.

mod layout;
mod reader;
mod writer;

pub use layout::Header;
pub use reader::{Ending, Next, Reader, survey};
pub use writer::Writer;
