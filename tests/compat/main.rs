//! The promises of the library to programs, processes and objects of its earlier versions.
//!
//! For each version there is a set of frozen files, tests/compat/VERSION, which `scripts/freeze`
//! makes: programs with their output, the library with which they were linked, and recordings of
//! objects in shared memory and of the data in sockets, pipes and rings. The tests use these with the
//! present library. A test whose name begins with `fresh` makes such data with the present library,
//! and compares it with the recordings; under `scripts/freeze` it writes them.

mod declarations;
mod dump;
mod later;
mod objects;
mod peers;
mod programs;
mod regions;
mod relay;
mod states;
mod support;
mod wire_channel;
mod wire_feed;
mod wire_kernel;

fn main() -> std::process::ExitCode {
    common::isolated::main_after(|| {
        if support::old_programs().is_none() {
            common::stage::prefix().expect("make stage");
        }
    })
}
