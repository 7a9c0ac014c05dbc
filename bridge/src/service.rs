//! The manager of services: sd_notify(3), without its library.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the manager, if there is one.
pub struct Manager(Option<OsString>);

impl Manager {
    /// The manager that started this process.
    pub fn new() -> Self {
        Self(env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()))
    }

    /// Tells the manager about a change, such as `READY=1`.
    pub fn tell(&self, state: &str) {
        if let Some(path) = &self.0
            && let Err(error) = send(path, state)
        {
            log::debug!("the service manager: {error}");
        }
    }

    /// How often the manager wants to hear `WATCHDOG=1`, halved. None if it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let period = number("WATCHDOG_USEC").filter(|&period| is_ours && period > 1)?;
        Some(Duration::from_micros(period / 2))
    }
}

fn send(path: &OsString, state: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}
