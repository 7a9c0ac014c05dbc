//! Layer 4: channels.

mod call;
mod descriptors;
mod open;
mod options;
mod recv;
mod send;
mod state;

pub use call::*;
pub use descriptors::*;
pub use open::*;
pub use options::*;
pub use recv::*;
pub use send::*;
pub use state::*;
