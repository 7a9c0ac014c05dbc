//! `unixipc replay`: publishes a recording.

use crate::error::{Code, Context, Error, Result};
use crate::messages::{
    Address, Kind, Limit, Patient, Progress, Sink, SinkOptions, Stop, check, seconds, until_stopped,
};
use crate::output::{Output, escaped};
use crate::recording::{Ending, Next, Reader, survey};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The recording; - is standard input
    file: PathBuf,
    /// PATH or feed:PATH at which the feed begins
    #[arg(value_parser = Address::parser())]
    feed: Address,
    /// Publish this many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    speed: f64,
    /// Publish as fast as the subscribers receive
    #[arg(long, conflicts_with = "speed")]
    fast: bool,
    /// Before the first message, wait until the feed has this number of subscribers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    subscribers: usize,
    /// The length of the longest message, if the recording comes from a pipe
    #[arg(long, value_name = "BYTES", default_value_t = 65536)]
    message_max: u64,
    /// Fail if the subscribers make no space for this time
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

fn factor(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("not a positive number".into()),
    }
}

/// The summary, for JSON.
#[derive(Serialize)]
struct Replayed {
    messages: u64,
    /// The messages that were lost when the feed was recorded.
    lost: Option<u64>,
    /// Whether the recording has its end.
    complete: bool,
    /// When the recording began, in nanoseconds since 1970.
    begin: u64,
    /// The identity of the feed that was recorded.
    feed_id: String,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    args.feed.require(Kind::Feed)?;
    let (file, longest, total) = open(args)?;
    let mut reader = Reader::new(file)?;
    let options = SinkOptions {
        waits: false,
        limit: None,
        mode: 0o600,
        message_max: longest,
    };
    until_stopped(|| {
        let mut sink = Sink::open_feed(&args.feed, &options)?;
        sink.wait_for_subscribers(args.subscribers, &Limit::new(args.timeout))?;
        let ending = replay(args, &mut reader, &mut sink, total)?;
        // The path of the feed is removed.
        drop(sink);
        let is_complete = ending != Ending::Truncated;
        if output.is_json() {
            output.value(&Replayed {
                messages: reader.messages(),
                lost: match ending {
                    Ending::Complete(lost) => Some(lost),
                    Ending::Truncated => None,
                },
                complete: is_complete,
                begin: reader.header().begin,
                feed_id: reader
                    .header()
                    .feed_id
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            })?;
        }
        if !is_complete {
            let messages = reader.messages();
            output.note(&format!(
                "the recording is truncated after {messages} messages"
            ));
            return Ok(Code::No);
        }
        Ok(Code::Success)
    })
}

/// Opens the recording. Returns it with the length of its longest message, and its size.
fn open(args: &Args) -> Result<(Box<dyn Read>, u64, Option<u64>)> {
    if args.file == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(Error::usage("standard input is a terminal"));
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = Patient(stdin.context("standard input")?.into());
        return Ok((Box::new(BufReader::new(stdin)), args.message_max, None));
    }
    let name = escaped(args.file.as_os_str().as_bytes());
    let file = File::open(&args.file).context(&name)?;
    if !file.metadata().context(&name)?.is_file() {
        let file = BufReader::new(Patient(file));
        return Ok((Box::new(file), args.message_max, None));
    }
    let (file, survey) = survey(BufReader::new(file))?;
    Ok((Box::new(file), survey.longest.max(1), Some(survey.bytes)))
}

fn replay(
    args: &Args,
    reader: &mut Reader<Box<dyn Read>>,
    sink: &mut Sink,
    total: Option<u64>,
) -> std::result::Result<Ending, Stop> {
    let mut progress = Progress::new(true, total);
    let mut message = Vec::new();
    let mut begin = None;
    loop {
        let next = reader.next(&mut message);
        check()?;
        let time = match next? {
            Next::Message(_, time) => time,
            Next::End(ending) => return Ok(ending),
        };
        if !args.fast {
            // The first message is published at once.
            let (start, first) = *begin.get_or_insert((Instant::now(), time));
            let after = Duration::from_nanos(time - first).as_secs_f64() / args.speed;
            let after = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
            sink.wait_until(start.checked_add(after))?;
        }
        sink.send(&args.feed, &message, &Limit::new(args.timeout))?;
        progress.update(reader.bytes(), reader.messages());
    }
}
