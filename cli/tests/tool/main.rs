//! The commands, against real programs. Most tests run in their own PID, mount and IPC namespaces, so
//! that the tool sees all processes and nothing else.

mod completions;
mod doctor;
mod examples;
mod gc;
mod gc_directories;
mod gc_storm;
mod gc_sysv;
mod hostile;
mod ls_channels;
mod ls_memory;
mod ls_regions;
mod support;
mod top;
mod users;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
