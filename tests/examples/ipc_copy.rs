use crate::support::{
    child_of, example, fail, make_fifo, signal, stat, stderr_of, succeed, system_v_objects, wait,
    wait_until, wait_until_gone,
};
use common::isolated::{apply, isolated};
use common::needs;
use common::user::{NOBODY, is_root};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const VIAS: [&str; 6] = ["socketpair", "fifo", "shm", "message", "channel", "fd"];

fn source(bytes: &[u8]) -> PathBuf {
    let path = temp_dir().join("source");
    fs::write(&path, bytes).unwrap();
    path
}

fn dest() -> PathBuf {
    temp_dir().join("dest")
}

fn copy(via: &str, from: &Path, to: &Path) -> Command {
    let mut command = example("ipc_copy");
    command.arg(from).arg(to).args(["--via", via]);
    command
}

fn clean() {
    for entry in fs::read_dir(temp_dir()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// Checks that the directory has only these files, and no incomplete copy.
fn assert_only(names: &[&str]) {
    let mut found: Vec<_> = fs::read_dir(temp_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn sizes() {
    // Around the length of a piece, and several pieces.
    for len in [
        0,
        1,
        4096,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        5_000_000,
    ] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        let from = source(&bytes);
        for via in VIAS {
            let row = succeed(&mut copy(via, &from, &dest()));
            assert!(
                row.starts_with(via) && row.contains(&format!(" {len} bytes ")),
                "{row}"
            );
            assert!(fs::read(dest()).unwrap() == bytes, "{via} {len}");
            assert_only(&["dest", "source"]);
        }
    }
    clean();
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn mode_and_link() {
    let from = source(b"a script");
    fs::set_permissions(&from, fs::Permissions::from_mode(0o750)).unwrap();
    let link = temp_dir().join("link");
    fs::write(dest(), "old").unwrap();
    std::os::unix::fs::symlink(dest(), &link).unwrap();
    succeed(&mut copy("shm", &from, &link));
    assert_eq!(fs::read(dest()).unwrap(), b"a script");
    assert_eq!(
        fs::metadata(dest()).unwrap().permissions().mode() & 0o777,
        0o750
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    clean();
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn bad_arguments() {
    let from = source(b"x");
    let nowhere = temp_dir().join("nowhere/dest");
    for via in VIAS {
        assert!(fail(&mut copy(via, &nowhere, &dest()), 1).contains("No such file"));
        assert!(fail(&mut copy(via, &from, &nowhere), 1).contains("No such file"));
        assert!(fail(&mut copy(via, &temp_dir(), &dest()), 1).contains("is a directory"));
        assert!(fail(&mut copy(via, &from, &temp_dir()), 1).contains("is a directory"));
        assert!(fail(&mut copy(via, &from, &from), 1).contains("the same file"));
        assert_only(&["source"]);
    }
    assert_eq!(fs::read(&from).unwrap(), b"x");
    clean();
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn unreadable() {
    let from = source(b"secret");
    fs::set_permissions(&from, fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(temp_dir(), fs::Permissions::from_mode(0o777)).unwrap();
    for via in VIAS {
        let mut command = copy(via, &from, &dest());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        assert!(fail(&mut command, 1).contains("Permission denied"));
    }
    clean();
}

/// Every write to /dev/full fails with ENOSPC.
#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn full_disk() {
    let from = source(&vec![1; 3_000_000]);
    for via in VIAS {
        let text = fail(&mut copy(via, &from, Path::new("/dev/full")), 1);
        assert!(text.contains("No space left on device"), "{text}");
        assert_eq!(system_v_objects(), 0);
        assert_only(&["source"]);
    }
    clean();
}

/// If the file system takes no more data, the incomplete copy is removed.
#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn file_size_limit() {
    let from = source(&vec![1; 3_000_000]);
    for via in VIAS {
        let mut command = copy(via, &from, &dest());
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 1_000_000,
                    rlim_max: 1_000_000,
                };
                libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                Ok(())
            });
        }
        let text = fail(&mut command, 1);
        assert!(text.contains("File too large"), "{text}");
        assert_only(&["source"]);
    }
    clean();
}

/// Starts a copy of an endless source: a FIFO that the test writes to.
fn start_endless(via: &str) -> (Child, File) {
    // A write to a program that has ended must fail, not end this process.
    common::signals::set_action(libc::SIGPIPE, libc::SIG_IGN, 0);
    let from = make_fifo("source");
    let child = copy(via, &from, &dest())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = File::create(&from).unwrap();
    to.write_all(&[7; 1 << 20]).unwrap();
    (child, to)
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn receiver_killed() {
    for via in VIAS {
        let (mut child, mut to) = start_endless(via);
        signal(child_of(&child), libc::SIGKILL);
        // The sender notices with its next send.
        wait_until("the end of the sender", || {
            let _ = to.write_all(&[7; 1 << 16]);
            child.try_wait().unwrap().is_some()
        });
        assert_eq!(wait(&mut child).code(), Some(1));
        assert!(stderr_of(&mut child).contains("killed by signal 9"));
        assert_only(&["source"]);
        assert_eq!(system_v_objects(), 0);
        clean();
    }
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn sender_killed() {
    for via in VIAS {
        let (mut child, to) = start_endless(via);
        let receiver = child_of(&child);
        wait_until("part of a copy", || {
            fs::read_dir(temp_dir()).unwrap().count() == 2
        });
        signal(child.id(), libc::SIGKILL);
        assert_eq!(wait(&mut child).signal(), Some(libc::SIGKILL));
        wait_until_gone(receiver);
        assert_only(&["source"]);
        assert_eq!(system_v_objects(), 0);
        drop(to);
        clean();
    }
}

/// A stopped receiver is not taken for a dead one.
#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn receiver_stopped() {
    for via in VIAS {
        let (mut child, to) = start_endless(via);
        let receiver = child_of(&child);
        signal(receiver, libc::SIGSTOP);
        wait_until("the stop", || stat(receiver)[0] == "T");
        signal(receiver, libc::SIGCONT);
        drop(to);
        assert!(
            wait(&mut child).success(),
            "{via}: {}",
            stderr_of(&mut child)
        );
        assert_eq!(fs::read(dest()).unwrap().len(), 1 << 20);
        clean();
    }
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn interrupted() {
    for via in VIAS {
        let (mut child, to) = start_endless(via);
        child_of(&child);
        wait_until("part of a copy", || {
            fs::read_dir(temp_dir()).unwrap().count() == 2
        });
        signal(child.id(), libc::SIGTERM);
        assert_eq!(wait(&mut child).signal(), Some(libc::SIGTERM));
        wait_until("the end", || fs::read_dir(temp_dir()).unwrap().count() == 1);
        wait_until("the removal", || system_v_objects() == 0);
        drop(to);
        clean();
    }
}

/// A sparse file of 4 GiB and 3 bytes: its length needs more than 32 bits.
#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn large() {
    let from = temp_dir().join("source");
    let len = (4_u64 << 30) + 3;
    File::create(&from).unwrap().set_len(len).unwrap();
    // To /dev/null, because the disk may not have 4 GiB free.
    for via in VIAS {
        let row = succeed(&mut copy(via, &from, Path::new("/dev/null")));
        assert!(row.contains(&format!(" {len} bytes ")), "{row}");
    }
    clean();
}

#[apply(isolated)]
#[needs(needs::script)]
fn progress_bar() {
    // script(1) gives the program a terminal.
    let from = temp_dir().join("source");
    File::create(&from).unwrap().set_len(2 << 30).unwrap();
    let program = common::root().join("build/examples/ipc_copy");
    let command = format!(
        "'{}' '{}' /dev/null --via socketpair",
        program.display(),
        from.display()
    );
    let shown = succeed(Command::new("script").args(["-qec", &command, "/dev/null"]));
    assert!(
        shown.contains('#') && shown.contains('%') && shown.contains("MB/s"),
        "{shown}"
    );
    clean();
}
