//! A client of a local listener.

use super::sink::{Put, Sink};
use crate::config::{Local, RouteOptions};
use crate::context::Context;
use crate::local::{ChannelEnd, LocalError, channel_options, connect_channel};
use crate::pause::Pauses;
use std::time::Duration;
use tokio::time::sleep;
use unixipc::errno::Errno;

/// How long an attempt to connect waits for the listener, in milliseconds.
const CONNECT_MS: i32 = 200;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub struct ChannelSink {
    local: Local,
    options: RouteOptions,
    end: Option<ChannelEnd>,
    pauses: Pauses,
    last_error: Option<LocalError>,
    name: String,
}

impl ChannelSink {
    /// Not connected yet.
    pub fn new(context: &Context) -> Self {
        Self {
            local: context.route.local.clone(),
            options: context.route.options.clone(),
            end: None,
            pauses: Pauses::up_to(PAUSE_MAX),
            last_error: None,
            name: context.route.to_string(),
        }
    }

    fn connect(&mut self) {
        let connected = connect_channel(&self.local, &channel_options(&self.options), CONNECT_MS);
        let end = connected.and_then(|channel| {
            ChannelEnd::new(channel).map_err(|errno| LocalError::new(&self.local, errno))
        });
        match end {
            Ok(end) => {
                log::info!("{}: connected", self.name);
                self.end = Some(end);
                self.last_error = None;
                self.pauses.reset();
            }
            Err(error) => {
                if self.last_error.as_ref() != Some(&error) {
                    log::warn!("{}: {error}; trying again", self.name);
                }
                self.last_error = Some(error);
            }
        }
    }
}

impl Sink for ChannelSink {
    fn try_put(&mut self, bytes: &[u8]) -> Put {
        if bytes.is_empty() {
            return Put::Impossible("a message of a channel has at least one byte".into());
        }
        let Some(end) = &mut self.end else {
            return Put::Full;
        };
        match end.try_send(bytes) {
            Ok(()) => Put::Done,
            Err(errno) if errno == Errno::EAGAIN => Put::Full,
            Err(errno) if errno == Errno::EMSGSIZE => {
                Put::Impossible(format!("the longest is {}", end.max()))
            }
            Err(errno) => {
                let error = LocalError::new("the listener", errno);
                log::warn!("{}: {error}; connecting again", self.name);
                self.end = None;
                Put::Full
            }
        }
    }

    async fn event(&mut self) {
        match &self.end {
            Some(end) => end.event().await,
            None => {
                sleep(self.pauses.next()).await;
                self.connect();
            }
        }
    }
}
