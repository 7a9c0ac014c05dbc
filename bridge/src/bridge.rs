//! The routes of a bridge: each one has a thread, an event loop and a connection of its own. So a
//! slow route does not delay the others.

use crate::call;
use crate::config::{Direction, LocalKind, Route, Settings};
use crate::context::Context;
use crate::engine::nats::Nats;
use crate::engine::{Engine, Result};
use crate::export::{self, ChannelSource, FifoSource};
use crate::import::{self, ChannelSink, FeedSink, FifoSink};
use crate::local::LocalError;
use crate::metrics::Metrics;
use crate::pause::Pauses;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// The longest pause between two attempts to serve a route or to listen.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The threads of the routes.
pub struct Bridge {
    stop: watch::Sender<Option<Instant>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    metrics: Vec<(String, Arc<Metrics>)>,
}

impl Bridge {
    /// Starts a thread for each route.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let (stop, receiver) = watch::channel(None);
        let mut bridge = Self {
            stop,
            threads: Vec::new(),
            metrics: Vec::new(),
        };
        for route in &settings.routes {
            let context = Context::new(route.clone(), settings, receiver.clone());
            note_guarantees(route);
            bridge
                .metrics
                .push((route.to_string(), context.metrics.clone()));
            let thread = thread::Builder::new().name(route.subject.chars().take(15).collect());
            bridge
                .threads
                .push(thread.spawn(move || run_route(context))?);
        }
        Ok(bridge)
    }

    /// The numbers of all routes, with their names.
    pub fn metrics(&self) -> Vec<(String, Arc<Metrics>)> {
        self.metrics.clone()
    }

    /// Whether a thread has ended: that is a failure while the bridge runs.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Stops the routes, which complete what is in flight. Returns false if one had failed.
    pub fn stop(self) -> bool {
        let _ = self.stop.send(Some(Instant::now()));
        let names = self.metrics.into_iter().map(|(name, _)| name);
        let mut succeeded = true;
        for (thread, name) in self.threads.into_iter().zip(names) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    log::error!("{name}: {error}");
                    succeeded = false;
                }
                Err(_) => {
                    log::error!("{name}: the route has failed");
                    succeeded = false;
                }
            }
        }
        succeeded
    }
}

/// Logs the promise of a route at the start.
fn note_guarantees(route: &Route) {
    use LocalKind::*;
    let promise = match (route.local.kind, route.direction) {
        (Feed, Direction::Out) if route.options.lossy => "lossy: losses are counted and reported",
        (Feed, Direction::Out) => "at least once, without duplicates in the stream",
        (Feed, Direction::In) => "at least once, without local duplicates",
        (Call, _) => "at most once: a call whose bridge is killed gets no reply",
        (Channel | Fifo, Direction::Out) => {
            "at most once if the bridge is killed: messages that it has taken are then lost"
        }
        (Channel | Fifo, Direction::In) => {
            "at least once, but messages that a killed peer has not read are lost"
        }
    };
    log::info!("{route}: {promise}");
}

/// The thread of a route.
fn run_route(context: Context) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, carry::<Nats>(Rc::new(context)))
}

/// Carries a route until the bridge stops. Fails if messages that it has taken are lost.
async fn carry<E: Engine<Requester: 'static>>(context: Rc<Context>) -> io::Result<()> {
    match (context.route.local.kind, context.route.direction) {
        (LocalKind::Feed, Direction::Out) => return export::feed::<E>(&context).await,
        (LocalKind::Channel, Direction::Out) => {
            if let Some(source) = ChannelSource::open(&context).await {
                return export::volatile::<E>(&context, source).await;
            }
        }
        (LocalKind::Fifo, Direction::Out) => {
            if let Some(source) = FifoSource::open(&context).await {
                return export::volatile::<E>(&context, source).await;
            }
        }
        (LocalKind::Call, Direction::Out) => {
            repeat::<E>(&context, async |engine: &E| {
                call::serve_callers(engine, &context).await
            })
            .await;
        }
        (LocalKind::Call, Direction::In) => {
            repeat::<E>(&context, async |engine: &E| {
                call::serve_subject(engine, &context).await
            })
            .await;
        }
        (LocalKind::Feed, Direction::In) => {
            if let Some(mut sink) = open_feed(&context).await {
                import::run::<E>(&context, &mut sink).await;
            }
        }
        (LocalKind::Channel, Direction::In) => {
            import::run::<E>(&context, &mut ChannelSink::new(&context)).await;
        }
        (LocalKind::Fifo, Direction::In) => {
            import::run::<E>(&context, &mut FifoSink::new(&context)).await;
        }
    }
    Ok(())
}

/// Calls `serve` with a connection, and with another one whenever that has ended.
async fn repeat<E: Engine>(context: &Context, serve: impl AsyncFn(&E) -> Result<()>) {
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    while let Some(engine) = context.connect::<E>().await {
        match serve(&engine).await {
            Ok(()) => {
                engine.flush().await;
                return;
            }
            Err(error) => context.note_closed(&error),
        }
        context.pause(&mut pauses).await;
    }
}

/// Waits until the path of a feed can be listened at. None if the bridge stops.
async fn open_feed(context: &Context) -> Option<FeedSink> {
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    let mut last: Option<LocalError> = None;
    loop {
        match FeedSink::new(context) {
            Ok(sink) => return Some(sink),
            Err(error) => {
                if last.as_ref() != Some(&error) {
                    log::warn!("{}: {error}; trying again", context.route);
                    context.metrics.set_error(Some(error.to_string()));
                }
                last = Some(error);
            }
        }
        if !context.pause(&mut pauses).await {
            return None;
        }
    }
}
