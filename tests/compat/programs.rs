//! Programs of earlier versions with the present library: they start, and print what they printed
//! when they were frozen.

use crate::support::*;
use common::{root, text};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PROGRAMS: [&str; 6] = ["system", "fifo", "regions", "locks", "channels", "feeds"];

/// The directory of the present library.
pub fn present_library() -> PathBuf {
    root().join("build/stage/lib")
}

#[apply(isolated)]
#[needs(old_programs_alone)]
fn fresh_output() {
    for set in sets() {
        for name in PROGRAMS {
            let _case = Case(format!("{name} of {}", set.version));
            let (directory, region) = (WorkingDirectory::new(), RegionName::new());
            let mut command = Command::new(set.path(name));
            command
                // The name for regions. The other programs ignore it.
                .arg(region.as_str())
                .env("LD_LIBRARY_PATH", present_library())
                .stdin(Stdio::null());
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{}{}",
                output.status,
                text(&output)
            );
            set.assert_frozen(&format!("{name}.out"), &text(&output));
            assert_eq!(directory.list(), [""; 0], "files are left behind");
        }
    }
}

/// Every function of a version is used by one of its programs: the loader finds all of them.
#[apply(isolated)]
#[needs(old_programs)]
fn programs_use_all_functions() {
    for set in sets() {
        let programs: Vec<Vec<u8>> = PROGRAMS
            .iter()
            .map(|name| fs::read(set.path(name)).unwrap())
            .collect();
        let symbols = fs::read_to_string(set.path("symbols.txt")).unwrap();
        for line in symbols.lines() {
            let (function, _) = line.split_once(' ').unwrap();
            // The name is in the string table, between zeros.
            let name = [b"\0", function.as_bytes(), b"\0"].concat();
            let uses = |program: &Vec<u8>| program.windows(name.len()).any(|part| part == name);
            assert!(programs.iter().any(uses), "no program uses {function}");
        }
    }
}
