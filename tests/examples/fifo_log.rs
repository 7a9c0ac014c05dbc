use crate::support::{Server, example, signal, succeed, wait, wait_until};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn collector(fifo: &Path, log: impl Into<Stdio>) -> Server {
    let mut command = example("fifo_log");
    Server::start(command.arg("collect").arg(fifo).stdout(log))
}

/// `fifo_log write FIFO`, to which the caller adds lines.
fn writer(fifo: &Path) -> Command {
    let mut command = example("fifo_log");
    command.arg("write").arg(fifo);
    command
}

#[apply(isolated)]
fn no_record_is_lost() {
    let fifo = temp_dir().join("fifo");
    let log = temp_dir().join("log");
    let server = collector(&fifo, File::create(&log).unwrap());
    let mut writers: Vec<_> = (0..10)
        .map(|number| {
            let lines: Vec<_> = (0..200).map(|line| format!("{number} {line}")).collect();
            writer(&fifo).args(lines).spawn().unwrap()
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

/// The collector receives the records of open writers before it exits.
#[apply(isolated)]
fn ends_after_its_writers() {
    let fifo = temp_dir().join("fifo");
    let mut server = collector(&fifo, Stdio::piped());
    let mut writer = writer(&fifo).stdin(Stdio::piped()).spawn().unwrap();
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

/// Lines of a shell and records arrive whole and in order.
#[apply(isolated)]
fn lines_of_a_shell() {
    let fifo = temp_dir().join("fifo");
    let log = temp_dir().join("log");
    let server = collector(&fifo, File::create(&log).unwrap());
    let mut shell = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let mut expected = String::new();
    for number in 0..200 {
        shell
            .write_all(format!("echo {number}\n").as_bytes())
            .unwrap();
        expected += &format!("echo {number}\n");
        if number % 20 == 0 {
            succeed(writer(&fifo).arg("a record"));
            expected += "a record\n";
        }
    }
    drop(shell);
    assert!(server.end(libc::SIGTERM).success());
    assert_eq!(fs::read_to_string(&log).unwrap(), expected);
    fs::remove_file(&log).unwrap();
}
