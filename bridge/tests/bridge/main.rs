//! The bridge, with a real NATS server on the loopback interface.

mod cluster;
mod command;
mod export;
mod faults;
mod identity;
mod import;
mod local;
mod support;

fn main() -> std::process::ExitCode {
    // tokio keeps two descriptors after its first runtime, which no test leaves behind.
    drop(support::runtime());
    common::isolated::main()
}
