//! The commands, one a file. Each has its arguments, and a function `run`.

mod call;
mod cat;
mod completions;
mod doctor;
mod echo;
mod gc;
mod ls;
mod record;
mod replay;
mod send;
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
    /// Print the messages of a feed, a channel or a FIFO
    Cat(cat::Args),
    /// Send messages to a channel or a FIFO, or publish them
    Send(send::Args),
    /// Send requests over a channel, and print the replies
    Call(call::Args),
    /// Send each message of a channel back
    Echo(echo::Args),
    /// Record a feed
    Record(record::Args),
    /// Publish a recording
    Replay(replay::Args),
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
            Self::Cat(args) => cat::run(args, output),
            Self::Send(args) => send::run(args, output),
            Self::Call(args) => call::run(args, output),
            Self::Echo(args) => echo::run(args, output),
            Self::Record(args) => record::run(args, output),
            Self::Replay(args) => replay::run(args, output),
            Self::Completions(args) => completions::run(args, output),
        }
    }
}
