//! Errors, and the exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;
use unixipc::errno::Errno;

/// The exit codes, for the help.
pub const EXIT_STATUS: &str = "\
Exit status:
  0  success
  1  the answer is no: nothing was found, or something is wrong
  2  the arguments are wrong
  3  an error, which standard error describes
  4  the time-out has expired";

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The command has succeeded.
    Success = 0,
    /// The command has succeeded, and the answer is no.
    No = 1,
    /// The arguments are wrong. clap uses the same code.
    Usage = 2,
    /// An error.
    Error = 3,
    /// The time-out has expired.
    TimedOut = 4,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command has failed.
#[derive(Debug)]
pub struct Error {
    message: String,
    code: Code,
}

/// The result of an operation of the tool.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this message. It may contain names, which are escaped when it is printed.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: Code::Error,
        }
    }

    /// Wrong arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: Code::Usage,
        }
    }

    /// An error of the system or of the library, and what the command tried to do.
    pub fn with_errno(what: impl fmt::Display, errno: Errno) -> Self {
        let text = io::Error::from_raw_os_error(errno.code());
        Self {
            message: format!("{what}: {text}"),
            code: if errno == Errno::ETIMEDOUT {
                Code::TimedOut
            } else {
                Code::Error
            },
        }
    }

    /// The exit status.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Adds to an error what the command tried to do.
pub trait Context<T> {
    /// Describes the operation that has failed.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Error::with_errno(what, Errno::new(errno)),
            None => Error::new(format!("{what}: {error}")),
        })
    }
}

impl<T> Context<T> for unixipc::errno::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::with_errno(what, errno))
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::with_errno(what, errno.into()))
    }
}
