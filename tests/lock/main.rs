//! The mutex, the reader-writer lock, the condition and the event in shared memory.

mod cond;
mod crowd;
mod ends;
mod event;
mod event_crowd;
mod events;
mod fairness;
mod inheritance;
mod lost_owner;
mod mutex;
mod rwlock;
mod rwlock_readers;
mod support;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
