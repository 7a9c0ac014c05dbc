//! Receiving records by a durable pull consumer.
//!
//! The bridge requests a limited number of messages, and requests more when it has taken half of
//! them, so that neither the server nor the client holds more for it. The consumer acknowledges all
//! messages up to one at once.

use super::connection::{Connection, max_payload};
use super::{headers, misconfigured, receipt, stream, unreachable};
use crate::config::{Route, Start};
use crate::engine::{Delivery, EngineError, Failure, Inlet, Result, Resume};
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::{ConsumerErrorKind, Stream};
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use std::time::Duration;
use tokio::select;
use tokio::time::{Instant, sleep_until};

/// How long the server keeps a request, unless its limit is shorter.
const REQUEST_EXPIRES: Duration = Duration::from_secs(60);
/// How often the server shows that it still has a request.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the server may be silent.
const SILENCE_MAX: Duration = HEARTBEAT.saturating_mul(3);
/// The number of refused requests, without a delivery between them, that ends a round.
const REFUSALS_MAX: u32 = 4;
/// The largest size of the subjects of a message.
const OVERHEAD_MAX: usize = 4096;
/// The header of a status that says how many messages of the request will not come.
const PENDING: &str = "Nats-Pending-Messages";

/// See the module.
pub struct NatsInlet {
    connection: Connection,
    stream: Stream,
    consumer: Consumer<Config>,
    ack_wait: Duration,
    window: usize,
    /// The number of bytes that one request asks for. Up to three requests are open.
    request_bytes: usize,
    /// How long the server keeps a request.
    expires: Duration,
    /// Where the messages arrive, and the subject of that.
    deliveries: Option<(Subscriber, String)>,
    /// The number of messages that were requested and have not arrived.
    requested: usize,
    /// When the server was heard last, or something was requested of it.
    heard: Instant,
    /// Whether a message has arrived since then. The clock is not read for each one.
    has_read: bool,
    /// How many requests the server has refused since the last delivery.
    refusals: u32,
}

impl NatsInlet {
    /// Opens the stream of a route, and creates the consumer if there is none.
    pub async fn open(connection: &Connection, route: &Route) -> Result<Self> {
        let stream = stream::open(connection, route, false).await?;
        let (name, window) = (route.durable_name(), route.options.window_messages);
        let config = Config {
            durable_name: Some(name.clone()),
            description: Some("unixipc-bridge".into()),
            ack_policy: AckPolicy::All,
            ack_wait: route.options.ack_wait(),
            max_ack_pending: 2 * window as i64,
            filter_subject: route.subject.clone(),
            deliver_policy: match route.options.start {
                Start::Oldest => DeliverPolicy::All,
                Start::Newest => DeliverPolicy::New,
            },
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, config.clone());
        let consumer = consumer.await.map_err(consumer_error)?;
        let found = &consumer.cached_info().config;
        if found.ack_policy != AckPolicy::All || found.filter_subject != config.filter_subject {
            return Err(misconfigured(format!(
                "the consumer {name} exists with another acknowledgement policy or subject"
            )));
        }
        // The server sends no message that exceeds the request, with its subjects and headers.
        let largest = max_payload(connection.client()) + OVERHEAD_MAX;
        let request_bytes = largest.max(route.options.window_bytes / 3);
        // An administrator can limit the requests.
        let limited = |value: usize, max: i64| match usize::try_from(max) {
            Ok(max) if max > 0 => value.min(max),
            _ => value,
        };
        let expires = match found.max_expires {
            Duration::ZERO => REQUEST_EXPIRES,
            max => REQUEST_EXPIRES.min(max),
        };
        Ok(Self {
            connection: connection.clone(),
            ack_wait: found.ack_wait,
            window: limited(window, found.max_batch),
            request_bytes: limited(request_bytes, found.max_bytes),
            expires,
            stream,
            consumer,
            deliveries: None,
            requested: 0,
            heard: Instant::now(),
            has_read: false,
            refusals: 0,
        })
    }

    /// Requests messages, if half of the last ones have arrived.
    async fn request(&mut self) -> Result<()> {
        if self.requested > self.window / 2 {
            return Ok(());
        }
        let Some((_, inbox)) = &self.deliveries else {
            return Err(unreachable("not connected"));
        };
        let info = self.consumer.cached_info();
        let (prefix, stream, name) = (self.connection.api_prefix(), &info.stream_name, &info.name);
        let batch = self.window - self.requested;
        let request = serde_json::json!({
            "batch": batch,
            "max_bytes": self.request_bytes,
            "expires": self.expires.as_nanos() as u64,
            // The server accepts at most half of the time.
            "idle_heartbeat": HEARTBEAT.min(self.expires / 2).as_nanos() as u64,
        });
        let subject = format!("{prefix}.CONSUMER.MSG.NEXT.{stream}.{name}");
        let client = self.connection.client();
        let sent = client.publish_with_reply(subject, inbox.clone(), request.to_string().into());
        sent.await.map_err(unreachable)?;
        self.requested += batch;
        self.heard = Instant::now();
        Ok(())
    }

    /// Reads an arrived message: a delivery, or a status, for which it returns none.
    fn read(&mut self, message: Message) -> Result<Option<Delivery>> {
        self.has_read = true;
        if let Some(status) = message.status
            && status != StatusCode::OK
        {
            return self.read_status(status, &message).map(|()| None);
        }
        self.requested = self.requested.saturating_sub(1);
        self.refusals = 0;
        let reply = message.reply.as_deref().unwrap_or_default();
        let Some(numbers) = receipt::parse(reply) else {
            return Err(EngineError::new(
                Failure::Disordered,
                format!("a delivery without numbers: {reply}"),
            ));
        };
        Ok(Some(Delivery {
            number: numbers.stream,
            delivery: numbers.consumer,
            id: headers::id(message.headers.as_ref()),
            receipt: reply.into(),
            body: headers::decode(message.headers.as_ref(), message.payload),
        }))
    }

    fn read_status(&mut self, status: StatusCode, message: &Message) -> Result<()> {
        /// The status by which the server shows that it still has a request.
        const IDLE: u16 = 100;
        /// The status of a request that the server does not accept.
        const BAD_REQUEST: u16 = 400;
        /// The status of a request that exceeds a limit. Also that of one which has ended, because the
        /// next message exceeds the rest of its bytes, or the server stops.
        const CONFLICT: u16 = 409;
        let text = message.description.as_deref().unwrap_or_default();
        if status.as_u16() == IDLE {
            return Ok(());
        }
        if status == StatusCode::NO_RESPONDERS || text.contains("Deleted") {
            return Err(EngineError::new(
                Failure::Disordered,
                format!("the consumer is gone: {text}"),
            ));
        }
        let pending = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(PENDING));
        let pending = pending.and_then(|count| count.as_str().parse().ok());
        // A request has ended, because of its time, its bytes, or a restart.
        self.requested = self
            .requested
            .saturating_sub(pending.unwrap_or(self.requested));
        log::debug!("consumer: {} {text}", status.as_u16());
        if matches!(status.as_u16(), BAD_REQUEST | CONFLICT) {
            self.refusals += 1;
        }
        if self.refusals == REFUSALS_MAX {
            self.refusals = 0;
            return Err(EngineError::new(
                Failure::Disordered,
                format!("the server refuses requests for messages: {text}"),
            ));
        }
        Ok(())
    }
}

impl Inlet for NatsInlet {
    async fn restart(&mut self) -> Result<Resume> {
        // Deliveries of earlier rounds no longer arrive.
        self.deliveries = None;
        self.requested = 0;
        self.refusals = 0;
        self.connection.until_connected().await?;
        self.connection.watch();
        let inbox = self.connection.client().new_inbox();
        let subscribed = self.connection.client().subscribe(inbox.clone()).await;
        self.deliveries = Some((subscribed.map_err(unreachable)?, inbox));
        let info = self.consumer.get_info().await.map_err(|error| {
            use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
            match error.kind() {
                Kind::NotFound | Kind::StreamNotFound => {
                    EngineError::new(Failure::Closed, "the consumer or the stream was deleted")
                }
                _ => unreachable(error),
            }
        })?;
        let stream = self.stream.get_info().await.map_err(unreachable)?;
        Ok(Resume {
            stream: stream.created.unix_timestamp_nanos() as u64,
            last: stream.state.last_sequence,
            acknowledged: info.ack_floor.stream_sequence,
            next_delivery: info.delivered.consumer_sequence + 1,
            delivered: info.delivered.stream_sequence,
            unacknowledged: info.num_ack_pending as u64,
        })
    }

    fn repeats_after(&self) -> Duration {
        self.ack_wait
    }

    async fn next(&mut self) -> Result<Delivery> {
        loop {
            if std::mem::take(&mut self.has_read) {
                self.heard = Instant::now();
            }
            self.request().await?;
            let Some((deliveries, _)) = &mut self.deliveries else {
                return Err(unreachable("not connected"));
            };
            let message = select! {
                biased;
                message = deliveries.next() => message,
                error = self.connection.until_broken() => return Err(error),
                () = sleep_until(self.heard + SILENCE_MAX) => {
                    return Err(EngineError::new(Failure::Disordered, "the server is silent"));
                }
            };
            let message = message.ok_or_else(|| unreachable("the connection was closed"))?;
            if let Some(delivery) = self.read(message)? {
                return Ok(delivery);
            }
        }
    }

    fn try_next(&mut self) -> Result<Option<Delivery>> {
        loop {
            let Some((deliveries, _)) = &mut self.deliveries else {
                return Ok(None);
            };
            // A message is there, or not: a lost connection is for `next`.
            let Some(Some(message)) = deliveries.next().now_or_never() else {
                return Ok(None);
            };
            if let Some(delivery) = self.read(message)? {
                return Ok(Some(delivery));
            }
        }
    }

    async fn acknowledge(&mut self, receipt: &str) -> Result<()> {
        let client = self.connection.client();
        let sent = client.publish(receipt.to_owned(), "+ACK".into());
        sent.await.map_err(unreachable)
    }
}

fn consumer_error(error: async_nats::jetstream::stream::ConsumerError) -> EngineError {
    match error.kind() {
        ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => unreachable(error),
        _ => misconfigured(error),
    }
}
