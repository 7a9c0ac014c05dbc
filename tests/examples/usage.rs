use crate::support::{example, fail, succeed};
use common::isolated::{apply, isolated};

const ALL: [&str; 21] = [
    "socketpair_talk",
    "fifo_timed",
    "fifo_timec",
    "shm_timed",
    "shm_timec",
    "shm_race",
    "ipc_copy",
    "coprocess",
    "fd_pass",
    "fifo_log",
    "lock_crash",
    "sensor_board",
    "channel_pingpong",
    "channel_echo_server",
    "channel_echo_client",
    "frame_pipe",
    "worker_pool",
    "plugin_host",
    "plugin",
    "market_feed",
    "sensor_feed",
];

#[apply(isolated)]
fn help() {
    for name in ALL {
        let help = succeed(example(name).arg("--help"));
        assert!(help.starts_with(&format!("usage: {name}")), "{help}");
    }
}

#[apply(isolated)]
fn unknown_option() {
    for name in ALL {
        let text = fail(example(name).arg("--nonsense"), 2);
        assert!(text.contains("usage:"), "{text}");
    }
}

#[apply(isolated)]
fn too_many_arguments() {
    // These programs take any number of arguments.
    for name in ALL
        .into_iter()
        .filter(|name| !["coprocess", "fd_pass", "worker_pool", "plugin_host"].contains(name))
    {
        fail(example(name).args(["a", "b", "c"]), 2);
    }
}

#[apply(isolated)]
fn too_few_arguments() {
    for name in [
        "fd_pass",
        "worker_pool",
        "plugin_host",
        "hello_fifo",
        "market_feed",
        "sensor_feed",
    ] {
        let text = fail(&mut example(name), 2);
        assert!(text.contains(&format!("usage: {name}")), "{text}");
    }
}

#[apply(isolated)]
fn wrong_values() {
    fail(example("socketpair_talk").args(["--type", "raw"]), 2);
    fail(example("ipc_copy").args(["a", "b", "--via", "pigeon"]), 2);
    for args in [
        ["--seconds", "0"],
        ["--seconds", "x"],
        ["--readers", "0"],
        ["--readers", "65"],
    ] {
        fail(example("shm_race").args(args), 2);
    }
    for (name, option, value) in [
        ("lock_crash", "--rounds", "-1"),
        ("channel_pingpong", "--size", "7"),
        ("channel_pingpong", "--count", "0"),
        ("channel_pingpong", "--cores", "1"),
        ("channel_pingpong", "--cores", "0,x"),
        ("channel_echo_client", "--window", "0"),
        ("channel_echo_client", "--size", "65537"),
        ("frame_pipe", "--frames", "0"),
        ("sensor_board", "--readers", "33"),
        ("sensor_board", "--count", "x"),
        ("market_feed", "--readers", "2"),
        ("market_feed", "--seconds", "0"),
        ("sensor_feed", "--readers", "33"),
        ("frame_pipe", "--size", "1920"),
        ("frame_pipe", "--size", "0x1080"),
        ("worker_pool", "--workers", "65"),
        ("worker_pool", "--kill-every", "0"),
        ("plugin_host", "--timeout", "0"),
    ] {
        let text = fail(example(name).args([option, value]), 2);
        assert!(text.contains(option) && text.contains("takes"), "{text}");
    }
}
