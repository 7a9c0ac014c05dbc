use crate::support::{Server, example, fail, is_date, succeed, wait};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn path() -> PathBuf {
    temp_dir().join("fifo")
}

fn start() -> Server {
    Server::start(example("fifo_timed").arg(path()))
}

#[apply(isolated)]
fn each_client_gets_one_date() {
    let server = start();
    for _ in 0..100 {
        let date = succeed(example("fifo_timec").arg(path()));
        assert!(
            date.ends_with('\n') && date.lines().count() == 1 && is_date(&date),
            "{date}"
        );
    }
    server.end(libc::SIGTERM);
    assert!(!path().exists());
}

#[apply(isolated)]
fn clients_at_once() {
    let server = start();
    let mut clients: Vec<_> = (0..50)
        .map(|_| {
            example("fifo_timec")
                .arg(path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for client in &mut clients {
        let mut date = String::new();
        client
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut date)
            .unwrap();
        assert!(
            wait(client).success() && date.lines().count() == 1 && is_date(&date),
            "{date}"
        );
    }
    server.end(libc::SIGINT);
}

/// A client that reads until the end of the file gets one date too.
#[apply(isolated)]
fn cat() {
    let server = start();
    for _ in 0..50 {
        let date = succeed(Command::new("cat").arg(path()));
        assert_eq!(date.lines().count(), 1, "{date}");
    }
    server.end(libc::SIGTERM);
}

/// A client that closes the FIFO without reading does not stop the server.
#[apply(isolated)]
fn client_that_closes_early() {
    let server = start();
    for _ in 0..20 {
        drop(File::open(path()).unwrap());
    }
    assert!(is_date(&succeed(example("fifo_timec").arg(path()))));
    server.end(libc::SIGTERM);
}

#[apply(isolated)]
fn left_by_a_dead_server() {
    start().end(libc::SIGKILL);
    assert!(fs::metadata(path()).unwrap().file_type().is_fifo());
    let server = start();
    assert!(is_date(&succeed(example("fifo_timec").arg(path()))));
    server.end(libc::SIGTERM);
    assert!(!path().exists());
}

#[apply(isolated)]
fn not_a_fifo() {
    fs::write(path(), "a file").unwrap();
    assert!(fail(example("fifo_timed").arg(path()), 1).contains("not a FIFO"));
    assert!(fail(example("fifo_timec").arg(path()), 1).contains("not a FIFO"));
    assert_eq!(fs::read(path()).unwrap(), b"a file");
    fs::remove_file(path()).unwrap();
}

#[apply(isolated)]
fn no_server() {
    assert!(fail(example("fifo_timec").arg(path()), 1).contains("start fifo_timed first"));
}
