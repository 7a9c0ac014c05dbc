//! The programs of c_examples/ as their users run them: with clients and servers, with
//! wrong arguments, killed at a bad moment. Each test is a process with an IPC namespace
//! and a folder of its own, in which nothing may be left.

use common::isolated::{apply, isolated};
use common::needs;
use common::stage;
use common::user::{NOBODY, become_nobody, is_root};
use std::env::temp_dir;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes, on a machine with other work too.
const LIMIT: Duration = Duration::from_secs(60);

fn example(name: &str) -> Command {
    let mut command = Command::new(common::root().join("build/examples").join(name));
    command.stdin(Stdio::null());
    let end_with_the_test = || {
        // SAFETY: no pointers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: a system call is all that it does.
    unsafe { command.pre_exec(end_with_the_test) };
    command
}

fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a program that is to succeed; what it printed on standard output.
fn succeed(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        common::text(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program that is to fail with this status; what it said on standard error.
fn fail(command: &mut Command, code: i32) -> String {
    let output = output(command);
    let said = common::text(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}: {}\n{said}",
        output.status
    );
    said
}

/// Polls until something holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a child, with a limit.
fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the end of a child", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// The child of a program that has one.
fn child_of(parent: &Child) -> u32 {
    let path = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut child = None;
    wait_until("a child", || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        child = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    child.unwrap()
}

fn wait_until_gone(pid: u32) {
    wait_until("the end of a process", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// The fields of /proc/PID/stat from the third, the state, on.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(String::from)
        .collect()
}

/// What a program with a pipe as its standard error has said in the end.
fn said_by(child: &mut Child) -> String {
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    said
}

/// A server that has said that it serves; its standard error stays open for what it says later.
struct Server(
    Child,
    #[expect(dead_code, reason = "kept open")] Box<dyn BufRead>,
);

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let ready = said
            .by_ref()
            .lines()
            .any(|line| line.unwrap().contains(" serves "));
        assert!(ready, "{command:?} ended: {:?}", child.try_wait());
        Self(child, said)
    }

    fn end(mut self, sig: i32) -> ExitStatus {
        signal(self.0.id(), sig);
        wait(&mut self.0)
    }
}

/// The lines of /proc/sysvipc, which is this test's own: segments and semaphore sets.
fn system_v_objects() -> usize {
    ["shm", "sem"]
        .map(|kind| {
            fs::read_to_string(format!("/proc/sysvipc/{kind}"))
                .unwrap()
                .lines()
                .count()
                - 1
        })
        .iter()
        .sum()
}

/// True for a line such as `Sun 22 Nov 2026 13:53:07 +0000`.
fn is_date(line: &str) -> bool {
    let fields: Vec<_> = line.split_whitespace().collect();
    fields.len() >= 5 && fields[3].len() == 4 && fields[4].split(':').count() == 3
}

mod usage {
    use super::*;

    const ALL: [&str; 16] = [
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
            let said = fail(example(name).arg("--nonsense"), 2);
            assert!(said.contains("usage:"), "{said}");
        }
    }

    #[apply(isolated)]
    fn too_many_arguments() {
        // Those that take any number of words or files have too few without.
        for name in ALL
            .into_iter()
            .filter(|name| !["coprocess", "fd_pass"].contains(name))
        {
            fail(example(name).args(["a", "b", "c"]), 2);
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
            ("frame_pipe", "--size", "1920"),
            ("frame_pipe", "--size", "0x1080"),
        ] {
            let said = fail(example(name).args([option, value]), 2);
            assert!(said.contains(option) && said.contains("takes"), "{said}");
        }
    }
}

mod socketpair_talk {
    use super::*;

    #[apply(isolated)]
    fn both_sides_speak() {
        for kind in ["stream", "dgram"] {
            let talk = succeed(example("socketpair_talk").args(["--type", kind]));
            for who in ["parent says", "parent hears", "child  says", "child  hears"] {
                assert!(talk.contains(who), "{who} is missing from\n{talk}");
            }
        }
    }
}

mod fifo_time {
    use super::*;

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

    /// A client that reads until the end of the session gets one date too.
    #[apply(isolated)]
    fn cat() {
        let server = start();
        for _ in 0..50 {
            let date = succeed(Command::new("cat").arg(path()));
            assert_eq!(date.lines().count(), 1, "{date}");
        }
        server.end(libc::SIGTERM);
    }

    /// A client that opens and leaves without reading must not stop the server.
    #[apply(isolated)]
    fn client_that_leaves() {
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
}

mod shm_time {
    use super::*;

    fn server(args: &[&str]) -> Server {
        Server::start(example("shm_timed").args(args).arg(temp_dir()))
    }

    fn client(args: &[&str]) -> Command {
        let mut command = example("shm_timec");
        command.args(args).arg(temp_dir());
        command
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn clients_see_time_pass() {
        for args in [&[][..], &["--lock"], &["--cell"]] {
            let server = server(args);
            let first = succeed(&mut client(args));
            assert!(is_date(&first), "{first}");
            wait_until("another date", || succeed(&mut client(args)) != first);
            assert!(server.end(libc::SIGTERM).success());
            assert_eq!(system_v_objects(), 0);
        }
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn second_server() {
        let first = server(&[]);
        let said = fail(example("shm_timed").arg(temp_dir()), 1);
        assert!(
            said.contains(&format!("process {} serves", first.0.id())),
            "{said}"
        );
        assert!(is_date(&succeed(&mut client(&[]))));
        assert!(first.end(libc::SIGTERM).success());
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn left_by_a_dead_server() {
        server(&["--lock"]).end(libc::SIGKILL);
        assert_eq!(system_v_objects(), 2);
        assert!(fail(&mut client(&[]), 1).contains("has died"));
        let second = server(&[]);
        assert!(is_date(&succeed(&mut client(&[]))));
        assert!(second.end(libc::SIGTERM).success());
        assert_eq!(system_v_objects(), 0);
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn no_server() {
        assert!(fail(&mut client(&[]), 1).contains("start shm_timed first"));
        let server = server(&[]);
        assert!(fail(&mut client(&["--lock"]), 1).contains("has no lock"));
        assert!(fail(&mut client(&["--cell"]), 1).contains("has no cell"));
        assert!(server.end(libc::SIGTERM).success());
    }

    /// What a server left is used by one of another kind.
    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn another_kind() {
        server(&["--cell"]).end(libc::SIGKILL);
        let second = server(&["--lock"]);
        assert!(fail(&mut client(&["--cell"]), 1).contains("has no cell"));
        assert!(is_date(&succeed(&mut client(&["--lock"]))));
        second.end(libc::SIGKILL);
        let third = server(&["--cell"]);
        assert!(fail(&mut client(&[]), 1).contains("use --cell"));
        assert!(is_date(&succeed(&mut client(&["--cell"]))));
        assert!(third.end(libc::SIGTERM).success());
        assert_eq!(system_v_objects(), 0);
    }

    /// Another user's client can read, and cannot write: by the permission bits.
    #[apply(isolated)]
    #[needs(needs::root)]
    fn other_user() {
        fs::set_permissions(temp_dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let server = server(&[]);
        let row = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let fields: Vec<_> = row.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(fields[2], "644", "{row}");
        let id: i32 = fields[1].parse().unwrap();

        let mut other = Command::new("true");
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            other.pre_exec(move || {
                become_nobody()?;
                let denied = libc::shmat(id, std::ptr::null(), 0) as isize == -1
                    && *libc::__errno_location() == libc::EACCES;
                let allowed = libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) as isize != -1;
                if denied && allowed {
                    Ok(())
                } else {
                    Err(std::io::Error::other("attached"))
                }
            });
        }
        assert!(other.status().unwrap().success());
        assert!(server.end(libc::SIGTERM).success());
    }
}

mod shm_race {
    use super::*;

    /// The columns of a row: reads, torn, reads/s, writes/s.
    fn row(table: &str, guard: &str) -> Vec<u64> {
        let row = table
            .lines()
            .find(|line| line.starts_with(guard))
            .expect(guard);
        row[guard.len()..]
            .split_whitespace()
            .map(|field| field.parse().unwrap())
            .collect()
    }

    #[apply(isolated)]
    fn lock_prevents_torn_reads() {
        let table = succeed(example("shm_race").args(["--seconds", "1"]));
        assert!(
            row(&table, "no lock")[1] > 0,
            "the race was not seen: {table}"
        );
        for guard in [
            "semaphore lock",
            "ipc_semlock",
            "ipc_mutex",
            "ipc_rwlock",
            "ipc_cell",
        ] {
            let row = row(&table, guard);
            assert!(row[0] > 0 && row[1] == 0 && row[3] > 0, "{table}");
        }
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn interrupted() {
        let mut race = example("shm_race")
            .args(["--seconds", "3600"])
            .spawn()
            .unwrap();
        wait_until("a segment", || system_v_objects() > 0);
        signal(race.id(), libc::SIGINT);
        assert_eq!(wait(&mut race).code(), Some(128 + libc::SIGINT));
        assert_eq!(system_v_objects(), 0);
    }
}

mod ipc_copy {
    use super::*;

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

    /// Only these files are in the folder: no part of a copy is left.
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
        // Around the length of a piece, and several of them.
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
            assert!(fail(&mut copy(via, &temp_dir(), &dest()), 1).contains("is a folder"));
            assert!(fail(&mut copy(via, &from, &temp_dir()), 1).contains("is a folder"));
            assert!(fail(&mut copy(via, &from, &from), 1).contains("the file itself"));
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

    /// /dev/full answers every write with ENOSPC.
    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn full_disk() {
        let from = source(&vec![1; 3_000_000]);
        for via in VIAS {
            let said = fail(&mut copy(via, &from, Path::new("/dev/full")), 1);
            assert!(said.contains("No space left on device"), "{said}");
            assert_eq!(system_v_objects(), 0);
            assert_only(&["source"]);
        }
        clean();
    }

    /// On a real file system without room, nothing of the copy stays.
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
            let said = fail(&mut command, 1);
            assert!(said.contains("File too large"), "{said}");
            assert_only(&["source"]);
        }
        clean();
    }

    /// A source that never ends and can be paused: a FIFO that the test writes to.
    fn start_endless(via: &str) -> (Child, File) {
        let from = temp_dir().join("source");
        assert!(
            Command::new("mkfifo")
                .arg(&from)
                .status()
                .unwrap()
                .success()
        );
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
            // The sender finds out the next time that it sends.
            wait_until("the end of the sender", || {
                let _ = to.write_all(&[7; 1 << 16]);
                child.try_wait().unwrap().is_some()
            });
            assert_eq!(wait(&mut child).code(), Some(1));
            assert!(said_by(&mut child).contains("killed by signal 9"));
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

    /// That the receiver is stopped for a while is not its end.
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
            assert!(wait(&mut child).success(), "{via}: {}", said_by(&mut child));
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

    /// More than 32 bits can count: 4 GiB and 3 bytes, of which the file has no block.
    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn large() {
        let from = temp_dir().join("source");
        let len = (4_u64 << 30) + 3;
        File::create(&from).unwrap().set_len(len).unwrap();
        // To /dev/null: the disk is not what is tested, and 4 GiB of it may not be there.
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
}

mod coprocess {
    use super::*;

    #[apply(isolated)]
    fn sort() {
        let sorted = succeed(example("coprocess").args(["--with", "sort", "pear", "fig", "apple"]));
        assert_eq!(sorted, "apple\nfig\npear\n");
    }

    /// More than fits into both sockets: nobody may wait for the other.
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
        // The status is the program's; that it reads nothing is no error of ours.
        fail(example("coprocess").args(["--with", "false", "x"]), 1);
        succeed(example("coprocess").args(["--with", "true", "x"]));
    }
}

mod fd_pass {
    use super::*;

    #[apply(isolated)]
    fn worker_reads_what_it_is_given() {
        let file = temp_dir().join("file");
        fs::write(&file, "one\ntwo\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let said = succeed(example("fd_pass").arg(&file));
        assert!(said.contains("2 lines, 8 bytes"), "{said}");
        assert_eq!(said.contains("cannot open"), is_root(), "{said}");
        fs::remove_file(&file).unwrap();
    }

    #[apply(isolated)]
    fn missing_file() {
        fail(example("fd_pass").arg("/nonexistent"), 1);
    }
}

mod fifo_log {
    use super::*;

    #[apply(isolated)]
    fn nothing_is_lost() {
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
    #[apply(isolated)]
    fn ends_after_its_writers() {
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
    #[apply(isolated)]
    fn foreign_text() {
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
}

mod lock_crash {
    use super::*;

    #[apply(isolated)]
    fn owners_killed() {
        let shown = succeed(example("lock_crash").args(["--rounds", "50"]));
        for lock in ["ipc_mutex:", "ipc_rwlock:", "ipc_semlock:"] {
            assert!(shown.contains(lock), "{shown}");
        }
        assert_eq!(shown.matches("IPC_OWNER_DIED").count(), 3, "{shown}");
        assert_eq!(shown.matches("50 clerks killed").count(), 3, "{shown}");
    }

    #[apply(isolated)]
    #[needs(needs::ipc_namespace)]
    fn interrupted() {
        let mut crash = example("lock_crash")
            .args(["--rounds", "1000000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child_of(&crash);
        signal(crash.id(), libc::SIGTERM);
        assert_eq!(wait(&mut crash).code(), Some(128 + libc::SIGTERM));
        assert_eq!(system_v_objects(), 0);
    }
}

mod sensor_board {
    use super::*;

    fn board(what: &str) -> (Command, String) {
        let name = format!("/unixipc-test-{}", std::process::id());
        let mut command = example("sensor_board");
        command.args([what, "--name", &name]);
        (command, format!("/dev/shm{name}"))
    }

    fn is_there() -> bool {
        Path::new(&board("").1).exists()
    }

    /// Takes the name away from a writer that a failed test leaves.
    struct Name;

    impl Drop for Name {
        fn drop(&mut self) {
            let _ = fs::remove_file(board("").1);
        }
    }

    #[apply(isolated)]
    fn readers_come_and_go() {
        let _name = Name;
        let writer = Server::start(&mut board("write").0);
        let args = ["--count", "20", "--every", "5"];
        for _ in 0..3 {
            let mut last = 0;
            for line in succeed(board("read").0.args(args)).lines() {
                let number = line.split_whitespace().nth(3).unwrap();
                let number: u64 = number.trim_end_matches(',').parse().unwrap();
                assert!(number > last, "{line}");
                last = number;
            }
        }
        let said = fail(&mut board("write").0, 1);
        assert!(said.contains("has a writer already"), "{said}");
        assert!(writer.end(libc::SIGTERM).success());
        assert!(!is_there());
    }

    /// Its readers go on with the next writer, whether the one before was killed or ended.
    #[apply(isolated)]
    fn writer_replaced() {
        let _name = Name;
        let mut reader = board("read")
            .0
            .args(["--every", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        for sig in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
            let writer = Server::start(&mut board("write").0);
            let pid = format!("writer {},", writer.0.id());
            assert!(lines.any(|line| line.unwrap().starts_with(&pid)));
            writer.end(sig);
            assert_eq!(is_there(), sig == libc::SIGKILL);
        }
        signal(reader.id(), libc::SIGTERM);
        assert!(lines.all(|line| line.is_ok()));
        assert!(wait(&mut reader).success());
    }

    #[apply(isolated)]
    fn demo() {
        let _name = Name;
        let shown = succeed(&mut board("demo").0);
        assert!(shown.contains("2 writers, 0 torn"), "{shown}");
        assert!(!is_there());
        let mut demo = board("demo").0.stdout(Stdio::null()).spawn().unwrap();
        wait_until("the board", is_there);
        signal(demo.id(), libc::SIGTERM);
        assert_eq!(wait(&mut demo).code(), Some(128 + libc::SIGTERM));
        assert!(!is_there());
    }
}

mod channel_pingpong {
    use super::*;

    #[apply(isolated)]
    fn histogram() {
        for args in [
            &["--blocking"][..],
            &["--cores", "0,0", "--size", "100000"],
            &["--polling"],
        ] {
            if args.contains(&"--polling")
                && std::thread::available_parallelism().unwrap().get() < 2
            {
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
            let said = said_by(&mut parent);
            assert!(
                said.contains("gone") || said.contains("Broken pipe"),
                "{said}"
            );

            let mut parent = start(mode);
            let child = child_of(&parent);
            signal(parent.id(), libc::SIGKILL);
            wait(&mut parent);
            wait_until_gone(child);
        }
    }
}

mod channel_echo {
    use super::*;
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
    use nix::sys::socket::{connect, send, socket};
    use std::os::fd::{AsRawFd, OwnedFd};

    fn path() -> PathBuf {
        temp_dir().join("echo")
    }

    fn start() -> Server {
        let mut command = example("channel_echo_server");
        Server::start(command.arg(path()).stdout(Stdio::piped()))
    }

    fn client(args: &[&str]) -> Command {
        let mut command = example("channel_echo_client");
        command.args(args).arg(path());
        command
    }

    /// One that talks until it is killed.
    fn start_endless() -> Child {
        client(&["--count", "1000000000000", "--size", "20000"])
            .args(["--window", "1000"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn descriptors(server: &Server) -> usize {
        fs::read_dir(format!("/proc/{}/fd", server.0.id()))
            .unwrap()
            .count()
    }

    fn end(mut server: Server) {
        let mut out = server.0.stdout.take().unwrap();
        assert!(server.end(libc::SIGTERM).success());
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert!(said.ends_with(" 0 clients still there\n"), "{said}");
        assert!(!path().exists());
    }

    #[apply(isolated)]
    fn clients_at_once() {
        let server = start();
        let idle = descriptors(&server);
        let mut clients: Vec<_> = (0..20)
            .map(|i| {
                let (size, window) = ([8, 64, 5000, 65536][i % 4], [1, 10, 100_000][i % 3]);
                client(&["--count", "2000", "--size", &size.to_string()])
                    .args(["--window", &window.to_string()])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for client in &mut clients {
            assert!(wait(client).success());
        }
        wait_until("the clients' end", || descriptors(&server) == idle);
        end(server);
    }

    #[apply(isolated)]
    fn clients_killed() {
        let server = start();
        let idle = descriptors(&server);
        // Four descriptors each.
        for _ in 0..3 {
            let mut clients: Vec<_> = (0..8).map(|_| start_endless()).collect();
            wait_until("all clients", || descriptors(&server) == idle + 8 * 4);
            for client in &mut clients {
                client.kill().unwrap();
                wait(client);
            }
            wait_until("the clients' end", || descriptors(&server) == idle);
        }
        succeed(&mut client(&["--count", "1000"]));
        wait_until("the client's end", || descriptors(&server) == idle);
        end(server);
    }

    /// Connects, and says nothing.
    fn knock() -> OwnedFd {
        let kind = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Unix, kind.0, kind.1, None).unwrap();
        connect(socket.as_raw_fd(), &UnixAddr::new(&path()).unwrap()).unwrap();
        socket
    }

    /// Others that connect and say nothing, or nonsense, and one that reads nothing.
    #[apply(isolated)]
    fn clients_that_do_not_play() {
        let server = start();
        let idle = descriptors(&server);
        let silent = knock();
        let nonsense = knock();
        send(nonsense.as_raw_fd(), &[b'?'; 1000], MsgFlags::empty()).unwrap();
        let mut stopped = start_endless();
        // The one with the nonsense is let go. A silent one takes the socket, and two descriptors for
        // the event loop.
        wait_until("the clients", || descriptors(&server) == idle + 3 + 4);
        signal(stopped.id(), libc::SIGSTOP);
        wait_until("the stop", || stat(stopped.id())[0] == "T");
        succeed(&mut client(&["--count", "1000"]));

        // The server sleeps, although the messages of the one that stopped are unread.
        let ticks = || -> u64 {
            let stat = stat(server.0.id());
            stat[11].parse::<u64>().unwrap() + stat[12].parse::<u64>().unwrap()
        };
        wait_until("the server's rest", || stat(server.0.id())[0] == "S");
        let before = ticks();
        std::thread::sleep(Duration::from_millis(500));
        assert!(ticks() - before < 10, "the server is busy");

        signal(stopped.id(), libc::SIGCONT);
        stopped.kill().unwrap();
        wait(&mut stopped);
        drop((silent, nonsense));
        wait_until("the clients' end", || descriptors(&server) == idle);
        end(server);
    }

    /// A client that stopped goes on where it was.
    #[apply(isolated)]
    fn client_that_pauses() {
        let server = start();
        let mut paused = client(&["--count", "20000", "--size", "20000", "--window", "1000"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..20 {
            signal(paused.id(), libc::SIGSTOP);
            wait_until("the stop", || ["T", "Z"].contains(&&*stat(paused.id())[0]));
            wait_until("the server's rest", || stat(server.0.id())[0] == "S");
            signal(paused.id(), libc::SIGCONT);
        }
        assert!(wait(&mut paused).success());
        assert!(server.end(libc::SIGTERM).success());
    }

    #[apply(isolated)]
    fn server_killed() {
        let server = start();
        let idle = descriptors(&server);
        let mut talking = start_endless();
        wait_until("the client", || descriptors(&server) == idle + 4);
        server.end(libc::SIGKILL);
        assert_eq!(wait(&mut talking).code(), Some(1));
        let said = said_by(&mut talking);
        // It may have been about to connect.
        assert!(
            said.contains("gone") || said.contains("Broken pipe"),
            "{said}"
        );
        assert!(fail(&mut client(&[]), 1).contains("start channel_echo_server first"));

        // What it left is replaced.
        let server = start();
        succeed(&mut client(&["--count", "1000"]));
        let said = fail(example("channel_echo_server").arg(path()), 1);
        assert!(said.contains("Address already in use"), "{said}");
        succeed(&mut client(&["--count", "1000"]));
        assert!(server.end(libc::SIGINT).success());
    }

    #[apply(isolated)]
    fn abstract_name() {
        let name = format!("@unixipc-test-{}", std::process::id());
        let server = Server::start(
            example("channel_echo_server")
                .arg(&name)
                .stdout(Stdio::null()),
        );
        succeed(example("channel_echo_client").args(["--count", "1000", &name]));
        assert!(server.end(libc::SIGTERM).success());
    }
}

mod frame_pipe {
    use super::*;

    #[apply(isolated)]
    fn frames_arrive() {
        for args in [
            &["--frames", "20"][..],
            &["--frames", "20", "--copy"],
            &["--frames", "5000", "--size", "1x1"],
            &["--frames", "300", "--size", "333x77"],
        ] {
            let shown = succeed(example("frame_pipe").args(args));
            assert!(
                shown.contains("frames/s") && shown.contains("GB/s"),
                "{shown}"
            );
        }
    }

    fn start() -> Child {
        example("frame_pipe")
            .args(["--frames", "1000000000"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[apply(isolated)]
    fn viewer_killed() {
        let mut camera = start();
        signal(child_of(&camera), libc::SIGKILL);
        assert_eq!(wait(&mut camera).code(), Some(1));
        assert!(said_by(&mut camera).contains("the viewer is gone"));
    }

    #[apply(isolated)]
    fn camera_killed() {
        let mut camera = start();
        let viewer = child_of(&camera);
        camera.kill().unwrap();
        wait(&mut camera);
        wait_until_gone(viewer);
        let said = said_by(&mut camera);
        assert!(said.contains("the camera is gone after"), "{said}");
    }
}

mod channel_cxx {
    use super::*;

    #[apply(isolated)]
    #[needs(needs::cxx_compiler)]
    fn sums() {
        let shown = succeed(&mut example("channel_cxx"));
        assert!(shown.contains("the sum of 1 to 1000 is 500500"), "{shown}");
        assert!(succeed(example("channel_cxx").arg("--help")).starts_with("usage:"));
        fail(example("channel_cxx").arg("x"), 2);
    }
}

/// What `make demo` runs, with what is looked for in any test here: that it leaves nothing.
#[apply(isolated)]
fn demo() {
    let demo = common::root().join("scripts/demo");
    let shown = succeed(Command::new(demo).arg(common::root().join("build/examples")));
    assert!(shown.contains("mechanism"), "{shown}");
}

fn main() -> ExitCode {
    common::isolated::main_after(|| {
        stage::prefix().expect("the examples are built");
    })
}
