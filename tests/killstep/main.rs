//! Kills a process at every instruction of every operation on shared objects: [`harness`]
//! single-steps the process, kills it after each instruction in turn, and lets another process
//! continue. The other modules define the operations and the conditions that must hold.

/// Makes a function a test that single-steps: `#[apply(scenario)]`.
macro_rules! scenario {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident() $body:block) => {
        common::isolated! {
            #[needs(crate::child::why_no_stepping)]
            $(#[$attribute])*
            $visibility fn $name() $body
        }
    };
}

mod cell;
mod channel;
mod channel_batch;
mod channel_call;
mod channel_descriptors;
mod channel_handshake;
mod child;
mod event;
mod exclusive;
mod feed;
mod feed_publisher;
mod feed_subscriber;
mod fifo;
mod harness;
mod library;
mod lock;
mod message;
mod self_test;
mod semlock;
mod shm;
mod spawn;
mod support;
mod victim;

use common::isolated;
use harness::{Report, Scenario};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// The environment variable with the path of the file to which the processes of the scenarios add
/// their lines. The lines are printed at the end.
const TABLE: &str = "UNIXIPC_KILLSTEP_TABLE";

fn main() -> ExitCode {
    if isolated::is_child() {
        return isolated::main();
    }
    let table = tempfile::NamedTempFile::new().expect("a temporary file");
    // SAFETY: this process still has one thread.
    unsafe { std::env::set_var(TABLE, table.path()) };
    let code = isolated::main_after(|| library::build().expect("make stage"));
    let lines = fs::read_to_string(table.path()).expect("the table");
    if !lines.is_empty() {
        println!("{}\n{lines}", Report::HEADINGS);
    }
    code
}

/// Runs a scenario. The survivor must pass at every point.
fn check<S: Scenario>(name: &str, scenario: &S) {
    let begin = Instant::now();
    let report = harness::run(scenario).unwrap_or_else(|error| panic!("{name}: {error}"));
    let line = format!("{report}  {:7.1}  {name}", begin.elapsed().as_secs_f64());
    add_line(&line);
    assert!(
        report.points > 0 && report.survived == report.points,
        "{}\n{line}\n{:#?}",
        Report::HEADINGS,
        report.failures
    );
}

/// Adds a line to the table.
fn add_line(line: &str) {
    if let Some(path) = std::env::var_os(TABLE) {
        let mut table = OpenOptions::new().append(true).open(path).unwrap();
        table.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
