//! Child processes: the parent is killed, and leaves no child and no descriptor behind.

use crate::check;
use crate::child;
use crate::harness::{Finished, Scenario, Verdict};
use crate::library::{self, Library};
use common::descriptors::pipe;
use common::isolated::apply;
use common::user::{NOBODY, is_root};
use libc::{c_char, c_int};
use std::ffi::CStr;
use std::fs::File;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};
use unixipc::ffi::spawn::*;
use unixipc::spawn::{SpawnFd, SpawnLimit};

/// The time limit for the end of the child: it includes exec, while other tests run.
const TIME_LIMIT: Duration = Duration::from_secs(4);
/// The number of the passed descriptor in the child.
const IN_CHILD: c_int = 5;

/// A pipe. The victim and the child have the write end, so it ends when both have ended.
struct Pipe {
    read: Option<File>,
    write: Option<File>,
}

/// The victim starts a program that ends at the end of its standard input.
struct Spawn {
    library: Library,
    file: &'static CStr,
    exists: bool,
    /// Whether the options for a sandbox are set.
    is_sandboxed: bool,
}

/// A started program, with all descriptors that the call has returned.
struct Started {
    pid: libc::pid_t,
    fds: Vec<OwnedFd>,
}

impl Spawn {
    fn spawn(&self, pipe: &Pipe) -> Result<Started, ()> {
        let argv = [self.file.as_ptr().cast_mut(), ptr::null_mut::<c_char>()];
        let pass = SpawnFd {
            fd: pipe.write.as_ref().unwrap().as_raw_fd(),
            child_fd: IN_CHILD,
        };
        let limit = SpawnLimit {
            resource: libc::RLIMIT_CORE as c_int,
            soft: 0,
            hard: 0,
        };
        let nobody = ipc_spawn_user {
            uid: NOBODY,
            gid: NOBODY,
            groups: ptr::null(),
            ngroups: 0,
        };
        // SAFETY: all zero bytes are the defaults.
        let mut options: ipc_spawn_opts = unsafe { mem::zeroed() };
        options.fds = &pass;
        options.nfds = 1;
        let [mut fd, mut out, mut pidfd] = [-1; 3];
        if self.is_sandboxed {
            options.limits = &limit;
            options.nlimits = 1;
            options.flags = IPC_SPAWN_F_NO_NEW_PRIVS | IPC_SPAWN_F_PIPES;
            options.ret_out_fd = &mut out;
            options.ret_pidfd = &mut pidfd;
            if is_root() {
                options.user = &nobody;
            }
        }
        let size = mem::size_of_val(&options);
        // SAFETY: a string, an array that ends with NULL, options of this size, one descriptor.
        let pid = unsafe {
            (self.library.ipc_spawn)(self.file.as_ptr(), argv.as_ptr(), &options, size, &mut fd)
        };
        if pid == -1 {
            return Err(());
        }
        let fds = [fd, out, pidfd].into_iter().filter(|fd| *fd != -1);
        Ok(Started {
            pid,
            // SAFETY: the library has just made them for us.
            fds: fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect(),
        })
    }
}

impl Scenario for Spawn {
    type State = Pipe;

    fn set_up(&self) -> Pipe {
        let (read, write) = pipe();
        Pipe {
            read: Some(read),
            write: Some(write),
        }
    }

    fn become_victim(&self, pipe: &mut Pipe) {
        pipe.read = None;
        let spawned = self.spawn(pipe);
        assert_eq!(spawned.is_ok(), self.exists);
        if let Ok(Started { pid, fds }) = spawned {
            drop(fds);
            // SAFETY: a null status is allowed.
            assert_eq!(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }, pid);
        }
    }

    fn operate(&self, pipe: &mut Pipe) {
        // Not closed, because that would be another operation of the victim.
        let spawned = mem::ManuallyDrop::new(self.spawn(pipe));
        assert_eq!(spawned.is_ok(), self.exists);
    }

    fn survive(&self, pipe: &mut Pipe, _: &Finished) -> Verdict {
        pipe.write = None;
        let read = pipe.read.take().unwrap();
        if !child::poll_readable(&read, Instant::now() + TIME_LIMIT) {
            return Err("a process still has the descriptor that was passed to the child".into());
        }
        // The harness checks that no child is left.
        Ok(())
    }
}

fn check_spawn(name: &str, file: &'static CStr, exists: bool, is_sandboxed: bool) {
    let scenario = Spawn {
        library: library::load(),
        file,
        exists,
        is_sandboxed,
    };
    check(name, &scenario);
}

#[apply(scenario)]
fn program() {
    check_spawn("ipc_spawn", c"cat", true, false);
}

#[apply(scenario)]
fn program_in_a_sandbox() {
    check_spawn("ipc_spawn, sandbox", c"cat", true, true);
}

#[apply(scenario)]
fn program_that_does_not_exist() {
    let file = c"/nonexistent/program";
    check_spawn("ipc_spawn, no such program", file, false, false);
    check_spawn("ipc_spawn, no such program, sandbox", file, false, true);
}
