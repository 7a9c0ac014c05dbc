//! Every function that C sees. A function here takes C's arguments, calls the
//! core once and converts the result; no loop and no system call lives here.
//!
//! The comments on these functions become `include/unixipc.h`. What they say of
//! each argument is what a caller has to keep to; a section on safety would only
//! say it again.
#![allow(clippy::missing_safety_doc)]
// They are C's text, in which argv[0] is no link.
#![allow(rustdoc::broken_intra_doc_links)]

pub mod calls;
pub mod cell;
pub mod channel;
pub mod cond;
pub mod fifo;
pub mod lock;
pub mod message;
pub mod mutex;
pub mod pair;
mod pointer;
pub mod rwlock;
pub mod semlock;
pub mod shm;
pub mod spawn;
pub mod version;
