//! `unixipc call`: sends requests, and prints the replies.

use crate::error::{Code, Error, Result};
use crate::messages::{
    Address, Format, Input, Kind, Limit, MESSAGE_MAX, Printer, Stop, channel_options, check,
    deadline, interruptible, seconds, until_stopped, wait_readable,
};
use crate::output::Output;
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use unixipc::channel::{self, Channel};
use unixipc::errno::Errno;

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// PATH or channel:PATH of a listener
    #[arg(value_parser = Address::parser())]
    address: Address,
    /// The requests; without them, those of standard input
    #[arg(value_name = "REQUEST")]
    requests: Vec<OsString>,
    /// The form of the replies, and of the requests on standard input
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Send ordinary messages, and take the next message as the reply
    #[arg(long)]
    plain: bool,
    /// Wait until a process listens
    #[arg(short, long)]
    wait: bool,
    /// Fail if the reply does not arrive in this time
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    args.address.require(Kind::Channel)?;
    let mut printer = Printer::new(args.format, output)?;
    let options = channel_options(args.wait);
    let mut limit = deadline(args.timeout)?;
    let connected = channel::connect(args.address.path(), &options, &mut limit);
    let channel = connected.map_err(|errno| Error::with_errno(&args.address, errno))?;
    let mut client = Client {
        args,
        channel,
        reply: Vec::new(),
    };
    until_stopped(|| {
        for request in &args.requests {
            client.call(request.as_bytes(), &mut printer)?;
            printer.flush()?;
        }
        if args.requests.is_empty() {
            let mut input = Input::new(args.format);
            loop {
                while let Some(request) = input.next()? {
                    client.call(&request, &mut printer)?;
                    printer.flush()?;
                }
                check()?;
                let is_ready = wait_readable(&[input.fd().as_raw_fd()], Limit::new(None).slice())?;
                if is_ready && !input.read()? {
                    break;
                }
            }
        }
        Ok(Code::Success)
    })
}

struct Client<'a> {
    args: &'a Args,
    channel: Channel,
    reply: Vec<u8>,
}

impl Client<'_> {
    fn call(&mut self, request: &[u8], printer: &mut Printer) -> std::result::Result<(), Stop> {
        check()?;
        self.reply.clear();
        self.reply.reserve(1 << 16);
        let called = if self.args.plain {
            self.exchange(request)?
        } else {
            self.request(request)?
        };
        let len = called.map_err(|errno| match errno {
            errno if errno == Errno::EINTR => match check() {
                Err(stop) => stop,
                Ok(()) => Error::with_errno(&self.args.address, errno).into(),
            },
            errno => Error::with_errno(&self.args.address, errno).into(),
        })?;
        // SAFETY: the call has written these bytes.
        unsafe { self.reply.set_len(len) };
        printer.message(&self.reply, None)
    }

    /// One call of the library. It cannot be divided into slices: a call that has timed out has
    /// failed.
    fn request(&mut self, request: &[u8]) -> Result<unixipc::errno::Result<usize>> {
        // A reply that exceeds the buffer is lost.
        self.reply.reserve(self.channel.max().min(MESSAGE_MAX));
        let deadline = match self.args.timeout {
            Some(time) => interruptible(time)?,
            None => interruptible(Duration::from_secs(u32::MAX.into()))?,
        };
        // SAFETY: `self` is borrowed exclusively, so no other thread uses the channel.
        let mut caller = unsafe { self.channel.caller() };
        Ok(caller.call(request, self.reply.spare_capacity_mut(), deadline))
    }

    fn exchange(
        &mut self,
        request: &[u8],
    ) -> std::result::Result<unixipc::errno::Result<usize>, Stop> {
        let limit = Limit::new(self.args.timeout);
        let address = &self.args.address;
        limit.wait(address, |deadline| {
            // SAFETY: `self` is borrowed exclusively, so no other thread sends.
            let half = unsafe { self.channel.send_half() };
            half.send(request, deadline)
        })?;
        let len = limit.wait(address, |deadline| {
            loop {
                // SAFETY: as above, for receiving.
                let half = unsafe { self.channel.recv_half() };
                match half.recv(self.reply.spare_capacity_mut(), deadline) {
                    Err(errno)
                        if errno == Errno::EMSGSIZE && self.reply.capacity() < MESSAGE_MAX =>
                    {
                        self.reply.reserve(self.reply.capacity() * 2);
                    }
                    done => return done,
                }
            }
        })?;
        Ok(if len == 0 { Err(Errno::EPIPE) } else { Ok(len) })
    }
}
