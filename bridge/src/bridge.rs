//! The routes of a bridge: each one has a thread, an event loop and a connection of its own. So a
//! slow route does not delay the others.

use crate::call;
use crate::config::{Direction, EngineSettings, LocalKind, Route, Settings};
use crate::engine::nats::Nats;
use crate::engine::{Engine, EngineError, Failure, Result};
use crate::export::{self, ChannelSource, FifoSource};
use crate::import::{self, ChannelSink, FeedSink, FifoSink};
use crate::local::LocalError;
use crate::metrics::Metrics;
use crate::pause::Pauses;
use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

/// The longest pause between two attempts to open a stream or to connect.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The number of requests that wait for a local server. Later ones are dropped.
const REQUESTS_MAX: usize = 256;

/// The values that the parts of a route share.
#[derive(Clone)]
pub struct Context {
    /// The route.
    pub route: Route,
    /// Its numbers.
    pub metrics: Arc<Metrics>,
    /// The time limit for a confirmation.
    pub timeout: Duration,
    /// The time limit for the messages in flight when the bridge ends.
    pub drain: Duration,
    /// Where the route remembers its position.
    pub state_dir: Option<PathBuf>,
    engine: EngineSettings,
    /// When the bridge was told to stop.
    stop: watch::Receiver<Option<Instant>>,
    /// Whether the route tries to reach the engine until the drain ends, even if the bridge stops.
    is_patient: Cell<bool>,
}

impl Context {
    /// The context of a route.
    pub fn new(route: Route, settings: &Settings, stop: watch::Receiver<Option<Instant>>) -> Self {
        Self {
            route,
            metrics: Arc::default(),
            timeout: settings.engine.timeout,
            drain: settings.drain,
            state_dir: settings.state_dir.clone(),
            engine: settings.engine.clone(),
            stop,
            is_patient: Cell::new(false),
        }
    }

    /// A context that needs no engine, and the sender that stops it.
    #[cfg(test)]
    pub fn for_tests(
        local: &str,
        arrow: &str,
        subject: &str,
    ) -> (Self, watch::Sender<Option<Instant>>) {
        let (sender, receiver) = watch::channel(None);
        let route = Route::new(local, arrow, subject, Default::default());
        let settings = Settings::for_tests();
        (
            Self::new(route.expect("a route"), &settings, receiver),
            sender,
        )
    }

    /// Whether the bridge stops.
    pub fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Waits until the bridge stops.
    pub async fn stopping(&self) {
        // An error means that the main thread has ended.
        let _ = self.stop.clone().wait_for(Option::is_some).await;
    }

    /// Whether the bridge stops, and the time for the messages in flight has ended.
    pub fn has_drained(&self) -> bool {
        let stopped = *self.stop.borrow();
        stopped.is_some_and(|stopped| stopped.elapsed() >= self.drain)
    }

    /// Waits until the bridge stops, and the time for the messages in flight has ended.
    pub async fn drained(&self) {
        self.stopping().await;
        let stopped = *self.stop.borrow();
        if let Some(stopped) = stopped {
            sleep_until(stopped + self.drain).await;
        }
    }

    /// Lets the route try to reach the engine until the drain ends: it has messages that would be
    /// lost.
    pub fn be_patient(&self) {
        self.is_patient.set(true);
    }

    /// Whether the route no longer tries to reach the engine.
    pub fn has_given_up(&self) -> bool {
        match self.is_patient.get() {
            false => self.is_stopping(),
            true => self.has_drained(),
        }
    }

    /// Waits until the route no longer tries to reach the engine.
    pub async fn given_up(&self) {
        match self.is_patient.get() {
            false => self.stopping().await,
            true => self.drained().await,
        }
    }

    /// Pauses. Returns false if the route gives up.
    pub async fn pause(&self, pauses: &mut Pauses) -> bool {
        select! {
            () = sleep(pauses.next()) => true,
            () = self.given_up() => false,
        }
    }

    /// Connects with the engine. None if the route gives up.
    pub async fn connect<E: Engine>(&self) -> Option<E> {
        let name = self.route.to_string();
        let deliveries = match self.route.local.kind {
            LocalKind::Call => REQUESTS_MAX,
            _ => 2 * self.route.options.window_messages + 64,
        };
        let mut pauses = Pauses::up_to(PAUSE_MAX);
        while !self.has_given_up() {
            match E::connect(&self.engine, &name, deliveries).await {
                Ok(engine) => return Some(engine),
                Err(error) => self.complain(&error),
            }
            self.pause(&mut pauses).await;
        }
        None
    }

    /// Repeats `open` until it succeeds. None if the route gives up.
    pub async fn until_open<T>(&self, open: impl AsyncFn() -> Result<T>) -> Result<Option<T>> {
        let mut pauses = Pauses::up_to(PAUSE_MAX);
        loop {
            let opened = select! {
                opened = open() => opened,
                () = self.given_up() => return Ok(None),
            };
            match opened {
                Ok(opened) => {
                    self.metrics.set_error(None);
                    return Ok(Some(opened));
                }
                Err(error) if error.failure == Failure::Closed => return Err(error),
                Err(error) => self.complain(&error),
            }
            if !self.pause(&mut pauses).await {
                return Ok(None);
            }
        }
    }

    /// Logs an error that is followed by another attempt, once.
    fn complain(&self, error: &EngineError) {
        let text = error.to_string();
        if self.metrics.error().as_ref() != Some(&text) {
            log::warn!("{}: {text}; trying again", self.route);
            self.metrics.set_error(Some(text));
        }
    }

    /// Logs that a connection or a stream must be opened again.
    pub fn note_closed(&self, error: &EngineError) {
        log::error!("{}: {error}; connecting again in a moment", self.route);
        self.metrics.set_error(Some(error.to_string()));
    }
}

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
        (LocalKind::Feed, Direction::Out) => export::feed::<E>(&context).await,
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
