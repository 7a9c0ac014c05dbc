//! Measures unixipc, kernel mechanisms and other libraries, and compares them. benches/README.md
//! describes the tests.

mod calls;
mod compare;
mod machine;
mod plan;
mod plot;
mod record;
mod report;
mod run;
mod stats;
mod subject;
mod table;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;

use machine::Snapshot;
use plan::{Item, Selection, TESTS, test_named};
use record::{Facts, Record};
use subject::Subject;

/// How long a subject may run in addition to the requested time. Its own watchdog expires earlier.
const EXTRA_TIME: Duration = Duration::from_secs(25);
/// A run that fails after this time has hung and is not repeated.
const HANG_TIME: Duration = Duration::from_secs(10);
/// The numbers of messages in the two runs that count system calls. One way, they must exceed the
/// capacity of any buffer, so that the sender must wait.
const ROUND_TRIPS: (u32, u32) = (200, 1200);
const ONE_WAY: (u32, u32) = (1000, 11_000);

/// Measures unixipc, kernel mechanisms and other libraries, and prints tables.
#[derive(Parser)]
struct Args {
    /// The directory of the subjects, which are the programs that measure
    #[arg(long, default_value = "build/benches/subjects")]
    subjects: PathBuf,
    /// The directory for results.csv, report.md and the charts
    #[arg(long, default_value = "benches/out")]
    out: PathBuf,
    /// Take less than two minutes: fewer sizes and repetitions, shorter runs
    #[arg(long)]
    quick: bool,
    /// Run only tests whose names begin with one of these, such as rate,latency
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare with an earlier results.csv
    #[arg(long)]
    base: Option<PathBuf>,
    /// The maximum number of repetitions
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// The duration of a run in milliseconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    ms: Option<u64>,
    /// Start no repetition that would end after this number of minutes
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// The seed of the order of the runs
    #[arg(long)]
    seed: Option<u64>,
    /// The two processors to use, such as 0,1
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Print the tables and charts of an earlier results.csv, without measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only", "seed"])]
    report: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= 10_000.0 => Ok(minutes),
        _ => Err("must be a number above 0 and at most 10000".into()),
    }
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            eprintln!("unixipc-bench: {fault}");
            ExitCode::from(2)
        }
    }
}

/// Returns false if a measurement failed.
fn bench(args: &Args) -> Result<bool, String> {
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    // Before this run overwrites the file.
    let base = args.base.as_deref().map(read_results).transpose()?;
    fs::create_dir_all(&args.out).map_err(|error| at(&args.out, error))?;

    let (facts, records) = match &args.report {
        Some(file) => read_results(file)?,
        None => measure(args)?,
    };
    let pictures = plot::draw(&records, &args.out).map_err(|error| format!("charts: {error}"))?;
    let compared = base
        .as_ref()
        .map(|(base_facts, base)| compare::compare((base_facts, base), (&facts, &records)))
        .unwrap_or_default();
    let file = args.out.join("report.md");
    let text = report::report(&facts, &records, &pictures) + &compared;
    fs::write(&file, text).map_err(|error| at(&file, error))?;

    // The terminal gets the report without charts. A closed pipe is not an error.
    let text = report::report(&facts, &records, &[]) + &compared;
    let _ = io::stdout().write_all(text.as_bytes());
    eprintln!("\nReport with charts: {}", file.display());
    Ok(!records.iter().any(Record::has_failed))
}

fn read_results(path: &Path) -> Result<(Facts, Vec<Record>), String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    record::read(file).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// The parameters of the run.
struct Settings {
    ms: u64,
    repetitions: u32,
    budget: Duration,
    cpus: [usize; 2],
}

impl Settings {
    fn of(args: &Args) -> Result<Settings, String> {
        let (ms, repetitions, minutes) = if args.quick {
            (50, 3, 1.7)
        } else {
            (150, 9, 14.0)
        };
        let allowed = machine::processors();
        let cpus = match args.cpus.as_slice() {
            [] => match (allowed.first(), allowed.last()) {
                (Some(&first), Some(&last)) => [first, last],
                _ => return Err("no processor may be used".into()),
            },
            &[a, b] if a != b && allowed.contains(&a) && allowed.contains(&b) => [a, b],
            _ => {
                return Err(format!(
                    "--cpus needs two different processors of {allowed:?}"
                ));
            }
        };
        Ok(Settings {
            ms: args.ms.unwrap_or(ms),
            repetitions: args.repetitions.unwrap_or(repetitions),
            budget: Duration::from_secs_f64(60.0 * args.minutes.unwrap_or(minutes)),
            cpus,
        })
    }
}

fn measure(args: &Args) -> Result<(Facts, Vec<Record>), String> {
    let begin = Instant::now();
    let settings = Settings::of(args)?;
    for name in &args.only {
        if !TESTS
            .iter()
            .any(|test| test.is_chosen(std::slice::from_ref(name)))
        {
            let names: Vec<_> = TESTS.iter().map(|test| test.name).collect();
            return Err(format!(
                "unknown test {name:?}; the tests are {}",
                names.join(", ")
            ));
        }
    }
    run::become_subreaper().map_err(|error| error.to_string())?;
    let directory = args.subjects.display();
    let (subjects, faults) = subject::find(&args.subjects)
        .map_err(|error| format!("{directory}: {error} (make bench builds the subjects)"))?;
    for fault in &faults {
        eprintln!("unixipc-bench: {fault}");
    }
    if subjects.is_empty() {
        return Err(format!("{directory}: no subjects (make bench builds them)"));
    }
    let selection = Selection {
        quick: args.quick,
        only: &args.only,
        processors: machine::processors().len() as u64,
    };
    let (items, mut notes) = plan::plan(&selection, &subjects);
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));

    let mut facts: Facts = vec![
        ("made by".into(), command_line(args)),
        (
            "date".into(),
            humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ),
    ];
    facts.extend(machine::describe(settings.cpus));
    let versions: Vec<_> = subjects
        .iter()
        .map(|subject| subject.version.as_str())
        .collect();
    facts.push(("measured".into(), versions.join("; ")));
    facts.push(("milliseconds a run".into(), settings.ms.to_string()));
    facts.push(("seed".into(), seed.to_string()));
    if args.quick {
        let left_out = "intermediate sizes, system calls one way, intermediate numbers of \
                        connections, more readers than processors";
        facts.push(("omitted with QUICK=1".into(), left_out.into()));
    }
    for fault in faults {
        facts.push(("subject that does not work".into(), fault));
    }

    let load = machine::load();
    let before = Snapshot::now();
    let mut session = Session {
        subjects: &subjects,
        settings: &settings,
        partial: partial_file(&args.out, &facts)?,
        records: Vec::new(),
        hung: HashSet::new(),
    };
    for note in notes.drain(..) {
        session.keep(note)?;
    }
    let (worst, done) = session.repeat(&items, seed, begin)?;

    let repetitions = match done {
        all if all == settings.repetitions => all.to_string(),
        some => format!("{some} (not {}, for lack of time)", settings.repetitions),
    };
    facts.push(("repetitions".into(), repetitions));
    facts.push((
        "load before and after".into(),
        format!("{load}; {}", machine::load()),
    ));
    facts.push(("other load".into(), interference(before, worst)));
    facts.push(("duration".into(), duration(begin.elapsed())));
    let records = session.records;
    write_results(&args.out, &facts, &records)?;
    Ok((facts, records))
}

/// The command that repeats this run.
fn command_line(args: &Args) -> String {
    let mut line = String::from("make bench");
    if args.quick {
        line += " QUICK=1";
    }
    if !args.only.is_empty() {
        line += &format!(" ONLY={}", args.only.join(","));
    }
    let mut more = Vec::new();
    if let Some(ms) = args.ms {
        more.push(format!("--ms {ms}"));
    }
    if let Some(repetitions) = args.repetitions {
        more.push(format!("--repetitions {repetitions}"));
    }
    if let Some(minutes) = args.minutes {
        more.push(format!("--minutes {minutes}"));
    }
    if let [a, b] = args.cpus.as_slice() {
        more.push(format!("--cpus {a},{b}"));
    }
    if !more.is_empty() {
        line += &format!(" ARGS='{}'", more.join(" "));
    }
    line
}

/// Creates the file that remains if the run is interrupted.
fn partial_file(out: &Path, facts: &Facts) -> Result<record::Writer<File>, String> {
    let path = out.join("results.csv.part");
    File::create(&path)
        .and_then(|file| record::Writer::new(file, facts))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes results.csv with all facts, some of which are known only at the end.
fn write_results(out: &Path, facts: &Facts, records: &[Record]) -> Result<(), String> {
    let path = out.join("results.csv.part");
    let write = || -> io::Result<()> {
        let mut writer = record::Writer::new(File::create(&path)?, facts)?;
        for record in records {
            writer.add(record)?;
        }
        drop(writer);
        fs::rename(&path, out.join("results.csv"))
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

struct Session<'a> {
    subjects: &'a [Subject],
    settings: &'a Settings,
    partial: record::Writer<File>,
    records: Vec<Record>,
    /// Items that hung, and that would waste the same time again.
    hung: HashSet<usize>,
}

impl Session<'_> {
    fn keep(&mut self, record: Record) -> Result<(), String> {
        self.partial
            .add(&record)
            .map_err(|error| format!("results.csv.part: {error}"))?;
        self.records.push(record);
        Ok(())
    }

    /// Runs all items repeatedly, as long as there is time. Returns the other load in the worst
    /// repetition, and the number of repetitions.
    fn repeat(
        &mut self,
        items: &[Item],
        seed: u64,
        begin: Instant,
    ) -> Result<(Option<machine::Interference>, u32), String> {
        let no_strace = calls::unusable();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut worst: Option<machine::Interference> = None;
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
                let sum = |seen: &machine::Interference| seen.others + seen.stolen;
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
    if io::stderr().is_terminal() && at.is_multiple_of(8) {
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

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Describes the other load, and warns if it is high.
fn interference(before: Snapshot, worst: Option<machine::Interference>) -> String {
    let Some((seen, worst)) = before.until(&Snapshot::now()).zip(worst) else {
        return "unknown".into();
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut text = format!(
        "other processes used {} of the machine during this run ({} in the worst repetition), \
         the hypervisor took {} ({})",
        percent(seen.others),
        percent(worst.others),
        percent(seen.stolen),
        percent(worst.stolen),
    );
    if worst.others + worst.stolen > 0.05 {
        text += ": figures may be wrong";
    }
    text
}
