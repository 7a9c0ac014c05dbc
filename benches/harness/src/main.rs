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
mod session;
mod stats;
mod subject;
mod table;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;

use machine::Snapshot;
use plan::{Selection, TESTS, is_library};
use record::{Facts, Record};
use session::Session;

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
    // A run of another library that fails is a remark in the report.
    Ok(!records
        .iter()
        .any(|record| record.has_failed() && !is_library(&record.subject)))
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
            (150, 9, 20.0)
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
                        connections and subscribers, more readers than processors";
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
