//! `unixipc send`: sends messages.

use crate::error::{Code, Result};
use crate::messages::{
    Address, Format, Input, Kind, Limit, Progress, Sink, SinkOptions, Stop, seconds, until_stopped,
};
use crate::output::Output;
use serde::Serialize;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// channel:PATH, fifo:PATH, or feed:PATH to begin a feed there; a PATH alone is a FIFO, or
    /// otherwise the listener of a channel
    #[arg(value_parser = Address::parser())]
    address: Address,
    /// The messages; without them, those of standard input
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,
    /// The form of the messages on standard input
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Wait until a process listens
    #[arg(short, long)]
    wait: bool,
    /// Fail if the receiver makes no space for this time
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Before the first message of a feed, wait until it has this number of subscribers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    subscribers: usize,
    /// The length of the longest message of a feed
    #[arg(long, value_name = "BYTES", default_value_t = 65536)]
    message_max: u64,
}

/// The summary, for JSON.
#[derive(Default, Serialize)]
struct Sent {
    messages: u64,
    bytes: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let options = SinkOptions {
        waits: args.wait,
        limit: args.timeout,
        mode: 0o600,
        message_max: args.message_max,
    };
    let open = || Sink::open(&args.address, &options);
    // Connecting can take long, and leaves nothing behind: a signal ends the process. A feed has a
    // path, which is removed.
    let is_feed = args.address.kind(Kind::Channel) == Kind::Feed;
    let connected = if is_feed { None } else { Some(open()?) };
    until_stopped(|| {
        let mut sink = connected.map_or_else(open, Ok)?;
        sink.wait_for_subscribers(args.subscribers, &Limit::new(args.timeout))?;
        let mut sent = Sent::default();
        for message in &args.messages {
            let message = message.as_bytes();
            let limit = Limit::new(args.timeout);
            sink.send(&args.address, message, &limit)?;
            sent.messages += 1;
            sent.bytes += message.len() as u64;
        }
        if args.messages.is_empty() {
            send_input(args, &mut sink, &mut sent)?;
        }
        // The path of a feed is removed.
        drop(sink);
        if output.is_json() {
            output.value(&sent)?;
        }
        Ok(Code::Success)
    })
}

fn send_input(args: &Args, sink: &mut Sink, sent: &mut Sent) -> std::result::Result<(), Stop> {
    let mut input = Input::new(args.format);
    let mut progress = Progress::new(input.is_bulk(), input.size());
    loop {
        while let Some(message) = input.next()? {
            sink.send(&args.address, &message, &Limit::new(args.timeout))?;
            sent.messages += 1;
            sent.bytes += message.len() as u64;
            let (bytes, messages) = input.counts();
            progress.update(bytes, messages);
        }
        sink.wait_for_input(input.fd())?;
        if !input.read()? {
            return Ok(());
        }
    }
}
