//! The signal after the death of the parent.

use crate::support::*;
use common::intercept::Intercepted;
use std::thread;

/// A program that holds the write end of a pipe as descriptor 5 until it dies.
struct Holder {
    read: File,
    write: File,
}

impl Holder {
    fn new() -> Self {
        let (read, write) = pipe();
        Self { read, write }
    }

    fn start(&self, opts: ipc_spawn_opts) -> Started {
        let fds = [passed(self.write.as_raw_fd(), 5)];
        let opts = ipc_spawn_opts {
            fds: fds.as_ptr(),
            nfds: 1,
            ..opts
        };
        start(&["sleep", "1000"], &opts)
    }

    /// Waits until no process has the write end.
    fn wait_for_death(self) {
        drop(self.write);
        assert_ne!(poll(self.read.as_raw_fd(), 10_000), 0, "it still lives");
    }
}

fn signal_after_death(pdeathsig: c_int) -> ipc_spawn_opts {
    ipc_spawn_opts {
        pdeathsig,
        ..defaults()
    }
}

#[apply(isolated)]
fn of_the_process() {
    for signal in [SIGTERM, SIGKILL, SIGRTMAX()] {
        let holder = Holder::new();
        fork(|| drop(holder.start(signal_after_death(signal)).unwrap())).join();
        holder.wait_for_death();
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn of_another_user() {
    let user = ipc_spawn_user {
        uid: NOBODY,
        gid: NOBODY,
        groups: ptr::null(),
        ngroups: 0,
    };
    let holder = Holder::new();
    fork(|| {
        let opts = ipc_spawn_opts {
            user: &user,
            flags: IPC_SPAWN_F_NO_NEW_PRIVS,
            ..signal_after_death(SIGKILL)
        };
        drop(holder.start(opts).unwrap());
    })
    .join();
    holder.wait_for_death();
}

/// The end of the thread that started the program is what counts.
#[apply(isolated)]
fn of_the_thread() {
    let holder = Holder::new();
    let start = || holder.start(signal_after_death(SIGTERM)).unwrap();
    let (pid, _end) = thread::scope(|scope| scope.spawn(start).join().unwrap());
    let mut status = 0;
    // SAFETY: the status is ours.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert!(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    // Without the option, the program lives on.
    let start = || holder.start(defaults()).unwrap();
    let (pid, _end) = thread::scope(|scope| scope.spawn(start).join().unwrap());
    // SAFETY: no pointers.
    unsafe { libc::kill(pid, SIGKILL) };
    // SAFETY: the status is ours.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(WTERMSIG(status), SIGKILL);
    holder.wait_for_death();
}

/// The parent dies before the child has asked for the signal.
#[apply(isolated)]
fn before_the_request() {
    let holder = Holder::new();
    let requests = Intercepted::install(SYS_prctl, PR_SET_PDEATHSIG as u32);
    let parent = fork(|| drop(holder.start(signal_after_death(SIGTERM)).unwrap()));
    let request = requests.next();
    assert_ne!(request.pid, parent.0 as u32, "the request is the child's");
    kill(parent);
    requests.allow(&request);
    holder.wait_for_death();
}
