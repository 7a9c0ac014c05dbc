//! Layer 1: the system's own calls. The kernel checks the pointers.

mod files;
mod sem;
mod shm;

pub use files::*;
pub use sem::*;
pub use shm::*;
