//! The steps of a child before it executes its program. Only system calls: see
//! [`Run`](crate::sys::spawn::Run).

use super::descriptors::Descriptors;
use super::program::Program;
use crate::errno::Result;
use crate::sys::child;
use libc::{c_int, gid_t, pid_t, rlimit64, uid_t};
use std::convert::Infallible;
use std::ffi::CStr;

/// A resource limit of a started program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SpawnLimit {
    /// the resource, such as RLIMIT_AS (setrlimit(2))
    pub resource: c_int,
    /// the soft limit; RLIM_INFINITY: none
    pub soft: u64,
    /// the hard limit; RLIM_INFINITY: none
    pub hard: u64,
}

/// The user of a started program.
#[derive(Clone, Copy)]
pub struct User<'a> {
    /// The real, effective and saved user.
    pub uid: uid_t,
    /// The real, effective and saved group.
    pub gid: gid_t,
    /// All supplementary groups.
    pub groups: &'a [gid_t],
}

/// The steps of a child.
pub(super) struct Child<'a> {
    pub descriptors: Descriptors,
    pub limits: &'a [SpawnLimit],
    pub user: Option<User<'a>>,
    pub cwd: Option<&'a CStr>,
    pub no_new_privs: bool,
    /// The signal after the death of the parent; 0: none.
    pub pdeathsig: c_int,
    /// The process ID of the parent.
    pub parent: pid_t,
    pub program: Program<'a>,
}

impl Child<'_> {
    /// Makes this process, the child, the program. Returns only if that fails.
    pub fn run(&mut self) -> Result<Infallible> {
        child::reset_signal_actions();
        self.descriptors.arrange()?;
        // Before the user, who may not raise limits.
        for limit in self.limits {
            set_limit(limit)?;
        }
        if let Some(user) = &self.user {
            become_user(user)?;
        }
        // With the rights of the user.
        if let Some(cwd) = self.cwd {
            child::change_directory(cwd)?;
        }
        if self.no_new_privs {
            child::set_no_new_privs()?;
        }
        // After the user: a change of the user clears it.
        if self.pdeathsig != 0 {
            self.die_with_parent()?;
        }
        // The actions are the default ones, so no handler of the parent can run.
        child::set_signal_mask(0, &mut 0)?;
        Err(self.program.execute())
    }

    fn die_with_parent(&self) -> Result<()> {
        child::set_parent_death_signal(self.pdeathsig)?;
        // If the parent has died before, the kernel does not send the signal. A parent without an
        // ID in the PID namespace of this process cannot be recognised.
        match child::parent() {
            parent if parent == self.parent || parent == 0 => Ok(()),
            _ => child::raise(self.pdeathsig),
        }
    }
}

fn set_limit(limit: &SpawnLimit) -> Result<()> {
    let values = rlimit64 {
        rlim_cur: limit.soft,
        rlim_max: limit.hard,
    };
    child::set_limit(limit.resource, &values)
}

/// Gives up the groups first: without the privileges of the old user, that is no longer permitted.
fn become_user(user: &User) -> Result<()> {
    child::set_groups(user.groups)?;
    child::set_gid(user.gid)?;
    child::set_uid(user.uid)?;
    child::clear_ambient_capabilities()
}
