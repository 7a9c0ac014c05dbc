//! Uses the library as packagers and users do: installs it, and builds programs outside the source
//! tree with pkg-config, CMake, Meson and cffi.

mod cdef;
mod cmake;
mod debian;
mod install;
mod musl;
mod pkg_config;
mod reproducible;
mod subproject;
mod support;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut trials = install::trials();
    trials.extend(pkg_config::trials());
    trials.extend(cmake::trials());
    trials.extend(subproject::trials());
    trials.extend(cdef::trials());
    trials.push(debian::trial());
    trials.push(musl::trial());
    trials.extend(reproducible::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
