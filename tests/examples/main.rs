//! Runs the programs of c_examples/ as a user does: with clients and servers, with wrong
//! arguments, and with processes that are killed. Each test is a process with its own IPC
//! namespace and directory, and must leave nothing in them.

mod channel_echo;
mod channel_pingpong;
mod coprocess;
mod cxx;
mod fd_pass;
mod fifo_log;
mod fifo_time;
mod frame_pipe;
mod hello;
mod ipc_copy;
mod lock_crash;
mod market_feed;
mod plugin_host;
mod sensor_board;
mod sensor_feed;
mod shm_race;
mod shm_time;
mod socketpair_talk;
mod support;
mod usage;
mod worker_pool;

use common::isolated::{apply, isolated};
use common::stage;
use std::process::{Command, ExitCode};
use support::succeed;

/// `make demo` must succeed, and leave nothing behind.
#[apply(isolated)]
fn demo() {
    let demo = common::root().join("scripts/demo");
    let shown = succeed(Command::new(demo).arg(common::root().join("build/examples")));
    assert!(shown.contains("mechanism"), "{shown}");
}

fn main() -> ExitCode {
    common::isolated::main_after(|| {
        stage::prefix().expect("cannot build the examples");
    })
}
