//! `unixipc top`: the rates of all objects, as a live table, once, or for a monitoring system.

mod flow;
mod prometheus;
mod ring;
mod sample;
mod screen;

use crate::commands::ls::report_unseen;
use crate::error::{Code, Context, Error, Result};
use crate::output::Output;
use clap::ValueEnum;
use flow::Flow;
use sample::Sample;
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Print one table, after one interval
    #[arg(long)]
    once: bool,
    /// Print the counters once, in the text format of Prometheus
    #[arg(long, conflicts_with_all = ["once", "json"])]
    prometheus: bool,
    /// The time between two measurements, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// The column by which the rows are sorted
    #[arg(short, long, value_enum, default_value_t)]
    sort: Sort,
}

/// A column by which the rows are sorted, the largest value first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    #[default]
    Messages,
    Bytes,
    Lag,
    Waits,
}

impl Sort {
    /// The next column.
    fn next(self) -> Self {
        match self {
            Self::Messages => Self::Bytes,
            Self::Bytes => Self::Lag,
            Self::Lag => Self::Waits,
            Self::Waits => Self::Messages,
        }
    }

    fn key(self, flow: &Flow) -> f64 {
        match self {
            Self::Messages => flow.messages_per_second.unwrap_or(0.0),
            Self::Bytes => flow.bytes_per_second.unwrap_or(0.0),
            Self::Lag => flow.unread_bytes.unwrap_or(0) as f64,
            Self::Waits => flow.waits_per_second.unwrap_or(0.0),
        }
    }

    /// Sorts the rows.
    fn apply(self, flows: &mut [Flow]) {
        flows.sort_by(|a, b| self.key(b).total_cmp(&self.key(a)));
    }
}

/// The output as JSON, one line for each interval.
#[derive(Serialize)]
struct Report<'a> {
    /// The measured interval, in seconds.
    interval: f64,
    flows: &'a [Flow],
    unseen_processes: usize,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.05 to 3600".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    if args.prometheus {
        let sample = Sample::take().context("/proc")?;
        output.bytes(prometheus::text_of(&sample).as_bytes())?;
        return Ok(Code::Success);
    }
    let is_live = !args.once && !output.is_json() && io::stdout().is_terminal();
    if is_live {
        return screen::run(args, output);
    }
    let mut before = Sample::take().context("/proc")?;
    loop {
        std::thread::sleep(Duration::from_secs_f64(args.interval));
        let now = Sample::take().context("/proc")?;
        print(args, &before, &now, output)?;
        if args.once {
            report_unseen(&now.snapshot, 0, output);
            return Ok(Code::Success);
        }
        before = now;
    }
}

fn print(args: &Args, before: &Sample, now: &Sample, output: &Output) -> Result<()> {
    let mut flows = flow::between(before, now);
    args.sort.apply(&mut flows);
    if output.is_json() {
        return output.value(&Report {
            interval: now.seconds_since(before),
            flows: &flows,
            unseen_processes: now.snapshot.unseen,
        });
    }
    if flows.is_empty() {
        return output.line("no channels, feeds, cells or held locks");
    }
    output.table(&flow::table(&flows))
}

/// An error of the terminal.
fn terminal_error(error: io::Error) -> Error {
    Error::new(format!("the terminal: {error}"))
}
