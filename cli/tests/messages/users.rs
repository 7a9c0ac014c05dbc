//! The commands as another user than the owner of the address.

use crate::support::*;
use common::user::NOBODY;
use std::fs::{Permissions, metadata, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// The program as the user `nobody`.
fn as_nobody(args: &[&str]) -> Command {
    let mut command = command(args);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// A directory that everybody can use. None without the privilege to become another user.
fn common_place() -> Option<Place> {
    if common::needs::root().is_some() {
        eprintln!("skipped: needs root");
        return None;
    }
    let place = Place::new();
    set_permissions(place.path("."), Permissions::from_mode(0o1777)).unwrap();
    Some(place)
}

#[track_caller]
fn assert_refused(output: &Output) {
    assert_code(output, 3);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("Permission denied"), "{errors}");
}

/// The permissions of an address decide who may connect, and `--mode` sets them.
#[test]
fn permissions_of_an_address() {
    let Some(place) = common_place() else {
        return;
    };
    let path = place.text("echo");
    for (mode, is_permitted) in [("0600", false), ("0666", true)] {
        let mut echo = Running::start(&mut command(&["echo", "--mode", mode, &path]));
        await_listener(&place.path("echo"));
        let call = Running::start(&mut as_nobody(&["call", &path, "hello"])).output();
        if is_permitted {
            assert_output(&call, "hello\n");
        } else {
            assert_refused(&call);
        }
        echo.signal(libc::SIGTERM);
        echo.wait();
    }
}

/// A recording belongs to the user who makes it.
#[test]
fn owner_of_a_recording() {
    let Some(place) = common_place() else {
        return;
    };
    let mut feed = feed(&place.path("feed"));
    let args = ["record", &place.text("feed"), &place.text("file")];
    let refused = Running::start(&mut as_nobody(&args)).output();
    assert_refused(&refused);
    assert!(!place.path("file").exists());
    set_permissions(place.path("feed"), Permissions::from_mode(0o666)).unwrap();
    let record = Running::start(&mut as_nobody(&args));
    await_subscribers(&mut feed, 1);
    feed.publish(b"one", limit()).unwrap();
    drop(feed);
    assert_output(&record.output(), "");
    assert_eq!(metadata(place.path("file")).unwrap().uid(), NOBODY);
}
