//! The pidfd of the child.

use crate::support::*;

fn start_with_pidfd(program: &[&str], opts: ipc_spawn_opts) -> (Started, c_int) {
    let mut pidfd = -7;
    let ret_pidfd = &raw mut pidfd;
    let started = start(program, &ipc_spawn_opts { ret_pidfd, ..opts });
    (started, pidfd)
}

#[apply(isolated)]
fn follows_the_child() {
    let (started, pidfd) = start_with_pidfd(&["cat"], defaults());
    let (pid, end) = started.unwrap();
    let pidfd = own(pidfd);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(pidfd.as_raw_fd(), F_GETFD) }, FD_CLOEXEC);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    assert!(info.contains(&format!("\nPid:\t{pid}\n")), "{info}");
    assert_eq!(poll(pidfd.as_raw_fd(), 0), 0);
    drop(end);
    assert_ne!(poll(pidfd.as_raw_fd(), 10_000), 0, "readable after the end");
    assert_eq!(end_of(pid), 0);
}

/// The child itself does not get it, with any of its numbers.
#[apply(isolated)]
fn stays_here() {
    let (started, pidfd) = start_with_pidfd(&sh("ls /proc/$$/fd; true"), defaults());
    assert_eq!(output(started), "0\n1\n2\n");
    drop(own(pidfd));
}

#[apply(isolated)]
fn unchanged_after_failures() {
    let null = File::open("/dev/null").unwrap();
    let before = descriptors();
    let (started, pidfd) = start_with_pidfd(&["./missing"], defaults());
    assert_eq!((started.err(), pidfd), (Some(ENOENT), -7));
    let pdeathsig = -1;
    let opts = ipc_spawn_opts {
        pdeathsig,
        ..defaults()
    };
    let (started, pidfd) = start_with_pidfd(&["true"], opts);
    assert_eq!((started.err(), pidfd), (Some(EINVAL), -7));
    assert_eq!(descriptors(), before);
    // One descriptor too few: the pair needs two, and the pidfd one.
    let limit = null.as_raw_fd() as u64 + 3;
    let old = set_soft_limit(RLIMIT_NOFILE, limit);
    let (started, pidfd) = start_with_pidfd(&["true"], defaults());
    set_soft_limit(RLIMIT_NOFILE, old);
    assert_eq!((started.err(), pidfd), (Some(EMFILE), -7));
    assert_eq!(descriptors(), before);
    // SAFETY: a null status is allowed.
    assert_eq!(unsafe { waitpid(-1, ptr::null_mut(), WNOHANG) }, -1);
}
