//! Sending to a stream, until the source ends or the bridge stops.
//!
//! Records are sent in groups: as many as the source has at the moment, up to a limit. The last one
//! of a group asks for a confirmation, which confirms all before it. After a failure the pipeline
//! asks for the last record of the stream, and sends again what follows it.

use super::source::{Item, Source};
use super::window::Window;
use crate::bridge::Context;
use crate::engine::{Body, EngineError, Failure, MessageId, Outlet, Record, Result};
use crate::pause::Pauses;
use std::time::Duration;
use tokio::select;
use tokio::time::{Instant, sleep, sleep_until};

/// The largest number of records, and of their bytes, that one confirmation covers.
const GROUP: usize = 64;
const GROUP_BYTES: usize = 256 << 10;
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why a pipeline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The bridge stops.
    Stopped,
    /// The source has ended, and everything is confirmed.
    SourceEnded,
}

/// See the module.
pub struct Pipeline<'a, O> {
    context: &'a Context,
    outlet: O,
    window: &'a mut Window,
    message_max: usize,
    pauses: Pauses,
    /// When records in flight have waited for a confirmation for too long.
    deadline: Instant,
    /// The state of the source.
    source_state: SourceState,
    /// Whether the log says that the stream is full.
    is_refused: bool,
    /// Whether the order was lost since the last confirmation.
    is_disordered: bool,
}

/// The state of the source, as its last call has shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceState {
    /// Perhaps it has something.
    Unknown,
    /// It has nothing now.
    Idle,
    /// It has ended.
    Ended,
}

impl<'a, O: Outlet> Pipeline<'a, O> {
    /// A pipeline to an outlet. The window may have records that an earlier one has not confirmed.
    pub fn new(context: &'a Context, outlet: O, window: &'a mut Window) -> Self {
        window.begin_round();
        window.limit_flight(if outlet.is_ordered() { usize::MAX } else { 1 });
        Self {
            context,
            window,
            message_max: outlet.message_max(),
            outlet,
            pauses: Pauses::up_to(PAUSE_MAX),
            deadline: Instant::now(),
            source_state: SourceState::Unknown,
            is_refused: false,
            is_disordered: false,
        }
    }

    /// Begins a round. Returns the id of the last record in the stream, or the outer none if the
    /// bridge stops.
    pub async fn position(&mut self) -> Result<Option<Option<MessageId>>> {
        loop {
            let position = select! {
                position = self.outlet.restart() => position,
                () = self.context.stopping() => return Ok(None),
            };
            match position {
                Ok(position) => {
                    self.message_max = self.outlet.message_max();
                    return Ok(Some(position));
                }
                Err(error) if error.failure == Failure::Closed => return Err(error),
                Err(error) => {
                    log::debug!("{}: {error}", self.context.route);
                    if !self.pause().await {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Confirms the records that the stream already has, as its last record shows. They are not sent
    /// again, even if the engine no longer remembers their ids.
    pub fn skip_stored(&mut self, source: &mut impl Source, last: Option<MessageId>) {
        let confirmed = last.and_then(|last| self.window.confirm_id(last));
        self.note_confirmed(source, confirmed);
    }

    /// Pauses after a failure. Returns false if the bridge stops.
    async fn pause(&mut self) -> bool {
        select! {
            () = sleep(self.pauses.next()) => true,
            () = self.context.stopping() => false,
        }
    }

    /// Carries the records of a source. Returns an error only if the connection is not made again.
    pub async fn run<S: Source>(&mut self, source: &mut S) -> Result<End> {
        self.source_state = SourceState::Unknown;
        // When the time for the messages in flight has ended, if the bridge stops.
        let mut drain = None;
        loop {
            if drain.is_none() && self.context.is_stopping() {
                source.close();
                if !source.ends_with_bridge() {
                    self.source_state = SourceState::Ended;
                }
                drain = Some(Instant::now() + self.context.drain);
            }
            self.fill(source);
            self.report();
            if self.source_state == SourceState::Ended && self.window.is_empty() {
                return Ok(if drain.is_some() {
                    End::Stopped
                } else {
                    End::SourceEnded
                });
            }
            let step = match self.send().await {
                Ok(()) => self.wait(source, drain).await,
                failed => failed.map(|()| true),
            };
            match step {
                Ok(true) => {}
                Ok(false) => {
                    let (records, _) = self.window.size();
                    log::error!("{}: stops with {records} unconfirmed", self.context.route);
                    return Ok(End::Stopped);
                }
                Err(error) => {
                    if !self.recover(source, error, drain).await? {
                        let (records, _) = self.window.size();
                        log::error!("{}: stops with {records} unconfirmed", self.context.route);
                        return Ok(End::Stopped);
                    }
                }
            }
        }
    }

    /// Takes a group of records from the source, if the window has space.
    fn fill(&mut self, source: &mut impl Source) {
        let mut bytes = 0;
        while self.source_state == SourceState::Unknown
            && self.window.has_space()
            && self.window.unsent() < GROUP
            && bytes < GROUP_BYTES
        {
            let metrics = &self.context.metrics;
            let (id, body) = match source.try_next(self.message_max) {
                None => {
                    self.source_state = SourceState::Idle;
                    return;
                }
                Some(Item::End) => {
                    self.source_state = SourceState::Ended;
                    return;
                }
                Some(Item::Message(id, message)) => (id, Body::Message(message)),
                Some(Item::Lost(id, count, loss)) => {
                    metrics.lost.add(count);
                    let reason = loss.name();
                    log::error!("{}: {count} messages lost: {reason}", self.context.route);
                    (id, Body::Lost(count, loss))
                }
                Some(Item::Replaced(id)) => {
                    metrics.replaced.add(1);
                    log::error!(
                        "{}: the feed was replaced while no bridge read it: an unknown number of \
                         its last messages is lost",
                        self.context.route
                    );
                    (id, Body::Replaced)
                }
            };
            let record = Record { id, body };
            bytes += record.size();
            self.window.push(record);
        }
    }

    /// Sends the records of the window, and asks for a confirmation of the last record of each group.
    async fn send(&mut self) -> Result<()> {
        let is_idle = self.window.in_flight() == 0;
        let (mut count, mut bytes) = (0, 0);
        while let Some((record, tag)) = self.window.to_send() {
            (count, bytes) = (count + 1, bytes + record.size());
            let is_last = self.window.is_last_to_send() || count >= GROUP || bytes >= GROUP_BYTES;
            // The first record of a round too: after a refusal, only its answer says why.
            let is_first = self.window.in_flight() == 0;
            let tag = (is_last || is_first).then_some(tag);
            let sent = select! {
                biased;
                sent = self.outlet.send(record, tag) => sent,
                () = sleep(self.context.timeout) => {
                    return Err(EngineError::new(Failure::Unreachable, "the connection is blocked"));
                }
            };
            sent?;
            self.window.mark_sent();
            if is_last {
                (count, bytes) = (0, 0);
            }
        }
        if is_idle {
            self.deadline = Instant::now() + self.context.timeout;
        }
        Ok(())
    }

    /// Waits for the next event. Returns false if the time for the end of the bridge has passed.
    async fn wait(&mut self, source: &mut impl Source, drain: Option<Instant>) -> Result<bool> {
        let is_in_flight = self.window.in_flight() != 0;
        let has_space = self.window.has_space() && self.window.unsent() < GROUP;
        if has_space && self.source_state == SourceState::Unknown {
            // The source has more. Lets the connection work, and reads confirmations.
            tokio::task::yield_now().await;
            if !is_in_flight {
                return Ok(true);
            }
            let tag = select! {
                biased;
                tag = self.outlet.confirmed() => tag,
                () = std::future::ready(()) => return Ok(true),
            };
            self.confirm(source, tag?);
            return Ok(true);
        }
        select! {
            biased;
            tag = self.outlet.confirmed(), if is_in_flight => self.confirm(source, tag?),
            () = sleep_until(self.deadline), if is_in_flight => {
                return Err(EngineError::new(Failure::Unreachable, "no confirmation in time"));
            }
            () = source.ready(), if has_space && self.source_state == SourceState::Idle => {
                self.source_state = SourceState::Unknown;
            }
            () = self.context.stopping(), if drain.is_none() => {}
            () = until(drain) => return Ok(false),
        }
        Ok(true)
    }

    fn confirm(&mut self, source: &mut impl Source, tag: u64) {
        let confirmed = self.window.confirm(tag);
        self.note_confirmed(source, confirmed);
        self.deadline = Instant::now() + self.context.timeout;
        self.pauses.reset();
        self.is_disordered = false;
        if self.is_refused {
            self.is_refused = false;
            log::info!("{}: the stream accepts messages again", self.context.route);
        }
    }

    fn note_confirmed(
        &mut self,
        source: &mut impl Source,
        confirmed: Option<(u64, u64, MessageId)>,
    ) {
        if let Some((records, bytes, last)) = confirmed {
            let metrics = &self.context.metrics;
            metrics.messages.add(records);
            metrics.bytes.add(bytes);
            metrics.set_error(None);
            source.confirmed(last);
        }
    }

    /// Begins a new round after a failure. Returns false if the bridge stops before it succeeds.
    async fn recover(
        &mut self,
        source: &mut impl Source,
        error: EngineError,
        drain: Option<Instant>,
    ) -> Result<bool> {
        if error.failure == Failure::Closed {
            return Err(error);
        }
        self.note_failure(&error);
        self.window.begin_round();
        loop {
            let pause = self.pauses.next();
            let attempt = async {
                sleep(pause).await;
                self.outlet.restart().await
            };
            let position = select! {
                position = attempt => position,
                () = self.context.stopping(), if drain.is_none() => return Ok(true),
                () = until(drain) => return Ok(false),
            };
            match position {
                Ok(position) => {
                    self.skip_stored(source, position);
                    return Ok(true);
                }
                Err(error) if error.failure == Failure::Closed => return Err(error),
                Err(error) => {
                    log::debug!("{}: {error}", self.context.route);
                }
            }
        }
    }

    fn note_failure(&mut self, error: &EngineError) {
        let (route, metrics) = (&self.context.route, &self.context.metrics);
        metrics.failures.add(1);
        metrics.set_error(Some(error.to_string()));
        match error.failure {
            Failure::Refused if self.is_refused => log::debug!("{route}: {error}"),
            Failure::Refused => {
                self.is_refused = true;
                metrics.refused.add(1);
                log::error!("{route}: the stream is full: {error}; local senders wait");
            }
            // A refusal in the middle of a group. Twice, another program may write to the stream.
            Failure::Disordered if !self.is_disordered => {
                self.is_disordered = true;
                log::debug!("{route}: {error}; sending again");
            }
            _ => log::warn!("{route}: {error}; sending again"),
        }
    }

    fn report(&self) {
        let (records, bytes) = self.window.size();
        self.context.metrics.pending.set(records as u64);
        self.context.metrics.pending_bytes.set(bytes as u64);
    }
}

/// Waits until a time; forever if there is none.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
