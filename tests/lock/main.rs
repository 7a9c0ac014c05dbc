//! The mutex, the reader-writer lock, the condition and the event in shared memory, as include/unixipc.h
//! describes them.

mod cond;
mod crowd;
mod ends;
mod event;
mod fairness;
mod lost_owner;
mod mutex;
mod rwlock;
mod support;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
