//! Helpers for the tests.
//!
//! Each suite (a directory or file of tests/) has its own runner on top of libtest-mimic, because
//! many tests concern a whole process: its descriptors, its signals, its user. A test that needs
//! a missing tool is listed as ignored, with the reason; in CI it fails.

pub mod call;
pub mod child;
pub mod clock;
pub mod connection;
pub mod descriptors;
pub mod directory;
pub mod epoll;
pub mod filter;
pub mod header;
pub mod intercept;
pub mod isolated;
pub mod memory;
pub mod namespace;
pub mod needs;
pub mod pidfd;
pub mod process;
pub mod programs;
pub mod random;
pub mod sanitizer;
pub mod signals;
pub mod stage;
pub mod stopped_call;
pub mod strace;
pub mod threads;
pub mod tools;
pub mod user;

pub use tools::{assert_golden, find_tool, ignored, root, run, text, trial_with_tools};

/// The names that nearly every suite uses.
pub mod prelude {
    pub use crate::call::*;
    pub use crate::child::*;
    pub use crate::clock::*;
    pub use crate::descriptors::*;
    pub use crate::directory::*;
    pub use crate::isolated::{apply, isolated};
    pub use crate::memory::*;
    pub use crate::namespace::{fresh_key, kernel_setting, set_kernel_setting};
    pub use crate::needs;
    pub use crate::process::*;
    pub use crate::random::*;
    pub use crate::signals::*;
    pub use crate::threads::*;
    pub use crate::user::*;
}
