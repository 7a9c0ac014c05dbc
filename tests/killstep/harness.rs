//! Kills a process after each instruction of an operation in turn, and looks at what that
//! does to another one.
//!
//! A point is one run: a scenario's state is set up, a forked victim is single-stepped so many
//! instructions into its operation and killed, and a forked survivor then does its own
//! operation in a bounded time, and judges what it found. All run on one CPU: a step costs half
//! as much then, and the kernel switches between them in the same way each time.

use crate::child::{self, Child};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a survivor found.
pub type Verdict = Result<(), String>;

/// How the victim's operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returns.
    Returns,
    /// It sleeps in the kernel, for ever; there it is killed for the last time.
    Sleeps,
}

/// An operation that is cut short, and another one that has to live with that.
pub trait Scenario {
    /// What both processes have: descriptors, memory, paths. Dropped in the harness.
    type State;

    /// How the operation ends.
    const END: End = End::Returns;
    /// Whether the survivor is at work already while the victim is stepped.
    const CONCURRENT: bool = false;
    /// How long the survivor may take after the victim's death.
    const LIMIT: Duration = Duration::from_secs(5);

    /// Makes what both processes will have. In the harness, for each point anew.
    fn set_up(&self) -> Self::State;
    /// Makes a process the victim: it closes what is not its own, and does the operation once,
    /// so that memory is touched and nothing is left to be resolved.
    fn become_victim(&self, state: &mut Self::State);
    /// The operation that is stepped through.
    fn operate(&self, state: &mut Self::State);
    /// What the survivor does, and finds. `finished` says, once the victim is dead, whether it
    /// had come to the end of its operation.
    fn survive(&self, state: &mut Self::State, finished: &Finished) -> Verdict;
}

/// Whether the victim came to its end: in memory that all processes share.
pub struct Finished(*mut AtomicBool);

impl Finished {
    fn new() -> Self {
        Self(child::shared_page().cast())
    }

    /// True if the victim's operation had returned before it was killed.
    pub fn get(&self) -> bool {
        self.shared().load(Ordering::Acquire)
    }

    fn set(&self, finished: bool) {
        self.shared().store(finished, Ordering::Release);
    }

    fn shared(&self) -> &AtomicBool {
        // SAFETY: the page stays mapped as long as self; a zero byte is `false`.
        unsafe { &*self.0 }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        child::unmap_page(self.0.cast());
    }
}

/// What the points of a scenario came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many instructions the operation has.
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

/// What became of the survivor.
enum Outcome {
    Survived,
    Inconsistent(String),
    Hung,
    Crashed(String),
}

/// How far a victim came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// So many instructions into the operation.
    Inside,
    /// The end of the operation.
    End,
}

/// How many points an operation may have before a sample of them is taken.
const EVERY: usize = 600;
/// How many points such a sample has, besides those at system calls.
const SAMPLE: usize = 150;
/// How many instructions before and after a system call are points in a sample too.
const AROUND: usize = 3;
/// More instructions than any operation has.
const STEPS_MAX: usize = 200_000;
/// How long a victim may take.
const VICTIM_LIMIT: Duration = Duration::from_secs(30);

/// Runs a scenario. An error says that it was not carried out: that the victim died by itself
/// or did not come to its end.
pub fn run<S: Scenario>(scenario: &S) -> Result<Report, String> {
    child::pin_to_one_cpu();
    child::adopt_orphans();
    let _timer = child::Timer::start();
    let trace = trace(scenario)?;
    let mut report = Report {
        instructions: trace.instructions,
        ..Report::default()
    };
    for point in points(&trace) {
        let outcome = run_point(scenario, point)?;
        report.count(point, outcome);
    }
    Ok(report)
}

/// A victim's way from the beginning to the end.
struct Trace {
    instructions: usize,
    system_calls: Vec<usize>,
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
    // What it leaves is for the points to judge.
    let _ = child::reap_orphans(S::LIMIT);
    if trace.instructions == 0 {
        return Err("the operation has no instructions".into());
    }
    Ok(trace)
}

/// All points, or where these are too many, a sample and whatever is close to a system call.
fn points(trace: &Trace) -> Vec<usize> {
    // One more than it took: an end that comes a little later another time is met too.
    let last = trace.instructions + 1;
    let stride = if last <= EVERY * scale() {
        1
    } else {
        last.div_ceil(SAMPLE * scale())
    };
    let around = |point: usize| {
        trace
            .system_calls
            .iter()
            .any(|call| point.abs_diff(*call) <= AROUND)
    };
    (0..=last)
        .filter(|point| point % stride == 0 || *point == last || around(*point))
        .collect()
}

/// UNIXIPC_TEST_SCALE: how much longer than by default the tests may take.
pub fn scale() -> usize {
    std::env::var("UNIXIPC_TEST_SCALE")
        .ok()
        .and_then(|scale| scale.parse().ok())
        .unwrap_or(1)
}

fn run_point<S: Scenario>(scenario: &S, steps: usize) -> Result<Outcome, String> {
    let finished = Finished::new();
    let mut state = scenario.set_up();
    let before = S::CONCURRENT.then(|| Survivor::start(scenario, &mut state, &finished));
    let mut victim = Victim::start(scenario, &mut state)?;
    let mut reached = Reached::Inside;
    for _ in 0..steps {
        reached = victim.step(S::END)?;
        if reached == Reached::End {
            break;
        }
    }
    finished.set(reached == Reached::End && S::END == End::Returns);
    victim.child.kill();
    let survivor = before.unwrap_or_else(|| Survivor::start(scenario, &mut state, &finished));
    // Whoever waits for the end of a descriptor shall not wait for the harness.
    drop(state);
    let outcome = survivor.outcome(S::LIMIT);
    let orphans = child::reap_orphans(S::LIMIT);
    Ok(match (outcome, orphans) {
        (Outcome::Survived, Err(left)) => Outcome::Inconsistent(left),
        (outcome, _) => outcome,
    })
}

/// The signal by which a victim says that its operation begins.
const BEGIN: i32 = libc::SIGSTOP;
/// The signal by which it says that its operation has ended.
const FINISHED: i32 = libc::SIGUSR2;

struct Victim {
    child: Child,
    deadline: Instant,
}

impl Victim {
    fn start<S: Scenario>(scenario: &S, state: &mut S::State) -> Result<Self, String> {
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
            deadline: Instant::now() + VICTIM_LIMIT,
        };
        match victim.child.wait(victim.deadline) {
            Some(status) if stopped_by(status) == Some(BEGIN) => {}
            other => return Err(format!("the victim did not begin: {}", describe(other))),
        }
        victim
            .child
            .kill_with_tracer()
            .map_err(|error| format!("PTRACE_SETOPTIONS: {error}"))?;
        Ok(victim)
    }

    /// One instruction further.
    fn step(&mut self, end: End) -> Result<Reached, String> {
        loop {
            self.child
                .step()
                .map_err(|error| format!("PTRACE_SINGLESTEP: {error}"))?;
            // Asked once: a sleep that is a nap may be over the next time.
            let asleep = Cell::new(false);
            let status = self.child.wait_unless(self.deadline, || {
                asleep.set(end == End::Sleeps && self.child.sleeps());
                asleep.get()
            });
            return match (status, status.and_then(stopped_by)) {
                (_, Some(libc::SIGTRAP)) => Ok(Reached::Inside),
                // A child of its own has ended: nothing has been done yet.
                (_, Some(libc::SIGCHLD)) => continue,
                (_, Some(FINISHED)) if end == End::Returns => Ok(Reached::End),
                (None, _) if asleep.get() => Ok(Reached::End),
                _ => Err(format!(
                    "the victim did not come to its end: {}",
                    describe(status)
                )),
            };
        }
    }
}

fn stopped_by(status: i32) -> Option<i32> {
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

fn describe(status: Option<i32>) -> String {
    match status {
        None => format!("nothing happened for {VICTIM_LIMIT:?}"),
        Some(status) if libc::WIFEXITED(status) => {
            format!("it exited with status {}", libc::WEXITSTATUS(status))
        }
        Some(status) if libc::WIFSIGNALED(status) => {
            format!("it was killed by signal {}", libc::WTERMSIG(status))
        }
        Some(status) => format!("it got signal {}", libc::WSTOPSIG(status)),
    }
}

struct Survivor {
    child: Child,
    words: io::PipeReader,
}

impl Survivor {
    fn start<S: Scenario>(scenario: &S, state: &mut S::State, finished: &Finished) -> Self {
        let (words, mut say) = io::pipe().unwrap();
        let child = Child::fork(move || match scenario.survive(state, finished) {
            Ok(()) => {}
            Err(why) => {
                io::Write::write_all(&mut say, why.as_bytes()).unwrap();
                child::exit(child::INCONSISTENT);
            }
        });
        Self { child, words }
    }

    fn outcome(mut self, limit: Duration) -> Outcome {
        // The pipe ends with the survivor.
        let Some(why) = child::read_until(&mut self.words, Instant::now() + limit) else {
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
