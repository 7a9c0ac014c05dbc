//! `unixipc ls`: the objects that exist.

mod rates;
pub mod rows;

use crate::error::{Code, Context, Result};
use crate::inventory::item::{ItemKind, Query};
use crate::inventory::{Item, Snapshot};
use crate::output::{Output, Table};
use nix::unistd::Uid;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Show only objects with this name, subscriber, process name or process number; * and ? are
    /// wildcards
    pattern: Option<String>,
    /// Show only these kinds
    #[arg(long = "type", value_name = "KIND", value_enum, value_delimiter = ',')]
    kinds: Vec<ItemKind>,
    /// Also show the FIFOs and sockets below this directory
    #[arg(long = "dir", value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Also show files in /dev/shm and System V segments that may belong to other programs
    #[arg(short, long)]
    all: bool,
}

/// The output as JSON.
#[derive(Serialize)]
struct Listing<'a> {
    objects: &'a [Item],
    /// How many processes and directories could not be inspected.
    unseen_processes: usize,
    unseen_directories: usize,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let snapshot = Snapshot::take(true).context("/proc")?;
    let query = Query {
        kinds: args.kinds.clone(),
        directories: args.directories.clone(),
        all: args.all,
    };
    let begin = Instant::now();
    let (mut items, unread) = query.run(&snapshot);
    if let Some(pattern) = &args.pattern {
        items.retain(|item| item.is_match(pattern));
    }
    rates::measure(&mut items, begin, &query, &snapshot);
    if output.is_json() {
        output.value(&Listing {
            objects: &items,
            unseen_processes: snapshot.unseen,
            unseen_directories: unread,
        })?;
    } else if !items.is_empty() {
        let mut table = Table::new(&[
            "KIND",
            "NAME",
            "OWNER",
            "MODE",
            "AGE",
            "STATE",
            "PROCESSES",
            "DETAILS",
        ]);
        for item in &items {
            rows::add(&mut table, item);
        }
        output.table(&table)?;
    }
    report_unseen(&snapshot, unread, output);
    Ok(match (&args.pattern, items.is_empty()) {
        (Some(_), true) => Code::No,
        _ => Code::Success,
    })
}

/// Says what could not be inspected.
pub fn report_unseen(snapshot: &Snapshot, unread: usize, output: &Output) {
    let hint = match Uid::effective().is_root() {
        true => "",
        false => "; root sees more",
    };
    if !snapshot.is_complete() && !output.is_json() {
        output.note(&format!("{}{hint}", not_inspected(snapshot.unseen)));
    }
    if unread > 0 && !output.is_json() {
        output.note(&format!("{unread} directories were not read"));
    }
}

/// How many processes could not be inspected, in words.
pub fn not_inspected(count: usize) -> String {
    match count {
        1 => "1 process could not be inspected".into(),
        count => format!("{count} processes could not be inspected"),
    }
}
