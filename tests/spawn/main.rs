//! ipc_spawn, as include/unixipc.h describes it.

mod arguments;
mod descriptors;
mod limits;
mod parent_death;
mod pidfd;
mod pipes;
mod process;
mod program;
mod standard;
mod support;
mod user;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
