use crate::support::{example, fail, succeed};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::fs;

#[apply(isolated)]
fn output() {
    let pair = "the child replied: hello, world\nthe child has closed its end\n";
    let channel = "the square of 1 is 1\nthe square of 2 is 4\nthe square of 3 is 9\n\
                   the parent has closed its end\n";
    let fds = "file 1 says: hello\nfile 2 says: world\nthe last message has no file\n";
    for (name, expected) in [
        ("hello_pair", pair),
        ("hello_shm", "two processes counted to 200000\n"),
        (
            "hello_cell",
            "the last position is 1000 1000000, version 1000\n",
        ),
        ("hello_channel", channel),
        ("hello_fds", fds),
    ] {
        assert_eq!(succeed(&mut example(name)), expected);
    }
    // The children can print in any order.
    let text = succeed(&mut example("hello_feed"));
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let expected = [0, 1].map(|n| format!("child {n}: the sum is 55, and the feed has ended"));
    assert_eq!(lines, expected);
    // The writers can send in any order.
    let path = temp_dir().join("fifo");
    let text = succeed(example("hello_fifo").arg(&path));
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 2, 3].map(|n| format!("hello from writer {n}")));
    assert!(!path.exists());
}

#[apply(isolated)]
fn fifo_path() {
    assert!(fail(example("hello_fifo").arg("--nonsense"), 2).contains("usage: hello_fifo"));
    assert!(fail(example("hello_fifo").args(["a", "b"]), 2).contains("usage: hello_fifo"));
    let path = temp_dir().join("file");
    fs::write(&path, "a file").unwrap();
    assert!(fail(example("hello_fifo").arg(&path), 1).contains("File exists"));
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    fs::remove_file(&path).unwrap();
}
