//! FIFOs of layer 2, as include/unixipc.h describes them.

mod blocking;
mod create;
mod crowd;
mod open;
mod record;
mod sigpipe;
mod support;
mod text;
mod wait;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
