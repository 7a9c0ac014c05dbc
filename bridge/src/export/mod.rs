//! From this machine to the engine: the messages of a local source are sent to a stream.
//!
//! | module | responsibility |
//! |---|---|
//! | `window` | the records that the engine has not confirmed |
//! | `pipeline` | sending, confirmations, repetition after a failure |
//! | `source` | the interface of a source |
//! | `feed` | the messages of a local feed |
//! | `anchor` | the subscribers of a local feed |
//! | `channel` | the clients of a listener |
//! | `fifo` | the reader of a FIFO |

mod anchor;
mod channel;
mod feed;
mod fifo;
mod pipeline;
mod source;
mod window;

pub use channel::{ChannelSource, listen, next_client};
pub use feed::FeedRoute;
pub use fifo::FifoSource;

use crate::context::Context;
use crate::engine::{Engine, FeedId, Result};
use crate::local::LocalError;
use crate::pause::Pauses;
use pipeline::{End, Pipeline, record_of};
use source::{Item, Source};
use std::io;
use std::time::Duration;
use tokio::select;
use window::Window;

/// The longest pause after a source that gave nothing, and after a connection that ended.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The largest number of lost messages that are counted in a source: another process may fill it
/// again and again.
const COUNT_MAX: usize = 1 << 16;

/// Carries a feed until the bridge stops. Fails if messages are lost because the publisher has ended,
/// and the engine has not confirmed them when the drain ends.
pub async fn feed<E: Engine>(context: &Context) -> io::Result<()> {
    let mut route = FeedRoute::default();
    let mut window = Window::new(&context.route.options);
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    // Subscribed before the engine is reached: the publisher then waits for the engine.
    while !context.has_given_up() && route.attach(context).await {
        if let Some(engine) = context.connect::<E>().await
            && let Err(error) = carry_feed(&engine, context, &mut route, &mut window).await
        {
            context.note_closed(&error);
        }
        if context.is_stopping() {
            if window.is_empty() && route.unsaved() == 0 {
                break;
            }
            context.be_patient();
        }
        context.pause(&mut pauses).await;
    }
    let records = window.size().0 as u64;
    // Without its publisher, a feed is not there for the next bridge.
    let lost = match route.has_ended() {
        true => route.unsaved() + records,
        false => 0,
    };
    match lost {
        0 if records == 0 => Ok(()),
        0 => {
            log::error!(
                "{}: stops with {records} unconfirmed: they are lost unless the feed still has them",
                context.route
            );
            Ok(())
        }
        lost => Err(unconfirmed(lost)),
    }
}

/// Carries a feed over one connection, until the bridge stops. After an error, the window has the
/// unconfirmed records.
async fn carry_feed<E: Engine>(
    engine: &E,
    context: &Context,
    route: &mut FeedRoute,
    window: &mut Window,
) -> Result<()> {
    let outlet = context.until_open(|| engine.outlet(&context.route)).await?;
    let Some(outlet) = outlet else {
        return Ok(());
    };
    let mut pipeline = Pipeline::new(context, outlet, window);
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    while let Some(position) = pipeline.position().await?
        && let Some(source) = route.begin(context, position)
    {
        pipeline.skip_stored(source, position);
        if pipeline.run(source).await? == End::Stopped {
            break;
        }
        // A feed whose memory is damaged ends at once.
        if route.end() {
            pauses.reset();
        } else {
            context.pause(&mut pauses).await;
        }
        if !route.attach(context).await {
            break;
        }
    }
    Ok(())
}

/// Carries the messages of a source that has no memory of its own, until the bridge stops: at most
/// once if the bridge is killed. Fails if messages were taken from the source, and are lost because
/// the engine has not confirmed them when the drain ends.
pub async fn volatile<E: Engine>(context: &Context, mut source: impl Source) -> io::Result<()> {
    // Outlives a connection: no source gives a message twice.
    let mut window = Window::new(&context.route.options);
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    while !context.has_given_up() {
        if let Some(engine) = context.connect::<E>().await
            && let Err(error) = carry_volatile(&engine, context, &mut source, &mut window).await
        {
            context.note_closed(&error);
        }
        if context.is_stopping() {
            if !holds_messages(context, &mut source, &mut window).await {
                break;
            }
            context.be_patient();
        }
        context.pause(&mut pauses).await;
    }
    let left = std::iter::from_fn(|| source.try_next(usize::MAX))
        .take_while(|item| !matches!(item, Item::End))
        .take(COUNT_MAX);
    match window.size().0 + left.count() {
        0 => Ok(()),
        lost => Err(unconfirmed(lost as u64)),
    }
}

fn unconfirmed(lost: u64) -> io::Error {
    io::Error::other(format!(
        "at least {lost} messages are lost: the engine has not confirmed them in time"
    ))
}

/// Whether messages would be lost if the bridge, which stops, gave up.
async fn holds_messages(context: &Context, source: &mut impl Source, window: &mut Window) -> bool {
    source.close();
    while window.is_empty() && !context.has_drained() {
        match source.try_next(usize::MAX) {
            Some(item) => match record_of(context, item) {
                Some(record) => window.push(record),
                None => return false,
            },
            None => select! {
                () = source.ready() => {}
                () = context.drained() => {}
            },
        }
    }
    !window.is_empty()
}

/// Carries a source over one connection. After an error, the window has the unconfirmed records.
async fn carry_volatile<E: Engine>(
    engine: &E,
    context: &Context,
    source: &mut impl Source,
    window: &mut Window,
) -> Result<()> {
    let outlet = context.until_open(|| engine.outlet(&context.route)).await?;
    let Some(outlet) = outlet else {
        return Ok(());
    };
    let mut pipeline = Pipeline::new(context, outlet, window);
    if let Some(position) = pipeline.position().await? {
        pipeline.skip_stored(source, position);
        pipeline.run(source).await?;
    }
    Ok(())
}

/// Random bytes in place of the identity of a feed.
fn random_id() -> FeedId {
    let mut id = [0; 16];
    fastrand::fill(&mut id);
    id
}

/// Logs that a local object cannot be used yet, once for each reason.
#[derive(Default)]
struct Complaint(Option<LocalError>);

impl Complaint {
    fn about(&mut self, context: &Context, error: LocalError) {
        if self.0.as_ref() != Some(&error) {
            log::warn!("{}: {error}; trying again", context.route);
            context.metrics.set_error(Some(error.to_string()));
            self.0 = Some(error);
        }
    }
}
