//! Regions of shared memory, as include/unixipc.h describes them.

mod closed;
mod create;
mod filter;
mod memory;
mod names;
mod open_or_create;
mod passed;
mod stale;
mod storm;
mod support;
mod sysv;
mod transient;
mod unused;
mod waiting;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
