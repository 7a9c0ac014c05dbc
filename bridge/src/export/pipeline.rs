//! Sending to a stream, until the source ends or the bridge stops.
//!
//! Records are sent in groups: as many as the source has at the moment, up to a limit. The last one
//! of a group asks for a confirmation, which confirms all before it. After a failure the pipeline
//! asks for the last record of the stream, and sends again what follows it.

use super::source::{Item, Source};
use super::window::Window;
use crate::context::Context;
use crate::engine::{Body, EngineError, Failure, Loss, MessageId, Outlet, Record, Result};
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
    /// route gives up.
    pub async fn position(&mut self) -> Result<Option<Option<MessageId>>> {
        loop {
            let position = select! {
                position = self.outlet.restart() => position,
                () = self.context.given_up() => return Ok(None),
            };
            match position {
                Ok(position) => {
                    self.message_max = self.outlet.message_max();
                    return Ok(Some(position));
                }
                Err(error) if error.failure == Failure::Closed => return Err(error),
                Err(error) => {
                    log::debug!("{}: {error}", self.context.route);
                    if !self.context.pause(&mut self.pauses).await {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Confirms the records that the stream already has, as its last record shows. They are not sent
    /// again, even if the engine no longer remembers their ids. Messages that have become too long for
    /// the engine are lost.
    pub fn skip_stored(&mut self, source: &mut impl Source, last: Option<MessageId>) {
        let confirmed = last.and_then(|last| self.window.confirm_id(last));
        self.note_confirmed(source, confirmed);
        let lost = self.window.drop_longer_than(self.message_max);
        note_lost(self.context, lost, Loss::TooLarge);
    }

    /// Carries the records of a source. Returns an error only if the connection is not made again.
    /// If the drain ends, the window has the unconfirmed records.
    pub async fn run<S: Source>(&mut self, source: &mut S) -> Result<End> {
        self.source_state = SourceState::Unknown;
        let mut is_closing = false;
        // Whether the messages that were not read stay in the source.
        let mut is_left = false;
        loop {
            if !is_closing && self.context.is_stopping() {
                is_closing = true;
                source.close();
                if !source.ends_with_bridge() {
                    is_left = true;
                    self.source_state = SourceState::Ended;
                }
            }
            self.fill(source);
            self.report();
            if self.source_state == SourceState::Ended && self.window.is_empty() {
                if is_left && source.ends_with_bridge() {
                    // The publisher of a feed has ended in the mean time.
                    is_left = false;
                    self.source_state = SourceState::Unknown;
                    continue;
                }
                return Ok(if is_closing {
                    End::Stopped
                } else {
                    End::SourceEnded
                });
            }
            // Here too: a source that always has more never lets the waits below end.
            if self.context.has_drained() {
                return Ok(End::Stopped);
            }
            let step = match self.send().await {
                Ok(()) => self.wait(source, is_closing).await,
                failed => failed,
            };
            if let Err(error) = step {
                self.recover(source, error, is_closing).await?;
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
            let item = match source.try_next(self.message_max) {
                None => {
                    self.source_state = SourceState::Idle;
                    return;
                }
                Some(item) => item,
            };
            let Some(record) = record_of(self.context, item) else {
                self.source_state = SourceState::Ended;
                return;
            };
            bytes += record.size();
            self.window.push(record);
        }
    }

    /// Sends the records of the window, and asks for a confirmation of the last record of each group.
    async fn send(&mut self) -> Result<()> {
        let is_idle = self.window.in_flight() == 0;
        let (mut count, mut bytes) = (0, 0);
        while let Some((record, tag)) = self.window.to_send() {
            if self.context.has_drained() {
                return Ok(());
            }
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

    /// Waits for the next event.
    async fn wait(&mut self, source: &mut impl Source, is_closing: bool) -> Result<()> {
        let is_in_flight = self.window.in_flight() != 0;
        let has_space = self.window.has_space() && self.window.unsent() < GROUP;
        if has_space && self.source_state == SourceState::Unknown {
            // The source has more. Lets the connection work, and reads confirmations.
            tokio::task::yield_now().await;
            if !is_in_flight {
                return Ok(());
            }
            let tag = select! {
                biased;
                tag = self.outlet.confirmed() => tag,
                () = std::future::ready(()) => return Ok(()),
            };
            self.confirm(source, tag?);
            return Ok(());
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
            () = self.context.stopping(), if !is_closing => {}
            () = self.context.drained() => {}
        }
        Ok(())
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

    /// Begins a new round after a failure, unless the bridge begins to stop, or the drain ends.
    async fn recover(
        &mut self,
        source: &mut impl Source,
        error: EngineError,
        is_closing: bool,
    ) -> Result<()> {
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
                () = self.context.stopping(), if !is_closing => return Ok(()),
                () = self.context.drained() => return Ok(()),
            };
            match position {
                Ok(position) => {
                    self.message_max = self.outlet.message_max();
                    self.skip_stored(source, position);
                    return Ok(());
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

/// The record for an item, whose losses are counted and logged; none at the end.
pub fn record_of(context: &Context, item: Item) -> Option<Record> {
    let (route, metrics) = (&context.route, &context.metrics);
    let (id, body) = match item {
        Item::End => return None,
        Item::Message(id, message) => (id, Body::Message(message)),
        Item::Lost(id, count, loss) => {
            note_lost(context, count, loss);
            (id, Body::Lost(count, loss))
        }
        Item::Replaced(id) => {
            metrics.replaced.add(1);
            log::error!(
                "{route}: the feed was replaced while no bridge read it: an unknown number of its \
                 last messages is lost"
            );
            (id, Body::Replaced)
        }
    };
    Some(Record { id, body })
}

/// Counts and logs lost messages.
fn note_lost(context: &Context, count: u64, loss: Loss) {
    if count > 0 {
        context.metrics.lost.add(count);
        log::error!("{}: {count} messages lost: {}", context.route, loss.name());
    }
}

#[cfg(test)]
mod tests;
