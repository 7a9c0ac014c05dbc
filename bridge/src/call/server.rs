//! A subject that calls a local server.

use super::worker::{Job, Workers};
use crate::bridge::Context;
use crate::engine::{Engine, Responder, Result};
use std::time::{Duration, Instant};
use tokio::select;

/// Serves the requests of a subject until the bridge stops.
pub async fn serve_subject<E: Engine>(engine: &E, context: &Context) -> Result<()> {
    let Some(mut responder) = context
        .until_open(|| engine.responder(&context.route))
        .await?
    else {
        return Ok(());
    };
    let mut workers = Workers::start(context, responder.message_max());
    let route_limit = Duration::from_millis(context.route.options.call_timeout_ms);
    let mut waiting = None;
    loop {
        // One request waits for a worker at most: the others stay in the subscription.
        if let Some(job) = waiting.take() {
            waiting = workers.try_give(job);
        }
        select! {
            biased;
            done = workers.next_done() => {
                let (reply_to, reply) = done;
                match &reply {
                    Some(_) => context.metrics.calls.add(1),
                    None => context.metrics.failed_calls.add(1),
                }
                responder.reply(&reply_to, reply).await?;
            }
            request = responder.next(), if waiting.is_none() => {
                let request = request?;
                let limit = request.limit.unwrap_or(route_limit).min(route_limit);
                waiting = Some(Job {
                    request: request.bytes,
                    until: Instant::now() + limit,
                    reply_to: request.reply_to,
                });
            }
            () = context.stopping() => return Ok(()),
        }
    }
}
