//! NATS JetStream as the engine.
//!
//! | module | responsibility |
//! |---|---|
//! | `connection` | the connection: its options, its events, whether it exists |
//! | `headers` | the headers of the records of a bridge |
//! | `stream` | finding, checking and creating the stream of a subject |
//! | `outlet` | sending records |
//! | `confirmation` | the answers of a stream to records |
//! | `inlet` | receiving records by a durable consumer |
//! | `receipt` | the reply subject of a delivery, which has its numbers |
//! | `request` | requests and replies |

mod confirmation;
mod connection;
mod headers;
mod inlet;
mod outlet;
mod receipt;
mod request;
mod stream;

use super::{Engine, EngineError, Failure, Result};
use crate::config::{EngineSettings, Route};
use connection::Connection;

/// A connection with a NATS server.
pub struct Nats {
    connection: Connection,
}

impl Engine for Nats {
    type Outlet = outlet::NatsOutlet;
    type Inlet = inlet::NatsInlet;
    type Requester = request::NatsRequester;
    type Responder = request::NatsResponder;

    async fn connect(settings: &EngineSettings, name: &str, deliveries: usize) -> Result<Self> {
        let connection = Connection::new(settings, name, deliveries).await?;
        Ok(Self { connection })
    }

    async fn flush(&self) {
        let flush = self.connection.client().flush();
        let _ = tokio::time::timeout(self.connection.limit, flush).await;
    }

    async fn outlet(&self, route: &Route) -> Result<Self::Outlet> {
        outlet::NatsOutlet::open(&self.connection, route).await
    }

    async fn inlet(&self, route: &Route) -> Result<Self::Inlet> {
        inlet::NatsInlet::open(&self.connection, route).await
    }

    async fn requester(&self, route: &Route) -> Result<Self::Requester> {
        Ok(request::NatsRequester::new(&self.connection, route))
    }

    async fn responder(&self, route: &Route) -> Result<Self::Responder> {
        request::NatsResponder::open(&self.connection, route).await
    }
}

/// An error of the client: the engine does not answer.
fn unreachable(error: impl std::fmt::Display) -> EngineError {
    EngineError::new(Failure::Unreachable, error)
}

/// An error of the engine's configuration.
fn misconfigured(error: impl std::fmt::Display) -> EngineError {
    EngineError::new(Failure::Misconfigured, error)
}

#[cfg(test)]
mod tests;
