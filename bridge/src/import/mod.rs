//! From the engine to this machine: the records of a stream are given to a local sink.
//!
//! | module | responsibility |
//! |---|---|
//! | `pipeline` | receiving in order, acknowledging, continuing after a failure |
//! | `repetition` | the deliveries that the engine repeats, in order |
//! | `position` | the position, in a file that survives a crash |
//! | `gaps` | messages that are missing in the stream, or there twice |
//! | `sink` | the interface of a sink |
//! | `feed`, `channel`, `fifo` | the sinks |

mod channel;
mod feed;
mod fifo;
mod gaps;
mod pipeline;
mod position;
mod repetition;
mod sink;

pub use channel::ChannelSink;
pub use feed::FeedSink;
pub use fifo::FifoSink;

use crate::context::Context;
use crate::engine::{Engine, Result};
use pipeline::Pipeline;
use position::Position;
use sink::Sink;

/// Carries a stream until the bridge stops.
pub async fn run<E: Engine>(context: &Context, sink: &mut impl Sink) {
    let position = position::open(context);
    while let Some(engine) = sink.serve_during(context.connect::<E>()).await {
        match carry(&engine, context, sink, &position).await {
            Ok(()) => {
                engine.flush().await;
                return;
            }
            Err(error) => context.note_closed(&error),
        }
    }
}

/// Carries a stream over one connection, until the bridge stops.
async fn carry<E: Engine>(
    engine: &E,
    context: &Context,
    sink: &mut impl Sink,
    position: &Position,
) -> Result<()> {
    let open = context.until_open(|| engine.inlet(&context.route));
    match sink.serve_during(open).await? {
        Some(inlet) => Pipeline::new(context, inlet, sink, position).run().await,
        None => Ok(()),
    }
}
