//! ipc_spawn, as include/unixipc.h describes it.

mod arguments;
mod descriptors;
mod pipes;
mod process;
mod program;
mod standard;
mod support;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
