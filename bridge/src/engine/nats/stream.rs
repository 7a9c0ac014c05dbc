//! Finding, checking and creating the stream of a subject.

use super::connection::Connection;
use super::{misconfigured, unreachable};
use crate::config::Route;
use crate::engine::{EngineError, Result};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamByNameErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, Stream};
use std::time::Duration;

/// How long the server remembers ids: longer than a record can be in flight.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Opens the stream of a route. Creates it if `create`, and the route permits it.
pub async fn open(connection: &Connection, route: &Route, create: bool) -> Result<Stream> {
    connection.until_connected().await?;
    match find(connection, route).await? {
        Some(stream) => Ok(stream),
        None if create && route.options.create => new(connection, route).await,
        None => Err(misconfigured(format!(
            "no stream contains the subject {}",
            route.subject
        ))),
    }
}

/// Finds the stream by its name, or by the subject.
async fn find(connection: &Connection, route: &Route) -> Result<Option<Stream>> {
    let jetstream = connection.jetstream();
    let name = match &route.options.stream {
        Some(name) => name.clone(),
        None => match jetstream.stream_by_subject(&route.subject).await {
            Ok(name) => name,
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreachable(error)),
        },
    };
    match jetstream.get_stream(&name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(error) => Err(misconfigured(error)),
            _ => Err(unreachable(error)),
        },
    }
}

/// Creates a stream that refuses messages when it is full.
async fn new(connection: &Connection, route: &Route) -> Result<Stream> {
    let options = &route.options;
    let config = Config {
        name: route.stream_name(),
        subjects: vec![route.subject.clone()],
        description: Some("created by unixipc-bridge".into()),
        discard: DiscardPolicy::New,
        max_bytes: options.max_bytes.unwrap_or(-1),
        max_messages: options.max_messages.unwrap_or(-1),
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_age: Duration::from_secs(options.max_age_s),
        num_replicas: options.replicas,
        duplicate_window: match options.max_age_s {
            // The server requires it.
            0 => DUPLICATE_WINDOW,
            age => DUPLICATE_WINDOW.min(Duration::from_secs(age)),
        },
        ..Config::default()
    };
    let name = config.name.clone();
    match connection.jetstream().create_stream(config).await {
        Ok(stream) => {
            log::info!("{route}: created the stream {name}");
            Ok(stream)
        }
        Err(error) => Err(match error.kind() {
            CreateStreamErrorKind::TimedOut => unreachable(error),
            _ => misconfigured(format!("the stream {name} cannot be created: {error}")),
        }),
    }
}

/// Fails if the stream would drop messages silently.
pub fn check_for_sending(stream: &Stream, route: &Route) -> Result<()> {
    let config = &stream.cached_info().config;
    let name = &config.name;
    let refuse = |text: String| Err::<(), EngineError>(misconfigured(text));
    if config.no_ack || config.sealed {
        return refuse(format!(
            "the stream {name} confirms no messages, or is sealed"
        ));
    }
    let is_limited =
        config.max_bytes > 0 || config.max_messages > 0 || config.max_messages_per_subject > 0;
    if is_limited && config.discard == DiscardPolicy::Old && !route.options.discard_old {
        return refuse(format!(
            "the stream {name} discards old messages when it is full: change its discard policy, \
             or accept that with discard_old = true"
        ));
    }
    if config.retention != RetentionPolicy::Limits {
        log::warn!(
            "{route}: the stream {name} drops messages that its consumers have: if it has none left, \
             a bridge that starts again sends all messages of the local ring again"
        );
    }
    let window = config.duplicate_window;
    if !window.is_zero() && window < Duration::from_secs(10) {
        log::warn!("{route}: the stream {name} remembers ids for {window:?} only");
    }
    Ok(())
}

/// Whether all messages of the stream have this subject.
pub fn is_of_one_subject(stream: &Stream, subject: &str) -> bool {
    let config = &stream.cached_info().config;
    config.subjects == [subject] && config.sources.is_none() && config.mirror.is_none()
}
