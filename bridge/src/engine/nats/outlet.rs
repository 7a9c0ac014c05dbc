//! Sending records to a stream.
//!
//! Many records are in flight at the same time, and only some ask for a confirmation. Each one names
//! the record before it as the last one of the stream (`Nats-Expected-Last-Msg-Id`), so the server
//! refuses all records after one that it has refused: a confirmation confirms all records before it,
//! and the order cannot change. That works for a stream of one subject only. In other streams
//! only one record is in flight.

use super::connection::{Connection, max_payload};
use super::{confirmation, headers, stream, unreachable};
use crate::config::Route;
use crate::engine::{EngineError, Failure, MessageId, Outlet, Record, Result};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::{Subject, Subscriber};
use futures_util::StreamExt;
use tokio::select;

/// The part of the server's largest payload that the headers of a record need.
const HEADERS_MAX: usize = 512;

/// See the module.
pub struct NatsOutlet {
    connection: Connection,
    stream: Stream,
    subject: Subject,
    is_ordered: bool,
    /// Where the confirmations arrive, and the prefix of their subjects.
    answers: Option<(Subscriber, String)>,
    /// The last record that this round has sent.
    previous: Option<MessageId>,
}

impl NatsOutlet {
    /// Opens the stream of a route.
    pub async fn open(connection: &Connection, route: &Route) -> Result<Self> {
        let stream = stream::open(connection, route, true).await?;
        stream::check_for_sending(&stream, route)?;
        let is_ordered = stream::is_of_one_subject(&stream, &route.subject);
        if !is_ordered {
            let name = &stream.cached_info().config.name;
            log::warn!("{route}: the stream {name} has other subjects, so the route is slow");
        }
        Ok(Self {
            connection: connection.clone(),
            stream,
            subject: route.subject.as_str().into(),
            is_ordered,
            answers: None,
            previous: None,
        })
    }

    /// The id of the last record of the subject.
    async fn last(&self) -> Result<Option<MessageId>> {
        let last = self.stream.get_last_raw_message_by_subject(&self.subject);
        match last.await {
            Ok(message) => Ok(headers::id(Some(&message.headers))),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Err(EngineError::new(Failure::Closed, "the stream was deleted"))
                }
                LastRawMessageErrorKind::JetStream(error) => Err(unreachable(error)),
                _ => Err(unreachable(error)),
            },
        }
    }
}

impl Outlet for NatsOutlet {
    fn message_max(&self) -> usize {
        let of_stream = self.stream.cached_info().config.max_message_size;
        let of_server = max_payload(self.connection.client());
        let max = match of_stream {
            1.. => of_server.min(usize::try_from(of_stream).unwrap_or(usize::MAX)),
            _ => of_server,
        };
        max.saturating_sub(HEADERS_MAX)
    }

    fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    async fn restart(&mut self) -> Result<Option<MessageId>> {
        // Answers of earlier rounds no longer arrive.
        self.answers = None;
        self.previous = None;
        self.connection.until_connected().await?;
        self.connection.watch();
        let client = self.connection.client();
        let prefix = client.new_inbox();
        let answers = client.subscribe(format!("{prefix}.*"));
        self.answers = Some((answers.await.map_err(unreachable)?, prefix));
        // Its limits may have changed. The next request reports an error.
        let _ = self.stream.info().await;
        self.last().await
    }

    async fn send(&mut self, record: &Record, tag: Option<u64>) -> Result<()> {
        let Some((_, prefix)) = &self.answers else {
            return Err(unreachable("not connected"));
        };
        let previous = self.previous.filter(|_| self.is_ordered);
        let (headers, payload) = headers::encode(record, previous);
        let (client, subject) = (self.connection.client(), self.subject.clone());
        let sent = match tag {
            Some(tag) => {
                let reply = format!("{prefix}.{tag}");
                let sent = client.publish_with_reply_and_headers(subject, reply, headers, payload);
                sent.await
            }
            None => client.publish_with_headers(subject, headers, payload).await,
        };
        self.previous = Some(record.id);
        sent.map_err(unreachable)
    }

    async fn confirmed(&mut self) -> Result<u64> {
        let Some((answers, _)) = &mut self.answers else {
            return Err(unreachable("not connected"));
        };
        let answer = select! {
            biased;
            answer = answers.next() => answer,
            error = self.connection.until_broken() => return Err(error),
        };
        let closed = || EngineError::new(Failure::Closed, "the connection was closed");
        let answer = answer.ok_or_else(closed)?;
        confirmation::check(&answer)?;
        let tag = answer.subject.rsplit('.').next();
        let tag = tag.and_then(|tag| tag.parse().ok());
        tag.ok_or_else(|| EngineError::new(Failure::Disordered, "an answer without a tag"))
    }
}
