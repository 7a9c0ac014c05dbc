//! The process that is killed: it runs to an instruction of its operation.

use crate::child::{self, Child, Pace};
use crate::harness::{End, Scenario};
use std::cell::Cell;
use std::iter;
use std::time::Instant;

/// How far a victim has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// An instruction inside the operation.
    Inside,
    /// The end of the operation.
    End,
}

/// The way to an instruction of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The number of system calls that return first.
    pub system_calls: usize,
    /// The number of instructions after them.
    pub steps: usize,
}

/// The signal that a victim sends to itself before its operation.
const BEGIN: i32 = libc::SIGSTOP;
/// The signal that a victim sends to itself after its operation.
const FINISHED: i32 = libc::SIGUSR2;

pub struct Victim {
    pub child: Child,
    deadline: Instant,
}

impl Victim {
    pub fn start<S: Scenario>(scenario: &S, state: &mut S::State) -> Result<Self, String> {
        let child = Child::fork(|| {
            scenario.become_victim(state);
            child::be_traced();
            let pid = child::pid();
            child::signal(pid, BEGIN);
            scenario.operate(state);
            child::signal(pid, FINISHED);
        });
        let victim = Self {
            child,
            deadline: Instant::now() + S::VICTIM_LIMIT,
        };
        match victim.child.wait(victim.deadline) {
            Some(status) if stopped_by(status) == Some(BEGIN) => {}
            other => return Err(format!("the victim did not start: {}", describe(other))),
        }
        victim
            .child
            .set_options()
            .map_err(|error| format!("PTRACE_SETOPTIONS: {error}"))?;
        Ok(victim)
    }

    /// Runs to the place to which `way` leads, or to the end of the operation if that is earlier.
    pub fn go(&mut self, way: &Way, end: End) -> Result<Reached, String> {
        // Each system call stops twice: before it, and when it returns.
        let stops = iter::repeat_n(Pace::SystemCall, 2 * way.system_calls);
        for pace in stops.chain(iter::repeat_n(Pace::Instruction, way.steps)) {
            if self.advance(pace, end)? == Reached::End {
                return Ok(Reached::End);
            }
        }
        Ok(Reached::Inside)
    }

    /// Steps one instruction.
    pub fn step(&mut self, end: End) -> Result<Reached, String> {
        self.advance(Pace::Instruction, end)
    }

    fn advance(&mut self, pace: Pace, end: End) -> Result<Reached, String> {
        loop {
            self.child
                .resume(pace)
                .map_err(|error| format!("{pace:?}: {error}"))?;
            // The result is kept, because a short sleep may have ended at the next check.
            let asleep = Cell::new(false);
            let status = self.child.wait_unless(self.deadline, || {
                asleep.set(end == End::Sleeps && self.child.sleeps());
                asleep.get()
            });
            return match (status, status.and_then(stopped_by)) {
                (_, Some(libc::SIGTRAP | child::AT_SYSTEM_CALL)) => Ok(Reached::Inside),
                // A child of the victim has ended; no instruction has run yet.
                (_, Some(libc::SIGCHLD)) => continue,
                (_, Some(FINISHED)) if end == End::Returns => Ok(Reached::End),
                (None, _) if asleep.get() => Ok(Reached::End),
                _ => Err(format!("the victim did not finish: {}", describe(status))),
            };
        }
    }
}

fn stopped_by(status: i32) -> Option<i32> {
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

pub fn describe(status: Option<i32>) -> String {
    match status {
        None => "nothing happened until the time limit".into(),
        Some(status) if libc::WIFEXITED(status) => {
            format!("it exited with status {}", libc::WEXITSTATUS(status))
        }
        Some(status) if libc::WIFSIGNALED(status) => {
            format!("it was killed by signal {}", libc::WTERMSIG(status))
        }
        Some(status) => format!("it received signal {}", libc::WSTOPSIG(status)),
    }
}
