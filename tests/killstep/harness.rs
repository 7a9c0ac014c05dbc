//! Kills a process after each instruction of an operation in turn, and checks the effect on another
//! process.
//!
//! A point is one run. The harness sets up the state of the scenario, lets a forked victim run up to
//! the last system call before an instruction of its operation, single-steps it to that instruction,
//! and kills it. A forked survivor then performs its own
//! operation in a bounded time, and checks the result. All processes run on one CPU: this halves
//! the cost of a step, and makes the kernel switch between them in the same way each time.

use crate::child::{self, Child};
use crate::victim::{Reached, Victim, Way, describe};
use common::descriptors::pipe;
use common::process::stay_on_this_processor;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The result of a survivor's checks.
pub type Verdict = Result<(), String>;

/// How the victim's operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returns.
    Returns,
    /// It sleeps in the kernel forever, and is killed there at the last point.
    Sleeps,
}

/// An operation that is interrupted by a kill, and another one that must work nevertheless.
pub trait Scenario {
    /// The resources of both processes: descriptors, memory, paths. The harness drops them.
    type State;

    /// How the operation ends.
    const END: End = End::Returns;
    /// Whether the survivor runs while the victim is stepped.
    const CONCURRENT: bool = false;
    /// The victim's time limit.
    const VICTIM_LIMIT: Duration = Duration::from_secs(30);
    /// The survivor's time limit after the victim's death.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Makes the resources of both processes. Runs in the harness, once for each point.
    fn set_up(&self) -> Self::State;
    /// Makes this process the victim. It closes the survivor's resources, and performs the
    /// operation once, so that its memory is mapped and its symbols are resolved.
    fn become_victim(&self, state: &mut Self::State);
    /// The operation that is stepped through.
    fn operate(&self, state: &mut Self::State);
    /// Runs in the survivor: performs its operation, and checks the result. Once the victim is
    /// dead, `finished` says whether its operation had returned.
    fn survive(&self, state: &mut Self::State, finished: &Finished) -> Verdict;
}

/// Whether the victim's operation returned. The flag is in memory that all processes share.
pub struct Finished(*mut AtomicBool);

impl Finished {
    fn new() -> Self {
        Self(child::shared_page().cast())
    }

    /// True if the victim's operation had returned before the kill.
    pub fn get(&self) -> bool {
        self.shared().load(Ordering::Acquire)
    }

    fn set(&self, finished: bool) {
        self.shared().store(finished, Ordering::Release);
    }

    fn shared(&self) -> &AtomicBool {
        // SAFETY: the page stays mapped as long as self exists; a zero byte is `false`.
        unsafe { &*self.0 }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        child::unmap_page(self.0.cast());
    }
}

/// The outcomes of all points of a scenario.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of instructions of the operation.
    pub instructions: usize,
    pub points: usize,
    pub survived: usize,
    pub inconsistent: usize,
    pub hung: usize,
    pub crashed: usize,
    /// The first points that were not survived.
    pub failures: Vec<String>,
}

impl Report {
    pub const HEADINGS: &str =
        "instructions  points  survived  inconsistent  hung  crashed  seconds  scenario";

    fn count(&mut self, point: usize, outcome: Outcome) {
        self.points += 1;
        let what = match outcome {
            Outcome::Survived => {
                self.survived += 1;
                return;
            }
            Outcome::Inconsistent(why) => {
                self.inconsistent += 1;
                why
            }
            Outcome::Hung => {
                self.hung += 1;
                "hung".into()
            }
            Outcome::Crashed(how) => {
                self.crashed += 1;
                how
            }
        };
        if self.failures.len() < 10 {
            self.failures
                .push(format!("after {point} instructions: {what}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{:12}  {:6}  {:8}  {:12}  {:4}  {:7}",
            self.instructions,
            self.points,
            self.survived,
            self.inconsistent,
            self.hung,
            self.crashed
        )
    }
}

/// How the survivor ended.
enum Outcome {
    Survived,
    Inconsistent(String),
    Hung,
    Crashed(String),
}

/// If an operation has more instructions than this, only a sample of them are points.
const EXHAUSTIVE_MAX: usize = 600;
/// The number of points of a sample, not counting those near system calls.
const SAMPLE: usize = 150;
/// A sample also contains this number of instructions before and after each system call.
const AROUND: usize = 3;
/// An upper limit of an operation's instructions.
const STEPS_MAX: usize = 200_000;
/// Runs a scenario. Returns an error if the victim dies by itself or does not reach the end of its
/// operation.
pub fn run<S: Scenario>(scenario: &S) -> Result<Report, String> {
    stay_on_this_processor();
    child::adopt_orphans();
    let _timer = child::Timer::start();
    let trace = trace(scenario)?;
    let mut report = Report {
        instructions: trace.instructions,
        ..Report::default()
    };
    for point in points(&trace) {
        let outcome = run_point(scenario, &trace.way_to(point))?;
        report.count(point, outcome);
    }
    Ok(report)
}

/// The addresses of the instructions at which a victim is killed, in an operation that takes the same
/// way each time. With `only_steps` no point is reached by system calls.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn addresses<S: Scenario>(scenario: &S, only_steps: bool) -> Result<Vec<libc::c_long>, String> {
    let _timer = child::Timer::start();
    let mut trace = trace(scenario)?;
    let points = points(&trace);
    if only_steps {
        trace.system_calls.clear();
    }
    let mut addresses = Vec::new();
    for point in points {
        let mut state = scenario.set_up();
        let mut victim = Victim::start(scenario, &mut state)?;
        victim.go(&trace.way_to(point), S::END)?;
        addresses.push(victim.child.instruction());
    }
    Ok(addresses)
}

/// An uninterrupted run of a victim.
struct Trace {
    instructions: usize,
    /// The number of instructions before each system call.
    system_calls: Vec<usize>,
}

impl Trace {
    /// The way to the place after this number of instructions. A system call is one instruction.
    fn way_to(&self, instructions: usize) -> Way {
        let returned = self
            .system_calls
            .iter()
            .take_while(|at| **at < instructions);
        let system_calls = returned.count();
        let first = system_calls.checked_sub(1);
        Way {
            system_calls,
            steps: first.map_or(instructions, |last| {
                instructions - self.system_calls[last] - 1
            }),
        }
    }
}

fn trace<S: Scenario>(scenario: &S) -> Result<Trace, String> {
    let finished = Finished::new();
    let mut state = scenario.set_up();
    let survivor = S::CONCURRENT.then(|| Survivor::start(scenario, &mut state, &finished));
    let mut victim = Victim::start(scenario, &mut state)?;
    let mut trace = Trace {
        instructions: 0,
        system_calls: Vec::new(),
    };
    loop {
        if victim.child.is_at_system_call() {
            trace.system_calls.push(trace.instructions);
        }
        if victim.step(S::END)? == Reached::End {
            break;
        }
        trace.instructions += 1;
        if trace.instructions > STEPS_MAX {
            return Err(format!(
                "no end of the operation after {STEPS_MAX} instructions"
            ));
        }
    }
    victim.child.kill();
    drop(survivor);
    drop(state);
    // Left-over processes are checked at the points.
    let _ = child::reap_orphans(S::LIMIT);
    if trace.instructions == 0 {
        return Err("the operation has no instructions".into());
    }
    Ok(trace)
}

/// All points; if there are too many, a sample and the points near system calls.
fn points(trace: &Trace) -> Vec<usize> {
    // One more than in the trace, because another run may take an instruction more.
    let last = trace.instructions + 1;
    let stride = if last <= scaled(EXHAUSTIVE_MAX) {
        1
    } else {
        last.div_ceil(scaled(SAMPLE))
    };
    let is_near_system_call = |point: usize| {
        trace
            .system_calls
            .iter()
            .any(|call| point.abs_diff(*call) <= AROUND)
    };
    (0..=last)
        .filter(|point| point % stride == 0 || *point == last || is_near_system_call(*point))
        .collect()
}

/// A number of points, multiplied by UNIXIPC_TEST_SCALE.
fn scaled(points: usize) -> usize {
    common::random::scaled(points as u64) as usize
}

fn run_point<S: Scenario>(scenario: &S, way: &Way) -> Result<Outcome, String> {
    let finished = Finished::new();
    let mut state = scenario.set_up();
    let concurrent = S::CONCURRENT.then(|| Survivor::start(scenario, &mut state, &finished));
    let mut victim = Victim::start(scenario, &mut state)?;
    let reached = victim.go(way, S::END)?;
    finished.set(reached == Reached::End && S::END == End::Returns);
    victim.child.kill();
    let survivor = concurrent.unwrap_or_else(|| Survivor::start(scenario, &mut state, &finished));
    // A process that waits for a descriptor to be closed must not wait for the harness's copy.
    drop(state);
    let outcome = survivor.outcome(S::LIMIT);
    let orphans = child::reap_orphans(S::LIMIT);
    Ok(match (outcome, orphans) {
        (Outcome::Survived, Err(left)) => Outcome::Inconsistent(left),
        (outcome, _) => outcome,
    })
}

struct Survivor {
    child: Child,
    message: File,
}

impl Survivor {
    fn start<S: Scenario>(scenario: &S, state: &mut S::State, finished: &Finished) -> Self {
        let (message, mut writer) = pipe();
        let child = Child::fork(move || match scenario.survive(state, finished) {
            Ok(()) => {}
            Err(why) => {
                writer.write_all(why.as_bytes()).unwrap();
                child::exit(child::INCONSISTENT);
            }
        });
        Self { child, message }
    }

    fn outcome(mut self, limit: Duration) -> Outcome {
        // The pipe ends when the survivor ends.
        let Some(why) = child::read_until(&mut self.message, Instant::now() + limit) else {
            return Outcome::Hung; // drop kills it
        };
        match self.child.wait(Instant::now() + limit) {
            None => Outcome::Hung,
            Some(0) => Outcome::Survived,
            Some(status)
                if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == child::INCONSISTENT =>
            {
                Outcome::Inconsistent(why)
            }
            status => Outcome::Crashed(describe(status)),
        }
    }
}
