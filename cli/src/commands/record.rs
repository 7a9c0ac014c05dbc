//! `unixipc record`: records a feed.

use crate::error::{Code, Context, Error, Result};
use crate::messages::{
    Address, Begin, Event, Kind, Limit, Patient, Progress, Source, SourceOptions, Stop, check,
    seconds, until_stopped,
};
use crate::output::{Output, escaped};
use crate::recording::{Header, Writer};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// PATH or feed:PATH
    #[arg(value_parser = Address::parser())]
    feed: Address,
    /// The new file; - is standard output
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// End after this number of messages
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u64>,
    /// End after this time
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Where to begin
    #[arg(long, value_enum, default_value_t)]
    from: Begin,
    /// Have the publisher wait for this program; otherwise messages can be lost
    #[arg(long)]
    reliable: bool,
    /// Wait until a process listens
    #[arg(short, long)]
    wait: bool,
    /// Fail if connecting takes longer
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// The summary, for JSON.
#[derive(Default, Serialize)]
struct Recorded {
    messages: u64,
    bytes: u64,
    lost: u64,
    seconds: f64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    args.feed.require(Kind::Feed)?;
    let options = SourceOptions {
        begin: args.from,
        is_reliable: args.reliable,
        waits: args.wait,
        limit: args.timeout,
    };
    let mut source = Source::open(&args.feed, &options)?;
    let file = open(args)?;
    until_stopped(|| {
        let recorded = record(args, &mut source, file)?;
        let to_stdout = args.file == Path::new("-");
        if output.is_json() && !to_stdout {
            output.value(&recorded)?;
        } else {
            output.note(&format!(
                "{} messages, {} bytes, {} lost, {:.1} s",
                recorded.messages, recorded.bytes, recorded.lost, recorded.seconds
            ));
        }
        Ok(Code::Success)
    })
}

fn open(args: &Args) -> Result<Patient> {
    if args.file == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Error::usage(
                "standard output is a terminal: a recording is binary",
            ));
        }
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        return Ok(Patient(stdout.context("standard output")?.into()));
    }
    let mut options = OpenOptions::new();
    options.write(true);
    match args.force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let file: io::Result<File> = options.open(&args.file);
    let name = escaped(args.file.as_os_str().as_bytes());
    Ok(Patient(file.context(name)?))
}

/// Records until the feed ends, a limit is reached or a signal arrives. The file is complete after
/// each of them.
fn record(args: &Args, source: &mut Source, file: Patient) -> std::result::Result<Recorded, Stop> {
    let begin = Instant::now();
    let header = Header {
        feed_id: source.feed_id(),
        begin: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_nanos() as u64),
    };
    let written = |result: io::Result<()>| {
        if matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ECANCELED)) {
            check()?;
        }
        result.context("the recording").map_err(Stop::from)
    };
    let mut writer = Writer::new(file, &header).context("the recording")?;
    let mut progress = Progress::new(true, None);
    let limit = Limit::new(args.duration);
    let (mut buffer, mut lost) = (Vec::new(), 0);
    while args.count.is_none_or(|most| writer.messages() < most) && !limit.is_over() {
        let event = match source.receive_now(&args.feed, &mut buffer)? {
            Some(event) => event,
            None => {
                written(writer.flush())?;
                match source.receive(&args.feed, &mut buffer, &limit) {
                    Ok(event) => event,
                    Err(Stop::Signal(_)) => break,
                    Err(Stop::Error(_)) if limit.is_over() => break,
                    Err(stop) => return Err(stop),
                }
            }
        };
        match event {
            Event::Message(_, sequence) => {
                let time = begin.elapsed().as_nanos() as u64;
                written(writer.message(&buffer, sequence.unwrap_or(0), time))?;
                progress.update(writer.bytes(), writer.messages());
            }
            Event::Lost(count) => lost += count,
            Event::End => break,
        }
        if check().is_err() {
            break;
        }
    }
    let (messages, bytes, time) = (writer.messages(), writer.bytes(), begin.elapsed());
    written(writer.finish(lost, time.as_nanos() as u64))?;
    Ok(Recorded {
        messages,
        bytes,
        lost,
        seconds: time.as_secs_f64(),
    })
}
