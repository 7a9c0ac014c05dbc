//! Runs the programs of c_examples/ as a user does: with clients and servers, with wrong
//! arguments, and with processes that are killed. Each test is a process with its own IPC
//! namespace and directory, and must leave nothing in them.

mod channel_cxx;
mod channel_echo;
mod channel_pingpong;
#[path = "../common/mod.rs"]
mod common;
mod coprocess;
mod fd_pass;
mod fifo_log;
mod fifo_time;
mod frame_pipe;
mod hello;
mod ipc_copy;
mod lock_crash;
mod plugin_host;
mod sensor_board;
mod shm_race;
mod shm_time;
mod socketpair_talk;
mod support;
mod usage;
mod worker_pool;

use common::isolated::{Test, can_have_own_ipc};
use common::stage;
use std::process::{Command, ExitCode};
use support::succeed;

/// Returns why a test cannot run here, or None.
fn why_not(name: &str) -> Option<&'static str> {
    let need_own_ipc = [
        "shm_time",
        "shm_race::interrupted",
        "lock_crash::interrupted",
        "ipc_copy",
    ];
    if name == "ipc_copy::progress_bar" && common::find_tool("script").is_none() {
        Some("script is missing")
    } else if name.starts_with("channel_cxx") && common::find_tool("c++").is_none() {
        Some("c++ is missing")
    } else if need_own_ipc.iter().any(|prefix| name.starts_with(prefix)) && !can_have_own_ipc() {
        Some("needs an IPC namespace of its own")
    } else {
        None
    }
}

/// `make demo` must succeed, and leave nothing behind.
fn demo() {
    let demo = common::root().join("scripts/demo");
    let shown = succeed(Command::new(demo).arg(common::root().join("build/examples")));
    assert!(shown.contains("mechanism"), "{shown}");
}

fn main() -> ExitCode {
    if !common::isolated::is_child() {
        stage::prefix().expect("cannot build the examples");
    }
    let tests = tests![
        usage::help,
        usage::unknown_option,
        usage::too_many_arguments,
        usage::too_few_arguments,
        usage::wrong_values,
        socketpair_talk::both_sides_send,
        fifo_time::each_client_gets_one_date,
        fifo_time::clients_at_once,
        fifo_time::cat,
        fifo_time::client_that_closes_early,
        fifo_time::left_by_a_dead_server,
        fifo_time::not_a_fifo,
        fifo_time::no_server,
        shm_time::clients_see_time_pass,
        shm_time::second_server,
        shm_time::left_by_a_dead_server,
        shm_time::no_server,
        shm_time::other_options,
        shm_race::lock_prevents_torn_reads,
        shm_race::interrupted,
        ipc_copy::sizes,
        ipc_copy::mode_and_link,
        ipc_copy::bad_arguments,
        ipc_copy::unreadable,
        ipc_copy::full_disk,
        ipc_copy::file_size_limit,
        ipc_copy::receiver_killed,
        ipc_copy::sender_killed,
        ipc_copy::receiver_stopped,
        ipc_copy::interrupted,
        ipc_copy::large,
        ipc_copy::progress_bar,
        coprocess::sort,
        coprocess::long_text,
        coprocess::programs_that_fail,
        fd_pass::worker_reads_passed_files,
        fd_pass::missing_file,
        fifo_log::no_record_is_lost,
        fifo_log::ends_after_its_writers,
        fifo_log::lines_of_a_shell,
        lock_crash::owners_killed,
        lock_crash::interrupted,
        sensor_board::readers_come_and_go,
        sensor_board::writer_replaced,
        sensor_board::demo,
        channel_pingpong::histogram,
        channel_pingpong::killed,
        channel_echo::clients_at_once,
        channel_echo::clients_killed,
        channel_echo::misbehaving_clients,
        channel_echo::stopped_client,
        channel_echo::server_killed,
        channel_echo::abstract_name,
        frame_pipe::frames_arrive,
        frame_pipe::viewer_killed,
        frame_pipe::camera_killed,
        channel_cxx::sums,
        hello::output,
        hello::fifo_path,
        worker_pool::counts,
        worker_pool::files_that_cannot_be_read,
        worker_pool::worker_killed,
        worker_pool::every_worker_killed,
        worker_pool::parent_killed,
        plugin_host::replies,
        plugin_host::late_reply,
        plugin_host::hanging_plugin,
        plugin_host::crashing_plugin,
        plugin_host::plugin_killed,
        plugin_host::not_a_plugin,
        plugin_host::host_killed,
        demo,
    ];
    let tests: Vec<_> = tests
        .iter()
        .map(|test| Test {
            ignored: why_not(test.name),
            ..*test
        })
        .collect();
    common::isolated::main(tests.leak(), tests![shm_time::other_user])
}
