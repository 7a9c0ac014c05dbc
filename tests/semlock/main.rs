//! The semaphore lock, as include/unixipc.h describes it.

mod death;
mod fairness;
mod hold;
mod open;
mod support;
mod timeout;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
