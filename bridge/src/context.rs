//! The values that the parts of a route share, and how they learn that the bridge stops.

use crate::config::{EngineSettings, LocalKind, Route, Settings};
use crate::engine::{Engine, EngineError, Failure, Result};
use crate::metrics::Metrics;
use crate::pause::Pauses;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The longest pause between two attempts to open a stream or to connect.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The number of requests that wait for a local server. Later ones are dropped.
const REQUESTS_MAX: usize = 256;

/// See the module.
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
