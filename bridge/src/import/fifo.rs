//! A writer of a local FIFO.

use super::sink::{Put, Sink};
use crate::config::Local;
use crate::context::Context;
use crate::local::{FifoWriter, LocalError};
use crate::pause::Pauses;
use std::time::Duration;
use tokio::time::sleep;
use unixipc::errno::Errno;

/// The longest pause between two attempts to open the FIFO.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// See the module.
pub struct FifoSink {
    local: Local,
    writer: Option<FifoWriter>,
    /// Whether a record did not fit. Otherwise no event matters: the end of a reader shows with the
    /// next record.
    is_full: bool,
    pauses: Pauses,
    last_error: Option<LocalError>,
    name: String,
}

impl FifoSink {
    /// Not open yet.
    pub fn new(context: &Context) -> Self {
        Self {
            local: context.route.local.clone(),
            writer: None,
            is_full: false,
            pauses: Pauses::up_to(PAUSE_MAX),
            last_error: None,
            name: context.route.to_string(),
        }
    }

    fn open(&mut self) {
        match FifoWriter::open(&self.local) {
            Ok(writer) => {
                log::info!("{}: a reader has the FIFO open", self.name);
                self.writer = Some(writer);
                self.last_error = None;
                self.pauses.reset();
            }
            Err(error) => {
                // Without a reader, the bridge waits for one.
                if error.errno() != Errno::EAGAIN && self.last_error.as_ref() != Some(&error) {
                    log::warn!("{}: {error}; trying again", self.name);
                }
                self.last_error = Some(error);
            }
        }
    }
}

impl Sink for FifoSink {
    fn try_put(&mut self, bytes: &[u8]) -> Put {
        let Some(writer) = &mut self.writer else {
            return Put::Full;
        };
        self.is_full = false;
        match writer.try_send(bytes) {
            Ok(()) => Put::Done,
            Err(errno) if errno == Errno::EAGAIN => {
                self.is_full = true;
                Put::Full
            }
            Err(errno) if errno.is_one_of(&[Errno::EMSGSIZE, Errno::EINVAL]) => {
                Put::Impossible(LocalError::new("a record of a FIFO", errno).to_string())
            }
            Err(errno) => {
                let error = LocalError::new("the FIFO", errno);
                log::warn!("{}: {error}; opening it again", self.name);
                self.writer = None;
                Put::Full
            }
        }
    }

    async fn event(&mut self) {
        match &self.writer {
            Some(writer) if self.is_full => writer.event().await,
            Some(_) => std::future::pending().await,
            None => {
                sleep(self.pauses.next()).await;
                self.open();
            }
        }
    }
}
