//! Layer 4: feeds.

mod open;
mod options;
mod publish;
mod receive;
mod state;
mod sub_options;
mod subscribe;

pub use open::*;
pub use options::*;
pub use publish::*;
pub use receive::*;
pub use state::*;
pub use sub_options::*;
pub use subscribe::*;
