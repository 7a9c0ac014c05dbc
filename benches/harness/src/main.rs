//! Measures unixipc beside the kernel's mechanisms and other libraries; README.md in the folder
//! above says what and how.

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

use machine::Moment;
use plan::{Choice, Item, TESTS, test_named};
use record::{Facts, Record};
use subject::Subject;

/// What a subject may take beyond the time it is asked to measure; its own watchdog comes first.
const SLACK: Duration = Duration::from_secs(25);
/// What has taken so long and failed is not tried again.
const HOPELESS: Duration = Duration::from_secs(10);
/// For counting system calls: messages of the two runs that are compared. One way there must be
/// many more than fit into a buffer, or nobody ever has to wait.
const TO_AND_FRO: (u32, u32) = (200, 1200);
const ONE_WAY: (u32, u32) = (1000, 11_000);

/// Measures unixipc beside the kernel's mechanisms and other libraries, and prints tables.
#[derive(Parser)]
struct Args {
    /// The folder with the programs that measure
    #[arg(long, default_value = "build/benches/subjects")]
    subjects: PathBuf,
    /// Where results.csv, report.md and the pictures go
    #[arg(long, default_value = "benches/out")]
    out: PathBuf,
    /// Less than two minutes: fewer sizes and repetitions, shorter runs
    #[arg(long)]
    quick: bool,
    /// Only tests whose names begin so, as in rate,latency
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// An earlier results.csv to compare with
    #[arg(long)]
    base: Option<PathBuf>,
    /// How often everything is measured, if there is time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// How long a run measures
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    ms: Option<u64>,
    /// No repetition begins that would not be over after so many minutes
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// The order of the runs
    #[arg(long)]
    seed: Option<u64>,
    /// The two processors to use, as in 0,1
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Measures nothing: tables and pictures of an earlier results.csv
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only", "seed"])]
    report: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= 10_000.0 => Ok(minutes),
        _ => Err("a number of minutes above 0, at most 10000".into()),
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

/// False if something could not be measured.
fn bench(args: &Args) -> Result<bool, String> {
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    // Before this run's results take the place of the file.
    let base = args.base.as_deref().map(read_results).transpose()?;
    fs::create_dir_all(&args.out).map_err(|error| at(&args.out, error))?;

    let (facts, records) = match &args.report {
        Some(file) => read_results(file)?,
        None => measure(args)?,
    };
    let pictures = plot::draw(&records, &args.out).map_err(|error| format!("pictures: {error}"))?;
    let compared = base
        .as_ref()
        .map(|(base_facts, base)| compare::compare((base_facts, base), (&facts, &records)))
        .unwrap_or_default();
    let file = args.out.join("report.md");
    let text = report::report(&facts, &records, &pictures) + &compared;
    fs::write(&file, text).map_err(|error| at(&file, error))?;

    // The same without pictures. Who does not read it to its end does not disturb.
    let text = report::report(&facts, &records, &[]) + &compared;
    let _ = io::stdout().write_all(text.as_bytes());
    eprintln!("\nThis report with pictures: {}", file.display());
    Ok(!records.iter().any(Record::has_failed))
}

fn read_results(path: &Path) -> Result<(Facts, Vec<Record>), String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    record::read(file).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// What the run is made of, beside the subjects.
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
            _ => return Err(format!("--cpus takes two different ones of {allowed:?}")),
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
                "no test is called {name:?}; there are {}",
                names.join(", ")
            ));
        }
    }
    run::adopt_orphans().map_err(|error| error.to_string())?;
    let folder = args.subjects.display();
    let (subjects, faults) = subject::find(&args.subjects)
        .map_err(|error| format!("{folder}: {error} (make bench builds the subjects)"))?;
    for fault in &faults {
        eprintln!("unixipc-bench: {fault}");
    }
    if subjects.is_empty() {
        return Err(format!(
            "{folder}: no subject is there (make bench builds them)"
        ));
    }
    let choice = Choice {
        quick: args.quick,
        only: &args.only,
        processors: machine::processors().len() as u64,
    };
    let (items, mut notes) = plan::plan(&choice, &subjects);
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
        let left_out = "sizes in between, the number of system calls of one-way traffic, most \
                        numbers of connections, more readers than processors";
        facts.push(("left out because of QUICK=1".into(), left_out.into()));
    }
    for fault in faults {
        facts.push(("does not work".into(), fault));
    }

    let load = machine::load();
    let before = Moment::now();
    let mut session = Session {
        subjects: &subjects,
        settings: &settings,
        partial: partial_file(&args.out, &facts)?,
        records: Vec::new(),
        hopeless: HashSet::new(),
    };
    for note in notes.drain(..) {
        session.keep(note)?;
    }
    let (worst, done) = session.repeat(&items, seed, begin)?;

    let repetitions = match done {
        all if all == settings.repetitions => all.to_string(),
        some => format!("{some} (there was no time for {})", settings.repetitions),
    };
    facts.push(("repetitions".into(), repetitions));
    facts.push((
        "load before and after".into(),
        format!("{load}; {}", machine::load()),
    ));
    facts.push(("disturbances".into(), disturbances(before, worst)));
    facts.push(("duration".into(), duration(begin.elapsed())));
    let records = session.records;
    write_results(&args.out, &facts, &records)?;
    Ok((facts, records))
}

/// What would make such a run.
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

/// What there is of a run that is interrupted.
fn partial_file(out: &Path, facts: &Facts) -> Result<record::Writer<File>, String> {
    let path = out.join("results.csv.part");
    File::create(&path)
        .and_then(|file| record::Writer::new(file, facts))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The whole of it, with what is known only at the end.
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
    /// Items that hung: each of them would cost as much time again.
    hopeless: HashSet<usize>,
}

impl Session<'_> {
    fn keep(&mut self, record: Record) -> Result<(), String> {
        self.partial
            .add(&record)
            .map_err(|error| format!("results.csv.part: {error}"))?;
        self.records.push(record);
        Ok(())
    }

    /// Runs everything, and again as long as there is time. Returns what else the machine did
    /// in the worst repetition, and the number of repetitions.
    fn repeat(
        &mut self,
        items: &[Item],
        seed: u64,
        begin: Instant,
    ) -> Result<(Option<machine::Disturbance>, u32), String> {
        let no_strace = calls::unusable();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut worst: Option<machine::Disturbance> = None;
        let mut longest = Duration::ZERO;
        for repetition in 1..=self.settings.repetitions {
            if repetition > 1 && begin.elapsed() + longest > self.settings.budget {
                return Ok((worst, repetition - 1));
            }
            let (started, before) = (Instant::now(), Moment::now());
            let mut order: Vec<usize> = (0..items.len()).collect();
            random.shuffle(&mut order);
            for (at, i) in order.into_iter().enumerate() {
                let is_first = repetition == 1;
                progress(repetition, at, items.len());
                let counts_calls = test_named(items[i].test).is_some_and(|test| test.of.is_some());
                if self.hopeless.contains(&i) || (counts_calls && !is_first) {
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
            // The calls are counted in the first one only, which says little of the next one.
            longest = if repetition == 2 {
                started.elapsed()
            } else {
                longest.max(started.elapsed())
            };
            if let Some(now) = before.until(&Moment::now()) {
                let sum = |seen: &machine::Disturbance| seen.others + seen.stolen;
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
        let (started, before) = (Instant::now(), Moment::now());
        let tried = match test_named(item.test).and_then(|test| test.of) {
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
            if started.elapsed() > HOPELESS {
                self.hopeless.insert(at);
            }
        }
        if let Some(seen) = before.until(&Moment::now()) {
            record.others = Some((1000.0 * seen.others).round() / 1000.0);
            record.preempted = Some(seen.preempted);
        }
        record
    }

    /// The command that runs it, but for the time or the number of messages.
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
        let output = run::run(&mut command, Duration::from_millis(ms) + SLACK)?;
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
        let (least, most) = if of == "rate" { ONE_WAY } else { TO_AND_FRO };
        let (few, calls_of_few) = count(least)?;
        let (many, calls_of_many) = count(most)?;
        if many <= few {
            return Err(format!(
                "sent {few} and {many} messages, asked for {least} and {most}"
            ));
        }
        let (calls, which) = calls::each(&calls_of_few, &calls_of_many, many - few);
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

/// Wipes what progress has written.
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

/// What else the machine did, and whether it matters.
fn disturbances(before: Moment, worst: Option<machine::Disturbance>) -> String {
    let Some((seen, worst)) = before.until(&Moment::now()).zip(worst) else {
        return "the kernel does not tell".into();
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
        text += ": figures may be off";
    }
    text
}
