use crate::support::{Server, example, fail, is_date, succeed, system_v_objects, wait_until};
use common::isolated::{apply, isolated};
use common::needs;
use common::user::become_nobody;
use std::env::temp_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

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
    let text = fail(example("shm_timed").arg(temp_dir()), 1);
    assert!(
        text.contains(&format!("process {} serves", first.0.id())),
        "{text}"
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

/// A server uses the segment of a dead server that had other options.
#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn other_options() {
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

/// The permissions of the segment let a client of another user read it, but not write to it.
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
