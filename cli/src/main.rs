//! `unixipc` shows, cleans and tries the objects of unixipc programs. It reads what the system shows,
//! and runs nothing in the observed programs. The page unixipc(1) describes it.

mod commands;
mod error;
mod inventory;
mod messages;
mod objects;
mod output;
mod proc;
mod recording;

use clap::Parser;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::process::ExitCode;

use output::{ColourChoice, Output};

/// Shows, cleans and tries the objects of unixipc programs
#[derive(Parser)]
#[command(name = "unixipc", version, after_help = error::EXIT_STATUS)]
struct Cli {
    /// Write JSON
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: ColourChoice,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    // A reader of the output that goes away, such as `head`, ends this program without a message.
    // SAFETY: the default action replaces no handler that could be running.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.color);
    match cli.command.run(&output) {
        Ok(code) => code.into(),
        Err(error) => {
            output.report(&error);
            error.code().into()
        }
    }
}
