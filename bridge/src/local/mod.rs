//! The local objects, without waiting, in the form that an event loop needs.

mod channel;
mod fifo;
mod memory;
mod readiness;
mod scratch;

pub use channel::{ChannelEnd, Listener, channel_options, connect_channel, is_temporary};
pub use fifo::{FifoReader, FifoWriter};
pub use memory::{Memory, Share};
pub use readiness::Readiness;
pub use scratch::Scratch;

use std::ffi::CString;
use std::fmt;
use std::io;
use unixipc::errno::Errno;

/// An error of a local object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalError {
    what: String,
    errno: Errno,
}

impl LocalError {
    /// An error of a call on an object.
    pub fn new(what: impl fmt::Display, errno: Errno) -> Self {
        let what = what.to_string();
        Self { what, errno }
    }

    /// The error number.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno.code());
        write!(f, "{}: {error}", self.what)
    }
}

/// The path of a route. `config` has checked that it contains no zero byte.
pub fn c_path(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}
