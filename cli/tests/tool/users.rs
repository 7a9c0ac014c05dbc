//! The tool as a user that is not root.

use crate::support::*;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use unixipc::ffi::feed::ipc_feed_close;

/// What another user does not see is counted, and nothing of root's is removed.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    in_container(|| {
        let roots = program(|| {
            std::mem::forget(Region::create(c"/of-root", 4096, true));
            channel_pair();
        });
        fs::write("/dev/shm/.dead.lock", "").unwrap();
        let private = Permissions::from_mode(0o600);
        fs::set_permissions("/dev/shm/.dead.lock", private).unwrap();
        let own = program(|| {
            become_nobody().unwrap();
            // A process that has changed its user is not dumpable, and so not visible.
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
            std::mem::forget(Region::create(c"/of-nobody", 4096, true));
            channel_pair();
        });
        let listing = json_of(tool_as_nobody(&["ls"]));
        assert!(
            listing["unseen_processes"].as_u64().unwrap() >= 2,
            "{listing}"
        );
        let found = listing["objects"].as_array().unwrap();
        let region = found
            .iter()
            .find(|object| object["name"] == "/of-nobody")
            .unwrap();
        assert_eq!(region["alive"], true, "{listing}");
        assert!(has_process(&region["processes"], pid_of(&own)));
        assert!(
            found.iter().all(|object| object["name"] != "/of-root"),
            "{listing}"
        );
        let channels = found.iter().filter(|object| object["kind"] == "channel");
        assert_eq!(channels.count(), 1, "{listing}");
        let output = tool_as_nobody(&["ls"]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("could not be inspected"), "{errors}");
        kill(own);
        kill(roots);
        let removed = json_of(tool_as_nobody(&["gc", "--older-than", "0"]));
        let names: Vec<_> = removed["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| object["name"].clone())
            .collect();
        assert_eq!(names, ["/of-nobody"], "{removed}");
        assert!(exists("/dev/shm/of-root") && exists("/dev/shm/.dead.lock"));
        run(tool(&["gc", "--older-than", "0"]), 0);
        assert!(!exists("/dev/shm/of-root") && !exists("/dev/shm/.dead.lock"));
    });
}

/// Without /proc nothing is seen, and that is an error.
#[apply(isolated)]
#[needs(needs::root)]
fn without_proc() {
    in_container(|| {
        mount_tmpfs(c"/proc", 0, c"mode=0755");
        let listing = json(&["ls"]);
        assert_eq!(listing["unseen_processes"], 1, "{listing}");
        run(tool(&["gc", "--older-than", "0"]), 0);
        run(tool(&["doctor"]), 1);
    });
}

/// An option of /proc hides the processes of other users, but not the first process.
#[apply(isolated)]
#[needs(needs::root)]
fn hidden_processes() {
    in_container(|| {
        // It ends with its PID namespace.
        std::mem::forget(program(|| {}));
        let (kind, options) = (c"proc".as_ptr(), c"hidepid=2".as_ptr());
        // SAFETY: strings.
        let done = unsafe { libc::mount(kind, c"/proc".as_ptr(), kind, 0, options.cast()) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        become_nobody().unwrap();
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        assert!(exists("/proc/1"));
        assert_eq!(json(&["ls"])["unseen_processes"], 1);
    });
}

/// The permissions of an address decide who may connect, and `--mode` sets them.
#[apply(isolated)]
#[needs(needs::root)]
fn permissions_of_an_address() {
    in_container(|| {
        for (mode, is_permitted) in [("0600", false), ("0666", true)] {
            let mut echo = tool(&["echo", "--mode", mode, "/run/echo"])
                .spawn()
                .unwrap();
            // It answers root, so it listens.
            let answer = run(tool(&["call", "--wait", "/run/echo", "hello"]), 0);
            assert_eq!(answer, "hello\n");
            let call = tool_as_nobody(&["call", "/run/echo", "hello"]);
            if is_permitted {
                assert_eq!(run(call, 0), "hello\n");
            } else {
                refused(call);
            }
            echo.kill().unwrap();
            echo.wait().unwrap();
        }
    });
}

/// A recording belongs to the user who makes it.
#[apply(isolated)]
#[needs(needs::root)]
fn owner_of_a_recording() {
    in_container(|| {
        fs::create_dir("/run/files").unwrap();
        fs::set_permissions("/run/files", Permissions::from_mode(0o777)).unwrap();
        let feed = feed("/run/feed");
        let record = || tool_as_nobody(&["record", "/run/feed", "/run/files/it"]);
        refused(record());
        assert!(!exists("/run/files/it"));
        fs::set_permissions("/run/feed", Permissions::from_mode(0o666)).unwrap();
        let mut recorder = record().spawn().unwrap();
        admit(feed, 1);
        publish(feed, b"one");
        // SAFETY: an open feed, which is not used again.
        unsafe { ipc_feed_close(feed) };
        assert_eq!(recorder.wait().unwrap().code(), Some(0));
        let meta = fs::metadata("/run/files/it").unwrap();
        assert_eq!(meta.uid(), NOBODY);
    });
}

/// The command must fail because of the permissions.
#[track_caller]
fn refused(mut command: Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("Permission denied"), "{errors}");
}
