use crate::support::{
    children_of, example, fail, make_fifo, read_all, signal, stat, succeed, wait, wait_until,
    wait_until_gone,
};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Creates files of 1, 2, ... lines.
fn files(count: usize) -> Vec<PathBuf> {
    (1..=count)
        .map(|lines| {
            let path = temp_dir().join(format!("file{lines}"));
            fs::write(&path, "two words\n".repeat(lines)).unwrap();
            path
        })
        .collect()
}

fn remove(files: &[PathBuf]) {
    for file in files {
        fs::remove_file(file).unwrap();
    }
}

/// The line for a file of `files`.
fn row(lines: usize, path: &Path) -> String {
    let (words, bytes) = (2 * lines, 10 * lines);
    format!("{lines:8} {words:8} {bytes:10} {}\n", path.display())
}

fn rows(files: &[PathBuf]) -> String {
    let rows = files.iter().enumerate();
    rows.map(|(i, path)| row(i + 1, path)).collect()
}

/// Starts a pool whose first job blocks: it reads a FIFO.
fn start(fifo: &Path, files: &[PathBuf]) -> Child {
    example("worker_pool")
        .args(["--workers", "2"])
        .arg(fifo)
        .args(files)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a worker other than `except` has opened the FIFO. Returns the worker.
fn wait_for_reader(pool: &Child, fifo: &Path, except: u32) -> u32 {
    let mut reader = None;
    wait_until("a worker that reads the FIFO", || {
        reader = children_of(pool)
            .into_iter()
            .find(|worker| *worker != except && has_open(*worker, fifo));
        reader.is_some()
    });
    reader.unwrap()
}

fn has_open(pid: u32, path: &Path) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
    })
}

#[apply(isolated)]
fn counts() {
    let files = files(40);
    for workers in ["1", "3", "64"] {
        let text = succeed(
            example("worker_pool")
                .args(["--workers", workers])
                .args(&files),
        );
        let summary = format!("40 files, {workers} workers, 0 deaths of workers\n");
        assert_eq!(text, rows(&files) + &summary);
    }
    remove(&files);
}

#[apply(isolated)]
fn files_that_cannot_be_read() {
    let files = files(1);
    let long = "x".repeat(5000);
    let mut command = example("worker_pool");
    let text = fail(
        command
            .arg("/nonexistent")
            .args(&files)
            .args(["/", "", &long]),
        1,
    );
    for message in [
        "/nonexistent: No such file or directory\n",
        &row(1, &files[0]),
        "/: Is a directory\n",
        "\n: No such file or directory\n",
        "x: File name too long\n",
        "5 files, 4 workers, 0 deaths of workers\n",
    ] {
        assert!(text.contains(message), "{message} is missing from\n{text}");
    }
    remove(&files);
}

/// Another worker gets the job of a killed worker, and the killed worker is replaced.
#[apply(isolated)]
fn worker_killed() {
    let fifo = make_fifo("fifo");
    let files = files(20);
    let mut pool = start(&fifo, &files);
    let mut to = File::create(&fifo).unwrap(); // blocks until a worker opens the FIFO
    let first = wait_for_reader(&pool, &fifo, 0);
    signal(first, libc::SIGKILL);
    wait_for_reader(&pool, &fifo, first);
    wait_until("two workers", || children_of(&pool).len() == 2);
    to.write_all(b"one line\n").unwrap();
    drop(to);
    let text = read_all(pool.stdout.take().unwrap());
    assert!(wait(&mut pool).success());
    let counts = format!("{:8} {:8} {:10} {}\n", 1, 2, 9, fifo.display());
    let summary = "21 files, 2 workers, 1 deaths of workers\n";
    assert_eq!(text, counts + &rows(&files) + summary);
    remove(&files);
    fs::remove_file(&fifo).unwrap();
}

/// A job that every worker dies in is given up, and the other jobs are done.
#[apply(isolated)]
fn every_worker_killed() {
    let fifo = make_fifo("fifo");
    let mut command = example("worker_pool");
    // Nothing opens the FIFO for writing, so each worker blocks in this job until it is killed.
    let text = fail(command.args(["--kill-every", "1"]).arg(&fifo), 1);
    let message = "failed: 3 workers died during this job, the last one by signal 9\n";
    assert!(text.contains(message), "{text}");
    assert!(
        text.contains("1 files, 4 workers, 3 deaths of workers"),
        "{text}"
    );
    fs::remove_file(&fifo).unwrap();

    let files = files(30);
    let text = succeed(
        example("worker_pool")
            .args(["--kill-every", "7"])
            .args(&files),
    );
    assert!(text.starts_with(&rows(&files)), "{text}");
    assert!(!text.contains(" 0 deaths"), "{text}");
    remove(&files);
}

/// An idle worker notices the death of the parent while a worker that was started later is busy,
/// because the later one has closed its copies of the parent's ends.
#[apply(isolated)]
fn parent_killed() {
    let fifos = ["fifo", "second"].map(make_fifo);
    let mut pool = start(&fifos[0], &fifos[1..]);
    let [first, second] = [0, 1].map(|job| File::create(&fifos[job]).unwrap());
    let idle = wait_for_reader(&pool, &fifos[0], 0);
    let busy = wait_for_reader(&pool, &fifos[1], 0);
    drop(first);
    wait_until("the end of the first job", || !has_open(idle, &fifos[0]));
    wait_until("a sleeping worker", || stat(idle)[0] == "S");
    pool.kill().unwrap();
    wait(&mut pool);
    wait_until_gone(idle);
    // The busy worker notices the death after its job.
    drop(second);
    wait_until_gone(busy);
    for fifo in fifos {
        fs::remove_file(fifo).unwrap();
    }
}
