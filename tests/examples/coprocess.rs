use crate::support::{example, fail, succeed, wait};
use common::isolated::{apply, isolated};
use std::io::{Read, Write};
use std::process::Stdio;

#[apply(isolated)]
fn sort() {
    let sorted = succeed(example("coprocess").args(["--with", "sort", "pear", "fig", "apple"]));
    assert_eq!(sorted, "apple\nfig\npear\n");
}

/// The text is longer than the buffers of both sockets: a deadlock would be possible.
#[apply(isolated)]
fn long_text() {
    let text = "a line of text, and one more\n".repeat(100_000);
    let mut child = example("coprocess")
        .args(["--with", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()).unwrap());
    let mut back = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut back)
        .unwrap();
    writer.join().unwrap();
    assert!(wait(&mut child).success() && back == text);
}

#[apply(isolated)]
fn programs_that_fail() {
    assert!(
        fail(
            example("coprocess").args(["--with", "no-such-program", "x"]),
            1
        )
        .contains("No such file")
    );
    // The exit status is that of the program. It need not read its input.
    fail(example("coprocess").args(["--with", "false", "x"]), 1);
    succeed(example("coprocess").args(["--with", "true", "x"]));
}
