//! Resource limits and no_new_privs.

use crate::support::*;

fn limit(resource: __rlimit_resource_t, soft: u64, hard: u64) -> SpawnLimit {
    SpawnLimit {
        resource: resource as c_int,
        soft,
        hard,
    }
}

fn with_limits(limits: &[SpawnLimit]) -> ipc_spawn_opts {
    ipc_spawn_opts {
        limits: limits.as_ptr(),
        nlimits: limits.len(),
        ..defaults()
    }
}

/// The soft and the hard limit in /proc/PID/limits.
fn limit_in(text: &str, name: &str) -> [String; 2] {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let mut words = line[name.len()..].split_whitespace().map(String::from);
    [words.next().unwrap(), words.next().unwrap()]
}

#[apply(isolated)]
fn all_limits() {
    const INFINITY: u64 = RLIM_INFINITY;
    let before = fs::read_to_string("/proc/self/limits").unwrap();
    let limits = [
        limit(RLIMIT_CPU, 100, 200),
        limit(RLIMIT_FSIZE, 4096, INFINITY),
        limit(RLIMIT_CORE, 1, 1),
        limit(RLIMIT_CORE, 0, 0), // the last one counts
        limit(RLIMIT_NOFILE, 40, 50),
        limit(RLIMIT_AS, 1 << 30, 1 << 31),
        limit(RLIMIT_STACK, 1 << 20, 1 << 20),
    ];
    let text = output(start(&["cat", "/proc/self/limits"], &with_limits(&limits)));
    for (name, expected) in [
        ("Max cpu time", ["100", "200"]),
        ("Max file size", ["4096", "unlimited"]),
        ("Max core file size", ["0", "0"]),
        ("Max open files", ["40", "50"]),
        ("Max address space", ["1073741824", "2147483648"]),
        ("Max stack size", ["1048576", "1048576"]),
    ] {
        assert_eq!(limit_in(&text, name), expected, "{name}");
    }
    let name = "Max pending signals";
    assert_eq!(limit_in(&text, name), limit_in(&before, name));
    assert_eq!(fs::read_to_string("/proc/self/limits").unwrap(), before);
}

#[apply(isolated)]
fn invalid_limits() {
    for resource in [-1, 16, 1000, c_int::MIN, c_int::MAX] {
        let limits = [SpawnLimit {
            resource,
            soft: 1,
            hard: 1,
        }];
        assert_fails(|| start(&["true"], &with_limits(&limits)), EINVAL);
    }
    let limits = [limit(RLIMIT_CORE, 0, 0), limit(RLIMIT_NOFILE, 11, 10)];
    assert_fails(|| start(&["true"], &with_limits(&limits)), EINVAL);
    for nlimits in [1, usize::MAX] {
        let opts = ipc_spawn_opts {
            nlimits,
            ..defaults()
        };
        assert_fails(|| start(&["true"], &opts), EINVAL);
    }
    let opts = ipc_spawn_opts {
        nlimits: usize::MAX,
        ..with_limits(&limits)
    };
    assert_fails(|| start(&["true"], &opts), EINVAL);
}

/// An unprivileged caller cannot raise a hard limit.
#[apply(isolated)]
#[needs(needs::root)]
fn raised_limits() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    let core = |hard| [limit(RLIMIT_CORE, 0, hard)];
    let text = "/proc/self/limits";
    as_nobody(|| {
        let lowered = rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the struct is ours.
        assert_eq!(unsafe { setrlimit(RLIMIT_CORE, &lowered) }, 0);
        assert_fails(|| start(&["true"], &with_limits(&core(1))), EPERM);
        let got = output(start(&["cat", text], &with_limits(&core(0))));
        assert_eq!(limit_in(&got, "Max core file size"), ["0", "0"]);
    });
}

/// A limit on descriptors does not apply to those that the child gets, nor one on memory to the
/// memory of the caller.
#[apply(isolated)]
fn limits_below_the_usage() {
    let file = temporary("passed");
    let fds = [passed(file.as_raw_fd(), 60)];
    let limits = [limit(RLIMIT_NOFILE, 20, 20)];
    let opts = ipc_spawn_opts {
        fds: fds.as_ptr(),
        nfds: 1,
        ..with_limits(&limits)
    };
    let opened = output(start(&["cat", "/proc/self/fd/60"], &opts));
    assert_eq!(opened, "passed");
    const USED: usize = 1 << 32;
    let (protection, flags) = (PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    // SAFETY: new memory.
    let at = unsafe { mmap(ptr::null_mut(), USED, protection, flags, -1, 0) };
    assert_ne!(at, MAP_FAILED);
    let limits = [limit(RLIMIT_AS, 1 << 31, 1 << 31)];
    let text = output(start(&["cat", "/proc/self/limits"], &with_limits(&limits)));
    assert_eq!(limit_in(&text, "Max address space")[0], "2147483648");
    // SAFETY: the memory of above.
    assert_eq!(unsafe { munmap(at, USED) }, 0);
}

/// A program for which the limits do not suffice has started, and a signal or its own error ends it.
#[apply(isolated)]
fn limits_that_do_not_suffice() {
    for bytes in [0, 1, 1 << 12, 1 << 20] {
        let limits = [limit(RLIMIT_AS, bytes, bytes)];
        let mut pidfd = -7;
        let opts = ipc_spawn_opts {
            ret_pidfd: &mut pidfd,
            ..with_limits(&limits)
        };
        match start(&["true"], &opts) {
            Ok((pid, _end)) => {
                drop(own(pidfd));
                let mut status = 0;
                // SAFETY: the status is ours.
                assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
                assert_ne!(status, 0, "{bytes} bytes");
            }
            Err(errno) => assert_eq!((errno, pidfd), (ENOMEM, -7), "{bytes} bytes"),
        }
    }
}

fn no_new_privs_of(status: &str) -> String {
    let line = status.lines().find(|line| line.starts_with("NoNewPrivs"));
    line.unwrap().split_whitespace().nth(1).unwrap().into()
}

#[apply(isolated)]
fn no_new_privileges() {
    let program = ["cat", "/proc/self/status"];
    assert_eq!(no_new_privs_of(&output(start(&program, &defaults()))), "0");
    let opts = ipc_spawn_opts {
        flags: IPC_SPAWN_F_NO_NEW_PRIVS,
        ..defaults()
    };
    assert_eq!(no_new_privs_of(&output(start(&program, &opts))), "1");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(no_new_privs_of(&own), "0", "the caller");
}

/// A set-user-ID program gets no privileges.
#[apply(isolated)]
#[needs(needs::root)]
fn no_new_privileges_for_a_program() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    fs::copy("/bin/cat", "setuid-cat").unwrap();
    set_mode("setuid-cat", 0o4755);
    as_nobody(|| {
        let uid_of = |flags| {
            let opts = ipc_spawn_opts {
                flags,
                ..defaults()
            };
            let text = output(start(&["./setuid-cat", "/proc/self/status"], &opts));
            let line = text.lines().find(|line| line.starts_with("Uid:")).unwrap();
            line.split_whitespace().nth(2).unwrap().to_owned() // the effective one
        };
        assert_eq!(uid_of(0), "0", "the file system ignores set-user-ID bits");
        assert_eq!(uid_of(IPC_SPAWN_F_NO_NEW_PRIVS), NOBODY.to_string());
    });
}
