use crate::support::{child_of, example, fail, signal, stderr_of, succeed, wait, wait_until_gone};
use common::isolated::{apply, isolated};
use std::process::{Child, Stdio};

#[apply(isolated)]
fn histogram() {
    for args in [
        &["--blocking"][..],
        &["--cores", "0,0", "--size", "100000"],
        &["--polling"],
    ] {
        if args.contains(&"--polling") && std::thread::available_parallelism().unwrap().get() < 2 {
            fail(example("channel_pingpong").args(args), 1);
            continue;
        }
        let mut command = example("channel_pingpong");
        let shown = succeed(command.args(args).args(["--count", "5000"]));
        let counted: u64 = shown
            .lines()
            .filter_map(|line| line.split_once(" ns ")?.1.split_whitespace().next())
            .filter_map(|count| count.parse::<u64>().ok())
            .sum();
        assert_eq!(counted, 5000, "{shown}");
        assert!(
            shown.contains("###") && shown.contains("99.9 %: "),
            "{shown}"
        );
    }
}

fn start(mode: &str) -> Child {
    example("channel_pingpong")
        .args([mode, "--count", "100000000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[apply(isolated)]
fn killed() {
    for mode in ["--blocking", "--polling"] {
        let mut parent = start(mode);
        signal(child_of(&parent), libc::SIGKILL);
        assert_eq!(wait(&mut parent).code(), Some(1));
        let text = stderr_of(&mut parent);
        assert!(
            text.contains("has ended") || text.contains("Broken pipe"),
            "{text}"
        );

        let mut parent = start(mode);
        let child = child_of(&parent);
        signal(parent.id(), libc::SIGKILL);
        wait(&mut parent);
        wait_until_gone(child);
    }
}
