//! All exported functions. Each converts the arguments from C, calls a function of another module,
//! and converts the result.
//!
//! The comments on these functions become `include/unixipc.h`. They state the requirements on each
//! argument, so they have no section on safety, which would repeat them.
#![allow(clippy::missing_safety_doc)]
// The comments are for C: argv[0] is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

pub mod calls;
pub mod cell;
pub mod channel;
pub mod cond;
pub mod event;
pub mod feed;
pub mod fifo;
pub mod lock;
pub mod message;
pub mod mutex;
pub mod pair;
mod pointer;
pub mod rwlock;
pub mod semlock;
pub mod shm;
mod shm_open_or_create;
pub mod spawn;
mod spin;
pub mod timeout;
pub mod version;
