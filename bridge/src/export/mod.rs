//! From this machine to the engine: the messages of a local source are sent to a stream.
//!
//! | module | responsibility |
//! |---|---|
//! | `window` | the records that the engine has not confirmed |
//! | `pipeline` | sending, confirmations, repetition after a failure |
//! | `source` | the interface of a source |
//! | `feed` | a subscriber of a local feed |
//! | `channel` | the clients of a listener |
//! | `fifo` | the reader of a FIFO |

mod channel;
mod feed;
mod fifo;
mod pipeline;
mod source;
mod window;

pub use channel::{ChannelSource, listen, next_client};
pub use feed::FeedRoute;
pub use fifo::FifoSource;

use crate::bridge::Context;
use crate::engine::{Engine, EngineError, FeedId, Outlet, Result};
use crate::local::LocalError;
use pipeline::{End, Pipeline};
use source::Source;
use window::Window;

/// Carries a feed until the bridge stops.
pub async fn feed<E: Engine>(context: &Context) {
    let mut route = FeedRoute::default();
    // Subscribed before the engine is reached: the publisher then waits for the engine.
    while route.attach(context).await
        && let Some(engine) = context.connect::<E>().await
    {
        match carry_feed(&engine, context, &mut route).await {
            Ok(()) => return,
            Err(error) => context.note_closed(&error),
        }
    }
}

/// Carries a feed over one connection, until the bridge stops.
async fn carry_feed<E: Engine>(engine: &E, context: &Context, route: &mut FeedRoute) -> Result<()> {
    let outlet = context.until_open(|| engine.outlet(&context.route)).await?;
    let Some(mut pipeline) = outlet.map(|outlet| new_pipeline(context, outlet)) else {
        return Ok(());
    };
    while let Some(position) = pipeline.position().await? {
        match route.begin(context, position) {
            Ok(mut source) => match pipeline.run(&mut source).await? {
                End::Stopped => break,
                End::SourceEnded => route.ended(&source),
            },
            Err(error) => log::warn!("{}: {error}; subscribing again", context.route),
        }
        if !route.attach(context).await {
            break;
        }
    }
    Ok(())
}

/// Carries the messages of a source that has no memory of its own, until the bridge stops: at most
/// once if the bridge is killed.
pub async fn volatile<E: Engine>(context: &Context, mut source: impl Source) {
    // Outlives a connection: no source gives a message twice.
    let mut window = Window::new(&context.route.options);
    while let Some(engine) = context.connect::<E>().await {
        let carried = carry_volatile(&engine, context, &mut source, window).await;
        match carried {
            Ok(()) => return,
            Err((error, left)) => {
                window = left;
                context.note_closed(&error);
            }
        }
    }
}

/// Carries a source over one connection. An error returns the unconfirmed records.
async fn carry_volatile<E: Engine>(
    engine: &E,
    context: &Context,
    source: &mut impl Source,
    window: Window,
) -> std::result::Result<(), (EngineError, Window)> {
    let outlet = match context.until_open(|| engine.outlet(&context.route)).await {
        Ok(Some(outlet)) => outlet,
        Ok(None) => return Ok(()),
        Err(error) => return Err((error, window)),
    };
    let mut pipeline = Pipeline::new(context, outlet, window);
    let ended = match pipeline.position().await {
        Ok(Some(position)) => {
            pipeline.skip_stored(source, position);
            pipeline.run(source).await.map(drop)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    ended.map_err(|error| (error, pipeline.into_window()))
}

fn new_pipeline<O: Outlet>(context: &Context, outlet: O) -> Pipeline<'_, O> {
    Pipeline::new(context, outlet, Window::new(&context.route.options))
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
