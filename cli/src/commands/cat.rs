//! `unixipc cat`: prints messages.

use crate::error::{Code, Result};
use crate::messages::{
    Address, Begin, Event, Format, Limit, Printer, Source, SourceOptions, Stop, check, seconds,
    until_stopped,
};
use crate::output::Output;
use std::time::Duration;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// feed:PATH, channel:PATH or fifo:PATH; a PATH alone is a FIFO, or otherwise a feed
    #[arg(value_parser = Address::parser())]
    address: Address,
    /// The form of the messages
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// End after this number of messages
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Where to begin in a feed
    #[arg(long, value_enum, default_value_t)]
    from: Begin,
    /// Have the publisher of a feed wait for this program; otherwise messages can be lost
    #[arg(long)]
    reliable: bool,
    /// Wait until a process listens
    #[arg(short, long)]
    wait: bool,
    /// Fail if this time passes without a message
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let mut printer = Printer::new(args.format, output)?;
    let options = SourceOptions {
        begin: args.from,
        is_reliable: args.reliable,
        waits: args.wait,
        limit: args.timeout,
    };
    let mut source = Source::open(&args.address, &options)?;
    until_stopped(|| {
        let printed = print(args, &mut source, &mut printer, output);
        printer.flush()?;
        printed.map(|()| Code::Success)
    })
}

fn print(
    args: &Args,
    source: &mut Source,
    printer: &mut Printer,
    output: &Output,
) -> std::result::Result<(), Stop> {
    let mut buffer = Vec::new();
    let mut count = 0;
    while args.count.is_none_or(|most| count < most) {
        check()?;
        let event = match source.receive_now(&args.address, &mut buffer)? {
            Some(event) => event,
            None => {
                printer.flush()?;
                let limit = Limit::new(args.timeout);
                source.receive(&args.address, &mut buffer, &limit)?
            }
        };
        match event {
            Event::Message(_, sequence) => {
                printer.message(&buffer, sequence)?;
                count += 1;
            }
            Event::Lost(lost) => printer.lost(lost, output)?,
            Event::End => break,
        }
    }
    Ok(())
}
