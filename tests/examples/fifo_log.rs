use crate::support::{Server, example, signal, succeed, wait, wait_until};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

pub fn nothing_is_lost() {
    let fifo = temp_dir().join("fifo");
    let log = temp_dir().join("log");
    let server = Server::start(
        example("fifo_log")
            .arg("collect")
            .arg(&fifo)
            .stdout(File::create(&log).unwrap()),
    );
    let mut writers: Vec<_> = (0..10)
        .map(|writer| {
            let lines: Vec<_> = (0..200).map(|line| format!("{writer} {line}")).collect();
            example("fifo_log")
                .arg("write")
                .arg(&fifo)
                .args(lines)
                .spawn()
                .unwrap()
        })
        .collect();
    for writer in &mut writers {
        assert!(wait(writer).success());
    }
    assert!(server.end(libc::SIGTERM).success());
    let collected = fs::read_to_string(&log).unwrap();
    let mut lines: Vec<_> = collected.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!((collected.lines().count(), lines.len()), (2000, 2000));
    assert!(!fifo.exists());
    fs::remove_file(&log).unwrap();
}

/// The collector takes what is still sent before it ends.
pub fn ends_after_its_writers() {
    let fifo = temp_dir().join("fifo");
    let mut server = Server::start(
        example("fifo_log")
            .arg("collect")
            .arg(&fifo)
            .stdout(Stdio::piped()),
    );
    let mut writer = example("fifo_log")
        .arg("write")
        .arg(&fifo)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(b"early\n").unwrap();
    let mut out = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    signal(server.0.id(), libc::SIGTERM);
    wait_until("the removal of the FIFO", || !fifo.exists());
    stdin.write_all(b"late\n").unwrap();
    drop(stdin);
    assert!(wait(&mut writer).success() && wait(&mut server.0).success());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "early\nlate\n");
}

/// Lines that a shell writes, and records, each whole.
pub fn foreign_text() {
    let fifo = temp_dir().join("fifo");
    let log = temp_dir().join("log");
    let server = Server::start(
        example("fifo_log")
            .arg("collect")
            .arg(&fifo)
            .stdout(File::create(&log).unwrap()),
    );
    let mut shell = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let mut expected = String::new();
    for number in 0..200 {
        // More than one write before the collector reads, at times.
        shell
            .write_all(format!("echo {number}\n").as_bytes())
            .unwrap();
        expected += &format!("echo {number}\n");
        if number % 20 == 0 {
            succeed(example("fifo_log").arg("write").arg(&fifo).arg("a record"));
            expected += "a record\n";
        }
    }
    drop(shell);
    assert!(server.end(libc::SIGTERM).success());
    assert_eq!(fs::read_to_string(&log).unwrap(), expected);
    fs::remove_file(&log).unwrap();
}
