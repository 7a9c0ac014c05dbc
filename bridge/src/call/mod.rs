//! Calls: local programs call a subject, and a subject calls a local server. At most once: a call whose
//! bridge is killed gets no reply.

mod callers;
mod server;
mod worker;

pub use callers::serve_callers;
pub use server::serve_subject;
