//! `unixipc echo`: sends each message back. Requests get a reply.

use crate::error::{Code, Context, Error, Result};
use crate::messages::{
    Address, Kind, Limit, Listener, MESSAGE_MAX, Stop, channel_options, check, deadline, seconds,
    until_stopped, wait_readable,
};
use crate::output::Output;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};
use unixipc::channel::{self, Channel};
use unixipc::deadline::Deadline;
use unixipc::errno::{self, Errno};

/// The number of clients at the same time. Others wait until one leaves.
const CLIENTS_MAX: usize = 256;

/// The number of messages of one client before the others get their turn.
const TURN: usize = 64;

/// The time after which an answer is sent again to a client whose ring was full.
const RETRY: Duration = Duration::from_millis(5);

/// The time after which clients are accepted again after an error, unless another client leaves earlier.
const PAUSE: Duration = Duration::from_millis(200);

/// The arguments.
#[derive(clap::Args)]
pub struct Args {
    /// PATH or channel:PATH at which to listen
    #[arg(value_parser = Address::parser())]
    address: Address,
    /// Connect to a listener, and send its messages back
    #[arg(short, long)]
    connect: bool,
    /// With --connect, wait until a process listens
    #[arg(short, long, requires = "connect")]
    wait: bool,
    /// End when the first client has left
    #[arg(short = '1', long)]
    once: bool,
    /// The permissions of the path, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    mode: u32,
    /// Fail if connecting, or a wait without any message, takes longer
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

fn mode(text: &str) -> std::result::Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not the permissions of a file".into()),
    }
}

/// The summary, for JSON.
#[derive(Default, Serialize)]
struct Echoed {
    clients: u64,
    messages: u64,
    requests: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    args.address.require(Kind::Channel)?;
    raise_limit();
    let options = channel_options(args.wait);
    let mut clients = Vec::new();
    if args.connect {
        let mut limit = deadline(args.timeout)?;
        let channel = channel::connect(args.address.path(), &options, &mut limit);
        clients.push(Client::new(channel.context(&args.address)?));
    }
    until_stopped(|| {
        let listener = match args.connect {
            true => None,
            false => Some(Listener::new(&args.address, args.mode)?),
        };
        let mut server = Server {
            args,
            options,
            listener,
            clients,
            echoed: Echoed::default(),
            paused: None,
            reported: None,
        };
        let served = server.serve(output);
        if output.is_json() {
            output.value(&server.echoed)?;
        }
        served.map(|()| Code::Success)
    })
}

/// Permits as many descriptors as the hard limit does. A client needs up to four.
fn raise_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

struct Server<'a> {
    args: &'a Args,
    options: channel::Options,
    listener: Option<Listener>,
    clients: Vec<Client>,
    echoed: Echoed,
    /// When to accept clients again after an error. Until then the listener stays readable.
    paused: Option<Instant>,
    /// The last error of accepting a client, until one is accepted.
    reported: Option<Errno>,
}

impl Server<'_> {
    fn serve(&mut self, output: &Output) -> std::result::Result<(), Stop> {
        self.echoed.clients = self.clients.len() as u64;
        let mut limit = Limit::new(self.args.timeout);
        loop {
            check()?;
            let mut had_clients = !self.clients.is_empty();
            let (fds, slice) = self.prepare_wait(limit.slice(), output);
            wait_readable(&fds, slice)?;
            let before = self.echoed.messages + self.echoed.requests;
            self.accept(output);
            had_clients |= !self.clients.is_empty();
            let count = self.clients.len();
            self.serve_clients(output);
            if self.clients.len() < count {
                self.paused = None;
            }
            if had_clients && self.clients.is_empty() && (self.args.once || self.args.connect) {
                return Ok(());
            }
            if self.echoed.messages + self.echoed.requests != before {
                limit = Limit::new(self.args.timeout);
            } else if limit.is_over() {
                return Err(Error::with_errno(&self.args.address, Errno::ETIMEDOUT).into());
            }
        }
    }

    /// The descriptors to wait for, and how long.
    fn prepare_wait(&mut self, mut slice: Duration, output: &Output) -> (Vec<RawFd>, Duration) {
        let mut fds = Vec::new();
        self.clients.retain(|client| match client.answer {
            None => match client.channel.fd() {
                Ok(fd) => {
                    fds.push(fd);
                    true
                }
                Err(errno) => {
                    client.report(errno, output);
                    false
                }
            },
            // The descriptor is readable while the client has sent more.
            Some(_) => {
                slice = slice.min(RETRY);
                true
            }
        });
        self.paused = self.paused.filter(|end| Instant::now() < *end);
        if self.paused.is_some() {
            slice = slice.min(PAUSE);
        } else if self.clients.len() < CLIENTS_MAX {
            let listener = self.listener.as_ref();
            fds.extend(listener.map(|listener| listener.fd().as_raw_fd()));
        }
        (fds, slice)
    }

    fn accept(&mut self, output: &Output) {
        let Some(listener) = self.listener.as_ref().filter(|_| self.paused.is_none()) else {
            return;
        };
        while self.clients.len() < CLIENTS_MAX {
            let mut never = Deadline::never();
            match channel::accept(listener.fd(), &self.options, false, &mut never) {
                Ok(None) => break,
                Ok(Some(channel)) => {
                    self.clients.push(Client::new(channel));
                    self.echoed.clients += 1;
                    self.reported = None;
                }
                Err(errno) => {
                    if self.reported.replace(errno) != Some(errno) {
                        output.report(&Error::with_errno("accepting a client", errno));
                    }
                    self.paused = Instant::now().checked_add(PAUSE);
                    break;
                }
            }
        }
    }

    fn serve_clients(&mut self, output: &Output) {
        let echoed = &mut self.echoed;
        self.clients
            .retain_mut(|client| match client.serve(echoed) {
                Ok(is_open) => is_open,
                Err(errno) if errno == Errno::EPIPE => false,
                Err(errno) => {
                    client.report(errno, output);
                    false
                }
            });
    }
}

/// A client, and the answer that it has no space for.
struct Client {
    channel: Channel,
    buffer: Vec<u8>,
    answer: Option<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Message,
    Reply(u64),
}

impl Client {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            buffer: Vec::new(),
            answer: None,
        }
    }

    fn report(&self, errno: Errno, output: &Output) {
        let pid = self.channel.cred().pid;
        output.report(&Error::with_errno(format!("the client {pid}"), errno));
    }

    /// Answers the messages that have arrived. Returns false at the end of the session.
    fn serve(&mut self, echoed: &mut Echoed) -> errno::Result<bool> {
        for _ in 0..TURN {
            if self.answer.is_none() && !self.receive(echoed)? {
                return Ok(false);
            }
            if !self.send()? {
                break;
            }
        }
        Ok(true)
    }

    /// Receives a message or a request. Returns false at the end of the session.
    fn receive(&mut self, echoed: &mut Echoed) -> errno::Result<bool> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(1 << 12);
            let space = self.buffer.spare_capacity_mut();
            // SAFETY: `self` is borrowed exclusively, so no other thread receives.
            let mut half = unsafe { self.channel.recv_half() };
            let received = match half.next_call(space, Deadline::never()) {
                Ok(None) => return Ok(false),
                Ok(Some((id, len))) => Ok((Answer::Reply(id), len)),
                Err(errno) if errno == Errno::EBADMSG => half
                    .recv(space, Deadline::never())
                    .map(|len| (Answer::Message, len)),
                Err(errno) => Err(errno),
            };
            match received {
                Ok((answer, len)) => {
                    // SAFETY: the receive has written these bytes.
                    unsafe { self.buffer.set_len(len) };
                    match answer {
                        Answer::Message => echoed.messages += 1,
                        Answer::Reply(_) => echoed.requests += 1,
                    }
                    self.answer = Some(answer);
                    return Ok(true);
                }
                Err(errno) if errno == Errno::EAGAIN => return Ok(true),
                Err(errno) if errno == Errno::EMSGSIZE && self.buffer.capacity() < MESSAGE_MAX => {
                    self.buffer.reserve(self.buffer.capacity() * 2);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends the answer, if there is one. Returns whether it has been sent.
    fn send(&mut self) -> errno::Result<bool> {
        let Some(answer) = self.answer else {
            return Ok(false);
        };
        // SAFETY: `self` is borrowed exclusively, so no other thread sends.
        let mut half = unsafe { self.channel.send_half() };
        let sent = match answer {
            Answer::Message => half.send(&self.buffer, Deadline::never()),
            Answer::Reply(id) => half.reply(id, &self.buffer, Deadline::never()),
        };
        match sent {
            Ok(()) => {
                self.answer = None;
                Ok(true)
            }
            Err(errno) if errno == Errno::EAGAIN => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}
