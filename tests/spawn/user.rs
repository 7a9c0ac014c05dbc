//! The user of the child.

use crate::support::*;

/// A user other than root and nobody.
const OTHER: u32 = 12345;

fn user(uid: u32, gid: u32, groups: &[u32]) -> ipc_spawn_user {
    ipc_spawn_user {
        uid,
        gid,
        groups: groups.as_ptr(),
        ngroups: groups.len(),
    }
}

fn with_user(user: &ipc_spawn_user) -> ipc_spawn_opts {
    ipc_spawn_opts { user, ..defaults() }
}

const STATUS: [&str; 2] = ["cat", "/proc/self/status"];

/// The values of a line of /proc/PID/status.
fn line<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().skip(1).collect()
}

#[apply(isolated)]
#[needs(needs::root)]
fn becomes_the_user() {
    let groups = [3, 5];
    // SAFETY: an array of two.
    assert_eq!(unsafe { setgroups(2, groups.as_ptr()) }, 0);
    let own = || fs::read_to_string("/proc/self/status").unwrap();
    let dumpable = || {
        // SAFETY: no pointers.
        unsafe { prctl(PR_GET_DUMPABLE) }
    };
    let before = own();
    assert_eq!(dumpable(), 1);
    for groups in [&[][..], &[7], &[7, 8, 9]] {
        let text = output(start(&STATUS, &with_user(&user(OTHER, OTHER + 1, groups))));
        assert_eq!(line(&text, "Uid:"), ["12345"; 4]);
        assert_eq!(line(&text, "Gid:"), ["12346"; 4]);
        let expected: Vec<String> = groups.iter().map(u32::to_string).collect();
        assert_eq!(line(&text, "Groups:"), expected);
        for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(&text, set), ["0000000000000000"], "{set}");
        }
    }
    let text = output(start(&STATUS, &with_user(&user(0, 0, &[]))));
    assert_eq!(line(&text, "Uid:"), ["0"; 4]);
    assert_eq!(line(&text, "Groups:"), [""; 0]);
    for name in ["Uid:", "Gid:", "Groups:", "CapEff:"] {
        assert_eq!(
            line(&own(), name),
            line(&before, name),
            "the caller's {name}"
        );
    }
    assert_eq!(dumpable(), 1, "the caller stays dumpable");
}

#[apply(isolated)]
fn invalid_users() {
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        assert_fails(
            || start(&["true"], &with_user(&user(uid, gid, &[]))),
            EINVAL,
        );
    }
    for ngroups in [1, usize::MAX] {
        let user = ipc_spawn_user {
            uid: 0,
            gid: 0,
            groups: ptr::null(),
            ngroups,
        };
        assert_fails(|| start(&["true"], &with_user(&user)), EINVAL);
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn too_many_groups() {
    let groups = vec![1; 65537];
    assert_fails(
        || start(&["true"], &with_user(&user(1, 1, &groups))),
        EINVAL,
    );
    let accepted = output(start(&STATUS, &with_user(&user(1, 1, &groups[1..]))));
    assert_eq!(line(&accepted, "Uid:"), ["1"; 4]);
}

#[apply(isolated)]
#[needs(needs::root)]
fn without_privileges() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    as_nobody(|| {
        for (uid, gid) in [(0, 0), (0, NOBODY), (NOBODY, 0), (NOBODY, NOBODY)] {
            assert_fails(|| start(&["true"], &with_user(&user(uid, gid, &[]))), EPERM);
        }
    });
}

/// The directory is entered, and the program executed, with the rights of the user.
#[apply(isolated)]
#[needs(needs::root)]
fn rights() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    fs::create_dir("private").unwrap();
    set_mode("private", 0o700);
    fs::write("program", "#!/bin/sh\n").unwrap();
    set_mode("program", 0o700);
    let user = user(OTHER, OTHER, &[]);
    let opts = ipc_spawn_opts {
        cwd: c"private".as_ptr(),
        ..with_user(&user)
    };
    assert_fails(|| start(&["true"], &opts), EACCES);
    assert_fails(|| start(&["./program"], &with_user(&user)), EACCES);
    assert_eq!(output(start(&["./program"], &defaults())), "");
    assert_fails(|| start(&["./missing"], &with_user(&user)), ENOENT);
}

/// A service without root that has ambient capabilities does not pass them on to another user.
#[apply(isolated)]
#[needs(needs::root)]
fn ambient_capabilities() {
    const CAP_SETGID: u32 = 6;
    const CAP_SETUID: u32 = 7;
    const SETS: u64 = 1 << CAP_SETGID | 1 << CAP_SETUID;
    let _folder = WorkingDirectory::new();
    open_to_all();
    let child = fork(|| {
        // SAFETY: no pointers.
        assert_eq!(unsafe { prctl(PR_SET_KEEPCAPS, 1) }, 0);
        become_nobody().unwrap();
        let version_3_of_this_thread = [0x2008_0522u32, 0];
        // Effective, permitted and inheritable; the low half, then the high half.
        let sets = [SETS as u32, SETS as u32, SETS as u32, 0, 0, 0];
        let (header, sets) = (version_3_of_this_thread.as_ptr(), sets.as_ptr());
        // SAFETY: the header and both halves of the sets.
        assert_eq!(unsafe { syscall(SYS_capset, header, sets) }, 0);
        for capability in [CAP_SETGID, CAP_SETUID] {
            let raise = PR_CAP_AMBIENT_RAISE;
            // SAFETY: no pointers.
            assert_eq!(unsafe { prctl(PR_CAP_AMBIENT, raise, capability, 0, 0) }, 0);
        }
        let kept = format!("{SETS:016x}");
        let text = output(start(&STATUS, &defaults()));
        assert_eq!(line(&text, "CapEff:"), [kept.as_str()], "the same user");
        let text = output(start(&STATUS, &with_user(&user(OTHER, OTHER, &[]))));
        assert_eq!(line(&text, "Uid:"), ["12345"; 4]);
        for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(&text, set), ["0000000000000000"], "{set}");
        }
    });
    child.join();
}
