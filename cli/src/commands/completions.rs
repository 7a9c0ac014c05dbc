//! `unixipc completions`: the completions for a shell.

use crate::error::{Code, Result};
use crate::output::Output;
use clap::CommandFactory;
use clap_complete::Shell;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let mut script = Vec::new();
    let mut command = crate::Cli::command();
    clap_complete::generate(args.shell, &mut command, "unixipc", &mut script);
    output.bytes(&script)?;
    Ok(Code::Success)
}
