//! Requests and replies, without JetStream: at most once.

use super::connection::{Connection, max_payload};
use super::unreachable;
use crate::config::Route;
use crate::engine::{EngineError, Failure, Request, Requester, Responder, Result};
use async_nats::{Client, HeaderMap, RequestErrorKind, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// The header that says how long the caller waits, in milliseconds from the time of the request.
const LIMIT: &str = "Unixipc-Timeout-Ms";
/// The header of the reply to a request that failed.
const FAILED: &str = "Unixipc-Failed";
/// The part of the server's largest payload that the headers of a request need.
const HEADERS_MAX: usize = 128;
/// The bridges that serve a subject share its requests.
const QUEUE: &str = "unixipc-bridge";

/// Sends requests.
#[derive(Clone)]
pub struct NatsRequester {
    client: Client,
    subject: Subject,
}

impl NatsRequester {
    /// Sends requests to the subject of a route.
    pub fn new(connection: &Connection, route: &Route) -> Self {
        let (client, subject) = (connection.client().clone(), route.subject.as_str().into());
        Self { client, subject }
    }
}

impl Requester for NatsRequester {
    fn message_max(&self) -> usize {
        max_payload(&self.client).saturating_sub(HEADERS_MAX)
    }

    async fn request(&self, request: Bytes, limit: Duration) -> Result<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(LIMIT, limit.as_millis().to_string());
        // With a subscription of its own, which ends with this call: the client never forgets a
        // request to its common one that gets no reply.
        let request = async_nats::Request::new()
            .inbox(self.client.new_inbox())
            .payload(request)
            .headers(headers)
            .timeout(None);
        // The time limit covers the wait for the connection too.
        let reply = timeout(
            limit,
            self.client.send_request(self.subject.clone(), request),
        )
        .await;
        match reply {
            Ok(Ok(reply)) => match reply
                .headers
                .and_then(|headers| headers.get(FAILED).cloned())
            {
                None => Ok(reply.payload),
                Some(_) => Err(EngineError::new(
                    Failure::NoResponder,
                    "the server has failed",
                )),
            },
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Err(
                EngineError::new(Failure::NoResponder, "no bridge serves the subject"),
            ),
            Ok(Err(error)) => Err(unreachable(error)),
            Err(_) => Err(unreachable("no reply in time")),
        }
    }
}

/// Receives requests.
pub struct NatsResponder {
    client: Client,
    requests: Subscriber,
}

impl NatsResponder {
    /// Receives requests from the subject of a route.
    pub async fn open(connection: &Connection, route: &Route) -> Result<Self> {
        // Only the connection says how long a message may be.
        connection.until_connected().await?;
        let client = connection.client().clone();
        let requests = client.queue_subscribe(route.subject.clone(), QUEUE.into());
        let requests = requests.await.map_err(unreachable)?;
        Ok(Self { client, requests })
    }
}

impl Responder for NatsResponder {
    fn message_max(&self) -> usize {
        max_payload(&self.client)
    }

    async fn next(&mut self) -> Result<Request> {
        loop {
            let closed = || EngineError::new(Failure::Closed, "the connection was closed");
            let message = self.requests.next().await.ok_or_else(closed)?;
            let limit = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get(LIMIT));
            let limit = limit.and_then(|limit| limit.as_str().parse().ok());
            // Without a place for the reply it is no request.
            if let Some(reply_to) = message.reply {
                return Ok(Request {
                    bytes: message.payload,
                    limit: limit.map(Duration::from_millis),
                    reply_to: reply_to.as_str().into(),
                });
            }
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.requests.drain().await.map_err(unreachable)
    }

    async fn reply(&self, reply_to: &str, reply: Option<Bytes>) -> Result<()> {
        let reply_to = reply_to.to_owned();
        let sent = match reply {
            Some(reply) => self.client.publish(reply_to, reply).await,
            None => {
                let mut headers = HeaderMap::new();
                headers.insert(FAILED, "1");
                self.client
                    .publish_with_headers(reply_to, headers, Bytes::new())
                    .await
            }
        };
        sent.map_err(unreachable)
    }
}
