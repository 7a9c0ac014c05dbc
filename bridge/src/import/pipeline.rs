//! Receiving in order, giving the records to the sink, acknowledging them.
//!
//! A record is acknowledged after the sink has it. The engine delivers records in order, but after a
//! failure it may deliver later ones before it repeats earlier ones. So the pipeline checks that no
//! delivery is missing. If one is, it takes nothing until the engine must have given up all earlier
//! deliveries, and has repeated them.

use super::gaps::{Finding, Gaps};
use super::position::Position;
use super::repetition::Repetition;
use super::sink::{Put, Sink};
use crate::context::Context;
use crate::engine::{Body, Delivery, EngineError, Failure, FeedId, Inlet, Result, Resume};
use crate::pause::Pauses;
use std::time::Duration;
use tokio::select;
use tokio::time::{Instant, sleep, sleep_until};

/// The number of records after which an acknowledgement is sent if possible, even if more have arrived.
const ACKNOWLEDGE_EVERY: u64 = 256;
/// The time after which fewer records are acknowledged. Each acknowledgement costs the server more than
/// a delivery.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(5);
/// How much later than it says an engine may repeat a delivery.
const REPETITION_DELAY: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The letters of a marker for local receivers.
const MARKER: &[u8; 8] = b"uib-lost";

/// See the module.
pub struct Pipeline<'a, I, S> {
    context: &'a Context,
    inlet: I,
    sink: &'a mut S,
    position: &'a Position,
    gaps: Gaps,
    pauses: Pauses,
    /// The number of the last record that the sink has.
    last: u64,
    /// The number of the next delivery.
    expected: u64,
    /// The receipt that acknowledges all records that the sink has, and the number of its record.
    receipt: Option<(u64, String)>,
    /// When this receipt is used, if [`ACKNOWLEDGE_EVERY`] does not come first.
    acknowledge_at: Instant,
    unacknowledged: u64,
}

/// Why [`Pipeline::round`] ended without an error.
struct Stopped;

impl<'a, I: Inlet, S: Sink> Pipeline<'a, I, S> {
    /// A pipeline from an inlet to a sink.
    pub fn new(context: &'a Context, inlet: I, sink: &'a mut S, position: &'a Position) -> Self {
        Self {
            inlet,
            sink,
            position,
            gaps: Gaps::default(),
            pauses: Pauses::up_to(PAUSE_MAX),
            last: 0,
            expected: 0,
            receipt: None,
            acknowledge_at: Instant::now(),
            unacknowledged: 0,
            context,
        }
    }

    /// Carries records until the bridge stops. Returns an error only if the connection is not made
    /// again.
    pub async fn run(&mut self) -> Result<()> {
        loop {
            let error = match self.round().await {
                Ok(Stopped) => {
                    let _ = self.acknowledge().await;
                    return Ok(());
                }
                Err(error) => error,
            };
            self.try_acknowledge().await;
            let (route, metrics) = (&self.context.route, &self.context.metrics);
            metrics.failures.add(1);
            metrics.set_error(Some(error.to_string()));
            if error.failure == Failure::Closed {
                return Err(error);
            }
            log::warn!("{route}: {error}; requesting again");
            let pause = sleep(self.pauses.next());
            select! {
                () = self.sink.serve_during(pause) => {}
                () = self.context.stopping() => return Ok(()),
            }
        }
    }

    /// One round, until a failure or the stop of the bridge.
    async fn round(&mut self) -> Result<Stopped> {
        self.receipt = None;
        self.unacknowledged = 0;
        let Some(mut resume) = self.restart().await? else {
            return Ok(Stopped);
        };
        if resume.unacknowledged > 0 {
            // The engine repeats these first, but only after this time.
            let wait = self.inlet.repeats_after() + Duration::from_millis(100);
            let (route, count) = (&self.context.route, resume.unacknowledged);
            log::info!("{route}: waits {wait:?} until {count} messages are repeated");
            select! {
                () = self.sink.serve_during(sleep(wait)) => {}
                () = self.context.stopping() => return Ok(Stopped),
            }
            match self.restart().await? {
                Some(again) => resume = again,
                None => return Ok(Stopped),
            }
        }
        self.begin(resume);
        if !self.take_repeated(resume).await? {
            return Ok(Stopped);
        }
        loop {
            // Here too: an engine that always has more never lets the wait below end.
            if self.context.is_stopping() {
                return Ok(Stopped);
            }
            let delivery = select! {
                biased;
                delivery = self.inlet.next() => delivery?,
                () = self.sink.event() => continue,
                () = sleep_until(self.acknowledge_at), if self.receipt.is_some() => {
                    self.acknowledge().await?;
                    continue;
                }
                () = self.context.stopping() => return Ok(Stopped),
            };
            let mut delivery = Some(delivery);
            while let Some(next) = delivery {
                self.count(&next)?;
                if !self.take(next).await {
                    return Ok(Stopped);
                }
                delivery = self.inlet.try_next()?;
            }
            self.pauses.reset();
            self.context.metrics.set_error(None);
        }
    }

    /// Takes the deliveries that the engine repeats. Returns false if the bridge stops before the sink has
    /// them.
    async fn take_repeated(&mut self, resume: Resume) -> Result<bool> {
        let mut repetition = Repetition::new(resume);
        let end = Instant::now() + self.inlet.repeats_after() + REPETITION_DELAY;
        while repetition.left() > 0 {
            select! {
                biased;
                delivery = self.inlet.next() => {
                    let delivery = delivery?;
                    self.count(&delivery)?;
                    repetition.add(delivery);
                }
                () = self.sink.event() => {}
                () = sleep_until(end) => {
                    let (route, left) = (&self.context.route, repetition.left());
                    log::warn!("{route}: {left} messages are not repeated: the stream has lost them");
                    break;
                }
                () = self.context.stopping() => return Ok(false),
            }
        }
        for delivery in repetition.into_deliveries() {
            if !self.take(delivery).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn restart(&mut self) -> Result<Option<Resume>> {
        let restart = self.inlet.restart();
        select! {
            resume = self.sink.serve_during(restart) => resume.map(Some),
            () = self.context.stopping() => Ok(None),
        }
    }

    /// Continues after the last record that was acknowledged, or that the file remembers.
    fn begin(&mut self, resume: Resume) {
        let remembered = self.position.begin(resume.stream);
        self.last = resume.acknowledged.max(remembered.done);
        self.expected = resume.next_delivery;
        if self.last > resume.last {
            // Its next records have numbers that the position includes.
            log::error!(
                "{}: the stream ends at the message {}, and {} was published: it was restored from \
                 an earlier state",
                self.context.route,
                resume.last,
                self.last
            );
            self.last = resume.acknowledged.min(resume.last);
            self.position.reset(resume.stream, self.last);
            return;
        }
        if let Some(number) = remembered.uncertain.filter(|&number| number > self.last) {
            self.context.metrics.uncertain.add(1);
            log::error!(
                "{}: the message {number} of the stream may be published twice, because the \
                 bridge was killed while it published it",
                self.context.route
            );
            // Told once.
            self.position.begin_record(remembered.done);
        }
    }

    /// Fails if a delivery is missing before this one.
    fn count(&mut self, delivery: &Delivery) -> Result<()> {
        if delivery.delivery != self.expected {
            return Err(EngineError::new(
                Failure::Disordered,
                "a delivery is missing",
            ));
        }
        self.expected += 1;
        Ok(())
    }

    /// Gives a delivery to the sink. Returns false if the bridge stops before the sink has it.
    async fn take(&mut self, delivery: Delivery) -> bool {
        let metrics = &self.context.metrics;
        if delivery.number <= self.last {
            metrics.duplicates.add(1);
        } else {
            if !self.put_body(&delivery).await {
                return false;
            }
            self.position.end_record(delivery.number);
            self.last = delivery.number;
        }
        if self
            .receipt
            .as_ref()
            .is_none_or(|&(number, _)| number < delivery.number)
        {
            if self.receipt.is_none() {
                self.acknowledge_at = Instant::now() + ACKNOWLEDGE_AFTER;
            }
            self.receipt = Some((delivery.number, delivery.receipt));
        }
        self.unacknowledged += 1;
        if self.unacknowledged >= ACKNOWLEDGE_EVERY {
            // Without a wait: the deliveries that have arrived come first.
            self.try_acknowledge().await;
            return !self.context.is_stopping();
        }
        true
    }

    /// Gives the content of a record to the sink. Returns false if the bridge stops before that.
    async fn put_body(&mut self, delivery: &Delivery) -> bool {
        let (route, metrics) = (&self.context.route, &self.context.metrics);
        let feed = delivery.id.map_or([0; 16], |id| id.feed);
        match self.gaps.check(delivery.id, &delivery.body) {
            Finding::InOrder => {}
            Finding::Again => {
                metrics.duplicates.add(1);
                return true;
            }
            Finding::Backward => {
                log::error!(
                    "{route}: the sequence number of the message {} of the stream is far before the \
                     expected one: another program writes the subject",
                    delivery.number
                );
            }
            Finding::Missing(count) => {
                metrics.missing.add(count);
                log::error!("{route}: {count} messages are missing in the stream");
                if !self.put_marker(delivery.number, feed, count).await {
                    return false;
                }
            }
        }
        match &delivery.body {
            Body::Message(bytes) => self.put(delivery.number, bytes).await,
            Body::Lost(count, loss) => {
                metrics.lost.add(*count);
                log::error!(
                    "{route}: the sender has lost {count} messages: {}",
                    loss.name()
                );
                self.put_marker(delivery.number, feed, *count).await
            }
            Body::Replaced => {
                metrics.replaced.add(1);
                log::error!("{route}: the sender has lost the last messages of a feed");
                self.put_marker(delivery.number, feed, u64::MAX).await
            }
        }
    }

    /// Tells local receivers about a loss, if the route says so.
    async fn put_marker(&mut self, number: u64, feed: FeedId, count: u64) -> bool {
        if !self.context.route.options.markers {
            return true;
        }
        let marker = [MARKER, &count.to_le_bytes()[..], &feed].concat();
        self.put(number, &marker).await
    }

    /// Gives a message of the record `number` to the sink. Returns false if the bridge stops before
    /// that.
    async fn put(&mut self, number: u64, bytes: &[u8]) -> bool {
        loop {
            let metrics = &self.context.metrics;
            self.position.begin_record(number);
            match self.sink.try_put(bytes) {
                Put::Done => {
                    metrics.messages.add(1);
                    metrics.bytes.add(bytes.len() as u64);
                    return true;
                }
                Put::Impossible(error) => {
                    metrics.undeliverable.add(1);
                    let (route, len) = (&self.context.route, bytes.len());
                    log::error!("{route}: a message of {len} bytes is dropped: {error}");
                    return true;
                }
                // It was not published: this is certain, also if the bridge is killed in the wait.
                Put::Full => self.position.begin_record(self.last),
            }
            // Local receivers are slow. Acknowledge the published messages before the wait, if that
            // is possible at once.
            self.try_acknowledge().await;
            select! {
                biased;
                () = self.context.stopping() => return false,
                () = self.sink.event() => {}
            }
        }
    }

    /// Acknowledges what the sink has. Waits for a limited time until the connection takes the
    /// acknowledgement, and not if the bridge stops: the position covers one that is lost.
    async fn acknowledge(&mut self) -> Result<()> {
        let Some((_, receipt)) = &self.receipt else {
            return Ok(());
        };
        select! {
            biased;
            sent = self.inlet.acknowledge(receipt) => sent?,
            () = self.sink.serve_during(sleep(self.context.timeout)) => return Err(blocked()),
            () = self.context.stopping() => return Err(blocked()),
        }
        self.note_acknowledged();
        Ok(())
    }

    /// The same, if the connection takes the acknowledgement at once. Does not serve the sink, whose
    /// next event is for the message that waits.
    async fn try_acknowledge(&mut self) {
        let Some((_, receipt)) = &self.receipt else {
            return;
        };
        let sent = select! {
            biased;
            sent = self.inlet.acknowledge(receipt) => sent,
            () = std::future::ready(()) => Err(blocked()),
        };
        if sent.is_ok() {
            self.note_acknowledged();
        }
    }

    fn note_acknowledged(&mut self) {
        self.receipt = None;
        self.unacknowledged = 0;
    }
}

fn blocked() -> EngineError {
    EngineError::new(Failure::Unreachable, "the connection is blocked")
}

#[cfg(test)]
mod tests;
