//! The commands, one a file. Each has its arguments, and a function `run`.

mod completions;
mod doctor;
mod gc;
mod ls;
mod top;

use crate::error::{Code, Result};
use crate::output::Output;
use clap::Subcommand;

/// A command.
#[derive(Subcommand)]
pub enum Command {
    /// List the objects that exist, and who uses them
    Ls(ls::Args),
    /// Remove objects that no living process uses
    Gc(gc::Args),
    /// Show rates, lag, and who waits for whom
    Top(top::Args),
    /// Check the parts of the system that the library uses
    Doctor(doctor::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
}

impl Command {
    /// Runs the command.
    pub fn run(&self, output: &Output) -> Result<Code> {
        match self {
            Self::Ls(args) => ls::run(args, output),
            Self::Gc(args) => gc::run(args, output),
            Self::Top(args) => top::run(args, output),
            Self::Doctor(args) => doctor::run(args, output),
            Self::Completions(args) => completions::run(args, output),
        }
    }
}
