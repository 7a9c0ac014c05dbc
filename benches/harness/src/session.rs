//! A session: runs all items repeatedly, and keeps their results.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machine::{Interference, Snapshot};
use crate::plan::{Item, test_named};
use crate::record::Record;
use crate::subject::Subject;
use crate::{Settings, calls, duration, record, run, stats, subject};

/// How long a subject may run in addition to the requested time. Its own watchdog expires earlier.
const EXTRA_TIME: Duration = Duration::from_secs(25);
/// A run that fails after this time has hung and is not repeated.
const HANG_TIME: Duration = Duration::from_secs(10);
/// The numbers of messages in the two runs that count system calls. One way, they must exceed the
/// capacity of any buffer, so that the sender must wait.
const ROUND_TRIPS: (u32, u32) = (200, 1200);
const ONE_WAY: (u32, u32) = (1000, 11_000);

/// A run of all repetitions.
pub struct Session<'a> {
    pub subjects: &'a [Subject],
    pub settings: &'a Settings,
    pub partial: record::Writer<File>,
    pub records: Vec<Record>,
    /// Items that hung, and that would waste the same time again.
    pub hung: HashSet<usize>,
}

impl Session<'_> {
    pub fn keep(&mut self, record: Record) -> Result<(), String> {
        self.partial
            .add(&record)
            .map_err(|error| format!("results.csv.part: {error}"))?;
        self.records.push(record);
        Ok(())
    }

    /// Runs all items repeatedly, as long as there is time. Returns the other load in the worst
    /// repetition, and the number of repetitions.
    pub fn repeat(
        &mut self,
        items: &[Item],
        seed: u64,
        begin: Instant,
    ) -> Result<(Option<Interference>, u32), String> {
        let no_strace = calls::unusable();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut worst: Option<Interference> = None;
        let mut longest = Duration::ZERO;
        for repetition in 1..=self.settings.repetitions {
            if repetition > 1 && begin.elapsed() + longest > self.settings.budget {
                return Ok((worst, repetition - 1));
            }
            let (started, before) = (Instant::now(), Snapshot::now());
            let mut order: Vec<usize> = (0..items.len()).collect();
            random.shuffle(&mut order);
            for (at, i) in order.into_iter().enumerate() {
                let is_first = repetition == 1;
                progress(repetition, at, items.len());
                let counts_calls =
                    test_named(items[i].test).is_some_and(|test| test.traced.is_some());
                if self.hung.contains(&i) || (counts_calls && !is_first) {
                    continue;
                }
                let record = match &no_strace {
                    Some(fault) if counts_calls => Record {
                        error: fault.clone(),
                        ..items[i].record(self.subjects)
                    },
                    _ => self.run(i, &items[i], repetition),
                };
                self.keep(record)?;
            }
            progress_done(repetition, self.settings.repetitions, started.elapsed());
            // System calls are counted only in the first repetition, so it takes longer.
            longest = if repetition == 2 {
                started.elapsed()
            } else {
                longest.max(started.elapsed())
            };
            if let Some(now) = before.until(&Snapshot::now()) {
                let sum = |seen: &Interference| seen.others + seen.stolen;
                if worst.is_none_or(|worst| sum(&now) > sum(&worst)) {
                    worst = Some(now);
                }
            }
        }
        Ok((worst, self.settings.repetitions))
    }

    fn run(&mut self, at: usize, item: &Item, repetition: u32) -> Record {
        let mut record = Record {
            repetition,
            ..item.record(self.subjects)
        };
        let (started, before) = (Instant::now(), Snapshot::now());
        let tried = match test_named(item.test).and_then(|test| test.traced) {
            Some(of) => self.count_calls(item, of, &mut record),
            None => self.run_once(item, &mut record),
        };
        if let Err(fault) = tried {
            eprintln!(
                "{}failed: {} {} {}: {fault}",
                line_start(),
                record.subject,
                record.variant,
                record.test
            );
            record.error = fault;
            if started.elapsed() > HANG_TIME {
                self.hung.insert(at);
            }
        }
        if let Some(seen) = before.until(&Snapshot::now()) {
            record.others = Some((1000.0 * seen.others).round() / 1000.0);
            record.preempted = Some(seen.preempted);
        }
        record
    }

    /// The command of a run, without the time or the number of messages.
    fn command(&self, item: &Item, test: &str) -> Command {
        let subject = &self.subjects[item.subject];
        let [a, b] = self.settings.cpus;
        let mut command = Command::new(&subject.path);
        command
            .args(["run", &subject.rows[item.row].variant, test])
            .arg(format!("len={}", item.len))
            .arg(format!("cores={}", item.cores))
            .arg(format!("cpus={a},{b}"));
        if test_named(test).is_some_and(|test| test.has_n()) {
            command.arg(format!("n={}", item.n));
        }
        command
    }

    fn run_once(&self, item: &Item, record: &mut Record) -> Result<(), String> {
        let ms = self.settings.ms;
        let mut command = self.command(item, item.test);
        command.arg(format!("ms={ms}"));
        let output = run::run(&mut command, Duration::from_millis(ms) + EXTRA_TIME)?;
        let is_latency = test_named(item.test).is_some_and(|test| test.is_latency());
        let figures = subject::parse_figures(&output, is_latency)?;
        let get = |key: &str| figures.values.get(key).copied();
        record.messages = get("messages");
        record.operations = get("operations");
        record.ns = get("ns");
        record.cpu_ns = get("cpu_ns");
        record.p50_ns = get("p50_ns");
        record.p99_ns = get("p99_ns");
        record.p999_ns = get("p999_ns");
        record.min_ns = get("min_ns");
        record.max_ns = get("max_ns");
        record.failed = get("failed");
        record.written = get("written");
        record.histogram = stats::histogram_to_text(&figures.histogram);
        Ok(())
    }

    fn count_calls(&self, item: &Item, of: &str, record: &mut Record) -> Result<(), String> {
        let count = |messages: u32| -> Result<(f64, calls::Counts), String> {
            let mut command = self.command(item, of);
            command.arg(format!("messages={messages}"));
            let (output, counts) = calls::count(&command)?;
            let figures = subject::parse_figures(&output, false)?;
            let sent = figures
                .values
                .get("messages")
                .ok_or("did not print messages")?;
            Ok((*sent, counts))
        };
        let (least, most) = if of == "rate" { ONE_WAY } else { ROUND_TRIPS };
        let (few, calls_of_few) = count(least)?;
        let (many, calls_of_many) = count(most)?;
        if many <= few {
            return Err(format!(
                "sent {few} and {many} messages instead of {least} and {most}"
            ));
        }
        let (calls, which) = calls::per_message(&calls_of_few, &calls_of_many, many - few);
        record.messages = Some(many - few);
        record.calls = Some(calls);
        record.which_calls = which;
        Ok(())
    }
}

fn progress(repetition: u32, at: usize, of: usize) {
    if io::stderr().is_terminal() && at % 8 == 0 {
        eprint!("\r\x1b[Krepetition {repetition}: {at} of {of} ");
    }
}

/// Returns to the start of the line, and erases the output of `progress`.
fn line_start() -> &'static str {
    if io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    }
}

fn progress_done(repetition: u32, of: u32, took: Duration) {
    eprintln!(
        "{}repetition {repetition} of at most {of}: {}",
        line_start(),
        duration(took)
    );
}
