//! A short benchmark: two threads of this process exchange messages through a channel and, for
//! comparison, through a socket pair.

use crate::error::{Context, Error, Result};
use crate::output::{Cell, Table, units};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::Serialize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use unixipc::channel::Channel;
use unixipc::errno::Errno;
use unixipc::ffi::channel::{
    ipc_channel_close, ipc_channel_pair, ipc_channel_recv, ipc_channel_send,
};

/// How long each measurement takes.
const TIME: Duration = Duration::from_millis(1600);
/// The time-out of a call.
const TIMEOUT_MS: libc::c_int = 10_000;
/// The length of a short and of a long message.
const SHORT: usize = 64;
const LONG: usize = 65_536;

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    pub name: &'static str,
    pub transport: &'static str,
    /// The number of messages or round trips in a second.
    pub per_second: f64,
    /// The bytes in a second.
    pub bytes_per_second: f64,
}

/// Something that carries messages between two threads.
trait Transport: Sync {
    const NAME: &'static str;
    fn pair() -> Result<[Self; 2]>
    where
        Self: Sized;
    fn send(&self, message: &[u8]) -> Result<()>;
    fn recv(&self, buffer: &mut [u8]) -> Result<usize>;
}

/// An end of a channel.
struct End(*mut Channel);

// SAFETY: one thread sends and one thread receives on each end.
unsafe impl Sync for End {}
// SAFETY: an end has no thread of its own.
unsafe impl Send for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: an open end, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

impl Transport for End {
    const NAME: &'static str = "channel";

    fn pair() -> Result<[Self; 2]> {
        let mut ends = [ptr::null_mut(); 2];
        // SAFETY: no options, and an array of two.
        match unsafe { ipc_channel_pair(ptr::null(), 0, ends.as_mut_ptr()) } {
            0 => Ok(ends.map(Self)),
            _ => Err(Errno::last()).context("ipc_channel_pair"),
        }
    }

    fn send(&self, message: &[u8]) -> Result<()> {
        let (at, len) = (message.as_ptr().cast(), message.len());
        // SAFETY: an open end on which only this thread sends, and a message of this length.
        match unsafe { ipc_channel_send(self.0, at, len, TIMEOUT_MS) } {
            0 => Ok(()),
            _ => Err(Errno::last()).context("ipc_channel_send"),
        }
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: an open end on which only this thread receives, and a buffer of this length.
        let received = unsafe { ipc_channel_recv(self.0, at, len, TIMEOUT_MS) };
        usize::try_from(received).map_err(|_| Error::with_errno("ipc_channel_recv", Errno::last()))
    }
}

impl Transport for OwnedFd {
    const NAME: &'static str = "socketpair";

    fn pair() -> Result<[Self; 2]> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        pair.map(|(one, other)| [one, other]).context("socketpair")
    }

    fn send(&self, message: &[u8]) -> Result<()> {
        send(self.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .context("send")
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        recv(self.as_raw_fd(), buffer, MsgFlags::empty()).context("recv")
    }
}

/// Measures everything.
pub fn run() -> Result<Vec<Measurement>> {
    Ok(vec![
        round_trips::<End>()?,
        round_trips::<OwnedFd>()?,
        stream::<End>("short messages", SHORT)?,
        stream::<OwnedFd>("short messages", SHORT)?,
        stream::<End>("long messages", LONG)?,
        stream::<OwnedFd>("long messages", LONG)?,
    ])
}

fn measurement<T: Transport>(
    name: &'static str,
    len: usize,
    count: u64,
    time: Duration,
) -> Measurement {
    let per_second = count as f64 / time.as_secs_f64();
    Measurement {
        name,
        transport: T::NAME,
        per_second,
        bytes_per_second: per_second * len as f64,
    }
}

/// One thread sends a message, and the other one returns it. An empty reply is the end: the message
/// of one byte asks for it.
fn round_trips<T: Transport>() -> Result<Measurement> {
    let [one, other] = T::pair()?;
    let message = [7; SHORT];
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let mut buffer = [0; SHORT];
            loop {
                match other.recv(&mut buffer)? {
                    1 => return Ok(()),
                    len => other.send(buffer.get(..len).unwrap_or_default())?,
                }
            }
        });
        let mut buffer = [0; SHORT];
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < TIME {
            one.send(&message)?;
            one.recv(&mut buffer)?;
            count += 1;
        }
        let time = begin.elapsed();
        one.send(&[0])?;
        finished(echo.join())?;
        Ok(measurement::<T>("round trips", SHORT, count, time))
    })
}

/// One thread sends, and the other one receives.
fn stream<T: Transport>(name: &'static str, len: usize) -> Result<Measurement> {
    let [one, other] = T::pair()?;
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let message = vec![7; len];
            while !ends.load(Ordering::Relaxed) {
                one.send(&message)?;
            }
            one.send(&[0])
        });
        let mut buffer = vec![0; len];
        let begin = Instant::now();
        let mut count = 0;
        while other.recv(&mut buffer)? > 1 {
            count += 1;
            if count % 64 == 0 && begin.elapsed() >= TIME {
                ends.store(true, Ordering::Relaxed);
            }
        }
        let time = begin.elapsed();
        finished(sender.join())?;
        Ok(measurement::<T>(name, len, count, time))
    })
}

fn finished(joined: thread::Result<Result<()>>) -> Result<()> {
    joined.unwrap_or_else(|_| Err(Error::new("a thread of the benchmark has failed")))
}

/// The table.
pub fn table(measurements: &[Measurement]) -> Table {
    let mut table = Table::new(&["MEASUREMENT", "TRANSPORT", "PER SECOND", "BYTE/S", "EACH"]);
    for measured in measurements {
        let each = 1e9 / measured.per_second.max(1e-9);
        table.row(vec![
            Cell::text(measured.name),
            Cell::text(measured.transport),
            Cell::number(units::count(measured.per_second)),
            Cell::number(units::count(measured.bytes_per_second)),
            Cell::number(format!("{each:.0} ns")),
        ]);
    }
    table
}
