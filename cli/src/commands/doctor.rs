//! `unixipc doctor`: the parts of the system that the library can use here, and the consequences.

mod bench;
mod kernel;
mod limits;

use crate::error::{Code, Result};
use crate::output::{Cell, Output, Table};
use serde::Serialize;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Also measure channels and sockets, for about ten seconds
    #[arg(long)]
    bench: bool,
}

/// How a part of the system serves the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The library uses it.
    Good,
    /// The library does without it, or has less of it.
    Limited,
    /// Some functions fail without it.
    Missing,
}

/// A part of the system.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What follows, if it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consequence: Option<&'static str>,
}

/// The output as JSON.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    checks: &'a [Check],
    #[serde(skip_serializing_if = "Option::is_none")]
    bench: Option<Vec<bench::Measurement>>,
}

impl Check {
    /// A check that is good or, with this consequence, has another status.
    fn new(
        name: &'static str,
        is_good: bool,
        found: impl Into<String>,
        otherwise: Status,
        consequence: &'static str,
    ) -> Self {
        Self {
            name,
            status: if is_good { Status::Good } else { otherwise },
            found: found.into(),
            consequence: (!is_good).then_some(consequence),
        }
    }

    /// A fact that needs no judgement.
    fn fact(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Good,
            found: found.into(),
            consequence: None,
        }
    }
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let mut checks = kernel::checks();
    checks.extend(limits::checks());
    let is_json = output.is_json();
    if !is_json {
        output.table(&table(&checks))?;
    }
    let bench = match args.bench {
        true => Some(bench::run()?),
        false => None,
    };
    if is_json {
        output.value(&Report {
            version: env!("CARGO_PKG_VERSION"),
            checks: &checks,
            bench,
        })?;
    } else if let Some(measurements) = bench {
        output.line("")?;
        output.table(&bench::table(&measurements))?;
    }
    let is_missing = checks.iter().any(|check| check.status == Status::Missing);
    Ok(if is_missing { Code::No } else { Code::Success })
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["PART", "STATUS", "FOUND", "CONSEQUENCE"]);
    for check in checks {
        let status = match check.status {
            Status::Good => Cell::text("good").good(),
            Status::Limited => Cell::text("limited").notable(),
            Status::Missing => Cell::text("missing").bad(),
        };
        table.row(vec![
            Cell::text(check.name),
            status,
            Cell::text(&check.found),
            Cell::text(check.consequence.unwrap_or_default()),
        ]);
    }
    table
}
