//! The commands, one a file. Each has its arguments, and a function `run`.

mod completions;

use crate::error::{Code, Result};
use crate::output::Output;
use clap::Subcommand;

/// A command.
#[derive(Subcommand)]
pub enum Command {
    /// Print the completions for a shell
    Completions(completions::Args),
}

impl Command {
    /// Runs the command.
    pub fn run(&self, output: &Output) -> Result<Code> {
        match self {
            Self::Completions(args) => completions::run(args, output),
        }
    }
}
