//! The probes of the library, which `doc/probes.md` describes: the notes that tracers read, the
//! instructions at which they stop, and what gdb reads there.

mod gdb;
mod notes;
mod places;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut trials = notes::trials();
    trials.extend(gdb::trials());
    trials.extend(places::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
