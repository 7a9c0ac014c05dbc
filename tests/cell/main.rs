//! The cell, as include/unixipc.h describes it.

mod arguments;
mod crowd;
mod memory;
mod sole;
mod support;
mod threads;
mod value;
mod wait;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
